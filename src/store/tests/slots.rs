//! Events that are claimed as they arrive, by a slot that came along.

use super::*;
use crate::record::{Act, What};

async fn arrive_with_slot(store: &RedbStore, id: &str, body: &str) -> Arrived {
    let (copy, payload) = copy(id, body);
    store.arrive_with_slot(copy, &payload).await.unwrap()
}

#[tokio::test]
async fn a_new_event_takes_the_slot_that_came_along_and_nobody_else_takes_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let arrived = arrive_with_slot(&store, "q:1", "body").await;
    assert_eq!(arrived.arrival.meets, Meets::Queued);
    let lead = arrived.taken.unwrap();
    assert_eq!((lead.attempt, lead.doubt), (1, false));
    assert!(store.take_due("q", 10).await.unwrap().events.is_empty());
    let copy = arrive_with_slot(&store, "q:1", "body").await;
    assert_eq!((copy.arrival.meets, copy.taken), (Meets::Duplicate(Finish::Acknowledged), None));
    let settled = store.settle("q:1", lead.token, answered(200)).await;
    assert_eq!(settled, Ok(Settled::Now(Label::Done)));
    let story = store.story("q:1").await.unwrap().unwrap();
    let what: Vec<_> = story.entries.iter().map(|entry| &entry.what).collect();
    let right = matches!(
        what.as_slice(),
        [What::Stored { .. }, What::Claimed { .. }, What::Settled { .. }]
    );
    assert!(right, "{what:?}");
    assert_eq!(store.check(), Ok(Vec::new()));
    store.close().await;
}

#[tokio::test]
async fn who_waits_goes_before_who_comes_with_a_slot() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    arrive(&store, "q:first", "body").await;
    assert_eq!(arrive_with_slot(&store, "q:second", "body").await.taken, None);
    let taken = store.take_due("q", 10).await.unwrap().events;
    assert_eq!(taken.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["q:first", "q:second"]);
    store.close().await;
}

#[tokio::test]
async fn a_copy_that_revives_a_dead_event_waits_for_the_queue() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let lead = arrive_with_slot(&store, "q:1", "body").await.taken.unwrap();
    let last = Settlement { verdict: Verdict::Final, ..answered(422) };
    assert_eq!(store.settle("q:1", lead.token, last).await, Ok(Settled::Now(Label::Dead)));
    // Its attempt carries the stored body, not the one that the slot came with.
    let copy = arrive_with_slot(&store, "q:1", "other").await;
    assert_eq!((copy.arrival.meets, copy.taken), (Meets::Queued, None));
    let taken = store.take_due("q", 1).await.unwrap().events;
    assert_eq!(taken[0].payload.body, b"body");
    store.close().await;
}

#[tokio::test]
async fn what_took_a_slot_before_a_crash_is_unknown_after_it() {
    let (dir, crashed, clock) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    assert!(arrive_with_slot(&store, "q:1", "body").await.taken.is_some());
    log::copy_files(&dir, &crashed);
    store.close().await;
    let store = open(&crashed, &clock);
    assert_eq!(store.recovered(), 1);
    let story = store.story("q:1").await.unwrap().unwrap();
    assert!(matches!(story.event.state, State::Queued { .. }) && story.event.doubt);
    store.close().await;
}

#[tokio::test]
async fn a_key_that_comes_again_in_the_second_in_which_it_was_forgotten_is_the_new_events() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    arrive(&store, "q:1", "body").await;
    store.close().await;
    // A start brings all keys to their place in the file.
    let store = open(&dir, &clock);
    store.operate("q:1", Act::Forget { force: true }, "").await.unwrap().unwrap();
    arrive(&store, "q:1", "body").await;
    // So does a look at the whole of it.
    assert_eq!(store.check(), Ok(Vec::new()));
    let copy = arrive(&store, "q:1", "body").await;
    assert_eq!(copy.arrival.meets, Meets::Duplicate(Finish::Acknowledged));
    store.close().await;
    let store = open(&dir, &clock);
    assert_eq!(store.check(), Ok(Vec::new()));
    store.close().await;
}
