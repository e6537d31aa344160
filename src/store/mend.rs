//! What can be made anew from the events alone: the totals, where their row cannot be read,
//! and both indexes, where the file failed redb's full check.
//!
//! A damaged page of `keys` would make its events absent, and their next copies run twice.
//! But every event carries its own id, so both indexes can be made from the events alone;
//! of the old keys only those are still needed whose event cannot be read: they are what
//! makes it Held instead of absent.

use std::collections::BTreeMap;

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    TableError, Value,
};

use super::codec;
use super::tables::{
    self, AGENDA, ANSWERS, DELIVERIES, EVENTS, Failure, KEYS, META, PAYLOADS, Place, STORY, Tables,
};
use super::totals::Totals;
use crate::record::Event;

/// Numbers skipped when the counter had to be counted anew.
const RECOUNT_SKIP: u64 = 1 << 20;

/// Reads the totals, or counts them anew where their row cannot be read.
pub(super) fn read_totals(db: &Database) -> Result<Totals, Failure> {
    let txn = db.begin_read()?;
    if let Some(totals) = tables::totals(&txn)? {
        return Ok(totals);
    }
    count(&txn)
}

/// Counts the totals anew, from the events.
pub(super) fn count(txn: &ReadTransaction) -> Result<Totals, Failure> {
    let mut totals = Totals::default();
    let events = txn.open_table(EVENTS)?;
    for row in events.iter()? {
        let seq = row?.0.value();
        totals.next = totals.next.max(seq);
        if let Some(Ok(event)) = tables::event(&events, seq)? {
            let Event { token, changed, .. } = &event;
            totals.next = totals.next.max(token.0);
            totals.seen = totals.seen.max(*changed);
            totals.moved(None, Some(&event));
        }
    }
    if totals.next > 0 {
        // Claims of events that are gone may have drawn higher ones.
        totals.next = totals.next.saturating_add(RECOUNT_SKIP);
    }
    Ok(totals)
}

/// Reads the top of every table, or all of each. redb panics on a damaged page, and aborts
/// the process if that happens in a write with other tables open: here it may happen, and
/// be caught, before anything else is done with the file.
pub(super) fn probe(db: &Database, all: bool) -> Result<(), Failure> {
    let txn = db.begin_read()?;
    let rows = if all { usize::MAX } else { 1 };
    read(&txn, META, rows)?;
    read(&txn, KEYS, rows)?;
    read(&txn, EVENTS, rows)?;
    read(&txn, AGENDA, rows)?;
    read(&txn, PAYLOADS, rows)?;
    read(&txn, ANSWERS, rows)?;
    read(&txn, STORY, rows)?;
    read(&txn, DELIVERIES, rows)
}

fn read<K: Key + 'static, V: Value + 'static>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    rows: usize,
) -> Result<(), Failure> {
    let table = match txn.open_table(table) {
        Ok(table) => table,
        // A file just made.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for row in table.iter()?.take(rows) {
        row?;
    }
    Ok(())
}

/// Replaces `keys` and `agenda` by what the events say.
pub(super) fn rebuild_indexes(db: &Database) -> Result<(), Failure> {
    let txn = db.begin_write()?;
    let (mut keys, mut agenda) = (BTreeMap::new(), Vec::new());
    for row in txn.open_table(KEYS)?.iter()? {
        let (id, value) = row?;
        if let Ok(seq) = codec::open::<u64>("keys", id.value().as_bytes(), value.value()) {
            keys.insert(id.value().to_owned(), seq);
        }
    }
    let known = keys.len();
    let events = txn.open_table(EVENTS)?;
    for row in events.iter()? {
        let seq = row?.0.value();
        if let Some(Ok(event)) = tables::event(&events, seq)? {
            agenda.push((event.source().to_owned(), Place::of(&event), seq));
            keys.insert(event.id, seq);
        }
    }
    drop(events);
    txn.delete_table(KEYS)?;
    txn.delete_table(AGENDA)?;
    let mut tables = Tables::open(&txn)?;
    for (id, seq) in &keys {
        tables.put_key(id, *seq)?;
    }
    for (source, (place, at), seq) in &agenda {
        tables.agenda.insert((source.as_str(), *place, *at, *seq), ())?;
    }
    drop(tables);
    txn.commit()?;
    tracing::error!(events = agenda.len(), keys = keys.len(), known, "indexes were built anew");
    Ok(())
}
