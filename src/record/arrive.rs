//! A verified copy arrives: who attempts, who waits, who is answered from the record.

use super::{
    Body, Change, Context, Event, Finish, KEPT_COPIES, Lead, Mode, OnMismatch, State, Token, What,
    Writes, signal_of,
};
use crate::time::Millis;

/// What a copy brings to the decision; its bytes stay with the caller.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The event's id, `<source>:<key>`; of a signal, what its runs' ids begin with.
    pub id: String,
    /// The id of the event that it is a copy of by a name or a key rule of before, if `id`
    /// is not there.
    pub earlier: Option<String>,
    /// The full text of a key that was too long for `id`.
    pub long: Option<String>,
    /// SHA-256 of the copy's body.
    pub sha256: [u8; 32],
    /// Length of the copy's body in bytes.
    pub bytes: u64,
}

impl Copy {
    /// The copy's bytes as an event's body.
    fn body(&self, now: Millis) -> Body {
        Body { sha256: self.sha256, bytes: self.bytes, held: Some(now) }
    }
}

/// What a copy meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The event's own id, which attempts and settlements use. It is not the copy's where
    /// the event was born under another name or key rule, or is a run of a signal.
    pub id: String,
    /// What to do with it.
    pub meets: Meets,
    /// Same key, other body, and the source looks at it.
    pub mismatch: bool,
    /// Whether the event was finished once, so that the copy is answered as it was.
    pub finished: bool,
    /// When the event's first copy arrived.
    pub first: Millis,
    /// The newest attempt's number.
    pub attempt: u32,
}

/// What to do with a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meets {
    /// It leads: the caller must attempt and settle.
    Lead(Lead),
    /// It was stored, or revived a Dead event; the queue attempts.
    Queued,
    /// The event is seen to: answer from the record.
    Duplicate(Finish),
    /// An attempt is open and the provider waits for its answer.
    InFlight,
    /// The event is Held.
    Held,
    /// Refused: same key, other body.
    Mismatch,
}

/// Decides what a copy of `stored` meets.
pub fn arrive(stored: Option<&Event>, copy: &Copy, cx: &Context<'_>) -> Change<Arrival> {
    let Some(stored) = stored else { return first(copy, cx) };
    let agrees = stored.body.agrees_with(copy.sha256);
    let mismatch = cx.policy.on_mismatch != OnMismatch::Ignore && !agrees;
    let reply = |meets, event: &Event| Arrival {
        id: event.id.clone(),
        meets,
        mismatch,
        finished: event.finish.is_some(),
        first: event.received,
        attempt: event.attempt,
    };
    if mismatch && cx.policy.on_mismatch == OnMismatch::Refuse && stored.state == State::Done {
        return Change::none(reply(Meets::Mismatch, stored));
    }
    if stored.state == State::Open {
        return attempt_again(stored.clone(), copy, mismatch, cx);
    }

    let mut event = stored.clone();
    let mut writes = Writes::default();
    if mismatch {
        writes.keep_copy = keep(&mut event, copy.sha256, None, cx.now, &mut writes);
    } else if event.body.held.is_none() && agrees {
        writes.body = true;
        event.body = copy.body(cx.now);
        event.tell(What::BodyRestored, cx.now, &mut writes);
    }
    let meets = match (event.finish, event.state) {
        (Some(Finish::Answered), _) => Meets::Duplicate(Finish::Answered),
        (_, State::Done | State::Queued { .. }) => Meets::Duplicate(Finish::Acknowledged),
        (_, State::InFlight { .. }) if event.owed => Meets::Duplicate(Finish::Acknowledged),
        (_, State::InFlight { .. } | State::Open) => Meets::InFlight,
        (_, State::Held) => Meets::Held,
        (_, State::Dead) => {
            event.queue(1, told(cx), cx.now, &mut writes);
            Meets::Queued
        },
    };
    let reply = reply(meets, &event);
    let event = (event != *stored).then_some(event);
    Change { event, writes, reply }
}

/// The first copy of an event.
fn first(copy: &Copy, cx: &Context<'_>) -> Change<Arrival> {
    let event = Event {
        id: match signal_of(&copy.id) {
            Some(signal) => format!("{signal}.{}", cx.token.0),
            None => copy.id.clone(),
        },
        long: copy.long.clone(),
        received: cx.now,
        changed: cx.now,
        state: State::Open,
        owed: false,
        doubt: false,
        finish: None,
        token: Token::NONE,
        attempt: 0,
        budget: 0,
        body: copy.body(cx.now),
        kept: Vec::new(),
        entries: 0,
    };
    attempt_again(event, copy, false, cx)
}

/// A copy of nothing or of an Open event: it carries the attempt, its bytes are the event's.
fn attempt_again(
    mut event: Event,
    copy: &Copy,
    mismatch: bool,
    cx: &Context<'_>,
) -> Change<Arrival> {
    let mut writes = Writes { body: true, ..Writes::default() };
    if mismatch && event.body.held.is_some() {
        let old = event.body.sha256;
        writes.keep_old = keep(&mut event, old, Some(copy.sha256), cx.now, &mut writes);
    }
    event.body = copy.body(cx.now);
    let meets = match cx.policy.mode {
        Mode::Proxy if !event.owed => Meets::Lead(event.claim(cx, &mut writes)),
        // Owed and Open: an operator admitted it. The bit picks, not the mode.
        Mode::Proxy | Mode::Queue => {
            event.queue(cx.policy.retry.attempts, told(cx), cx.now, &mut writes);
            Meets::Queued
        },
    };
    let reply = Arrival {
        id: event.id.clone(),
        meets,
        mismatch,
        finished: false,
        first: event.received,
        attempt: event.attempt,
    };
    Change { event: Some(event), writes, reply }
}

/// The line of the story for a copy that waits in the queue now.
fn told(cx: &Context<'_>) -> What {
    What::Stored { status: cx.policy.acknowledgement }
}

/// Keeps the bytes of `sha256`: in the slot of `instead`, which is to be the body, or in the
/// next one. `None` if they are kept already or no slot is free.
fn keep(
    event: &mut Event,
    sha256: [u8; 32],
    instead: Option<[u8; 32]>,
    now: Millis,
    writes: &mut Writes,
) -> Option<u8> {
    if event.kept.contains(&sha256) {
        return None;
    }
    let freed = event.kept.iter().position(|kept| Some(*kept) == instead);
    let place = freed.unwrap_or(event.kept.len());
    match event.kept.get_mut(place) {
        Some(kept) => *kept = sha256,
        None if place < KEPT_COPIES => event.kept.push(sha256),
        None => return None,
    }
    let slot = u8::try_from(place.saturating_add(1)).ok()?;
    event.tell(What::Mismatch { slot }, now, writes);
    Some(slot)
}
