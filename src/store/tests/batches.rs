//! Batches: their elements arrive in order and in one transaction.

use super::*;

/// The elements with these keys and bodies.
fn elements(of: &[(&str, &str)]) -> Vec<(Copy, Payload)> {
    of.iter().map(|(id, body)| copy(id, body)).collect()
}

fn met(arrived: &[Arrived]) -> Vec<Meets> {
    arrived.iter().map(|arrived| arrived.arrival.meets.clone()).collect()
}

const KNOWN: Meets = Meets::Duplicate(Finish::Acknowledged);

#[tokio::test]
async fn each_element_meets_what_those_before_it_left() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let old = arrive(&store, "q:old", "0").await;
    assert_eq!(old.arrival.meets, Meets::Queued);
    let batch = elements(&[("q:a", "1"), ("q:old", "0"), ("q:b", "2"), ("q:a", "1"), ("q:b", "3")]);
    let arrived = store.arrive_all(batch.clone()).await.unwrap();
    assert_eq!(met(&arrived), [Meets::Queued, KNOWN, Meets::Queued, KNOWN, KNOWN]);
    let flagged: Vec<_> = arrived.iter().map(|arrived| arrived.arrival.mismatch).collect();
    assert_eq!(flagged, [false, false, false, false, true]);
    assert!(arrived.iter().all(|arrived| arrived.taken.is_none()), "they wait for the queue");
    let again = store.arrive_all(batch).await.unwrap();
    assert!(met(&again).iter().all(|met| *met == KNOWN));

    // In order, and each with its own bytes; over a restart as well.
    store.close().await;
    let store = open(&dir, &clock);
    let taken = store.take_due("q", 10).await.unwrap().events;
    let taken: Vec<_> =
        taken.iter().map(|event| (event.id.as_str(), event.payload.body.as_slice())).collect();
    assert_eq!(taken, [("q:old", &b"0"[..]), ("q:a", b"1"), ("q:b", b"2")]);
    assert_eq!(store.check(), Ok(Vec::new()));
    store.close().await;
}

#[tokio::test]
async fn a_batch_needs_no_room_if_all_of_it_is_known_and_is_refused_whole_if_not() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let known = elements(&[("q:a", "1"), ("q:b", "2")]);
    let store = open(&dir, &clock);
    store.arrive_all(known.clone()).await.unwrap();
    store.close().await;

    let settings = config::Storage { reserve: u64::MAX, ..settings(&dir) };
    let policies = BTreeMap::from([("q".to_owned(), policy(Mode::Queue).into())]);
    let medium = Medium::File(settings.path.clone());
    let store = RedbStore::open(medium, &settings, policies, Arc::clone(&clock)).unwrap();
    store.watch_disk();
    assert_eq!(store.health(), Health::DiskLow);
    assert_eq!(met(&store.arrive_all(known).await.unwrap()), [KNOWN, KNOWN]);
    let more = elements(&[("q:a", "1"), ("q:c", "3")]);
    assert_eq!(store.arrive_all(more).await.unwrap_err(), Unavailable::DiskLow);
    assert_eq!(store.event("q:c"), Ok(None));
    store.close().await;
}

#[tokio::test]
async fn ten_thousand_elements_are_stored_at_once() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let of = |prefix: &str| -> Vec<_> {
        (0..crate::key::MAX_ELEMENTS).map(|nth| copy(&format!("q:{prefix}{nth}"), "1")).collect()
    };
    // Two at once, and an event beside them.
    let (one, two, other) = tokio::join!(
        store.arrive_all(of("a")),
        store.arrive_all(of("b")),
        arrive(&store, "p:1", "x"),
    );
    for arrived in [one, two] {
        let arrived = arrived.unwrap();
        assert_eq!(arrived.len(), crate::key::MAX_ELEMENTS);
        assert!(arrived.iter().all(|arrived| arrived.arrival.meets == Meets::Queued));
    }
    lead(&other);
    store.close().await;
    let store = open(&dir, &clock);
    assert!(store.stats().counts.contains(&("q".to_owned(), Label::Queued, 20_000)));
    store.close().await;
}
