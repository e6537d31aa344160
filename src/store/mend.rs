//! What can be made anew from the events alone: the totals, where their row cannot be read,
//! and both indexes, where the file failed redb's full check.
//!
//! A damaged page of `keys` would make its events absent, and their next copies run twice.
//! But every event carries its own id, so both indexes can be made from the events alone;
//! of the old keys only those are still needed whose event cannot be read: they are what
//! makes it Held instead of absent.

use std::sync::Arc;

use redb::{Database, WriteTransaction};

use super::checkpoint;
use super::key_rules;
use super::layers::{Base, Fronts, Layer, ROWS, View};
use super::rows::{self, Failure, Key, Place, Row, Rows, Span};
use super::totals::Totals;
use super::young;
use crate::record::Event;

/// Numbers skipped when the counter had to be counted anew.
const RECOUNT_SKIP: u64 = 1 << 20;

/// Reads the totals, or counts them anew where their row cannot be read.
pub(super) fn read_totals(view: View<'_>) -> Result<Totals, Failure> {
    match view.totals()? {
        Some(totals) => Ok(totals),
        None => count(view),
    }
}

/// Counts the totals anew, from the events.
fn count(view: View<'_>) -> Result<Totals, Failure> {
    let mut totals = Totals::default();
    for row in view.range(&Span::events())? {
        let (key, value) = row?;
        let Some(seq) = key.seq() else { continue };
        totals.next = totals.next.max(seq);
        if let Some(Row::Event(_)) = key.read()
            && let Ok(event) = rows::open::<Event>(&key, &value)
        {
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
/// anew. Fails rather than leave out rows that redb cannot walk over.
pub(super) fn save_readable(from: &Arc<Database>, to: &Arc<Database>) -> Result<(), Failure> {
    let old = Base::new(Arc::clone(from))?;
    let txn = to.begin_write()?;
    copy_mark(from, &txn)?;
    {
        let mut new = txn.open_table(ROWS)?;
        for span in [Span::deliveries(), Span::events(), Span::payloads(), Span::meta()] {
            for row in old.view().range(&span)? {
                let (key, value) = row?;
                let name = if let Some(Row::Meta(name)) = key.read() { name } else { "" };
                // The totals are counted anew. Without the key rules, copies of older events
                // would be new ones if a rule has changed since.
                if !matches!(key.read(), Some(Row::Meta(_))) || name.starts_with(key_rules::PREFIX)
                {
                    new.insert(key.bytes(), value.as_slice())?;
                }
            }
        }
    }
    {
        let (empty, mut fronts) = (Base::new(Arc::clone(to))?, Fronts::default());
        let mut made = Rows::new(empty.view(), Layer::default(), &mut fronts);
        for row in old.view().range(&Span::ids(""))? {
            let (key, value) = row?;
            if let Ok(seq) = rows::open::<u64>(&key, &value) {
                made.put(key, &seq)?;
            }
        }
        for (key, value) in young::read(&**from, old.view())?.rows() {
            made.written.put(key.clone(), value.map(<[u8]>::to_vec));
        }
        for row in old.view().range(&Span::events())? {
            let (key, value) = row?;
            if let Some(Row::Event(seq)) = key.read()
                && let Ok(event) = rows::open::<Event>(&key, &value)
            {
                let (place, at) = Place::of(&event);
                made.put_in_agenda(Key::agenda(event.source(), place, at, seq));
                made.put(Key::id(&event.id), &seq)?;
                made.note_run(&event.id, seq, Some(&event))?;
            }
        }
        checkpoint::put_rows(&txn, &[&made.written])?;
    }
    txn.commit()?;
    Ok(())
}

/// What the file knows of its log goes along: the log has what was acknowledged last.
fn copy_mark(from: &Database, to: &WriteTransaction) -> Result<(), Failure> {
    checkpoint::put_mark(to, checkpoint::mark(from)?)
}
