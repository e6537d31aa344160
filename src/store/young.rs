//! Keys of new events on their way to their place in the file.
//!
//! The place of a key is anywhere among all others: to bring each there at once costs nearly
//! a page a key. So a checkpoint writes the keys of new events one after the other, in rows
//! of a table of their own, and they stay in memory, where readers find them. Each checkpoint
//! then brings a part of those to their place: one part of the order after the other, so that
//! keys which go to the same page go together. Once such a pass is over, the young rows that
//! were there when it began are removed.
//!
//! A start brings all that it finds in young rows to their place.

use parking_lot::RwLock;
use redb::{ReadableDatabase, TableDefinition, WriteTransaction};

use super::codec::{self, Damaged};
use super::filter::Bloom;
use super::layers::{Layer, Layers, View};
use super::log;
use super::rows::{self, Failure, Key, Row, Span};
use crate::record::Event;

const TABLE: &str = "young";
/// Keys that have no place yet, as the log has rows.
pub(super) const YOUNG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new(TABLE);

/// A checkpoint brings one in so many of the keys in memory to their place,
const PARTS: usize = 16;
/// at least so many of them.
const LEAST: usize = 64;
/// Keys in one young row: some 30 KiB.
const ROW_KEYS: usize = 512;
/// Keys read or moved under one lock: some 100 µs.
const LOCK_KEYS: usize = 512;

/// Keys with their rows.
pub(super) type Keys = Vec<(Key, Vec<u8>)>;

/// How far the pass over the keys has come.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// Bytes of memory that the keys may take, about.
    limit: usize,
    /// Where the next part begins.
    at: Key,
    /// The young rows before this one have only keys that have their place when the pass is
    /// over.
    first: u64,
    /// The number of the next young row.
    next: u64,
}

/// The keys of a checkpoint's rows.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    /// New, and not in the file: they stay in memory.
    pub(super) young: Vec<(&'a Key, &'a [u8])>,
    /// All others: what the file says of them from now on.
    pub(super) placed: Vec<(&'a Key, Option<&'a [u8]>)>,
}

impl<'a> Sorted<'a> {
    pub(super) fn of(rows: &'a Layer, bloom: &Bloom) -> Self {
        let mut sorted = Self::default();
        for (key, value) in rows.ids() {
            match value {
                Some(value) if !bloom.may_have(key) => sorted.young.push((key, value)),
                value => sorted.placed.push((key, value)),
            }
        }
        sorted
    }

    /// None of them is young.
    pub(super) fn all_placed(rows: &'a Layer) -> Self {
        Self { young: Vec::new(), placed: rows.ids().collect() }
    }
}

/// What goes to its place next.
pub(super) struct Part {
    pub(super) keys: Keys,
    /// Whether every key in memory has had its turn then.
    is_over: bool,
    after: Pass,
}

impl Pass {
    /// Goes on after the young rows that are there, whose keys are in memory.
    pub(super) fn new(limit: usize, next: u64) -> Self {
        Self { limit, at: Span::ids("").first, first: next, next }
    }

    /// Picks the keys that go to their place next: `all` of them, or a part.
    pub(super) fn next_part(&self, layers: &RwLock<Layers>, all: bool) -> Part {
        let (count, bytes) = {
            let layers = layers.read();
            (layers.keys.len(), layers.keys.bytes())
        };
        let mut after = self.clone();
        let wanted = if all {
            (after.at, after.first) = (Span::ids("").first, self.next);
            count
        } else {
            let beyond = count.saturating_mul(bytes.saturating_sub(self.limit)) / bytes.max(1);
            (count / PARTS).max(LEAST).max(beyond)
        };
        let mut keys = Keys::with_capacity(wanted.min(count));
        let mut is_over = all;
        while keys.len() < wanted {
            let layers = layers.read();
            let some = layers.keys.from(&after.at).take(LOCK_KEYS.min(wanted - keys.len()));
            let before = keys.len();
            keys.extend(some.filter_map(|(key, value)| Some((key.clone(), value?.to_vec()))));
            let Some((last, _)) = keys.get(before..).and_then(<[_]>::last) else {
                is_over = true;
                break;
            };
            after.at = last.next();
        }
        Part { keys, is_over, after }
    }
}

impl Part {
    /// Writes the new young keys, and removes the rows of those that have their place.
    /// Returns where the pass stands once `txn` is committed.
    pub(super) fn put_young(
        &self,
        txn: &WriteTransaction,
        young: &[(&Key, &[u8])],
    ) -> Result<Pass, Failure> {
        let mut after = self.after.clone();
        let mut table = txn.open_table(YOUNG)?;
        if self.is_over {
            table.retain_in(..after.first, |_, _| false)?;
        }
        for some in young.chunks(ROW_KEYS) {
            let mut bytes = Vec::new();
            for (key, value) in some {
                log::put_row(&mut bytes, key, Some(value))?;
            }
            let value = codec::seal(TABLE, &after.next.to_be_bytes(), codec::encode(&bytes)?);
            table.insert(after.next, value.as_slice())?;
            after.next = after.next.saturating_add(1);
        }
        if self.is_over {
            (after.at, after.first) = (Span::ids("").first, after.next);
        }
        Ok(after)
    }
}

/// Adds keys to those in memory.
pub(super) fn add(layers: &RwLock<Layers>, young: &[(&Key, &[u8])]) {
    for some in young.chunks(LOCK_KEYS) {
        // Nothing is allocated under the lock that can be before it.
        let some: Keys = some.iter().map(|&(key, value)| (key.clone(), value.to_vec())).collect();
        let mut layers = layers.write();
        for (key, value) in some {
            layers.keys.put(key, Some(value));
        }
    }
}

/// Takes keys out of memory: the file says what becomes of them.
pub(super) fn remove(layers: &RwLock<Layers>, placed: &[&Key]) {
    for some in placed.chunks(LOCK_KEYS) {
        let mut layers = layers.write();
        for key in some {
            layers.keys.remove(key);
        }
    }
}

/// The keys that have no place yet, and the number of the next young row. Those of events
/// that were forgotten since are left out.
pub(super) fn read(db: &impl ReadableDatabase, file: View<'_>) -> Result<(Layer, u64), Failure> {
    let (mut keys, mut next, mut whole) = (Layer::default(), 0, true);
    for row in db.begin_read()?.open_table(YOUNG)?.range::<u64>(..)? {
        let (number, value) = row?;
        next = number.value().saturating_add(1);
        let bytes = codec::open::<Vec<u8>>(TABLE, &number.value().to_be_bytes(), value.value());
        let Some(some) = bytes.ok().and_then(|bytes| log::decode(&bytes)) else {
            whole = false;
            continue;
        };
        for (key, value) in some.rows() {
            if let Some(value) = value
                && is_in_force(file, key, value)?
            {
                keys.put(key.clone(), Some(value.to_vec()));
            }
        }
    }
    if !whole {
        tracing::warn!("keys of new events could not be read: they are made anew from the events");
        from_events(file, &mut keys)?;
    }
    Ok((keys, next))
}

/// Whether this is what the store says of a key.
fn is_in_force(file: View<'_>, key: &Key, value: &[u8]) -> Result<bool, Failure> {
    let (Some(Row::Id(id)), Ok(seq)) = (key.read(), rows::open::<u64>(key, value)) else {
        return Ok(false);
    };
    Ok(match file.event(seq)? {
        None => false,
        Some(Ok(event)) => event.id == id,
        // Unless it is known already that it cannot be read.
        Some(Err(Damaged)) => file.get(key, |_| ())?.is_none(),
    })
}

/// Adds the keys of all events that have none.
fn from_events(file: View<'_>, keys: &mut Layer) -> Result<(), Failure> {
    for row in file.range(&Span::events())? {
        let (key, value) = row?;
        if let Some(Row::Event(seq)) = key.read()
            && let Ok(event) = rows::open::<Event>(&key, &value)
        {
            let key = Key::id(&event.id);
            if file.get(&key, |_| ())?.is_none() {
                let value = rows::seal(&key, codec::encode(&seq)?);
                keys.put(key, Some(value));
            }
        }
    }
    Ok(())
}
