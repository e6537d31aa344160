//! A provider's side of the wire: requests byte by byte, answers down to the last byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Where to.
    pub to: SocketAddr,
    /// `POST`.
    pub method: &'static str,
    /// The path and the query.
    pub target: String,
    /// The headers, in order; `Host`, unless it is there, and `Content-Length` are added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A POST of `body`.
    pub(crate) fn new(to: SocketAddr, target: &str, body: Vec<u8>) -> Self {
        Self { to, method: "POST", target: target.to_owned(), headers: Vec::new(), body }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a query.
    pub(crate) fn query(mut self, query: &str) -> Self {
        self.target = format!("{}?{query}", self.target);
        self
    }

    /// The same with another body, the signature left as it is.
    pub(crate) fn tampered(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request as it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(&format!("content-length: {}\r\n", self.body.len())), self.body.clone()].concat()
    }

    /// The head, with `more` lines.
    pub(crate) fn head(&self, more: &str) -> Vec<u8> {
        let Self { method, target, .. } = self;
        let lines = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let lines: String = lines.collect();
        let named = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = if named { "" } else { "host: hooks.example\r\n" };
        format!("{method} {target} HTTP/1.1\r\n{host}{lines}{more}\r\n").into_bytes()
    }

    /// Sends it to another gateway.
    pub(crate) async fn send_to(&self, to: SocketAddr) -> Answer {
        Self { to, ..self.clone() }.send().await
    }

    /// Sends it over a connection of its own.
    pub(crate) async fn send(&self) -> Answer {
        Connection::open(self.to).await.send(self).await
    }
}

/// One answer, every byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The one value of a header; fails if there are two.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice");
        value
    }

    /// What became of the delivery.
    pub(crate) fn outcome(&self) -> &str {
        self.header("oncegate-outcome").expect("every answer says its outcome")
    }

    /// Status and outcome.
    pub(crate) fn told(&self) -> (u16, &str) {
        (self.status, self.outcome())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The answer less what may differ between copies: whether it is one, and the time of
    /// day, which the server adds where the application sent none.
    pub(crate) fn for_all_copies(mut self) -> Self {
        let differs = ["oncegate-outcome", "idempotency-replayed", "date"];
        self.headers.retain(|(name, _)| !differs.contains(&name.as_str()));
        self
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(to).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends bytes; false if the other side is gone.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next answer; `None` if the connection ends before its end.
    pub(crate) async fn read(&mut self) -> Option<Answer> {
        let Head { first, headers } = head_of(&mut self.stream, &mut self.buffer).await?;
        let body = body_of(&mut self.stream, &mut self.buffer, &headers).await?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, headers, body })
    }

    /// Reads the head of an answer, and maybe a part of its body.
    pub(crate) async fn read_head(&mut self) {
        head_of(&mut self.stream, &mut self.buffer).await.expect("a head");
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Answer {
        assert!(self.write(&request.bytes()).await, "the gateway hung up");
        self.read().await.expect("an answer")
    }

    /// Whether the other side has hung up, in order and without another byte.
    pub(crate) async fn has_ended(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.stream.read_buf(&mut self.buffer).await, Ok(0))
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Hangs up with a reset, as a provider's time-out may.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// The head of a message.
pub(crate) struct Head {
    /// Its first line.
    pub first: String,
    /// Its headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
}

/// The next head; `None` at the end of the connection.
pub(crate) async fn head_of(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Head> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let mut lines = text.trim_end().split("\r\n");
    let first = lines.next()?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Some(Head { first, headers })
}

/// The body that follows a head; `None` if it is cut.
pub(crate) async fn body_of(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    headers: &[(String, String)],
) -> Option<Vec<u8>> {
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(buffer.drain(..length).collect())
}
