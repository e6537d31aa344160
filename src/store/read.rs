//! What a read transaction alone can tell. None is held across an await, and none repairs:
//! what cannot be read is left to the writer.

use redb::{Database, ReadOnlyTable, ReadableDatabase as _};

use super::redb::RedbStore;
use super::tables::{self, Failure, Found, Place};
use super::{Arrived, Payload, Story, check, codec, signals};
use crate::record::{self, Copy, Event, Finish, KEPT_COPIES, Meets, Token};
use crate::time::Millis;

impl RedbStore {
    pub(super) fn read_arrival(
        &self,
        db: &Database,
        copy: &Copy,
    ) -> Result<Option<Arrived>, Failure> {
        let txn = db.begin_read()?;
        let (keys, events) = (txn.open_table(tables::KEYS)?, txn.open_table(tables::EVENTS)?);
        let cx = self.rules.context(&copy.id, Token::default(), self.rules.clock.now());
        let signals = self.rules.signals(&copy.id);
        let (seq, change) = if signals.is_empty() {
            let Some((seq, event)) = self.find_copied(&keys, &events, copy)? else {
                return Ok(None);
            };
            (seq, record::arrive(Some(&event), copy, &cx))
        } else {
            let rows = txn.open_table(tables::SIGNALS)?;
            let Some((newest, open)) = signals::read_runs(&rows, &events, &signals)? else {
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
            match tables::answer(&txn.open_table(tables::ANSWERS)?, seq)? {
                Ok(found) => answer = Some(found),
                Err(codec::Damaged) => return Ok(None),
            }
        }
        Ok(Some(Arrived { arrival: change.reply, answer }))
    }

    /// The event of `id` under the names of its source, in order, and its own id.
    fn find_named(
        &self,
        keys: &ReadOnlyTable<&'static str, &'static [u8]>,
        events: &ReadOnlyTable<u64, &'static [u8]>,
        id: &str,
    ) -> Result<(String, Found), Failure> {
        for id in self.rules.ids(id) {
            match tables::find(keys, events, &id)? {
                Found::Nothing => {},
                found @ (Found::Event(..) | Found::Damaged(_)) => return Ok((id, found)),
            }
        }
        Ok((id.to_owned(), Found::Nothing))
    }

    /// The event that a copy is one of, if it is there and can be read.
    fn find_copied(
        &self,
        keys: &ReadOnlyTable<&'static str, &'static [u8]>,
        events: &ReadOnlyTable<u64, &'static [u8]>,
        copy: &Copy,
    ) -> Result<Option<(u64, Box<Event>)>, Failure> {
        let mut found = self.find_named(keys, events, &copy.id)?.1;
        if let (Found::Nothing, Some(earlier)) = (&found, &copy.earlier) {
            found = tables::find(keys, events, earlier)?;
        }
        Ok(match found {
            Found::Event(seq, event) => Some((seq, event)),
            Found::Nothing | Found::Damaged(_) => None,
        })
    }

    pub(super) fn read_event(&self, db: &Database, id: &str) -> Result<Option<Event>, Failure> {
        let txn = db.begin_read()?;
        let (keys, events) = (txn.open_table(tables::KEYS)?, txn.open_table(tables::EVENTS)?);
        Ok(match self.find_named(&keys, &events, id)? {
            (_, Found::Nothing) => None,
            (_, Found::Event(_, event)) => Some(*event),
            (id, Found::Damaged(_)) => record::damaged(&id, 0, 0, self.rules.clock.now()).event,
        })
    }

    pub(super) fn read_body(&self, db: &Database, id: &str) -> Result<Option<Payload>, Failure> {
        let txn = db.begin_read()?;
        let (keys, events) = (txn.open_table(tables::KEYS)?, txn.open_table(tables::EVENTS)?);
        let (_, Found::Event(seq, _)) = self.find_named(&keys, &events, id)? else {
            return Ok(None);
        };
        let payload = check::payload(&txn.open_table(tables::PAYLOADS)?, seq, 0)?;
        Ok(payload.and_then(Result::ok))
    }

    pub(super) fn read_story(&self, db: &Database, id: &str) -> Result<Option<Story>, Failure> {
        let txn = db.begin_read()?;
        let (keys, events) = (txn.open_table(tables::KEYS)?, txn.open_table(tables::EVENTS)?);
        let (seq, event) = match self.find_named(&keys, &events, id)? {
            (_, Found::Nothing) => return Ok(None),
            (_, Found::Event(seq, event)) => (seq, *event),
            (id, Found::Damaged(seq)) => {
                let held = record::damaged(&id, 0, 0, self.rules.clock.now()).event;
                (seq.unwrap_or_default(), held.ok_or(Failure::Nothing)?)
            },
        };
        let (entries, damaged_entries) = tables::story(&txn.open_table(tables::STORY)?, seq)?;
        let deliveries = tables::deliveries(&txn.open_table(tables::DELIVERIES)?, seq)?;
        let answer = match event.finish {
            Some(Finish::Answered) => tables::answer(&txn.open_table(tables::ANSWERS)?, seq)?.ok(),
            _ => None,
        };
        let source = self.rules.configured(event.source()).map(str::to_owned);
        Ok(Some(Story { event, source, entries, damaged_entries, deliveries, answer }))
    }

    pub(super) fn read_oldest(&self, db: &Database) -> Result<Vec<(String, Millis)>, Failure> {
        let agenda = db.begin_read()?.open_table(tables::AGENDA)?;
        let place = Place::Queued.number();
        let mut oldest = Vec::new();
        for source in self.rules.sources.keys() {
            let mut first: Option<Millis> = None;
            for name in self.rules.names(source) {
                let range = (name, place, 0, 0)..=(name, place, u64::MAX, u64::MAX);
                if let Some(row) = agenda.range(range)?.next() {
                    let due = Millis(row?.0.value().2);
                    first = Some(first.map_or(due, |first| first.min(due)));
                }
            }
            oldest.extend(first.map(|due| (source.clone(), due)));
        }
        Ok(oldest)
    }

    pub(super) fn read_payloads(
        &self,
        db: &Database,
        id: &str,
    ) -> Result<Vec<(u8, Payload)>, Failure> {
        let txn = db.begin_read()?;
        let (keys, events) = (txn.open_table(tables::KEYS)?, txn.open_table(tables::EVENTS)?);
        let Found::Event(seq, _) = self.find_named(&keys, &events, id)?.1 else {
            return Ok(Vec::new());
        };
        let payloads = txn.open_table(tables::PAYLOADS)?;
        let mut found = Vec::new();
        for slot in 0..=u8::try_from(KEPT_COPIES).unwrap_or(u8::MAX) {
            if let Some(Ok(payload)) = check::payload(&payloads, seq, slot)? {
                found.push((slot, payload));
            }
        }
        Ok(found)
    }
}
