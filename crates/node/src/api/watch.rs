//! `GET /api/v1/ws/trx`: every trx on the ledgers of this node's groups, once, as it becomes final.

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::Context;
use super::content::trx_json;
use crate::group::Committed;

/// `GET /api/v1/ws/trx`
pub async fn trxs(State(ctx): State<Context>, upgrade: WebSocketUpgrade) -> Response {
    let events = ctx.node.inner().events.subscribe();
    upgrade.max_message_size(1024).on_upgrade(move |socket| follow(ctx, socket, events))
}

async fn follow(
    ctx: Context,
    mut socket: WebSocket,
    mut events: tokio::sync::broadcast::Receiver<Committed>,
) {
    let mut stop = ctx.node.inner().stop.subscribe();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(committed) => {
                    if send(&mut socket, &committed).await.is_none() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    return close(socket, close_code::POLICY, "too slow: trxs were left out").await;
                }
                Err(RecvError::Closed) => return,
            },
            message = socket.recv() => match message {
                Some(Ok(_)) => {}
                _ => return,
            },
            () = stopped(&mut stop) => {
                return close(socket, close_code::AWAY, "the node is stopping").await;
            }
        }
    }
}

/// Returns when the node is to stop.
pub async fn stopped(stop: &mut watch::Receiver<Option<String>>) {
    // An error means that the node is gone.
    let _ = stop.wait_for(Option::is_some).await;
}

async fn send(socket: &mut WebSocket, committed: &Committed) -> Option<()> {
    for trx in &committed.block.trxs {
        let text = trx_json(trx).ok()?.to_string();
        socket.send(Message::Text(text.into())).await.ok()?;
    }
    Some(())
}

/// Closes a websocket, and says why.
pub async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    // The other end may be gone already.
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}
