//! The providers: many connections that send signed events, copies of them at the same
//! time and later, a few forgeries, and send each event again until it is answered 2xx.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use oncegate::clock;
use oncegate::config::Source;
use oncegate::verify::Delivery;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::app::{Client, sha256};
use super::child::Site;

/// A provider waits this long for an answer: longer than any answer may take here.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before a provider sends an event again.
const BACK_OFF: Duration = Duration::from_millis(15);

/// One request of a provider and what it knows of it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// `<source>:<key>`.
    pub(super) id: String,
    pub(super) sha256: [u8; 32],
    /// Signed with a wrong secret.
    pub(super) forged: bool,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
    /// `None`: cut, so nobody knows.
    pub(super) answer: Option<Got>,
}

/// An answer as the provider got it.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) outcome: String,
    pub(super) retry_after: bool,
    pub(super) body: Bytes,
}

impl Sent {
    /// The answer, if it was a 2xx.
    pub(super) fn acknowledged(&self) -> Option<&Got> {
        self.answer.as_ref().filter(|got| (200..300).contains(&got.status))
    }

    /// The number of its event.
    pub(super) fn number(&self) -> u64 {
        let (_, rest) = self.id.split_once('_').unwrap();
        rest.split('_').next().unwrap().parse().unwrap()
    }
}

/// What the providers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The gateway is down: wait.
    Wait,
    /// Send new events, copies and what is owed.
    Send,
    /// Only what is owed, until nothing is.
    Finish,
}

#[derive(Debug)]
struct Event {
    source: usize,
    id: String,
    body: Bytes,
    sha256: [u8; 32],
    forged: bool,
}

#[derive(Debug)]
struct Book {
    draw: fastrand::Rng,
    serial: u64,
    /// New events that may yet be made, so that a run's size has a bound.
    room: usize,
    /// To be sent again.
    owed: VecDeque<Arc<Event>>,
    /// Not answered 2xx yet.
    open: HashSet<String>,
    /// The newest events, to send copies of.
    recent: VecDeque<Arc<Event>>,
    log: Vec<Sent>,
}

/// The providers.
#[derive(Debug)]
pub(super) struct Load {
    phase: watch::Sender<Phase>,
    book: Arc<Mutex<Book>>,
    workers: JoinSet<()>,
}

impl Load {
    /// `connections` providers for the sources of `site`, waiting.
    pub(super) fn start(site: &Site, connections: usize, seed: u64) -> Self {
        let (phase, phases) = watch::channel(Phase::Wait);
        let book = Arc::new(Mutex::new(Book {
            draw: fastrand::Rng::with_seed(seed),
            serial: 0,
            room: 0,
            owed: VecDeque::new(),
            open: HashSet::new(),
            recent: VecDeque::new(),
            log: Vec::new(),
        }));
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            let worker = Worker {
                addr: site.public,
                sources: site.sources.clone(),
                book: Arc::clone(&book),
                phases: phases.clone(),
            };
            workers.spawn(worker.run());
        }
        Self { phase, book, workers }
    }

    /// Sends, with at most `room` new events until told otherwise.
    pub(super) fn send(&self, room: usize) {
        self.book.lock().room = room;
        self.phase.send_replace(Phase::Send);
    }

    pub(super) fn wait(&self) {
        self.phase.send_replace(Phase::Wait);
    }

    /// Runs until every event was answered 2xx, at most for `limit`: what never is, the
    /// checker names. Returns all that was sent.
    pub(super) async fn finish(mut self, limit: Duration) -> Vec<Sent> {
        self.phase.send_replace(Phase::Finish);
        let ended = tokio::time::timeout(limit, async {
            while let Some(worker) = self.workers.join_next().await {
                worker.unwrap();
            }
        });
        if ended.await.is_err() {
            self.workers.shutdown().await;
            println!("not answered 2xx in {limit:?}: {} events", self.book.lock().open.len());
        }
        std::mem::take(&mut self.book.lock().log)
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> u64 {
        self.book.lock().serial
    }

    /// A copy of what was sent so far.
    pub(super) fn log(&self) -> Vec<Sent> {
        self.book.lock().log.clone()
    }
}

struct Worker {
    addr: SocketAddr,
    sources: Vec<Arc<Source>>,
    book: Arc<Mutex<Book>>,
    phases: watch::Receiver<Phase>,
}

impl Worker {
    async fn run(mut self) {
        let mut client = Client::new(self.addr);
        loop {
            let phase = match self.phases.wait_for(|phase| *phase != Phase::Wait).await {
                Ok(phase) => *phase,
                Err(_) => return,
            };
            let Some(event) = self.next(phase) else {
                if phase == Phase::Finish && self.book.lock().open.is_empty() {
                    return;
                }
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            let sent = self.send(&mut client, &event).await;
            if self.account(event, sent) {
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }

    fn next(&self, phase: Phase) -> Option<Arc<Event>> {
        let mut book = self.book.lock();
        let dice = book.draw.u8(0..100);
        if phase == Phase::Finish || dice < 40 {
            if let Some(event) = book.owed.pop_front() {
                return Some(event);
            }
            if phase == Phase::Finish {
                return None;
            }
        }
        if book.draw.u8(0..100) < 20 && !book.recent.is_empty() {
            // The newest are often in flight still.
            let last = book.recent.len() - 1;
            let back = book.draw.usize(0..=last).min(book.draw.usize(0..=last));
            return book.recent.get(last - back).cloned();
        }
        book.room = book.room.checked_sub(1)?;
        Some(book.make(&self.sources))
    }

    /// Logs it; true if the provider sends the event again later.
    fn account(&self, event: Arc<Event>, sent: Sent) -> bool {
        let mut book = self.book.lock();
        let acknowledged = sent.acknowledged().is_some();
        book.log.push(sent);
        if acknowledged {
            book.open.remove(&event.id);
            return false;
        }
        let again = book.open.contains(&event.id);
        if again && !book.owed.iter().any(|owed| owed.id == event.id) {
            book.owed.push_back(event);
        }
        again
    }

    async fn send(&self, client: &mut Client, event: &Event) -> Sent {
        let source = &self.sources[event.source];
        let mut delivery = Delivery {
            method: Method::POST,
            query: None,
            headers: http::HeaderMap::new(),
            body: event.body.clone(),
        };
        let key = event.id.split_once(':').unwrap().1;
        source.verifier.sign(&mut delivery, key, clock::wall()).unwrap();
        if event.forged {
            // What was signed is not what is sent.
            delivery.body = Bytes::from([&event.body[..], b" "].concat());
        }
        let mut request = Request::post(&source.path).body(Full::new(delivery.body)).unwrap();
        *request.headers_mut() = delivery.headers;
        let host = self.addr.to_string().parse().unwrap();
        request.headers_mut().insert("host", host);
        let begun = Instant::now();
        let answer = client.send(request, PATIENCE).await;
        let answer = answer.ok().map(|answer| Got {
            status: answer.status().as_u16(),
            outcome: answer
                .headers()
                .get("oncegate-outcome")
                .map_or(String::new(), |word| word.to_str().unwrap().to_owned()),
            retry_after: answer.headers().contains_key("retry-after"),
            body: answer.into_body(),
        });
        let (id, sha256, forged) = (event.id.clone(), event.sha256, event.forged);
        Sent { id, sha256, forged, begun, ended: Instant::now(), answer }
    }
}

impl Book {
    /// A new event: most are small, some are not.
    fn make(&mut self, sources: &[Arc<Source>]) -> Arc<Event> {
        self.serial += 1;
        let source = self.draw.usize(0..sources.len());
        let forged = self.draw.u8(0..100) == 0;
        let mark = if forged { "forged" } else { "evt" };
        let key = format!("{mark}_{:06}_{:08x}", self.serial, self.draw.u32(..));
        let bytes = match self.draw.u8(0..100) {
            0..80 => self.draw.usize(0..500),
            80..98 => self.draw.usize(500..8_000),
            _ => self.draw.usize(8_000..100_000),
        };
        let padding: String = (0..bytes).map(|_| self.draw.alphanumeric()).collect();
        let body = Bytes::from(format!("{{\"id\":\"{key}\",\"padding\":\"{padding}\"}}"));
        let id = format!("{}:{key}", sources[source].name);
        let event = Arc::new(Event { source, id, sha256: sha256(&body), body, forged });
        if !forged {
            self.open.insert(event.id.clone());
            self.recent.push_back(Arc::clone(&event));
            if self.recent.len() > 100 {
                self.recent.pop_front();
            }
        }
        event
    }
}
