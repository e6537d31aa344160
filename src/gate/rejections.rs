//! The deliveries of a source that were turned away unverified: the newest of them, in
//! memory. Whoever sets up a provider must see why; an attacker must not fill the disk. So
//! nothing of them is kept that came over the wire but the address.

use std::collections::VecDeque;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::time::Millis;
use crate::verify::Rejection;

/// How many of a source's rejections are kept: some 60 KB.
pub const KEPT: usize = 1000;

/// One delivery that was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When.
    pub at: Millis,
    /// Why.
    pub reason: Rejection,
    /// The address it came from.
    pub from: Option<IpAddr>,
    /// The length of its body.
    pub bytes: usize,
}

/// The last [`KEPT`] of them.
#[derive(Debug, Default)]
pub struct Rejections(Mutex<VecDeque<Rejected>>);

impl Rejections {
    /// Keeps one more; the oldest goes.
    pub fn add(&self, rejected: Rejected) {
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(rejected);
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// The newest `limit`, newest first.
    pub fn newest(&self, limit: usize) -> Vec<Rejected> {
        self.0.lock().iter().rev().take(limit).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_are_kept_newest_first() {
        let rejections = Rejections::default();
        for at in 0..1500 {
            let reason = Rejection::Wrong;
            rejections.add(Rejected { at: Millis(at), reason, from: None, bytes: 0 });
        }
        assert_eq!(rejections.count(), KEPT);
        let times = |limit| rejections.newest(limit).iter().map(|it| it.at.0).collect::<Vec<_>>();
        assert_eq!(times(2), [1499, 1498]);
        assert_eq!(times(5000).last(), Some(&500));
    }
}
