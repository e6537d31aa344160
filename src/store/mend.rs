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
    Value, WriteTransaction,
};

use super::tables::{
    self, ANSWERS, DELIVERIES, EVENTS, Failure, KEYS, META, PAYLOADS, Place, STORY, Tables,
};
use super::totals::Totals;
use super::{codec, key_rules};
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
fn count(txn: &ReadTransaction) -> Result<Totals, Failure> {
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

/// Copies all that can be read of a damaged file to an empty one, and makes both indexes
/// anew. Fails rather than leave out a table's rows that redb cannot walk over.
pub(super) fn save_readable(from: &Database, to: &Database) -> Result<(), Failure> {
    let old = from.begin_read()?;
    let txn = to.begin_write()?;
    copy(&old, &txn, EVENTS)?;
    copy(&old, &txn, PAYLOADS)?;
    copy(&old, &txn, ANSWERS)?;
    copy(&old, &txn, STORY)?;
    copy(&old, &txn, DELIVERIES)?;
    copy_key_rules(&old, &txn)?;

    let mut keys = BTreeMap::new();
    for row in old.open_table(KEYS)?.iter()? {
        let (id, value) = row?;
        if let Ok(seq) = codec::open::<u64>("keys", id.value().as_bytes(), value.value()) {
            keys.insert(id.value().to_owned(), seq);
        }
    }
    let mut tables = Tables::open(&txn)?;
    let events = old.open_table(EVENTS)?;
    for row in events.iter()? {
        let seq = row?.0.value();
        if let Some(Ok(event)) = tables::event(&events, seq)? {
            let (place, at) = Place::of(&event);
            tables.agenda.insert((event.source(), place, at, seq), ())?;
            tables.note_run(&event.id, seq, Some(&event))?;
            keys.insert(event.id, seq);
        }
    }
    for (id, seq) in &keys {
        tables.put_key(id, *seq)?;
    }
    drop(tables);
    txn.commit()?;
    Ok(())
}

/// The key rules, as far as they can be read: one that is lost makes its events' copies new
/// ones if the rule has changed since.
fn copy_key_rules(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), Failure> {
    let old = from.open_table(META)?;
    let mut new = to.open_table(META)?;
    for row in old.iter()? {
        let (name, value) = row?;
        if name.value().starts_with(key_rules::PREFIX) {
            new.insert(name.value(), value.value())?;
        }
    }
    Ok(())
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), Failure> {
    let old = from.open_table(table)?;
    let mut new = to.open_table(table)?;
    for row in old.iter()? {
        let (key, value) = row?;
        new.insert(key.value(), value.value())?;
    }
    Ok(())
}
