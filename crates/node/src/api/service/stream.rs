//! `GET /app/stream`: a websocket on which many requests are under way at once.
//!
//! A message holds requests, one per line of JSON; so do the messages that answer, in the order in
//! which requests are done. To parse a request of HTTP, to wake a task for it and to send its answer
//! alone costs several times what the request itself does: here all that arrive together are read,
//! and all that are decided together are answered, at once.
//!
//! Requests of a stream are independent, and may be done in any order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::request::Parts;
use quorate_replica::cft::api::{Code, Command, Consistency, Error, Op, Reply, TxId, Wait};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::kv::{outcome, redirection};
use super::ops::{Encoding, Operation, Shown, Text, json_of, operations};
use super::{
    COMMIT_WAIT_MS, MAX_WAIT_MS, Refusal, Served, Target, good_idempotency_key, status_name,
};
use crate::api::watch::{close, stopped};
use crate::api::{Context, MAX_BODY};
use crate::service::{Line, Outcome, Service, patience, unanswered, unexpected};

/// Most bytes read at once: room for them is cleared each time.
const READ: usize = 16 * 1024;
/// Requests that may be under way on a stream; no further message is read meanwhile.
const MAX_UNDER_WAY: usize = 4096;
/// Who does not take an answer for so long is gone.
const SLOWEST: Duration = Duration::from_secs(30);
/// How often requests are looked for that have been under way for too long.
const LOOK: Duration = Duration::from_secs(1);

/// `GET /app/stream`
pub async fn open(
    State(context): State<Context>,
    target: Target,
    parts: Parts,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Served {
    let upgrade = upgrade.map_err(|error| {
        let refusal = Refusal::input(error.body_text()).status(error.status());
        refusal.hint("open it as a websocket; POST /app/batch is for a single request")
    })?;
    if let Some(elsewhere) = redirection(&context, &target.service, &parts) {
        return Ok(elsewhere);
    }
    let upgrade = upgrade.max_message_size(MAX_BODY).max_frame_size(MAX_BODY);
    let upgrade = upgrade.read_buffer_size(READ);
    let service = target.service;
    Ok(upgrade.on_upgrade(move |socket| serve(context, service, socket)))
}

/// Serves a stream until it ends, or the node does.
async fn serve(context: Context, service: Arc<Service>, mut socket: WebSocket) {
    let mut stop = context.node.inner().stop.subscribe();
    let (line, mut outcomes) = mpsc::unbounded_channel();
    let mut desk = Desk { service, line, under_way: HashMap::new(), next: 0, unsaid: Vec::new() };
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(batch) = outcomes.recv() => {
                desk.answer(batch);
                while let Ok(batch) = outcomes.try_recv() {
                    desk.answer(batch);
                }
            }
            message = socket.recv(), if desk.under_way.len() < MAX_UNDER_WAY => match message {
                Some(Ok(Message::Text(text))) => desk.take(text.as_bytes()),
                Some(Ok(Message::Binary(bytes))) => desk.take(&bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return,
                // Should the connection be broken, this goes nowhere.
                Some(Err(_)) => {
                    return close(socket, close_code::SIZE, "a message has at most 1 MiB").await;
                }
            },
            _ = look.tick() => desk.give_up(Instant::now()),
            () = stopped(&mut stop) => {
                return close(socket, close_code::AWAY, "the node is stopping").await;
            }
        }
        if desk.unsaid.is_empty() {
            continue;
        }
        let said = String::from_utf8(std::mem::take(&mut desk.unsaid)).expect("JSON is UTF-8");
        if !matches!(timeout(SLOWEST, socket.send(Message::Text(said.into()))).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// When a write is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum When {
    #[default]
    Response,
    Committed,
}

/// What a read may miss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sees {
    #[default]
    Linearizable,
    Committed,
    Local,
}

/// A line of a message: one transaction, or reads alone.
#[derive(Deserialize)]
struct Request<'a> {
    /// The caller's, for the answer.
    id: u64,
    #[serde(borrow)]
    ops: Vec<Operation<'a>>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    wait: When,
    timeout_ms: Option<u64>,
    #[serde(borrow, default)]
    idempotency_key: Option<Text<'a>>,
    #[serde(borrow, default)]
    session: Option<Text<'a>>,
    #[serde(default)]
    consistency: Sees,
}

impl Request<'_> {
    /// What it asks for.
    fn command(self) -> Result<Command, Refusal> {
        let ops = operations(self.ops, self.encoding)?;
        let session = self.session.map(|text| text.0.parse()).transpose();
        let session = session.map_err(|_| Refusal::input("session must be a transaction id"))?;
        if ops.iter().all(|op| matches!(op, Op::Get { .. })) {
            let consistency = match self.consistency {
                Sees::Linearizable => Consistency::Linearizable,
                Sees::Committed => Consistency::Committed,
                Sees::Local => Consistency::Local,
            };
            return Ok(Command::Read { ops, consistency, session });
        }
        let timeout_ms = self.timeout_ms.unwrap_or(COMMIT_WAIT_MS);
        if timeout_ms > MAX_WAIT_MS {
            let message = format!("timeout_ms must be a number up to {MAX_WAIT_MS}");
            return Err(Refusal::parameter(message));
        }
        let wait = match self.wait {
            When::Response => Wait::Response,
            When::Committed => Wait::Committed { timeout_ms },
        };
        let key = self.idempotency_key.map(|text| good_idempotency_key(text.0.as_bytes()));
        Ok(Command::Write { ops, idempotency: key.transpose()?, wait, session })
    }
}

/// The id of a line that is no request.
#[derive(Deserialize)]
struct Id {
    id: Option<u64>,
}

/// The answer to a request.
#[derive(Serialize)]
struct Answer {
    id: u64,
    #[serde(serialize_with = "as_text")]
    transaction_id: TxId,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    results: Vec<Shown>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

fn as_text<S: Serializer>(tx: &TxId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(tx)
}

/// A request that is not answered yet.
struct UnderWay {
    id: u64,
    encoding: Encoding,
    wait: Wait,
    limit: Duration,
    until: Instant,
}

/// Where requests go in and answers come out.
struct Desk {
    service: Arc<Service>,
    line: Line,
    /// By the number under which the service has them.
    under_way: HashMap<u64, UnderWay>,
    next: u64,
    /// Answers that have not been sent, a line each.
    unsaid: Vec<u8>,
}

impl Desk {
    /// Takes a message.
    fn take(&mut self, message: &[u8]) {
        let now = Instant::now();
        let mut commands = Vec::new();
        for line in message.split(|byte| *byte == b'\n') {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if let Some(command) = self.read(line, now) {
                commands.push((self.next, command));
            }
        }
        let numbers: Vec<u64> = commands.iter().map(|(number, _)| *number).collect();
        if let Err((taken, error)) = self.service.submit(commands, &self.line) {
            let error = Refusal::from(error);
            for number in &numbers[taken..] {
                let id = self.under_way.remove(number).map(|request| request.id);
                self.refuse(id, &error);
            }
        }
    }

    /// Reads a request; it is under way then, as number `next`. One that is none is answered.
    fn read(&mut self, line: &[u8], now: Instant) -> Option<Command> {
        let request: Result<Request<'_>, Refusal> = json_of(line);
        let id = match &request {
            Ok(request) => Some(request.id),
            Err(_) => json_of(line).map_or(None, |Id { id }| id),
        };
        let full = self.under_way.len() >= MAX_UNDER_WAY;
        let read = request.and_then(|request| {
            if full {
                let what = format!("more than {MAX_UNDER_WAY} requests are under way here");
                return Err(Error::new(Code::TooManyPendingTransactions, what).into());
            }
            Ok((request.id, request.encoding, request.command()?))
        });
        let (id, encoding, command) = match read {
            Ok(read) => read,
            Err(refusal) => {
                self.refuse(id, &refusal);
                return None;
            }
        };
        let wait = match &command {
            Command::Write { wait, .. } => *wait,
            _ => Wait::Response,
        };
        let limit = patience(&command);
        let until = now + limit;
        self.next += 1;
        self.under_way.insert(self.next, UnderWay { id, encoding, wait, limit, until });
        Some(command)
    }

    /// What requests came to.
    fn answer(&mut self, outcomes: Vec<(u64, Outcome)>) {
        for (number, outcome) in outcomes {
            // One that was given up may be answered yet.
            let Some(request) = self.under_way.remove(&number) else { continue };
            let id = request.id;
            match answer_to(request, outcome) {
                Ok(answer) => self.say(&answer),
                Err(refusal) => self.refuse(Some(id), &refusal),
            }
        }
    }

    /// Answers what has been under way for too long.
    fn give_up(&mut self, now: Instant) {
        let late = self.under_way.extract_if(|_, request| request.until <= now);
        let late: Vec<UnderWay> = late.map(|(_, request)| request).collect();
        for UnderWay { id, limit, .. } in late {
            self.refuse(Some(id), &unanswered(limit).into());
        }
    }

    fn refuse(&mut self, id: Option<u64>, refusal: &Refusal) {
        let mut error = refusal.to_json();
        error["status"] = json!(refusal.http_status().as_u16());
        let mut answer = json!({ "id": id, "error": error });
        if let Some(tx) = refusal.tx() {
            answer["transaction_id"] = json!(tx.to_string());
        }
        self.say(&answer);
    }

    fn say(&mut self, answer: &impl Serialize) {
        if !self.unsaid.is_empty() {
            self.unsaid.push(b'\n');
        }
        serde_json::to_writer(&mut self.unsaid, answer).expect("a vector takes all");
    }
}

fn answer_to(request: UnderWay, result: Outcome) -> Result<Answer, Refusal> {
    let UnderWay { id, encoding, wait, .. } = request;
    let (transaction_id, status, results, replayed) = match result? {
        Reply::Written { tx, status, results, repeated } => {
            outcome(tx, status, wait)?;
            (tx, Some(status_name(status)), results, repeated)
        }
        Reply::Read { tx, results } => (tx, None, results, false),
        other => return Err(unexpected(&other).into()),
    };
    let results = results.iter().map(|result| Shown::of(result, encoding));
    let results = results.collect::<Result<_, _>>()?;
    Ok(Answer { id, transaction_id, status, results, replayed })
}
