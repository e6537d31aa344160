//! When rows go on from memory to the redb file.

use std::sync::Arc;
use std::time::Duration;

use super::{Stopped, Writer};
use crate::store::checkpoint::Job;
use crate::store::layers::Layer;
use crate::store::rows::Failure;

/// How long rows stay in memory and the log before they go on to the redb file, at least.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// The part of `storage.cache` that rows in memory may take before they go on: one in so
/// many. As much again may be on its way to the file, and be keys that have no place yet.
const LAYER_SHARE: usize = 6;

/// The bytes that the rows of one layer may take in memory.
pub(in crate::store) fn layer_limit(cache: usize) -> usize {
    cache / LAYER_SHARE
}

impl Writer {
    /// Sends the active rows on to the redb file, if they are many or old. While others are
    /// on their way, few may stay and many must wait: that bounds memory and the log.
    pub(super) fn checkpoint_due(&mut self) -> Result<(), Stopped> {
        self.receive(self.has_many_rows())?;
        if self.is_checkpoint_due() && !self.under_way {
            self.send_active(false)?;
        }
        Ok(())
    }

    /// Whether the active rows are many or old, and can go on; or others have come to the file.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let old = || self.since.is_some_and(|since| since.elapsed() >= CHECKPOINT_EVERY);
        let came = self.result.is_some() || !self.done.is_empty();
        came || self.has_many_rows() || (old() && !self.under_way)
    }

    fn has_many_rows(&self) -> bool {
        self.shared.layers.read().active.bytes() > layer_limit(self.settings.cache)
    }

    /// Has everything brought to its place in the redb file, and waits for it.
    pub(super) fn checkpoint_all(&mut self) -> Result<(), Stopped> {
        self.receive(true)?;
        if self.since.is_some() || !self.shared.layers.read().keys.is_empty() {
            self.send_active(true)?;
        }
        self.receive(true)
    }

    fn send_active(&mut self, all: bool) -> Result<(), Stopped> {
        let mark = self.log.mark();
        let floor = self.shared.totals.lock().next;
        let job = {
            let mut layers = self.shared.layers.write();
            let base = layers.base.clone().ok_or(Failure::Nothing)?;
            let rows = Arc::new(std::mem::replace(&mut layers.active, Layer::above(floor)));
            layers.frozen = Some(Arc::clone(&rows));
            Job { base, rows, mark, all }
        };
        self.log.turn();
        self.since = None;
        (self.pending, self.under_way) = (Some(mark), true);
        self.jobs.send(job).map_err(|_| Stopped::Failed("no checkpoints are made".to_owned()))
    }

    /// Learns what came of the rows that are on their way; `wait`s for it, if there are some.
    pub(super) fn receive(&mut self, wait: bool) -> Result<(), Stopped> {
        if !self.under_way {
            return Ok(());
        }
        let result = self
            .result
            .take()
            .or_else(|| if wait { self.done.recv().ok() } else { self.done.try_recv().ok() });
        match result {
            Some(result) => {
                self.under_way = false;
                result?;
                self.pending = None;
                Ok(())
            },
            None if wait => Err(Stopped::Failed("no checkpoints are made".to_owned())),
            None => Ok(()),
        }
    }
}
