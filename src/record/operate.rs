//! What happens with no copy and no attempt: the queue takes, an operator acts, time passes.

use std::fmt;

use wincode::{SchemaRead, SchemaWrite};

use super::{
    Body, Change, Context, Event, Finish, Label, Lead, State, Token, What, Writes, brief, signal_of,
};
use crate::time::Millis;

/// What an operator may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Act {
    /// Attempt again, with a fresh budget.
    Redeliver {
        /// Also when it is Done.
        force: bool,
    },
    /// A Held event was done by the application.
    SettleDone,
    /// A Held event was not done: attempt it.
    SettleQueued,
    /// Remove the event; the next copy is a first copy.
    Forget {
        /// Also when it is Queued.
        force: bool,
    },
    /// Let the next copy of a Done event through, as its first one was.
    Admit,
}

/// Why an operator's act was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such event.
    NotFound,
    /// An attempt is open; ask again when it has ended.
    InFlight,
    /// Only with force, in this state.
    NeedsForce(Label),
    /// The body is gone.
    NoBody,
    /// Only a Held event can be settled.
    NotHeld(Label),
    /// Only the copies of a Done event need to be let through.
    NotDone(Label),
    /// No delivery is ever known as a copy of it: each is let through.
    NoCopies,
    /// Its source is not configured, so there is no target, and no rule for what is unknown.
    Orphaned,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such event"),
            Self::InFlight => f.write_str("an attempt is open: ask again when it has ended"),
            Self::NeedsForce(state) => write!(f, "the event is {}: force is needed", state.word()),
            Self::NoBody => f.write_str("the event's body is gone: `keep` took it"),
            Self::NotHeld(state) => {
                write!(f, "the event is {}, and only a held one can be settled", state.word())
            },
            Self::NotDone(state) => {
                write!(f, "the event is {}, and only a done one can be admitted: ", state.word())?;
                f.write_str(match state {
                    Label::Open => "its next copy is let through anyway",
                    Label::Queued => "it is attempted without a copy, `redeliver` has it due now",
                    Label::Dead => {
                        "its next copy has it attempted anyway, once; `redeliver` does so now"
                    },
                    Label::Held => "`settle` it first, or `redeliver` it",
                    Label::InFlight | Label::Done => "ask again when its attempt has ended",
                })
            },
            Self::NoCopies => f.write_str(
                "no delivery is held back as a copy of this event, by its source's `fallback`: \
                 let the provider send again",
            ),
            Self::Orphaned => f.write_str(
                "the event's source is not configured: configure it again, or name it in `was` of \
                 the source that goes on for it",
            ),
        }
    }
}

/// What time does to an event at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing yet.
    Stays,
    /// Its body goes, the record stays.
    DropBody,
    /// It is forgotten.
    Forget,
}

/// The queue takes a due event. `None`: it is not due after all.
pub fn take(stored: &Event, cx: &Context<'_>) -> Option<Change<Lead>> {
    let State::Queued { due } = stored.state else { return None };
    if due > cx.now {
        return None;
    }
    let mut event = stored.clone();
    let mut writes = Writes::default();
    let reply = event.claim(cx, &mut writes);
    Some(Change { event: Some(event), writes, reply })
}

/// Does what an operator asks. `Ok` with no event to store means: forget it.
pub fn operate(
    stored: Option<&Event>,
    act: Act,
    note: &str,
    cx: &Context<'_>,
) -> Result<Change<Label>, Refused> {
    let stored = stored.ok_or(Refused::NotFound)?;
    let label = stored.label();
    let attempts = matches!(act, Act::Redeliver { .. } | Act::SettleQueued | Act::Admit);
    if cx.orphaned && (attempts || label == Label::InFlight) {
        return Err(Refused::Orphaned);
    }
    if label == Label::InFlight {
        return Err(Refused::InFlight);
    }
    let mut event = stored.clone();
    let mut writes = Writes::default();
    let what = What::Operated { act, note: brief(note) };
    let fresh = cx.policy.retry.attempts;
    match act {
        Act::Forget { force } => {
            if label == Label::Queued && !force {
                return Err(Refused::NeedsForce(label));
            }
            return Ok(Change { event: None, writes, reply: label });
        },
        Act::Redeliver { force } => {
            if label == Label::Done && !force {
                return Err(Refused::NeedsForce(label));
            }
            require_body(&event)?;
            event.queue(fresh, what, cx.now, &mut writes);
        },
        Act::SettleDone | Act::SettleQueued if label != Label::Held => {
            return Err(Refused::NotHeld(label));
        },
        Act::SettleDone => {
            event.finish.get_or_insert(Finish::Acknowledged);
            event.enter(State::Done, what, cx.now, &mut writes);
        },
        Act::SettleQueued => {
            require_body(&event)?;
            event.queue(fresh, what, cx.now, &mut writes);
        },
        Act::Admit if label != Label::Done => return Err(Refused::NotDone(label)),
        Act::Admit if !has_copies(&event.id) => return Err(Refused::NoCopies),
        // The copy brings the bytes: none are needed. What was recorded stays what copies get.
        Act::Admit => event.enter(State::Open, what, cx.now, &mut writes),
    }
    let reply = event.label();
    Ok(Change { event: Some(event), writes, reply })
}

/// Whether a delivery can be known as a copy of the event `id`.
fn has_copies(id: &str) -> bool {
    let once = id.split_once(':').is_some_and(|(_, key)| key.starts_with("=once."));
    !once && signal_of(id).is_none()
}

fn require_body(event: &Event) -> Result<(), Refused> {
    event.body.held.map(drop).ok_or(Refused::NoBody)
}

/// What time does to `event` by `now`.
pub fn expire(event: &Event, cx: &Context<'_>) -> Expiry {
    let age = cx.now.since(event.changed);
    match event.state {
        State::Done | State::Open if age >= cx.policy.ttl => Expiry::Forget,
        State::Done => match event.body.held {
            Some(since) if cx.now.since(since.max(event.changed)) >= cx.policy.keep => {
                Expiry::DropBody
            },
            _ => Expiry::Stays,
        },
        State::Dead if cx.policy.dead_ttl.is_some_and(|ttl| age >= ttl) => Expiry::Forget,
        State::Open | State::Dead | State::Held | State::Queued { .. } | State::InFlight { .. } => {
            Expiry::Stays
        },
    }
}

impl Event {
    /// The event after `keep` took its body; the TTL counts on from the last change.
    pub fn without_body(&self, now: Millis) -> Change<()> {
        let mut event = self.clone();
        let mut writes = Writes::default();
        event.body.held = None;
        event.kept.clear();
        event.tell(What::BodyDropped, now, &mut writes);
        Change { event: Some(event), writes, reply: () }
    }

    /// The Queued event, due now.
    pub fn due_now(&self, now: Millis) -> Change<()> {
        let event = Self { state: State::Queued { due: now }, ..self.clone() };
        Change { event: Some(event), writes: Writes::default(), reply: () }
    }

    /// The event after its body (or else its recorded answer) could not be read: Held, so
    /// that neither half of it is ever served.
    pub fn lost(&self, body: bool, now: Millis) -> Change<()> {
        let mut event = self.clone();
        let mut writes = Writes::default();
        if body {
            event.body.held = None;
        } else {
            event.finish = None;
        }
        event.owed = true;
        event.enter(State::Held, What::Damaged, now, &mut writes);
        Change { event: Some(event), writes, reply: () }
    }
}

/// The event that stands for a record that could not be read: Held, never absent, never
/// served. `attempt` and `entries` come from what of its story can be read, so that numbers
/// go on growing.
pub fn damaged(id: &str, attempt: u32, entries: u32, now: Millis) -> Change<()> {
    let mut event = Event {
        id: id.to_owned(),
        long: None,
        received: now,
        changed: now,
        state: State::Held,
        owed: true,
        doubt: true,
        finish: None,
        token: Token::NONE,
        attempt,
        budget: 0,
        body: Body::UNKNOWN,
        kept: Vec::new(),
        entries,
    };
    let mut writes = Writes::default();
    event.tell(What::Damaged, now, &mut writes);
    Change { event: Some(event), writes, reply: () }
}
