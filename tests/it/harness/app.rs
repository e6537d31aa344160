//! The application: it records every request it gets and answers by a script.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::{Head, body_of, head_of};

/// One request the application got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    /// `POST`.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When its last byte came.
    pub at: Instant,
}

impl Got {
    /// The one value of a header; fails if there are two.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice");
        value
    }
}

/// What the application does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Answers with a status, headers and a body of stated length.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Waits for [`App::release`] first.
    Held(Box<Step>),
    /// Says nothing until the gateway hangs up.
    Hang,
    /// Hangs up after the request was read.
    HangUp,
    /// Resets the connection after the request was read.
    Reset,
    /// Answers as [`Step::says`] does and hangs up without having said so.
    AnswerAndHangUp(u16, &'static str),
    /// Answers the head of a longer body and this much of it, then hangs up.
    Cut(u16, Vec<u8>),
    /// Answers a body in pieces of a byte, with a pause after each.
    Drip(u16, Vec<u8>, Duration),
}

impl Step {
    /// An answer with a text for a body.
    pub(crate) fn says(status: u16, body: &str) -> Self {
        let kind = ("content-type", "text/plain".to_owned());
        Self::Answer(status, vec![kind], body.as_bytes().to_vec())
    }

    /// An answer with one header of interest.
    pub(crate) fn with(status: u16, header: (&'static str, &str), body: &str) -> Self {
        Self::Answer(status, vec![(header.0, header.1.to_owned())], body.as_bytes().to_vec())
    }

    /// The same, once released.
    pub(crate) fn held(self) -> Self {
        Self::Held(Box::new(self))
    }
}

type Script = dyn Fn(&Got, usize) -> Step + Send + Sync;

struct Shared {
    script: Box<Script>,
    got: watch::Sender<Vec<Arc<Got>>>,
    gate: Semaphore,
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// Requests whose connection was gone before they were answered.
    left: watch::Sender<usize>,
}

/// An application that listens on a free port.
pub(crate) struct App {
    /// Its URL.
    pub url: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl App {
    /// An application that does the same with every request.
    pub(crate) async fn always(step: Step) -> Self {
        Self::start(move |_, _| step.clone()).await
    }

    /// An application that takes one step a request, and the last one again and again.
    pub(crate) async fn steps<const N: usize>(steps: [Step; N]) -> Self {
        Self::start(move |_, nth| steps[nth.min(N - 1)].clone()).await
    }

    /// An application that is told what to do with each request; they are counted from 0.
    pub(crate) async fn start(
        script: impl Fn(&Got, usize) -> Step + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            script: Box::new(script),
            got: watch::Sender::new(Vec::new()),
            gate: Semaphore::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            left: watch::Sender::new(0),
        });
        let serving = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { url, shared, listening }
    }

    /// Every request so far.
    pub(crate) fn got(&self) -> Vec<Arc<Got>> {
        self.shared.got.borrow().clone()
    }

    /// Every request, once there are `count`.
    pub(crate) async fn until(&self, count: usize) -> Vec<Arc<Got>> {
        let mut watching = self.shared.got.subscribe();
        watching.wait_for(|got| got.len() >= count).await.unwrap().clone()
    }

    /// Waits until the gateway has hung up on `count` requests that were not answered.
    pub(crate) async fn until_left(&self, count: usize) {
        let mut watching = self.shared.left.subscribe();
        watching.wait_for(|left| *left >= count).await.unwrap();
    }

    /// Lets `count` held requests go on.
    pub(crate) fn release(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }

    /// The most requests that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(Head { first, headers }) = head_of(&mut stream, &mut buffer).await {
        let Some(body) = body_of(&mut stream, &mut buffer, &headers).await else { return };
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let got = Arc::new(Got { method, target, headers, body, at: Instant::now() });
        let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_open.fetch_max(open, Ordering::SeqCst);
        let mut nth = 0;
        shared.got.send_modify(|all| {
            nth = all.len();
            all.push(Arc::clone(&got));
        });
        let step = (shared.script)(&got, nth);
        let kept = answer(&mut stream, step, &shared).await;
        shared.open.fetch_sub(1, Ordering::SeqCst);
        if !kept {
            return;
        }
    }
}

/// Takes one step; true if the connection can carry another request.
async fn answer(stream: &mut TcpStream, step: Step, shared: &Shared) -> bool {
    match step {
        Step::Held(step) => {
            let mut byte = [0];
            tokio::select! {
                released = shared.gate.acquire() => released.unwrap().forget(),
                _ = stream.read(&mut byte) => {
                    shared.left.send_modify(|left| *left += 1);
                    return false;
                },
            }
            Box::pin(answer(stream, *step, shared)).await
        },
        Step::Answer(status, headers, body) => {
            let head = head(status, &headers, body.len());
            write(stream, &[head.as_bytes(), &body].concat()).await
        },
        Step::Hang => {
            let mut byte = [0];
            drop(stream.read(&mut byte).await);
            shared.left.send_modify(|left| *left += 1);
            false
        },
        Step::AnswerAndHangUp(status, body) => {
            let head = head(status, &[], body.len());
            write(stream, &[head.as_bytes(), body.as_bytes()].concat()).await;
            false
        },
        Step::HangUp => false,
        Step::Reset => {
            stream.set_zero_linger().unwrap();
            false
        },
        Step::Cut(status, body) => {
            let head = head(status, &[], body.len() + 10);
            write(stream, &[head.as_bytes(), &body].concat()).await;
            false
        },
        Step::Drip(status, body, pause) => {
            let mut whole = write(stream, head(status, &[], body.len()).as_bytes()).await;
            for byte in body {
                sleep(pause).await;
                whole = whole && write(stream, &[byte]).await;
            }
            whole
        },
    }
}

/// Without a `Date`: what the gateway adds of its own shows.
fn head(status: u16, headers: &[(&'static str, String)], length: usize) -> String {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Said\r\n{lines}content-length: {length}\r\n\r\n")
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok()
}
