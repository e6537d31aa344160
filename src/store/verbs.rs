//! Each verb of the store, inside one write transaction: find the event, let the pure
//! transition decide, write what it decided.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redb::{ReadableTable, StorageError, WriteTransaction};

use super::codec::{Damaged, Encoded};
use super::tables::{self, Failure, Found, Place, Tables};
use super::totals::Totals;
use super::{Arrived, Deliveries, Swept, Taken, TakenEvent};
use crate::clock::Clock;
use crate::record::{
    self, Act, Boot, Change, Context, Copy, Event, Expiry, Finish, Label, Meets, Mode, OnMismatch,
    OnUnknown, Policy, Refused, Retry, Settled, Settlement, State, Token, Verdict,
};
use crate::time::Millis;

/// The most bytes of bodies that one take brings into memory, beyond its first event.
const TAKE_BYTES: u64 = 32 << 20;
/// Events one batch of the sweep looks at: a few milliseconds of the writer's time.
const SWEEP_EVENTS: usize = 256;

/// What transitions depend on besides the file.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) orphan: Policy,
    pub(super) boot: Boot,
    pub(super) clock: Arc<Clock>,
    /// The clock may be wrong: what it says now must not become the time the next start is
    /// measured against.
    pub(super) clock_in_doubt: AtomicBool,
    /// Which source the next batch of the sweep begins with.
    sweep_from: AtomicUsize,
}

impl Rules {
    pub(super) fn new(policies: BTreeMap<String, Policy>, clock: Arc<Clock>) -> Self {
        let boot = Boot(uuid::Uuid::new_v4().as_u64_pair().0);
        Self {
            policies,
            orphan: orphan(),
            boot,
            clock,
            clock_in_doubt: AtomicBool::new(false),
            sweep_from: AtomicUsize::new(0),
        }
    }

    pub(super) fn context(&self, id: &str, token: Token, now: Millis) -> Context<'_> {
        let source = id.split_once(':').map_or("", |(source, _)| source);
        let policy = self.policies.get(source).unwrap_or(&self.orphan);
        Context { now, policy, token, boot: self.boot, draw: fastrand::f64() }
    }
}

/// The rules for events of a source that is no longer configured: nothing is given up,
/// nothing expires.
fn orphan() -> Policy {
    Policy {
        mode: Mode::Queue,
        on_unknown: OnUnknown::Redeliver,
        on_mismatch: OnMismatch::Flag,
        retry: Retry {
            attempts: u32::MAX,
            first: Duration::ZERO,
            factor: 1.0,
            max: Duration::ZERO,
            jitter: false,
        },
        ttl: Duration::MAX,
        keep: Duration::MAX,
        dead_ttl: None,
    }
}

/// A write transaction in which verbs are applied one after the other.
pub(super) struct Batch<'txn> {
    tables: Tables<'txn>,
    totals: Totals,
    rules: &'txn Rules,
    now: Millis,
    /// Whether anything was written.
    dirty: bool,
    /// Records that could not be read and are Held now.
    damaged: Vec<String>,
}

/// Lets `verbs` act in one transaction and commits it. Returns the totals after it.
pub(super) fn transact(
    txn: WriteTransaction,
    rules: &Rules,
    totals: Totals,
    verbs: impl FnOnce(&mut Batch<'_>) -> Result<(), Failure>,
) -> Result<Totals, Failure> {
    let before = totals.clone();
    let mut batch = Batch {
        tables: Tables::open(&txn)?,
        totals,
        rules,
        now: rules.clock.now(),
        dirty: false,
        damaged: Vec::new(),
    };
    verbs(&mut batch)?;
    if !batch.dirty {
        drop(batch);
        txn.abort()?;
        return Ok(before);
    }
    if !rules.clock_in_doubt.load(Ordering::Relaxed) {
        batch.totals.seen = batch.now;
    }
    batch.tables.put_totals(&batch.totals)?;
    let (totals, damaged) = batch.end();
    txn.commit()?;
    for id in damaged {
        tracing::error!(event = id, "a stored record was damaged; the event is held");
    }
    Ok(totals)
}

impl Batch<'_> {
    /// Has the totals written, though nothing changed.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Lets go of the tables, so that the transaction can end.
    fn end(self) -> (Totals, Vec<String>) {
        (self.totals, self.damaged)
    }

    pub(super) fn arrive(
        &mut self,
        copy: &Copy,
        payload: Option<Encoded>,
    ) -> Result<Arrived, Failure> {
        let mut stored = self.find(&copy.id)?;
        let mut answer = None;
        if let Some((seq, Event { finish: Some(Finish::Answered), .. })) = &stored {
            match tables::answer(&self.tables.answers, *seq)? {
                Ok(found) => answer = Some(found),
                Err(Damaged) => stored = self.lose_answer(stored)?,
            }
        }
        let token = self.totals.draw_token();
        let cx = self.rules.context(&copy.id, token, self.now);
        let change = record::arrive(stored.as_ref().map(|(_, event)| event), copy, &cx);
        let seq = match &stored {
            Some((seq, _)) => *seq,
            None => self.totals.draw(),
        };
        self.put(seq, stored.as_ref().map(|(_, event)| event), &change, payload)?;
        if change.reply.meets != Meets::Duplicate(Finish::Answered) {
            answer = None;
        }
        Ok(Arrived { arrival: change.reply, answer })
    }

    pub(super) fn settle(
        &mut self,
        id: &str,
        token: Token,
        settlement: &Settlement,
    ) -> Result<Settled, Failure> {
        let Some((seq, event)) = self.find(id)? else { return Ok(Settled::Stale) };
        let cx = self.rules.context(id, Token::default(), self.now);
        let change = record::settle(Some(&event), token, settlement, &cx);
        self.put(seq, Some(&event), &change, None)?;
        Ok(change.reply)
    }

    pub(super) fn take_due(&mut self, source: &str, limit: usize) -> Result<Taken, Failure> {
        let mut taken = Taken::default();
        let mut bytes: u64 = 0;
        let rows = self.rows(source, Place::Queued, 0..=u64::MAX, limit.saturating_add(1))?;
        if rows.len() > limit {
            taken.next_due = rows.last().map(|(at, _)| Millis(*at));
        }
        for (at, seq) in rows {
            if at > self.now.0 || taken.events.len() == limit || bytes > TAKE_BYTES {
                taken.next_due = Some(Millis(at));
                break;
            }
            let Some(event) = self.resolve(source, Place::Queued, at, seq)? else { continue };
            let Ok(payload) = self.tables.body(seq)? else {
                self.hold_without_body(seq, &event)?;
                continue;
            };
            let token = self.totals.draw_token();
            let cx = self.rules.context(&event.id, token, self.now);
            let Some(change) = record::take(&event, &cx) else { continue };
            self.put(seq, Some(&event), &change, None)?;
            bytes = bytes.saturating_add(event.body.bytes);
            taken.events.push(TakenEvent { id: event.id, lead: change.reply, payload });
        }
        Ok(taken)
    }

    pub(super) fn operate(
        &mut self,
        id: &str,
        act: Act,
        note: &str,
    ) -> Result<Result<Label, Refused>, Failure> {
        let stored = self.find(id)?;
        let cx = self.rules.context(id, Token::default(), self.now);
        let event = stored.as_ref().map(|(_, event)| event);
        let change = match record::operate(event, act, note, &cx) {
            Ok(change) => change,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some((seq, event)) = &stored {
            if change.event.is_none() {
                self.dirty = true;
                self.tables.forget(&mut self.totals, *seq, event)?;
            }
            self.put(*seq, Some(event), &change, None)?;
        }
        Ok(Ok(change.reply))
    }

    pub(super) fn sweep(&mut self) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let mut left = SWEEP_EVENTS;
        // Each batch begins with another source, so that a busy one keeps none from its turn.
        let count = self.rules.policies.len();
        let from = self.rules.sweep_from.fetch_add(1, Ordering::Relaxed);
        let from = from.checked_rem(count).unwrap_or(0);
        for (source, policy) in self.rules.policies.iter().cycle().skip(from).take(count) {
            let ages = [
                (Place::Open, Some(policy.ttl)),
                (Place::Done, Some(policy.ttl.min(policy.keep))),
                (Place::Bare, Some(policy.ttl)),
                (Place::Dead, policy.dead_ttl),
            ];
            let mut forgotten: u64 = 0;
            for (place, age) in ages {
                let Some(age) = age else { continue };
                for (at, seq) in self.rows(source, place, 0..=self.now.minus(age).0, left)? {
                    left = left.saturating_sub(1);
                    forgotten += u64::from(self.expire(source, place, at, seq, &mut swept)?);
                }
            }
            if forgotten > 0 {
                swept.forgotten.push((source.clone(), forgotten));
            }
        }
        swept.more = left == 0;
        Ok(swept)
    }

    /// Lets time act on one event; true if it was forgotten.
    fn expire(
        &mut self,
        source: &str,
        place: Place,
        at: u64,
        seq: u64,
        swept: &mut Swept,
    ) -> Result<bool, Failure> {
        let Some(event) = self.resolve(source, place, at, seq)? else { return Ok(false) };
        let cx = self.rules.context(&event.id, Token::default(), self.now);
        match record::expire(&event, &cx) {
            Expiry::Stays => Ok(false),
            Expiry::DropBody => {
                self.tables.drop_bodies(seq)?;
                self.put(seq, Some(&event), &event.without_body(self.now), None)?;
                Ok(false)
            },
            Expiry::Forget => {
                self.dirty = true;
                self.tables.forget(&mut self.totals, seq, &event)?;
                if event.state == State::Dead {
                    swept.dead.push(event.id);
                }
                Ok(true)
            },
        }
    }

    /// Writes what was noted of deliveries; an event forgotten meanwhile has no story.
    pub(super) fn note(&mut self, noted: &HashMap<String, Deliveries>) -> Result<(), Failure> {
        for (id, later) in noted {
            let Some((seq, _)) = self.find(id)? else { continue };
            let mut deliveries = tables::deliveries(&self.tables.deliveries, seq)?;
            deliveries.merge(later.clone());
            self.dirty = true;
            self.tables.put_deliveries(seq, &deliveries)?;
        }
        Ok(())
    }

    /// At start: what another boot left in flight is unknown.
    pub(super) fn recover(&mut self) -> Result<usize, Failure> {
        let mut recovered: usize = 0;
        let settlement = Settlement {
            verdict: Verdict::Unknown,
            answer: None,
            detail: "the process ended while the attempt ran".to_owned(),
        };
        for source in tables::sources(&self.tables.agenda)? {
            let Some(policy) = self.rules.policies.get(&source) else {
                // Left as it is: only its own `on_unknown` may decide.
                tracing::warn!(source, "there are events of a source that is not configured");
                continue;
            };
            let late = self.now.plus(policy.retry.max).0.saturating_add(1);
            for (at, seq) in self.rows(&source, Place::Queued, late..=u64::MAX, usize::MAX)? {
                if let Some(event) = self.resolve(&source, Place::Queued, at, seq)? {
                    // Further off than any back-off: it was set by a clock that was ahead.
                    self.put(seq, Some(&event), &event.due_now(self.now), None)?;
                }
            }
            for (at, seq) in self.rows(&source, Place::InFlight, 0..=u64::MAX, usize::MAX)? {
                let Some(event) = self.resolve(&source, Place::InFlight, at, seq)? else {
                    continue;
                };
                if matches!(event.state, State::InFlight { boot } if boot == self.rules.boot) {
                    continue;
                }
                self.settle(&event.id, event.token, &settlement)?;
                recovered = recovered.saturating_add(1);
            }
        }
        Ok(recovered)
    }

    /// Rows of one place of the agenda, oldest first.
    fn rows(
        &self,
        source: &str,
        place: Place,
        at: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Failure> {
        let (first, last) = (*at.start(), *at.end());
        let place = place.number();
        let range = (source, place, first, 0)..=(source, place, last, u64::MAX);
        let mut rows = Vec::new();
        for row in self.tables.agenda.range(range)?.take(limit) {
            let (key, _) = row?;
            let (_, _, at, seq) = key.value();
            rows.push((at, seq));
        }
        Ok(rows)
    }

    /// The event that a row of the agenda points at. A row that does not match is removed,
    /// a record that cannot be read is replaced by a Held one.
    fn resolve(
        &mut self,
        source: &str,
        place: Place,
        at: u64,
        seq: u64,
    ) -> Result<Option<Event>, Failure> {
        let found = tables::event(&self.tables.events, seq)?;
        if let Some(Ok(event)) = &found
            && event.source() == source
            && Place::of(event) == (place.number(), at)
        {
            return Ok(Some(event.clone()));
        }
        self.dirty = true;
        self.tables.agenda.remove((source, place.number(), at, seq))?;
        if let Some(label) = Place::label(place.number()) {
            self.totals.lose(source, label);
        }
        if let Some(Err(Damaged)) = found
            && let Some(id) = self.id_of(seq)?
        {
            self.hold_damaged(seq, &id)?;
        }
        Ok(None)
    }

    fn find(&mut self, id: &str) -> Result<Option<(u64, Event)>, Failure> {
        match self.tables.find(id)? {
            Found::Nothing => Ok(None),
            Found::Event(seq, event) => Ok(Some((seq, *event))),
            Found::Damaged(Some(seq)) => Ok(Some((seq, self.hold_damaged(seq, id)?))),
            Found::Damaged(None) => {
                if let Some((seq, event)) = self.seq_of(id)? {
                    self.dirty = true;
                    self.tables.put_key(id, seq)?;
                    return Ok(Some((seq, event)));
                }
                let seq = self.totals.draw();
                Ok(Some((seq, self.hold_damaged(seq, id)?)))
            },
        }
    }

    fn hold_damaged(&mut self, seq: u64, id: &str) -> Result<Event, Failure> {
        self.dirty = true;
        self.damaged.push(id.to_owned());
        self.tables.replace_damaged(&mut self.totals, seq, id, self.now)
    }

    fn hold_without_body(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        self.damaged.push(event.id.clone());
        self.put(seq, Some(event), &event.lost(true, self.now), None)
    }

    fn lose_answer(
        &mut self,
        stored: Option<(u64, Event)>,
    ) -> Result<Option<(u64, Event)>, Failure> {
        let Some((seq, event)) = stored else { return Ok(None) };
        self.damaged.push(event.id.clone());
        let change = event.lost(false, self.now);
        self.put(seq, Some(&event), &change, None)?;
        Ok(change.event.map(|event| (seq, event)))
    }

    /// Looks for the key of a number: a walk over all keys, for a damaged record only.
    fn id_of(&self, seq: u64) -> Result<Option<String>, StorageError> {
        for row in self.tables.keys.iter()? {
            let (key, value) = row?;
            let id = key.value();
            if super::codec::open::<u64>("keys", id.as_bytes(), value.value()) == Ok(seq) {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }

    /// Looks for the number of a key: a walk over all events, for a damaged key only.
    fn seq_of(&self, id: &str) -> Result<Option<(u64, Event)>, StorageError> {
        for row in self.tables.events.iter()? {
            let (seq, _) = row?;
            let seq = seq.value();
            if let Some(Ok(event)) = tables::event(&self.tables.events, seq)?
                && event.id == id
            {
                return Ok(Some((seq, event)));
            }
        }
        Ok(None)
    }

    fn put<R>(
        &mut self,
        seq: u64,
        before: Option<&Event>,
        change: &Change<R>,
        bytes: Option<Encoded>,
    ) -> Result<(), Failure> {
        self.dirty |= !change.is_none();
        self.tables.apply(&mut self.totals, seq, before, change, bytes)
    }
}
