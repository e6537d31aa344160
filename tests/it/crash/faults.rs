//! The n-th operation of the disk fails, for every n.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncegate::clock::Clock;
use oncegate::record::{Act, Label, Meets, Token, Verdict, What};
use oncegate::store::{Health, RedbStore, Seen, Store as _, Unavailable};
use oncegate::time::Millis;
use tokio::time::timeout;

use super::disk::{Disk, Fault, Image, Op};
use super::image::Cutter;
use super::world::{self, History, KEEP, Known, START, body};

/// Far longer than anything here takes.
const NEVER: Duration = Duration::from_secs(20);
/// Runs wait for a full disk most of the time.
const THREADS: usize = 12;

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive(&'static str, usize),
    /// The elements of a batch.
    All(&'static [&'static str]),
    Settle(&'static str, Verdict),
    Take(&'static str),
    Operate(&'static str, Act),
    Note(&'static str),
    Sweep,
    Compact,
}
use Step::{All, Arrive, Compact, Note, Operate, Settle, Sweep, Take};

const BATCH: &[&str] = &["b:a", "b:b", "b:c", "b:a"];

/// What happens one after the other; what stands in one row happens at once. One step a row
/// draws tokens: so they are the same in each run.
const SCRIPT: &[&[Step]] = &[
    &[Arrive("p:a", 3000)],
    &[Settle("p:a", Verdict::Success), Arrive("q:a", 100)],
    &[Arrive("p:b", 0)],
    &[Compact],
    &[Settle("p:b", Verdict::Failed), Take("q")],
    &[Settle("q:a", Verdict::Success), Arrive("p:c", 20_000)],
    &[Settle("p:c", Verdict::Final), Arrive("p:b", 10)],
    &[Operate("q:a", Act::Redeliver { force: true }), Settle("p:b", Verdict::Success)],
    &[Take("q"), Note("p:a")],
    &[Arrive("h:a", 700)],
    &[Settle("h:a", Verdict::Unknown), Settle("q:a", Verdict::Success)],
    &[Sweep],
    &[Arrive("p:d", 9000)],
    &[All(BATCH)],
    &[Compact, Settle("p:d", Verdict::Success)],
    &[Operate("h:a", Act::SettleDone), Arrive("q:b", 5000)],
];

/// A run of the script on a disk, up to what failed.
struct Runner {
    store: RedbStore,
    clock: Arc<Clock>,
    leads: Mutex<HashMap<String, Token>>,
}

impl Runner {
    fn new(store: RedbStore, clock: Arc<Clock>) -> Self {
        Self { store, clock, leads: Mutex::default() }
    }

    async fn act(&self, step: Step) -> Result<(), Unavailable> {
        match step {
            Arrive(id, len) => {
                let (copy, payload) = world::delivery(id, &body(id, len));
                let met = self.store.arrive(copy, &payload).await?.arrival.meets;
                if let Meets::Lead(lead) = met {
                    self.leads.lock().unwrap().insert(id.to_owned(), lead.token);
                }
            },
            All(ids) => {
                let elements = ids.iter().map(|id| world::delivery(id, &body(id, 5000)));
                self.store.arrive_all(elements.collect()).await?;
            },
            Settle(id, verdict) => {
                let token = self.leads.lock().unwrap()[id];
                self.store.settle(id, token, world::settlement(verdict, b"answer")).await?;
            },
            Take(source) => {
                for event in self.store.take_due(source, 10).await?.events {
                    self.leads.lock().unwrap().insert(event.id, event.lead.token);
                }
            },
            Operate(id, act) => {
                self.store.operate(id, act, "because").await?.unwrap();
            },
            Note(id) => {
                let outcome = "duplicate".to_owned();
                self.store.note(id, Seen { at: START, outcome, status: 200, mismatch: false });
                self.store.flush().await?;
            },
            Sweep => {
                self.clock.advance(KEEP);
                self.store.sweep().await?;
            },
            Compact => {
                self.store.compact().await?;
            },
        }
        Ok(())
    }

    /// Does one row; what came of each of its steps.
    async fn row(&self, row: &[Step]) -> Vec<Result<(), Unavailable>> {
        let step = |n: usize| async move {
            match row.get(n) {
                Some(step) => Some(timeout(NEVER, self.act(*step)).await.expect("a verb hangs")),
                None => None,
            }
        };
        let (a, b, c) = tokio::join!(step(0), step(1), step(2));
        [a, b, c].into_iter().flatten().collect()
    }
}

/// What happens without a fault: the bytes it starts from, each event's states by row (0 is
/// before the start, 1 after it), and how many operations it takes.
struct Clean {
    base: Image,
    history: History,
    ops: usize,
    end: Millis,
}

async fn clean() -> Clean {
    let (disk, clock) = (Disk::default(), Arc::new(Clock::still(START)));
    let store = world::open(&disk, &clock).unwrap();
    let (copy, payload) = world::delivery("p:left", b"in flight when the process ends");
    store.arrive(copy, &payload).await.unwrap();
    let mut history = History::default();
    let (snapshot, noted) = world::look(&store, "p:left").await.unwrap();
    history.add("p:left", Known { ops: 0, snapshot: snapshot.map(Arc::new), noted });
    store.close().await;

    let base = disk.image();
    let disk = Disk::new(base.clone());
    let runner = Runner::new(world::open(&disk, &clock).unwrap(), Arc::clone(&clock));
    history.batches.push(BATCH.iter().map(|id| (*id).to_owned()).collect());
    let ids = ["p:left", "p:a", "p:b", "p:c", "p:d", "q:a", "h:a", "q:b"].iter().chain(&BATCH[..3]);
    for row in 0..=SCRIPT.len() {
        if let Some(before) = row.checked_sub(1) {
            assert!(runner.row(SCRIPT[before]).await.iter().all(Result::is_ok));
        }
        for id in ids.clone() {
            let (snapshot, noted) = world::look(&runner.store, id).await.unwrap();
            history.add(id, Known { ops: row + 1, snapshot: snapshot.map(Arc::new), noted });
        }
    }
    runner.store.close().await;
    Clean { base, history, ops: disk.ops(), end: clock.now() }
}

/// Runs `test` for each operation that can fail, on many threads: most of them wait.
fn for_every_operation<F: Future<Output = ()>>(test: impl Fn(Arc<Clean>, usize) -> F + Sync) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clean = Arc::new(runtime().block_on(clean()));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let runtime = runtime();
                loop {
                    let op = next.fetch_add(1, Ordering::Relaxed);
                    // Beyond the script's own: batches are not the same in each run.
                    if op > clean.ops + 10 {
                        return;
                    }
                    runtime.block_on(test(Arc::clone(&clean), op));
                }
            });
        }
    });
}

#[test]
fn a_failing_disk_stops_the_store_and_loses_nothing_acknowledged() {
    for fault in [Fault::Eio, Fault::Short] {
        for_every_operation(move |clean, op| stops(clean, op, fault));
    }
}

async fn stops(clean: Arc<Clean>, op: usize, fault: Fault) {
    let at = format!("{fault:?} at {op}");
    let (disk, clock) = (Disk::new(clean.base.clone()), Arc::new(Clock::still(START)));
    disk.fail(op, op + 1, fault);
    let mut acked = 0;
    if let Ok(store) = world::open(&disk, &clock) {
        acked += 1;
        let runner = Runner::new(store, Arc::clone(&clock));
        let mut failed = false;
        for row in SCRIPT {
            let results = runner.row(row).await;
            if results.iter().any(Result::is_err) {
                assert!(
                    results.iter().filter_map(|r| r.err()).all(|e| e == Unavailable::Stopped),
                    "{at}"
                );
                failed = true;
                break;
            }
            acked += 1;
        }
        if failed {
            timeout(NEVER, runner.store.failed()).await.expect("it says that it failed");
            assert_eq!(runner.store.health(), Health::Stopped, "{at}");
            let (copy, payload) = world::delivery("p:later", b"");
            let later = timeout(NEVER, runner.store.arrive(copy, &payload)).await;
            assert!(matches!(later, Ok(Err(Unavailable::Stopped))), "{at}");
        }
        timeout(NEVER, runner.store.close()).await.unwrap_or_else(|_| panic!("{at}: no close"));
    }
    disk.kill();
    survives(&clean, disk.image(), acked, &format!("{at}, unsynced writes kept")).await;
    survives(&clean, synced(&clean, &disk.log()), acked, &format!("{at}, unsynced writes lost"))
        .await;
}

/// What is on the disk if all that was not synced is lost.
fn synced(clean: &Clean, log: &[Op]) -> Image {
    Cutter::new(log, clean.base.clone(), 0).synced()
}

/// Opens what is left and looks for all that the first `acked` rows were answered.
async fn survives(clean: &Clean, image: Image, acked: usize, at: &str) {
    let clock = Arc::new(Clock::still(clean.end));
    let store = world::open(&Disk::new(image), &clock).unwrap_or_else(|e| panic!("{at}: {e}"));
    let found = clean.history.violations(&store, acked, clean.end).await;
    assert!(found.is_empty(), "{at}, {acked} rows: {}", found.join("\n"));
    store.close().await;
}

#[test]
fn a_full_disk_refuses_claims_repeats_settlements_and_comes_back() {
    for (fault, times) in [(Fault::Enospc, 1), (Fault::ShortEnospc, 1), (Fault::Enospc, 6)] {
        for_every_operation(move |clean, op| comes_back(clean, op, times, fault));
    }
}

async fn comes_back(clean: Arc<Clean>, op: usize, times: usize, fault: Fault) {
    let at = format!("{fault:?} {times} times at {op}");
    let (disk, clock) = (Disk::new(clean.base.clone()), Arc::new(Clock::still(START)));
    disk.fail(op, op + times, fault);
    let mut opened = world::open(&disk, &clock);
    for _ in 0..times {
        if opened.is_err() {
            opened = world::open(&disk, &clock);
        }
    }
    let runner = Runner::new(opened.unwrap_or_else(|e| panic!("{at}: {e}")), Arc::clone(&clock));
    for row in SCRIPT {
        let results = runner.row(row).await;
        for (step, result) in row.iter().zip(&results) {
            if let Err(error) = result {
                assert_eq!(*error, Unavailable::DiskFull, "{at}, {step:?}");
            }
        }
        for (step, _) in row.iter().zip(&results).filter(|(_, result)| result.is_err()) {
            ready_again(&runner.store).await;
            made_good(&runner, *step, &at).await;
        }
    }
    ready_again(&runner.store).await;
    let mut problems = runner.store.check();
    while problems == Err(Unavailable::DiskFull) {
        // The check has all brought to the file, and that met the fault.
        ready_again(&runner.store).await;
        problems = runner.store.check();
    }
    assert_eq!(problems, Ok(Vec::new()), "{at}");
    for (id, label) in [
        ("p:a", Label::Done),
        ("p:b", Label::Done),
        ("p:c", Label::Done),
        ("p:d", Label::Done),
        ("q:a", Label::Done),
        ("h:a", Label::Done),
        ("q:b", Label::Queued),
        ("b:a", Label::Queued),
        ("b:b", Label::Queued),
        ("b:c", Label::Queued),
    ] {
        let story = runner.store.story(id).await.unwrap().expect(id);
        assert_eq!(story.event.label(), label, "{at}: {id}, {:?}", story.entries);
    }
    timeout(NEVER, runner.store.close()).await.expect("it closes");
    disk.kill();
    let again = world::open(&Disk::new(disk.image()), &clock).unwrap();
    assert_eq!(again.check(), Ok(Vec::new()), "{at}");
    assert_eq!(again.recovered(), 0, "{at}: nothing was in flight");
    again.close().await;
}

/// The store takes writes again by itself, and has repeated what it must.
async fn ready_again(store: &RedbStore) {
    timeout(NEVER, async {
        // The writer answers in order: after this verb, what is repeated is written.
        while store.health() != Health::Ready || store.take_due("nothing", 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the store comes back");
}

/// What a step that was refused left behind, and that doing it again works.
async fn made_good(runner: &Runner, step: Step, at: &str) {
    let label =
        async |id: &str| runner.store.story(id).await.unwrap().map(|story| story.event.label());
    match step {
        Arrive(id, _) if !id.starts_with('q') => {
            let left = label(id).await;
            assert!(matches!(left, None | Some(Label::Open)), "{at}: {id} is {left:?}");
            retry(runner, step, at).await;
            assert_eq!(label(id).await, Some(Label::InFlight), "{at}: {id}");
        },
        Arrive(id, _) => {
            retry(runner, step, at).await;
            assert_eq!(label(id).await, Some(Label::Queued), "{at}: {id}");
        },
        All(ids) => {
            let mut left = Vec::new();
            for id in ids {
                left.push(label(id).await);
            }
            assert!(left.windows(2).all(|two| two[0] == two[1]), "{at}: half a batch: {left:?}");
            retry(runner, step, at).await;
            for id in ids {
                assert_eq!(label(id).await, Some(Label::Queued), "{at}: {id}");
            }
        },
        Settle(id, verdict) => {
            let story = runner.store.story(id).await.unwrap().expect(id);
            assert_ne!(story.event.label(), Label::InFlight, "{at}: {id}");
            let settled =
                |what: &What| matches!(what, What::Settled { result, .. } if *result == verdict);
            assert!(story.entries.iter().any(|entry| settled(&entry.what)), "{at}: {id}");
        },
        Take(_) => {
            assert_ne!(label("q:a").await, Some(Label::InFlight), "{at}");
            retry(runner, step, at).await;
            assert_eq!(label("q:a").await, Some(Label::InFlight), "{at}");
        },
        // In doubt: done, or to be done again.
        Operate(id, Act::SettleDone) if label(id).await == Some(Label::Done) => {},
        Operate(..) | Note(_) | Sweep | Compact => retry(runner, step, at).await,
    }
}

async fn retry(runner: &Runner, step: Step, at: &str) {
    for _ in 0..20 {
        match timeout(NEVER, runner.act(step)).await.expect("a verb hangs") {
            Ok(()) => return,
            Err(error) => assert_eq!(error, Unavailable::DiskFull, "{at}, {step:?}"),
        }
        ready_again(&runner.store).await;
    }
    panic!("{at}: {step:?} never works");
}
