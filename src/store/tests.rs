//! The store on a real file: what it promises over a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::config;
use crate::record::{
    Boot, Finish, Meets, Mode, OnMismatch, OnUnknown, Policy, Retry, State, Verdict,
};

fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
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

fn open(dir: &tempfile::TempDir, clock: &Arc<Clock>) -> RedbStore {
    let settings = config::Storage {
        path: dir.path().join("data/oncegate.redb"),
        cache: 8 << 20,
        reserve: 0,
        two_phase: false,
    };
    let policies = BTreeMap::from([
        ("p".to_owned(), policy(Mode::Proxy)),
        ("q".to_owned(), policy(Mode::Queue)),
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
    let copy =
        Copy { id: id.to_owned(), long: None, sha256, bytes: u64::try_from(body.len()).unwrap() };
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

#[tokio::test]
async fn a_second_process_on_the_file_is_told_so() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let settings = config::Storage {
        path: dir.path().join("data/oncegate.redb"),
        cache: 8 << 20,
        reserve: 0,
        two_phase: false,
    };
    let second =
        RedbStore::open(Medium::File(settings.path.clone()), &settings, BTreeMap::new(), clock);
    assert!(matches!(second, Err(OpenError::InUse(_))));
    store.close().await;
}

#[test]
fn boots_differ() {
    let rules = || verbs::Rules::new(BTreeMap::new(), clock()).boot;
    let (one, other): (Boot, Boot) = (rules(), rules());
    assert_ne!(one, other);
}
