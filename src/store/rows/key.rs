//! The keys of rows, and what a walk over them begins and ends with.

use smallvec::SmallVec;

/// Most keys are no longer: they are where a tree compares them, not behind a pointer.
const INLINE: usize = 40;

/// The key of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Key(SmallVec<[u8; INLINE]>);

impl Key {
    const AGENDA: u8 = b'A';
    const DELIVERIES: u8 = b'D';
    const EVENT: u8 = b'E';
    const ID: u8 = b'K';
    const META: u8 = b'M';
    const PAYLOAD: u8 = b'P';
    const SIGNAL: u8 = b'S';

    fn of(parts: &[&[u8]]) -> Self {
        let mut key = SmallVec::new();
        for part in parts {
            key.extend_from_slice(part);
        }
        Self(key)
    }

    pub(in crate::store) fn from_bytes(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    pub(in crate::store) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::store) fn agenda(source: &str, place: u8, at: u64, seq: u64) -> Self {
        // No name has a zero byte: the names' order is the rows' order.
        let (at, seq) = (at.to_be_bytes(), seq.to_be_bytes());
        Self::of(&[&[Self::AGENDA], source.as_bytes(), &[0, place], &at, &seq])
    }

    pub(in crate::store) fn event(seq: u64) -> Self {
        Self::of(&[&[Self::EVENT], &seq.to_be_bytes(), &[0]])
    }

    pub(in crate::store) fn deliveries(seq: u64) -> Self {
        Self::of(&[&[Self::DELIVERIES], &seq.to_be_bytes()])
    }

    pub(in crate::store) fn answer(seq: u64) -> Self {
        Self::of(&[&[Self::EVENT], &seq.to_be_bytes(), &[2]])
    }

    pub(in crate::store) fn line(seq: u64, line: u32) -> Self {
        Self::of(&[&[Self::EVENT], &seq.to_be_bytes(), &[3], &line.to_be_bytes()])
    }

    pub(in crate::store) fn payload(seq: u64, slot: u8) -> Self {
        Self::of(&[&[Self::PAYLOAD], &seq.to_be_bytes(), &[slot]])
    }

    pub(in crate::store) fn id(id: &str) -> Self {
        Self::of(&[&[Self::ID], id.as_bytes()])
    }

    pub(in crate::store) fn meta(name: &str) -> Self {
        Self::of(&[&[Self::META], name.as_bytes()])
    }

    pub(in crate::store) fn signal(signal: &str) -> Self {
        Self::of(&[&[Self::SIGNAL], signal.as_bytes()])
    }

    /// After every row of this key's kind. No key goes on with this byte, which is not text.
    fn end(kind: u8) -> Self {
        Self::of(&[&[kind], &[u8::MAX; 9]])
    }

    /// What the agenda's rows of one source and place begin with.
    pub(in crate::store) fn front(&self) -> &[u8] {
        self.0.get(..self.0.len().saturating_sub(16)).unwrap_or_default()
    }

    /// The first possible key after this one.
    pub(in crate::store) fn next(&self) -> Self {
        Self::of(&[&self.0, &[0]])
    }

    /// Whether it is the key of an event.
    pub(in crate::store) fn is_id(&self) -> bool {
        self.0.first() == Some(&Self::ID)
    }

    /// Whether no row of its source and place comes before it.
    pub(in crate::store) fn is_front(&self) -> bool {
        self.0.ends_with(&[0; 16])
    }

    /// The number of the event that the row belongs to, where the key has it.
    pub(in crate::store) fn seq(&self) -> Option<u64> {
        let seq = match *self.0.first()? {
            Self::DELIVERIES | Self::EVENT | Self::PAYLOAD => self.0.get(1..9)?,
            Self::AGENDA => self.0.last_chunk::<8>()?,
            _ => return None,
        };
        Some(u64::from_be_bytes(seq.try_into().ok()?))
    }

    /// Whether no more than a few rows are between this one and a later one: those of the same
    /// two events, or of the same millisecond in the agenda.
    pub(in crate::store) fn is_beside(&self, later: &Self) -> bool {
        let numbered = |kind| matches!(kind, Self::DELIVERIES | Self::EVENT | Self::PAYLOAD);
        let number = |key: &Self| match key.0.first() {
            Some(&Self::AGENDA) => key.at(),
            Some(&kind) if numbered(kind) => key.seq(),
            _ => None,
        };
        let is_next = |(number, later): (u64, u64)| later.saturating_sub(number) <= 1;
        let same_kind = match self.0.first() {
            Some(&Self::AGENDA) => self.front() == later.front(),
            kind => kind == later.0.first(),
        };
        same_kind && number(self).zip(number(later)).is_some_and(is_next)
    }

    /// The time in a row of the agenda.
    fn at(&self) -> Option<u64> {
        let (rest, _) = self.0.split_last_chunk::<8>()?;
        Some(u64::from_be_bytes(*rest.last_chunk::<8>()?))
    }

    /// What this key is of; `None`: it is none of ours.
    pub(in crate::store) fn read(&self) -> Option<Row<'_>> {
        let (kind, rest) = self.0.split_first()?;
        let text = || std::str::from_utf8(rest).ok();
        Some(match *kind {
            Self::AGENDA => {
                let (rest, seq) = rest.split_last_chunk::<8>()?;
                let (rest, at) = rest.split_last_chunk::<8>()?;
                let (&place, rest) = rest.split_last()?;
                let source = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
                Row::Agenda(source, place, u64::from_be_bytes(*at), u64::from_be_bytes(*seq))
            },
            Self::DELIVERIES => Row::Deliveries(u64::from_be_bytes(rest.try_into().ok()?)),
            Self::EVENT => {
                let (seq, rest) = rest.split_first_chunk::<8>()?;
                let seq = u64::from_be_bytes(*seq);
                match rest {
                    [0] => Row::Event(seq),
                    [2] => Row::Answer(seq),
                    [3, line @ ..] => Row::Line(seq, u32::from_be_bytes(line.try_into().ok()?)),
                    _ => return None,
                }
            },
            Self::ID => Row::Id(text()?),
            Self::META => Row::Meta(text()?),
            Self::PAYLOAD => {
                let (seq, rest) = rest.split_first_chunk::<8>()?;
                let [slot] = rest else { return None };
                Row::Payload(u64::from_be_bytes(*seq), *slot)
            },
            Self::SIGNAL => Row::Signal(text()?),
            _ => return None,
        })
    }
}

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Row<'a> {
    /// Source, place, time and number.
    Agenda(&'a str, u8, u64, u64),
    Event(u64),
    Deliveries(u64),
    Answer(u64),
    /// Number and line.
    Line(u64, u32),
    Id(&'a str),
    Meta(&'a str),
    /// Number and slot.
    Payload(u64, u8),
    Signal(&'a str),
}

/// The first and the last key of rows that are walked over.
#[derive(Clone, Debug)]
pub(in crate::store) struct Span {
    pub(in crate::store) first: Key,
    pub(in crate::store) last: Key,
}

impl Span {
    fn all(kind: u8) -> Self {
        Self { first: Key::of(&[&[kind]]), last: Key::end(kind) }
    }

    /// Every row of the agenda.
    pub(in crate::store) fn agenda() -> Self {
        Self::all(Key::AGENDA)
    }

    /// The agenda's rows of one source and place, of these times.
    pub(in crate::store) fn place(source: &str, place: u8, first: u64, last: u64) -> Self {
        Self {
            first: Key::agenda(source, place, first, 0),
            last: Key::agenda(source, place, last, u64::MAX),
        }
    }

    /// The agenda's rows of one source and place, before this time and number.
    pub(in crate::store) fn before(source: &str, place: u8, at: u64, seq: u64) -> Self {
        let mut span = Self::place(source, place, 0, at);
        // The end is inclusive: the number before, or the last of the time before.
        span.last = match (seq.checked_sub(1), at.checked_sub(1)) {
            (Some(seq), _) => Key::agenda(source, place, at, seq),
            (None, Some(at)) => Key::agenda(source, place, at, u64::MAX),
            (None, None) => span.first.clone(),
        };
        span
    }

    /// What was noted of all events' deliveries.
    pub(in crate::store) fn deliveries() -> Self {
        Self::all(Key::DELIVERIES)
    }

    /// The rows of all events, but for their deliveries and payloads.
    pub(in crate::store) fn events() -> Self {
        Self::all(Key::EVENT)
    }

    /// The rows of the events with numbers below this one, but for their deliveries and
    /// payloads.
    pub(in crate::store) fn events_below(seq: u64) -> Self {
        Self { last: Key::of(&[&[Key::EVENT], &seq.to_be_bytes()]), ..Self::events() }
    }

    /// The lines of one event's story.
    pub(in crate::store) fn story(seq: u64) -> Self {
        Self { first: Key::line(seq, 0), last: Key::line(seq, u32::MAX) }
    }

    /// Every payload.
    pub(in crate::store) fn payloads() -> Self {
        Self::all(Key::PAYLOAD)
    }

    /// The keys of all events, from this id on.
    pub(in crate::store) fn ids(first: &str) -> Self {
        Self { first: Key::id(first), ..Self::all(Key::ID) }
    }

    /// Every row of a signal.
    pub(in crate::store) fn signals() -> Self {
        Self::all(Key::SIGNAL)
    }

    /// Every row of `meta`.
    pub(in crate::store) fn meta() -> Self {
        Self::all(Key::META)
    }
}
