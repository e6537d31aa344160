//! What is durable in the log and not yet in the redb file: rows in memory, over the file.
//!
//! ```text
//! what the batch wrote      only the writer sees it
//! syncing                   the same: the batch before it, on its way to the log
//! active                    in the log, synced; grows with each batch
//! frozen                    the same, being written to the file; `None` most of the time
//! keys                      keys that the file has, but not yet at their place (see [`young`])
//! base                      the redb file as of its last checkpoint
//! ```
//!
//! A row is what the uppermost of them says. Readers hold the lock for a few lookups; who
//! walks over much has everything written to the file first and reads `base` alone.
//!
//! [`young`]: super::young

use std::collections::{BTreeMap, HashMap, btree_map};
use std::fmt;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use redb::{
    AccessGuard, Database, Range, ReadOnlyTable, ReadTransaction, ReadableDatabase as _,
    ReadableTableMetadata as _, StorageError, TableDefinition, TableError,
};

use super::filter::Bloom;
use super::rows::{Failure, Key, Span};

pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The keys. Apart from the events, so that no one damaged page can take both an event and
/// what would tell that it is missing.
pub(super) const KEYS: Definition = TableDefinition::new("keys");
/// All other rows.
pub(super) const ROWS: Definition = TableDefinition::new("rows");

/// What a row costs in memory beside its bytes, about.
const ROW_COST: usize = 96;

/// Rows that were written, and rows that were removed (`None`).
#[derive(Debug, Default)]
pub(super) struct Layer {
    rows: BTreeMap<Key, Option<Vec<u8>>>,
    bytes: usize,
    /// Events with numbers above this one have no row below this layer.
    floor: Option<u64>,
}

impl Layer {
    /// A layer whose own events have numbers above `floor`.
    pub(super) fn above(floor: u64) -> Self {
        Self { floor: Some(floor), ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether it says anything of this row.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// Memory taken, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&Key, Option<&[u8]>)> {
        self.rows.iter().map(|(key, value)| (key, value.as_deref()))
    }

    /// The keys of events.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&Key, Option<&[u8]>)> {
        let first = Span::ids("").first;
        self.from(&first).take_while(|(key, _)| key.is_id())
    }

    /// The keys of events from this one on, so many of them.
    pub(super) fn ids_from(&self, first: &Key, most: usize) -> Vec<Key> {
        self.from(first)
            .take_while(|(key, _)| key.is_id())
            .take(most)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The rows from this key on.
    pub(super) fn from(
        &self,
        first: &Key,
    ) -> impl Iterator<Item = (&Key, Option<&[u8]>)> + use<'_> {
        self.rows.range::<Key, _>(first..).map(|(key, value)| (key, value.as_deref()))
    }

    /// Takes a row out: what is below says what it is.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(old) = self.rows.remove(key) {
            self.bytes = self.bytes.saturating_sub(cost(key, old.as_ref()));
        }
    }

    pub(super) fn put(&mut self, key: Key, value: Option<Vec<u8>>) {
        let cost = cost(&key, value.as_ref());
        let replaced = match self.rows.entry(key) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(value);
                0
            },
            btree_map::Entry::Occupied(mut entry) => {
                let old = entry.insert(value);
                self::cost(entry.key(), old.as_ref())
            },
        };
        self.bytes = self.bytes.saturating_add(cost).saturating_sub(replaced);
    }

    /// Whether the row is one of an event that is younger than this layer: none is below.
    pub(super) fn is_born_here(&self, key: &Key) -> bool {
        self.floor.is_some_and(|floor| key.seq().is_some_and(|seq| seq > floor))
    }

    /// Adds what was written later.
    pub(super) fn merge(&mut self, later: Self) {
        for (key, value) in later.rows {
            if value.is_some() || !self.is_born_here(&key) {
                self.put(key, value);
            } else {
                // Nothing is below: the row need not be removed there.
                self.remove(&key);
            }
        }
    }
}

fn cost(key: &Key, value: Option<&Vec<u8>>) -> usize {
    ROW_COST + key.bytes().len() + value.map_or(0, Vec::len)
}

/// The rows of the redb file, as of one commit.
pub(super) struct BaseRows {
    keys: BaseTable,
    rows: BaseTable,
}

type BaseTable = ReadOnlyTable<&'static [u8], &'static [u8]>;
type BaseRange<'a> = Range<'a, &'static [u8], &'static [u8]>;

impl BaseRows {
    pub(super) fn read(txn: &ReadTransaction) -> Result<Self, TableError> {
        Ok(Self { keys: txn.open_table(KEYS)?, rows: txn.open_table(ROWS)? })
    }

    /// Reads a row.
    fn get<T>(&self, key: &Key, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, StorageError> {
        Ok(self.table(key).get(key.bytes())?.map(|stored| read(stored.value())))
    }

    fn table(&self, key: &Key) -> &BaseTable {
        if key.is_id() { &self.keys } else { &self.rows }
    }

    pub(super) fn range(&self, span: &Span) -> Result<BaseRange<'_>, StorageError> {
        let (first, last) = (span.first.bytes(), span.last.bytes());
        self.table(&span.first).range::<&[u8]>(first..=last)
    }
}

/// The redb file as of one commit.
pub(super) struct Base {
    pub(super) db: Arc<Database>,
    pub(super) rows: BaseRows,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}

impl Base {
    pub(super) fn new(db: Arc<Database>) -> Result<Self, Failure> {
        let rows = BaseRows::read(&db.begin_read()?)?;
        Ok(Self { db, rows })
    }

    /// How many events the file has.
    pub(super) fn keys(&self) -> Result<usize, StorageError> {
        Ok(usize::try_from(self.rows.keys.len()?).unwrap_or(usize::MAX))
    }

    pub(super) fn view(&self) -> View<'_> {
        View::of(&self.rows)
    }
}

/// What readers and the writer share.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) active: Layer,
    pub(super) frozen: Option<Arc<Layer>>,
    pub(super) keys: Layer,
    /// `None` while the file is opened anew or compacted, and after a stop.
    pub(super) base: Option<Arc<Base>>,
}

impl Layers {
    pub(super) fn view(&self) -> Option<View<'_>> {
        let base = self.base.as_deref()?;
        let layers = [None, None, Some(&self.active), self.frozen.as_deref(), Some(&self.keys)];
        Some(View { layers, base: &base.rows, bloom: None })
    }
}

/// How many layers are over the file.
const LAYERS: usize = 5;

/// Layers over the file, as of one moment.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The uppermost first.
    layers: [Option<&'a Layer>; LAYERS],
    base: &'a BaseRows,
    /// Which keys may be in what readers see of them.
    bloom: Option<&'a Bloom>,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl<'a> View<'a> {
    /// The file alone.
    pub(super) fn of(base: &'a BaseRows) -> Self {
        Self { layers: [None; LAYERS], base, bloom: None }
    }

    /// The same, with a filter that knows all its keys, or says "maybe".
    pub(super) fn with(self, bloom: &'a Bloom) -> Self {
        Self { bloom: Some(bloom), ..self }
    }

    /// The same under what is being synced.
    pub(super) fn with_syncing(self, syncing: Option<&'a Layer>) -> Self {
        let [top, _, active, frozen, keys] = self.layers;
        Self { layers: [top, syncing, active, frozen, keys], ..self }
    }

    /// The same under what a batch wrote.
    pub(super) fn under<'b>(&self, top: &'b Layer) -> View<'b>
    where
        'a: 'b,
    {
        let [_, syncing, active, frozen, keys] = self.layers;
        View { layers: [Some(top), syncing, active, frozen, keys], ..*self }
    }

    /// Reads a row.
    pub(super) fn get<T>(
        &self,
        key: &Key,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StorageError> {
        let [top, syncing, below @ ..] = &self.layers;
        for layer in [top, syncing].into_iter().flatten() {
            if let Some(value) = layer.rows.get(key) {
                return Ok(value.as_deref().map(read));
            }
        }
        if key.is_id() && self.bloom.is_some_and(|bloom| !bloom.may_have(key)) {
            return Ok(None);
        }
        for layer in below.iter().flatten() {
            if let Some(value) = layer.rows.get(key) {
                return Ok(value.as_deref().map(read));
            }
        }
        self.base.get(key, read)
    }

    /// Walks over a span, in the order of the keys.
    pub(super) fn range(&self, span: &Span) -> Result<Walk<'a>, StorageError> {
        if span.first > span.last {
            return Ok(Walk { layers: [const { None }; LAYERS], base: None });
        }
        let bounds = || (Bound::Included(&span.first), Bound::Included(&span.last));
        let layers = self
            .layers
            .map(|layer| layer.map(|layer| layer.rows.range::<Key, _>(bounds()).peekable()));
        let base = self.base.range(span)?.peekable();
        Ok(Walk { layers, base: Some(base) })
    }
}

type LayerRows<'a> = Peekable<btree_map::Range<'a, Key, Option<Vec<u8>>>>;
type BaseRow<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

/// The rows of several layers, as one.
pub(super) struct Walk<'a> {
    layers: [Option<LayerRows<'a>>; LAYERS],
    base: Option<Peekable<BaseRange<'a>>>,
}

impl Walk<'_> {
    /// The smallest key of all.
    fn next_key(&mut self) -> Result<Option<Key>, StorageError> {
        let mut least: Option<Key> = None;
        for rows in self.layers.iter_mut().flatten() {
            if let Some((key, _)) = rows.peek()
                && least.as_ref().is_none_or(|least| *key < least)
            {
                least = Some((*key).clone());
            }
        }
        let Some(base) = &mut self.base else { return Ok(least) };
        match base.peek() {
            Some(Ok((key, _))) => {
                let key = key.value();
                if least.as_ref().is_none_or(|least| key < least.bytes()) {
                    least = Some(Key::from_bytes(key));
                }
            },
            // The error itself is in there, to be taken out.
            Some(Err(_)) => {
                if let Some(Err(error)) = base.next() {
                    return Err(error);
                }
            },
            None => {},
        }
        Ok(least)
    }

    /// What the uppermost layer that has the row says of it; all move past it.
    fn take(&mut self, key: &Key) -> Result<Option<Vec<u8>>, StorageError> {
        let mut taken: Option<Option<Vec<u8>>> = None;
        for rows in self.layers.iter_mut().flatten() {
            if let Some((_, value)) = rows.next_if(|(it, _)| *it == key)
                && taken.is_none()
            {
                taken = Some(value.clone());
            }
        }
        let same = |row: &Result<BaseRow<'_>, StorageError>| {
            row.as_ref().is_ok_and(|(it, _)| it.value() == key.bytes())
        };
        if let Some(row) = self.base.as_mut().and_then(|base| base.next_if(same)) {
            let (_, value) = row?;
            taken.get_or_insert_with(|| Some(value.value().to_vec()));
        }
        Ok(taken.flatten())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<(Key, Vec<u8>), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = match self.next_key() {
                Ok(key) => key?,
                Err(error) => return Some(Err(error)),
            };
            match self.take(&key) {
                Ok(Some(value)) => return Some(Ok((key, value))),
                // It was removed.
                Ok(None) => {},
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Where the agenda's rows of each source and place begin. A queue's first rows are removed
/// all the time; without this, each look at it would pass over what is left of them.
#[derive(Debug, Default)]
pub(super) struct Fronts(HashMap<Vec<u8>, Key>);

impl Fronts {
    /// Moves the first key to the front, if that is behind it; whether the walk then begins
    /// at the front, so that what it meets first is the new one.
    pub(super) fn begin(&self, span: &mut Span) -> bool {
        match self.0.get(span.first.front()) {
            None => span.first.is_front(),
            Some(front) if span.first <= *front => {
                span.first = front.clone();
                true
            },
            Some(_) => false,
        }
    }

    /// No row of its place is before this one.
    pub(super) fn set(&mut self, first: Key) {
        self.0.insert(first.front().to_vec(), first);
    }

    /// A row was added.
    pub(super) fn lower(&mut self, key: &Key) {
        if let Some(front) = self.0.get_mut(key.front())
            && *key < *front
        {
            *front = key.clone();
        }
    }

    /// What was written is not: nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
