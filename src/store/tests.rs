//! The store on a real file: what it promises over a restart.

mod batches;
mod damage;
mod log;
mod settings;
mod signals;
mod slots;
mod young;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::config;
use crate::record::{
    Boot, Finish, Meets, Mode, OnMismatch, OnUnknown, Policy, Retry, State, Verdict,
};

mod list;

fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        acknowledgement: 200,
        on_unknown: OnUnknown::Redeliver,
        on_mismatch: OnMismatch::Flag,
        retry: Retry {
            attempts: 3,
            first: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(60),
            jitter: false,
        },
        ttl: Duration::from_hours(100),
        keep: Duration::from_hours(10),
        dead_ttl: None,
    }
}

fn settings(dir: &tempfile::TempDir) -> config::Storage {
    let path = dir.path().join("data/oncegate.redb");
    config::Storage { path, cache: 8 << 20, reserve: 0, two_phase: false }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<Clock>) -> RedbStore {
    let settings = settings(dir);
    let policies = BTreeMap::from([
        ("p".to_owned(), policy(Mode::Proxy).into()),
        ("q".to_owned(), policy(Mode::Queue).into()),
    ]);
    RedbStore::open(Medium::File(settings.path.clone()), &settings, policies, Arc::clone(clock))
        .unwrap()
}

fn clock() -> Arc<Clock> {
    Arc::new(Clock::still(Millis(1_800_000_000_000)))
}

fn copy(id: &str, body: &str) -> (Copy, Payload) {
    let mut sha256 = [0; 32];
    sha256[..body.len()].copy_from_slice(body.as_bytes());
    let copy = Copy {
        id: id.to_owned(),
        earlier: None,
        long: None,
        sha256,
        bytes: u64::try_from(body.len()).unwrap(),
    };
    let payload = Payload {
        method: "POST".to_owned(),
        query: None,
        headers: vec![("x-id".to_owned(), b"1".to_vec())],
        body: body.as_bytes().to_vec(),
        from: None,
        https: false,
    };
    (copy, payload)
}

async fn arrive(store: &RedbStore, id: &str, body: &str) -> Arrived {
    let (copy, payload) = copy(id, body);
    store.arrive(copy, &payload).await.unwrap()
}

fn lead(arrived: &Arrived) -> Lead {
    match &arrived.arrival.meets {
        Meets::Lead(lead) => lead.clone(),
        other @ (Meets::Queued
        | Meets::Duplicate(_)
        | Meets::InFlight
        | Meets::Held
        | Meets::Mismatch) => panic!("{other:?} does not lead"),
    }
}

fn answered(status: u16) -> Settlement {
    let answer = Answer { status, headers: Vec::new(), body: b"ok".to_vec(), truncated: false };
    Settlement { verdict: Verdict::Success, answer: Some(answer), detail: String::new() }
}

#[tokio::test]
async fn a_recorded_answer_survives_a_restart() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let first = arrive(&store, "p:1", "body").await;
    let settled = store.settle("p:1", lead(&first).token, answered(201)).await;
    assert_eq!(settled, Ok(Settled::Now(Label::Done)));
    store.close().await;

    let store = open(&dir, &clock);
    let again = arrive(&store, "p:1", "body").await;
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered));
    assert_eq!(again.answer.unwrap().status, 201);
    store.close().await;
}

#[tokio::test]
async fn what_another_boot_left_in_flight_is_unknown_at_start() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let first = lead(&arrive(&store, "p:1", "body").await);
    store.close().await;

    let store = open(&dir, &clock);
    assert_eq!(store.recovered(), 1);
    let story = store.story("p:1").await.unwrap().unwrap();
    assert_eq!(story.event.state, State::Open);
    assert!(story.event.doubt);
    let second = lead(&arrive(&store, "p:1", "body").await);
    assert!(second.doubt && second.attempt == 2 && second.token > first.token);
    assert_eq!(store.settle("p:1", first.token, answered(200)).await, Ok(Settled::Stale));
    store.close().await;
}

#[tokio::test]
async fn a_queued_event_is_taken_when_due_and_backs_off() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    assert_eq!(arrive(&store, "q:1", "body").await.arrival.meets, Meets::Queued);
    let again = arrive(&store, "q:1", "body").await;
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Acknowledged));

    let taken = store.take_due("q", 10).await.unwrap();
    assert_eq!(taken.events.len(), 1);
    assert_eq!(taken.events[0].payload.body, b"body");
    assert!(store.take_due("q", 10).await.unwrap().events.is_empty());
    let failed =
        Settlement { verdict: Verdict::Failed, answer: None, detail: "refused".to_owned() };
    store.settle("q:1", taken.events[0].lead.token, failed).await.unwrap();
    let taken = store.take_due("q", 10).await.unwrap();
    assert_eq!(taken.next_due, Some(clock.now().plus(Duration::from_secs(5))));
    clock.advance(Duration::from_secs(5));
    assert_eq!(store.take_due("q", 10).await.unwrap().events.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn the_sweep_takes_bodies_after_keep_and_events_after_ttl() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let first = lead(&arrive(&store, "p:1", "body").await);
    store.settle("p:1", first.token, answered(200)).await.unwrap();
    clock.advance(Duration::from_hours(11));
    assert!(store.sweep().await.unwrap().forgotten.is_empty());
    let story = store.story("p:1").await.unwrap().unwrap();
    assert_eq!(story.event.body.held, None);
    assert!(story.answer.is_some());
    clock.advance(Duration::from_hours(90));
    assert_eq!(store.sweep().await.unwrap().forgotten, [("p".to_owned(), 1)]);
    assert!(store.story("p:1").await.unwrap().is_none());
    assert!(store.stats().counts.iter().all(|(_, _, count)| *count == 0));
    store.close().await;
}

/// Runs `events` through the proxy at once, each with a body of `bytes`.
async fn run(store: &RedbStore, round: usize, events: usize, bytes: usize) {
    let all = (0..events).map(|n| async move {
        let id = format!("p:{round}-{n}");
        let (copy, mut payload) = copy(&id, "body");
        payload.body = vec![0x5a; bytes];
        let arrived = store.arrive(copy, &payload).await.unwrap();
        store.settle(&id, lead(&arrived).token, answered(200)).await.unwrap();
    });
    futures(all).await;
}

async fn futures<F: Future<Output = ()>>(all: impl Iterator<Item = F>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn sweep(store: &RedbStore) {
    while store.sweep().await.unwrap().more {}
}

#[tokio::test]
async fn a_start_with_a_wrong_clock_forgets_nothing_then_or_later() {
    let (dir, right) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &right);
    assert!(!store.clock_in_doubt());
    run(&store, 0, 1, 10).await;
    assert_eq!(arrive(&store, "q:1", "body").await.arrival.meets, Meets::Queued);
    store.close().await;

    let wrong = Arc::new(Clock::still(right.now().plus(Duration::from_hours(24 * 60))));
    let store = open(&dir, &wrong);
    assert!(store.clock_in_doubt());
    run(&store, 1, 1, 10).await;
    assert_eq!(arrive(&store, "q:2", "body").await.arrival.meets, Meets::Queued);
    store.close().await;

    let store = open(&dir, &right);
    assert!(!store.clock_in_doubt());
    sweep(&store).await;
    for id in ["p:0-0", "p:1-0"] {
        let again = arrive(&store, id, "body").await;
        assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered), "{id}");
    }
    assert_eq!(store.take_due("q", 10).await.unwrap().events.len(), 2);
    store.close().await;

    let behind = Arc::new(Clock::still(right.now().minus(Duration::from_hours(25))));
    let store = open(&dir, &behind);
    assert!(store.clock_in_doubt());
    store.close().await;
}

#[tokio::test]
async fn what_is_in_flight_waits_for_its_source_to_be_configured_again() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    lead(&arrive(&store, "p:1", "body").await);
    store.close().await;
    let settings = settings(&dir);
    let without = Medium::File(settings.path.clone());
    let store = RedbStore::open(without, &settings, BTreeMap::new(), Arc::clone(&clock)).unwrap();
    assert_eq!(store.recovered(), 0);
    store.close().await;
    let store = open(&dir, &clock);
    assert_eq!(store.recovered(), 1);
    store.close().await;
}

#[tokio::test]
async fn the_file_stays_bounded_under_steady_churn() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let mut sizes = Vec::new();
    for round in 0..30 {
        run(&store, round, 100, 1000).await;
        clock.advance(Duration::from_hours(20));
        sweep(&store).await;
        // Everything is in the file then, however fast this runs.
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
        sizes.push(store.stats().bytes);
    }
    // Five rounds live at once; what comes after them finds the room of those that went.
    assert!(sizes[29] <= sizes[9], "{sizes:?}");
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_mostly_empty_is_compacted_at_start() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    run(&store, 0, 1, 100).await;
    run(&store, 1, 600, 400_000).await;
    clock.advance(Duration::from_hours(101));
    sweep(&store).await;
    run(&store, 2, 1, 100).await;
    let before = store.stats().bytes;
    assert!(before > 64 << 20, "{before}");
    store.close().await;

    let store = open(&dir, &clock);
    let after = store.stats().bytes;
    assert!(after < before / 10, "{before} -> {after}");
    let again = arrive(&store, "p:2-0", "body").await;
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered));
    store.close().await;
}

#[tokio::test]
async fn a_file_that_no_process_has_is_compacted() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    assert!(matches!(compact_file(&settings(&dir)), Err(OpenError::Io { .. })));
    let store = open(&dir, &clock);
    run(&store, 0, 20, 400_000).await;
    assert!(matches!(compact_file(&settings(&dir)), Err(OpenError::InUse(_))));
    // A list has them all brought to the file.
    assert!(store.list(&Filter::default(), None, 50).is_ok());
    clock.advance(Duration::from_hours(101));
    sweep(&store).await;
    run(&store, 1, 1, 100).await;
    store.close().await;
    let (before, after) = compact_file(&settings(&dir)).unwrap();
    assert!(after < before, "{before} -> {after}");
    let store = open(&dir, &clock);
    assert!(store.stats().bytes < 1 << 20, "{before} -> {after} -> {}", store.stats().bytes);
    let again = arrive(&store, "p:1-0", "body").await;
    assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Answered));
    store.close().await;
}

#[tokio::test]
async fn a_second_process_on_the_file_is_told_so() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let settings = settings(&dir);
    let second =
        RedbStore::open(Medium::File(settings.path.clone()), &settings, BTreeMap::new(), clock);
    assert!(matches!(second, Err(OpenError::InUse(_))));
    store.close().await;
}

#[test]
fn boots_differ() {
    let rules = || rules::Rules::new(BTreeMap::new(), clock()).boot;
    let (one, other): (Boot, Boot) = (rules(), rules());
    assert_ne!(one, other);
}

#[tokio::test]
async fn nothing_of_an_event_stays_when_it_is_forgotten() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let first = arrive(&store, "p:1", "body").await;
    store.settle("p:1", lead(&first).token, answered(200)).await.unwrap();
    let seen = Seen { at: clock.now(), outcome: "duplicate".into(), status: 200, mismatch: false };
    store.note("p:1", seen);
    let story = store.story("p:1").await.unwrap().unwrap();
    assert_eq!(story.deliveries.counts, [("duplicate".to_owned(), 1)]);
    store.operate("p:1", Act::Forget { force: true }, "").await.unwrap().unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

#[tokio::test]
async fn an_event_between_two_that_are_forgotten_stays_whole() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    for id in ["p:1", "p:2", "p:3"] {
        let first = arrive(&store, id, "body").await;
        // Kept beside the body.
        arrive(&store, id, "other").await;
        store.settle(id, lead(&first).token, answered(200)).await.unwrap();
    }
    // All are in the file, and in the agenda at the same millisecond.
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    for id in ["p:1", "p:3"] {
        store.operate(id, Act::Forget { force: true }, "").await.unwrap().unwrap();
    }
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    assert_eq!(store.payloads("p:2").unwrap().len(), 2);
    assert!(store.event("p:1").unwrap().is_none() && store.event("p:2").unwrap().is_some());
    store.close().await;
}

#[tokio::test]
async fn a_long_story_goes_with_its_event() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    for _ in 0..40 {
        let next = lead(&arrive(&store, "p:1", "body").await);
        let failed = Settlement { verdict: Verdict::Failed, answer: None, detail: String::new() };
        store.settle("p:1", next.token, failed).await.unwrap();
    }
    assert_eq!(store.story("p:1").await.unwrap().unwrap().entries.len(), 80);
    store.operate("p:1", Act::Forget { force: true }, "").await.unwrap().unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
}
