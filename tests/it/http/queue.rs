//! What was acknowledged is delivered: later, after failures, after a restart.

use super::count;
use crate::harness::{App, Gateway, Step, nowhere, run, stripe};

/// Short enough to be waited for.
const SHORT: &str =
    "attempts = 3\nfirst = \"20ms\"\nfactor = 1.0\nmax = \"20ms\"\njitter = false\n";

/// A source in queue mode with short pauses.
fn queue(name: &str, target: &str, more: &str) -> String {
    stripe(name, target, &format!("mode = \"queue\"\n{more}"))
        + &format!("[sources.{name}.retry]\n{SHORT}")
}

#[test]
fn a_queued_event_is_acknowledged_and_its_copies_too() {
    run(async {
        let app = App::always(Step::says(201, "not for the provider").held()).await;
        let gateway = Gateway::start(&queue("queued", &app.url, "")).await;
        let event = gateway.stripe("queued", "evt_1");
        assert_eq!(event.send().await.told(), (200, "queued"));
        app.until(1).await;
        // In flight, then done: the acknowledgement all the same.
        let copy = event.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), ""));
        assert_eq!(copy.header("idempotency-replayed"), None, "it is not finished");
        app.release(1);
        gateway.until_state("queued", "evt_1", "done").await;
        let copy = event.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), ""));
        assert_eq!(copy.header("idempotency-replayed"), Some("true"));
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_queued_event_backs_off_and_is_dead_when_its_attempts_are_spent() {
    run(async {
        let app = App::always(Step::says(500, "no")).await;
        let gateway = Gateway::start(&queue("dies", &app.url, "")).await;
        let event = gateway.stripe("dies", "evt_1");
        assert_eq!(event.send().await.told(), (200, "queued"));
        let story = gateway.until_state("dies", "evt_1", "dead").await;
        assert_eq!(story["attempts"], 3);
        let got = app.got();
        assert_eq!(got.len(), 3);
        for (got, number) in got.iter().zip(["1", "2", "3"]) {
            assert_eq!(got.header("oncegate-attempt"), Some(number));
            assert_eq!(got.header("idempotency-key"), Some("\"dies:evt_1\""));
        }
        for two in got.windows(2) {
            assert!((two[1].at - two[0].at).as_millis() >= 19, "it backs off");
        }

        // A copy of a dead event earns it one attempt.
        let copy = event.send().await;
        assert_eq!(copy.told(), (200, "queued"));
        app.until(4).await;
        let story = gateway.until_state("dies", "evt_1", "dead").await;
        assert_eq!(story["attempts"], 4);
        assert_eq!(app.got().len(), 4);
        assert_eq!(app.got()[3].header("oncegate-attempt"), Some("4"));
        gateway.finish().await;
    });
}

#[test]
fn an_unknown_outcome_in_the_queue_is_attempted_again_and_says_so() {
    run(async {
        let app = App::steps([Step::HangUp, Step::says(200, "fine")]).await;
        let gateway = Gateway::start(&queue("doubts", &app.url, "")).await;
        assert_eq!(gateway.stripe("doubts", "evt_1").send().await.told(), (200, "queued"));
        gateway.until_state("doubts", "evt_1", "done").await;
        let got = app.got();
        assert_eq!(got.len(), 2);
        assert_eq!(got[1].header("oncegate-unknown"), Some("true"));
        gateway.finish().await;
    });
}

#[test]
fn an_unknown_outcome_in_the_queue_is_held_where_that_is_set() {
    run(async {
        let app = App::always(Step::HangUp).await;
        let gateway =
            Gateway::start(&queue("queue-holds", &app.url, "on_unknown = \"hold\"")).await;
        let event = gateway.stripe("queue-holds", "evt_1");
        assert_eq!(event.send().await.told(), (200, "queued"));
        gateway.until_state("queue-holds", "evt_1", "held").await;
        assert_eq!(event.send().await.told(), (200, "held"));
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_final_status_ends_a_queued_event_as_dead() {
    run(async {
        let app = App::always(Step::says(404, "no such order")).await;
        let gateway = Gateway::start(&queue("queue-final", &app.url, "final = [404]")).await;
        assert_eq!(gateway.stripe("queue-final", "evt_1").send().await.told(), (200, "queued"));
        let story = gateway.until_state("queue-final", "evt_1", "dead").await;
        assert_eq!(story["attempts"], 1);
        gateway.finish().await;
    });
}

#[test]
fn a_restart_picks_up_where_the_queue_was() {
    run(async {
        let long = "[sources.restarts.retry]\nattempts = 5\nfirst = \"1h\"\nmax = \"1h\"\n";
        let source = |target: &str| stripe("restarts", target, "mode = \"queue\"");
        let gateway = Gateway::start(&(source(&nowhere().await) + long)).await;
        for nth in 0..20 {
            let answer = gateway.stripe("restarts", &format!("evt_{nth}")).send().await;
            assert_eq!(answer.told(), (200, "queued"));
        }
        let dir = gateway.finish().await;

        // Attempts may have been spent on an application out of reach: the next copy of a
        // queued event does not hurry it, so only what was never tried is due at once.
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start_in(dir, "", &source(&app.url), |_| {}).await;
        let mut waiting = 0;
        for nth in 0..20 {
            let key = format!("evt_{nth}");
            let story = gateway.story("restarts", &key).await.unwrap();
            if story["attempts"] == 0 || story["state"] != "queued" {
                gateway.until_state("restarts", &key, "done").await;
            } else {
                assert!(story["due"].is_string());
                waiting += 1;
            }
            let copy = gateway.stripe("restarts", &key).send().await;
            assert_eq!(copy.told(), (200, "duplicate"));
        }
        assert_eq!(app.got().len() + waiting, 20);
        gateway.finish().await;
    });
}

#[test]
fn a_change_of_mode_leaves_what_is_queued_to_the_queue() {
    run(async {
        let app = App::steps([Step::says(500, "no"), Step::says(200, "fine").held()]).await;
        let retry = "[sources.changes.retry]\nattempts = 5\nfirst = \"300ms\"\njitter = false\n";
        let source =
            |mode: &str| stripe("changes", &app.url, &format!("mode = \"{mode}\"")) + retry;
        let gateway = Gateway::start(&source("queue")).await;
        let event = gateway.stripe("changes", "evt_1");
        assert_eq!(event.send().await.told(), (200, "queued"));
        app.until(1).await;
        let dir = gateway.finish().await;
        let gateway = Gateway::start_in(dir, "", &source("proxy"), |_| {}).await;
        // Queued or in flight: it is owed, so the copy is acknowledged and starts nothing.
        let event = gateway.stripe("changes", "evt_1");
        let copy = event.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), ""));
        app.until(2).await;
        assert_eq!(event.send().await.told(), (200, "duplicate"));
        app.release(1);
        gateway.until_state("changes", "evt_1", "done").await;
        let copy = event.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), ""));
        assert_eq!(app.got().len(), 2);
        gateway.finish().await;
    });
}

#[test]
fn the_queue_never_opens_more_attempts_than_concurrency_allows() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let gateway = Gateway::start(&queue("narrow", &app.url, "concurrency = 3")).await;
        let events = (0..30).map(|nth| gateway.stripe("narrow", &format!("evt_{nth}")));
        let answers = super::at_once(&events.collect::<Vec<_>>()).await;
        assert_eq!(count(&answers, "queued"), 30);
        app.until(3).await;
        for done in 0..27 {
            app.release(1);
            app.until(4 + done).await;
            assert!(app.most_open() <= 3);
        }
        app.release(3);
        for nth in 0..30 {
            gateway.until_state("narrow", &format!("evt_{nth}"), "done").await;
        }
        assert_eq!((app.got().len(), app.most_open()), (30, 3));
        gateway.finish().await;
    });
}
