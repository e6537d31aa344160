//! Keys of new events on their way to their place in the file.
//!
//! The place of a key is anywhere among all others: to bring each there at once costs nearly
//! a page a key. So a checkpoint writes the keys of new events one after the other, in rows
//! of a table of their own, and they stay in memory, where readers find them. Each checkpoint
//! then brings a part of those to their place: one part of the order after the other, so that
//! keys which go to the same page go together. Once such a pass is over, the young rows that
//! were there when it began are removed.
//!
//! Young rows are a log: a key in them counts unless a later one says that it was placed. A
//! start brings all that count to their place.

use parking_lot::RwLock;
use redb::{ReadableDatabase, TableDefinition, WriteTransaction};

use super::codec;
use super::layers::{Layer, Layers, View};
use super::log;
use super::rows::{self, Failure, Key, Row, Span};
use crate::record::Event;

const TABLE: &str = "young";
/// Keys that have no place yet, or (as removed) have one since, as the log has rows.
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
    /// Of new events: they stay in memory.
    pub(super) young: Vec<(&'a Key, &'a [u8])>,
    /// Of events that were forgotten: they are removed at their place.
    pub(super) placed: Vec<(&'a Key, Option<&'a [u8]>)>,
}

impl<'a> Sorted<'a> {
    pub(super) fn of(rows: &'a Layer) -> Self {
        let mut sorted = Self::default();
        for (key, value) in rows.ids() {
            match value {
                Some(value) => sorted.young.push((key, value)),
                None => sorted.placed.push((key, None)),
            }
        }
        sorted
    }

    /// None of them is young.
    pub(super) fn all_placed(rows: &'a Layer) -> Self {
        Self { young: Vec::new(), placed: rows.ids().collect() }
    }

    /// What the young rows are to say.
    fn changes(&self) -> Vec<(&Key, Option<&[u8]>)> {
        let young = self.young.iter().map(|&(key, value)| (key, Some(value)));
        young.chain(self.placed.iter().map(|&(key, _)| (key, None))).collect()
    }
}

/// What goes to its place next.
pub(super) struct Part {
    pub(super) keys: Keys,
    /// Whether all go to their place, and no young row is left.
    all: bool,
    /// Whether every key in memory has had its turn then.
    is_over: bool,
    after: Pass,
}

impl Pass {
    /// No key is in memory. They may take about `limit` bytes of it.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, at: Span::ids("").first, first: 0, next: 0 }
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
        Part { keys, all, is_over, after }
    }
}

impl Part {
    /// Writes young rows, and removes those whose keys all have their place. Returns where the
    /// pass stands once `txn` is committed.
    pub(super) fn put_young(
        &self,
        txn: &WriteTransaction,
        sorted: &Sorted<'_>,
    ) -> Result<Pass, Failure> {
        let mut after = self.after.clone();
        let mut table = txn.open_table(YOUNG)?;
        if self.is_over {
            table.retain_in(..after.first, |_, _| false)?;
        }
        let changes = if self.all { Vec::new() } else { sorted.changes() };
        for some in changes.chunks(ROW_KEYS) {
            let mut bytes = Vec::new();
            for (key, value) in some {
                log::put_row(&mut bytes, key, *value)?;
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

/// The keys that have no place yet.
pub(super) fn read(db: &impl ReadableDatabase, file: View<'_>) -> Result<Layer, Failure> {
    let (mut keys, mut whole) = (Layer::default(), true);
    for row in db.begin_read()?.open_table(YOUNG)?.range::<u64>(..)? {
        let (number, value) = row?;
        let bytes = codec::open::<Vec<u8>>(TABLE, &number.value().to_be_bytes(), value.value());
        let Some(some) = bytes.ok().and_then(|bytes| log::decode(&bytes)) else {
            whole = false;
            continue;
        };
        for (key, value) in some.rows() {
            match value {
                Some(value) => keys.put(key.clone(), Some(value.to_vec())),
                None => keys.remove(key),
            }
        }
    }
    if !whole {
        tracing::warn!("keys of new events could not be read: they are made anew from the events");
        from_events(file, &mut keys)?;
    }
    Ok(keys)
}

/// Adds the keys of all events that have none, or that of an event which is gone.
fn from_events(file: View<'_>, keys: &mut Layer) -> Result<(), Failure> {
    for row in file.range(&Span::events())? {
        let (key, value) = row?;
        if let Some(Row::Event(seq)) = key.read()
            && let Ok(event) = rows::open::<Event>(&key, &value)
        {
            let key = Key::id(&event.id);
            if file.number(&event.id)? != Some(seq) {
                let value = rows::seal(&key, codec::encode(&seq)?);
                keys.put(key, Some(value));
            }
        }
    }
    Ok(())
}

/// Removes all young rows: all keys have their place.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), Failure> {
    Ok(txn.open_table(YOUNG)?.retain(|_, _| false)?)
}
