//! The load: a closed loop, which shows what patient providers get, or an open one at a rate of
//! its own, which does not wait for a slow gateway. There a latency counts from when the request
//! was due: what waits for a free connection is late, and is not hidden.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::answer::{self, Verdict};
use super::event::{Id, Request};
use super::run::{Run, Times};

/// How long answers are waited for once nothing more is sent.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// Among how many the connections share what they count.
const SHARED: usize = 8;

/// What is sent where.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) path: String,
    /// What a right answer's `Oncegate-Outcome` says; no baseline has one.
    pub(crate) outcome: Option<&'static str>,
    pub(crate) draw: Draw,
    /// Bytes of a body.
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Which events are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    /// New ones, but for this share of copies of what the connection sent before.
    New { copies: f64 },
    /// Copies of stored ones, drawn at random among so many.
    Stored(u64),
}

/// When a request is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When its connection's last one is answered.
    Closed,
    /// So many a second.
    Open(f64),
}

/// Ends a load early.
pub(crate) type Stop = Arc<AtomicBool>;

/// What all connections share.
#[derive(Debug)]
struct Course {
    load: Load,
    started: Instant,
    begin: Instant,
    /// The next request of an open loop.
    next: AtomicU64,
    over: Stop,
    /// What the connections found: a few of them each have one together, since histograms
    /// for thousands would be too much memory.
    runs: Vec<Mutex<Run>>,
}

/// Sends `load` until `over` is set or its time has come, and waits for the last answers.
pub(crate) async fn run_until(load: Load, over: Stop) -> anyhow::Result<Run> {
    let mut streams = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        let stream = TcpStream::connect(load.to).await.context("a connection of the load")?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    // Not before all are open: the first event of each is to be in the warm-up.
    let started = Instant::now();
    let begin = started + load.warm_up;
    let runs = (0..SHARED).map(|_| Mutex::new(Run::new())).collect();
    let course = Arc::new(Course { load, started, begin, next: AtomicU64::new(0), over, runs });
    let connections: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(nth, stream)| tokio::spawn(connection(Arc::clone(&course), stream, nth)))
        .collect();
    let end = course.begin + course.load.measured;
    while Instant::now() < end && !course.over.load(Ordering::Relaxed) {
        tokio::time::sleep_until(end.min(Instant::now() + Duration::from_millis(20)).into()).await;
    }
    course.over.store(true, Ordering::Relaxed);
    let ended = Instant::now();
    let last = tokio::time::Instant::now() + LAST_ANSWERS;
    for connection in connections {
        let ended = tokio::time::timeout_at(last, connection).await;
        ended.context("no answer")?.context("a connection's task")?;
    }
    let mut all = Run::new();
    for run in &course.runs {
        all.add(&run.lock());
    }
    all.measured = ended.saturating_duration_since(course.begin);
    all.due = course.due_before(ended) - course.due_before(course.begin);
    Ok(all)
}

impl Course {
    /// How many requests of an open loop were due.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    fn due_before(&self, moment: Instant) -> u64 {
        let Pace::Open(rate) = self.load.pace else { return 0 };
        (rate * moment.saturating_duration_since(self.started).as_secs_f64()) as u64
    }

    fn is_measured(&self, moment: Instant) -> bool {
        moment >= self.begin && !self.over.load(Ordering::Relaxed)
    }

    /// Waits for the next request's moment, and tells it; `None`: there is no next one.
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
    async fn turn(&self) -> Option<Instant> {
        let due = match self.load.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => {
                let nth = self.next.fetch_add(1, Ordering::Relaxed);
                let due = self.started + Duration::from_secs_f64(nth as f64 / rate);
                if due > Instant::now() {
                    // To the millisecond: so late may each be.
                    tokio::time::sleep_until(due.into()).await;
                }
                due
            },
        };
        (!self.over.load(Ordering::Relaxed)).then_some(due)
    }
}

async fn connection(course: Arc<Course>, mut stream: TcpStream, nth: usize) {
    let run = course.runs.get(nth % SHARED).expect("one of them");
    if let Err(error) = send(&course, &mut stream, run).await {
        let mut run = run.lock();
        run.broken += 1;
        run.breach = Some(format!("{error}, {:.1?} after the start", course.started.elapsed()));
    }
}

async fn send(course: &Course, stream: &mut TcpStream, run: &Mutex<Run>) -> io::Result<()> {
    let load = &course.load;
    let mut request = Request::new(load.to, &load.path, load.size);
    let mut input = Vec::with_capacity(4096);
    let mut earlier = None;
    while let Some(due) = course.turn().await {
        let (id, outcome) = match load.draw {
            Draw::Stored(count) => (Id::of(fastrand::u64(..count)), load.outcome),
            Draw::New { copies } => match earlier {
                Some(id) if copies > 0.0 && fastrand::f64() < copies => {
                    (id, load.outcome.map(|_| "duplicate"))
                },
                _ => (Id::random(), load.outcome),
            },
        };
        let bytes = request.of(&id);
        let sent = Instant::now();
        stream.write_all(bytes).await?;
        run.lock().sent += u64::from(course.is_measured(sent));
        let verdict = answer::read(stream, &mut input, outcome).await?;
        let now = Instant::now();
        let since_due = now.saturating_duration_since(due);
        let times = Times { since_due, since_sent: now.saturating_duration_since(sent) };
        run.lock().count(verdict, times, due >= course.begin, course.is_measured(now));
        if verdict == Verdict::Right {
            earlier = Some(id);
        }
    }
    Ok(())
}
