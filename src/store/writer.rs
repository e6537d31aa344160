//! Group commit without a timer: one thread takes what waited while the last sync ran, lets
//! each verb decide again, has the rows of all written to the log in one batch and synced (see
//! [`batch`]), and only then lets readers see them and replies. About once a second, or when
//! much has gathered, the rows go on to the redb file (see [`checkpoint`]).
//!
//! Three lanes, in this order: our own (settlements, takes and the watchdog's question, at
//! most one for each attempt in flight, a few for each source and one: never refused), claims
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

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::watch;
use tokio::time::Instant;

use super::checkpoint::{self, Job};
use super::file::Medium;
use super::filter::Bloom;
use super::layers::{Base, Fronts, Layer, Layers};
use super::log::{self, Log, Mark};
use super::rows::Failure;
use super::rules::Rules;
use super::totals::Totals;
use super::verbs::{Decided, decide};
use super::young::Pass;
use super::{Health, Unavailable};
use crate::config;

mod batch;
mod compact;
mod forward;
mod lanes;
mod op;

use batch::Draft;
use compact::Asked;
pub(super) use forward::layer_limit;
pub(super) use lanes::Lanes;
use op::Noted;
pub(super) use op::{NOTES, Op, Reply};

/// How often a full disk is looked at again.
const FULL_POLL: Duration = Duration::from_millis(250);

/// What the writer shares with the readers.
#[derive(Debug)]
pub(super) struct Shared {
    /// All that is durable.
    pub(super) layers: RwLock<Layers>,
    /// Which keys may be among them.
    pub(super) bloom: Bloom,
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
        let layers = Layers { active, base: Some(Arc::new(base)), ..Layers::default() };
        Self {
            layers: RwLock::new(layers),
            bloom: Bloom::new(),
            totals: Mutex::new(totals),
            noted: Mutex::default(),
            health: AtomicU8::new(0),
            failed: watch::Sender::new(None),
        }
    }

    /// The frozen rows are in the file, as `base` has it. Returns what is to be let go of.
    pub(super) fn finish_checkpoint(&self, base: Base) -> (Option<Arc<Layer>>, Option<Arc<Base>>) {
        let base = Some(Arc::new(base));
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
    /// What is decided next.
    draft: Draft,
    /// What is on its way to the log, and whether it is there.
    syncing: Option<Draft>,
    synced: bool,
    /// What is to be done once the redb file has everything.
    asked: Vec<Op>,
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

/// Whether the writer goes on.
enum On {
    Go,
    Stop,
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
            draft: Draft::default(),
            syncing: None,
            synced: false,
            asked: Vec::new(),
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
        log::hasten();
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
        loop {
            match self.step().and_then(|()| self.do_asked()) {
                Ok(On::Go) => {},
                Ok(On::Stop) => return Ok(()),
                Err(Stopped::Full(failure)) => {
                    // What is on its way to the log may have met something worse.
                    if let Err(Stopped::Failed(why)) = self.is_synced(Duration::MAX) {
                        self.refuse_all();
                        return Err(why);
                    }
                    tracing::error!(error = %failure, "the disk is full: claims are refused");
                    self.shared.set_health(Health::DiskFull);
                    let ops = self.take_unanswered();
                    let stop = ops.iter().any(Op::is_stop);
                    let mut repeat = self.give_back(ops);
                    if stop {
                        return Err("stopped while the disk was full".to_owned());
                    }
                    self.wait_for_room(&mut repeat)?;
                    self.draft = Draft::of(repeat);
                },
                Err(Stopped::Failed(why)) => {
                    self.refuse_all();
                    return Err(why);
                },
            }
        }
    }

    fn refuse_all(&mut self) {
        for mut op in self.take_unanswered() {
            op.send(Err(Unavailable::Stopped));
        }
    }

    /// Does what is to be done after a batch, if the last one had something of it.
    fn do_asked(&mut self) -> Result<On, Stopped> {
        if !self.draft.ops.iter().chain(&self.asked).any(Op::asks_more) {
            return Ok(On::Go);
        }
        self.flush()?;
        self.checkpoint_all()?;
        let mut asked = std::mem::take(&mut self.asked);
        let compact = Asked::take(&mut asked);
        for op in &mut asked {
            op.send(Ok(()));
        }
        if asked.iter().any(Op::is_stop) {
            return Ok(On::Stop);
        }
        if let Some(compact) = compact {
            let mut later = Vec::new();
            self.compact(compact, &mut later).map_err(Stopped::Failed)?;
            self.draft = Draft::of(later);
        }
        Ok(On::Go)
    }

    /// Answers a batch that could not be written; what must be repeated comes back.
    fn give_back(&mut self, ops: Vec<Op>) -> Vec<Op> {
        // What was seen of the rows that were to be removed is not so.
        self.fronts.forget();
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
                (Some(mark), Some(rows)) => checkpoint::write(db, &[&layers.keys, rows], mark)?,
                _ => Base::new(db)?,
            }
        };
        if self.pending.is_some() {
            drop(std::mem::take(&mut self.shared.layers.write().keys));
        }
        drop(self.shared.finish_checkpoint(base));
        self.pending = None;
        let decided = {
            let layers = self.shared.layers.read();
            let view = layers.view().ok_or(Failure::Nothing)?;
            let before = Decided::after(self.shared.totals.lock().clone());
            decide(view, &mut Fronts::default(), &self.rules, before, |batch| {
                batch.touch();
                Ok(())
            })?
        };
        self.log.append(&decided.rows).map_err(Failure::from)?;
        self.make_visible(decided);
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
