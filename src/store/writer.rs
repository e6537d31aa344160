//! Group commit without a timer: one thread takes what waited while the last sync ran,
//! lets each verb decide again, writes the rows of all to the log in one batch, syncs it, and
//! only then lets readers see them and replies. About once a second, or when much has
//! gathered, the rows go on to the redb file (see [`checkpoint`]).
//!
//! Three lanes, in this order: our own (settlements, takes and the watchdog's question, at
//! most one for each attempt in flight, one for each source and one: never refused), claims
//! (bounded: full is answered at once), upkeep (one operation a batch, so that it never holds up
//! a commit for long).
//!
//! When the disk is full the batch is not lost: nothing of it is true, so its claims are
//! answered `Unavailable`; its settlements are kept and done first once there is room. Any
//! other failure is final: what a failed sync left behind cannot be known, so the store
//! stops, and the process with it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select};
use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::watch;
use tokio::time::Instant;

use super::checkpoint::{self, Job};
use super::file::Medium;
use super::filter::Bloom;
use super::layers::{Base, Fronts, Layer, Layers};
use super::log::{Log, Mark};
use super::rows::Failure;
use super::rules::Rules;
use super::totals::Totals;
use super::verbs::{Batch, decide};
use super::young::Pass;
use super::{Health, Unavailable};
use crate::config;
use crate::telemetry;

mod compact;
mod forward;
mod lanes;
mod op;

use compact::Asked;
pub(super) use forward::layer_limit;
pub(super) use lanes::Lanes;
use op::Noted;
pub(super) use op::{Op, Reply};

/// Operations in one transaction: bounds how long a claim waits for its batch.
const BATCH_OPS: usize = 1024;
/// Bytes of bodies in one transaction, beyond its first.
const BATCH_BYTES: usize = 8 << 20;
/// How often a full disk is looked at again.
const FULL_POLL: Duration = Duration::from_millis(250);

/// What the writer shares with the readers.
#[derive(Debug)]
pub(super) struct Shared {
    /// All that is durable.
    pub(super) layers: RwLock<Layers>,
    /// Which keys may be in the file.
    pub(super) bloom: Arc<Bloom>,
    /// The totals as of the last batch.
    pub(super) totals: Mutex<Totals>,
    /// Deliveries that wait to be written.
    pub(super) noted: Noted,
    health: AtomicU8,
    /// Why the store stopped for good.
    pub(super) failed: watch::Sender<Option<String>>,
}

impl Shared {
    pub(super) fn new(base: Base, totals: Totals) -> Self {
        let active = Layer::above(totals.next);
        let bloom = Arc::new(Bloom::new());
        let base = Some(Arc::new(base.with(&bloom)));
        let layers = Layers { active, base, ..Layers::default() };
        Self {
            layers: RwLock::new(layers),
            bloom,
            totals: Mutex::new(totals),
            noted: Mutex::default(),
            health: AtomicU8::new(0),
            failed: watch::Sender::new(None),
        }
    }

    /// The frozen rows are in the file, as `base` has it. Returns what is to be let go of.
    pub(super) fn finish_checkpoint(&self, base: Base) -> (Option<Arc<Layer>>, Option<Arc<Base>>) {
        let base = Some(Arc::new(base.with(&self.bloom)));
        let mut layers = self.layers.write();
        if self.health() == Health::Stopped {
            return (None, base);
        }
        (layers.frozen.take(), std::mem::replace(&mut layers.base, base))
    }

    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Ready,
            1 => Health::DiskFull,
            3 => Health::Compacting,
            _ => Health::Stopped,
        }
    }

    fn set_health(&self, health: Health) {
        self.health.store(number(health), Ordering::Relaxed);
    }
}

fn number(health: Health) -> u8 {
    match health {
        Health::Ready | Health::DiskLow => 0,
        Health::DiskFull => 1,
        Health::Stopped => 2,
        Health::Compacting => 3,
    }
}

/// The receiving ends, and all the thread needs.
#[derive(Debug)]
pub(super) struct Writer {
    own: Receiver<Op>,
    claims: Receiver<Op>,
    upkeep: Receiver<Op>,
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    medium: Medium,
    settings: config::Storage,
    log: Log,
    fronts: Fronts,
    /// Rows on their way to the redb file are sent here,
    jobs: Sender<Job>,
    /// and what came of it comes back, while some are.
    done: Receiver<Result<(), Failure>>,
    under_way: bool,
    /// The same, as it was heard of while waiting for something to do.
    result: Option<Result<(), Failure>>,
    /// What the file says of the log once it has the frozen rows.
    pending: Option<Mark>,
    /// Since when the active layer has rows.
    since: Option<Instant>,
}

/// Why a batch could not be written.
enum Stopped {
    Full(Failure),
    Failed(String),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        if failure.is_full() { Self::Full(failure) } else { Self::Failed(failure.to_string()) }
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        rules: Arc<Rules>,
        medium: Medium,
        settings: config::Storage,
        log: Log,
        pass: Pass,
    ) -> io::Result<(Lanes, Self)> {
        let (own_in, own) = crossbeam_channel::unbounded();
        let (claims_in, claims) = crossbeam_channel::unbounded();
        let (upkeep_in, upkeep) = crossbeam_channel::unbounded();
        let lanes = Lanes { own: own_in, claims: claims_in, upkeep: upkeep_in };
        // One at a time is under way.
        let (jobs, jobs_out) = crossbeam_channel::bounded(1);
        let (done_in, done) = crossbeam_channel::bounded(1);
        let readers = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || checkpoint::run(&readers, pass, &jobs_out, &done_in))?;
        let writer = Self {
            own,
            claims,
            upkeep,
            shared,
            rules,
            medium,
            settings,
            log,
            fronts: Fronts::default(),
            jobs,
            done,
            under_way: false,
            result: None,
            pending: None,
            since: None,
        };
        Ok((lanes, writer))
    }

    /// Runs until stopped or failed. A panic here would leave claims unanswered and the
    /// file in doubt: it counts as a failure.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let ran = catch_unwind(AssertUnwindSafe(|| self.work()));
        shared.set_health(Health::Stopped);
        match ran {
            Ok(Ok(())) => self.close(),
            // Not closed: a clean close would vouch for what is in doubt.
            Ok(Err(why)) => fail(&shared, &why),
            Err(_) => fail(&shared, "the writer panicked"),
        }
        drop(std::mem::take(&mut *shared.layers.write()));
    }

    fn work(&mut self) -> Result<(), String> {
        let mut repeat = Vec::new();
        loop {
            let mut ops = self.gather(std::mem::take(&mut repeat));
            let stop = ops.iter().any(|op| matches!(op, Op::Stop { .. }));
            let mut compact = Asked::take(&mut ops);
            let written = self.write(&mut ops).and_then(|()| {
                ops.iter_mut().filter(|op| !op.asks_all()).for_each(|op| op.send(Ok(())));
                // What was written must not be done again.
                ops.retain(Op::asks_all);
                if ops.is_empty() && compact.is_none() {
                    return self.checkpoint_due();
                }
                self.checkpoint_all()
            });
            match written {
                Ok(()) => ops.iter_mut().for_each(|op| op.send(Ok(()))),
                Err(Stopped::Full(failure)) => {
                    tracing::error!(error = %failure, "the disk is full: claims are refused");
                    self.shared.set_health(Health::DiskFull);
                    if let Some(asked) = compact.take() {
                        asked.refuse(Unavailable::DiskFull);
                    }
                    repeat = self.give_back(ops);
                    if stop {
                        return Err("stopped while the disk was full".to_owned());
                    }
                    self.wait_for_room(&mut repeat)?;
                },
                Err(Stopped::Failed(why)) => {
                    for op in &mut ops {
                        op.send(Err(Unavailable::Stopped));
                    }
                    return Err(why);
                },
            }
            if stop {
                return Ok(());
            }
            if let Some(asked) = compact {
                self.compact(asked, &mut repeat)?;
            }
        }
    }

    /// Waits for an operation, or until rows must go on to the file or have come there, and
    /// takes what else waits, lane by lane.
    fn gather(&mut self, mut ops: Vec<Op>) -> Vec<Op> {
        if ops.is_empty() && self.own.is_empty() && self.claims.is_empty() {
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
                recv(self.own) -> op => ops.push(op.unwrap_or_else(|_| stop())),
                recv(self.claims) -> op => ops.push(op.unwrap_or_else(|_| stop())),
                recv(self.upkeep) -> op => ops.push(op.unwrap_or_else(|_| stop())),
                recv(due) -> _ => {},
                recv(done) -> result => self.result = result.ok(),
            }
        }
        ops.extend(self.own.try_iter());
        let mut bytes: usize = 0;
        while ops.len() < BATCH_OPS && bytes < BATCH_BYTES {
            let Ok(op) = self.claims.try_recv() else { break };
            if let Op::Arrive { payload: Some(payload), .. } = &op {
                bytes = bytes.saturating_add(payload.len());
            }
            ops.push(op);
        }
        ops.extend(self.upkeep.try_recv());
        ops
    }

    /// Writes one batch to the log. Replies are filled in, not sent.
    fn write(&mut self, ops: &mut [Op]) -> Result<(), Stopped> {
        if ops.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let shared = Arc::clone(&self.shared);
        let written = self.decide_and_log(|batch| {
            ops.iter_mut().try_for_each(|op| op.apply(batch, &shared.noted))
        });
        if let Err(failure) = written {
            // What was seen of the rows that were to be removed is not so.
            self.fronts.forget();
            return Err(failure.into());
        }
        telemetry::committed(begun.elapsed(), ops.len());
        Ok(())
    }

    fn decide_and_log(
        &mut self,
        verbs: impl FnOnce(&mut Batch<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let before = self.shared.totals.lock().clone();
        let decided = {
            let layers = self.shared.layers.read();
            let view = layers.view().ok_or(Failure::Nothing)?;
            decide(view, &mut self.fronts, &self.rules, before, verbs)?
        };
        if let Some(rows) = &decided.rows {
            self.log.append(rows)?;
        }
        decided.tell();
        if let Some(rows) = decided.rows {
            self.shared.layers.write().active.merge(rows);
            self.since.get_or_insert_with(Instant::now);
        }
        *self.shared.totals.lock() = decided.totals;
        Ok(())
    }

    /// Answers a batch that could not be written; what must be repeated comes back.
    fn give_back(&self, ops: Vec<Op>) -> Vec<Op> {
        let mut repeat = Vec::new();
        for mut op in ops {
            op.send(Err(Unavailable::DiskFull));
            if let Op::Note { taken, .. } = &mut op {
                let mut noted = self.shared.noted.lock();
                for (id, later) in std::mem::replace(&mut *noted, std::mem::take(taken)) {
                    noted.entry(id).or_default().merge(later);
                }
            }
            repeat.extend(op.repeat());
        }
        repeat
    }

    /// Answers what comes until the file could be opened anew. Our own settlements are
    /// kept and repeated.
    fn wait_for_room(&mut self, repeat: &mut Vec<Op>) -> Result<(), String> {
        // A log that is full may come while rows are on their way.
        if let Err(Stopped::Failed(why)) = self.receive(true) {
            return Err(why);
        }
        drop(self.take_database().map_err(|_| "a read did not end within ten seconds")?);
        loop {
            std::thread::sleep(FULL_POLL);
            repeat.extend(self.give_back(self.own.try_iter().collect()));
            drop(self.give_back(self.claims.try_iter().collect()));
            let upkeep: Vec<Op> = self.upkeep.try_iter().collect();
            if upkeep.iter().any(|op| matches!(op, Op::Stop { .. })) {
                drop(self.give_back(upkeep));
                return Err("stopped while the disk was full".to_owned());
            }
            drop(self.give_back(upkeep));
            if self.medium.free().is_some_and(|free| free < self.settings.reserve) {
                continue;
            }
            match self.go_on() {
                Ok(()) => break,
                Err(Stopped::Full(error)) => tracing::debug!(error = %error, "still full"),
                Err(Stopped::Failed(why)) => return Err(why),
            }
            drop(self.take_database().map_err(|_| "a read did not end within ten seconds")?);
        }
        self.shared.set_health(Health::Ready);
        tracing::info!("there is room again: the store takes claims");
        Ok(())
    }

    /// Opens the file anew, writes what was on its way to it, and a batch that says nothing
    /// new: is there room?
    fn go_on(&mut self) -> Result<(), Stopped> {
        let db = match self.medium.reopen(&self.settings, &(Arc::new(|_| {}) as _)) {
            Ok(db) => Arc::new(db),
            Err(error) if error.is_full() => {
                return Err(Stopped::Full(Failure::Log(io::ErrorKind::StorageFull.into())));
            },
            Err(error) => return Err(Stopped::Failed(error.to_string())),
        };
        let base = {
            // Nobody else wants to write it, and who reads finds no file.
            let layers = self.shared.layers.read();
            match (self.pending, &layers.frozen) {
                (Some(mark), Some(rows)) => {
                    self.shared.bloom.add_all(layers.keys.ids().chain(rows.ids()));
                    checkpoint::write(db, &[&layers.keys, rows], mark)?
                },
                _ => Base::new(db)?,
            }
        };
        if self.pending.is_some() {
            drop(std::mem::take(&mut self.shared.layers.write().keys));
        }
        drop(self.shared.finish_checkpoint(base));
        self.pending = None;
        self.decide_and_log(|batch| {
            batch.touch();
            Ok(())
        })?;
        Ok(())
    }

    /// Takes the file from the readers; waits for them, whose reads are short. Gives back
    /// what is still read after ten seconds.
    fn take_database(&self) -> Result<Option<Database>, Arc<Base>> {
        let Some(base) = self.shared.layers.write().base.take() else { return Ok(None) };
        for _ in 0..1000 {
            // Who reads the file as it was before a checkpoint has it open as well.
            if Arc::strong_count(&base) == 1 && Arc::strong_count(&base.db) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let Base { db, rows } = Arc::try_unwrap(base)?;
        match Arc::try_unwrap(db) {
            Ok(db) => Ok(Some(db)),
            Err(db) => Err(Arc::new(Base { db, rows })),
        }
    }

    /// Closes the file: it has everything, and needs no log.
    fn close(&self) {
        let base = self.shared.layers.read().base.clone();
        let mark = Mark { open: false, ..self.log.mark() };
        let closed = base.map(|base| checkpoint::write(Arc::clone(&base.db), &[], mark));
        if let Some(Err(error)) = closed {
            tracing::error!(%error, "the file could not be closed cleanly");
            return;
        }
        drop(closed);
        let Ok(Some(db)) = self.take_database() else {
            tracing::warn!("the file was still read when it was closed: the next start repairs it");
            return;
        };
        if let Err(error) = db.close() {
            tracing::error!(%error, "the file could not be closed cleanly");
        }
    }
}

fn fail(shared: &Shared, why: &str) {
    tracing::error!(error = why, "the store failed and stops");
    shared.failed.send_replace(Some(why.to_owned()));
}
