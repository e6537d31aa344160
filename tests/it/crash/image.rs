//! What a power cut can leave of what was asked of the disk.

use fastrand::Rng;

use super::disk::{Image, Op, What};

/// What a disk writes at once or not at all, in bytes.
const SECTOR: usize = 512;

/// Walks along a log and makes the images of cuts.
pub(super) struct Cutter<'a> {
    log: &'a [Op],
    /// What is on the disk for sure: of each file, everything before its last sync.
    base: Image,
    /// How much of the log was looked at.
    seen: usize,
    /// What was asked since the last sync of the file it was asked of.
    unsynced: Vec<&'a Op>,
    /// Each sync may have done nothing, with this chance in percent.
    lies: u8,
    draws: Rng,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(log: &'a [Op], start: Image, lies: u8) -> Self {
        let unsynced = Vec::new();
        Self { log, base: start, seen: 0, unsynced, lies, draws: Rng::with_seed(7) }
    }

    /// What is left if all that was not synced is lost.
    pub(super) fn synced(mut self) -> Image {
        self.advance(self.log.len());
        self.base
    }

    fn advance(&mut self, cut: usize) {
        for op in self.log.iter().take(cut).skip(self.seen) {
            if !matches!(op.what, What::Sync) {
                self.unsynced.push(op);
            } else if self.draws.u8(0..100) >= self.lies {
                let (synced, rest) = self.unsynced.iter().partition(|it| it.file == op.file);
                self.unsynced = rest;
                let synced: Vec<&Op> = synced;
                for op in synced {
                    apply(&mut self.base, op);
                }
            }
        }
        self.seen = cut;
    }

    /// An image of a cut after the first `cut` operations; cuts must not go back.
    pub(super) fn image(&mut self, cut: usize, seed: u64) -> Image {
        self.advance(cut);
        let mut rng = Rng::with_seed(seed);
        let mut image = self.base.clone();
        let mut left = self.unsynced.clone();
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
            match &op.what {
                What::Write { at, bytes } if rng.u8(0..100) < torn => {
                    tear(&mut image[op.file], *at, bytes, &mut rng);
                },
                _ => apply(&mut image, op),
            }
        }
        image
    }
}

fn apply(image: &mut Image, op: &Op) {
    let file = &mut image[op.file];
    match &op.what {
        What::Write { at, bytes } => put(file, *at, bytes),
        What::SetLen(len) => file.resize(*len, 0),
        What::Sync => {},
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
