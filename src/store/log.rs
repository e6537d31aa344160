//! The log: what makes a batch durable before redb has it.
//!
//! Two files beside the redb file, written in turn: while the rows of one are brought into
//! the redb file, the other takes the next batches. A file is overwritten in place once its
//! rows are in the redb file, so that a sync need not record a new length.
//!
//! A batch begins at a block:
//!
//! ```text
//! "oncegate" | id | number | length | XXH3-64, seeded with the id, of the last two and the rows
//! then the rows: key length u32 | value length u32 | key | value
//! ```
//!
//! Numbers are little-endian, and batches are numbered without gaps. The id is drawn at each
//! start and stored in the redb file, with the number of the last batch that is in there
//! ([`Mark`]). So what an earlier process, or an earlier turn, left behind is told from what
//! counts; and a batch that is missing or rotten is told from one that was never finished:
//! only the last one can be that, as each is synced before the next is written.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};
use wincode::{SchemaRead, SchemaWrite};
use xxhash_rust::xxh3::Xxh3;

use super::OpenError;
use super::layers::Layer;
use super::rows::{Failure, Key, is_no_space};

/// What batches begin at multiples of, in bytes. A write that is torn, or done again, touches
/// no block of another batch.
const BLOCK: usize = 4096;
/// How a file grows, in blocks. The new ones are written at once, so that the batches that
/// overwrite them need no more than their own bytes synced.
const GROWTH: usize = 64;
const MAGIC: [u8; 8] = *b"oncegate";
const HEADER: usize = 40;
/// How nice the threads are that everybody waits for.
const NICE: i32 = -10;
/// Stands for the length of a value where the row was removed.
const REMOVED: u32 = u32::MAX;

/// What the redb file knows of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(super) struct Mark {
    /// The log that goes with the file.
    pub(super) id: u64,
    /// The last batch that the file has.
    pub(super) applied: u64,
    /// Whether the log may hold more: false after a clean close.
    pub(super) open: bool,
}

/// The two files.
pub(super) type Files = [Box<dyn StorageBackend>; 2];

/// The log of a store that is open. A batch is written and synced on a thread of its own, so
/// that the next can be decided meanwhile.
pub(super) struct Log {
    /// The first of them is written.
    files: [Arc<dyn StorageBackend>; 2],
    /// Bytes on their way to a file are sent here,
    to_write: Sender<Place>,
    /// and come back when they are synced, or not.
    written: Receiver<(Vec<u8>, io::Result<()>)>,
    /// Where the batch on its way ends.
    under_way: Option<u64>,
    /// How long each of them is.
    lengths: [u64; 2],
    /// Where the next batch begins.
    at: u64,
    id: u64,
    /// The last batch that was written.
    last: u64,
    /// The bytes of a batch: kept for the next.
    buffer: Vec<u8>,
}

/// A batch and its place.
struct Place {
    file: Arc<dyn StorageBackend>,
    at: u64,
    bytes: Vec<u8>,
}

impl Place {
    fn write(&self) -> io::Result<()> {
        self.file.write(self.at, &self.bytes)?;
        self.file.sync_data()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("at", &self.at)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// Opens a file of the log, or makes it, and asks nothing of the page cache, which may show
/// what the disk does not have.
pub(super) fn open(path: &Path, must_exist: bool) -> Result<Box<dyn StorageBackend>, OpenError> {
    let name = path.display().to_string();
    let failed = |cause: io::Error| OpenError::Io { path: name.clone(), cause };
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(!must_exist).mode(0o600).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let why = "it is missing, and holds what was acknowledged last: put it back beside \
                       the redb file it belongs to. To start without what it held, make it an \
                       empty file";
            return Err(OpenError::Log(name, why.to_owned()));
        },
        Err(cause) => return Err(failed(cause)),
    };
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
        .map_err(|error| failed(error.into()))?;
    match FileBackend::new(file) {
        Ok(backend) => Ok(Box::new(backend)),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse(name)),
        Err(error) => Err(failed(io::Error::other(error.to_string()))),
    }
}

impl Log {
    /// A log with nothing in it, that goes on from `mark`. Its files are made `expected` bytes
    /// long, if there is room: batches that lengthen them take longer.
    pub(super) fn begin(files: Files, mark: Mark, expected: u64) -> io::Result<Self> {
        let mut lengths = [files[0].len()?, files[1].len()?];
        for (file, length) in files.iter().zip(&mut lengths) {
            match grow(&**file, length, expected).and_then(|()| file.sync_data()) {
                Err(error) if !is_no_space(&error) => return Err(error),
                _ => {},
            }
        }
        let (to_write, places) = crossbeam_channel::bounded::<Place>(1);
        let (done, written) = crossbeam_channel::bounded(1);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            hasten();
            for place in places {
                let result = place.write();
                if done.send((place.bytes, result)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            files: files.map(Arc::from),
            to_write,
            written,
            under_way: None,
            lengths,
            at: 0,
            id: mark.id,
            last: mark.applied,
            buffer: Vec::new(),
        })
    }

    /// What the redb file is to say once it has everything by now.
    pub(super) fn mark(&self) -> Mark {
        Mark { id: self.id, applied: self.last, open: true }
    }

    /// Begins to write and sync a batch, after the one before was.
    pub(super) fn begin_append(&mut self, rows: &Layer) -> io::Result<()> {
        encode(&mut self.buffer, self.id, self.last.saturating_add(1), rows)?;
        let ([file, _], [length, _]) = (&self.files, &mut self.lengths);
        let end = self.at.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX));
        if *length < end {
            grow(&**file, length, end)?;
        }
        let bytes = std::mem::take(&mut self.buffer);
        let place = Place { file: Arc::clone(file), at: self.at, bytes };
        self.to_write.send(place).map_err(|_| thread_died())?;
        self.under_way = Some(end);
        Ok(())
    }

    /// Whether a batch is on its way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits for that, as long as `patience` says; `None`: it is not done yet. After a failure
    /// the next batch takes its place.
    pub(super) fn end_append(&mut self, patience: Duration) -> Option<io::Result<()>> {
        if self.under_way.is_none() {
            return Some(Err(io::Error::other("nothing is on its way to the log")));
        }
        let (buffer, result) = match self.written.recv_timeout(patience) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => return Some(Err(thread_died())),
        };
        self.buffer = buffer;
        if let (Some(end), Ok(())) = (self.under_way.take(), &result) {
            (self.at, self.last) = (end, self.last.saturating_add(1));
        }
        Some(result)
    }

    /// Writes a batch, and returns once it is synced.
    pub(super) fn append(&mut self, rows: &Layer) -> io::Result<()> {
        self.begin_append(rows)?;
        self.end_append(Duration::MAX).unwrap_or_else(|| Err(thread_died()))
    }

    /// Goes on in the other file, from its beginning: its batches are in the redb file.
    pub(super) fn turn(&mut self) {
        self.files.swap(0, 1);
        self.lengths.swap(0, 1);
        self.at = 0;
    }
}

/// Asks that this thread go before the others: all that waits for an answer waits for it, and
/// it seldom runs for long. Where the process may not (root may, and who has `LimitNICE=`), it
/// waits its turn.
pub(super) fn hasten() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the threads of the log have no priority");
    }
}

fn thread_died() -> io::Error {
    io::Error::other("the thread that writes the log is gone")
}

/// Makes a file at least `end` bytes long. After a failure its length is as it was.
fn grow(file: &dyn StorageBackend, length: &mut u64, end: u64) -> io::Result<()> {
    let blocks = vec![0; GROWTH * BLOCK];
    let step = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
    while *length < end {
        let longer = length.saturating_add(step);
        file.set_len(longer)?;
        file.write(*length, &blocks)?;
        *length = longer;
    }
    Ok(())
}

fn encode(to: &mut Vec<u8>, id: u64, number: u64, rows: &Layer) -> io::Result<()> {
    to.clear();
    to.resize(HEADER, 0);
    rows.rows().try_for_each(|(key, value)| put_row(to, key, value))?;
    let length = u64::try_from(to.len() - HEADER).unwrap_or(u64::MAX);
    let sum = sum(id, number, length, to.get(HEADER..).unwrap_or_default());
    let header = [u64::from_le_bytes(MAGIC), id, number, length, sum];
    for (place, value) in to.chunks_exact_mut(8).zip(header) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    to.resize(to.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

/// Adds a row to the bytes of a batch.
pub(super) fn put_row(to: &mut Vec<u8>, key: &Key, value: Option<&[u8]>) -> io::Result<()> {
    let key = key.bytes();
    let length = value.map_or(Ok(REMOVED), |value| u32::try_from(value.len()));
    let (Ok(key_length), Ok(length)) = (u32::try_from(key.len()), length) else {
        return Err(io::Error::other("a row is too long"));
    };
    to.extend_from_slice(&key_length.to_le_bytes());
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(key);
    to.extend_from_slice(value.unwrap_or_default());
    Ok(())
}

fn sum(id: u64, number: u64, length: u64, rows: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(id);
    hash.update(&number.to_le_bytes());
    hash.update(&length.to_le_bytes());
    hash.update(rows);
    hash.digest()
}

/// Reads what the log has and the redb file has not; and the number of the last batch.
pub(super) fn tail(files: &Files, mark: Mark) -> Result<(Layer, u64), Failure> {
    let mut batches = BTreeMap::new();
    for file in files {
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        file.read(0, &mut bytes)?;
        find(&bytes, mark, &mut batches);
    }
    let (mut tail, mut last) = (Layer::default(), mark.applied);
    for (number, rows) in batches {
        last = last.saturating_add(1);
        if number != last {
            return Err(Failure::Damaged(format!(
                "batch {last} of the log beside it is missing or damaged, batch {number} is there"
            )));
        }
        tail.merge(rows);
    }
    Ok((tail, last))
}

/// Finds the batches of a file that the redb file has not.
fn find(bytes: &[u8], mark: Mark, batches: &mut BTreeMap<u64, Layer>) {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let skip = match batch(rest, mark.id) {
            Some((number, rows)) => {
                if number > mark.applied
                    && let Some(layer) = decode(rows)
                {
                    batches.insert(number, layer);
                }
                HEADER + rows.len()
            },
            None => BLOCK,
        };
        at = at.saturating_add(skip.next_multiple_of(BLOCK));
    }
}

/// The number and the rows of the batch that begins here, if a whole one does.
fn batch(bytes: &[u8], id: u64) -> Option<(u64, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let mut words = header.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes));
    let mut word = || words.next()?.ok();
    if word()? != u64::from_le_bytes(MAGIC) || word()? != id {
        return None;
    }
    let (number, length, stored) = (word()?, word()?, word()?);
    let rows = rest.get(..usize::try_from(length).ok()?)?;
    (sum(id, number, length, rows) == stored).then_some((number, rows))
}

/// Reads rows as [`put_row`] wrote them.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Layer> {
    let mut rows = Layer::default();
    while !bytes.is_empty() {
        let (key_length, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (key_length, length) = (u32::from_le_bytes(*key_length), u32::from_le_bytes(*length));
        let (key, rest) = rest.split_at_checked(usize::try_from(key_length).ok()?)?;
        let key = Key::from_bytes(key);
        if length == REMOVED {
            rows.put(key, None);
            bytes = rest;
        } else {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            rows.put(key, Some(value.to_vec()));
            bytes = rest;
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests;
