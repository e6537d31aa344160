//! The disk under the store: what a sync costs, what is written to it, and forgetting what the
//! page cache has of it.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{Advice, fadvise, major, minor, sync};

const BLOCK: usize = 4096;
/// Syncs that a median is taken of.
const TIMES: u8 = 100;
/// Bytes that are written to see whether they are counted.
const KNOWN: u64 = 4 << 20;
/// Bytes in a sector, as the kernel counts them for every device.
const SECTOR: u64 = 512;

/// The medians of one write of 4 KiB and its fdatasync.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Syncs {
    /// Over what is there.
    pub(crate) overwrite: Duration,
    /// At the file's end.
    pub(crate) append: Duration,
}

pub(crate) fn syncs(folder: &Path) -> anyhow::Result<Syncs> {
    let path = folder.join("syncs");
    let mut file = File::create(&path)?;
    let append = median(|byte| timed(&mut file, byte))?;
    let overwrite = median(|byte| {
        file.rewind()?;
        timed(&mut file, byte)
    })?;
    fs::remove_file(path)?;
    Ok(Syncs { overwrite, append })
}

fn timed(file: &mut File, byte: u8) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    file.write_all(&[byte; BLOCK])?;
    file.sync_data()?;
    Ok(begun.elapsed())
}

fn median(timed: impl FnMut(u8) -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let mut times = (0..TIMES).map(timed).collect::<anyhow::Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

/// Whether [`written`] counts what is written to `folder`: not on every file system.
pub(crate) fn is_counted(folder: &Path) -> anyhow::Result<bool> {
    let path = folder.join("counted");
    let before = written(folder);
    let mut file = File::create(&path)?;
    // Random, for a device that leaves zeros out.
    let bytes: Vec<u8> = (0..KNOWN).map(|_| fastrand::u8(..)).collect();
    file.write_all(&bytes)?;
    file.sync_data()?;
    fs::remove_file(path)?;
    let more = written(folder).zip(before).map(|(now, was)| now.saturating_sub(was));
    Ok(more.is_some_and(|more| more >= KNOWN))
}

/// Bytes that were written to the device under `folder`, by anybody; `None` where the kernel
/// does not tell.
pub(crate) fn written(folder: &Path) -> Option<u64> {
    let device = fs::metadata(folder).ok()?.dev();
    let (major, minor) = (major(device).to_string(), minor(device).to_string());
    let text = fs::read_to_string("/proc/diskstats").ok()?;
    let sectors: u64 = text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let found = fields.next()? == major && fields.next()? == minor;
        // After a name, four numbers of reads, and the writes and their merges.
        found.then(|| fields.nth(7))??.parse().ok()
    })?;
    Some(sectors * SECTOR)
}

/// Has the kernel forget what it cached of the files in `folder`. Whether it forgot all of the
/// machine's, which only root may ask for.
pub(crate) fn forget_cached(folder: &Path) -> anyhow::Result<bool> {
    sync();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    let caches = OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches");
    Ok(caches.and_then(|mut file| file.write_all(b"3")).is_ok())
}
