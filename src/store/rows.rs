//! The rows of the store, and what it means to read and write an event's rows.
//!
//! Every row has a key of bytes whose order keeps together what is read together:
//!
//! | row        | key                                   | value                                 |
//! |------------|---------------------------------------|---------------------------------------|
//! | agenda     | `A` source, place, time, number       | nothing: exactly one row an event     |
//! | deliveries | `D` number                            | [`Deliveries`]                        |
//! | event      | `E` number, 0                         | [`Event`]                             |
//! | answer     | `E` number, 2                         | the recorded answer                   |
//! | story      | `E` number, 3, line                   | [`Entry`]                             |
//! | key        | `K` `<source>:<key>`                  | sequence number                       |
//! | meta       | `M` name                              | the totals; the key rules             |
//! | payload    | `P` number, slot                      | body in slot 0, kept copies in 1 to 3 |
//! | signal     | `S` `<source>:=signal.<sha256>`       | which run is newest, which in flight  |
//!
//! Sequence numbers make new rows append and keep an event's rows side by side; only keys
//! are in random order. Deliveries are apart: copies of old events, which come in any order,
//! write to few pages. The agenda serves the queue (what is due), recovery (what was in
//! flight) and the sweep (what has rested longest) alike. The event is the truth: a row
//! of the agenda that does not match its event is removed when it is met.

use aws_lc_rs::digest::{SHA256, digest};
use redb::{CommitError, StorageError, TableError, TransactionError};
use wincode::SchemaRead;

use super::codec::{self, Damaged, Encoded, Format};
use super::layers::{Fronts, Layer, View};
use super::totals::Totals;
use super::{Deliveries, Payload};
use crate::record::{
    Answer, Change, Entry, Event, Finish, KEPT_COPIES, Label, State, What, damaged,
};
use crate::time::Millis;

mod key;

pub(super) use key::{Key, Row, Span};

/// The row of `meta` that holds the [`Totals`].
const TOTALS: &str = "totals";

/// Lines of a story that are removed without being looked for.
const FEW_LINES: u32 = 64;

/// Where an event stands in the agenda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Open = 0,
    InFlight = 1,
    Queued = 2,
    /// Done, with its body.
    Done = 3,
    /// Done, its body taken by `keep`.
    Bare = 4,
    Dead = 5,
    Held = 6,
}

impl Place {
    pub(super) const ALL: [Self; 7] =
        [Self::Open, Self::InFlight, Self::Queued, Self::Done, Self::Bare, Self::Dead, Self::Held];

    pub(super) fn number(self) -> u8 {
        // Numbers of the file format: never reuse one.
        match self {
            Self::Open => 0,
            Self::InFlight => 1,
            Self::Queued => 2,
            Self::Done => 3,
            Self::Bare => 4,
            Self::Dead => 5,
            Self::Held => 6,
        }
    }

    pub(super) fn label(number: u8) -> Option<Label> {
        Some(match Self::ALL.into_iter().find(|place| place.number() == number)? {
            Self::Open => Label::Open,
            Self::InFlight => Label::InFlight,
            Self::Queued => Label::Queued,
            Self::Done | Self::Bare => Label::Done,
            Self::Dead => Label::Dead,
            Self::Held => Label::Held,
        })
    }

    /// Whether events in `state` may stand here.
    pub(super) fn stands_for(self, state: Label) -> bool {
        Self::label(self.number()) == Some(state)
    }

    /// Where `event` stands, and since (or, Queued, until) when.
    pub(super) fn of(event: &Event) -> (u8, u64) {
        let (place, at) = match (event.state, event.body.held) {
            (State::Open, _) => (Self::Open, event.changed),
            (State::InFlight { .. }, _) => (Self::InFlight, event.changed),
            (State::Queued { due }, _) => (Self::Queued, due),
            (State::Done, Some(held)) => (Self::Done, held.max(event.changed)),
            (State::Done, None) => (Self::Bare, event.changed),
            (State::Dead, _) => (Self::Dead, event.changed),
            (State::Held, _) => (Self::Held, event.changed),
        };
        (place.number(), at.0)
    }
}

/// What a look at a key found.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Event(u64, Box<Event>),
    /// The key is there, the record cannot be read.
    Damaged(Option<u64>),
}

/// A value as it is stored under `key`.
pub(super) fn seal(key: &Key, value: Encoded) -> Vec<u8> {
    codec::seal("rows", key.bytes(), value)
}

/// Reads what [`seal`] wrote.
pub(super) fn open<'de, T>(key: &Key, stored: &'de [u8]) -> Result<T, Damaged>
where
    T: SchemaRead<'de, Format, Dst = T>,
{
    codec::open("rows", key.bytes(), stored)
}

impl View<'_> {
    /// Reads one row.
    pub(super) fn read<T>(&self, key: &Key) -> Result<Option<Result<T, Damaged>>, StorageError>
    where
        T: for<'de> SchemaRead<'de, Format, Dst = T>,
    {
        self.get(key, |stored| open(key, stored))
    }

    /// Finds the event of `id`.
    pub(super) fn find(&self, id: &str) -> Result<Found, StorageError> {
        let seq = match self.read::<u64>(&Key::id(id))? {
            None => return Ok(Found::Nothing),
            Some(Err(Damaged)) => return Ok(Found::Damaged(None)),
            Some(Ok(seq)) => seq,
        };
        Ok(match self.event(seq)? {
            Some(Ok(event)) if event.id == id => Found::Event(seq, Box::new(event)),
            // The number is another event's: the key is what is wrong.
            Some(Ok(_)) => Found::Damaged(None),
            Some(Err(Damaged)) | None => Found::Damaged(Some(seq)),
        })
    }

    /// Reads the event of a sequence number.
    pub(super) fn event(&self, seq: u64) -> Result<Option<Result<Event, Damaged>>, StorageError> {
        self.read(&Key::event(seq))
    }

    /// The sources that have events, configured or not.
    pub(super) fn sources(&self) -> Result<Vec<String>, StorageError> {
        let mut sources: Vec<String> = Vec::new();
        let mut span = Span::agenda();
        while let Some(row) = self.range(&span)?.next() {
            let (key, _) = row?;
            let Some(Row::Agenda(source, ..)) = key.read() else { break };
            let source = source.to_owned();
            span.first = Key::agenda(&source, u8::MAX, u64::MAX, u64::MAX);
            sources.push(source);
        }
        Ok(sources)
    }

    /// Reads a recorded answer; a missing one is a damaged one.
    pub(super) fn answer(&self, seq: u64) -> Result<Result<Answer, Damaged>, StorageError> {
        Ok(self.read(&Key::answer(seq))?.unwrap_or(Err(Damaged)))
    }

    /// Reads a body (slot 0) or a kept copy.
    pub(super) fn payload(
        &self,
        seq: u64,
        slot: u8,
    ) -> Result<Option<Result<Payload, Damaged>>, StorageError> {
        self.read(&Key::payload(seq, slot))
    }

    /// The number of the event of `id`, as its key has it.
    pub(super) fn number(&self, id: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.read(&Key::id(id))?.and_then(Result::ok))
    }

    /// Reads what was noted of an event's deliveries.
    pub(super) fn deliveries(&self, seq: u64) -> Result<Deliveries, StorageError> {
        Ok(self.read(&Key::deliveries(seq))?.and_then(Result::ok).unwrap_or_default())
    }

    /// Reads the lines of a story; the second figure counts those that could not be read.
    pub(super) fn story(&self, seq: u64) -> Result<(Vec<Entry>, u32), StorageError> {
        let mut entries = Vec::new();
        let mut unreadable: u32 = 0;
        for row in self.range(&Span::story(seq))? {
            let (key, value) = row?;
            match open(&key, &value) {
                Ok(entry) => entries.push(entry),
                Err(Damaged) => unreadable = unreadable.saturating_add(1),
            }
        }
        Ok((entries, unreadable))
    }

    /// Reads the totals; `None` if they are missing or damaged.
    pub(super) fn totals(&self) -> Result<Option<Totals>, StorageError> {
        Ok(self.read(&Key::meta(TOTALS))?.and_then(Result::ok))
    }
}

/// What one batch reads, and the rows it writes over that.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    below: View<'a>,
    /// What the batch wrote.
    pub(super) written: Layer,
    /// Where the agenda's rows begin.
    fronts: &'a mut Fronts,
}

impl<'a> Rows<'a> {
    pub(super) fn new(below: View<'a>, written: Layer, fronts: &'a mut Fronts) -> Self {
        Self { below, written, fronts }
    }

    /// Everything as the batch has it by now.
    pub(super) fn view(&self) -> View<'_> {
        self.below.under(&self.written)
    }

    /// Writes a row.
    pub(super) fn put<T>(&mut self, key: Key, value: &T) -> Result<(), Failure>
    where
        T: wincode::SchemaWrite<Format, Src = T>,
    {
        let value = seal(&key, codec::encode(value)?);
        self.written.put(key, Some(value));
        Ok(())
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.written.put(key, None);
    }

    /// Times and numbers of the agenda's rows of one place, oldest first.
    pub(super) fn agenda(
        &mut self,
        source: &str,
        place: Place,
        (first, last): (u64, u64),
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, StorageError> {
        let mut span = Span::place(source, place.number(), first, last);
        let from_front = self.fronts.begin(&mut span);
        let mut found = Vec::new();
        let mut front = None;
        for row in self.view().range(&span)?.take(limit) {
            let (key, _) = row?;
            if let Some(Row::Agenda(_, _, at, seq)) = key.read() {
                found.push((at, seq));
            }
            front = front.or(Some(key));
        }
        if from_front && limit > 0 {
            self.fronts.set(front.unwrap_or_else(|| span.first.max(span.last)));
        }
        Ok(found)
    }

    /// Writes what a transition decided about the event of number `seq`.
    pub(super) fn apply<R>(
        &mut self,
        totals: &mut Totals,
        seq: u64,
        before: Option<&Event>,
        change: &Change<R>,
        bytes: Option<Encoded>,
    ) -> Result<(), Failure> {
        let Some(after) = &change.event else { return Ok(()) };
        self.move_in_agenda(seq, before, Some(after));
        totals.moved(before, Some(after));
        if before.is_none() {
            self.put(Key::id(&after.id), &seq)?;
        }
        self.put(Key::event(seq), after)?;
        self.note_run(&after.id, seq, Some(after))?;

        let writes = &change.writes;
        if let Some(slot) = writes.keep_old {
            self.move_body(seq, slot)?;
        }
        let slot = if writes.body { Some(0) } else { writes.keep_copy };
        if let (Some(slot), Some(bytes)) = (slot, bytes) {
            let key = Key::payload(seq, slot);
            let value = seal(&key, bytes);
            self.written.put(key, Some(value));
        }
        if let Some(answer) = &writes.answer {
            self.put(Key::answer(seq), answer)?;
        }
        let lines = u32::try_from(writes.story.len()).unwrap_or(u32::MAX);
        let first = after.entries.saturating_sub(lines);
        for (line, entry) in (first..).zip(&writes.story) {
            self.put(Key::line(seq, line), entry)?;
        }
        Ok(())
    }

    /// Removes every row of an event.
    pub(super) fn forget(
        &mut self,
        totals: &mut Totals,
        seq: u64,
        event: &Event,
    ) -> Result<(), Failure> {
        self.move_in_agenda(seq, Some(event), None);
        totals.moved(Some(event), None);
        self.remove(Key::id(&event.id));
        self.note_run(&event.id, seq, None)?;
        self.remove(Key::deliveries(seq));
        self.remove(Key::event(seq));
        if event.finish == Some(Finish::Answered) {
            self.remove(Key::answer(seq));
        }
        if event.entries <= FEW_LINES {
            (0..event.entries).for_each(|line| self.remove(Key::line(seq, line)));
        } else {
            // Those that are there: after damage the number may be any.
            let lines: Result<Vec<_>, _> = self.view().range(&Span::story(seq))?.collect();
            lines?.into_iter().for_each(|(key, _)| self.remove(key));
        }
        self.drop_bodies(seq, event);
        Ok(())
    }

    /// Removes the body and the kept copies of an event.
    pub(super) fn drop_bodies(&mut self, seq: u64, event: &Event) {
        let kept = u8::try_from(event.kept.len()).unwrap_or(u8::MAX);
        for slot in 0..=kept {
            self.remove(Key::payload(seq, slot));
        }
    }

    /// Reads the body an attempt carries; a missing one is a damaged one.
    pub(super) fn body(&self, seq: u64) -> Result<Result<Payload, Damaged>, StorageError> {
        Ok(self.view().payload(seq, 0)?.unwrap_or(Err(Damaged)))
    }

    /// Puts a Held event where a record could not be read.
    pub(super) fn replace_damaged(
        &mut self,
        totals: &mut Totals,
        seq: u64,
        id: &str,
        now: Millis,
    ) -> Result<Event, Failure> {
        let (attempt, lines) = self.readable_story(seq)?;
        let mut change = damaged(id, attempt, lines, now);
        let event = change.event.as_mut().ok_or(Failure::Nothing)?;
        event.kept = self.stored_copies(seq)?;
        self.remove(Key::answer(seq));
        self.apply(totals, seq, None, &change, None)?;
        change.event.ok_or(Failure::Nothing)
    }

    /// SHA-256 of the kept copies in slots 1, 2, 3, as far as there are some.
    fn stored_copies(&self, seq: u64) -> Result<Vec<[u8; 32]>, StorageError> {
        let mut found = Vec::new();
        for (slot, copies) in (1..).zip(1..=KEPT_COPIES) {
            if let Some(stored) = self.view().payload(seq, slot)? {
                let mut sha256 = [0; 32];
                if let Ok(payload) = stored {
                    sha256.copy_from_slice(digest(&SHA256, &payload.body).as_ref());
                }
                found.resize(copies.saturating_sub(1), [0; 32]);
                found.push(sha256);
            }
        }
        Ok(found)
    }

    /// The highest attempt number and the next free line of a story.
    fn readable_story(&self, seq: u64) -> Result<(u32, u32), Failure> {
        let (mut attempt, mut next) = (0, 0);
        for row in self.view().range(&Span::story(seq))? {
            let (key, value) = row?;
            if let Some(Row::Line(_, line)) = key.read() {
                next = line.saturating_add(1);
            }
            if let Ok(Entry { what: What::Claimed { attempt: known, .. }, .. }) = open(&key, &value)
            {
                attempt = attempt.max(known);
            }
        }
        Ok((attempt, next))
    }

    pub(super) fn put_totals(&mut self, totals: &Totals) -> Result<(), Failure> {
        self.put(Key::meta(TOTALS), totals)
    }

    fn move_in_agenda(&mut self, seq: u64, before: Option<&Event>, after: Option<&Event>) {
        let row = |event: &Event| {
            let (place, at) = Place::of(event);
            Key::agenda(event.source(), place, at, seq)
        };
        let (old, new) = (before.map(row), after.map(row));
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.remove(old);
        }
        if let Some(new) = new {
            self.put_in_agenda(new);
        }
    }

    /// Adds a row of the agenda.
    pub(super) fn put_in_agenda(&mut self, key: Key) {
        self.fronts.lower(&key);
        self.written.put(key, Some(Vec::new()));
    }

    fn move_body(&mut self, seq: u64, slot: u8) -> Result<(), Failure> {
        let from = Key::payload(seq, 0);
        let old = self.view().get(&from, |stored| codec::unseal("rows", from.bytes(), stored))?;
        // A body that rotted cannot be kept; the copy's own bytes take its place.
        if let Some(Ok(old)) = old {
            let key = Key::payload(seq, slot);
            let value = seal(&key, old);
            self.written.put(key, Some(value));
        }
        Ok(())
    }
}

/// Why a write cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Begin(#[from] TransactionError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the log: {0}")]
    Log(#[from] std::io::Error),
    #[error("a value could not be encoded")]
    Encode(#[from] wincode::WriteError),
    #[error("{0}")]
    Damaged(String),
    #[error("redb panicked")]
    Panicked,
    #[error("a transition stored nothing where it must")]
    Nothing,
}

impl Failure {
    /// Whether the cause is a lack of space.
    pub(super) fn is_full(&self) -> bool {
        let storage = match self {
            Self::Storage(error)
            | Self::Table(TableError::Storage(error))
            | Self::Begin(TransactionError::Storage(error))
            | Self::Commit(CommitError::Storage(error)) => error,
            Self::Log(error) => return is_no_space(error),
            Self::Table(_)
            | Self::Begin(_)
            | Self::Commit(_)
            | Self::Encode(_)
            | Self::Damaged(_)
            | Self::Panicked
            | Self::Nothing => return false,
        };
        matches!(storage, StorageError::Io(error) if is_no_space(error))
    }
}

pub(super) fn is_no_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
