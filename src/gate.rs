//! One source at run time, and one attempt: deliver, then settle, whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::Source;
use crate::deliver::{Attempt, BadTarget, Origin, Report, Trust, Upstream};
use crate::key::{self, Rule};
use crate::record::{Label, Lead, Settled, Settlement, Token, Verdict, signal_of};
use crate::store::{Store, Unavailable};
use crate::telemetry::{self, Meters};
use crate::time::{self, Millis};
use crate::verify::Delivery;

pub mod certificates;
mod earlier;
mod fetch;
pub mod rejections;
pub mod replays;

pub use certificates::{Certificates, Missed};
#[cfg(test)]
pub(crate) use fetch::Reach;
pub use rejections::{Rejected, Rejections};
pub use replays::{Content, Replay, Replays};

/// What outlives any one request: the store, the tasks, the two ends of the process.
#[derive(Clone, Debug)]
pub struct Life {
    /// Where events are kept.
    pub store: Arc<dyn Store>,
    /// Every task that a stop must wait for.
    pub tasks: TaskTracker,
    /// A stop was asked for: accept nothing more, take nothing from the queue.
    pub stop: CancellationToken,
    /// The grace of a stop is over: refuse what comes now.
    pub shut: CancellationToken,
    /// The drain is over: what is still open becomes unknown.
    pub cut: CancellationToken,
}

/// One source at run time.
#[derive(Debug)]
pub struct Gate {
    /// Its settings.
    pub source: Arc<Source>,
    /// Its series.
    pub meters: Meters,
    /// Wakes the queue: something may be due.
    pub wake: Notify,
    /// What was turned away lately.
    pub rejections: Rejections,
    /// The certificates that its provider signs with, if it does so.
    pub certificates: Option<Certificates>,
    /// What was signed lately.
    replays: Replays,
    /// When the last verified delivery arrived, in milliseconds; 0 before the first.
    last_delivery: AtomicU64,
    /// Tells copies that wait: a run of a signal has ended.
    pub run_ended: Notify,
    /// The key rules of before that find copies of older events.
    old_keys: Vec<Rule>,
    upstream: Upstream,
    slots: Arc<Semaphore>,
    /// Whether the queue had taken all that was due when it last looked.
    caught_up: AtomicBool,
}

/// A claim, and what is sent for it.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// `<source>:<key>`.
    pub id: &'a str,
    /// The claim.
    pub lead: &'a Lead,
    /// What is sent.
    pub delivery: &'a Delivery,
    /// Where it came from, if that is known.
    pub origin: Option<Origin>,
}

/// What came of an attempt, and whether that is on disk.
#[derive(Debug)]
pub struct Ended {
    /// What the application did.
    pub report: Report,
    /// What recording it did.
    pub settled: Result<Settled, Unavailable>,
    /// How long the attempt took.
    pub took: Duration,
}

impl Gate {
    /// The gate of `source`, which had other key rules before.
    pub fn new(
        source: Arc<Source>,
        old_keys: &[key::Spec],
        trust: &Trust,
    ) -> Result<Self, BadTarget> {
        let certified = source.verify_spec.scheme.is_certified();
        let certificates = certified.then(|| Certificates::new(&source.name, trust)).transpose()?;
        Ok(Self {
            certificates,
            old_keys: old_keys.iter().filter_map(|spec| Rule::new(spec).ok()).collect(),
            meters: Meters::new(&source.name),
            wake: Notify::new(),
            rejections: Rejections::default(),
            replays: Replays::default(),
            last_delivery: AtomicU64::new(0),
            run_ended: Notify::new(),
            upstream: Upstream::new(&source, trust)?,
            slots: Arc::new(Semaphore::new(source.concurrency)),
            caught_up: AtomicBool::new(false),
            source,
        })
    }

    /// Counts and keeps a delivery that was turned away.
    pub fn reject(&self, rejected: Rejected) {
        self.meters.rejected(rejected.reason);
        self.rejections.add(rejected);
    }

    /// Notes when a verified delivery arrived.
    pub fn seen(&self, at: Millis) {
        self.meters.seen(at);
        self.last_delivery.fetch_max(at.0, Ordering::Relaxed);
    }

    /// When the last verified delivery of this run of the process arrived.
    pub fn last_delivery(&self) -> Option<Millis> {
        Some(Millis(self.last_delivery.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    /// A slot for one attempt; waits for one as long as the provider can.
    pub async fn slot(&self, life: &Life) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.slots).acquire_owned();
        let free = async {
            // A provider that never sends again waits to the end.
            if self.source.provider_retries {
                timeout(self.source.wait, free).await.ok()?.ok()
            } else {
                free.await.ok()
            }
        };
        tokio::select! { slot = free => slot, () = life.shut.cancelled() => None }
    }

    /// A slot that an event which arrives now may use at once: nothing waits for it.
    pub fn spare_slot(&self, life: &Life) -> Option<OwnedSemaphorePermit> {
        let spare = self.caught_up.load(Ordering::Relaxed) && !life.stop.is_cancelled();
        spare.then(|| Arc::clone(&self.slots).try_acquire_owned().ok()).flatten()
    }

    /// Notes whether the queue has taken all that is due.
    pub fn caught_up(&self, all: bool) {
        self.caught_up.store(all, Ordering::Relaxed);
    }

    /// All slots that are free now, once at least one is.
    pub async fn slots(&self) -> Vec<OwnedSemaphorePermit> {
        let mut slots: Vec<_> = Arc::clone(&self.slots).acquire_owned().await.into_iter().collect();
        while let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            slots.push(slot);
        }
        slots
    }

    /// Attempts once and records what came of it. If this task dies, that is recorded too:
    /// the outcome is unknown then. `slot` is free again once the application is done: what
    /// is left is the disk's work, and need not keep the application idle.
    pub async fn attempt(
        &self,
        life: &Life,
        claimed: Claimed<'_>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Ended {
        let Claimed { id, lead, delivery, origin } = claimed;
        let open = Open::new(life, id, lead.token);
        let begun = Instant::now();
        let attempt = Attempt {
            id,
            number: lead.attempt,
            doubt: lead.doubt,
            received: lead.received,
            now: clock::wall(),
            delivery,
            origin,
        };
        let report = tokio::select! {
            report = self.upstream.attempt(&attempt) => report,
            () = life.cut.cancelled() => {
                Report::without(Verdict::Unknown, "the gateway stopped".to_owned())
            },
        };
        drop(slot);
        let took = begun.elapsed();
        self.meters.attempted(report.settlement.verdict, took);
        let settled = open.settle(report.settlement.clone()).await;
        self.run_ended(id);
        match settled {
            // Due again, perhaps before what the queue sleeps for.
            Ok(Settled::Now(Label::Queued)) => self.wake.notify_one(),
            Ok(Settled::Now(_)) => {},
            Ok(Settled::Stale) => telemetry::stale_settlement(),
            Err(error) => {
                tracing::error!(event = id, %error, "a settlement was not recorded");
                // A full disk's settlements are repeated: this one may make the event due.
                self.wake.notify_one();
            },
        }
        Ended { report, settled, took }
    }

    /// The same of an event that we owe: nobody waits for what comes of it, so that is told here.
    pub async fn attempt_owed(
        &self,
        life: &Life,
        claimed: Claimed<'_>,
        slot: Option<OwnedSemaphorePermit>,
    ) {
        let Claimed { id, lead, .. } = claimed;
        let ended = self.attempt(life, claimed, slot).await;
        let settlement = &ended.report.settlement;
        let state = match ended.settled {
            Ok(Settled::Now(label)) => label.word(),
            Ok(Settled::Stale) => "stale",
            Err(_) => "unrecorded",
        };
        tracing::info!(
            source = self.source.name,
            key = id.split_once(':').map(|(_, key)| key),
            attempt = lead.attempt,
            token = lead.token.0,
            result = settlement.verdict.word(),
            upstream_status = settlement.answer.as_ref().map(|answer| answer.status),
            detail = settlement.detail,
            state,
            duration_ms = time::millis(ended.took),
            "attempt"
        );
        if ended.settled == Ok(Settled::Now(Label::Dead)) {
            tracing::error!(event = id, "an event is dead: its attempts are spent");
        }
    }

    /// Gives back a claim before a byte was sent.
    pub async fn release(&self, life: &Life, id: &str, lead: &Lead) {
        let (verdict, detail) = (Verdict::NotSent, "the claim was given back".to_owned());
        let settlement = Settlement { verdict, answer: None, detail };
        if let Err(error) = Open::new(life, id, lead.token).settle(settlement).await {
            tracing::error!(event = id, %error, "a claim was not given back");
        }
        self.run_ended(id);
    }

    /// The next run of the signal, if `id` is a run of one, waits for this.
    fn run_ended(&self, id: &str) {
        if signal_of(id).is_some() {
            self.wake.notify_one();
            self.run_ended.notify_waiters();
        }
    }
}

/// An open attempt. Dropped without a settlement, it settles itself as unknown.
struct Open<'a> {
    life: &'a Life,
    id: &'a str,
    token: Token,
    settled: bool,
}

impl<'a> Open<'a> {
    fn new(life: &'a Life, id: &'a str, token: Token) -> Self {
        Self { life, id, token, settled: false }
    }

    async fn settle(mut self, settlement: Settlement) -> Result<Settled, Unavailable> {
        // From here on the writer has it: the settlement goes in before the first await.
        self.settled = true;
        self.life.store.settle(self.id, self.token, settlement).await
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (store, id, token) = (Arc::clone(&self.life.store), self.id.to_owned(), self.token);
        let settlement = Settlement {
            verdict: Verdict::Unknown,
            answer: None,
            detail: "the task of the attempt died".to_owned(),
        };
        self.life.tasks.spawn(async move {
            if let Err(error) = store.settle(&id, token, settlement).await {
                tracing::error!(event = id, %error, "a dead attempt was not recorded");
            }
        });
    }
}

#[cfg(test)]
pub(crate) mod tests;
