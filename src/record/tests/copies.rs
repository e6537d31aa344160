//! What copies meet, and what becomes of their bytes.

use super::*;

#[test]
fn a_first_copy_in_proxy_mode_is_written_with_its_claim() {
    let mut desk = Desk::proxy();
    let lead = desk.leads(1);
    assert_eq!((lead.attempt, lead.doubt, lead.owed), (1, false, false));
    assert_eq!(lead.received, desk.now);
    assert_eq!(desk.event().state, State::InFlight { boot: Boot(1) });
    assert!(desk.writes.body);
    assert_eq!(
        desk.writes.story,
        [Entry {
            at: desk.now,
            state: Label::InFlight,
            what: What::Claimed { token: lead.token, attempt: 1 },
        }]
    );
}

#[test]
fn a_first_copy_in_queue_mode_is_stored_whole_and_owed_and_is_no_attempt() {
    let mut desk = Desk::queue();
    assert_eq!(desk.meets(1), Meets::Queued);
    let event = desk.event();
    assert_eq!(event.state, State::Queued { due: desk.now });
    assert!(event.owed && desk.writes.body);
    assert_eq!((event.attempt, event.token, event.budget), (0, Token::NONE, 3));
}

#[test]
fn an_answered_event_is_never_attempted_again() {
    for mode in [Mode::Proxy, Mode::Queue] {
        let mut desk = Desk::proxy().with_copy();
        desk.settle(Verdict::Success);
        desk.policy.mode = mode;
        let before = desk.event().clone();
        assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Answered));
        assert_eq!(*desk.event(), before);
    }
}

#[test]
fn a_copy_of_an_event_the_queue_delivered_gets_the_acknowledgement() {
    let mut desk = Desk::queue().with_copy();
    desk.take();
    desk.settle(Verdict::Success);
    assert_eq!(desk.writes.answer, None);
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
}

#[test]
fn a_copy_while_in_flight_never_starts_an_attempt_of_its_own() {
    for mode in [Mode::Proxy, Mode::Queue] {
        let mut desk = Desk::proxy().with_copy();
        desk.policy.mode = mode;
        let before = desk.event().clone();
        assert_eq!(desk.meets(1), Meets::InFlight);
        assert_eq!(*desk.event(), before);
    }
}

#[test]
fn the_owed_bit_and_not_the_mode_of_today_picks_how_a_copy_is_answered() {
    let mut desk = Desk::queue().with_copy();
    desk.policy.mode = Mode::Proxy;
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
    desk.take();
    assert_eq!(desk.meets(1), Meets::Duplicate(Finish::Acknowledged));
}

#[test]
fn a_copy_of_an_open_event_attempts_again_with_its_own_bytes() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Failed);
    desk.wait(MINUTE);
    let lead = desk.leads(2);
    assert_eq!(lead.attempt, 2);
    assert!(lead.received < desk.now);
    assert!(desk.writes.body);
    assert_eq!(desk.event().body.sha256, sha(2));
    assert_eq!((desk.writes.keep_old, desk.kept()), (Some(1), vec![1]));
}

#[test]
fn a_copy_of_an_open_event_is_stored_where_the_mode_is_queue_by_now() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Failed);
    desk.policy.mode = Mode::Queue;
    assert_eq!(desk.meets(1), Meets::Queued);
    assert_eq!((desk.event().owed, desk.event().budget), (true, 3));
}

#[test]
fn a_copy_of_a_held_event_is_told_so_and_attempts_nothing() {
    for mode in [Mode::Proxy, Mode::Queue] {
        let mut desk = Desk::proxy();
        desk.policy.on_unknown = OnUnknown::Hold;
        desk.copy(1);
        desk.settle(Verdict::Unknown);
        desk.policy.mode = mode;
        assert_eq!(desk.meets(1), Meets::Held);
        assert_eq!(desk.label(), Label::Held);
    }
}

#[test]
fn a_copy_of_a_dead_event_earns_it_one_more_attempt() {
    let mut desk = Desk::queue().with_copy();
    desk.take();
    desk.settle(Verdict::Final);
    assert_eq!(desk.meets(1), Meets::Queued);
    assert_eq!(desk.event().state, State::Queued { due: desk.now });
    assert_eq!(desk.take().attempt, 2);
    assert_eq!(desk.settle(Verdict::Failed), Settled::Now(Label::Dead));
}

#[test]
fn another_body_is_flagged_and_up_to_three_are_kept() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    for (body, slot) in [(2, Some(1)), (3, Some(2)), (2, None), (4, Some(3)), (5, None)] {
        let arrival = desk.copy(body);
        assert!(arrival.mismatch);
        assert_eq!(arrival.meets, Meets::Duplicate(Finish::Answered));
        assert_eq!(desk.writes.keep_copy, slot, "body {body}");
        assert!(!desk.writes.body);
    }
    assert_eq!(desk.kept(), [2, 3, 4]);
    assert!(!desk.copy(1).mismatch);
}

#[test]
fn a_mismatching_copy_is_kept_in_whatever_state_it_comes() {
    for (label, mut desk) in Desk::in_every_state() {
        assert!(desk.copy(2).mismatch, "{label:?}");
        let (old, new) = (desk.writes.keep_old, desk.writes.keep_copy);
        let expected = if label == Label::Open { (Some(1), None) } else { (None, Some(1)) };
        assert_eq!((old, new), expected, "{label:?}");
    }
}

#[test]
fn a_refused_mismatch_is_refused_against_done_only_and_leaves_no_trace() {
    for (label, mut desk) in Desk::in_every_state() {
        desk.policy.on_mismatch = OnMismatch::Refuse;
        let before = desk.event().clone();
        let arrival = desk.copy(2);
        assert!(arrival.mismatch);
        assert_eq!(arrival.meets == Meets::Mismatch, label == Label::Done);
        assert_eq!(*desk.event() == before, label == Label::Done);
    }
}

#[test]
fn an_ignored_mismatch_is_not_looked_at() {
    for (label, mut desk) in Desk::in_every_state() {
        desk.policy.on_mismatch = OnMismatch::Ignore;
        assert!(!desk.copy(2).mismatch, "{label:?}");
        assert!(desk.kept().is_empty());
    }
}

#[test]
fn an_open_event_that_gets_an_old_body_back_keeps_the_other_in_its_place() {
    let mut desk = Desk::proxy();
    for (body, slot, kept) in [
        (1, None, vec![]),
        (2, Some(1), vec![1]),
        (1, Some(1), vec![2]),
        (3, Some(2), vec![2, 1]),
        (4, Some(3), vec![2, 1, 3]),
        (1, Some(2), vec![2, 4, 3]),
        (5, None, vec![2, 4, 3]),
        (5, None, vec![2, 4, 3]),
    ] {
        desk.leads(body);
        assert_eq!((desk.writes.keep_old, desk.kept()), (slot, kept), "body {body}");
        assert_eq!(desk.event().body.sha256, sha(body));
        desk.settle(Verdict::Failed);
    }
}

#[test]
fn a_copy_brings_back_a_body_that_keep_took() {
    let mut desk = Desk::proxy().with_copy();
    desk.settle(Verdict::Success);
    let changed = desk.event().changed;
    desk.wait(4 * DAY);
    desk.drop_body();
    assert!(desk.copy(2).mismatch);
    assert!(!desk.writes.body, "another body is not the event's");
    desk.copy(1);
    assert!(desk.writes.body);
    assert_eq!(desk.event().body.held, Some(desk.now));
    assert_eq!(desk.event().changed, changed, "a copy does not extend the TTL");
    desk.copy(1);
    assert_eq!(desk.writes, Writes::default());
}

#[test]
fn a_copy_brings_back_a_lost_body_in_every_state() {
    for (label, mut desk) in Desk::in_every_state() {
        desk.drop_body();
        desk.copy(1);
        assert!(desk.writes.body && desk.event().body.held.is_some(), "{label:?}");
    }
}

#[test]
fn a_damaged_record_is_held_and_never_absent_or_served() {
    let mut desk = Desk::proxy();
    let change = damaged("shop:evt", 7, 12, desk.now);
    assert_eq!(change.writes.story.len(), 1);
    desk.event = change.event;
    let event = desk.event();
    assert_eq!((event.label(), event.owed, event.doubt), (Label::Held, true, true));
    assert_eq!(event.entries, 13);
    assert_eq!(desk.settle_token(Token::NONE, Verdict::Success), Settled::Stale);
    assert_eq!(desk.redeliver(true), Err(Refused::NoBody));
    assert_eq!(desk.operate(Act::SettleQueued), Err(Refused::NoBody));
    assert_eq!(desk.expire(), Expiry::Stays);
}

#[test]
fn a_damaged_record_takes_the_next_copys_body_and_goes_on_counting() {
    for on_mismatch in [OnMismatch::Flag, OnMismatch::Refuse, OnMismatch::Ignore] {
        let mut desk = Desk::proxy();
        desk.policy.on_mismatch = on_mismatch;
        desk.event = damaged("shop:evt", 7, 12, desk.now).event;
        let arrival = desk.copy(1);
        assert_eq!((arrival.meets, arrival.mismatch), (Meets::Held, false));
        assert!(desk.writes.body);
        assert_eq!((desk.event().body.sha256, desk.event().body.bytes), (sha(1), 1));
        assert_eq!(desk.redeliver(false), Ok(Label::Queued));
        let lead = desk.take();
        assert_eq!((lead.attempt, lead.doubt), (8, true));
    }
}
