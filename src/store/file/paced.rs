//! The redb file, written in order and a little at a time.
//!
//! A commit of redb writes each of its pages by itself, in no order, and syncs then: tens of
//! megabytes in pieces of 4 KiB, behind which the log's next batch would have to wait. So what
//! is written is kept until the sync, put in order, and goes to the disk in long runs, each
//! step of which is synced before the next. The order of writes between two syncs is nobody's
//! promise, here as anywhere.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use parking_lot::{RwLock, RwLockUpgradableReadGuard};
use redb::{BackendError, StorageBackend};

/// Bytes that may be on their way to the disk at once: about a millisecond's work.
const STEP: usize = 512 << 10;

/// Bytes kept at most: a compaction writes gigabytes before it syncs.
const MOST: usize = 64 << 20;

/// Another way to a file, but for the order and the pace.
#[derive(Debug)]
pub struct Paced<B> {
    file: B,
    kept: RwLock<Kept>,
}

/// What was written since the last sync.
#[derive(Debug, Default)]
struct Kept {
    /// By its place; no two overlap.
    pages: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
}

impl<B: StorageBackend> Paced<B> {
    /// The same file as `file`.
    pub fn new(file: B) -> Self {
        Self { file, kept: RwLock::default() }
    }

    /// Writes what was kept, in order; syncs each step of it if `sync`. Who reads goes on. After
    /// a failure nothing is written again: what the disk has then is not known.
    fn write_kept(&self, kept: RwLockUpgradableReadGuard<'_, Kept>, sync: bool) -> io::Result<()> {
        let written = self.write_pages(&kept.pages, sync);
        *RwLockUpgradableReadGuard::upgrade(kept) = Kept::default();
        written
    }

    fn write_pages(&self, pages: &BTreeMap<u64, Box<[u8]>>, sync: bool) -> io::Result<()> {
        let (mut run, mut begin, mut unsynced) = (Vec::new(), 0, 0);
        for (place, bytes) in pages {
            if *place != end(begin, &run) || run.len() >= STEP {
                self.write_run(begin, &mut run)?;
                begin = *place;
            }
            run.extend_from_slice(bytes);
            unsynced += bytes.len();
            if unsynced >= STEP && sync {
                self.write_run(begin, &mut run)?;
                begin = end(*place, bytes);
                self.file.sync_data()?;
                unsynced = 0;
            }
        }
        self.write_run(begin, &mut run)
    }

    fn write_run(&self, begin: u64, run: &mut Vec<u8>) -> io::Result<()> {
        if !run.is_empty() {
            self.file.write(begin, run)?;
            run.clear();
        }
        Ok(())
    }
}

fn end(begin: u64, bytes: &[u8]) -> u64 {
    begin.saturating_add(bytes.len() as u64)
}

/// What was kept and has a part between `first` and `last`.
fn between(
    kept: &BTreeMap<u64, Box<[u8]>>,
    first: u64,
    last: u64,
) -> impl Iterator<Item = (u64, &[u8])> {
    let earlier =
        kept.range(..first).next_back().filter(|(place, bytes)| end(**place, bytes) > first);
    earlier.into_iter().chain(kept.range(first..last)).map(|(place, bytes)| (*place, &**bytes))
}

type Place = Bound<u64>;

impl<B: StorageBackend> StorageBackend for Paced<B> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let kept = self.kept.read();
        let last = end(offset, out);
        if let Some(bytes) = kept.pages.get(&offset).filter(|bytes| bytes.len() == out.len()) {
            out.copy_from_slice(bytes);
            return Ok(());
        }
        self.file.read(offset, out)?;
        for (place, bytes) in between(&kept.pages, offset, last) {
            let skip = usize::try_from(offset.saturating_sub(place)).unwrap_or(usize::MAX);
            let at = usize::try_from(place.saturating_sub(offset)).unwrap_or(usize::MAX);
            let newer = bytes.get(skip..).unwrap_or_default();
            let older = out.get_mut(at..).unwrap_or_default();
            older.iter_mut().zip(newer).for_each(|(older, newer)| *older = *newer);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write_kept(self.kept.upgradable_read(), false)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.write_kept(self.kept.upgradable_read(), true)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let kept = self.kept.upgradable_read();
        let is_other = |(place, bytes): (u64, &[u8])| place != offset || bytes.len() != data.len();
        if kept.bytes >= MOST {
            self.write_kept(kept, true)?;
        } else if between(&kept.pages, offset, end(offset, data)).any(is_other) {
            self.write_kept(kept, false)?;
        } else {
            drop(kept);
        }
        // One transaction writes at a time: nothing came meanwhile.
        let mut kept = self.kept.write();
        if kept.pages.insert(offset, data.into()).is_none() {
            kept.bytes += data.len();
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        let written = self.write_kept(self.kept.upgradable_read(), false);
        self.file.close().and(written)
    }

    fn try_lock_range(&self, start: Place, end: Place) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Place, end: Place) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Place, end: Place) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Place, end: Place) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Place, end: Place) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Place, end: Place) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A file in memory, with what was asked of it: places and lengths of writes, and syncs.
    #[derive(Clone, Debug, Default)]
    struct Told(Arc<Mutex<(Vec<u8>, Vec<Asked>)>>);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Asked {
        Write(u64, usize),
        Sync,
    }

    impl StorageBackend for Told {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.lock().unwrap().0.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let from = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.0.lock().unwrap().0[from..from + out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.lock().unwrap().0.resize(usize::try_from(len).unwrap(), 0);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.lock().unwrap().1.push(Asked::Sync);
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let (from, mut file) = (usize::try_from(offset).unwrap(), self.0.lock().unwrap());
            file.0[from..from + data.len()].copy_from_slice(data);
            file.1.push(Asked::Write(offset, data.len()));
            Ok(())
        }
    }

    fn paced(len: u64) -> (Told, Paced<Told>) {
        let told = Told::default();
        told.set_len(len).unwrap();
        (told.clone(), Paced::new(told))
    }

    fn read<const N: usize>(file: &impl StorageBackend, offset: u64) -> [u8; N] {
        let mut out = [0; N];
        file.read(offset, &mut out).unwrap();
        out
    }

    #[test]
    fn what_was_written_is_read_before_it_is_on_its_way() {
        let (told, paced) = paced(16);
        paced.write(4, &[1; 4]).unwrap();
        paced.write(8, &[2; 4]).unwrap();
        assert_eq!(read(&paced, 4), [1; 4]);
        assert_eq!(read(&paced, 2), [0, 0, 1, 1]);
        assert_eq!(read(&paced, 6), [1, 1, 2, 2, 2, 2, 0, 0]);
        assert_eq!(read(&told, 4), [0; 8]);
        paced.sync_data().unwrap();
        assert_eq!(read(&told, 4), [1, 1, 1, 1, 2, 2, 2, 2]);
        assert_eq!(read(&paced, 4), [1, 1, 1, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn the_last_write_to_a_place_counts_however_it_is_cut() {
        let (told, paced) = paced(16);
        paced.write(0, &[1; 8]).unwrap();
        paced.write(0, &[2; 8]).unwrap();
        paced.write(4, &[3; 8]).unwrap();
        paced.write(0, &[4; 2]).unwrap();
        let right = [4, 4, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0];
        assert_eq!(read(&paced, 0), right);
        paced.sync_data().unwrap();
        assert_eq!(read(&told, 0), right);
    }

    #[test]
    fn pages_go_to_the_disk_in_order_in_long_runs_and_a_step_at_a_time() {
        const PAGE: usize = 4096;
        let pages = STEP / PAGE + 2;
        let (told, paced) = paced((pages * PAGE + 3 * PAGE) as u64);
        for page in (0..pages).rev() {
            paced.write((page * PAGE) as u64, &[1; PAGE]).unwrap();
        }
        paced.write(((pages + 1) * PAGE) as u64, &[1; PAGE]).unwrap();
        assert_eq!(told.0.lock().unwrap().1, []);
        paced.sync_data().unwrap();
        let (step, rest) = (STEP as u64, 2 * PAGE);
        let apart = ((pages + 1) * PAGE) as u64;
        let asked = [
            Asked::Write(0, STEP),
            Asked::Sync,
            Asked::Write(step, rest),
            Asked::Write(apart, PAGE),
            Asked::Sync,
        ];
        assert_eq!(told.0.lock().unwrap().1, asked);
        paced.sync_data().unwrap();
        assert_eq!(told.0.lock().unwrap().1.len(), 6, "nothing is written twice");
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        const PAGE: usize = 1 << 20;
        let (told, paced) = paced(80 * PAGE as u64);
        let bytes = vec![1; PAGE];
        for page in 0..80 {
            paced.write(page * PAGE as u64, &bytes).unwrap();
            assert!(paced.kept.read().bytes <= MOST);
        }
        assert_eq!(told.0.lock().unwrap().0[..64 * PAGE], vec![1; 64 * PAGE]);
    }

    #[test]
    fn a_file_that_is_closed_has_all_that_was_written() {
        let (told, paced) = paced(8);
        paced.write(0, &[1; 4]).unwrap();
        paced.close().unwrap();
        assert_eq!(read(&told, 0), [1; 4]);
    }
}
