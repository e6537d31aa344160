//! A walk over the whole file that lists what does not fit together: what `oncegate verify`
//! runs, and what the crash tests hold every image against.

use super::Deliveries;
use super::codec::Damaged;
use super::layers::View;
use super::rows::{self, Failure, Key, Place, Row, Span};
use super::rules::{Rules, in_flight};
use super::signals::Runs;
use super::totals::Totals;
use crate::record::{Entry, Event, Finish, KEPT_COPIES, State, What, signal_of};

/// Problems listed at most: a file with more is not read line by line.
const PROBLEMS_LIMIT: usize = 1000;

/// The rows, and what was found so far.
struct Walk<'a> {
    rules: &'a Rules,
    rows: View<'a>,
    problems: Vec<String>,
}

/// Lists what is wrong in `rows`. Each event must have one key, one row in the agenda where
/// it stands, its body if it is held, its answer if it is recorded, and every line of its
/// story; nothing else may be there; and the totals must be their sum.
pub(super) fn check(rows: View<'_>, rules: &Rules) -> Result<Vec<String>, Failure> {
    let mut walk = Walk { rules, rows, problems: Vec::new() };
    let stored = rows.totals()?;
    let events = walk.all_events(&stored.clone().unwrap_or_default())?;
    if stored.is_none() && events > 0 {
        walk.tell(|| "the totals cannot be read".to_owned());
    }
    walk.orphans(events)?;
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
    fn all_events(&mut self, stored: &Totals) -> Result<u64, Failure> {
        let (mut counted, mut events) = (Totals::default(), 0);
        for row in self.rows.range(&Span::events())? {
            let (key, value) = row?;
            let Some(Row::Event(seq)) = key.read() else { continue };
            events += 1;
            let Ok(event) = rows::open::<Event>(&key, &value) else {
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
        Ok(events)
    }

    fn one_event(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        let id = event.id.as_str();
        let points = self.rows.read::<u64>(&Key::id(id))? == Some(Ok(seq));
        self.expect(points, id, "its key does not lead to it");
        let (place, at) = Place::of(event);
        let listed = self.rows.get(&Key::agenda(event.source(), place, at, seq), |_| ())?.is_some();
        self.expect(listed, id, "the agenda does not have it where it stands");
        let orphaned = self.rules.configured(event.source()).is_none();
        let ours = !matches!(event.state, State::InFlight { boot } if boot != self.rules.boot);
        self.expect(ours || orphaned, id, "in flight under another boot");
        self.run(seq, event)?;
        self.bodies(seq, event)?;
        let answer = self.rows.get(&Key::answer(seq), |_| ())?.is_some();
        let readable = self.rows.answer(seq)?.is_ok();
        let recorded = event.finish == Some(Finish::Answered);
        self.expect(answer == recorded, id, "an answer is stored, or not, against its record");
        self.expect(readable || !answer, id, "its answer cannot be read");
        self.lines(seq, event)?;
        if let Some(read) = self.rows.read::<Deliveries>(&Key::deliveries(seq))? {
            self.expect(read.is_ok(), id, "its deliveries cannot be read");
        }
        Ok(())
    }

    /// The row of a signal tells which of its runs is in flight: one has no room for two.
    fn run(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        let Some(signal) = signal_of(&event.id) else { return Ok(()) };
        let Ok(runs) = self.rows.runs(signal)? else {
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
            let stored = self.rows.payload(seq, slot)?;
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
        for row in self.rows.range(&Span::story(seq))? {
            let (key, value) = row?;
            whole &= key.read() == Some(Row::Line(seq, next));
            next = next.saturating_add(1);
            match rows::open::<Entry>(&key, &value) {
                Ok(entry) => {
                    match entry.what {
                        What::Claimed { attempt, .. } => claims = attempt.max(claims),
                        What::Damaged => damaged = true,
                        What::Stored { .. }
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
    fn orphans(&mut self, events: u64) -> Result<(), Failure> {
        let mut found = Vec::new();
        let mut keys: u64 = 0;
        for row in self.rows.range(&Span::ids(""))? {
            row?;
            keys += 1;
        }
        if keys != events {
            found.push("the keys are not as many as the events".to_owned());
        }
        let mut last = None;
        let mut owned = |key: &Key, seq: u64| -> Result<Option<String>, Failure> {
            let known = last == Some(seq) || self.rows.event(seq)?.is_some();
            last = Some(seq);
            Ok((!known).then(|| format!("a row {key:?} of number {seq}, which is no event")))
        };
        let owned_or_not =
            [Span::agenda(), Span::deliveries(), Span::events(), Span::payloads(), Span::signals()];
        for span in owned_or_not {
            for row in self.rows.range(&span)? {
                let (key, value) = row?;
                match key.read() {
                    Some(Row::Agenda(source, place, at, seq)) => {
                        let event = self.rows.event(seq)?.and_then(Result::ok);
                        let stands = |event: &Event| {
                            event.source() == source && Place::of(event) == (place, at)
                        };
                        if !event.as_ref().is_some_and(stands) {
                            found.push(format!(
                                "the agenda has {source} number {seq} where it is not"
                            ));
                        }
                    },
                    Some(
                        Row::Event(seq)
                        | Row::Deliveries(seq)
                        | Row::Answer(seq)
                        | Row::Line(seq, _)
                        | Row::Payload(seq, _),
                    ) => found.extend(owned(&key, seq)?),
                    Some(Row::Signal(signal)) => {
                        let Ok(runs) = rows::open::<Runs>(&key, &value) else { continue };
                        for seq in runs.newest.into_iter().chain(runs.open) {
                            let run = self.rows.event(seq)?.and_then(Result::ok);
                            if run.is_none_or(|run| signal_of(&run.id) != Some(signal)) {
                                found.push(format!("{signal}: number {seq} is no run of it"));
                            }
                        }
                    },
                    Some(Row::Id(_) | Row::Meta(_)) | None => {
                        found.push(format!("a row {key:?} of no kind"));
                    },
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
