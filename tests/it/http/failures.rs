//! What fails is told to whoever waited, and attempted again only when a copy comes.

use super::{answers_of, send_and_be_read};
use crate::harness::{Answer, App, Gateway, Got, Step, nowhere, run, stripe};

/// A leader and three copies that wait for it, once the application has the request; then
/// the application goes on. All four answers.
async fn leader_and_copies(gateway: &Gateway, app: &App, source: &str) -> Vec<Answer> {
    let event = gateway.stripe(source, "evt_1");
    let mut open = send_and_be_read(gateway, std::slice::from_ref(&event)).await;
    app.until(1).await;
    open.extend(send_and_be_read(gateway, &vec![event; 3]).await);
    app.release(1);
    answers_of(open).await
}

/// What the next copy's attempt must carry.
fn second_attempt(first: &Got, second: &Got, unknown: Option<&str>) {
    assert_eq!(first.header("oncegate-attempt"), Some("1"));
    assert_eq!(first.header("oncegate-unknown"), None);
    assert_eq!(second.header("oncegate-attempt"), Some("2"));
    assert_eq!(second.header("oncegate-unknown"), unknown);
    assert!(first.header("idempotency-key").is_some());
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
    assert_eq!(first.header("oncegate-received"), second.header("oncegate-received"));
}

#[test]
fn copies_of_a_failing_leader_get_its_failure_and_start_nothing() {
    run(async {
        let app = App::steps([Step::says(500, "broken").held(), Step::says(200, "mended")]).await;
        let gateway = Gateway::start(&stripe("fails", &app.url, "")).await;
        for answer in leader_and_copies(&gateway, &app, "fails").await {
            assert_eq!((answer.told(), answer.text()), ((500, "failed"), "broken"));
            assert_eq!(answer.header("idempotency-replayed"), None);
        }
        assert_eq!(app.got().len(), 1);
        gateway.until_state("fails", "evt_1", "open").await;

        let again = gateway.stripe("fails", "evt_1").send().await;
        assert_eq!((again.told(), again.text()), ((200, "processed"), "mended"));
        let got = app.got();
        second_attempt(&got[0], &got[1], None);
        gateway.finish().await;
    });
}

#[test]
fn an_attempt_without_an_answer_in_time_is_unknown_and_the_next_says_so() {
    run(async {
        let app = App::steps([Step::Hang, Step::says(200, "late")]).await;
        let gateway = Gateway::start(&stripe("hangs", &app.url, "timeout = \"700ms\"")).await;
        for answer in leader_and_copies(&gateway, &app, "hangs").await {
            assert_eq!(answer.told(), (504, "unknown"));
        }
        // Cut, not left to run.
        app.until_left(1).await;
        assert_eq!(app.got().len(), 1);
        assert_eq!(gateway.story("hangs", "evt_1").await.unwrap()["unknown"], true);

        let again = gateway.stripe("hangs", "evt_1").send().await;
        assert_eq!((again.told(), again.text()), ((200, "processed"), "late"));
        let got = app.got();
        second_attempt(&got[0], &got[1], Some("true"));
        gateway.finish().await;
    });
}

#[test]
fn a_connection_lost_after_the_request_left_is_unknown() {
    run(async {
        for (source, lost) in [("hangs-up", Step::HangUp), ("resets", Step::Reset)] {
            let app = App::steps([lost.held(), Step::says(200, "here again")]).await;
            let gateway = Gateway::start(&stripe(source, &app.url, "")).await;
            for answer in leader_and_copies(&gateway, &app, source).await {
                assert_eq!(answer.told(), (504, "unknown"), "{source}");
            }
            let again = gateway.stripe(source, "evt_1").send().await;
            assert_eq!(again.told(), (200, "processed"));
            let got = app.got();
            assert_eq!(got.len(), 2);
            second_attempt(&got[0], &got[1], Some("true"));
            gateway.finish().await;
        }
    });
}

#[test]
fn an_application_that_hangs_up_after_each_answer_is_not_in_doubt() {
    run(async {
        let app = App::always(Step::AnswerAndHangUp(200, "bye")).await;
        let gateway = Gateway::start(&stripe("bye", &app.url, "")).await;
        for nth in 0..100 {
            let answer = gateway.stripe("bye", &format!("evt_{nth}")).send().await;
            assert_eq!((answer.told(), answer.text()), ((200, "processed"), "bye"));
        }
        assert_eq!(app.got().len(), 100);
        gateway.finish().await;
    });
}

#[test]
fn an_application_out_of_reach_is_a_failure_for_sure() {
    run(async {
        let target = nowhere().await;
        let gateway = Gateway::start(&stripe("unreachable", &target, "")).await;
        for attempt in 1..=2 {
            let answer = gateway.stripe("unreachable", "evt_1").send().await;
            assert_eq!(answer.told(), (502, "failed"));
            assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
            let story = gateway.until_state("unreachable", "evt_1", "open").await;
            assert_eq!(story["attempts"], attempt);
            assert_eq!(story["unknown"], false);
        }
        let labels = "source=\"unreachable\",result=\"failed\"";
        assert_eq!(gateway.metric("oncegate_attempts_total", labels).await, Some(2.0));
        gateway.finish().await;
    });
}

#[test]
fn with_hold_an_unknown_outcome_is_acknowledged_and_never_attempted_again() {
    run(async {
        let app = App::always(Step::HangUp.held()).await;
        let gateway = Gateway::start(&stripe("holds", &app.url, "on_unknown = \"hold\"")).await;
        let mut answers = leader_and_copies(&gateway, &app, "holds").await;
        for _ in 0..3 {
            answers.push(gateway.stripe("holds", "evt_1").send().await);
        }
        for answer in answers {
            assert_eq!((answer.told(), answer.text()), ((200, "held"), ""));
        }
        assert_eq!(app.got().len(), 1);
        let story = gateway.story("holds", "evt_1").await.unwrap();
        assert_eq!((&story["state"], &story["owed"]), (&"held".into(), &true.into()));
        assert_eq!(story["deliveries"]["by_outcome"]["held"], 7);
        gateway.finish().await;
    });
}
