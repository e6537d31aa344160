//! Brings rows from memory into the redb file, in the order of their keys and in one durable
//! commit: on a thread of its own, so that the log takes batches meanwhile.
//!
//! Each commit also stores which pages are free (redb's quick repair), so that a start after
//! a crash does not walk over the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};

use super::codec;
use super::layers::{Base, KEYS, Layer, ROWS};
use super::log::Mark;
use super::rows::Failure;
use super::writer::Shared;

/// What is known of the file itself.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The row of `meta` that holds the [`Mark`].
const MARK: &str = "log";

/// Rows on their way to the file.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) base: Arc<Base>,
    pub(super) rows: Arc<Layer>,
    /// What the file says of the log once it has them.
    pub(super) mark: Mark,
}

/// Does jobs until their sender is gone. Readers see the rows in the file from the moment
/// that they are no more in a layer above it.
pub(super) fn run(shared: &Shared, jobs: &Receiver<Job>, done: &Sender<Result<(), Failure>>) {
    for Job { base, rows, mark } in jobs {
        let db = Arc::clone(&base.db);
        drop(base);
        let written = catch_unwind(AssertUnwindSafe(|| write(db, &[&rows], mark)));
        let result = written.unwrap_or(Err(Failure::Panicked)).map(|base| {
            let old = shared.finish_checkpoint(base);
            drop(old);
        });
        // Large: not under the lock, and not on the writer's time.
        drop(rows);
        if done.send(result).is_err() {
            return;
        }
    }
}

/// Writes rows, the lowest layer first, and the mark; the file as of then.
pub(super) fn write(db: Arc<Database>, layers: &[&Layer], mark: Mark) -> Result<Base, Failure> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    put_rows(&txn, layers)?;
    put_mark(&txn, mark)?;
    txn.commit()?;
    Base::new(db)
}

/// Writes rows, the lowest layer first.
pub(super) fn put_rows(txn: &WriteTransaction, layers: &[&Layer]) -> Result<(), Failure> {
    let (mut keys, mut rows) = (txn.open_table(KEYS)?, txn.open_table(ROWS)?);
    for (key, value) in layers.iter().flat_map(|layer| layer.rows()) {
        let table = if key.is_id() { &mut keys } else { &mut rows };
        match value {
            Some(value) => drop(table.insert(key.bytes(), value)?),
            None => drop(table.remove(key.bytes())?),
        }
    }
    Ok(())
}

/// Says of the log what is true once `txn` is committed.
pub(super) fn put_mark(txn: &WriteTransaction, mark: Mark) -> Result<(), Failure> {
    let value = codec::seal("meta", MARK.as_bytes(), codec::encode(&mark)?);
    txn.open_table(META)?.insert(MARK, value.as_slice())?;
    Ok(())
}

/// Reads what the file says of the log.
pub(super) fn mark(db: &impl ReadableDatabase) -> Result<Mark, Failure> {
    let meta = db.begin_read()?.open_table(META)?;
    let row = meta.get(MARK)?;
    let mark = row.and_then(|row| codec::open("meta", MARK.as_bytes(), row.value()).ok());
    mark.ok_or_else(|| Failure::Damaged("what it says of its log cannot be read".to_owned()))
}
