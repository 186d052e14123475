//! Where connections come in, and how they are left.
//!
//! A connection that is closed while its peer still sends is reset by the operating system, and
//! with it goes what the peer has not read yet: the very answer that says why (a body that is too
//! large, a message of a websocket over its limit). So a connection is closed for writing first,
//! and what comes yet is read and dropped, for a while and up to a limit (RFC 9112, section 9.6).

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a peer may go on sending after its last answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of it is read: who sends more is cut off.
const MAX_DROPPED: usize = 16 * 1024 * 1024;
/// Connections that are left in this way at once; further ones are cut off.
const MAX_LEAVING: usize = 256;
/// Read at once.
const PIECE: usize = 16 * 1024;

/// Takes connections.
pub struct Door {
    listener: TcpListener,
    leaving: Arc<Semaphore>,
}

impl Door {
    /// Takes the connections of a listener.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, leaving: Arc::new(Semaphore::new(MAX_LEAVING)) }
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Small answers must not wait for more. A connection that is gone already needs no option.
        let _ = stream.set_nodelay(true);
        let leaving = self.leaving.clone();
        (Connection { stream: Some(stream), ended: false, leaving }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that hears its peer out when it is dropped.
pub struct Connection {
    /// Until it is dropped.
    stream: Option<TcpStream>,
    /// Whether the peer has said that nothing more comes, or is gone.
    ended: bool,
    leaving: Arc<Semaphore>,
}

impl Connection {
    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("it is not dropped"))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (into.remaining(), into.filled().len());
        let result = ready!(self.stream().poll_read(cx, into));
        self.ended |= result.is_err() || (room > 0 && into.filled().len() == before);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.ended {
            return;
        }
        // Without a runtime the node is stopping.
        let Ok(runtime) = Handle::try_current() else { return };
        if let Ok(permit) = self.leaving.clone().try_acquire_owned() {
            runtime.spawn(leave(stream, permit));
        }
    }
}

/// Hears a peer out to which nothing is said any more.
async fn leave(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let hear_out = async {
        stream.shutdown().await?;
        let mut piece = [0; PIECE];
        let mut dropped = 0;
        while dropped < MAX_DROPPED {
            stream.readable().await?;
            match stream.try_read(&mut piece) {
                Ok(0) => break,
                Ok(read) => dropped += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        io::Result::Ok(())
    };
    // Whether it ended well concerns nobody any more.
    let _ = timeout(PATIENCE, hear_out).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A peer that sends so much before it reads, and what it reads then.
    async fn told(sent: usize) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut door = Door::new(listener);
        let address = door.local_addr().expect("an address");
        let peer = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.write_all(&vec![7; sent])?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(answer)
        });
        let (mut connection, _) = door.accept().await;
        connection.read_exact(&mut [0; 100]).await.expect("the first bytes");
        connection.write_all(b"enough").await.expect("written");
        drop(connection);
        peer.await.expect("it runs")
    }

    #[tokio::test]
    async fn a_peer_that_still_sends_gets_its_answer() {
        assert_eq!(told(8 * 1024 * 1024).await.expect("no reset"), b"enough");
    }

    #[tokio::test]
    async fn a_peer_that_never_ends_is_cut_off() {
        told(MAX_DROPPED + 64 * 1024 * 1024).await.expect_err("a reset");
    }

    #[tokio::test]
    async fn connections_that_are_left_are_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut door = Door { listener, leaving: Arc::new(Semaphore::new(2)) };
        let address = door.local_addr().expect("an address");
        let mut peers = Vec::new();
        for _ in 0..3 {
            peers.push(TcpStream::connect(address).await.expect("a connection"));
            drop(door.accept().await);
        }
        assert_eq!(door.leaving.available_permits(), 0);
        assert_eq!(peers[2].read(&mut [0; 1]).await.expect("it is closed"), 0);
        drop(peers);
        let _both = door.leaving.acquire_many(2).await.expect("they end with their peers");
    }
}
