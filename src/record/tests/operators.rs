//! What an operator may do, and what time does.

use super::*;

const ACTS: [Act; 7] = [
    Act::Redeliver { force: false },
    Act::Redeliver { force: true },
    Act::SettleDone,
    Act::SettleQueued,
    Act::Forget { force: false },
    Act::Forget { force: true },
    Act::Admit,
];

#[test]
fn redelivery_makes_an_event_owed_and_due_with_a_fresh_budget() {
    for (label, mut desk) in Desk::in_every_state() {
        if label == Label::InFlight {
            continue;
        }
        let attempt = desk.event().attempt;
        desk.wait(MINUTE);
        assert_eq!(desk.redeliver(label == Label::Done), Ok(Label::Queued), "{label:?}");
        let event = desk.event();
        assert_eq!(event.state, State::Queued { due: desk.now });
        assert_eq!((event.owed, event.budget), (true, 3));
        assert_eq!(desk.take().attempt, attempt + 1, "numbers go on growing");
    }
}

#[test]
fn redelivery_of_a_done_event_needs_force() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    assert_eq!(desk.redeliver(false), Err(Refused::NeedsForce(Label::Done)));
    assert_eq!(desk.redeliver(true), Ok(Label::Queued));
}

#[test]
fn redelivery_is_refused_where_keep_took_the_body_until_a_copy_brings_it() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    desk.drop_body();
    assert_eq!(desk.redeliver(true), Err(Refused::NoBody));
    desk.copy(1);
    assert_eq!(desk.redeliver(true), Ok(Label::Queued));
}

#[test]
fn every_act_is_refused_while_an_attempt_is_open() {
    for act in ACTS {
        let mut desk = Desk::proxy().with_copy();
        assert_eq!(desk.operate(act), Err(Refused::InFlight));

        let mut desk = Desk::queue().with_copy();
        desk.take();
        assert_eq!(desk.operate(act), Err(Refused::InFlight));
    }
}

#[test]
fn every_act_on_nothing_is_refused() {
    for act in ACTS {
        assert_eq!(Desk::proxy().operate(act), Err(Refused::NotFound));
    }
}

#[test]
fn a_held_event_is_settled_as_done_with_the_acknowledgement() {
    let mut desk = Desk::proxy();
    desk.policy.on_unknown = OnUnknown::Hold;
    desk.copy(1);
    desk.settle(Verdict::Unknown);
    assert_eq!(desk.operate(Act::SettleDone), Ok(Label::Done));
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
}

#[test]
fn a_held_event_is_settled_as_not_done_and_queued() {
    let mut desk = Desk::proxy();
    desk.policy.on_unknown = OnUnknown::Hold;
    desk.copy(1);
    desk.settle(Verdict::Unknown);
    assert_eq!(desk.operate(Act::SettleQueued), Ok(Label::Queued));
    assert_eq!((desk.event().budget, desk.take().doubt), (3, true));
}

#[test]
fn only_a_held_event_can_be_settled() {
    for act in [Act::SettleDone, Act::SettleQueued] {
        for (label, mut desk) in Desk::in_every_state() {
            if !matches!(label, Label::Held | Label::InFlight) {
                assert_eq!(desk.operate(act), Err(Refused::NotHeld(label)));
            }
        }
    }
}

#[test]
fn the_next_copy_of_an_admitted_event_attempts_once_while_it_is_not_owed() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    desk.wait(MINUTE);
    assert_eq!(desk.operate(Act::Admit), Ok(Label::Open));
    assert_eq!((desk.event().owed, desk.event().changed), (false, desk.now));
    let lead = desk.leads(1);
    assert_eq!((lead.attempt, lead.owed), (2, false));
    // What was recorded is what copies get, whatever comes of it.
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
    desk.settle(Verdict::Failed);
    assert_eq!(desk.leads(1).attempt, 3, "let through until one succeeds");
    desk.settle(Verdict::Success);
    assert_eq!(desk.writes.answer, None, "a recorded answer never changes");
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
    assert_eq!(desk.label(), Label::Done);
}

#[test]
fn the_next_copy_of_an_admitted_event_is_queued_once_where_it_is_owed() {
    for mode in [Mode::Queue, Mode::Proxy] {
        let mut desk = Desk::queue().with_copy();
        desk.take();
        desk.settle(Verdict::Success);
        // Not the mode of today: the bit is never taken back.
        desk.policy.mode = mode;
        desk.wait(MINUTE);
        assert_eq!(desk.operate(Act::Admit), Ok(Label::Open));
        assert_eq!(desk.meets(1), Meets::Queued);
        let event = desk.event();
        assert_eq!((event.state, event.budget), (State::Queued { due: desk.now }, 3));
        assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
        assert_eq!(desk.take().attempt, 2);
        assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
        desk.settle(Verdict::Success);
        assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
        assert_eq!((desk.label(), desk.event().attempt), (Label::Done, 2));
    }
}

#[test]
fn an_admitted_event_needs_no_body_and_takes_that_of_the_copy() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    desk.drop_body();
    assert_eq!(desk.operate(Act::Admit), Ok(Label::Open));
    desk.leads(2);
    assert_eq!((desk.event().body.sha256, desk.event().body.held), (sha(2), Some(desk.now)));
}

#[test]
fn an_admitted_event_that_no_copy_comes_for_goes_as_an_open_one_does() {
    let mut desk = Desk::queue().with_copy();
    desk.take();
    desk.settle(Verdict::Success);
    desk.wait(DAY);
    desk.operate(Act::Admit).unwrap();
    desk.wait((35 * DAY).saturating_sub(MILLI));
    assert_eq!(desk.expire(), Expiry::Stays);
    desk.wait(MILLI);
    assert_eq!(desk.expire(), Expiry::Forget);
}

#[test]
fn only_a_done_event_can_be_admitted_and_the_refusal_says_what_to_do() {
    for (label, mut desk) in Desk::in_every_state() {
        let told = desk.operate(Act::Admit);
        let expected = match label {
            Label::Done => Ok(Label::Open),
            Label::InFlight => Err(Refused::InFlight),
            Label::Open | Label::Queued | Label::Dead | Label::Held => Err(Refused::NotDone(label)),
        };
        assert_eq!(told, expected);
        if let Err(refused) = told {
            let text = refused.to_string();
            let mends = ["ask again when", "anyway", "`redeliver`"];
            assert!(mends.iter().any(|mend| text.contains(mend)), "{text}");
        }
    }
}

#[test]
fn what_has_no_copies_is_not_admitted() {
    for key in ["=once.00000000-0000-0000-0000-000000000001", "=signal.00ff.7"] {
        let mut desk = Desk::proxy().with_copy();
        desk.settle(Verdict::Success);
        desk.event.as_mut().unwrap().id = format!("shop:{key}");
        assert_eq!(desk.operate(Act::Admit), Err(Refused::NoCopies), "{key}");
    }
}

#[test]
fn a_forgotten_event_is_gone_and_its_next_copy_is_a_first_one() {
    for (label, mut desk) in Desk::in_every_state() {
        if label == Label::InFlight {
            continue;
        }
        let older = desk.event().token;
        let force = label == Label::Queued;
        if force {
            let refused = Err(Refused::NeedsForce(label));
            assert_eq!(desk.operate(Act::Forget { force: false }), refused);
        }
        assert_eq!(desk.operate(Act::Forget { force }), Ok(label));
        assert_eq!(desk.event, None);
        desk.policy.mode = Mode::Proxy;
        assert_eq!(desk.leads(2).attempt, 1);
        assert_eq!(desk.settle_token(older, Verdict::Success), Settled::Stale);
    }
}

#[test]
fn an_act_is_told_with_the_operators_reason_cut_at_a_characters_edge() {
    let mut desk = Desk::queue().with_copy();
    desk.redeliver(false).unwrap();
    assert!(matches!(&desk.writes.story[..], [Entry {
        state: Label::Queued,
        what: What::Operated { act: Act::Redeliver { force: false }, note },
        ..
    }] if note == "because"));
    assert_eq!(brief(&"é".repeat(200)).len(), DETAIL_LIMIT);
    assert_eq!(brief(&format!("x{}", "é".repeat(200))).len(), DETAIL_LIMIT - 1);
}

#[test]
fn done_and_open_are_forgotten_a_ttl_after_their_last_change() {
    for (label, mut desk) in Desk::in_every_state() {
        if !matches!(label, Label::Done | Label::Open) {
            continue;
        }
        desk.now = desk.now.plus(35 * DAY).minus(MILLI);
        assert_ne!(desk.expire(), Expiry::Forget);
        desk.wait(MILLI);
        assert_eq!(desk.expire(), Expiry::Forget);
    }
}

#[test]
fn copies_and_late_failures_do_not_extend_a_ttl() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    desk.wait(34 * DAY);
    desk.drop_body();
    desk.copy(1);
    desk.copy(2);
    desk.wait(DAY);
    assert_eq!(desk.expire(), Expiry::Forget);

    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Unknown);
    desk.wait(34 * DAY);
    desk.settle(Verdict::Failed);
    desk.wait(DAY);
    assert_eq!(desk.expire(), Expiry::Forget);
}

#[test]
fn dead_goes_by_time_only_where_dead_ttl_is_set() {
    let mut desk = Desk::queue().with_copy();
    desk.take();
    desk.settle(Verdict::Final);
    desk.wait(90 * DAY);
    assert_eq!(desk.expire(), Expiry::Stays);
    desk.policy.dead_ttl = Some(90 * DAY);
    assert_eq!(desk.expire(), Expiry::Forget);
}

#[test]
fn queued_held_and_in_flight_never_go_by_time() {
    for (label, mut desk) in Desk::in_every_state() {
        desk.wait(10_000 * DAY);
        desk.policy.dead_ttl = Some(DAY);
        let stays = matches!(label, Label::Queued | Label::Held | Label::InFlight);
        assert_eq!(desk.expire() == Expiry::Stays, stays, "{label:?}");
    }
}

#[test]
fn only_done_loses_its_body_and_only_after_keep() {
    for (label, mut desk) in Desk::in_every_state() {
        desk.now = desk.now.plus(3 * DAY).minus(MILLI);
        assert_eq!(desk.expire(), Expiry::Stays);
        desk.wait(MILLI);
        let expected = if label == Label::Done { Expiry::DropBody } else { Expiry::Stays };
        assert_eq!(desk.expire(), expected, "{label:?}");
    }
}

#[test]
fn keep_counts_from_the_moment_of_done() {
    let mut desk = Desk::queue().with_copy();
    desk.wait(4 * DAY);
    desk.take();
    desk.settle(Verdict::Success);
    assert_eq!(desk.expire(), Expiry::Stays);
    desk.wait(3 * DAY);
    assert_eq!(desk.expire(), Expiry::DropBody);
}

#[test]
fn a_body_brought_back_stays_for_another_keep() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    desk.wait(3 * DAY);
    desk.drop_body();
    assert_eq!(desk.expire(), Expiry::Stays);
    desk.copy(1);
    desk.wait(2 * DAY);
    assert_eq!(desk.expire(), Expiry::Stays);
    desk.wait(DAY);
    assert_eq!(desk.expire(), Expiry::DropBody);
}
