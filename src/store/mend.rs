//! A file that failed redb's full check: its indexes are built anew, from what can be read.
//!
//! A damaged page of `keys` would make its events absent, and their next copies run twice.
//! But every event carries its own id, so both indexes can be made from the events alone;
//! of the old keys only those are still needed whose event cannot be read: they are what
//! makes it Held instead of absent.

use std::collections::BTreeMap;

use redb::{Database, ReadableTable as _};

use super::codec;
use super::tables::{self, AGENDA, EVENTS, Failure, KEYS, Place, Tables};

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
