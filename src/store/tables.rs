//! The tables of the redb file, and what it means to read and write an event's rows.
//!
//! | table        | key                          | value                                   |
//! |--------------|------------------------------|-----------------------------------------|
//! | `meta`       | name                         | the file's format; the totals; key rules|
//! | `keys`       | `<source>:<key>`             | sequence number                         |
//! | `events`     | sequence number              | [`Event`]                               |
//! | `agenda`     | source, place, time, number  | nothing: exactly one row an event       |
//! | `payloads`   | number, slot                 | body in slot 0, kept copies in 1 to 3   |
//! | `answers`    | number                       | the recorded answer                     |
//! | `story`      | number, line                 | [`Entry`]                               |
//! | `deliveries` | number                       | [`Deliveries`]                          |
//! | `signals`    | `<source>:=signal.<sha256>`  | which run is newest, which in flight    |
//!
//! Sequence numbers make new rows append and keep an event's rows together; only `keys`
//! is in random order. The agenda serves the queue (what is due), recovery (what was in
//! flight) and the sweep (what has rested longest) alike. The event is the truth: a row
//! of the agenda that does not match its event is removed when it is met.

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, StorageError, Table, TableDefinition,
    TableError, WriteTransaction,
};

use super::codec::{self, Damaged, Encoded};
use super::totals::Totals;
use super::{Deliveries, Payload};
use crate::record::{Answer, Change, Entry, Event, KEPT_COPIES, Label, State, What, damaged};
use crate::time::Millis;

pub(super) type AgendaKey = (&'static str, u8, u64, u64);

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
pub(super) const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
pub(super) const AGENDA: TableDefinition<'_, AgendaKey, ()> = TableDefinition::new("agenda");
pub(super) const PAYLOADS: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("payloads");
pub(super) const ANSWERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answers");
pub(super) const STORY: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("story");
pub(super) const DELIVERIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deliveries");
pub(super) const SIGNALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signals");

/// The row of `meta` that holds the [`Totals`].
pub(super) const TOTALS: &str = "totals";

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

pub(super) fn event_key(seq: u64) -> [u8; 8] {
    seq.to_le_bytes()
}

pub(super) fn slot_key(seq: u64, slot: u8) -> [u8; 9] {
    let mut key = [slot; 9];
    if let Some(start) = key.first_chunk_mut::<8>() {
        *start = seq.to_le_bytes();
    }
    key
}

pub(super) fn line_key(seq: u64, line: u32) -> [u8; 12] {
    let mut key = [0; 12];
    if let Some(start) = key.first_chunk_mut::<8>() {
        *start = seq.to_le_bytes();
    }
    if let Some(end) = key.last_chunk_mut::<4>() {
        *end = line.to_le_bytes();
    }
    key
}

/// Finds the event of `id`, in a read or a write transaction alike.
pub(super) fn find(
    keys: &impl ReadableTable<&'static str, &'static [u8]>,
    events: &impl ReadableTable<u64, &'static [u8]>,
    id: &str,
) -> Result<Found, StorageError> {
    let Some(row) = keys.get(id)? else { return Ok(Found::Nothing) };
    let Ok(seq) = codec::open::<u64>("keys", id.as_bytes(), row.value()) else {
        return Ok(Found::Damaged(None));
    };
    Ok(match event(events, seq)? {
        Some(Ok(event)) if event.id == id => Found::Event(seq, Box::new(event)),
        // The number is another event's: the key is what is wrong.
        Some(Ok(_)) => Found::Damaged(None),
        Some(Err(Damaged)) | None => Found::Damaged(Some(seq)),
    })
}

/// Reads the event of a sequence number.
pub(super) fn event(
    events: &impl ReadableTable<u64, &'static [u8]>,
    seq: u64,
) -> Result<Option<Result<Event, Damaged>>, StorageError> {
    let row = events.get(seq)?;
    Ok(row.map(|row| codec::open("events", &event_key(seq), row.value())))
}

/// The sources that have events, configured or not.
pub(super) fn sources(
    agenda: &impl ReadableTable<AgendaKey, ()>,
) -> Result<Vec<String>, StorageError> {
    let mut sources: Vec<String> = Vec::new();
    let mut after = String::new();
    while let Some(row) = agenda.range((after.as_str(), 0, 0, 0)..)?.next() {
        let (key, _) = row?;
        let source = key.value().0.to_owned();
        // The next possible name after this one.
        after = format!("{source}\0");
        sources.push(source);
    }
    Ok(sources)
}

/// Reads a recorded answer; a missing one is a damaged one.
pub(super) fn answer(
    answers: &impl ReadableTable<u64, &'static [u8]>,
    seq: u64,
) -> Result<Result<Answer, Damaged>, StorageError> {
    Ok(match answers.get(seq)? {
        Some(row) => codec::open("answers", &event_key(seq), row.value()),
        None => Err(Damaged),
    })
}

/// Reads what was noted of an event's deliveries.
pub(super) fn deliveries(
    table: &impl ReadableTable<u64, &'static [u8]>,
    seq: u64,
) -> Result<Deliveries, StorageError> {
    let row = table.get(seq)?;
    Ok(row
        .and_then(|row| codec::open("deliveries", &event_key(seq), row.value()).ok())
        .unwrap_or_default())
}

/// Reads the lines of a story; the second figure counts those that could not be read.
pub(super) fn story(
    table: &ReadOnlyTable<(u64, u32), &'static [u8]>,
    seq: u64,
) -> Result<(Vec<Entry>, u32), StorageError> {
    let mut entries = Vec::new();
    let mut unreadable: u32 = 0;
    for row in table.range((seq, 0)..=(seq, u32::MAX))? {
        let (key, value) = row?;
        match codec::open("story", &line_key(seq, key.value().1), value.value()) {
            Ok(entry) => entries.push(entry),
            Err(Damaged) => unreadable = unreadable.saturating_add(1),
        }
    }
    Ok((entries, unreadable))
}

/// Reads the totals; `None` if they are missing or damaged.
pub(super) fn totals(txn: &ReadTransaction) -> Result<Option<Totals>, TableError> {
    let meta = txn.open_table(META)?;
    let row = meta.get(TOTALS)?;
    Ok(row.and_then(|row| codec::open("meta", TOTALS.as_bytes(), row.value()).ok()))
}

/// Everything a write transaction may touch.
pub(super) struct Tables<'txn> {
    pub(super) meta: Table<'txn, &'static str, &'static [u8]>,
    pub(super) keys: Table<'txn, &'static str, &'static [u8]>,
    pub(super) events: Table<'txn, u64, &'static [u8]>,
    pub(super) agenda: Table<'txn, AgendaKey, ()>,
    pub(super) payloads: Table<'txn, (u64, u8), &'static [u8]>,
    pub(super) answers: Table<'txn, u64, &'static [u8]>,
    pub(super) story: Table<'txn, (u64, u32), &'static [u8]>,
    pub(super) deliveries: Table<'txn, u64, &'static [u8]>,
    pub(super) signals: Table<'txn, &'static str, &'static [u8]>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            meta: txn.open_table(META)?,
            keys: txn.open_table(KEYS)?,
            events: txn.open_table(EVENTS)?,
            agenda: txn.open_table(AGENDA)?,
            payloads: txn.open_table(PAYLOADS)?,
            answers: txn.open_table(ANSWERS)?,
            story: txn.open_table(STORY)?,
            deliveries: txn.open_table(DELIVERIES)?,
            signals: txn.open_table(SIGNALS)?,
        })
    }

    pub(super) fn find(&self, id: &str) -> Result<Found, StorageError> {
        find(&self.keys, &self.events, id)
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
        self.move_in_agenda(seq, before, Some(after))?;
        totals.moved(before, Some(after));
        if before.is_none() {
            self.put_key(&after.id, seq)?;
        }
        let value = codec::seal("events", &event_key(seq), codec::encode(after)?);
        self.events.insert(seq, value.as_slice())?;
        self.note_run(&after.id, seq, Some(after))?;

        let writes = &change.writes;
        if let Some(slot) = writes.keep_old {
            self.move_body(seq, slot)?;
        }
        let slot = if writes.body { Some(0) } else { writes.keep_copy };
        if let (Some(slot), Some(bytes)) = (slot, bytes) {
            let value = codec::seal("payloads", &slot_key(seq, slot), bytes);
            self.payloads.insert((seq, slot), value.as_slice())?;
        }
        if let Some(answer) = &writes.answer {
            let value = codec::seal("answers", &event_key(seq), codec::encode(answer)?);
            self.answers.insert(seq, value.as_slice())?;
        }
        let lines = u32::try_from(writes.story.len()).unwrap_or(u32::MAX);
        let first = after.entries.saturating_sub(lines);
        for (line, entry) in (first..).zip(&writes.story) {
            let value = codec::seal("story", &line_key(seq, line), codec::encode(entry)?);
            self.story.insert((seq, line), value.as_slice())?;
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
        self.move_in_agenda(seq, Some(event), None)?;
        totals.moved(Some(event), None);
        self.keys.remove(event.id.as_str())?;
        self.note_run(&event.id, seq, None)?;
        self.events.remove(seq)?;
        self.drop_bodies(seq)?;
        self.answers.remove(seq)?;
        self.deliveries.remove(seq)?;
        self.story.retain_in((seq, 0)..=(seq, u32::MAX), |_, _| false)?;
        Ok(())
    }

    /// Removes the body and the kept copies of an event.
    pub(super) fn drop_bodies(&mut self, seq: u64) -> Result<(), Failure> {
        for slot in 0..=KEPT_COPIES {
            self.payloads.remove((seq, u8::try_from(slot).unwrap_or(u8::MAX)))?;
        }
        Ok(())
    }

    /// Reads the body an attempt carries.
    pub(super) fn body(&self, seq: u64) -> Result<Result<Payload, Damaged>, StorageError> {
        Ok(match self.payloads.get((seq, 0))? {
            Some(row) => codec::open("payloads", &slot_key(seq, 0), row.value()),
            None => Err(Damaged),
        })
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
        let change = damaged(id, attempt, lines, now);
        self.apply(totals, seq, None, &change, None)?;
        change.event.ok_or(Failure::Nothing)
    }

    /// The highest attempt number and the next free line of a story.
    fn readable_story(&self, seq: u64) -> Result<(u32, u32), Failure> {
        let (mut attempt, mut next) = (0, 0);
        for row in self.story.range((seq, 0)..=(seq, u32::MAX))? {
            let (key, value) = row?;
            let line = key.value().1;
            next = line.saturating_add(1);
            if let Ok(Entry { what: What::Claimed { attempt: known, .. }, .. }) =
                codec::open("story", &line_key(seq, line), value.value())
            {
                attempt = attempt.max(known);
            }
        }
        Ok((attempt, next))
    }

    pub(super) fn put_key(&mut self, id: &str, seq: u64) -> Result<(), Failure> {
        let value = codec::seal("keys", id.as_bytes(), codec::encode(&seq)?);
        self.keys.insert(id, value.as_slice())?;
        Ok(())
    }

    pub(super) fn put_deliveries(
        &mut self,
        seq: u64,
        deliveries: &Deliveries,
    ) -> Result<(), Failure> {
        let value = codec::seal("deliveries", &event_key(seq), codec::encode(deliveries)?);
        self.deliveries.insert(seq, value.as_slice())?;
        Ok(())
    }

    pub(super) fn put_totals(&mut self, totals: &Totals) -> Result<(), Failure> {
        let value = codec::seal("meta", TOTALS.as_bytes(), codec::encode(totals)?);
        self.meta.insert(TOTALS, value.as_slice())?;
        Ok(())
    }

    fn move_in_agenda(
        &mut self,
        seq: u64,
        before: Option<&Event>,
        after: Option<&Event>,
    ) -> Result<(), Failure> {
        let old = before.map(|event| (event.source(), Place::of(event)));
        let new = after.map(|event| (event.source(), Place::of(event)));
        if old == new {
            return Ok(());
        }
        if let Some((source, (place, at))) = old {
            self.agenda.remove((source, place, at, seq))?;
        }
        if let Some((source, (place, at))) = new {
            self.agenda.insert((source, place, at, seq), ())?;
        }
        Ok(())
    }

    fn move_body(&mut self, seq: u64, slot: u8) -> Result<(), Failure> {
        let Some(row) = self.payloads.get((seq, 0))? else { return Ok(()) };
        let old = codec::unseal("payloads", &slot_key(seq, 0), row.value());
        drop(row);
        // A body that rotted cannot be kept; the copy's own bytes take its place.
        if let Ok(old) = old {
            let value = codec::seal("payloads", &slot_key(seq, slot), old);
            self.payloads.insert((seq, slot), value.as_slice())?;
        }
        Ok(())
    }
}

/// Why a write transaction cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Begin(#[from] redb::TransactionError),
    #[error(transparent)]
    Commit(#[from] redb::CommitError),
    #[error("a value could not be encoded")]
    Encode(#[from] wincode::WriteError),
    #[error("a transition stored nothing where it must")]
    Nothing,
}

impl Failure {
    /// Whether the cause is a lack of space.
    pub(super) fn is_full(&self) -> bool {
        let storage = match self {
            Self::Storage(error)
            | Self::Table(TableError::Storage(error))
            | Self::Begin(redb::TransactionError::Storage(error))
            | Self::Commit(redb::CommitError::Storage(error)) => error,
            Self::Table(_) | Self::Begin(_) | Self::Commit(_) | Self::Encode(_) | Self::Nothing => {
                return false;
            },
        };
        matches!(storage, StorageError::Io(error) if is_no_space(error))
    }
}

pub(super) fn is_no_space(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
