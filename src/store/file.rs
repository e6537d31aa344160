//! Opening the redb file and the log beside it: created beside and renamed, checked while it is small,
//! compacted when that pays, and never trusted from the page cache after a failure.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Builder, CompactionError, Database, DatabaseError, ReadableDatabase as _,
    ReadableTableMetadata as _, StorageBackend, StorageError,
};

use super::checkpoint::{META, put_mark};
use super::layers::{KEYS, ROWS};
use super::log::{self, Files, Mark};
use super::mend::save_readable;
use super::rows::{Failure, is_no_space};
use super::young::YOUNG;
use crate::config;

pub(super) mod paced;

use paced::Paced;

/// Below this size redb checks every page's checksum at open: well under a second.
const CHECK_BYTES: u64 = 256 << 20;
/// Below this size compaction is not worth the writes.
const COMPACT_BYTES: u64 = 64 << 20;
/// The most rows that a larger file than is checked may have to be walked over: some seconds.
const WALKED_ROWS: u64 = 50_000;
/// The version of the tables and of the meaning of their rows.
const FORMAT: &[u8] = b"oncegate 3";
const FORMAT_KEY: &str = "format";

/// Told of every [`Step`] as it begins.
pub type Progress = Arc<dyn Fn(Step) + Send + Sync>;

/// What may take long while the file is opened.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is done to the file, such as `repairing`.
    pub doing: &'static str,
    /// The file's size: the time it takes grows with it.
    pub bytes: u64,
}

type OpenBackend = dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send + Sync;
type OpenLog = dyn Fn(usize) -> io::Result<Box<dyn StorageBackend>> + Send + Sync;

/// What the store lives on.
#[derive(Clone)]
pub enum Medium {
    /// A file.
    File(PathBuf),
    /// Whatever the functions open, again after a failure: the seam for faulty disks in tests.
    Custom {
        /// Opens what stands for the redb file.
        file: Arc<OpenBackend>,
        /// Opens what stands for one of the log's two files.
        log: Arc<OpenLog>,
    },
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Custom { .. } => f.write_str("Custom"),
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file.
    #[error("{0}: another oncegate process has this file; stop it first")]
    InUse(String),
    /// The file is not ours, or of another version.
    #[error("{0}: not a file of this version of oncegate: {1}")]
    Format(String, String),
    /// The file is damaged beyond what its records' tags can tell.
    #[error("{0}: the file is damaged ({1}); restore a copy, or move it away to start empty")]
    Damaged(String, String),
    /// The log beside the file is not what the file needs.
    #[error("{0}: {1}")]
    Log(String, String),
    /// Anything else.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What failed.
        cause: io::Error,
    },
}

impl OpenError {
    /// Whether the cause is a lack of space.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if is_no_space(cause))
    }
}

impl Medium {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Custom { .. } => "memory".to_owned(),
        }
    }

    /// The size in bytes; 0 where it cannot be told.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File(path) => fs::metadata(path).map_or(0, |meta| meta.len()),
            Self::Custom { .. } => 0,
        }
    }

    /// Free space for this service on the file system, in bytes; `None` where there is none.
    pub(super) fn free(&self) -> Option<u64> {
        let Self::File(path) = self else { return None };
        let at = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let stat = rustix::fs::statvfs(at.unwrap_or(Path::new("."))).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Opens for the first time in this process.
    pub(super) fn open(
        &self,
        settings: &config::Storage,
        tell: &Progress,
    ) -> Result<Database, OpenError> {
        if let Self::File(path) = self {
            create_if_missing(path, settings).map_err(|cause| self.failed(cause))?;
        }
        let mut db = self.reopen(settings, tell)?;
        if let Self::Custom { .. } = self {
            prepare(&db).map_err(|cause| self.failed(cause))?;
        }
        self.check_format(&db)?;
        self.compact(&mut db, tell);
        Ok(db)
    }

    /// Opens the log's two files. `must_exist`: they may hold what was acknowledged last.
    pub(super) fn open_log(&self, must_exist: bool) -> Result<Files, OpenError> {
        let open = |n: usize| match self {
            Self::File(path) => log::open(&beside(path, &format!(".log{n}")), must_exist),
            Self::Custom { log, .. } => log(n).map_err(|cause| self.failed(cause)),
        };
        let files = [open(0)?, open(1)?];
        if let Self::File(path) = self {
            File::open(folder(path))
                .and_then(|dir| dir.sync_all())
                .map_err(|it| self.failed(it))?;
        }
        Ok(files)
    }

    /// Opens what was open before.
    pub(super) fn reopen(
        &self,
        settings: &config::Storage,
        tell: &Progress,
    ) -> Result<Database, OpenError> {
        if let Self::File(path) = self {
            forget_cached(path).map_err(|cause| self.failed(cause))?;
        }
        let check = self.bytes() <= CHECK_BYTES;
        match (self.try_open(settings, check, tell), self) {
            (Err(OpenError::Damaged(_, why)), Self::File(path)) if check => {
                tracing::error!(error = %why, "the file is damaged: what can be read is saved");
                self.salvage(path, settings, tell)?;
                self.try_open(settings, check, tell)
            },
            (opened, _) => opened,
        }
    }

    /// Replaces a damaged file by a new one with all that can be read of it. redb must not
    /// write to a file with damaged pages: it panics, and aborts the process. The records'
    /// own tags tell afterwards which of them can be trusted. The damaged file stays beside.
    fn salvage(
        &self,
        path: &Path,
        settings: &config::Storage,
        tell: &Progress,
    ) -> Result<(), OpenError> {
        tell(Step { doing: "saving", bytes: self.bytes() });
        let aside = beside(path, ".damaged");
        fs::copy(path, &aside).map_err(|cause| self.failed(cause))?;
        // Never closed: that would write to it, and may end the process by two panics.
        let damaged =
            ManuallyDrop::new(Arc::new(Self::File(aside.clone()).try_open(settings, false, tell)?));
        let fresh = beside(path, ".new");
        let save = || -> io::Result<()> {
            let db = make(&fresh, settings)?.into();
            let saved = catch_unwind(AssertUnwindSafe(|| save_readable(&damaged, &db)));
            let failed = |why: &str| io::Error::other(why.to_owned());
            saved.map_err(|_| failed("redb panicked"))?.map_err(|why| failed(&why.to_string()))?;
            let db = Arc::into_inner(db).ok_or_else(|| failed("it is still open"))?;
            db.close().map_err(|error| failed(&error.to_string()))?;
            File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, path)?;
            File::open(folder(path))?.sync_all()
        };
        save().map_err(|error| OpenError::Damaged(self.name(), error.to_string()))?;
        tracing::warn!(damaged = %aside.display(), "the damaged file was kept beside");
        Ok(())
    }

    fn try_open(
        &self,
        settings: &config::Storage,
        check: bool,
        tell: &Progress,
    ) -> Result<Database, OpenError> {
        let (tell, bytes) = (Arc::clone(tell), self.bytes());
        let mut builder = Builder::new();
        builder.set_cache_size(page_cache(settings.cache));
        builder.set_check_integrity_on_open(check);
        builder.set_repair_callback(move |session| {
            let progress = session.progress();
            // redb checks by the way it repairs, so it calls this for a sound file too.
            tell(Step { doing: if check { "checking" } else { "repairing" }, bytes });
            if check {
                tracing::debug!(progress, "checking the file");
            } else {
                tracing::warn!(progress, "repairing the file after a crash");
            }
        });
        let opened = catch_unwind(AssertUnwindSafe(|| match self {
            Self::File(path) => open_paced(&builder, path),
            Self::Custom { file, .. } => file(&builder),
        }));
        match opened {
            Ok(Ok(db)) => Ok(db),
            Ok(Err(error)) => Err(self.explain_redb(error)),
            Err(_) => Err(OpenError::Damaged(self.name(), "redb panicked".to_owned())),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "redb's enum may grow")]
    fn explain_redb(&self, error: DatabaseError) -> OpenError {
        let name = self.name();
        match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(name),
            DatabaseError::UpgradeRequired(version) => {
                OpenError::Format(name, format!("redb file format {version}"))
            },
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                OpenError::Format(name, error.to_string())
            },
            // As it is: its kind tells a full disk from a failing one.
            DatabaseError::Storage(StorageError::Io(cause)) => OpenError::Io { path: name, cause },
            error => OpenError::Damaged(name, error.to_string()),
        }
    }

    /// Why a file that redb opened is of no use all the same.
    pub(super) fn explain(&self, failure: Failure) -> OpenError {
        if let Failure::Log(cause) | Failure::Storage(StorageError::Io(cause)) = failure {
            return self.failed(cause);
        }
        OpenError::Damaged(self.name(), failure.to_string())
    }

    fn failed(&self, cause: io::Error) -> OpenError {
        OpenError::Io { path: self.name(), cause }
    }

    fn check_format(&self, db: &Database) -> Result<(), OpenError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let meta = db.begin_read()?.open_table(META)?;
            Ok(meta.get(FORMAT_KEY)?.map(|row| row.value().to_vec()))
        };
        match read() {
            Ok(Some(format)) if format == FORMAT => Ok(()),
            Ok(Some(other)) => {
                Err(OpenError::Format(self.name(), String::from_utf8_lossy(&other).into_owned()))
            },
            Ok(None) => Err(OpenError::Format(self.name(), "it names no format".to_owned())),
            Err(error @ redb::Error::TableDoesNotExist(_)) => {
                Err(OpenError::Format(self.name(), error.to_string()))
            },
            Err(error) => Err(OpenError::Damaged(self.name(), error.to_string())),
        }
    }

    /// Compacts if at least a quarter of the file holds nothing. To tell takes a walk over all
    /// that it holds, so a large file that holds much is left to the operator's command. A
    /// failure is not a reason not to start, but the handle is not to be used after one: it is
    /// opened anew.
    fn compact(&self, db: &mut Database, tell: &Progress) {
        let size = self.bytes();
        let holds_little = || rows(db).is_ok_and(|rows| rows <= WALKED_ROWS);
        if size < COMPACT_BYTES || size > CHECK_BYTES && !holds_little() {
            return;
        }
        let used = match used_bytes(db) {
            Ok(used) => used,
            Err(error) => {
                tracing::warn!(%error, "how full the file is could not be told");
                return;
            },
        };
        if used.saturating_mul(4) > size.saturating_mul(3) {
            return;
        }
        tell(Step { doing: "compacting", bytes: size });
        tracing::info!(size, used, "compacting the file");
        match db.compact() {
            Ok(_) => tracing::info!(size = self.bytes(), "compacted the file"),
            Err(error) => tracing::error!(%error, "compaction failed"),
        }
    }
}

/// Compacts a file that no process has. Returns its size before and after, in bytes. What it
/// tells of a failure is what a start would: the next start mends what can be mended.
pub fn compact_file(settings: &config::Storage) -> Result<(u64, u64), OpenError> {
    let medium = Medium::File(settings.path.clone());
    if !settings.path.exists() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
        return Err(medium.failed(cause));
    }
    let mut db = medium.reopen(settings, &(Arc::new(|_| {}) as _))?;
    medium.check_format(&db)?;
    let before = medium.bytes();
    catch_unwind(AssertUnwindSafe(|| db.compact()))
        .map_err(|_| OpenError::Damaged(medium.name(), "redb panicked".to_owned()))?
        .map_err(|error| {
            if let CompactionError::Storage(error) = error {
                return medium.explain_redb(DatabaseError::Storage(error));
            }
            medium.failed(io::Error::other(error.to_string()))
        })?;
    db.close().map_err(|error| medium.failed(io::Error::other(error.to_string())))?;
    Ok((before, medium.bytes()))
}

/// What redb gets of `storage.cache`. The rest, and some, are rows in memory.
fn page_cache(cache: usize) -> usize {
    cache / 8 * 5
}

/// How many rows a file has, as it says itself.
fn rows(db: &Database) -> Result<u64, redb::Error> {
    Ok(db.begin_read()?.open_table(ROWS)?.len()?)
}

fn used_bytes(db: &Database) -> Result<u64, redb::Error> {
    let txn = db.begin_write()?;
    let stats = txn.stats()?;
    let page = u64::try_from(stats.page_size()).unwrap_or(u64::MAX);
    txn.abort()?;
    Ok(stats.allocated_pages().saturating_mul(page))
}

/// What redb does with a path, but for the pace. An empty file is none of ours: redb would make
/// a new store of it.
fn open_paced(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() == 0 {
        let error = io::Error::new(io::ErrorKind::InvalidData, "the file is empty");
        return Err(StorageError::Io(error).into());
    }
    builder.create_with_backend(Paced::new(FileBackend::new(file)?))
}

/// A crash while redb makes a new file can leave one that never opens, so it is made
/// beside, synced and renamed.
fn create_if_missing(path: &Path, settings: &config::Storage) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let dir = folder(path);
    if !dir.exists() {
        fs::create_dir_all(dir)?;
        File::open(folder(dir))?.sync_all()?;
    }
    let fresh = beside(path, ".new");
    make(&fresh, settings)?.close().map_err(|error| io::Error::other(error.to_string()))?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}

/// Makes an empty store at `path`, over whatever an earlier try left there.
pub(super) fn make(path: &Path, settings: &config::Storage) -> io::Result<Database> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {},
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
    let db = Builder::new()
        .set_cache_size(page_cache(settings.cache))
        .create_with_backend(backend)
        .map_err(|error| io::Error::other(error.to_string()))?;
    prepare(&db)?;
    Ok(db)
}

/// The folder that `path` is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `path` with `ending` after its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes the tables of a new file.
fn prepare(db: &Database) -> io::Result<()> {
    let prepare = || -> Result<(), Failure> {
        let txn = db.begin_write()?;
        {
            drop((txn.open_table(KEYS)?, txn.open_table(ROWS)?, txn.open_table(YOUNG)?));
            if txn.open_table(META)?.insert(FORMAT_KEY, FORMAT)?.is_some() {
                return Ok(());
            }
        }
        put_mark(&txn, Mark::default())?;
        txn.commit()?;
        Ok(())
    };
    prepare().map_err(|error| io::Error::other(error.to_string()))
}

/// After a failed sync the page cache can show what the disk does not have: drop it.
fn forget_cached(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
