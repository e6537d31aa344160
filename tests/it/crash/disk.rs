//! A disk in memory, with the redb file and both of the log, that writes down everything asked of it, and fails when told to.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use oncegate::store::{Medium, Paced};
use redb::{Builder, Database, DatabaseError, StorageBackend};

/// The bytes of the redb file and of the two of the log.
pub(super) type Image = [Vec<u8>; 3];

/// One thing the store asked of one of the files.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) file: usize,
    pub(super) what: What,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) enum What {
    Write { at: usize, bytes: Arc<[u8]> },
    SetLen(usize),
    Sync,
}

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written; an I/O error.
    Eio,
    /// Nothing is written; no space.
    Enospc,
    /// The first half is written, then an I/O error.
    Short,
    /// The first half is written, then no space.
    ShortEnospc,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Eio | Self::Short => io::Error::other("EIO"),
            Self::Enospc | Self::ShortEnospc => io::Error::from(ErrorKind::StorageFull),
        }
    }
}

/// The disk; clones share it, so a reopen sees the same bytes.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    files: Image,
    log: Vec<Op>,
    /// Operations `from..to` fail.
    fault: Option<(usize, usize, Fault)>,
    /// Handles of an earlier power cycle are dead.
    cycle: u32,
    /// Whether an operation waits at the gate, where there is one.
    gate: Option<bool>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    pub(super) fn new(image: Image) -> Self {
        let disk = Self::default();
        disk.state().files = image;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of ours is one of the faults.
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many operations were recorded.
    pub(super) fn ops(&self) -> usize {
        self.state().log.len()
    }

    pub(super) fn log(&self) -> Vec<Op> {
        self.state().log.clone()
    }

    pub(super) fn image(&self) -> Image {
        self.state().files.clone()
    }

    /// The operations numbered `from..to` fail; others work.
    pub(super) fn fail(&self, from: usize, to: usize, fault: Fault) {
        self.state().fault = Some((from, to, fault));
    }

    /// The process is killed: what it had written stays, its handle is dead.
    pub(super) fn kill(&self) {
        self.state().cycle += 1;
    }

    /// From now on the next operation waits until [`Self::open_gate`].
    pub(super) fn close_gate(&self) {
        self.state().gate = Some(false);
    }

    pub(super) fn waits_at_gate(&self) -> bool {
        self.state().gate == Some(true)
    }

    pub(super) fn open_gate(&self) {
        self.state().gate = None;
        self.0.1.notify_all();
    }

    /// The disk as what a store lives on.
    pub(super) fn medium(&self) -> Medium {
        let (file, log) = (self.clone(), self.clone());
        Medium::Custom {
            file: Arc::new(move |builder: &Builder| file.open(builder)),
            log: Arc::new(move |n| Ok(Box::new(log.handle(n + 1)))),
        }
    }

    fn handle(&self, file: usize) -> Handle {
        let cycle = self.state().cycle;
        Handle { disk: self.clone(), file, cycle }
    }

    pub(super) fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(Paced::new(self.handle(0)))
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    file: usize,
    cycle: u32,
}

impl Handle {
    /// Records `op` and does it, or as much of it as the fault lets through.
    fn act(&self, op: What) -> io::Result<()> {
        let mut state = self.disk.state();
        while let Some(waits) = &mut state.gate {
            *waits = true;
            state = self.disk.0.1.wait(state).unwrap();
        }
        if state.cycle != self.cycle {
            return Err(io::Error::other("the process was killed"));
        }
        let number = state.log.len();
        let fault = state.fault.filter(|(from, to, _)| (*from..*to).contains(&number)).map(|f| f.2);
        let done = match (fault, op) {
            (None, op) => Some(op),
            (Some(Fault::Short | Fault::ShortEnospc), What::Write { at, bytes }) => {
                Some(What::Write { at, bytes: bytes[..bytes.len() / 2].into() })
            },
            _ => None,
        };
        // What failed is recorded as a write of nothing, so that numbers go on.
        let done = done.unwrap_or(What::Write { at: 0, bytes: [].into() });
        let stored = &mut state.files[self.file];
        match &done {
            What::Write { at, bytes } => {
                let to = at + bytes.len();
                if stored.len() < to {
                    stored.resize(to, 0);
                }
                stored[*at..to].copy_from_slice(bytes);
            },
            What::SetLen(len) => stored.resize(*len, 0),
            What::Sync => {},
        }
        state.log.push(Op { file: self.file, what: done });
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let from = usize::try_from(offset).unwrap();
        let stored =
            from.checked_add(out.len()).and_then(|to| state.files[self.file].get(from..to));
        out.copy_from_slice(stored.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.act(What::SetLen(usize::try_from(len).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.act(What::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.act(What::Write { at: usize::try_from(offset).unwrap(), bytes: data.into() })
    }
}
