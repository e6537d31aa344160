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

use super::layers::{Base, KEYS, Layer, ROWS};
use super::log::{self, Mark};
use super::rows::{Failure, Key};
use super::writer::Shared;
use super::young::{self, Pass, Sorted};
use super::{codec, filter};

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
    /// Whether all keys are to have their place then.
    pub(super) all: bool,
}

/// Does jobs until their sender is gone.
pub(super) fn run(
    shared: &Arc<Shared>,
    mut pass: Pass,
    jobs: &Receiver<Job>,
    done: &Sender<Result<(), Failure>>,
) {
    // While much comes, the writer waits for the rows that are on their way to the file.
    log::hasten();
    filter::renew(shared);
    for job in jobs {
        let written = catch_unwind(AssertUnwindSafe(|| bring(shared, &pass, job)));
        let result = written.unwrap_or(Err(Failure::Panicked)).map(|after| pass = after);
        if done.send(result).is_err() {
            return;
        }
        if shared.bloom.is_outgrown() {
            filter::renew(shared);
        }
    }
}

/// Brings rows to the file, and keys to their place in it. Readers find each in memory until
/// they find it in the file.
fn bring(shared: &Shared, pass: &Pass, job: Job) -> Result<Pass, Failure> {
    let Job { base, rows, mark, all } = job;
    let db = Arc::clone(&base.db);
    drop(base);
    let mut part = pass.next_part(&shared.layers, all);
    // Of a key that these rows have it is they who say what it is.
    part.keys.retain(|(key, _)| !rows.has(key));
    let sorted = if all { Sorted::all_placed(&rows) } else { Sorted::of(&rows) };
    let Sorted { young, placed } = &sorted;

    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    let after = part.put_young(&txn, &sorted)?;
    {
        let mut keys = txn.open_table(KEYS)?;
        put(&mut keys, part.keys.iter().map(|(key, value)| (key, Some(value.as_slice()))), |_| {
            true
        })?;
        put(&mut keys, placed.iter().copied(), |_| false)?;
    }
    put_others(&txn, &rows)?;
    put_mark(&txn, mark)?;
    txn.commit()?;
    let base = Base::new(db)?;

    young::add(&shared.layers, young);
    let placed: Vec<&Key> = placed.iter().map(|(key, _)| *key).collect();
    young::remove(&shared.layers, &placed);
    // Large: not let go of under the lock.
    drop(shared.finish_checkpoint(base));
    let placed: Vec<&Key> = part.keys.iter().map(|(key, _)| key).collect();
    young::remove(&shared.layers, &placed);
    Ok(after)
}

/// Writes rows, the lowest layer first, and the mark; the file as of then. All keys that have
/// no place yet are among the rows: they have it then.
pub(super) fn write(db: Arc<Database>, layers: &[&Layer], mark: Mark) -> Result<Base, Failure> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    put_rows(&txn, layers)?;
    young::clear(&txn)?;
    put_mark(&txn, mark)?;
    txn.commit()?;
    Base::new(db)
}

/// Writes rows, the lowest layer first, keys at their place.
pub(super) fn put_rows(txn: &WriteTransaction, layers: &[&Layer]) -> Result<(), Failure> {
    for layer in layers {
        put(&mut txn.open_table(KEYS)?, layer.ids(), |_| false)?;
        put_others(txn, layer)?;
    }
    Ok(())
}

/// Writes all rows but keys.
fn put_others(txn: &WriteTransaction, layer: &Layer) -> Result<(), Failure> {
    let others = layer.rows().filter(|(key, _)| !key.is_id());
    put(&mut txn.open_table(ROWS)?, others, |key| layer.is_born_here(key))
}

/// Writes rows to a table; `is_new`: the file has none of this key.
fn put<'a>(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    rows: impl Iterator<Item = (&'a Key, Option<&'a [u8]>)>,
    is_new: impl Fn(&Key) -> bool,
) -> Result<(), Failure> {
    let mut left = rows.peekable();
    while let Some((key, value)) = left.next() {
        match value {
            None => remove_run(table, key, &mut left)?,
            Some(value) if is_new(key) => put_run(table, &is_new, (key, value), &mut left)?,
            Some(value) => drop(table.insert(key.bytes(), value)?),
        }
    }
    Ok(())
}

/// Writes a row that is new to the file, and as many of the next as are, too, and belong into
/// the same gap: redb need not look for the place of each.
fn put_run<'a>(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    is_new: impl Fn(&Key) -> bool,
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
        && is_new(key)
    {
        fits = goes_into(&mut gap, key, value)?;
        if fits {
            left.next();
        }
    }
    Ok(gap.close()?)
}

/// Removes a row, and with it as many of the next as have no others between them but those of
/// the same events: redb rewrites each leaf once, not once a row.
fn remove_run<'a>(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    first: &'a Key,
    left: &mut Peekable<impl Iterator<Item = (&'a Key, Option<&'a [u8]>)>>,
) -> Result<(), Failure> {
    let (mut run, mut last) = (vec![first], first);
    while let Some((key, _)) = left.next_if(|(key, value)| value.is_none() && last.is_beside(key)) {
        run.push(key);
        last = key;
    }
    if run.len() == 1 {
        drop(table.remove(first.bytes())?);
        return Ok(());
    }
    let mut run = run.into_iter().peekable();
    let stays = |key: &[u8], _: &[u8]| {
        while run.next_if(|it| it.bytes() < key).is_some() {}
        run.next_if(|it| it.bytes() == key).is_none()
    };
    Ok(table.retain_in(first.bytes()..=last.bytes(), stays)?)
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
