//! Each verb of the store, inside one batch: find the event, let the pure
//! transition decide, write what it decided.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use redb::StorageError;

use super::codec::{Damaged, Encoded};
use super::layers::{Fronts, Layer, View};
use super::rows::{self, Failure, Found, Key, Place, Row, Rows, Span};
use super::rules::{Rules, SourceRules};
use super::totals::Totals;
use super::{Arrived, Deliveries, Swept};
use crate::record::{
    self, Act, Change, Copy, Event, Expiry, Finish, Label, Meets, Refused, Settled, Settlement,
    State, Token, Verdict,
};
use crate::time::Millis;

/// Events one batch of the sweep looks at: a few milliseconds of the writer's time.
const SWEEP_EVENTS: usize = 256;

/// Verbs applied one after the other, to be written at once.
pub(super) struct Batch<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) totals: Totals,
    pub(super) rules: &'a Rules,
    pub(super) now: Millis,
    /// Whether anything was written.
    pub(super) dirty: bool,
    /// Records that could not be read and are Held now.
    damaged: Vec<String>,
}

/// What a batch is to write, and what is known once that is durable.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) rows: Layer,
    pub(super) totals: Totals,
    /// Records that could not be read and are Held then.
    damaged: Vec<String>,
}

impl Decided {
    /// Nothing yet, after `totals`.
    pub(super) fn after(totals: Totals) -> Self {
        Self { totals, ..Self::default() }
    }

    /// Says what an operator must know, once it is true.
    pub(super) fn tell(&self) {
        for id in &self.damaged {
            tracing::error!(event = id, "a stored record was damaged; the event is held");
        }
    }
}

/// Lets `verbs` decide over what `below` has and what was `decided` before in the same batch.
/// Nothing is written yet.
pub(super) fn decide(
    below: View<'_>,
    fronts: &mut Fronts,
    rules: &Rules,
    decided: Decided,
    verbs: impl FnOnce(&mut Batch<'_>) -> Result<(), Failure>,
) -> Result<Decided, Failure> {
    let Decided { rows, totals, damaged } = decided;
    let before = totals.clone();
    let mut batch = Batch {
        rows: Rows::new(below, rows, fronts),
        totals,
        rules,
        now: rules.clock.now(),
        dirty: false,
        damaged,
    };
    verbs(&mut batch)?;
    if batch.dirty {
        if !rules.clock_in_doubt.load(Ordering::Relaxed) {
            batch.totals.seen = batch.now;
        }
        batch.rows.put_totals(&batch.totals)?;
    } else {
        batch.totals = before;
    }
    let Batch { rows, totals, damaged, .. } = batch;
    Ok(Decided { rows: rows.written, totals, damaged })
}

impl Batch<'_> {
    /// Has the totals written, though nothing changed.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    pub(super) fn arrive(
        &mut self,
        copy: &Copy,
        payload: Option<Encoded>,
    ) -> Result<Arrived, Failure> {
        let signals = self.rules.signals(&copy.id);
        let open = self.open_run(&signals)?;
        let mut stored = match signals.as_slice() {
            [] => self.find_copied(copy)?,
            signals => self.newest_run(signals)?,
        };
        let mut answer = None;
        if let Some((seq, Event { finish: Some(Finish::Answered), .. })) = &stored {
            match self.rows.view().answer(*seq)? {
                Ok(found) => answer = Some(found),
                Err(Damaged) => stored = self.lose_answer(stored)?,
            }
        }
        let token = self.totals.draw_token();
        let cx = self.rules.context(&copy.id, token, self.now);
        let event = stored.as_ref().map(|(_, event)| event);
        let change = if signals.is_empty() {
            record::arrive(event, copy, &cx)
        } else {
            record::join(event, open.as_ref(), copy, &cx)
        };
        let before = stored.as_ref().filter(|(_, event)| event.id == change.reply.id);
        let seq = before.map_or_else(|| self.totals.draw(), |(seq, _)| *seq);
        self.put(seq, before.map(|(_, event)| event), &change, payload)?;
        if change.reply.meets != Meets::Duplicate(Finish::Answered) {
            answer = None;
        }
        Ok(Arrived { arrival: change.reply, answer, taken: None })
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

    pub(super) fn operate(
        &mut self,
        id: &str,
        act: Act,
        note: &str,
    ) -> Result<Result<Label, Refused>, Failure> {
        let stored = self.find_named(id)?;
        let cx = self.rules.context(id, Token::default(), self.now);
        let event = stored.as_ref().map(|(_, event)| event);
        let change = match record::operate(event, act, note, &cx) {
            Ok(change) => change,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some((seq, event)) = &stored {
            if change.event.is_none() {
                self.dirty = true;
                self.rows.forget(&mut self.totals, *seq, event)?;
            }
            self.put(*seq, Some(event), &change, None)?;
        }
        Ok(Ok(change.reply))
    }

    pub(super) fn sweep(&mut self) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let mut left = SWEEP_EVENTS;
        // Each batch begins with another source, so that a busy one keeps none from its turn.
        let rules = self.rules;
        let count = rules.sources.len();
        let from = self.rules.sweep_from.fetch_add(1, Ordering::Relaxed);
        let from = from.checked_rem(count).unwrap_or(0);
        for (source, SourceRules { policy, .. }) in
            rules.sources.iter().cycle().skip(from).take(count)
        {
            let ages = [
                (Place::Open, Some(policy.ttl)),
                (Place::Done, Some(policy.ttl.min(policy.keep))),
                (Place::Bare, Some(policy.ttl)),
                (Place::Dead, policy.dead_ttl),
            ];
            let mut forgotten: u64 = 0;
            for (place, age) in ages {
                let Some(age) = age else { continue };
                for name in rules.names(source) {
                    for (at, seq) in self.agenda(name, place, 0..=self.now.minus(age).0, left)? {
                        left = left.saturating_sub(1);
                        forgotten += u64::from(self.expire(name, place, at, seq, &mut swept)?);
                    }
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
                self.rows.drop_bodies(seq, &event);
                self.put(seq, Some(&event), &event.without_body(self.now), None)?;
                Ok(false)
            },
            Expiry::Forget => {
                self.dirty = true;
                self.rows.forget(&mut self.totals, seq, &event)?;
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
            let mut found = None;
            for id in self.rules.ids(id) {
                found = found.or(self.rows.view().number(&id)?);
            }
            let Some(seq) = found else { continue };
            let mut deliveries = self.rows.view().deliveries(seq)?;
            deliveries.merge(later.clone());
            self.dirty = true;
            self.rows.put(Key::deliveries(seq), &deliveries)?;
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
        for source in self.rows.view().sources()? {
            let rules = self.rules;
            let known = rules.configured(&source).and_then(|name| rules.sources.get(name));
            let Some(SourceRules { policy, .. }) = known else {
                // Left as it is: only its own `on_unknown` may decide.
                tracing::warn!(
                    source,
                    "there are events of a source that is not configured: they are kept; \
                     configure it again, or name it in `was` of the source that goes on for it"
                );
                continue;
            };
            let late = self.now.plus(policy.retry.max).0.saturating_add(1);
            for (at, seq) in self.agenda(&source, Place::Queued, late..=u64::MAX, usize::MAX)? {
                if let Some(event) = self.resolve(&source, Place::Queued, at, seq)? {
                    // Further off than any back-off: it was set by a clock that was ahead.
                    self.put(seq, Some(&event), &event.due_now(self.now), None)?;
                }
            }
            for (at, seq) in self.agenda(&source, Place::InFlight, 0..=u64::MAX, usize::MAX)? {
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
    pub(super) fn agenda(
        &mut self,
        source: &str,
        place: Place,
        at: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, Failure> {
        Ok(self.rows.agenda(source, place, at.into_inner(), limit)?)
    }

    /// The event that a row of the agenda points at. A row that does not match is removed,
    /// a record that cannot be read is replaced by a Held one.
    pub(super) fn resolve(
        &mut self,
        source: &str,
        place: Place,
        at: u64,
        seq: u64,
    ) -> Result<Option<Event>, Failure> {
        let found = self.rows.view().event(seq)?;
        if let Some(Ok(event)) = &found
            && event.source() == source
            && Place::of(event) == (place.number(), at)
        {
            return Ok(Some(event.clone()));
        }
        self.dirty = true;
        self.rows.remove(Key::agenda(source, place.number(), at, seq));
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

    /// The event that a copy is one of: by its id, by the names its source had before, or
    /// by an earlier key rule.
    fn find_copied(&mut self, copy: &Copy) -> Result<Option<(u64, Event)>, Failure> {
        match (self.find_named(&copy.id)?, &copy.earlier) {
            (None, Some(earlier)) => self.find(earlier),
            (found, _) => Ok(found),
        }
    }

    /// The event of `id`, or of what `id` was under the names its source had before.
    fn find_named(&mut self, id: &str) -> Result<Option<(u64, Event)>, Failure> {
        for id in self.rules.ids(id) {
            if let Some(found) = self.find(&id)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find(&mut self, id: &str) -> Result<Option<(u64, Event)>, Failure> {
        match self.rows.view().find(id)? {
            Found::Nothing => Ok(None),
            Found::Event(seq, event) => Ok(Some((seq, *event))),
            Found::Damaged(Some(seq)) => Ok(Some((seq, self.hold_damaged(seq, id)?))),
            Found::Damaged(None) => {
                if let Some((seq, event)) = self.seq_of(id)? {
                    self.dirty = true;
                    self.rows.put(Key::id(id), &seq)?;
                    return Ok(Some((seq, event)));
                }
                let seq = self.totals.draw();
                Ok(Some((seq, self.hold_damaged(seq, id)?)))
            },
        }
    }

    pub(super) fn hold_damaged(&mut self, seq: u64, id: &str) -> Result<Event, Failure> {
        self.dirty = true;
        self.damaged.push(id.to_owned());
        self.rows.replace_damaged(&mut self.totals, seq, id, self.now)
    }

    pub(super) fn hold_without_body(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
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
        self.rows.remove(Key::answer(seq));
        self.put(seq, Some(&event), &change, None)?;
        Ok(change.event.map(|event| (seq, event)))
    }

    /// Looks for the key of a number: a walk over all keys, for a damaged record only.
    pub(super) fn id_of(&self, seq: u64) -> Result<Option<String>, StorageError> {
        for row in self.rows.view().range(&Span::ids(""))? {
            let (key, value) = row?;
            if let Some(Row::Id(id)) = key.read()
                && rows::open::<u64>(&key, &value) == Ok(seq)
            {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }

    /// Looks for the number of a key: a walk over all events, for a damaged key only.
    fn seq_of(&self, id: &str) -> Result<Option<(u64, Event)>, StorageError> {
        for row in self.rows.view().range(&Span::events())? {
            let (key, value) = row?;
            if let Some(Row::Event(seq)) = key.read()
                && let Ok(event) = rows::open::<Event>(&key, &value)
                && event.id == id
            {
                return Ok(Some((seq, event)));
            }
        }
        Ok(None)
    }

    pub(super) fn put<R>(
        &mut self,
        seq: u64,
        before: Option<&Event>,
        change: &Change<R>,
        bytes: Option<Encoded>,
    ) -> Result<(), Failure> {
        self.dirty |= !change.is_none();
        self.rows.apply(&mut self.totals, seq, before, change, bytes)
    }
}
