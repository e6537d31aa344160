//! Pages of events, newest first. A page is one short read: it looks at a bounded number of
//! rows and holds no transaction once it is there, so a client that pages slowly costs
//! nothing and the file does not grow for it.
//!
//! What a cursor names is a place in an order that no write changes: a sequence number, a
//! row of the agenda, a key. So an event that stays as it is, is met exactly once, whatever
//! comes, goes or changes meanwhile; one that changes moves to the front of its new state.

use std::collections::BTreeMap;
use std::iter::{Peekable, Rev};

use data_encoding::BASE64URL_NOPAD;
use redb::{AccessGuard, Range};
use wincode::{SchemaRead, SchemaWrite};

use super::Unavailable;
use super::codec::{self, Damaged};
use super::layers::{Base, BaseRows, View};
use super::rows::{self, Failure, Found, Key, Place, Row, Span};
use super::totals::Totals;
use crate::record::{self, Event, Label};
use crate::time::Millis;

/// Rows that one page looks at: some 20 ms of reading. A page that met too few events by
/// then comes back short, with a cursor. Tests see to it that pages do.
const PAGE_ROWS: usize = if cfg!(test) { 7 } else { 10_000 };
/// Keys looked at for the name of a damaged record: some 20 ms of reading.
const NAME_ROWS: usize = 50_000;

/// Which events to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this source.
    pub source: Option<String>,
    /// In this state.
    pub state: Option<Label>,
    /// With such a key.
    pub key: Option<KeyFilter>,
    /// Received then or later.
    pub since: Option<Millis>,
    /// Received then or earlier.
    pub until: Option<Millis>,
}

/// Which keys to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFilter {
    /// This one.
    Is(String),
    /// Those that start so.
    StartsWith(String),
}

/// Some of the events of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Maybe fewer than asked for, also when there are more.
    pub events: Vec<Event>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<String>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The cursor was not made for this list.
    #[error("the cursor is not one of this list: begin again without it")]
    BadCursor,
    /// The store cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The last thing that a page looked at. What a cursor holds.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub(super) enum Position {
    /// A sequence number; the next is below.
    Number(u64),
    /// A time of the agenda and a sequence number; the next is before.
    Moment(u64, u64),
    /// An id; the next is after.
    Id(String),
}

impl Position {
    /// The text of a cursor of the list of `filter`.
    fn seal(&self, filter: &Filter) -> Result<String, Failure> {
        let sealed = codec::seal("cursor", filter.identity().as_bytes(), codec::encode(self)?);
        Ok(BASE64URL_NOPAD.encode(&sealed))
    }

    /// Reads what [`Position::seal`] wrote for the same filter.
    pub(super) fn open(cursor: &str, filter: &Filter) -> Result<Self, ListError> {
        let sealed = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| ListError::BadCursor)?;
        let position = codec::open("cursor", filter.identity().as_bytes(), &sealed)
            .map_err(|Damaged| ListError::BadCursor)?;
        match (&position, filter.order()) {
            (Self::Number(_), Order::Number)
            | (Self::Moment(..), Order::Moment(_))
            | (Self::Id(_), Order::Key(_)) => Ok(position),
            _ => Err(ListError::BadCursor),
        }
    }
}

/// In which order a list is walked.
enum Order<'a> {
    /// A few lookups, no walk.
    Lookup(&'a str),
    /// By id, within a source.
    Key(&'a str),
    /// By the agenda's time, newest first.
    Moment(Label),
    /// By sequence number, newest first.
    Number,
}

impl Filter {
    fn order(&self) -> Order<'_> {
        match (&self.key, &self.source, self.state) {
            (Some(KeyFilter::Is(key)), _, _) => Order::Lookup(key),
            (Some(KeyFilter::StartsWith(start)), Some(_), _) => Order::Key(start),
            (_, _, Some(state)) => Order::Moment(state),
            _ => Order::Number,
        }
    }

    /// What a cursor belongs to. Not the times: `2h` ago moves on from page to page.
    fn identity(&self) -> String {
        format!("{:?} {:?} {:?}", self.source, self.state, self.key)
    }
}

/// What is looked for, and under which names events of its source were born.
pub(super) struct Wanted<'a> {
    pub(super) filter: &'a Filter,
    /// Every name that the source has or had; `None`: any source.
    pub(super) names: Option<Vec<String>>,
}

impl Wanted<'_> {
    fn takes(&self, event: &Event) -> bool {
        self.takes_name(event)
            && self.takes_state(event)
            && self.filter.since.is_none_or(|since| event.received >= since)
            && self.filter.until.is_none_or(|until| event.received <= until)
    }

    fn takes_state(&self, event: &Event) -> bool {
        self.filter.state.is_none_or(|state| event.label() == state)
    }

    fn takes_name(&self, event: &Event) -> bool {
        let (source, key) = event.id.split_once(':').unwrap_or_default();
        self.names.as_ref().is_none_or(|names| names.iter().any(|name| name == source))
            && match &self.filter.key {
                None => true,
                Some(KeyFilter::Is(is)) => key == is,
                Some(KeyFilter::StartsWith(start)) => key.starts_with(start.as_str()),
            }
    }

    /// Whether all that was received by `at` is too old.
    fn is_past(&self, at: Millis) -> bool {
        self.filter.since.is_some_and(|since| at < since)
    }
}

/// One page being filled.
struct Walk<'a> {
    wanted: &'a Wanted<'a>,
    view: View<'a>,
    base: &'a BaseRows,
    limit: usize,
    rows: usize,
    page: Vec<Event>,
    /// Numbers of records that cannot be read, and where they stand in the page.
    nameless: BTreeMap<u64, usize>,
    now: Millis,
}

/// One page of the list of what is wanted, after `from`. Blocks.
pub(super) fn page(
    base: &Base,
    totals: &Totals,
    wanted: &Wanted<'_>,
    from: Option<&Position>,
    limit: usize,
    now: Millis,
) -> Result<Page, Failure> {
    let filter = wanted.filter;
    let mut walk = Walk {
        wanted,
        view: base.view(),
        base: &base.rows,
        limit,
        rows: 0,
        page: Vec::new(),
        nameless: BTreeMap::new(),
        now,
    };
    let next = match filter.order() {
        Order::Lookup(key) => walk.look_up(key, totals)?,
        Order::Key(start) => walk.by_key(start, from)?,
        Order::Moment(state) => walk.by_moment(state, from)?,
        Order::Number => walk.by_number(from)?,
    };
    let events = walk.name_the_nameless()?;
    Ok(Page { events, next: next.map(|next| next.seal(filter)).transpose()? })
}

impl Walk<'_> {
    /// Whether the page is full, or took long enough.
    fn is_over(&self) -> bool {
        self.page.len() >= self.limit || self.rows >= PAGE_ROWS
    }

    fn look_up(&mut self, key: &str, totals: &Totals) -> Result<Option<Position>, Failure> {
        let mut sources: Vec<&str> = totals.all().map(|(source, _, _)| source).collect();
        sources.dedup();
        let mut found = Vec::new();
        for source in sources {
            let id = format!("{source}:{key}");
            match self.view.find(&id)? {
                Found::Nothing => {},
                Found::Event(seq, event) => found.push((seq, *event)),
                Found::Damaged(seq) => found.push((seq.unwrap_or_default(), self.held(&id)?)),
            }
        }
        found.retain(|(_, event)| self.wanted.takes(event));
        found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        self.page = found.into_iter().map(|(_, event)| event).collect();
        // One a source at most: there is no second page.
        Ok(None)
    }

    fn by_key(
        &mut self,
        start: &str,
        from: Option<&Position>,
    ) -> Result<Option<Position>, Failure> {
        let mut last = None;
        let names = self.wanted.names.iter().flatten();
        let mut names: Vec<String> = names.map(|name| format!("{name}:")).collect();
        // In the order of the ids: none of these is the beginning of another.
        names.sort();
        for name in names {
            let first = match from {
                // The next possible id after this one.
                Some(Position::Id(id)) if id.starts_with(&name) => format!("{id}\0"),
                Some(Position::Id(id)) if *id > name => continue,
                _ => format!("{name}{start}"),
            };
            for row in self.view.range(&Span::ids(&first))? {
                if self.is_over() {
                    return Ok(last.or_else(|| from.cloned()));
                }
                let (key, _) = row?;
                let Some(Row::Id(id)) = key.read() else { break };
                if !id.strip_prefix(&name).is_some_and(|key| key.starts_with(start)) {
                    break;
                }
                self.rows += 1;
                self.meet_id(id)?;
                last = Some(Position::Id(id.to_owned()));
            }
        }
        Ok(None)
    }

    fn meet_id(&mut self, id: &str) -> Result<(), Failure> {
        let event = match self.view.find(id)? {
            Found::Nothing => None,
            Found::Event(_, event) => Some(*event).filter(|event| self.wanted.takes(event)),
            // When it was received cannot be read: it is in any time.
            Found::Damaged(_) => {
                Some(self.held(id)?).filter(|event| self.wanted.takes_state(event))
            },
        };
        self.page.extend(event);
        Ok(())
    }

    fn by_number(&mut self, from: Option<&Position>) -> Result<Option<Position>, Failure> {
        let below = match from {
            Some(Position::Number(number)) => *number,
            _ => u64::MAX,
        };
        let mut last = None;
        for row in backward(self.base, &Span::events_below(below))? {
            if self.is_over() {
                return Ok(last);
            }
            let (key, value) = row?;
            let key = Key::from_bytes(key.value());
            let Some(Row::Event(seq)) = key.read() else { continue };
            self.rows += 1;
            match rows::open::<Event>(&key, value.value()) {
                // Numbers are drawn as events arrive, and the store's clock does not go back.
                Ok(event) if self.wanted.is_past(event.received) => return Ok(None),
                Ok(event) if self.wanted.takes(&event) => self.page.push(event),
                Ok(_) => {},
                Err(Damaged) => self.push_nameless(seq, None)?,
            }
            last = Some(Position::Number(seq));
        }
        Ok(None)
    }

    fn by_moment(
        &mut self,
        state: Label,
        from: Option<&Position>,
    ) -> Result<Option<Position>, Failure> {
        let before = match from {
            Some(Position::Moment(at, seq)) => (*at, *seq),
            _ => (u64::MAX, u64::MAX),
        };
        let sources = match &self.wanted.names {
            Some(names) => names.clone(),
            None => self.view.sources()?,
        };
        let mut runs = Vec::new();
        for source in &sources {
            for place in Place::ALL.into_iter().filter(|it| it.stands_for(state)) {
                runs.push(Run::new(self.base, source, place.number(), before)?);
            }
        }
        let mut last = None;
        loop {
            if self.is_over() {
                return Ok(last);
            }
            // The newest of the runs' heads; numbers never repeat, so no two are the same.
            let mut newest: Option<(u64, u64, usize)> = None;
            for (index, run) in runs.iter_mut().enumerate() {
                newest = newest.max(run.head()?.map(|(at, seq)| (at, seq, index)));
            }
            let Some((at, seq, index)) = newest else { return Ok(None) };
            // No event is received after it last changed, nor after it falls due.
            if self.wanted.is_past(Millis(at)) {
                return Ok(None);
            }
            self.rows += 1;
            if let Some(run) = runs.get_mut(index) {
                run.rows.next();
                self.meet(run.source, run.place, at, seq)?;
            }
            last = Some(Position::Moment(at, seq));
        }
    }

    /// Meets a row of the agenda. One that its event does not know is nothing: the event is
    /// met where it stands.
    fn meet(&mut self, source: &str, place: u8, at: u64, seq: u64) -> Result<(), Failure> {
        match self.view.event(seq)? {
            Some(Ok(event)) => {
                let stands = event.source() == source && Place::of(&event) == (place, at);
                if stands && self.wanted.takes(&event) {
                    self.page.push(event);
                }
                Ok(())
            },
            Some(Err(Damaged)) => self.push_nameless(seq, Some(source)),
            None => Ok(()),
        }
    }

    /// What stands for a record that cannot be read, as the story has it.
    fn held(&self, id: &str) -> Result<Event, Failure> {
        record::damaged(id, 0, 0, self.now).event.ok_or(Failure::Nothing)
    }

    fn push_nameless(&mut self, seq: u64, source: Option<&str>) -> Result<(), Failure> {
        // No key has a question mark: this can be no other event's.
        let held = self.held(&format!("{}:?{seq}", source.unwrap_or("?")))?;
        self.nameless.insert(seq, self.page.len());
        self.page.push(held);
        Ok(())
    }

    /// Looks for the keys of records that cannot be read: they are what knows the ids.
    fn name_the_nameless(mut self) -> Result<Vec<Event>, Failure> {
        if self.nameless.is_empty() {
            return Ok(self.page);
        }
        for row in self.view.range(&Span::ids(""))?.take(NAME_ROWS) {
            let (key, value) = row?;
            let Some(Row::Id(id)) = key.read() else { continue };
            let seq = rows::open::<u64>(&key, &value);
            let found = seq.ok().and_then(|seq| self.nameless.remove(&seq));
            if let Some(event) = found.and_then(|at| self.page.get_mut(at)) {
                id.clone_into(&mut event.id);
            }
            if self.nameless.is_empty() {
                break;
            }
        }
        // Only now is it known whose they are.
        self.page.retain(|event| self.wanted.takes_name(event));
        Ok(self.page)
    }
}

/// Rows of the file, the last one first.
type Backward<'a> = Rev<Range<'a, &'static [u8], &'static [u8]>>;
type BaseRow<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

fn backward<'a>(base: &'a BaseRows, span: &Span) -> Result<Backward<'a>, Failure> {
    Ok(base.range(span)?.rev())
}

/// The rows of one source and place, newest first.
struct Run<'a> {
    source: &'a str,
    place: u8,
    rows: Peekable<Backward<'a>>,
}

impl<'a> Run<'a> {
    fn new(
        base: &'a BaseRows,
        source: &'a str,
        place: u8,
        (at, seq): (u64, u64),
    ) -> Result<Self, Failure> {
        let span = Span::before(source, place, at, seq);
        Ok(Self { source, place, rows: backward(base, &span)?.peekable() })
    }

    /// Time and number of the next row.
    fn head(&mut self) -> Result<Option<(u64, u64)>, Failure> {
        let read = |row: &BaseRow<'_>| match Key::from_bytes(row.0.value()).read() {
            Some(Row::Agenda(_, _, at, seq)) => Some((at, seq)),
            _ => None,
        };
        match self.rows.peek() {
            None => Ok(None),
            Some(Ok(row)) => Ok(read(row)),
            // The error itself is in there, to be taken out.
            Some(Err(_)) => match self.rows.next() {
                Some(Err(error)) => Err(error.into()),
                _ => Ok(None),
            },
        }
    }
}
