//! The load: hand-written HTTP/1.1, so that the provider's side costs as little as can be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{HeaderMap, Method};
use oncegate::clock;
use oncegate::config::Source;
use oncegate::verify::Delivery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of a body, about.
const BODY: usize = 1024;

/// What is sent, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) path: String,
    /// Whose signatures are made.
    pub(crate) source: Arc<Source>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) same: bool,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Run {
    /// Microseconds from the first byte sent to the last received.
    pub(crate) latency: Histogram<u64>,
    /// Right answers, the warm-up's included.
    pub(crate) accepted: u64,
    pub(crate) wrong: u64,
    measured: Duration,
}

impl Run {
    fn new(measured: Duration) -> Self {
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("right bounds");
        Self { latency, accepted: 0, wrong: 0, measured }
    }

    /// Events a second.
    pub(crate) fn rate(&self) -> f64 {
        Self::per_second(self.latency.len(), self.measured)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
        count as f64 / took.as_secs_f64()
    }
}

/// Sends `load` and waits for its end.
pub(crate) async fn run(load: Load) -> Run {
    let mut streams = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        streams.push(TcpStream::connect(load.to).await.expect("a connection"));
    }
    // Not before all are open: the first event of each is to be in the warm-up.
    let begin = Instant::now() + load.warm_up;
    let end = begin + load.measured;
    let load = Arc::new(load);
    let connections: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(connection(Arc::clone(&load), stream, begin, end)))
        .collect();
    let mut all = Run::new(load.measured);
    for connection in connections {
        let run = connection.await.expect("a connection's task");
        all.latency.add(run.latency).expect("the same bounds");
        all.accepted += run.accepted;
        all.wrong += run.wrong;
    }
    all
}

async fn connection(load: Arc<Load>, mut stream: TcpStream, begin: Instant, end: Instant) -> Run {
    let mut run = Run::new(load.measured);
    stream.set_nodelay(true).expect("an option of the socket");
    let (mut out, mut input) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    let own = id();
    loop {
        out.clear();
        let fresh = if load.same { own.clone() } else { id() };
        write(&load, &fresh, &mut out);
        let sent = Instant::now();
        if sent >= end {
            return run;
        }
        stream.write_all(&out).await.expect("an open connection");
        let right = answer(&mut stream, &mut input, load.outcome).await;
        let now = Instant::now();
        run.accepted += u64::from(right);
        if sent >= begin && now < end {
            let micros = u64::try_from((now - sent).as_micros()).expect("a short time");
            run.latency.record(micros.max(1)).expect("within bounds");
            run.wrong += u64::from(!right);
        }
    }
}

/// Random: an id that grew would be kinder to the store than providers are.
fn id() -> String {
    format!("evt_{:016x}{:08x}", fastrand::u64(..), fastrand::u32(..))
}

/// One request, signed as of now.
fn write(load: &Load, id: &str, out: &mut Vec<u8>) {
    let mut body = format!(
        "{{\"id\":\"{id}\",\"object\":\"event\",\"type\":\"invoice.paid\",\"created\":{},\
         \"data\":{{\"object\":{{\"id\":\"in_1\",\"amount\":4900,\"note\":\"",
        // The same for every copy.
        1_795_000_000
    );
    body.extend(std::iter::repeat_n('x', BODY - body.len() - 4));
    body += "\"}}}";
    let mut delivery = Delivery {
        method: Method::POST,
        query: None,
        headers: HeaderMap::with_capacity(4),
        body: Bytes::from(body),
    };
    load.source.verifier.sign(&mut delivery, id, clock::wall()).expect("a signature");
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        load.path,
        load.to,
        delivery.body.len()
    );
    out.extend_from_slice(head.as_bytes());
    for (name, value) in &delivery.headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&delivery.body);
}

/// Reads one answer whole; whether it is the right one.
async fn answer(stream: &mut TcpStream, input: &mut Vec<u8>, outcome: Option<&str>) -> bool {
    input.clear();
    loop {
        let read = stream.read_buf(input).await.expect("an answer");
        assert!(read > 0, "the connection was closed");
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(input.get(..end).expect("found there")).expect("text");
        let field = |name: &str| {
            let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
            lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let length: usize = field("content-length").map_or(0, |it| it.parse().expect("a number"));
        if input.len() >= end + 4 + length {
            return head.starts_with("HTTP/1.1 200") && field("oncegate-outcome") == outcome;
        }
    }
}
