//! The states of an event and every transition between them.
//!
//! Pure: each transition is a function of what is stored, what is asked and the
//! time, and returns what to store and what to answer. The store calls it inside
//! its write transaction, so whoever asks, at whatever moment, the same rules hold.
//!
//! ```text
//! (none) | Open --copy, proxy--> InFlight{token}          the event is written with the claim
//! (none) | Open --copy, queue or owed--> Queued{due: now}, owed
//! Queued --take: due, a slot free--> InFlight
//! InFlight --success--> Done     InFlight --final--> Done | owed: Dead
//! InFlight --failed--> Open      | owed: Queued{due}, or Dead when the budget is spent
//! InFlight --unknown--> as failed, or Held where `on_unknown = "hold"`; flagged from then on
//! Dead --copy--> Queued, a budget of one
//! redeliver: Open | Queued | Held | Dead | Done (forced) -> Queued, owed, a fresh budget
//! settle:    Held -> Done | Queued    admit: Done -> Open    forget: all but InFlight -> (none)
//! sweep:     Done and Open after `ttl`, Dead after `dead_ttl` -> (none)
//! ```
//!
//! *Owed* means that oncegate, not the provider, must see to the event. The bit is
//! never taken back. It picks how a copy is answered: as in proxy mode until owed, as
//! in queue mode from then on.

use std::time::Duration;

use wincode::{SchemaRead, SchemaWrite};

use crate::time::Millis;

mod arrive;
mod operate;
mod settle;
mod signal;
#[cfg(test)]
mod tests;

pub use arrive::{Arrival, Copy, Meets, arrive};
pub use operate::{Act, Expiry, Refused, damaged, expire, operate, take};
pub use settle::{Settled, Settlement, settle};
pub use signal::{join, signal_of};

/// How many mismatching copies of one event keep their bytes.
pub const KEPT_COPIES: usize = 3;

/// The fencing number of a claim: drawn from one counter of the store, never repeated.
/// Never 0, which stands for no claim.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite,
)]
pub struct Token(pub u64);

/// A random id drawn at each start of the process; never the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Boot(pub u64);

/// One event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Event {
    /// `<source>:<key>`: the event's identity, and the `Idempotency-Key` it was born with.
    pub id: String,
    /// The full text of a key that was too long for `id`.
    pub long: Option<String>,
    /// When the first copy arrived.
    pub received: Millis,
    /// When the state last changed; TTLs count from here.
    pub changed: Millis,
    /// Where the event stands.
    pub state: State,
    /// Whether oncegate must see to it. Never taken back.
    pub owed: bool,
    /// Whether an earlier attempt's outcome is unknown.
    pub doubt: bool,
    /// What copies are answered once the event was Done; stays through a redelivery.
    pub finish: Option<Finish>,
    /// The newest claim.
    pub token: Token,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts left before Dead; counts only while owed.
    pub budget: u32,
    /// The body that attempts carry.
    pub body: Body,
    /// SHA-256 of the mismatching copies whose bytes are kept, in order of slot 1, 2, 3.
    pub kept: Vec<[u8; 32]>,
    /// Rows written to the event's story so far.
    pub entries: u32,
}

/// What is known of an event's body.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Body {
    /// SHA-256 of the raw bytes.
    pub sha256: [u8; 32],
    /// Length in bytes.
    pub bytes: u64,
    /// When the bytes were stored; `None` once `keep` took them.
    pub held: Option<Millis>,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum State {
    /// Attempted without success, or admitted again; the provider's next copy is attempted.
    Open,
    /// An attempt is open, owned by the process that drew `boot`.
    InFlight {
        /// The process that owns the attempt.
        boot: Boot,
    },
    /// Waits for its next attempt.
    Queued {
        /// When it may be taken.
        due: Millis,
    },
    /// An attempt succeeded, or the application's answer was final.
    Done,
    /// The budget is spent, or the answer was final; an operator or a copy may revive it.
    Dead,
    /// Never attempted again by itself; an operator decides.
    Held,
}

/// A state without its data: a metric label and a part of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, SchemaRead, SchemaWrite)]
pub enum Label {
    /// See [`State::Open`].
    Open,
    /// See [`State::InFlight`].
    InFlight,
    /// See [`State::Queued`].
    Queued,
    /// See [`State::Done`].
    Done,
    /// See [`State::Dead`].
    Dead,
    /// See [`State::Held`].
    Held,
}

impl Label {
    /// Every label, in the order of their index numbers.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::InFlight, Self::Queued, Self::Done, Self::Dead, Self::Held];

    /// The word in metrics, logs and the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InFlight => "in_flight",
            Self::Queued => "queued",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Held => "held",
        }
    }
}

/// What copies of a finished event are answered, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Finish {
    /// The application's answer, recorded while the event was not owed.
    Answered,
    /// The acknowledgement of the source.
    Acknowledged,
}

/// The application's answer, kept for later copies.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that copies get, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty if `truncated`.
    pub body: Vec<u8>,
    /// Whether the body was over the limit or cut, and so is not kept.
    pub truncated: bool,
}

/// The rules of an event's source that transitions depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Proxy or queue, for events not yet owed.
    pub mode: Mode,
    /// The status of the acknowledgement, which a copy that was stored is answered with.
    pub acknowledgement: u16,
    /// What becomes of an unknown outcome.
    pub on_unknown: OnUnknown,
    /// What becomes of a copy with the same key and another body.
    pub on_mismatch: OnMismatch,
    /// The schedule of attempts of an owed event.
    pub retry: Retry,
    /// How long Done and Open stay after their last change.
    pub ttl: Duration,
    /// How long a Done event's body stays.
    pub keep: Duration,
    /// How long Dead stays; `None`: for ever.
    pub dead_ttl: Option<Duration>,
}

/// How a source's events reach the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// While the provider waits.
    Proxy,
    /// After the provider was answered.
    Queue,
}

/// What becomes of an event whose attempt's outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// The next copy, or the queue, attempts again and tells the application so.
    Redeliver,
    /// It is Held until an operator decides.
    Hold,
}

/// What becomes of a copy with the same key and another body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMismatch {
    /// Counted and shown; the bytes of up to [`KEPT_COPIES`] such copies are kept.
    Flag,
    /// Refused, against Done events only; flagged otherwise.
    Refuse,
    /// Not looked at.
    Ignore,
}

/// The schedule of attempts of an owed event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Attempts in all before Dead.
    pub attempts: u32,
    /// The delay after the first failure, before jitter.
    pub first: Duration,
    /// What each further delay is multiplied by.
    pub factor: f64,
    /// The longest delay.
    pub max: Duration,
    /// Full jitter: the delay is drawn evenly from zero to its nominal length.
    pub jitter: bool,
}

impl Retry {
    /// The delay after failure number `failures` (1, 2, ...). `draw` is in `0.0..1.0`.
    pub fn delay(&self, failures: u32, draw: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let nominal =
            (self.first.as_secs_f64() * self.factor.powi(exponent)).min(self.max.as_secs_f64());
        let seconds = if self.jitter { nominal * draw } else { nominal };
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max)
    }
}

/// What a transition may depend on besides the event and the request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Millis,
    /// The rules of the event's source.
    pub policy: &'a Policy,
    /// The token a claim would get.
    pub token: Token,
    /// Whether the source is not configured any more: nothing can be attempted.
    pub orphaned: bool,
    /// This process.
    pub boot: Boot,
    /// A random number in `0.0..1.0`, for the back-off.
    pub draw: f64,
}

/// What a transition decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<R> {
    /// The event to store; `None` where nothing of it changes.
    pub event: Option<Event>,
    /// What is written beside it.
    pub writes: Writes,
    /// What to tell whoever asked.
    pub reply: R,
}

impl<R> Change<R> {
    fn none(reply: R) -> Self {
        Self { event: None, writes: Writes::default(), reply }
    }

    /// Whether nothing is to be written and a read was enough to decide. Not for
    /// [`operate()`], where no event to store means: forget it.
    pub fn is_none(&self) -> bool {
        self.event.is_none()
    }
}

/// Rows written beside an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writes {
    /// The stored body moves to this slot of kept copies first.
    pub keep_old: Option<u8>,
    /// The copy's own bytes become the event's body.
    pub body: bool,
    /// The copy's own bytes go to this slot of kept copies.
    pub keep_copy: Option<u8>,
    /// The answer to keep.
    pub answer: Option<Answer>,
    /// The lines added to the story.
    pub story: Vec<Entry>,
}

/// The right to attempt, and what the attempt tells the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Fences the settlement.
    pub token: Token,
    /// 1, 2, ...
    pub attempt: u32,
    /// Whether an earlier attempt's outcome is unknown.
    pub doubt: bool,
    /// When the event's first copy arrived.
    pub received: Millis,
    /// Whether the event is owed.
    pub owed: bool,
}

/// One line of an event's story.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Entry {
    /// When it happened.
    pub at: Millis,
    /// The state the event was in afterwards.
    pub state: Label,
    /// What happened.
    pub what: What,
}

/// What a line of the story tells.
#[derive(Clone, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum What {
    /// A copy was stored and waits in the queue.
    Stored {
        /// The status that the copy is answered with.
        status: u16,
    },
    /// An attempt began.
    Claimed {
        /// The claim's fencing number.
        token: Token,
        /// The attempt's number.
        attempt: u32,
    },
    /// An attempt's result was recorded.
    Settled {
        /// The attempt's number.
        attempt: u32,
        /// What came of it.
        result: Verdict,
        /// The application's status, if it answered.
        status: Option<u16>,
        /// Why, in words; at most [`DETAIL_LIMIT`] bytes.
        detail: String,
        /// Whether the attempt had been given up before.
        late: bool,
    },
    /// An operator acted.
    Operated {
        /// What was done.
        act: Act,
        /// Why, in the operator's words; at most [`DETAIL_LIMIT`] bytes.
        note: String,
    },
    /// A copy with another body arrived and its bytes were kept.
    Mismatch {
        /// The slot of kept copies.
        slot: u8,
    },
    /// A copy brought back the body that `keep` had taken.
    BodyRestored,
    /// `keep` took the body.
    BodyDropped,
    /// The stored record could not be read.
    Damaged,
}

/// The longest free text of a story's line, in bytes.
pub const DETAIL_LIMIT: usize = 200;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum Verdict {
    /// The application answered 2xx.
    Success,
    /// The application answered with a status that ends the event for good.
    Final,
    /// Failed for sure: refused, unreachable, never sent, or answered otherwise.
    Failed,
    /// The application may have acted: no answer in time, or the connection was lost.
    Unknown,
    /// Released before a byte was sent.
    NotSent,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 5] =
        [Self::Success, Self::Final, Self::Failed, Self::Unknown, Self::NotSent];

    /// The word in metrics, logs and the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Final => "final",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotSent => "not_sent",
        }
    }
}

impl Token {
    /// What an event bears that was never claimed.
    pub(crate) const NONE: Self = Self(0);
}

impl Body {
    /// The body of a damaged record: no copy differs from it, the next one becomes it.
    const UNKNOWN: Self = Self { sha256: [0; 32], bytes: 0, held: None };

    /// Whether the record was damaged, so that nothing is known of the body.
    pub fn is_unknown(&self) -> bool {
        *self == Self::UNKNOWN
    }

    /// Whether bytes of this SHA-256 are no other body.
    fn agrees_with(&self, sha256: [u8; 32]) -> bool {
        self.sha256 == sha256 || self.is_unknown()
    }
}

impl Event {
    /// The source's name: the part of the id before the first colon.
    pub fn source(&self) -> &str {
        self.id.split_once(':').map_or("", |(source, _)| source)
    }

    /// The state without its data.
    pub fn label(&self) -> Label {
        match self.state {
            State::Open => Label::Open,
            State::InFlight { .. } => Label::InFlight,
            State::Queued { .. } => Label::Queued,
            State::Done => Label::Done,
            State::Dead => Label::Dead,
            State::Held => Label::Held,
        }
    }

    /// Enters `state`, writes the line of the story that says why.
    fn enter(&mut self, state: State, what: What, now: Millis, writes: &mut Writes) {
        self.state = state;
        self.changed = now;
        self.tell(what, now, writes);
    }

    /// Writes a line of the story.
    fn tell(&mut self, what: What, now: Millis, writes: &mut Writes) {
        self.entries = self.entries.saturating_add(1);
        writes.story.push(Entry { at: now, state: self.label(), what });
    }

    /// Makes the event Queued and owed, due now, with a fresh budget.
    fn queue(&mut self, budget: u32, what: What, now: Millis, writes: &mut Writes) {
        self.owed = true;
        self.budget = budget;
        self.enter(State::Queued { due: now }, what, now, writes);
    }

    /// Opens an attempt.
    fn claim(&mut self, cx: &Context<'_>, writes: &mut Writes) -> Lead {
        self.token = cx.token;
        self.attempt = self.attempt.saturating_add(1);
        self.budget = self.budget.saturating_sub(1);
        let what = What::Claimed { token: self.token, attempt: self.attempt };
        self.enter(State::InFlight { boot: cx.boot }, what, cx.now, writes);
        Lead {
            token: self.token,
            attempt: self.attempt,
            doubt: self.doubt,
            received: self.received,
            owed: self.owed,
        }
    }
}

/// Cuts `text` to [`DETAIL_LIMIT`] bytes at a character's edge.
fn brief(text: &str) -> String {
    let end = text.floor_char_boundary(DETAIL_LIMIT);
    text.get(..end).unwrap_or_default().to_owned()
}
