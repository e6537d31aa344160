//! Brings rows from memory into the redb file, in the order of their keys and in one durable
//! commit: on a thread of its own, so that the log takes batches meanwhile.
//!
//! Each commit also stores which pages are free (redb's quick repair), so that a start after
//! a crash does not walk over the file.

use std::iter::Peekable;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use redb::{
    CursorError, CursorMut, Database, ReadableDatabase, Table, TableDefinition, WriteTransaction,
};

use super::codec;
use super::filter;
use super::layers::{Base, KEYS, Layer, ROWS};
use super::log::Mark;
use super::rows::{Failure, Key};
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
pub(super) fn run(shared: &Arc<Shared>, jobs: &Receiver<Job>, done: &Sender<Result<(), Failure>>) {
    renew_filter(shared);
    for Job { base, rows, mark } in jobs {
        let db = Arc::clone(&base.db);
        drop(base);
        // Before readers can need to find them there.
        shared.bloom.add_all(&rows);
        let written = catch_unwind(AssertUnwindSafe(|| write(db, &[&rows], mark)));
        let result = written.unwrap_or(Err(Failure::Panicked)).map(|base| {
            let old = shared.finish_checkpoint(base);
            drop(old);
        });
        // Large: not under the lock, and not on the writer's time.
        drop(rows);
        let failed = result.is_err();
        if done.send(result).is_err() {
            return;
        }
        // After a failure the file has not what was added.
        if !failed && shared.bloom.is_outgrown() {
            renew_filter(shared);
        }
    }
}

/// Makes the filter anew, in the background. Between two checkpoints: what the file has now is
/// read from there, what comes later is added as it comes.
fn renew_filter(shared: &Arc<Shared>) {
    let keys = shared.layers.read().base.as_ref().map(|base| base.keys());
    let Some(Ok(keys)) = keys else { return };
    let bits = shared.bloom.renew(keys);
    let shared = Arc::clone(shared);
    let filling = move || filter::fill(&shared, &bits);
    if let Err(error) = std::thread::Builder::new().name("filter".to_owned()).spawn(filling) {
        tracing::error!(%error, "the filter of keys could not be made");
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
    for layer in layers {
        let mut left = layer.rows().peekable();
        while let Some((key, value)) = left.next() {
            let table = if key.is_id() { &mut keys } else { &mut rows };
            match value {
                None => drop(table.remove(key.bytes())?),
                Some(value) if layer.is_born_here(key) => {
                    put_run(table, layer, (key, value), &mut left)?;
                },
                Some(value) => drop(table.insert(key.bytes(), value)?),
            }
        }
    }
    Ok(())
}

/// Writes a row that is new to the file, and as many of the next as are, too, and belong into
/// the same gap: redb need not look for the place of each.
fn put_run<'a>(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    layer: &Layer,
    (key, value): (&Key, &[u8]),
    left: &mut Peekable<impl Iterator<Item = (&'a Key, Option<&'a [u8]>)>>,
) -> Result<(), Failure> {
    let mut gap = table.upper_bound_mut(Bound::Included(key.bytes()))?;
    let mut fits = goes_into(&mut gap, key, value)?;
    if !fits {
        gap.close()?;
        table.insert(key.bytes(), value)?;
        return Ok(());
    }
    while fits
        && let Some((key, Some(value))) = left.peek()
        && layer.is_born_here(key)
    {
        fits = goes_into(&mut gap, key, value)?;
        if fits {
            left.next();
        }
    }
    Ok(gap.close()?)
}

/// Whether the row belonged into the gap, and is there now.
fn goes_into(
    gap: &mut CursorMut<'_, &'static [u8], &'static [u8]>,
    key: &Key,
    value: &[u8],
) -> Result<bool, Failure> {
    match gap.insert_before(key.bytes(), value) {
        Ok(()) => Ok(true),
        Err(CursorError::UnorderedKey) => Ok(false),
        Err(CursorError::Storage(error)) => Err(error.into()),
        Err(error) => Err(Failure::Damaged(error.to_string())),
    }
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
