//! The application: its own thread, outside the gateway's process, never killed. It logs
//! every request and follows a script: most succeed, some fail, some act and hang up, some
//! are slow, a few are slower than the gateway waits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the application did with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// It answered this status and body.
    Answered(u16, Bytes),
    /// It acted and hung up.
    HungUp,
}

/// One request that the application got in full.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    /// The `Idempotency-Key`, without its quotes.
    pub(super) id: String,
    pub(super) attempt: u32,
    /// `Oncegate-Unknown: true`.
    pub(super) flagged: bool,
    pub(super) sha256: [u8; 32],
    pub(super) begun: Instant,
    /// When it acted and what it answered; `None` while it is at work.
    pub(super) ended: Option<(Instant, Did)>,
}

impl Receipt {
    /// Whether the application said no: it may be asked again with a clear conscience.
    pub(super) fn refused(&self) -> bool {
        matches!(&self.ended, Some((_, Did::Answered(status, _))) if !(200..300).contains(status))
    }

    /// The body of its 2xx, if it gave one.
    pub(super) fn accepted(&self) -> Option<&Bytes> {
        match &self.ended {
            Some((_, Did::Answered(200..300, body))) => Some(body),
            _ => None,
        }
    }
}

/// What the application does, in parts of a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) fails: u64,
    pub(super) hangs_up: u64,
    pub(super) slow: u64,
    /// Slower than the gateway's `timeout`.
    pub(super) too_slow: u64,
}

impl Script {
    /// A troubled application.
    pub(super) fn troubled(seed: u64) -> Self {
        Self { seed, fails: 50, hangs_up: 30, slow: 30, too_slow: 2 }
    }

    /// The pause and the deed for an attempt. Later attempts go well, so that a run ends.
    fn plan(&self, id: &str, attempt: u32) -> (Duration, Deed) {
        let text = format!("{id} {attempt} {}", self.seed);
        let mut draw = fastrand::Rng::with_seed(xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
        let pause = Duration::from_millis(draw.u64(0..=20));
        let mut place = draw.u64(0..1000);
        if attempt > 4 {
            return (pause, Deed::Accept);
        }
        let mut falls_in = |part: u64| {
            let hit = place < part;
            place = if hit { u64::MAX } else { place - part.min(place) };
            hit
        };
        if falls_in(self.fails) {
            (pause, Deed::Fail)
        } else if falls_in(self.hangs_up) {
            (pause, Deed::HangUp)
        } else if falls_in(self.slow) {
            (Duration::from_millis(draw.u64(100..=400)), Deed::Accept)
        } else if falls_in(self.too_slow) {
            (TOO_SLOW, Deed::Accept)
        } else {
            (pause, Deed::Accept)
        }
    }
}

/// Longer than the `timeout` of the runs' settings.
const TOO_SLOW: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug)]
enum Deed {
    Accept,
    Fail,
    HangUp,
}

type Log = Arc<Mutex<Vec<Receipt>>>;

/// A running application; it ends when dropped.
#[derive(Debug)]
pub(super) struct App {
    pub(super) addr: SocketAddr,
    log: Log,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl App {
    pub(super) fn start(script: Script) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (addr, log) = (listener.local_addr()?, Log::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let seen = Arc::clone(&log);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = serve(listener, script, seen) => {}, _ = stopped => {} }
            });
        });
        Ok(Self { addr, log, stop: Some(stop), thread: Some(thread) })
    }

    /// Every request so far.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        self.log.lock().clone()
    }

    /// Whether it is at work on nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.log.lock().iter().all(|receipt| receipt.ended.is_some())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn serve(listener: std::net::TcpListener, script: Script, log: Log) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            stream.set_nodelay(true).unwrap();
            let service = service_fn(move |request| receive(request, script, Arc::clone(&log)));
            // A gateway that was killed is an error here, and nothing new.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Acts in a task of its own: a gateway that hangs up does not stop an application.
async fn receive(
    request: Request<Incoming>,
    script: Script,
    log: Log,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    // Cut before it was whole: no application acts on that.
    let Ok(body) = body.collect().await else { return Err(io::Error::other("cut")) };
    let acting = tokio::spawn(act(head.headers, body.to_bytes(), begun, script, log));
    match acting.await.map_err(io::Error::other)? {
        Did::Answered(status, body) => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(response)
        },
        Did::HungUp => Err(io::Error::other("hung up")),
    }
}

async fn act(headers: HeaderMap, body: Bytes, begun: Instant, script: Script, log: Log) -> Did {
    let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let receipt = Receipt {
        id: text("idempotency-key").trim_matches('"').to_owned(),
        attempt: text("oncegate-attempt").parse().unwrap_or(0),
        flagged: text("oncegate-unknown") == "true",
        sha256: sha256(&body),
        begun,
        ended: None,
    };
    let (pause, deed) = script.plan(&receipt.id, receipt.attempt);
    let (id, serial) = {
        let mut log = log.lock();
        log.push(receipt.clone());
        (receipt.id, log.len() - 1)
    };
    tokio::time::sleep(pause).await;
    // The serial makes every answer another: a copy's tells which request it came from.
    let did = match deed {
        Deed::Accept => Did::Answered(200, Bytes::from(format!("{id} accepted as #{serial}"))),
        Deed::Fail => Did::Answered(500, Bytes::from(format!("{id} failed as #{serial}"))),
        Deed::HangUp => Did::HungUp,
    };
    if let Some(receipt) = log.lock().get_mut(serial) {
        receipt.ended = Some((Instant::now(), did.clone()));
    }
    did
}

/// SHA-256, as an array.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// One connection that is opened anew after an error.
#[derive(Debug)]
pub(super) struct Client {
    addr: SocketAddr,
    sender: Option<hyper::client::conn::http1::SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self { addr, sender: None }
    }

    /// Sends a request; `Err` where no whole answer came within `limit`.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Bytes>, String> {
        let sent = tokio::time::timeout(limit, self.exchange(request)).await;
        let answer = sent.unwrap_or_else(|_| Err(format!("no answer in {limit:?}")));
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    /// A GET that was answered 200.
    pub(super) async fn get(&mut self, path: &str) -> Result<Bytes, String> {
        let request = Request::get(path).header("host", self.addr.to_string());
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let answer = self.send(request, Duration::from_secs(10)).await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        Err(format!("GET {path}: {} {}", answer.status(), body.trim()))
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let said = |error: hyper::Error| error.to_string();
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            Some(_) | None => self.connect().await?,
        };
        sender.ready().await.map_err(said)?;
        let (head, body) = sender.send_request(request).await.map_err(said)?.into_parts();
        let body = body.collect().await.map_err(said)?.to_bytes();
        self.sender = Some(sender);
        Ok(Response::from_parts(head, body))
    }

    async fn connect(
        &self,
    ) -> Result<hyper::client::conn::http1::SendRequest<Full<Bytes>>, String> {
        let stream =
            tokio::net::TcpStream::connect(self.addr).await.map_err(|it| it.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
