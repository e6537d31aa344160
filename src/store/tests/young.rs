//! Keys that have no place in the file yet, and the file as older readers hold it.

use ::redb::ReadableTableMetadata as _;
use tokio::time::timeout;

use super::log::copy_files;
use super::*;
use crate::store::filter;
use crate::store::rows::Key;
use crate::store::young::YOUNG;

/// Waits until a condition holds.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.unwrap();
}

/// Waits until a checkpoint has brought all rows to the file.
async fn checkpoint(store: &RedbStore) {
    until(|| {
        let layers = store.shared.layers.read();
        layers.active.is_empty() && layers.frozen.is_none()
    })
    .await;
}

/// More keys than one checkpoint brings to their place.
const KEYS: usize = 100;

/// A store with so many keys in young rows; the id of one of them.
async fn young(dir: &tempfile::TempDir, clock: &Arc<Clock>) -> (RedbStore, String) {
    let store = open(dir, clock);
    // Until the filter is made, every key may be in the file.
    let mut round = 0;
    loop {
        let ids: Vec<String> = (0..2 * KEYS).map(|n| format!("q:{round}.{n}")).collect();
        for id in &ids {
            arrive(&store, id, "body").await;
        }
        checkpoint(&store).await;
        let layers = store.shared.layers.read();
        let young = ids.iter().find(|id| layers.keys.ids().any(|(key, _)| *key == Key::id(id)));
        if let Some(id) = young.filter(|_| layers.keys.len() >= KEYS) {
            let id = id.clone();
            drop(layers);
            return (store, id);
        }
        round += 1;
    }
}

/// Holds what a copy meets after a crash, and the whole file, against what is right.
async fn after_crash(dir: &tempfile::TempDir, clock: &Arc<Clock>, id: &str, right: &Meets) {
    let store = open(dir, clock);
    assert_eq!(arrive(&store, id, "body").await.arrival.meets, *right);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

#[tokio::test]
async fn a_key_without_a_place_survives_a_crash() {
    let (dir, crashed, clock) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), clock());
    let (store, id) = young(&dir, &clock).await;
    copy_files(&dir, &crashed);
    store.close().await;
    after_crash(&crashed, &clock, &id, &Meets::Duplicate(Finish::Acknowledged)).await;
}

#[tokio::test]
async fn a_key_that_was_forgotten_before_it_had_a_place_stays_forgotten() {
    let (dir, crashed, clock) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), clock());
    let (store, id) = young(&dir, &clock).await;
    store.operate(&id, Act::Forget { force: true }, "").await.unwrap().unwrap();
    checkpoint(&store).await;
    copy_files(&dir, &crashed);
    store.close().await;
    after_crash(&crashed, &clock, &id, &Meets::Queued).await;
}

#[tokio::test]
async fn a_key_that_comes_again_before_it_has_its_place_is_the_new_events() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    arrive(&store, "q:1", "body").await;
    checkpoint(&store).await;
    assert!(store.shared.layers.read().keys.has(&Key::id("q:1")), "it has no place yet");
    store.operate("q:1", Act::Forget { force: true }, "").await.unwrap().unwrap();
    arrive(&store, "q:1", "body").await;
    checkpoint(&store).await;
    let copy = arrive(&store, "q:1", "body").await;
    assert_eq!(copy.arrival.meets, Meets::Duplicate(Finish::Acknowledged));
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

#[tokio::test]
async fn a_new_filter_knows_every_key_wherever_it_is() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    arrive(&store, "q:in-the-file", "body").await;
    store.close().await;
    let store = open(&dir, &clock);
    arrive(&store, "q:young", "body").await;
    checkpoint(&store).await;
    until(|| !store.shared.bloom.is_being_made()).await;
    arrive(&store, "q:active", "body").await;
    filter::renew(&store.shared);
    arrive(&store, "q:meanwhile", "body").await;
    until(|| !store.shared.bloom.is_being_made()).await;
    arrive(&store, "q:later", "body").await;
    let never = Key::id("q:never");
    assert!(!store.shared.bloom.may_have(&never), "it is in force");
    for id in ["q:in-the-file", "q:young", "q:active", "q:meanwhile", "q:later"] {
        let copy = arrive(&store, id, "body").await;
        assert_eq!(copy.arrival.meets, Meets::Duplicate(Finish::Acknowledged), "{id}");
    }
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
}

#[tokio::test]
async fn keys_whose_young_row_rotted_are_made_anew_from_the_events() {
    let (dir, crashed, clock) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), clock());
    let (store, id) = young(&dir, &clock).await;
    let settings = copy_files(&dir, &crashed);
    store.close().await;
    let db = ::redb::Database::open(&settings.path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut rows = txn.open_table(YOUNG).unwrap();
        assert!(rows.len().unwrap() > 0);
        rows.retain(|_, _| false).unwrap();
        rows.insert(0, b"rot".as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    after_crash(&crashed, &clock, &id, &Meets::Duplicate(Finish::Acknowledged)).await;
}

#[tokio::test]
async fn a_compaction_waits_for_who_reads_the_file_as_it_was() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = Arc::new(open(&dir, &clock));
    let held = store.shared.layers.read().base.clone();
    arrive(&store, "q:1", "body").await;
    checkpoint(&store).await;
    let compacting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.compact().await }
    });
    // The compaction has taken the file from the readers, and waits for this one.
    until(|| store.shared.layers.read().base.is_none() || compacting.is_finished()).await;
    drop(held);
    compacting.await.unwrap().unwrap();
    arrive(&store, "q:2", "body").await;
    store.close().await;
}
