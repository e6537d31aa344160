//! A compaction under way, held at the disk: who is turned away, who waits, what is told.

use std::sync::Arc;
use std::time::Duration;

use oncegate::clock::Clock;
use oncegate::record::{Label, Meets, Settled, Verdict};
use oncegate::store::{Filter, Health, ListError, RedbStore, Seen, Store as _, Unavailable};
use tokio::time::timeout;

use super::disk::Disk;
use super::world::{self, START, body};

fn store() -> (Disk, Arc<RedbStore>) {
    let (disk, clock) = (Disk::default(), Arc::new(Clock::still(START)));
    let store = Arc::new(world::open(&disk, &clock).unwrap());
    (disk, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn during_a_compaction_claims_are_refused_and_settlements_wait() {
    let (disk, store) = store();
    let (copy, payload) = world::delivery("p:1", &body("one", 9000));
    let Meets::Lead(lead) = store.arrive(copy.clone(), &payload).await.unwrap().arrival.meets
    else {
        panic!("a first copy leads");
    };
    // All is in the file: what waits at the gate is the compaction itself.
    assert_eq!(store.check(), Ok(Vec::new()));
    disk.close_gate();
    let compacting = Arc::clone(&store);
    let compacting = tokio::spawn(async move { compacting.compact().await });
    while !disk.waits_at_gate() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.health(), Health::Compacting);
    let refused = Unavailable::Compacting;
    // A copy of what is stored, a new event, and all that reads or is no settlement.
    assert_eq!(store.arrive(copy.clone(), &payload).await.unwrap_err(), refused);
    let (other, bytes) = world::delivery("p:2", b"two");
    assert_eq!(store.arrive(other.clone(), &bytes).await.unwrap_err(), refused);
    assert_eq!(store.story("p:1").await.unwrap_err(), refused);
    assert_eq!(store.sweep().await.unwrap_err(), refused);
    assert_eq!(store.compact().await.unwrap_err(), refused);
    // Not a hang: the watchdog is answered.
    assert_eq!(store.alive().await.unwrap_err(), refused);
    let list = store.list(&Filter::default(), None, 1);
    assert_eq!(list.unwrap_err(), ListError::Unavailable(refused));

    let settling = Arc::clone(&store);
    let settling = tokio::spawn(async move {
        settling.settle("p:1", lead.token, world::settlement(Verdict::Success, b"ok")).await
    });
    disk.open_gate();
    assert!(compacting.await.unwrap().is_ok());
    assert_eq!(settling.await.unwrap(), Ok(Settled::Now(Label::Done)));
    assert_eq!(store.health(), Health::Ready);
    let again = store.arrive(copy, &payload).await.unwrap();
    assert_eq!(again.answer.unwrap().body, b"ok");
    assert!(store.arrive(other, &bytes).await.is_ok());
    assert_eq!(store.check(), Ok(Vec::new()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_a_compaction_waits_for_it_and_loses_nothing() {
    let (disk, store) = store();
    let (copy, payload) = world::delivery("q:1", b"one");
    assert_eq!(store.arrive(copy, &payload).await.unwrap().arrival.meets, Meets::Queued);
    let seen = Seen { at: START, outcome: "duplicate".to_owned(), status: 200, mismatch: false };
    store.note("q:1", seen);
    disk.close_gate();
    let compacting = Arc::clone(&store);
    let compacting = tokio::spawn(async move { compacting.compact().await });
    while !disk.waits_at_gate() {
        tokio::task::yield_now().await;
    }
    let closing = Arc::clone(&store);
    let closing = tokio::spawn(async move { closing.close().await });
    disk.open_gate();
    timeout(Duration::from_secs(20), closing).await.expect("it ends").unwrap();
    assert!(compacting.await.unwrap().is_ok());

    let again = world::open(&disk, &Arc::new(Clock::still(START))).unwrap();
    let (snapshot, noted) = world::look(&again, "q:1").await.unwrap();
    assert!(snapshot.is_some());
    assert_eq!(noted, 2, "the one that was stored, and what was noted before the stop");
    again.close().await;
}
