//! A Bloom filter over the keys in the redb file: whether a new event's key may be there.
//!
//! Nearly every event is new, and asking the file about one means reading a page of a tree
//! that is larger than any cache. The filter answers "no" for all but one in some hundreds of
//! those, from memory; "maybe" means that the file is asked. It is made anew from the file
//! at each start and when it has become too small, in the background; until then the answer
//! is "maybe". So it is never stored, and nothing but speed depends on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
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
/// Keys read at a time: some 20 ms.
const CHUNK: usize = 50_000;
/// How often a file that is closed is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// The filter in force.
#[derive(Debug)]
pub(super) struct Bloom(ArcSwap<Bits>);

impl Bloom {
    /// Says "maybe" until it is [`made`](Bits::finish) for the keys that are there.
    pub(super) fn new() -> Self {
        Self(ArcSwap::from_pointee(Bits::for_keys(0)))
    }

    /// Whether the file may have this key.
    pub(super) fn may_have(&self, key: &Key) -> bool {
        self.0.load().may_have(key)
    }

    /// A key comes to the file. To be told before a reader can need to find it there.
    fn add(&self, key: &Key) {
        self.0.load().add(key);
    }

    /// These rows of keys come to the file.
    pub(super) fn add_all<'a>(&self, rows: impl Iterator<Item = (&'a Key, Option<&'a [u8]>)>) {
        rows.filter(|(_, value)| value.is_some()).for_each(|(key, _)| self.add(key));
    }

    /// Whether it has become too small.
    pub(super) fn is_outgrown(&self) -> bool {
        let bits = self.0.load();
        bits.keys.load(Ordering::Relaxed) > bits.room && bits.room < MOST
    }

    /// Begins a new one, with room for twice as many keys as `keys`: until all that the file
    /// has were added and it is finished, it says "maybe".
    pub(super) fn renew(&self, keys: usize) -> Arc<Bits> {
        let bits = Arc::new(Bits::for_keys(keys.saturating_mul(2)));
        self.0.store(Arc::clone(&bits));
        bits
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

    /// All keys of the file were added.
    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    pub(super) fn add(&self, key: &Key) {
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

/// Adds all keys of the file, and finishes `bits`. Blocks for as long as that takes; no read
/// of the file lasts for long.
pub(super) fn fill(shared: &Shared, bits: &Bits) {
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
            (Ok(Ok(())), None) => return bits.finish(),
            // It stays unfinished, and every key is looked for in the file.
            _ => return tracing::error!("the keys could not be read for their filter"),
        }
    }
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
        let bits = filter.renew(50_000);
        (0..100_000).for_each(|n| bits.add(&key(n)));
        bits.finish();
        assert!((0..100_000).all(|n| filter.may_have(&key(n))));
        let wrong = (100_000..200_000).filter(|n| filter.may_have(&key(*n))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
        assert!(!filter.is_outgrown());
        (0..20).for_each(|n| filter.add(&key(n)));
        assert!(filter.is_outgrown());
    }
}
