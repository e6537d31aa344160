//! An attempt's result is recorded, once, and only by the newest claim.

use super::{
    Answer, Change, Context, Event, Finish, Label, OnUnknown, State, Token, Verdict, What, Writes,
    brief, signal_of,
};

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The kind of result.
    pub verdict: Verdict,
    /// The application's answer, where it gave one.
    pub answer: Option<Answer>,
    /// Why, in words, where it was no success.
    pub detail: String,
}

/// What recording a result did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The event stands here now.
    Now(Label),
    /// A newer claim exists, or the event is Done or gone: nothing changed.
    Stale,
}

/// Records what came of the attempt that `token` fenced.
pub fn settle(
    stored: Option<&Event>,
    token: Token,
    settlement: &Settlement,
    cx: &Context<'_>,
) -> Change<Settled> {
    let Some(stored) = stored else { return Change::none(Settled::Stale) };
    if stored.token != token || token == Token::NONE || stored.state == State::Done {
        return Change::none(Settled::Stale);
    }
    let mut event = stored.clone();
    let mut writes = Writes::default();
    let late = !matches!(stored.state, State::InFlight { .. });
    let what = What::Settled {
        attempt: event.attempt,
        result: settlement.verdict,
        status: settlement.answer.as_ref().map(|answer| answer.status),
        detail: brief(&settlement.detail),
        late,
    };
    // Copies may have joined since it was given up: they are owed an attempt that began later.
    let joined = late
        && signal_of(&event.id).is_some()
        && matches!(event.state, State::Open | State::Queued { .. });
    match settlement.verdict {
        Verdict::Success if joined => event.tell(what, cx.now, &mut writes),
        Verdict::Success => finish(&mut event, settlement, what, cx, &mut writes),
        // Given up before: its failure changes nothing, it only enters the story.
        _ if late => event.tell(what, cx.now, &mut writes),
        Verdict::Final if event.owed => give_up(&mut event, what, cx, &mut writes),
        Verdict::Final => finish(&mut event, settlement, what, cx, &mut writes),
        Verdict::Failed => back_off(&mut event, what, cx, &mut writes),
        Verdict::Unknown => {
            event.doubt = true;
            match cx.policy.on_unknown {
                OnUnknown::Redeliver => back_off(&mut event, what, cx, &mut writes),
                OnUnknown::Hold => {
                    event.owed = true;
                    event.enter(State::Held, what, cx.now, &mut writes);
                },
            }
        },
        Verdict::NotSent => {
            let state = if event.owed {
                event.budget = event.budget.saturating_add(1);
                State::Queued { due: cx.now }
            } else {
                State::Open
            };
            event.enter(state, what, cx.now, &mut writes);
        },
    }
    let reply = Settled::Now(event.label());
    Change { event: Some(event), writes, reply }
}

/// Done: for good, or again after a redelivery.
fn finish(
    event: &mut Event,
    settlement: &Settlement,
    what: What,
    cx: &Context<'_>,
    writes: &mut Writes,
) {
    if event.finish.is_none() {
        event.finish = Some(if event.owed || settlement.answer.is_none() {
            Finish::Acknowledged
        } else {
            writes.answer.clone_from(&settlement.answer);
            Finish::Answered
        });
    }
    event.enter(State::Done, what, cx.now, writes);
}

/// Not by this attempt: the provider, or the queue after a pause, attempts again.
fn back_off(event: &mut Event, what: What, cx: &Context<'_>, writes: &mut Writes) {
    if !event.owed {
        return event.enter(State::Open, what, cx.now, writes);
    }
    if event.budget == 0 {
        return give_up(event, what, cx, writes);
    }
    let retry = &cx.policy.retry;
    let failures = retry.attempts.saturating_sub(event.budget).max(1);
    let due = cx.now.plus(retry.delay(failures, cx.draw));
    event.enter(State::Queued { due }, what, cx.now, writes);
}

/// No more attempts: Dead, or Done again if it was Done before an operator's redelivery.
fn give_up(event: &mut Event, what: What, cx: &Context<'_>, writes: &mut Writes) {
    let state = if event.finish.is_some() { State::Done } else { State::Dead };
    event.enter(state, what, cx.now, writes);
}
