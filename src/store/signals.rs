//! The runs of signals: which is the newest, and which is in flight. One row a signal,
//! written with the event of the run, so that both are true of the same moment.

use redb::StorageError;
use wincode::{SchemaRead, SchemaWrite};

use super::codec::Damaged;
use super::layers::View;
use super::rows::{self, Failure, Key, Row, Rows, Span};
use super::rules::in_flight;
use crate::record::{Event, signal_of};

/// What is stored of a signal: numbers of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(super) struct Runs {
    /// The newest one, unless it was forgotten.
    pub(super) newest: Option<u64>,
    /// The one that is in flight.
    pub(super) open: Option<u64>,
}

impl Runs {
    /// The row after the run `seq` became `event`; `None`: it is gone.
    pub(super) fn after(self, seq: u64, event: Option<&Event>) -> Self {
        let flies = event.is_some_and(in_flight);
        let newest = match event {
            Some(_) => self.newest.max(Some(seq)),
            None => self.newest.filter(|newest| *newest != seq),
        };
        let open = if flies { Some(seq) } else { self.open.filter(|open| *open != seq) };
        Self { newest, open }
    }
}

/// The newest run of a signal, with its number, and the one in flight.
type Found = (Option<(u64, Event)>, Option<Event>);

impl View<'_> {
    /// Reads the row of a signal.
    pub(super) fn runs(&self, signal: &str) -> Result<Result<Runs, Damaged>, StorageError> {
        Ok(self.read(&Key::signal(signal))?.unwrap_or(Ok(Runs::default())))
    }

    /// Reads the runs of a signal, which has one row under each name of its source. `None`:
    /// something cannot be read, and the writer is to see to it.
    pub(super) fn find_runs(&self, of: &[String]) -> Result<Option<Found>, StorageError> {
        let (mut newest, mut open) = (None, None);
        for signal in of {
            let Ok(row) = self.runs(signal)? else { return Ok(None) };
            if let (Some(seq), None) = (row.newest, &newest) {
                let Some(Ok(run)) = self.event(seq)? else { return Ok(None) };
                newest = Some((seq, run));
            }
            if let (Some(seq), None) = (row.open, &open) {
                let Some(Ok(run)) = self.event(seq)? else { return Ok(None) };
                open = Some(run).filter(in_flight);
            }
        }
        Ok(Some((newest, open)))
    }
}

impl Rows<'_> {
    /// The row of a signal; made anew from the runs where it cannot be read.
    pub(super) fn runs(&self, signal: &str) -> Result<Runs, Failure> {
        let view = self.view();
        if let Ok(runs) = view.runs(signal)? {
            return Ok(runs);
        }
        let mut found = Runs::default();
        let start = format!("{signal}.");
        for row in view.range(&Span::ids(&start))? {
            let (key, value) = row?;
            if !matches!(key.read(), Some(Row::Id(id)) if id.starts_with(&start)) {
                break;
            }
            if let Ok(seq) = rows::open::<u64>(&key, &value)
                && let Some(Ok(run)) = view.event(seq)?
            {
                found = found.after(seq, Some(&run));
            }
        }
        Ok(found)
    }

    /// Keeps the row of the signal that `id` is a run of, if it is one.
    pub(super) fn note_run(
        &mut self,
        id: &str,
        seq: u64,
        after: Option<&Event>,
    ) -> Result<(), Failure> {
        let Some(signal) = signal_of(id) else { return Ok(()) };
        let runs = self.runs(signal)?.after(seq, after);
        if runs == Runs::default() {
            self.remove(Key::signal(signal));
            return Ok(());
        }
        self.put(Key::signal(signal), &runs)
    }
}
