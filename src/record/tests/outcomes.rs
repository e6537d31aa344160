//! What becomes of an attempt.

use super::*;

#[test]
fn a_success_is_recorded_with_its_answer() {
    let mut desk = Desk::proxy().with_copy();
    assert_eq!(desk.settle(Verdict::Success), Settled::Now(Label::Done));
    assert_eq!(desk.writes.answer, settlement(Verdict::Success).answer);
    assert_eq!(desk.event().finish, Some(Finish::Answered));
}

#[test]
fn a_final_answer_ends_an_event_for_good() {
    let mut desk = Desk::proxy().with_copy();
    assert_eq!(desk.settle(Verdict::Final), Settled::Now(Label::Done));
    assert_eq!(desk.writes.answer, settlement(Verdict::Final).answer);
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
}

#[test]
fn a_final_answer_to_an_owed_event_is_its_death() {
    let mut desk = Desk::queue().with_copy();
    desk.take();
    assert_eq!(desk.settle(Verdict::Final), Settled::Now(Label::Dead));
    assert_eq!((desk.event().finish, &desk.writes.answer), (None, &None));
}

#[test]
fn what_failed_for_sure_is_open_for_the_providers_next_copy() {
    let mut desk = Desk::proxy().with_copy();
    assert_eq!(desk.settle(Verdict::Failed), Settled::Now(Label::Open));
    let lead = desk.leads(1);
    assert_eq!((lead.attempt, lead.doubt), (2, false));
}

#[test]
fn an_owed_event_backs_off_and_is_dead_when_its_budget_is_spent() {
    let mut desk = Desk::queue().with_copy();
    for (attempt, pause) in [(1, 5), (2, 10)] {
        assert_eq!(desk.take().attempt, attempt);
        assert_eq!(desk.settle(Verdict::Failed), Settled::Now(Label::Queued));
        let due = desk.now.plus(Duration::from_secs(pause));
        assert_eq!(desk.event().state, State::Queued { due });
    }
    assert_eq!(desk.take().attempt, 3);
    assert_eq!(desk.settle(Verdict::Failed), Settled::Now(Label::Dead));
}

#[test]
fn nothing_is_taken_before_it_is_due_nor_out_of_another_state() {
    for (label, desk) in Desk::in_every_state() {
        let cx = |now| Context {
            now,
            policy: &desk.policy,
            token: Token(99),
            boot: Boot(1),
            orphaned: false,
            draw: 0.5,
        };
        let now = take(desk.event(), &cx(desk.now));
        assert_eq!(now.is_some(), label == Label::Queued);
        let earlier = desk.now.minus(MILLI);
        assert!(take(desk.event(), &cx(earlier)).is_none(), "{label:?}");
    }
}

#[test]
fn an_unknown_outcome_is_told_to_the_application_from_then_on() {
    let mut desk = Desk::proxy().with_copy();
    assert_eq!(desk.settle(Verdict::Unknown), Settled::Now(Label::Open));
    assert!(desk.leads(1).doubt);
    desk.settle(Verdict::Failed);
    assert!(desk.leads(1).doubt);
}

#[test]
fn an_unknown_outcome_spends_an_attempt() {
    let mut desk = Desk::queue().with_copy();
    for state in [Label::Queued, Label::Queued, Label::Dead] {
        desk.take();
        assert_eq!(desk.settle(Verdict::Unknown), Settled::Now(state));
    }
}

#[test]
fn hold_never_attempts_again_by_itself() {
    for mode in [Mode::Proxy, Mode::Queue] {
        let mut desk = Desk::new(mode);
        desk.policy.on_unknown = OnUnknown::Hold;
        desk.copy(1);
        if mode == Mode::Queue {
            desk.take();
        }
        assert_eq!(desk.settle(Verdict::Unknown), Settled::Now(Label::Held));
        assert!(desk.event().owed);
        desk.wait(1000 * DAY);
        assert_eq!(desk.expire(), Expiry::Stays);
        assert_eq!(desk.meets(1), Meets::Held);
    }
}

#[test]
fn an_attempt_released_before_a_byte_was_sent_costs_nothing() {
    let mut desk = Desk::queue().with_copy();
    for _ in 0..5 {
        desk.take();
        assert_eq!(desk.settle(Verdict::NotSent), Settled::Now(Label::Queued));
        assert_eq!(desk.event().state, State::Queued { due: desk.now });
    }
    assert_eq!((desk.event().budget, desk.event().attempt), (3, 5));
    desk.take();
    desk.settle(Verdict::Failed);
    let due = desk.now.plus(Duration::from_secs(5));
    assert_eq!(desk.event().state, State::Queued { due }, "the first failure");

    let mut desk = Desk::proxy().with_copy();
    assert_eq!(desk.settle(Verdict::NotSent), Settled::Now(Label::Open));
    assert_eq!((desk.event().budget, desk.event().doubt), (0, false));
}

#[test]
fn a_late_success_of_the_newest_attempt_makes_every_state_done() {
    for (label, mut desk) in Desk::in_every_state() {
        if matches!(label, Label::Done | Label::InFlight) {
            continue;
        }
        if label == Label::Queued {
            desk.take();
            desk.settle(Verdict::Unknown);
        }
        let owed = desk.event().owed;
        assert_eq!(desk.settle(Verdict::Success), Settled::Now(Label::Done), "{label:?}");
        let finish = if owed { Finish::Acknowledged } else { Finish::Answered };
        assert_eq!(desk.event().finish, Some(finish));
        assert_eq!(desk.writes.answer.is_some(), !owed);
    }
}

#[test]
fn a_late_failure_only_enters_the_story() {
    for (label, mut desk) in Desk::in_every_state() {
        if matches!(label, Label::Done | Label::InFlight | Label::Queued) {
            continue;
        }
        for verdict in [Verdict::Final, Verdict::Failed, Verdict::Unknown, Verdict::NotSent] {
            let before = desk.event().clone();
            desk.wait(MINUTE);
            assert_eq!(desk.settle(verdict), Settled::Now(label));
            assert!(matches!(
                desk.writes.story[..],
                [Entry { what: What::Settled { late: true, .. }, .. }]
            ));
            assert_eq!(*desk.event(), Event { entries: before.entries + 1, ..before });
        }
    }
}

#[test]
fn a_stale_settlement_changes_nothing() {
    for verdict in Verdict::ALL {
        let mut desk = Desk::proxy().with_copy();
        let older = desk.event().token;
        desk.settle(Verdict::Unknown);
        let newer = desk.leads(1).token;
        let before = desk.event().clone();
        assert!(newer > older);
        assert_eq!(desk.settle_token(older, verdict), Settled::Stale);
        assert_eq!(desk.settle_token(Token(1000), verdict), Settled::Stale);
        assert_eq!(*desk.event(), before);

        desk.settle(Verdict::Success);
        let before = desk.event().clone();
        assert_eq!(desk.settle_token(newer, verdict), Settled::Stale);
        assert_eq!(*desk.event(), before);

        desk.event = None;
        assert_eq!(desk.settle_token(newer, verdict), Settled::Stale);
    }
}

#[test]
fn an_event_never_claimed_cannot_be_settled() {
    for verdict in Verdict::ALL {
        let mut desk = Desk::queue().with_copy();
        assert_eq!(desk.settle(verdict), Settled::Stale);
        assert_eq!(desk.label(), Label::Queued);
    }
}

#[test]
fn an_attempt_of_an_earlier_boot_can_be_settled_as_unknown() {
    let mut desk = Desk::proxy().with_copy();
    let token = desk.event().token;
    desk.run(|stored, cx| {
        let cx = Context { boot: Boot(2), ..*cx };
        settle(stored, token, &settlement(Verdict::Unknown), &cx)
    });
    assert_eq!((desk.label(), desk.event().doubt), (Label::Open, true));
}

#[test]
fn done_under_redelivery_ends_as_done_and_never_dead() {
    for verdict in [Verdict::Success, Verdict::Final, Verdict::Failed, Verdict::Unknown] {
        for mode in [Mode::Proxy, Mode::Queue] {
            let mut desk = Desk::new(mode).with_copy();
            if mode == Mode::Queue {
                desk.take();
            }
            desk.settle(Verdict::Success);
            let finish = desk.event().finish;
            desk.redeliver(true).unwrap();
            for _ in 0..3 {
                if desk.label() == Label::Queued {
                    desk.take();
                    desk.settle(verdict);
                    assert_eq!(desk.writes.answer, None, "the recorded answer never changes");
                }
            }
            assert_eq!((desk.label(), desk.event().finish), (Label::Done, finish));
        }
    }
}

#[test]
fn an_answer_is_what_copies_get_also_during_a_redelivery() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    desk.policy.on_unknown = OnUnknown::Hold;
    desk.redeliver(true).unwrap();
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
    desk.take();
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
    desk.settle(Verdict::Unknown);
    assert_eq!(desk.label(), Label::Held);
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
    desk.operate(Act::SettleDone).unwrap();
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
}

#[test]
fn delays_grow_to_their_longest_and_never_panic() {
    let retry = policy(Mode::Queue).retry;
    let seconds = [1, 2, 3, 4, 5, 6, u32::MAX].map(|n| retry.delay(n, 0.5).as_secs());
    assert_eq!(seconds, [5, 10, 20, 40, 60, 60, 60]);
    assert_eq!(retry.delay(0, 0.5), retry.first);

    let jitter = Retry { jitter: true, ..retry };
    assert_eq!(jitter.delay(2, 0.0), Duration::ZERO);
    assert_eq!(jitter.delay(2, 0.5), Duration::from_secs(5));

    for factor in [0.0, 1.0, -3.0, f64::MAX, f64::INFINITY, f64::NAN] {
        for first in [Duration::ZERO, Duration::MAX] {
            for max in [Duration::ZERO, HOUR, Duration::MAX] {
                let retry = Retry { first, factor, max, ..retry };
                for failures in [0, 1, 2, u32::MAX] {
                    assert!(retry.delay(failures, 0.999) <= max, "{retry:?}");
                }
            }
        }
    }
}

#[test]
fn the_end_of_time_and_of_counting_is_no_panic() {
    let mut desk = Desk::queue().with_copy();
    desk.now = Millis(u64::MAX);
    desk.policy.retry.attempts = u32::MAX;
    let event = desk.event.as_mut().unwrap();
    (event.attempt, event.budget, event.entries) = (u32::MAX, u32::MAX, u32::MAX);
    desk.take();
    desk.settle(Verdict::NotSent);
    desk.take();
    desk.settle(Verdict::Failed);
    assert_eq!(desk.event().state, State::Queued { due: Millis(u64::MAX) });
    desk.now = Millis(0);
    assert_eq!(desk.expire(), Expiry::Stays);
}
