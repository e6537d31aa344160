//! Which events have no configured source, asked of a file that no process has open. The
//! file is never written, made or repaired by this.

use std::collections::BTreeSet;
use std::path::Path;

use redb::{Builder, DatabaseError, ReadOnlyDatabase, ReadableDatabase as _};

use super::checkpoint;
use super::layers::{BaseRows, View};
use super::rows::Failure;
use super::totals::Totals;

/// The cache for reading one row, in bytes.
const CACHE: usize = 1 << 20;

/// What a look at the file told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// Events by the name of their source, which is not configured.
    Known(Vec<(String, u64)>),
    /// It could not be told, and why.
    Unknown(String),
}

/// The events in the file at `path` of sources other than `names`, which are all names that
/// configured sources have or had.
pub fn orphans(path: &Path, names: &BTreeSet<String>) -> Orphans {
    if !path.exists() {
        return Orphans::Known(Vec::new());
    }
    let unknown = |why: String| Orphans::Unknown(format!("{}: {why}", path.display()));
    let not_closed = "not closed cleanly; the next start repairs it and tells";
    let db = match Builder::new().set_cache_size(CACHE).open_read_only(path) {
        Ok(db) => db,
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            return unknown("in use by a running gateway, whose log and metrics tell".to_owned());
        },
        Err(DatabaseError::RepairAborted) => {
            return unknown(not_closed.to_owned());
        },
        Err(error) => return unknown(error.to_string()),
    };
    match read(&db) {
        Ok(Some(totals)) => Orphans::Known(of(&totals, |name| !names.contains(name))),
        Ok(None) => unknown(not_closed.to_owned()),
        Err(why) => unknown(why.to_string()),
    }
}

/// The totals; `None`: the log may know more.
fn read(db: &ReadOnlyDatabase) -> Result<Option<Totals>, Failure> {
    if checkpoint::mark(db)?.open {
        return Ok(None);
    }
    let rows = BaseRows::read(&db.begin_read()?)?;
    let unreadable = "how many events stand where is not readable; the next start counts them";
    let totals = View::of(&rows).totals()?;
    Ok(Some(totals.ok_or_else(|| Failure::Damaged(unreadable.to_owned()))?))
}

/// How many events each source has for which `orphaned` holds, and that has any.
pub(super) fn of(totals: &Totals, orphaned: impl Fn(&str) -> bool) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = Vec::new();
    for (source, _, count) in totals.all().filter(|(name, _, count)| *count > 0 && orphaned(name)) {
        match found.iter_mut().find(|(name, _)| name == source) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => found.push((source.to_owned(), count)),
        }
    }
    found
}
