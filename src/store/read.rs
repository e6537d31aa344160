//! What a read transaction alone can tell. None is held across an await, and none repairs:
//! what cannot be read is left to the writer.

use super::codec::Damaged;
use super::layers::View;
use super::redb::RedbStore;
use super::rows::{Failure, Found, Place, Row, Span};
use super::{Arrived, Deliveries, Payload, Seen, Story};
use crate::record::{self, Copy, Entry, Event, Finish, KEPT_COPIES, Meets, Token, What};
use crate::telemetry::Outcome;
use crate::time::Millis;

impl RedbStore {
    pub(super) fn read_arrival(
        &self,
        view: View<'_>,
        copy: &Copy,
    ) -> Result<Option<Arrived>, Failure> {
        let cx = self.rules.context(&copy.id, Token::default(), self.rules.clock.now());
        let signals = self.rules.signals(&copy.id);
        let (seq, change) = if signals.is_empty() {
            let Some((seq, event)) = self.find_copied(view, copy)? else {
                return Ok(None);
            };
            (seq, record::arrive(Some(&event), copy, &cx))
        } else {
            let Some((newest, open)) = view.find_runs(&signals)? else {
                return Ok(None);
            };
            let change =
                record::join(newest.as_ref().map(|(_, run)| run), open.as_ref(), copy, &cx);
            (newest.map(|(seq, _)| seq).unwrap_or_default(), change)
        };
        if !change.is_none() {
            return Ok(None);
        }
        let mut answer = None;
        if change.reply.meets == Meets::Duplicate(Finish::Answered) {
            match view.answer(seq)? {
                Ok(found) => answer = Some(found),
                Err(Damaged) => return Ok(None),
            }
        }
        Ok(Some(Arrived { arrival: change.reply, answer, taken: None }))
    }

    /// The event of `id` under the names of its source, in order, and its own id.
    fn find_named(&self, view: View<'_>, id: &str) -> Result<(String, Found), Failure> {
        for id in self.rules.ids(id) {
            match view.find(&id)? {
                Found::Nothing => {},
                found @ (Found::Event(..) | Found::Damaged(_)) => return Ok((id, found)),
            }
        }
        Ok((id.to_owned(), Found::Nothing))
    }

    /// The event that a copy is one of, if it is there and can be read.
    fn find_copied(
        &self,
        view: View<'_>,
        copy: &Copy,
    ) -> Result<Option<(u64, Box<Event>)>, Failure> {
        let mut found = self.find_named(view, &copy.id)?.1;
        if let (Found::Nothing, Some(earlier)) = (&found, &copy.earlier) {
            found = view.find(earlier)?;
        }
        Ok(match found {
            Found::Event(seq, event) => Some((seq, event)),
            Found::Nothing | Found::Damaged(_) => None,
        })
    }

    pub(super) fn read_event(&self, view: View<'_>, id: &str) -> Result<Option<Event>, Failure> {
        Ok(match self.find_named(view, id)? {
            (_, Found::Nothing) => None,
            (_, Found::Event(_, event)) => Some(*event),
            (id, Found::Damaged(_)) => record::damaged(&id, 0, 0, self.rules.clock.now()).event,
        })
    }

    pub(super) fn read_body(&self, view: View<'_>, id: &str) -> Result<Option<Payload>, Failure> {
        let (_, Found::Event(seq, _)) = self.find_named(view, id)? else {
            return Ok(None);
        };
        Ok(view.payload(seq, 0)?.and_then(Result::ok))
    }

    pub(super) fn read_story(&self, view: View<'_>, id: &str) -> Result<Option<Story>, Failure> {
        let (seq, event) = match self.find_named(view, id)? {
            (_, Found::Nothing) => return Ok(None),
            (_, Found::Event(seq, event)) => (seq, *event),
            (id, Found::Damaged(seq)) => {
                let held = record::damaged(&id, 0, 0, self.rules.clock.now()).event;
                (seq.unwrap_or_default(), held.ok_or(Failure::Nothing)?)
            },
        };
        let (entries, damaged_entries) = view.story(seq)?;
        let mut deliveries = first_delivery(&entries);
        deliveries.merge(view.deliveries(seq)?);
        let answer = match event.finish {
            Some(Finish::Answered) => view.answer(seq)?.ok(),
            _ => None,
        };
        let source = self.rules.configured(event.source()).map(str::to_owned);
        Ok(Some(Story { event, source, entries, damaged_entries, deliveries, answer }))
    }

    pub(super) fn read_oldest(&self, view: View<'_>) -> Result<Vec<(String, Millis)>, Failure> {
        let place = Place::Queued.number();
        let mut oldest = Vec::new();
        for source in self.rules.sources.keys() {
            let mut first: Option<Millis> = None;
            for name in self.rules.names(source) {
                let span = Span::place(name, place, 0, u64::MAX);
                let row = view.range(&span)?.next().transpose()?;
                if let Some(Row::Agenda(_, _, due, _)) = row.as_ref().and_then(|it| it.0.read()) {
                    let due = Millis(due);
                    first = Some(first.map_or(due, |first| first.min(due)));
                }
            }
            oldest.extend(first.map(|due| (source.clone(), due)));
        }
        Ok(oldest)
    }

    pub(super) fn read_payloads(
        &self,
        view: View<'_>,
        id: &str,
    ) -> Result<Vec<(u8, Payload)>, Failure> {
        let Found::Event(seq, _) = self.find_named(view, id)?.1 else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for slot in 0..=u8::try_from(KEPT_COPIES).unwrap_or(u8::MAX) {
            if let Some(Ok(payload)) = view.payload(seq, slot)? {
                found.push((slot, payload));
            }
        }
        Ok(found)
    }
}

/// The delivery that an event of the queue was born of: its story's first line tells of it.
fn first_delivery(entries: &[Entry]) -> Deliveries {
    let mut deliveries = Deliveries::default();
    if let Some(Entry { at, what: What::Stored { status }, .. }) = entries.first() {
        let outcome = Outcome::Queued.word().to_owned();
        deliveries.add(Seen { at: *at, outcome, status: *status, mismatch: false });
    }
    deliveries
}
