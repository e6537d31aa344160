//! What a damaged record leaves behind goes with its event, though nothing lists it.

use ::redb::{Database, ReadableDatabase as _};

use super::*;
use crate::store::rows::Key;

/// Overwrites a row of the file, which no process has.
fn rot(dir: &tempfile::TempDir, key: &Key) {
    let db = Database::open(settings(dir).path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut rows = txn.open_table(layers::ROWS).unwrap();
        rows.insert(key.bytes(), b"rot".as_slice()).unwrap().expect("it is there");
    }
    txn.commit().unwrap();
}

/// How many rows the closed file has beside those of the store itself.
fn rows_left(dir: &tempfile::TempDir) -> Vec<Key> {
    let db = Database::open(settings(dir).path).unwrap();
    let rows = db.begin_read().unwrap().open_table(layers::ROWS).unwrap();
    let all = rows.range::<&[u8]>(..).unwrap();
    let keys = all.map(|row| Key::from_bytes(row.unwrap().0.value()));
    keys.filter(|key| key.seq().is_some()).collect()
}

/// A finished event with two copies kept beside its body, whose row `key` rots; it is met, held
/// and forgotten, and nothing of it is left.
async fn nothing_is_left_of_an_event_that_lost(key: impl Fn(u64) -> Key) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = open(&dir, &clock);
    let first = arrive(&store, "p:1", "body").await;
    arrive(&store, "p:1", "other").await;
    arrive(&store, "p:1", "third").await;
    store.settle("p:1", lead(&first).token, answered(200)).await.unwrap();
    store.close().await;
    let seq = rows_left(&dir).iter().find_map(Key::seq).unwrap();
    rot(&dir, &key(seq));

    let store = open(&dir, &clock);
    assert_eq!(arrive(&store, "p:1", "body").await.arrival.meets, Meets::Held);
    store.operate("p:1", Act::Forget { force: true }, "").await.unwrap().unwrap();
    // Where the lost record stood in the agenda is known once time gets there.
    clock.advance(Duration::from_hours(101));
    sweep(&store).await;
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    store.close().await;
    assert_eq!(rows_left(&dir), []);
}

#[tokio::test]
async fn nothing_is_left_of_an_event_whose_record_was_damaged() {
    nothing_is_left_of_an_event_that_lost(Key::event).await;
}

#[tokio::test]
async fn nothing_is_left_of_an_event_whose_answer_was_damaged() {
    nothing_is_left_of_an_event_that_lost(Key::answer).await;
}
