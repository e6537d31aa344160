//! A walk over the whole file that lists what does not fit together: what `oncegate verify`
//! runs, and what the crash tests hold every image against.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata as _};

use super::codec::{self, Damaged};
use super::rules::{Rules, in_flight};
use super::signals;
use super::tables::{self, Failure, Place};
use super::totals::Totals;
use super::{Deliveries, Payload};
use crate::record::{Entry, Event, Finish, KEPT_COPIES, State, What, signal_of};

/// Problems listed at most: a file with more is not read line by line.
const PROBLEMS_LIMIT: usize = 1000;

/// The tables, and what was found so far.
struct Walk<'a> {
    rules: &'a Rules,
    keys: ReadOnlyTable<&'static str, &'static [u8]>,
    events: ReadOnlyTable<u64, &'static [u8]>,
    agenda: ReadOnlyTable<tables::AgendaKey, ()>,
    payloads: ReadOnlyTable<(u64, u8), &'static [u8]>,
    answers: ReadOnlyTable<u64, &'static [u8]>,
    story: ReadOnlyTable<(u64, u32), &'static [u8]>,
    deliveries: ReadOnlyTable<u64, &'static [u8]>,
    signals: ReadOnlyTable<&'static str, &'static [u8]>,
    problems: Vec<String>,
}

/// Lists what is wrong in the file as `txn` sees it. Each event must have one key, one row
/// in the agenda where it stands, its body if it is held, its answer if it is recorded, and
/// every line of its story; nothing else may be there; and the totals must be their sum.
pub(super) fn check(txn: &ReadTransaction, rules: &Rules) -> Result<Vec<String>, Failure> {
    let mut walk = Walk {
        rules,
        keys: txn.open_table(tables::KEYS)?,
        events: txn.open_table(tables::EVENTS)?,
        agenda: txn.open_table(tables::AGENDA)?,
        payloads: txn.open_table(tables::PAYLOADS)?,
        answers: txn.open_table(tables::ANSWERS)?,
        story: txn.open_table(tables::STORY)?,
        deliveries: txn.open_table(tables::DELIVERIES)?,
        signals: txn.open_table(tables::SIGNALS)?,
        problems: Vec::new(),
    };
    let stored = tables::totals(txn)?;
    if stored.is_none() && !walk.events.is_empty()? {
        walk.tell(|| "the totals cannot be read".to_owned());
    }
    let stored = stored.unwrap_or_default();
    walk.all_events(&stored)?;
    walk.orphans()?;
    Ok(walk.problems)
}

impl Walk<'_> {
    fn tell(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < PROBLEMS_LIMIT {
            self.problems.push(problem());
        }
    }

    fn expect(&mut self, holds: bool, id: &str, promise: &str) {
        if !holds {
            self.tell(|| format!("{id}: {promise}"));
        }
    }

    /// From the events to their rows.
    fn all_events(&mut self, stored: &Totals) -> Result<(), Failure> {
        let mut counted = Totals::default();
        for row in self.events.range::<u64>(..)? {
            let seq = row?.0.value();
            let Some(Ok(event)) = tables::event(&self.events, seq)? else {
                self.tell(|| format!("event number {seq}: its record cannot be read"));
                continue;
            };
            counted.moved(None, Some(&event));
            let known = seq.max(event.token.0) <= stored.next;
            self.expect(known, &event.id, "its numbers are beyond the counter");
            self.one_event(seq, &event)?;
        }
        let (mut counted, mut stored) = (counts(&counted), counts(stored));
        counted.sort_unstable();
        stored.sort_unstable();
        if counted != stored {
            self.tell(|| format!("the totals say {stored:?}, the events {counted:?}"));
        }
        Ok(())
    }

    fn one_event(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        let id = event.id.as_str();
        let key = self.keys.get(id)?;
        let points =
            key.is_some_and(|row| codec::open("keys", id.as_bytes(), row.value()) == Ok(seq));
        self.expect(points, id, "its key does not lead to it");
        let (place, at) = Place::of(event);
        let listed = self.agenda.get((event.source(), place, at, seq))?.is_some();
        self.expect(listed, id, "the agenda does not have it where it stands");
        let orphaned = self.rules.configured(event.source()).is_none();
        let ours = !matches!(event.state, State::InFlight { boot } if boot != self.rules.boot);
        self.expect(ours || orphaned, id, "in flight under another boot");
        self.run(seq, event)?;
        self.bodies(seq, event)?;
        let answer = self.answers.get(seq)?.is_some();
        let readable = tables::answer(&self.answers, seq)?.is_ok();
        let recorded = event.finish == Some(Finish::Answered);
        self.expect(answer == recorded, id, "an answer is stored, or not, against its record");
        self.expect(readable || !answer, id, "its answer cannot be read");
        self.lines(seq, event)?;
        if let Some(row) = self.deliveries.get(seq)? {
            let read =
                codec::open::<Deliveries>("deliveries", &tables::event_key(seq), row.value());
            self.expect(read.is_ok(), id, "its deliveries cannot be read");
        }
        Ok(())
    }

    /// The row of a signal tells which of its runs is in flight: one has no room for two.
    fn run(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        let Some(signal) = signal_of(&event.id) else { return Ok(()) };
        let Ok(runs) = signals::runs(&self.signals, signal)? else {
            self.tell(|| format!("{signal}: its row cannot be read"));
            return Ok(());
        };
        let open = runs.open == Some(seq);
        self.expect(open == in_flight(event), &event.id, "its signal has it in flight, or not");
        Ok(())
    }

    fn bodies(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        let id = event.id.as_str();
        for slot in 0..=u8::try_from(KEPT_COPIES).unwrap_or(u8::MAX) {
            let held = match slot {
                0 => event.body.held.is_some(),
                slot => usize::from(slot) <= event.kept.len(),
            };
            let stored = payload(&self.payloads, seq, slot)?;
            self.expect(
                stored.is_some() == held,
                id,
                "a body is stored, or not, against its record",
            );
            match stored {
                Some(Err(Damaged)) => self.expect(false, id, "a body cannot be read"),
                Some(Ok(payload)) if slot == 0 && held => {
                    let right = u64::try_from(payload.body.len()) == Ok(event.body.bytes);
                    self.expect(right, id, "its body is not as long as its record says");
                },
                _ => {},
            }
        }
        Ok(())
    }

    fn lines(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        let id = event.id.as_str();
        let (mut next, mut whole) = (0, true);
        let (mut claims, mut damaged, mut last) = (0, false, None);
        for row in self.story.range((seq, 0)..=(seq, u32::MAX))? {
            let (key, value) = row?;
            let line = key.value().1;
            whole &= line == next;
            next = line.saturating_add(1);
            match codec::open::<Entry>("story", &tables::line_key(seq, line), value.value()) {
                Ok(entry) => {
                    match entry.what {
                        What::Claimed { attempt, .. } => claims = attempt.max(claims),
                        What::Damaged => damaged = true,
                        What::Stored
                        | What::Settled { .. }
                        | What::Operated { .. }
                        | What::Mismatch { .. }
                        | What::BodyRestored
                        | What::BodyDropped => {},
                    }
                    last = Some(entry.state);
                },
                Err(Damaged) => whole = false,
            }
        }
        self.expect(
            whole && next == event.entries,
            id,
            "a line of its story is missing or damaged",
        );
        self.expect(last == Some(event.label()), id, "its story ends in another state");
        // A record that was lost tells its story's numbers only as far as they could be read.
        self.expect(damaged || claims == event.attempt, id, "its story tells another attempt");
        Ok(())
    }

    /// From the rows back to the events: what belongs to none.
    fn orphans(&mut self) -> Result<(), Failure> {
        let mut found = Vec::new();
        if self.keys.len()? != self.events.len()? {
            found.push("the keys are not as many as the events".to_owned());
        }
        for row in self.agenda.range::<tables::AgendaKey>(..)? {
            let (source, place, at, seq) = {
                let row = row?.0;
                let (source, place, at, seq) = row.value();
                (source.to_owned(), place, at, seq)
            };
            let event = tables::event(&self.events, seq)?.and_then(Result::ok);
            if event
                .is_none_or(|event| event.source() != source || Place::of(&event) != (place, at))
            {
                found.push(format!("the agenda has {source} number {seq} where it is not"));
            }
        }
        let mut last = None;
        let mut owned = |what: &str, seq: u64| -> Result<(), Failure> {
            if last != Some(seq) && self.events.get(seq)?.is_none() {
                found.push(format!("a {what} of number {seq}, which is no event"));
            }
            last = Some(seq);
            Ok(())
        };
        for row in self.payloads.range::<(u64, u8)>(..)? {
            owned("body", row?.0.value().0)?;
        }
        for row in self.answers.range::<u64>(..)? {
            owned("answer", row?.0.value())?;
        }
        for row in self.story.range::<(u64, u32)>(..)? {
            owned("story", row?.0.value().0)?;
        }
        for row in self.deliveries.range::<u64>(..)? {
            owned("list of deliveries", row?.0.value())?;
        }
        for row in self.signals.range::<&str>(..)? {
            let (signal, _) = row?;
            let signal = signal.value();
            let Ok(runs) = signals::runs(&self.signals, signal)? else { continue };
            for seq in runs.newest.into_iter().chain(runs.open) {
                let run = tables::event(&self.events, seq)?.and_then(Result::ok);
                if run.is_none_or(|run| signal_of(&run.id) != Some(signal)) {
                    found.push(format!("{signal}: number {seq} is no run of it"));
                }
            }
        }
        for problem in found {
            self.tell(|| problem);
        }
        Ok(())
    }
}

/// Where how many events stand, in comparable form.
fn counts(totals: &Totals) -> Vec<(String, &'static str, u64)> {
    let some = totals.all().filter(|(_, _, count)| *count > 0);
    some.map(|(source, label, count)| (source.to_owned(), label.word(), count)).collect()
}

/// Reads a body (slot 0) or a kept copy.
pub(super) fn payload(
    payloads: &ReadOnlyTable<(u64, u8), &'static [u8]>,
    seq: u64,
    slot: u8,
) -> Result<Option<Result<Payload, Damaged>>, Failure> {
    let row = payloads.get((seq, slot))?;
    Ok(row.map(|row| codec::open("payloads", &tables::slot_key(seq, slot), row.value())))
}
