//! What a start does before the first verb: the log's tail goes to the file, and what another
//! process left is put in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::Database;

use super::layers::{Base, Fronts, Layers};
use super::log::{self, Mark};
use super::rows::Failure;
use super::rules::Rules;
use super::totals::Totals;
use super::verbs::{Decided, decide};
use super::{checkpoint, mend, young};
use crate::key;
use crate::time::Millis;

/// A gap between two runs of the process that may be a wrong clock: longer than a reboot or
/// a repair takes, shorter than any TTL worth having.
const CLOCK_GAP: Duration = Duration::from_hours(24);

/// What a start found, and made.
pub(super) struct Start {
    pub(super) base: Base,
    pub(super) mark: Mark,
    pub(super) totals: Totals,
    pub(super) recovered: usize,
    pub(super) old_keys: BTreeMap<String, Vec<key::Spec>>,
}

/// Brings the log's rows into the file, settles what another boot left in flight, and
/// compares the key rules with the stored ones: all of it in one commit.
pub(super) fn start(
    db: Database,
    files: &log::Files,
    mark: Mark,
    rules: &Rules,
) -> Result<Start, Failure> {
    let (tail, applied) = log::tail(files, mark)?;
    if !tail.is_empty() {
        let batches = applied.saturating_sub(mark.applied);
        tracing::info!(batches, bytes = tail.bytes(), "the log has what the file has not");
    }
    let base = Base::new(Arc::new(db))?;
    let keys = young::read(&*base.db, base.view())?;
    let layers = Layers { active: tail, frozen: None, keys, base: Some(Arc::new(base)) };
    let view = layers.view().ok_or(Failure::Nothing)?;
    let totals = mend::read_totals(view)?;
    rules.clock_in_doubt.store(in_doubt(totals.seen, rules.clock.now()), Ordering::Relaxed);
    rules.clock.not_before(totals.seen);
    let (mut recovered, mut old_keys) = (0, BTreeMap::new());
    let decided = decide(view, &mut Fronts::default(), rules, Decided::after(totals), |batch| {
        recovered = batch.recover()?;
        old_keys = batch.remember_keys()?;
        Ok(())
    })?;
    decided.tell();
    // What is in the log belongs to no log any more, once this is written.
    let mark = Mark { id: uuid::Uuid::new_v4().as_u64_pair().0, applied, open: true };
    let Layers { active: tail, keys, base: old, .. } = layers;
    let db = old.map(|base| Arc::clone(&base.db)).ok_or(Failure::Nothing)?;
    let base = checkpoint::write(db, &[&keys, &tail, &decided.rows], mark)?;
    Ok(Start { base, mark, totals: decided.totals, recovered, old_keys })
}

/// Whether `now` is too far from the last time the store saw, on either side; a new file has
/// none.
fn in_doubt(last_seen: Millis, now: Millis) -> bool {
    let apart = now.since(last_seen).max(last_seen.since(now));
    last_seen != Millis::default() && apart > CLOCK_GAP
}
