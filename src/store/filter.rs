//! A Bloom filter over the keys of all events: whether one may be stored.
//!
//! Nearly every event is new, and asking for one means the lock over the layers and a page
//! of a tree that is larger than any cache. The filter answers "no" for all but one in some
//! hundreds of those, without a lock; "maybe" means that the layers and the file are asked.
//!
//! It is made anew from them at each start, in the background, and until then the answer is
//! "maybe". So it is never stored, and nothing but speed depends on it. When it has become too
//! small a larger one is made beside it, which takes its place once it is whole.
//!
//! The writer adds a key as its row joins the active layer, under one lock with that; and a
//! filter begins to be made under that lock. So each key is in the layers or the file when its
//! maker looks there, or is added to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use redb::StorageError;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Health;
use super::rows::{Key, Span};
use super::writer::Shared;

/// Bits for each key. With [`PROBES`] of them set, one in some 200 that are not there is taken
/// for one that may be.
const BITS: usize = 12;
const PROBES: u32 = 5;
/// Words of a block, all in one line of the processor's cache: a key's bits are in one block.
const BLOCK: usize = 8;
/// Keys that a filter has room for, at least.
const LEAST: usize = 1 << 16;
/// Keys that a filter has room for, at most: 192 MiB.
const MOST: usize = 1 << 27;
/// Keys read from the file at a time: some 20 ms.
const CHUNK: usize = 50_000;
/// Keys read under one lock: some 50 µs.
const LOCK_KEYS: usize = 512;
/// How often a file that is closed is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// The filter in force, and the one that is being made.
#[derive(Debug)]
pub(super) struct Bloom {
    current: ArcSwap<Bits>,
    next: ArcSwapOption<Bits>,
}

impl Bloom {
    /// Says "maybe" until the first one is made.
    pub(super) fn new() -> Self {
        Self { current: ArcSwap::from_pointee(Bits::for_keys(0)), next: ArcSwapOption::empty() }
    }

    /// Whether an event may have this key.
    pub(super) fn may_have(&self, key: &Key) -> bool {
        self.current.load().may_have(key)
    }

    /// An event with this key becomes visible to readers: under the lock of the layers.
    pub(super) fn add(&self, key: &Key) {
        // In this order: the next becomes the current one before it is no longer the next.
        if let Some(next) = &*self.next.load() {
            next.add(key);
        }
        self.current.load().add(key);
    }

    /// Whether it has become too small, and none is being made.
    pub(super) fn is_outgrown(&self) -> bool {
        self.current.load().is_outgrown() && self.next.load().is_none()
    }

    /// Whether one is being made.
    #[cfg(test)]
    pub(super) fn is_being_made(&self) -> bool {
        self.next.load().is_some()
    }

    /// Begins a new one: under the lock of the layers.
    fn begin(&self, bits: &Arc<Bits>) {
        self.next.store(Some(Arc::clone(bits)));
    }

    /// Puts the new one in force: all keys that there were when it began were added.
    fn finish(&self, bits: Arc<Bits>) {
        bits.finished.store(true, Ordering::Release);
        self.current.store(bits);
        self.next.store(None);
    }
}

/// The bits of one filter.
#[derive(Debug)]
pub(super) struct Bits {
    words: Vec<AtomicU64>,
    seed: u64,
    room: usize,
    keys: AtomicUsize,
    finished: AtomicBool,
}

impl Bits {
    fn for_keys(keys: usize) -> Self {
        let room = keys.clamp(LEAST, MOST);
        let blocks = (room * BITS).div_ceil(64 * BLOCK);
        let words = std::iter::repeat_with(AtomicU64::default).take(blocks * BLOCK).collect();
        let (keys, finished) = (AtomicUsize::new(0), AtomicBool::new(false));
        // Drawn anew, so that nobody can choose keys that all fall together.
        Self { words, seed: fastrand::u64(..), room, keys, finished }
    }

    fn is_outgrown(&self) -> bool {
        self.keys.load(Ordering::Relaxed) > self.room && self.room < MOST
    }

    fn add(&self, key: &Key) {
        self.keys.fetch_add(1, Ordering::Relaxed);
        for (word, bit) in self.bits(key) {
            if let Some(word) = self.words.get(word) {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    fn may_have(&self, key: &Key) -> bool {
        let set = |(word, bit): (usize, u64)| {
            self.words.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
        };
        !self.finished.load(Ordering::Acquire) || self.bits(key).all(set)
    }

    /// The words and bits of a key.
    fn bits(&self, key: &Key) -> impl Iterator<Item = (usize, u64)> {
        let hash = xxh3_64_with_seed(key.bytes(), self.seed);
        let blocks = self.words.len() / BLOCK;
        // The upper half picks the block, nine bits each of the lower the bit.
        let block = usize::try_from(hash >> 32).unwrap_or(0) % blocks.max(1);
        let low = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..PROBES).map(move |probe| {
            let bit = (low >> (9 * probe)) & 511;
            let word = block * BLOCK + usize::try_from(bit / 64).unwrap_or(0);
            (word, 1 << (bit % 64))
        })
    }
}

/// Makes the filter anew, in the background.
pub(super) fn renew(shared: &Arc<Shared>) {
    let keys = {
        let layers = shared.layers.read();
        let Some(Ok(keys)) = layers.base.as_ref().map(|base| base.keys()) else { return };
        keys.saturating_add(layers.keys.len())
    };
    let bits = Arc::new(Bits::for_keys(keys.saturating_mul(2)));
    {
        // Not a key joins a layer meanwhile.
        let layers = shared.layers.write();
        shared.bloom.begin(&bits);
        drop(layers);
    }
    let shared = Arc::clone(shared);
    let making = move || {
        add_layers(&shared, &bits);
        if add_file(&shared, &bits) {
            shared.bloom.finish(bits);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("filter".to_owned()).spawn(making) {
        tracing::error!(%error, "the filter of keys could not be made");
    }
}

/// Adds the keys in memory, from the uppermost layer down as their rows go: none passes by
/// unseen.
fn add_layers(shared: &Shared, bits: &Bits) {
    add_some_at_a_time(bits, |first| shared.layers.read().active.ids_from(first, LOCK_KEYS));
    let frozen = shared.layers.read().frozen.clone();
    frozen.iter().flat_map(|frozen| frozen.ids()).for_each(|(key, _)| bits.add(key));
    add_some_at_a_time(bits, |first| shared.layers.read().keys.ids_from(first, LOCK_KEYS));
}

fn add_some_at_a_time(bits: &Bits, more: impl Fn(&Key) -> Vec<Key>) {
    let mut first = Span::ids("").first;
    loop {
        let keys = more(&first);
        for key in &keys {
            bits.add(key);
        }
        let Some(last) = keys.last() else { return };
        first = last.next();
    }
}

/// Adds all keys of the file; whether that could be done. Blocks for as long as it takes; no
/// read of the file lasts for long.
fn add_file(shared: &Shared, bits: &Bits) -> bool {
    let mut span = Span::ids("");
    while shared.health() != Health::Stopped {
        let base = shared.layers.read().base.clone();
        let Some(base) = base else {
            // It is compacted, or opened anew.
            std::thread::sleep(PAUSE);
            continue;
        };
        let mut last = None;
        let added = catch_unwind(AssertUnwindSafe(|| -> Result<(), StorageError> {
            for row in base.rows.range(&span)?.take(CHUNK) {
                let key = Key::from_bytes(row?.0.value());
                bits.add(&key);
                last = Some(key);
            }
            Ok(())
        }));
        match (added, last) {
            (Ok(Ok(())), Some(last)) => span.first = last.next(),
            (Ok(Ok(())), None) => return true,
            // The one in force stays, or every key is asked for.
            _ => {
                tracing::error!("the keys could not be read for their filter");
                return false;
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        Key::id(&format!("stripe:evt_{n:08x}"))
    }

    #[test]
    fn what_was_added_may_be_there_and_most_else_is_not() {
        let filter = Bloom::new();
        assert!(filter.may_have(&key(0)), "not finished: maybe");
        let bits = Arc::new(Bits::for_keys(100_000));
        filter.begin(&bits);
        (0..50_000).for_each(|n| bits.add(&key(n)));
        // What becomes visible while it is made.
        (50_000..100_000).for_each(|n| filter.add(&key(n)));
        assert!(filter.may_have(&key(100_000)), "not finished: maybe");
        filter.finish(bits);
        assert!((0..100_000).all(|n| filter.may_have(&key(n))));
        let wrong = (100_000..200_000).filter(|n| filter.may_have(&key(*n))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
        assert!(!filter.is_outgrown());
        (0..20).for_each(|n| filter.add(&key(n)));
        assert!(filter.is_outgrown());
    }
}
