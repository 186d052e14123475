//! What the load generator says to a server, and over what: requests that were written down before
//! the measurement, sent over HTTP/1.1, HTTP/2 or a stream of ours by the least code that does it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How long a connection may take to be made, on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Bytes that a server may send before we give it more room (HTTP/2): more than all answers that
/// can be under way on a connection.
const WINDOW: u32 = 4 * 1024 * 1024;
/// Largest answer that is taken over HTTP/1.1, head and body.
const MAX_ANSWER: usize = 1024 * 1024;
/// Headers of an answer that are looked at over HTTP/1.1.
const MAX_HEADERS: usize = 32;
/// Where streams of the main service are.
const STREAM: &str = "/app/stream";
/// Most bytes read from a stream at once: room for them is cleared each time.
const READ: usize = 16 * 1024;
/// Most requests in one message of a stream.
const MOST_ASKS: usize = 1024;

/// How requests travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// HTTP/1.1, a connection per client.
    Http1,
    /// HTTP/2 without TLS and without negotiation, many clients on a connection.
    Http2,
    /// gRPC: HTTP/2 whose result is in the trailers.
    Grpc,
    /// `GET /app/stream` of the main service: a websocket, many clients on a connection.
    Stream,
}

/// A request that needs nothing but to be sent.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Head, as HTTP/2 takes it.
    head: Request<()>,
    /// Body, as HTTP/2 takes it.
    body: Bytes,
    /// All of it, as HTTP/1.1 has it on the line.
    line: Bytes,
    /// What a line of a stream says behind the id of the request.
    said: Bytes,
}

impl Prepared {
    /// A request to a server at `authority`.
    ///
    /// # Panics
    /// If path or headers are not what HTTP allows; they are ours.
    pub fn new(
        method: &str,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Self {
        let body = body.into();
        let mut head = Request::builder().method(method).uri(format!("http://{authority}{path}"));
        let mut line = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n");
        for (name, value) in headers {
            head = head.header(*name, *value);
            line.push_str(&format!("{name}: {value}\r\n"));
        }
        line.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut line = line.into_bytes();
        line.extend_from_slice(&body);
        let head = head.body(()).expect("our own requests are correct");
        Self { head, body, line: line.into(), said: Bytes::new() }
    }

    /// With what a stream is told: an object in JSON, to which an id is added.
    pub fn on_stream(self, said: &serde_json::Value) -> Self {
        let said = said.to_string();
        let rest = said.strip_prefix('{').expect("an object");
        Self { said: Bytes::copy_from_slice(rest.as_bytes()), ..self }
    }
}

/// A message of gRPC as a body: not compressed, length, bytes.
pub fn grpc_frame(message: &impl prost::Message) -> Bytes {
    let length = u32::try_from(message.encoded_len()).expect("our own messages are small");
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    frame.into()
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection cannot be made, or ended.
    #[error("connection: {0}")]
    Lost(String),
    /// The server answered that it did not do it.
    #[error("answered {status}: {said}")]
    Refused {
        /// HTTP status, or that of gRPC.
        status: u16,
        /// The server's words.
        said: String,
    },
}

impl From<h2::Error> for WireError {
    fn from(error: h2::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<tungstenite::Error> for WireError {
    fn from(error: tungstenite::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// A connection, or a share of one.
pub enum Channel {
    /// A connection of one's own.
    Http1 {
        /// The connection.
        stream: TcpStream,
        /// What was read of it.
        input: BytesMut,
    },
    /// A share of a connection.
    Http2 {
        /// Opens streams.
        send: SendRequest<Bytes>,
        /// Whether the result is in the trailers.
        grpc: bool,
    },
    /// A share of a stream.
    Stream {
        /// Takes requests.
        asks: mpsc::UnboundedSender<Ask>,
    },
}

impl Channel {
    /// Connects.
    ///
    /// # Errors
    /// [`WireError::Lost`].
    pub async fn connect(to: SocketAddr, wire: Wire) -> Result<Self, WireError> {
        let late = |_| WireError::Lost(format!("{to} does not take the connection"));
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(to)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        match wire {
            Wire::Http1 => {
                return Ok(Self::Http1 { stream, input: BytesMut::with_capacity(16 * 1024) });
            }
            Wire::Stream => {
                let config = WebSocketConfig::default().read_buffer_size(READ);
                let url = format!("ws://{to}{STREAM}");
                let upgrade = client_async_with_config(url, stream, Some(config));
                let (socket, _) = timeout(CONNECT_LIMIT, upgrade).await.map_err(late)??;
                let (asks, asked) = mpsc::unbounded_channel();
                // Ends with the last share. An error shows in the requests.
                tokio::spawn(converse(socket, asked));
                return Ok(Self::Stream { asks });
            }
            Wire::Http2 | Wire::Grpc => {}
        }
        let handshake = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            .handshake(stream);
        let (send, connection) = timeout(CONNECT_LIMIT, handshake).await.map_err(late)??;
        // Ends with the last share of the connection. An error shows in the requests.
        tokio::spawn(connection);
        Ok(Self::Http2 { send, grpc: wire == Wire::Grpc })
    }

    /// Another share of the same connection; `None` if it cannot be shared.
    pub fn share(&self) -> Option<Self> {
        match self {
            Self::Http1 { .. } => None,
            Self::Http2 { send, grpc } => Some(Self::Http2 { send: send.clone(), grpc: *grpc }),
            Self::Stream { asks } => Some(Self::Stream { asks: asks.clone() }),
        }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// [`WireError`].
    pub async fn call(&mut self, request: &Prepared) -> Result<Bytes, WireError> {
        match self {
            Self::Http1 { stream, input } => call_http1(stream, input, request).await,
            Self::Http2 { send, grpc } => call_http2(send, *grpc, request).await,
            Self::Stream { asks } => {
                let (answer, wait) = oneshot::channel();
                let lost = || WireError::Lost("the stream ended".to_owned());
                asks.send(Ask { said: request.said.clone(), answer }).map_err(|_| lost())?;
                wait.await.map_err(|_| lost())?
            }
        }
    }
}

/// A request for a stream.
#[derive(Debug)]
pub struct Ask {
    said: Bytes,
    answer: oneshot::Sender<Result<Bytes, WireError>>,
}

/// What is looked at in a line that answers.
#[derive(Deserialize)]
struct Answered<'a> {
    id: u64,
    #[serde(borrow)]
    status: Option<&'a str>,
    error: Option<serde_json::Value>,
}

impl Answered<'_> {
    fn failure(&self) -> Option<WireError> {
        if let Some(error) = &self.error {
            let status = error["status"].as_u64().and_then(|status| u16::try_from(status).ok());
            let (status, said) = (status.unwrap_or_default(), error["message"].to_string());
            return Some(WireError::Refused { status, said });
        }
        let open = self.status.filter(|status| *status != "Committed")?;
        Some(WireError::Refused { status: 202, said: open.to_owned() })
    }
}

/// Sends what is asked, all that waits in one message, and hands out what is answered. Whoever still
/// waits when it ends learns it by that.
async fn converse(mut socket: WebSocketStream<TcpStream>, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let (mut next, mut open, mut asks) = (0_u64, HashMap::new(), Vec::new());
    loop {
        let sent = tokio::select! {
            count = asked.recv_many(&mut asks, MOST_ASKS) => {
                if count == 0 {
                    // Nobody waits: an error does not matter.
                    let _ = socket.close(None).await;
                    return;
                }
                let mut text = String::with_capacity(asks.iter().map(|a| a.said.len() + 32).sum());
                for Ask { said, answer } in asks.drain(..) {
                    next += 1;
                    open.insert(next, answer);
                    let said = std::str::from_utf8(&said).expect("JSON is UTF-8");
                    writeln!(text, r#"{{"id":{next},{said}"#).expect("a text takes all");
                }
                socket.send(Message::text(text)).await.is_ok()
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => hand_out(&text.into(), &mut open),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => true,
                _ => false,
            },
        };
        if !sent {
            return;
        }
    }
}

type Open = HashMap<u64, oneshot::Sender<Result<Bytes, WireError>>>;

/// Whether every line of a message answers a request.
fn hand_out(message: &Bytes, open: &mut Open) -> bool {
    for line in message.split(|byte| *byte == b'\n') {
        let Ok(answered) = serde_json::from_slice::<Answered<'_>>(line) else { return false };
        let Some(answer) = open.remove(&answered.id) else { return false };
        let result = answered.failure().map_or_else(|| Ok(message.slice_ref(line)), Err);
        // Who asked may have given up.
        let _ = answer.send(result);
    }
    true
}

async fn call_http2(
    send: &mut SendRequest<Bytes>,
    grpc: bool,
    request: &Prepared,
) -> Result<Bytes, WireError> {
    let mut ready = send.clone().ready().await?;
    let empty = request.body.is_empty();
    let (answer, mut stream) = ready.send_request(request.head.clone(), empty)?;
    if !empty {
        stream.send_data(request.body.clone(), true)?;
    }
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Bytes::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes = joined(bytes, chunk);
    }
    if grpc {
        let trailers = body.trailers().await?;
        let (status, said) = grpc_status(trailers.as_ref().unwrap_or(&head.headers));
        if status != 0 {
            return Err(WireError::Refused { status, said });
        }
        // What precedes the message is known: one message, not compressed.
        return Ok(bytes.slice(bytes.len().min(5)..));
    }
    let status = head.status.as_u16();
    if status != 200 {
        let said = String::from_utf8_lossy(&bytes).into_owned();
        return Err(WireError::Refused { status, said });
    }
    Ok(bytes)
}

/// One chunk is the rule.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut all = BytesMut::from(first);
    all.extend_from_slice(&second);
    all.freeze()
}

fn grpc_status(headers: &HeaderMap) -> (u16, String) {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // Two, "unknown", is what gRPC says of an answer without a status.
    (text("grpc-status").parse().unwrap_or(2), text("grpc-message").to_owned())
}

async fn call_http1(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    request: &Prepared,
) -> Result<Bytes, WireError> {
    stream.write_all(&request.line).await?;
    input.clear();
    loop {
        if stream.read_buf(input).await? == 0 {
            return Err(WireError::Lost("the server closed it".to_owned()));
        }
        if let Some((status, head, length)) = parse_head(input)? {
            while input.len() < head + length {
                if stream.read_buf(input).await? == 0 {
                    return Err(WireError::Lost("the server closed it".to_owned()));
                }
            }
            input.advance(head);
            let body = input.split_to(length).freeze();
            if status != 200 {
                let said = String::from_utf8_lossy(&body).into_owned();
                return Err(WireError::Refused { status, said });
            }
            return Ok(body);
        }
    }
}

/// Status, length of the head and of the body; `None` if the head is not complete.
fn parse_head(input: &[u8]) -> Result<Option<(u16, usize, usize)>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let strange = |what: String| WireError::Lost(format!("the answer is strange: {what}"));
    let head = match answer.parse(input).map_err(|e| strange(e.to_string()))? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial if input.len() > MAX_ANSWER => {
            return Err(strange("its head does not end".to_owned()));
        }
        httparse::Status::Partial => return Ok(None),
    };
    let status = answer.code.unwrap_or_default();
    let length = answer.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.parse().ok());
    match length {
        _ if status == 204 => Ok(Some((status, head, 0))),
        Some(length) if length <= MAX_ANSWER => Ok(Some((status, head, length))),
        Some(length) => Err(strange(format!("{length} bytes"))),
        None => Err(strange("its length is not given".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_when_its_head_is_complete() {
        let answer = b"HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse_head(&answer[..20]).expect("no error"), None);
        assert_eq!(parse_head(answer).expect("no error"), Some((503, answer.len() - 3, 3)));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_head(b"something else\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_is_the_same_on_both_lines() {
        let request = Prepared::new("PUT", "h:1", "/a?b=c", &[("x-y", "z")], "body");
        let line = "PUT /a?b=c HTTP/1.1\r\nhost: h:1\r\nx-y: z\r\ncontent-length: 4\r\n\r\nbody";
        assert_eq!(request.line, line);
        assert_eq!(request.head.uri(), "http://h:1/a?b=c");
        assert_eq!(request.body, "body");
    }

    #[test]
    fn a_line_of_a_stream_is_an_answer_or_a_failure() {
        let failure = |line: &str| -> Option<String> {
            let answered: Answered<'_> = serde_json::from_str(line).expect("JSON");
            answered.failure().map(|error| error.to_string())
        };
        assert_eq!(failure(r#"{"id":1,"status":"Committed","results":[{}]}"#), None);
        assert_eq!(failure(r#"{"id":1,"results":[{"value":"dg=="}]}"#), None);
        let pending = failure(r#"{"id":1,"status":"Pending"}"#);
        assert_eq!(pending.as_deref(), Some("answered 202: Pending"));
        let refused = failure(r#"{"id":1,"error":{"status":503,"message":"no"}}"#);
        assert_eq!(refused.as_deref(), Some("answered 503: \"no\""));
    }

    #[test]
    fn a_missing_status_is_no_success() {
        assert_eq!(grpc_status(&HeaderMap::new()).0, 2);
    }
}
