//! [`Store`] on one redb file: reads inline, writes through the writer's lanes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::file::{Medium, OpenError, Progress};
use super::layers::{Base, View};
use super::list::{self, Position, Wanted};
use super::log::Log;
use super::rows::{Failure, Key};
use super::rules::{Rules, SourceRules};
use super::start::{Start, start};
use super::totals::Totals;
use super::writer::{Lanes, NOTES, Op, Reply, Shared, Writer, layer_limit};
use super::young::Pass;
use super::{
    Arrived, Compacted, Filter, Health, ListError, Page, Payload, Seen, Stats, Store, Story, Swept,
    Taken, Unavailable,
};
use super::{check, checkpoint, codec};
use crate::clock::Clock;
use crate::record::{Act, Copy, Event, Label, Refused, Settled, Settlement, Token};
use crate::{config, key};

/// Events whose deliveries may wait to be written; a flush is due long before.
const NOTED_EVENTS: usize = 100_000;

/// The events of one redb file.
pub struct RedbStore {
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Arc<Rules>,
    lanes: Lanes,
    medium: Medium,
    disk_low: AtomicBool,
    reserve: u64,
    /// What the start found in flight and settled as unknown.
    recovered: usize,
    /// By source, the key rules of before that copies are still looked up by.
    old_keys: BTreeMap<String, Vec<key::Spec>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("medium", &self.medium).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the file, settles what another boot left in flight, and starts the writer.
    pub fn open(
        medium: Medium,
        settings: &config::Storage,
        sources: BTreeMap<String, SourceRules>,
        clock: Arc<Clock>,
    ) -> Result<Self, OpenError> {
        Self::open_telling(medium, settings, sources, clock, &(Arc::new(|_| {}) as _))
    }

    /// The same; `tell` hears of what may take long.
    pub fn open_telling(
        medium: Medium,
        settings: &config::Storage,
        sources: BTreeMap<String, SourceRules>,
        clock: Arc<Clock>,
        tell: &Progress,
    ) -> Result<Self, OpenError> {
        let name = format!("{medium:?}");
        // redb may panic on a damaged page; so may the first look at the tables.
        let open = || Self::try_open(medium, settings, sources, clock, tell);
        catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(OpenError::Damaged(name, "redb panicked".to_owned())))
    }

    fn try_open(
        medium: Medium,
        settings: &config::Storage,
        sources: BTreeMap<String, SourceRules>,
        clock: Arc<Clock>,
        tell: &Progress,
    ) -> Result<Self, OpenError> {
        let db = medium.open(settings, tell)?;
        let mark = checkpoint::mark(&db).map_err(|failure| medium.explain(failure))?;
        let files = medium.open_log(mark.open)?;
        let rules = Arc::new(Rules::new(sources, clock));
        let Start { base, mark, totals, recovered, old_keys } =
            start(db, &files, mark, &rules).map_err(|failure| medium.explain(failure))?;

        let expected = u64::try_from(layer_limit(settings.cache)).unwrap_or(u64::MAX);
        let needed = settings.reserve.saturating_add(expected.saturating_mul(2));
        let expected = if medium.free().is_none_or(|free| free > needed) { expected } else { 0 };
        let log =
            Log::begin(files, mark, expected).map_err(|cause| medium.explain(cause.into()))?;
        let shared = Arc::new(Shared::new(base, totals));
        let (lanes, writer) = Writer::new(
            Arc::clone(&shared),
            Arc::clone(&rules),
            medium.clone(),
            settings.clone(),
            log,
            Pass::new(layer_limit(settings.cache)),
        )
        .map_err(|cause| OpenError::Io { path: "checkpoint thread".to_owned(), cause })?;
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(|| writer.run())
            .map_err(|cause| OpenError::Io { path: "writer thread".to_owned(), cause })?;
        Ok(Self {
            shared,
            rules,
            lanes,
            medium,
            disk_low: AtomicBool::new(false),
            reserve: settings.reserve,
            recovered,
            old_keys,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How many attempts of another boot were settled as unknown at start.
    pub fn recovered(&self) -> usize {
        self.recovered
    }

    /// The key rules that `source` had before, and that find copies of older events.
    pub fn old_keys(&self, source: &str) -> &[key::Spec] {
        self.old_keys.get(source).map_or(&[], Vec::as_slice)
    }

    /// Whether the clock may be wrong: at start it was more than 24 hours away from the last
    /// time the store saw. Nothing must expire by it.
    pub fn clock_in_doubt(&self) -> bool {
        self.rules.clock_in_doubt.load(Ordering::Relaxed)
    }

    /// Takes the clock for right from now on.
    pub fn trust_clock(&self) {
        self.rules.clock_in_doubt.store(false, Ordering::Relaxed);
    }

    /// Looks whether free space is below the reserve; new events are refused while it is.
    pub fn watch_disk(&self) {
        let low = self.medium.free().is_some_and(|free| free < self.reserve);
        if low != self.disk_low.swap(low, Ordering::Relaxed) {
            if low {
                tracing::error!("free space is below `storage.reserve`: new events are refused");
            } else {
                tracing::info!("free space is above `storage.reserve` again");
            }
        }
    }

    /// Why the file cannot be read now.
    fn closed(&self) -> Unavailable {
        match self.shared.health() {
            Health::DiskFull => Unavailable::DiskFull,
            Health::Compacting => Unavailable::Compacting,
            Health::Ready | Health::DiskLow | Health::Stopped => Unavailable::Stopped,
        }
    }

    /// Lists what does not fit together in the file: a walk over all of it, as of one
    /// moment. On a busy store the file grows while it runs.
    pub fn check(&self) -> Result<Vec<String>, Unavailable> {
        self.read_file(|base| check::check(base.view(), &self.rules))
    }

    /// The stored bytes of an event: its body in slot 0, kept copies in slots 1 to 3. What
    /// cannot be read is left out.
    pub fn payloads(&self, id: &str) -> Result<Vec<(u8, Payload)>, Unavailable> {
        self.read(|view| self.read_payloads(view, id))
    }

    /// Whether no event can be what this is a copy of; told without a lock.
    fn is_new(&self, copy: &Copy) -> bool {
        let unknown = |id: String| !self.shared.bloom.may_have(&Key::id(&id));
        copy.earlier.is_none()
            && self.rules.signals(&copy.id).is_empty()
            && self.rules.ids(&copy.id).into_iter().all(unknown)
    }

    /// Reads all that is durable: a few rows, as the writer waits meanwhile.
    fn read<T>(&self, read: impl FnOnce(View<'_>) -> Result<T, Failure>) -> Result<T, Unavailable> {
        let layers = self.shared.layers.read();
        let view = layers.view().ok_or_else(|| self.closed())?.with(&self.shared.bloom);
        caught(|| read(view))
    }

    /// Reads the file once it has all that is durable now, for as long as it takes. Blocks.
    fn read_file<T>(
        &self,
        read: impl FnOnce(&Base) -> Result<T, Failure>,
    ) -> Result<T, Unavailable> {
        if self.shared.health() == Health::Compacting {
            return Err(Unavailable::Compacting);
        }
        let (reply, receiver) = Reply::blocking();
        self.lanes.upkeep(Op::Checkpoint { reply })?;
        receiver.recv().unwrap_or(Err(Unavailable::Stopped))?;
        let base = self.shared.layers.read().base.clone().ok_or_else(|| self.closed())?;
        caught(|| read(&base))
    }

    /// Events by the source that they belong to now, and state.
    fn counts(&self, totals: &Totals) -> Vec<(String, Label, u64)> {
        let mut counts: BTreeMap<(&str, Label), u64> = BTreeMap::new();
        for (name, label, count) in totals.all() {
            if let Some(source) = self.rules.configured(name) {
                let sum = counts.entry((source, label)).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        counts.into_iter().map(|((source, label), n)| (source.to_owned(), label, n)).collect()
    }

    async fn reply<T>(
        receiver: oneshot::Receiver<Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        receiver.await.unwrap_or(Err(Unavailable::Stopped))
    }

    /// Why nothing new is claimed now, if so.
    fn refuses(&self) -> Option<Unavailable> {
        match self.health() {
            Health::Ready => None,
            Health::DiskLow => Some(Unavailable::DiskLow),
            Health::DiskFull => Some(Unavailable::DiskFull),
            Health::Compacting => Some(Unavailable::Compacting),
            Health::Stopped => Some(Unavailable::Stopped),
        }
    }

    async fn claim(
        &self,
        copy: Copy,
        payload: &Payload,
        slot: bool,
    ) -> Result<Arrived, Unavailable> {
        if let Some(why) = self.refuses() {
            // A copy of what is stored needs no room.
            return self.look(&copy)?.ok_or(why);
        }
        let payload = codec::encode(payload).map_err(|_| Unavailable::Stopped)?;
        let (reply, receiver) = Reply::new();
        let op = Op::Arrive { copy, payload: Some(payload), slot, reply };
        self.lanes.claim(op)?;
        Self::reply(receiver).await
    }

    /// Our own lane: bounded by its senders, so it never refuses.
    async fn own<T>(&self, make: impl FnOnce(Reply<T>) -> Op) -> Result<T, Unavailable> {
        let (reply, receiver) = Reply::new();
        self.lanes.own(make(reply))?;
        Self::reply(receiver).await
    }

    async fn upkeep<T>(&self, make: impl FnOnce(Reply<T>) -> Op) -> Result<T, Unavailable> {
        // What an operator or the clock asks would wait for as long as the compaction takes.
        if self.shared.health() == Health::Compacting {
            return Err(Unavailable::Compacting);
        }
        self.upkeep_in_turn(make).await
    }

    /// The same, after a compaction if one goes on.
    async fn upkeep_in_turn<T>(&self, make: impl FnOnce(Reply<T>) -> Op) -> Result<T, Unavailable> {
        let (reply, receiver) = Reply::new();
        self.lanes.upkeep(make(reply))?;
        Self::reply(receiver).await
    }
}

#[async_trait]
impl Store for RedbStore {
    fn look(&self, copy: &Copy) -> Result<Option<Arrived>, Unavailable> {
        if self.is_new(copy) {
            return Ok(None);
        }
        self.read(|view| self.read_arrival(view, copy))
    }

    async fn arrive(&self, copy: Copy, payload: &Payload) -> Result<Arrived, Unavailable> {
        self.claim(copy, payload, false).await
    }

    async fn arrive_with_slot(
        &self,
        copy: Copy,
        payload: &Payload,
    ) -> Result<Arrived, Unavailable> {
        self.claim(copy, payload, true).await
    }

    async fn arrive_all(
        &self,
        elements: Vec<(Copy, Payload)>,
    ) -> Result<Vec<Arrived>, Unavailable> {
        if let Some(why) = self.refuses() {
            let looked = elements.iter().map(|(copy, _)| self.look(copy)?.ok_or(why));
            return looked.collect();
        }
        let encoded = elements.into_iter().map(|(copy, payload)| {
            let payload = codec::encode(&payload).map_err(|_| Unavailable::Stopped)?;
            Ok((copy, Some(payload)))
        });
        let elements = encoded.collect::<Result<_, _>>()?;
        let (reply, receiver) = Reply::new();
        self.lanes.claim(Op::ArriveAll { elements, reply })?;
        Self::reply(receiver).await
    }

    async fn settle(
        &self,
        id: &str,
        token: Token,
        settlement: Settlement,
    ) -> Result<Settled, Unavailable> {
        let id = id.to_owned();
        self.own(|reply| Op::Settle { id, token, settlement, reply }).await
    }

    async fn take_due(&self, source: &str, limit: usize) -> Result<Taken, Unavailable> {
        let source = source.to_owned();
        self.own(|reply| Op::Take { source, limit, reply }).await
    }

    async fn operate(
        &self,
        id: &str,
        act: Act,
        note: &str,
    ) -> Result<Result<Label, Refused>, Unavailable> {
        let (id, note) = (id.to_owned(), note.to_owned());
        self.upkeep(|reply| Op::Operate { id, act, note, reply }).await
    }

    async fn sweep(&self) -> Result<Swept, Unavailable> {
        self.upkeep(|reply| Op::Sweep { reply }).await
    }

    fn note(&self, id: &str, seen: Seen) {
        let mut noted = self.shared.noted.lock();
        if noted.len() < NOTED_EVENTS || noted.contains_key(id) {
            noted.entry(id.to_owned()).or_default().add(seen);
        }
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        // No more than wait now: under load there are always some.
        let waiting = self.shared.noted.lock().len();
        for _ in 0..waiting.div_ceil(NOTES) {
            self.upkeep(|reply| Op::Note { of: Vec::new(), taken: HashMap::new(), reply }).await?;
        }
        Ok(())
    }

    async fn story(&self, id: &str) -> Result<Option<Story>, Unavailable> {
        // Also when none wait: another flush may have taken them and not committed yet. The
        // writer does one thing after the other, so this returns after that.
        // They are noted under the id that the event was born with.
        let born = self.event(id)?.map(|event| event.id);
        let of = self.rules.ids(id).into_iter().chain(born).collect();
        if let Err(error) = self.upkeep(|reply| Op::Note { of, taken: HashMap::new(), reply }).await
        {
            // The story still has all that could be written.
            tracing::debug!(%error, "deliveries wait to be written");
        }
        self.read(|view| self.read_story(view, id))
    }

    fn event(&self, id: &str) -> Result<Option<Event>, Unavailable> {
        self.read(|view| self.read_event(view, id))
    }

    fn body(&self, id: &str) -> Result<Option<Payload>, Unavailable> {
        self.read(|view| self.read_body(view, id))
    }

    fn list(&self, filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<Page, ListError> {
        let from = cursor.map(|cursor| Position::open(cursor, filter)).transpose()?;
        let now = self.rules.clock.now();
        let names = filter.source.as_deref().map(|source| {
            let now = self.rules.configured(source).unwrap_or(source);
            self.rules.names(now).map(str::to_owned).collect()
        });
        let wanted = Wanted { filter, names };
        Ok(self.read_file(|base| {
            let totals = self.shared.totals.lock().clone();
            list::page(base, &totals, &wanted, from.as_ref(), limit, now)
        })?)
    }

    async fn compact(&self) -> Result<Compacted, Unavailable> {
        // From here on nothing new is claimed: what waits already goes first.
        self.shared.begin_compacting()?;
        let (reply, receiver) = Reply::new();
        if let Err(error) = self.lanes.upkeep(Op::Compact { begun: Instant::now(), reply }) {
            self.shared.end_compacting();
            return Err(error);
        }
        Self::reply(receiver).await
    }

    fn stats(&self) -> Stats {
        let now = self.rules.clock.now();
        let oldest = self.read(|view| self.read_oldest(view)).unwrap_or_default();
        let totals = self.shared.totals.lock();
        Stats {
            counts: self.counts(&totals),
            orphaned: totals
                .all()
                .filter(|(name, _, count)| *count > 0 && self.rules.configured(name).is_none())
                .map(|(name, label, count)| (name.to_owned(), label, count))
                .collect(),
            oldest: oldest.into_iter().map(|(source, due)| (source, now.since(due))).collect(),
            bytes: self.medium.bytes(),
        }
    }

    async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the store was dropped".to_owned(),
        }
    }

    fn health(&self) -> Health {
        let health = self.shared.health();
        let low = health == Health::Ready && self.disk_low.load(Ordering::Relaxed);
        if low { Health::DiskLow } else { health }
    }

    async fn alive(&self) -> Result<(), Unavailable> {
        // It takes as long as the file is large, and a kill would only begin it again.
        if self.shared.health() == Health::Compacting {
            return Err(Unavailable::Compacting);
        }
        self.own(|reply| Op::Alive { reply }).await
    }

    async fn close(&self) {
        while !self.shared.noted.lock().is_empty() {
            let note = |reply| Op::Note { of: Vec::new(), taken: HashMap::new(), reply };
            if let Err(error) = self.upkeep_in_turn(note).await {
                tracing::warn!(%error, "the last deliveries' notes could not be written");
                break;
            }
        }
        let (reply, receiver) = Reply::<()>::new();
        if self.lanes.stop(reply).is_ok() {
            // Either way the thread ends, and is waited for below.
            drop(receiver.await);
        }
        let Some(thread) = self.thread.lock().take() else { return };
        if tokio::task::spawn_blocking(|| thread.join()).await.is_err() {
            tracing::error!("the writer could not be waited for");
        }
    }
}

/// redb may panic on a damaged page: that is an error of this read, not the end of whoever
/// asked.
fn caught<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Unavailable> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) => tracing::error!(%error, "a read failed"),
        Err(_) => tracing::error!("a read met a damaged page"),
    }
    Err(Unavailable::Stopped)
}
