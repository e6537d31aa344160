//! Group commit without a timer: one thread takes what waited while the last sync ran,
//! lets each verb decide again inside one transaction, commits, and only then replies.
//!
//! Three lanes, in this order: our own (settlements, takes and the watchdog's question, at
//! most one for each attempt in flight, one for each source and one: never refused), claims
//! (bounded: full is answered at once), upkeep (one operation a batch, so that it never holds up
//! a commit for long).
//!
//! When the disk is full the batch is not lost: its claims are answered `Unavailable`, its
//! settlements are kept, the file is opened anew once there is room, and the first
//! transaction repeats the settlements and releases the claims, no byte of which was sent.
//! Any other failure is final: what a failed sync left behind cannot be known, so the store
//! stops, and the process with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, select};
use parking_lot::Mutex;
use redb::Database;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::codec::Encoded;
use super::file::Medium;
use super::rules::Rules;
use super::tables::Failure;
use super::totals::Totals;
use super::verbs::{Batch, transact};
use super::{Arrived, Compacted, Deliveries, Health, Swept, Taken, Unavailable};
use crate::config;
use crate::record::{
    Act, Arrival, Copy, Label, Meets, Refused, Settled, Settlement, Token, Verdict,
};
use crate::telemetry;

mod compact;
mod lanes;

use compact::Asked;
pub(super) use lanes::Lanes;

/// Operations in one transaction: bounds how long a claim waits for its batch.
const BATCH_OPS: usize = 1024;
/// Bytes of bodies in one transaction, beyond its first.
const BATCH_BYTES: usize = 8 << 20;
/// How often a full disk is looked at again.
const FULL_POLL: Duration = Duration::from_millis(250);

/// Where a verb's answer goes, once its transaction is on disk.
#[derive(Debug)]
pub(super) struct Reply<T> {
    to: Option<oneshot::Sender<Result<T, Unavailable>>>,
    with: Option<T>,
}

impl<T> Reply<T> {
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<T, Unavailable>>) {
        let (to, receiver) = oneshot::channel();
        (Self { to: Some(to), with: None }, receiver)
    }

    fn nobody() -> Self {
        Self { to: None, with: None }
    }

    /// Nobody may be waiting any more: what was decided stands all the same.
    fn send(&mut self, result: Result<(), Unavailable>) {
        let Some(to) = self.to.take() else { return };
        drop(to.send(match result {
            Ok(()) => self.with.take().ok_or(Unavailable::Stopped),
            // What was decided stays here: it tells what must be released.
            Err(unavailable) => Err(unavailable),
        }));
    }
}

/// One verb, waiting.
#[derive(Debug)]
pub(super) enum Op {
    Arrive {
        copy: Copy,
        payload: Option<Encoded>,
        reply: Reply<Arrived>,
    },
    Settle {
        id: String,
        token: Token,
        settlement: Settlement,
        reply: Reply<Settled>,
    },
    Take {
        source: String,
        limit: usize,
        reply: Reply<Taken>,
    },
    Operate {
        id: String,
        act: Act,
        note: String,
        reply: Reply<Result<Label, Refused>>,
    },
    Sweep {
        reply: Reply<Swept>,
    },
    Note {
        taken: HashMap<String, Deliveries>,
        reply: Reply<()>,
    },
    Alive {
        reply: Reply<()>,
    },
    /// Done after the batch it comes with.
    Compact {
        begun: Instant,
        reply: Reply<Compacted>,
    },
    Stop {
        reply: Reply<()>,
    },
}

impl Op {
    fn apply(&mut self, batch: &mut Batch<'_>, noted: &Noted) -> Result<(), Failure> {
        match self {
            Self::Arrive { copy, payload, reply } => {
                // Encoded again nowhere: a batch is applied once, and not repeated for claims.
                reply.with = Some(batch.arrive(copy, payload.take())?);
            },
            Self::Settle { id, token, settlement, reply } => {
                reply.with = Some(batch.settle(id, *token, settlement)?);
            },
            Self::Take { source, limit, reply } => {
                reply.with = Some(batch.take_due(source, *limit)?);
            },
            Self::Operate { id, act, note, reply } => {
                reply.with = Some(batch.operate(id, *act, note)?);
            },
            Self::Sweep { reply } => reply.with = Some(batch.sweep()?),
            Self::Note { taken, reply } => {
                *taken = std::mem::take(&mut *noted.lock());
                batch.note(taken)?;
                reply.with = Some(());
            },
            Self::Alive { reply } | Self::Stop { reply } => reply.with = Some(()),
            Self::Compact { .. } => {},
        }
        Ok(())
    }

    fn send(&mut self, result: Result<(), Unavailable>) {
        match self {
            Self::Arrive { reply, .. } => reply.send(result),
            Self::Settle { reply, .. } => reply.send(result),
            Self::Take { reply, .. } => reply.send(result),
            Self::Operate { reply, .. } => reply.send(result),
            Self::Sweep { reply } => reply.send(result),
            Self::Compact { reply, .. } => reply.send(result),
            Self::Note { reply, .. } | Self::Alive { reply } | Self::Stop { reply } => {
                reply.send(result);
            },
        }
    }

    /// What must be done again after the file was opened anew.
    fn repeat(self) -> Vec<Self> {
        let release = |id: String, token| {
            let settlement = Settlement {
                verdict: Verdict::NotSent,
                answer: None,
                detail: "the disk was full when it was claimed".to_owned(),
            };
            Self::Settle { id, token, settlement, reply: Reply::nobody() }
        };
        match self {
            Self::Settle { id, token, settlement, .. } => {
                vec![Self::Settle { id, token, settlement, reply: Reply::nobody() }]
            },
            Self::Arrive { reply, .. } => match reply.with.map(|with| with.arrival) {
                Some(Arrival { id, meets: Meets::Lead(lead), .. }) => {
                    vec![release(id, lead.token)]
                },
                _ => Vec::new(),
            },
            Self::Take { reply, .. } => {
                let taken = reply.with.unwrap_or_default().events;
                taken.into_iter().map(|event| release(event.id, event.lead.token)).collect()
            },
            Self::Operate { .. }
            | Self::Sweep { .. }
            | Self::Note { .. }
            | Self::Alive { .. }
            | Self::Compact { .. }
            | Self::Stop { .. } => Vec::new(),
        }
    }
}

/// Deliveries that wait to be written.
pub(super) type Noted = Mutex<HashMap<String, Deliveries>>;

/// What the writer shares with the readers.
#[derive(Debug)]
pub(super) struct Shared {
    /// The open file; `None` while it is opened anew and after a stop.
    pub(super) db: ArcSwapOption<Database>,
    /// The totals as of the last commit.
    pub(super) totals: Mutex<Totals>,
    /// Deliveries that wait to be written.
    pub(super) noted: Noted,
    health: AtomicU8,
    /// Why the store stopped for good.
    pub(super) failed: watch::Sender<Option<String>>,
}

impl Shared {
    pub(super) fn new(db: Database, totals: Totals) -> Self {
        Self {
            db: ArcSwapOption::from_pointee(db),
            totals: Mutex::new(totals),
            noted: Mutex::default(),
            health: AtomicU8::new(0),
            failed: watch::Sender::new(None),
        }
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
}

impl Writer {
    /// `claims` bounds how many claims may wait.
    pub(super) fn new(
        shared: Arc<Shared>,
        rules: Arc<Rules>,
        medium: Medium,
        settings: config::Storage,
        claims: usize,
    ) -> (Lanes, Self) {
        let claims_waiting = claims;
        let (own_in, own) = crossbeam_channel::unbounded();
        let (claims_in, claims) = crossbeam_channel::unbounded();
        let (upkeep_in, upkeep) = crossbeam_channel::unbounded();
        let lanes = Lanes { own: own_in, claims: claims_in, upkeep: upkeep_in, claims_waiting };
        (lanes, Self { own, claims, upkeep, shared, rules, medium, settings })
    }

    /// Runs until stopped or failed. A panic here would leave claims unanswered and the
    /// file in doubt: it counts as a failure.
    pub(super) fn run(self) {
        let shared = Arc::clone(&self.shared);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work()));
        shared.set_health(Health::Stopped);
        let db = shared.db.swap(None);
        match ran {
            Ok(Ok(())) => close(db),
            // Not closed: a clean close would vouch for what is in doubt.
            Ok(Err(why)) => fail(&shared, &why),
            Err(_) => fail(&shared, "the writer panicked"),
        }
    }

    fn work(&self) -> Result<(), String> {
        let mut repeat = Vec::new();
        loop {
            let mut ops = self.gather(std::mem::take(&mut repeat));
            let stop = ops.iter().any(|op| matches!(op, Op::Stop { .. }));
            let mut compact = Asked::take(&mut ops);
            match self.write(&mut ops) {
                Ok(()) => ops.iter_mut().for_each(|op| op.send(Ok(()))),
                Err(failure) if failure.is_full() => {
                    tracing::error!(error = %failure, "the disk is full: claims are refused");
                    self.shared.set_health(Health::DiskFull);
                    if let Some(asked) = compact.take() {
                        asked.refuse(Unavailable::DiskFull);
                    }
                    repeat = self.give_back(ops);
                    self.wait_for_room(&mut repeat)?;
                },
                Err(failure) => {
                    for op in &mut ops {
                        op.send(Err(Unavailable::Stopped));
                    }
                    return Err(failure.to_string());
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

    /// Waits for an operation and takes what else waits, lane by lane.
    fn gather(&self, mut ops: Vec<Op>) -> Vec<Op> {
        if ops.is_empty() && self.own.is_empty() && self.claims.is_empty() {
            // A closed lane means that the store was dropped: stop.
            let stop = || Op::Stop { reply: Reply::nobody() };
            ops.push(select! {
                recv(self.own) -> op => op.unwrap_or_else(|_| stop()),
                recv(self.claims) -> op => op.unwrap_or_else(|_| stop()),
                recv(self.upkeep) -> op => op.unwrap_or_else(|_| stop()),
            });
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

    /// One transaction. Replies are filled in, not sent.
    fn write(&self, ops: &mut [Op]) -> Result<(), Failure> {
        let db = self.shared.db.load_full().ok_or(Failure::Nothing)?;
        let mut txn = db.begin_write()?;
        txn.set_two_phase_commit(self.settings.two_phase);
        let before = self.shared.totals.lock().clone();
        let begun = Instant::now();
        let totals = transact(txn, &self.rules, before, |batch| {
            ops.iter_mut().try_for_each(|op| op.apply(batch, &self.shared.noted))
        })?;
        telemetry::committed(begun.elapsed(), ops.len());
        *self.shared.totals.lock() = totals;
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
    fn wait_for_room(&self, repeat: &mut Vec<Op>) -> Result<(), String> {
        self.drop_database()?;
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
            let db = match self.medium.reopen(&self.settings, &(Arc::new(|_| {}) as _)) {
                Ok(db) => db,
                Err(error) if error.is_full() => continue,
                Err(error) => return Err(error.to_string()),
            };
            *self.shared.totals.lock() =
                super::mend::read_totals(&db).map_err(|error| error.to_string())?;
            if let Err(error) = self.probe(&db) {
                if error.is_full() {
                    continue;
                }
                return Err(error.to_string());
            }
            self.shared.db.store(Some(Arc::new(db)));
            self.shared.set_health(Health::Ready);
            tracing::info!("there is room again: the store takes claims");
            return Ok(());
        }
    }

    /// Writes a transaction that says nothing new: is there room?
    fn probe(&self, db: &Database) -> Result<(), Failure> {
        let totals = self.shared.totals.lock().clone();
        let mut txn = db.begin_write()?;
        txn.set_two_phase_commit(self.settings.two_phase);
        drop(transact(txn, &self.rules, totals, |batch| {
            batch.touch();
            Ok(())
        })?);
        Ok(())
    }

    /// Lets go of the file.
    fn drop_database(&self) -> Result<(), String> {
        match self.take_database() {
            Ok(db) => {
                drop(db);
                Ok(())
            },
            Err(_) => Err("a read did not end within ten seconds".to_owned()),
        }
    }

    /// Takes the file from the readers; waits for them, whose reads are short. Gives back
    /// what is still read after ten seconds.
    fn take_database(&self) -> Result<Option<Database>, Arc<Database>> {
        let Some(mut db) = self.shared.db.swap(None) else { return Ok(None) };
        for _ in 0..1000 {
            match Arc::try_unwrap(db) {
                Ok(db) => return Ok(Some(db)),
                Err(still_read) => db = still_read,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(db)
    }
}

fn close(db: Option<Arc<Database>>) {
    let Some(db) = db.and_then(Arc::into_inner) else {
        tracing::warn!("the file was still read when it was closed: the next start repairs it");
        return;
    };
    if let Err(error) = db.close() {
        tracing::error!(%error, "the file could not be closed cleanly");
    }
}

fn fail(shared: &Shared, why: &str) {
    tracing::error!(error = why, "the store failed and stops");
    shared.failed.send_replace(Some(why.to_owned()));
}
