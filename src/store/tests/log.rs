//! The log beside a real file: what a start makes of one that is there, gone or emptied.

use std::fs;

use super::*;

/// A file and its log as a crash leaves them, with one event that only the log has.
async fn crashed(dir: &tempfile::TempDir, clock: &Arc<Clock>) -> config::Storage {
    let other = tempfile::tempdir().unwrap();
    let store = open(&other, clock);
    arrive(&store, "q:1", "body").await;
    let to = copy_files(&other, dir);
    store.close().await;
    to
}

/// Copies the files of a store that is open, as a crash would leave them.
pub(super) fn copy_files(from: &tempfile::TempDir, to: &tempfile::TempDir) -> config::Storage {
    let (from, to) = (settings(from).path, settings(to));
    fs::create_dir_all(to.path.parent().unwrap()).unwrap();
    for file in ["oncegate.redb", "oncegate.redb.log0", "oncegate.redb.log1"] {
        fs::copy(from.with_file_name(file), to.path.with_file_name(file)).unwrap();
    }
    to
}

#[tokio::test]
async fn what_only_the_log_has_is_there_after_a_crash() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    crashed(&dir, &clock).await;
    for _ in 0..2 {
        let store = open(&dir, &clock);
        let again = arrive(&store, "q:1", "body").await;
        assert_eq!(again.arrival.meets, Meets::Duplicate(Finish::Acknowledged));
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
        store.close().await;
    }
}

#[tokio::test]
async fn a_file_whose_log_is_gone_says_so_and_starts_with_an_empty_one() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let settings = crashed(&dir, &clock).await;
    let log = settings.path.with_file_name("oncegate.redb.log0");
    fs::remove_file(&log).unwrap();
    let medium = Medium::File(settings.path.clone());
    let error = RedbStore::open(medium, &settings, BTreeMap::new(), Arc::clone(&clock));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("oncegate.redb.log0: it is missing"), "{error}");
    assert!(!log.exists());
    // As the message says.
    fs::write(&log, "").unwrap();
    let store = open(&dir, &clock);
    assert_eq!(arrive(&store, "q:1", "body").await.arrival.meets, Meets::Queued);
    store.close().await;
    // Closed cleanly, the file needs no log.
    fs::remove_file(&log).unwrap();
    open(&dir, &clock).close().await;
}

#[tokio::test]
async fn a_log_that_is_older_than_its_file_adds_nothing() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let settings = crashed(&dir, &clock).await;
    let log = settings.path.with_file_name("oncegate.redb.log0");
    let old = fs::read(&log).unwrap();
    let store = open(&dir, &clock);
    store.operate("q:1", Act::Forget { force: true }, "").await.unwrap().unwrap();
    store.close().await;
    fs::write(&log, old).unwrap();
    let store = open(&dir, &clock);
    assert_eq!(arrive(&store, "q:1", "body").await.arrival.meets, Meets::Queued);
    store.close().await;
}
