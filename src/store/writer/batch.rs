//! From verbs to a batch in the log, two batches at a time: while one is synced, the next is
//! decided over it. What waits is looked at now and then meanwhile, so that who sends need not
//! wake the writer.

use std::time::Duration;

use crossbeam_channel::{never, select};
use tokio::time::Instant;

use super::{Op, Reply, Stopped, Writer, forward};
use crate::store::rows::Failure;
use crate::store::verbs::{Decided, decide};
use crate::telemetry;

/// Operations in one batch, and copies that arrive before its last: bounds how long a claim
/// waits for it.
const BATCH_OPS: usize = 1024;
/// Bytes of bodies in one batch, beyond its first.
const BATCH_BYTES: usize = 8 << 20;
/// How long a sync is waited for before what came meanwhile is decided.
const PATIENCE: Duration = Duration::from_micros(100);

/// Verbs that go to the log together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) ops: Vec<Op>,
    /// How many of them were decided.
    decided_ops: usize,
    decided: Option<Decided>,
    /// Since when.
    begun: Option<Instant>,
    /// Copies that arrive.
    copies: usize,
    /// Bytes of bodies.
    bytes: usize,
    /// Whether upkeep has an operation in it: it never holds up a batch for long.
    upkeep: bool,
}

impl Draft {
    pub(super) fn of(ops: Vec<Op>) -> Self {
        Self { ops, ..Self::default() }
    }

    fn push_claim(&mut self, op: Op) {
        let (copies, bytes) = op.brings();
        self.copies = self.copies.saturating_add(copies);
        self.bytes = self.bytes.saturating_add(bytes);
        self.ops.push(op);
    }

    fn push_upkeep(&mut self, op: Op) {
        self.upkeep = true;
        self.ops.push(op);
    }

    fn has_room(&self) -> bool {
        self.ops.len() < BATCH_OPS && self.copies < BATCH_OPS && self.bytes < BATCH_BYTES
    }
}

impl Writer {
    /// One step: what was synced is published, what waits is decided and goes to the log.
    pub(super) fn step(&mut self) -> Result<(), Stopped> {
        self.is_synced(PATIENCE)?;
        self.gather();
        self.decide()?;
        if self.syncing.is_none() || self.synced {
            self.hand_over()?;
        }
        Ok(())
    }

    /// Has all that is decided synced and published.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        while self.syncing.is_some() || !self.draft.ops.is_empty() {
            self.is_synced(Duration::MAX)?;
            self.hand_over()?;
        }
        Ok(())
    }

    /// Whether the batch that is on its way to the log is there, as far as patience goes.
    pub(super) fn is_synced(&mut self, patience: Duration) -> Result<(), Stopped> {
        if self.log.is_under_way()
            && let Some(result) = self.log.end_append(patience)
        {
            result.map_err(Failure::from)?;
            self.synced = true;
        }
        Ok(())
    }

    /// Takes what waits, lane by lane. With nothing to do, waits for an operation, or until
    /// rows must go on to the file or have come there.
    fn gather(&mut self) {
        let draft = &mut self.draft;
        let idle = draft.ops.is_empty() && self.syncing.is_none();
        if idle && self.own.is_empty() && self.claims.is_empty() {
            // A closed lane means that the store was dropped: stop.
            let stop = || Op::Stop { reply: Reply::nobody() };
            let due = match self.since {
                Some(since) if !self.under_way => {
                    crossbeam_channel::at((since + forward::CHECKPOINT_EVERY).into_std())
                },
                _ => never(),
            };
            let nothing = never();
            let done = if self.under_way { &self.done } else { &nothing };
            select! {
                recv(self.own) -> op => draft.ops.push(op.unwrap_or_else(|_| stop())),
                recv(self.claims) -> op => draft.push_claim(op.unwrap_or_else(|_| stop())),
                recv(self.upkeep) -> op => draft.push_upkeep(op.unwrap_or_else(|_| stop())),
                recv(due) -> _ => {},
                recv(done) -> result => self.result = result.ok(),
            }
        }
        draft.ops.extend(self.own.try_iter());
        while draft.has_room()
            && let Ok(op) = self.claims.try_recv()
        {
            draft.push_claim(op);
        }
        if !draft.upkeep
            && let Ok(op) = self.upkeep.try_recv()
        {
            draft.push_upkeep(op);
        }
    }

    /// Lets the verbs that came decide, over all that was decided before. Replies are filled
    /// in, not sent.
    fn decide(&mut self) -> Result<(), Failure> {
        let Self { draft, syncing, shared, fronts, rules, .. } = self;
        let Some(new) = draft.ops.get_mut(draft.decided_ops..).filter(|new| !new.is_empty()) else {
            return Ok(());
        };
        draft.begun.get_or_insert_with(Instant::now);
        let below = syncing.as_ref().and_then(|draft| draft.decided.as_ref());
        let decided = draft.decided.take().unwrap_or_else(|| {
            let totals = below.map(|below| below.totals.clone());
            Decided::after(totals.unwrap_or_else(|| shared.totals.lock().clone()))
        });
        let layers = shared.layers.read();
        let view = layers.view().ok_or(Failure::Nothing)?.with(&shared.bloom);
        let view = view.with_syncing(below.map(|below| &below.rows));
        let decided = decide(view, fronts, rules, decided, |batch| {
            new.iter_mut().try_for_each(|op| op.apply(batch, &shared.noted))
        })?;
        draft.decided = Some(decided);
        draft.decided_ops = draft.ops.len();
        Ok(())
    }

    /// The next batch goes to the log, and what was synced is published meanwhile. Before rows
    /// go on to the file, nothing may be on its way.
    fn hand_over(&mut self) -> Result<(), Stopped> {
        let synced = self.syncing.take();
        self.synced = false;
        if self.is_checkpoint_due() {
            self.publish(synced);
            self.checkpoint_due()?;
            return self.begin();
        }
        let begun = self.begin();
        self.publish(synced);
        begun
    }

    /// Sends the draft to the log. One that changes nothing waits there for what it was decided
    /// over.
    fn begin(&mut self) -> Result<(), Stopped> {
        if self.draft.ops.is_empty() {
            return Ok(());
        }
        match &self.draft.decided {
            Some(decided) if !decided.rows.is_empty() => {
                self.log.begin_append(&decided.rows).map_err(Failure::from)?;
            },
            _ => self.synced = true,
        }
        self.syncing = Some(std::mem::take(&mut self.draft));
        Ok(())
    }

    /// Lets readers see a batch, and replies. Who asked for more is answered when that is done.
    fn publish(&mut self, synced: Option<Draft>) {
        let Some(Draft { mut ops, decided, begun, .. }) = synced else { return };
        if let Some(decided) = decided {
            decided.tell();
            self.make_visible(decided);
        }
        if let Some(begun) = begun {
            telemetry::committed(begun.elapsed(), ops.len());
        }
        ops.iter_mut().filter(|op| !op.asks_more()).for_each(|op| op.send(Ok(())));
        self.asked.extend(ops.into_iter().filter(Op::asks_more));
    }

    pub(super) fn make_visible(&mut self, decided: Decided) {
        let Decided { rows, totals, .. } = decided;
        if !rows.is_empty() {
            let mut layers = self.shared.layers.write();
            rows.ids().for_each(|(key, _)| self.shared.bloom.add(key));
            layers.active.merge(rows);
            drop(layers);
            self.since.get_or_insert_with(Instant::now);
        }
        *self.shared.totals.lock() = totals;
    }

    /// Everything that is not yet answered, once nothing is on its way to the log: what came
    /// there is true, and published.
    pub(super) fn take_unanswered(&mut self) -> Vec<Op> {
        if self.is_synced(Duration::MAX).is_ok() && self.synced {
            let synced = self.syncing.take();
            self.publish(synced);
        }
        self.synced = false;
        let mut ops = std::mem::take(&mut self.asked);
        ops.extend(self.syncing.take().map(|draft| draft.ops).into_iter().flatten());
        ops.extend(std::mem::take(&mut self.draft).ops);
        ops
    }
}
