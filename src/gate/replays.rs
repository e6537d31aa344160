//! Was this signed content done under another key already (`replay_guard`)? Where the key is
//! read from what the signature does not cover, whoever holds one signed request can send it
//! again under another key.
//!
//! A guard, not a promise: a window of the newest signed contents, in memory. A start empties
//! it, and a source that receives more than [`WINDOW`] contents forgets the oldest. Only an
//! event that is Done makes a later one suspect: as long as nothing was done twice there is
//! nothing to guard, and a provider that sends the same bytes for two events at once is served.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use super::Gate;
use crate::key::Key;
use crate::preset::ReplayGuard;
use crate::record::State;
use crate::store::{Store, Unavailable};
use crate::verify::Verified;

/// How many signed contents of a source are remembered. Full they take some 14 MB: 33 bytes for
/// each of the map's 262,144 places, 16 a content for the order, and the ids, mostly 40 to 80 bytes
/// each; with the longest keys 26 MB. Nothing where the guard is off.
pub const WINDOW: usize = 65_536;

/// Half of the SHA-256 of what was signed. To be missed a replay would need other bytes than
/// were signed; to make another event suspect takes two signed contents that agree in 128
/// bits, some 2^64 of which would have to be tried. By chance, among 65,536: less than 10^-29.
pub type Content = [u8; 16];

/// The newest signed contents, each with the id of the event that it came with first.
#[derive(Debug)]
pub struct Replays {
    seen: Mutex<Seen>,
    most: usize,
}

#[derive(Debug, Default)]
struct Seen {
    first: HashMap<Content, Box<str>>,
    /// Oldest first.
    order: VecDeque<Content>,
}

/// What a delivery is to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Nothing that was done under another key, or nothing to be looked at.
    No,
    /// It goes on, marked.
    Suspect,
    /// It is turned away.
    Refused,
}

impl Default for Replays {
    fn default() -> Self {
        Self { seen: Mutex::default(), most: WINDOW }
    }
}

impl Replays {
    /// The id of the event that `content` came with first, if that is not `id`. What is new is
    /// remembered; the oldest goes.
    fn first_seen(&self, content: Content, id: &str) -> Option<Box<str>> {
        let mut seen = self.seen.lock();
        if let Some(first) = seen.first.get(&content) {
            return (**first != *id).then(|| first.clone());
        }
        if seen.order.len() >= self.most
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.first.remove(&oldest);
        }
        seen.order.push_back(content);
        seen.first.insert(content, id.into());
        None
    }

    /// The event `gone` is not on record: `content` is that of `id` from now on.
    fn replace(&self, content: Content, gone: &str, id: &str) {
        let mut seen = self.seen.lock();
        if let Some(first) = seen.first.get_mut(&content).filter(|first| ***first == *gone) {
            *first = id.into();
        }
    }
}

impl Gate {
    /// The signed content of `verified`, where the source looks at it. Where a key is drawn
    /// anew for each delivery, or equal bytes are different events, there is nothing to guard.
    pub fn signed_content(&self, verified: &Verified, key: &Key) -> Option<Content> {
        if self.source.replay_guard == ReplayGuard::Off || !key.identifies() {
            return None;
        }
        self.source.verifier.signed_content(verified)?.first_chunk().copied()
    }

    /// What a delivery of `content` to the event `id` is to the guard.
    pub fn judge(
        &self,
        store: &dyn Store,
        content: Content,
        id: &str,
    ) -> Result<Replay, Unavailable> {
        let Some(first) = self.replays.first_seen(content, id) else { return Ok(Replay::No) };
        match store.event(&first)?.map(|event| event.state) {
            Some(State::Done) => {},
            Some(_) => return Ok(Replay::No),
            None => {
                // Never stored, or forgotten: the next one is the first.
                self.replays.replace(content, &first, id);
                return Ok(Replay::No);
            },
        }
        let refuse = self.source.replay_guard == ReplayGuard::Refuse && starts(store, id)?;
        Ok(if refuse { Replay::Refused } else { Replay::Suspect })
    }
}

/// Whether a copy of the event `id` would have it attempted. What is seen to already is
/// answered from the record: to refuse that would guard nothing.
fn starts(store: &dyn Store, id: &str) -> Result<bool, Unavailable> {
    Ok(match store.event(id)?.map(|event| event.state) {
        None | Some(State::Open | State::Dead) => true,
        Some(State::InFlight { .. } | State::Queued { .. } | State::Done | State::Held) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(number: usize) -> Content {
        u128::try_from(number).unwrap().to_le_bytes()
    }

    fn first(replays: &Replays, number: usize, id: &str) -> Option<String> {
        replays.first_seen(content(number), id).map(String::from)
    }

    #[test]
    fn the_same_content_under_the_same_key_is_no_replay() {
        let replays = Replays::default();
        assert_eq!(first(&replays, 1, "a:1"), None);
        assert_eq!(first(&replays, 1, "a:1"), None);
        assert_eq!(first(&replays, 2, "a:2"), None);
        // The first one's, however often and under whatever key it comes.
        for id in ["a:2", "a:3", "a:2"] {
            assert_eq!(first(&replays, 1, id), Some("a:1".to_owned()));
        }
        assert_eq!(first(&replays, 1, "a:1"), None);
        assert_eq!(replays.seen.lock().order.len(), 2);
    }

    #[test]
    fn the_window_is_bounded_and_the_oldest_goes_first() {
        let replays = Replays { most: 3, ..Replays::default() };
        for number in 1..=3 {
            assert_eq!(first(&replays, number, "a:1"), None);
        }
        // Seen again, it is no younger.
        assert_eq!(first(&replays, 1, "a:2"), Some("a:1".to_owned()));
        assert_eq!(first(&replays, 4, "a:4"), None);
        let kept = |number| replays.seen.lock().first.contains_key(&content(number));
        assert_eq!([1, 2, 3, 4].map(kept), [false, true, true, true]);
        assert_eq!(first(&replays, 1, "a:2"), None, "it is new again");
        assert_eq!([1, 2, 3, 4].map(kept), [true, false, true, true]);
    }

    #[test]
    fn a_full_window_holds_what_its_constant_says() {
        let replays = Replays::default();
        for number in 0..WINDOW * 6 {
            assert_eq!(first(&replays, number, "github:72d3162e"), None);
        }
        let seen = replays.seen.lock();
        assert_eq!((seen.first.len(), seen.order.len()), (WINDOW, WINDOW));
        assert!(seen.first.capacity() < 262_144 && seen.order.capacity() <= WINDOW);
    }

    #[test]
    fn an_event_that_is_gone_gives_its_content_to_the_next() {
        let replays = Replays::default();
        assert_eq!(first(&replays, 1, "a:1"), None);
        replays.replace(content(1), "a:other", "a:2");
        assert_eq!(first(&replays, 1, "a:2"), Some("a:1".to_owned()), "another one's is its own");
        replays.replace(content(1), "a:1", "a:2");
        replays.replace(content(9), "a:1", "a:2");
        assert_eq!(first(&replays, 1, "a:2"), None);
        assert_eq!(first(&replays, 1, "a:3"), Some("a:2".to_owned()));
        assert_eq!(replays.seen.lock().first.len(), 1);
    }
}
