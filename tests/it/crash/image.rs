//! What a power cut can leave of what was asked of the disk.

use fastrand::Rng;

use super::disk::Op;

/// What a disk writes at once or not at all, in bytes.
const SECTOR: usize = 512;

/// Walks along a log and makes the images of cuts.
pub(super) struct Cutter<'a> {
    log: &'a [Op],
    /// What is on the disk for sure: everything before the last sync.
    base: Vec<u8>,
    /// How much of the log `base` holds.
    synced: usize,
    /// Each sync may have done nothing, with this chance in percent.
    lies: u8,
    draws: Rng,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(log: &'a [Op], start: Vec<u8>, lies: u8) -> Self {
        Self { log, base: start, synced: 0, lies, draws: Rng::with_seed(7) }
    }

    /// An image of a cut after the first `cut` operations; cuts must not go back.
    pub(super) fn image(&mut self, cut: usize, seed: u64) -> Vec<u8> {
        for (at, op) in self.log.iter().enumerate().take(cut).skip(self.synced) {
            if matches!(op, Op::Sync) && self.draws.u8(0..100) >= self.lies {
                for op in &self.log[self.synced..at] {
                    apply(&mut self.base, op);
                }
                self.synced = at + 1;
            }
        }
        let mut rng = Rng::with_seed(seed);
        let mut image = self.base.clone();
        let mut left: Vec<&Op> = self.log[self.synced..cut].iter().collect();
        if rng.u8(0..3) == 0 {
            rng.shuffle(&mut left);
        }
        // Also the plain cases: all of it reached the disk, nothing did, most of it.
        let kept = [0, 20, 50, 80, 95, 100][rng.usize(0..6)];
        let torn = [0, 10, 50][rng.usize(0..3)];
        for op in left {
            if rng.u8(0..100) >= kept {
                continue;
            }
            match op {
                Op::Write { at, bytes } if rng.u8(0..100) < torn => {
                    tear(&mut image, *at, bytes, &mut rng);
                },
                op => apply(&mut image, op),
            }
        }
        image
    }
}

fn apply(image: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { at, bytes } => put(image, *at, bytes),
        Op::SetLen(len) => image.resize(*len, 0),
        Op::Sync => {},
    }
}

/// What lies beyond the file's end was never seen again: its length was lost.
fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    let to = image.len().min(at + bytes.len());
    if at < to {
        image[at..to].copy_from_slice(&bytes[..to - at]);
    }
}

/// Writes some of the sectors: a first part, or any.
fn tear(image: &mut [u8], at: usize, bytes: &[u8], rng: &mut Rng) {
    let first_part = rng.bool().then(|| rng.usize(0..=bytes.len() / SECTOR));
    let mut from = 0;
    let mut sector = 0;
    while from < bytes.len() {
        // Sectors are those of the disk, not of the write.
        let to = bytes.len().min(((at + from) / SECTOR + 1) * SECTOR - at);
        if first_part.map_or_else(|| rng.bool(), |first| sector < first) {
            put(image, at + from, &bytes[from..to]);
        }
        (from, sector) = (to, sector + 1);
    }
}
