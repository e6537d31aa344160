//! What is due: the events of one source, oldest first, whatever name they were born under.

use super::codec::Damaged;
use super::rows::{Failure, Found, Place};
use super::rules::in_flight;
use super::verbs::Batch;
use super::{Arrived, Taken, TakenEvent};
use crate::record::{self, Arrival, Event, Meets};
use crate::time::Millis;

/// The most bytes of bodies that one take brings into memory, beyond its first event.
const TAKE_BYTES: u64 = 32 << 20;
/// Runs of signals that one take passes over because another run is in flight: bounds how
/// long the writer looks when an operator redelivers many runs of one signal.
const PASSED_OVER: usize = 4096;

/// A row of the agenda's queue.
struct Due {
    at: u64,
    seq: u64,
    /// The name that the event was born under.
    name: String,
}

impl Batch<'_> {
    pub(super) fn take_due(&mut self, source: &str, limit: usize) -> Result<Taken, Failure> {
        let mut taken = Taken::default();
        let (mut bytes, mut passed) = (0_u64, 0_usize);
        loop {
            // What was passed over comes first again: it was not changed.
            let asked = limit.saturating_sub(taken.events.len()).saturating_add(passed + 1);
            let rows = self.queued(source, asked)?;
            let all = rows.len() < asked;
            for Due { at, seq, name } in rows.into_iter().skip(passed) {
                if at > self.now.0 || taken.events.len() == limit || bytes > TAKE_BYTES {
                    taken.next_due = Some(Millis(at));
                    return Ok(taken);
                }
                let Some(event) = self.resolve(&name, Place::Queued, at, seq)? else { continue };
                if self.signal_flies(&event.id)? {
                    passed += 1;
                    continue;
                }
                bytes = bytes.saturating_add(self.take(seq, event, &mut taken)?);
            }
            if all || passed > PASSED_OVER {
                return Ok(taken);
            }
        }
    }

    /// Claims the event that has just been born, if it is the next of its source; its body is
    /// what arrived.
    pub(super) fn take_newborn(&mut self, arrived: &mut Arrived) -> Result<(), Failure> {
        let Arrival { meets: Meets::Queued, attempt: 0, mismatch: false, id, .. } =
            &arrived.arrival
        else {
            return Ok(());
        };
        let Found::Event(seq, event) = self.rows.view().find(id)? else { return Ok(()) };
        let Some(source) = self.rules.configured(event.source()) else { return Ok(()) };
        let next = self.queued(source, 1)?.first().map(|due| due.seq);
        if next != Some(seq) || !self.rules.signals(id).is_empty() {
            return Ok(());
        }
        let token = self.totals.draw_token();
        let cx = self.rules.context(id, token, self.now);
        if let Some(change) = record::take(&event, &cx) {
            self.put(seq, Some(&event), &change, None)?;
            arrived.taken = Some(change.reply);
        }
        Ok(())
    }

    /// Claims one event; tells the bytes of its body.
    fn take(&mut self, seq: u64, event: Event, taken: &mut Taken) -> Result<u64, Failure> {
        let Ok(payload) = self.rows.body(seq)? else {
            self.hold_without_body(seq, &event)?;
            return Ok(0);
        };
        let token = self.totals.draw_token();
        let cx = self.rules.context(&event.id, token, self.now);
        let Some(change) = record::take(&event, &cx) else { return Ok(0) };
        self.put(seq, Some(&event), &change, None)?;
        taken.events.push(TakenEvent { id: event.id, lead: change.reply, payload });
        Ok(event.body.bytes)
    }

    /// What waits, under all names of the source, in the order it falls due.
    fn queued(&mut self, source: &str, limit: usize) -> Result<Vec<Due>, Failure> {
        let rules = self.rules;
        let mut due = Vec::new();
        for name in rules.names(source) {
            let rows = self.agenda(name, Place::Queued, 0..=u64::MAX, limit)?;
            due.extend(rows.into_iter().map(|(at, seq)| Due { at, seq, name: name.to_owned() }));
        }
        due.sort_unstable_by_key(|due| (due.at, due.seq));
        due.truncate(limit);
        Ok(due)
    }

    /// Whether a run of the signal that `id` is a run of is in flight.
    fn signal_flies(&mut self, id: &str) -> Result<bool, Failure> {
        Ok(self.open_run(&self.rules.signals(id))?.is_some())
    }

    /// The run that is in flight of a signal, which has one row under each name of its source.
    pub(super) fn open_run(&mut self, signals: &[String]) -> Result<Option<Event>, Failure> {
        for signal in signals {
            if let Some(seq) = self.rows.runs(signal)?.open
                && let Some((_, run)) = self.run(seq)?
                && in_flight(&run)
            {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The newest run of a signal.
    pub(super) fn newest_run(
        &mut self,
        signals: &[String],
    ) -> Result<Option<(u64, Event)>, Failure> {
        for signal in signals {
            if let Some(seq) = self.rows.runs(signal)?.newest
                && let Some(found) = self.run(seq)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The event of a number; one that cannot be read is Held.
    fn run(&mut self, seq: u64) -> Result<Option<(u64, Event)>, Failure> {
        Ok(match self.rows.view().event(seq)? {
            Some(Ok(event)) => Some((seq, event)),
            Some(Err(Damaged)) => match self.id_of(seq)? {
                Some(id) => Some((seq, self.hold_damaged(seq, &id)?)),
                None => None,
            },
            None => None,
        })
    }
}
