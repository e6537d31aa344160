//! A stop begins nothing new, lets what is open end, and tells what it cut.

use super::{answers_of, send_and_be_read};
use crate::harness::{App, Connection, Gateway, Step, run, stripe};

#[test]
fn an_attempt_that_ends_within_the_drain_is_finished_and_recorded() {
    run(async {
        let app = App::always(Step::says(200, "just in time").held()).await;
        let settings = stripe("drains", &app.url, "");
        let gateway = Gateway::start(&settings).await;
        let event = gateway.stripe("drains", "evt_1");
        let mut open = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        open.extend(send_and_be_read(&gateway, std::slice::from_ref(&event)).await);
        gateway.ask_to_stop();
        gateway.until_ready("draining\n").await;
        assert_eq!(gateway.get("/readyz").await.status, 503);
        assert_eq!(gateway.get("/healthz").await.status, 200);
        app.release(1);
        let answers = answers_of(open).await;
        assert_eq!(answers[0].told(), (200, "processed"));
        assert_eq!(answers[1].told(), (200, "duplicate"));
        let dir = gateway.finish().await;

        let gateway = Gateway::start_in(dir, "", &settings, |_| {}).await;
        let copy = event.send_to(gateway.public).await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), "just in time"));
        let story = gateway.story("drains", "evt_1").await.unwrap();
        assert_eq!(story["deliveries"]["total"], 3);
        gateway.finish().await;
    });
}

#[test]
fn an_attempt_that_does_not_end_within_the_drain_is_cut_and_unknown() {
    run(async {
        let app = App::steps([Step::Hang, Step::says(200, "at last")]).await;
        let settings = stripe("cuts", &app.url, "");
        let gateway = Gateway::start_with("drain = \"100ms\"", &settings, |_| {}).await;
        let event = gateway.stripe("cuts", "evt_1");
        let open = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        gateway.ask_to_stop();
        assert_eq!(answers_of(open).await[0].told(), (504, "unknown"));
        app.until_left(1).await;
        let dir = gateway.finish().await;

        let gateway = Gateway::start_in(dir, "", &settings, |_| {}).await;
        let story = gateway.story("cuts", "evt_1").await.unwrap();
        assert_eq!((&story["state"], &story["unknown"]), (&"open".into(), &true.into()));
        let copy = event.send_to(gateway.public).await;
        assert_eq!((copy.told(), copy.text()), ((200, "processed"), "at last"));
        assert_eq!(app.got()[1].header("oncegate-attempt"), Some("2"));
        assert_eq!(app.got()[1].header("oncegate-unknown"), Some("true"));
        gateway.finish().await;
    });
}

#[test]
fn a_drain_takes_nothing_from_the_queue() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let settings = stripe("drains-queue", &app.url, "mode = \"queue\"\nconcurrency = 1");
        let gateway = Gateway::start(&settings).await;
        for id in ["evt_1", "evt_2"] {
            let answer = gateway.stripe("drains-queue", id).send().await;
            assert_eq!(answer.told(), (200, "queued"));
        }
        app.until(1).await;
        gateway.ask_to_stop();
        gateway.until_ready("draining\n").await;
        app.release(2);
        let dir = gateway.finish().await;
        assert_eq!(app.got().len(), 1);

        let gateway = Gateway::start_in(dir, "", &settings, |_| {}).await;
        gateway.until_state("drains-queue", "evt_1", "done").await;
        let story = gateway.until_state("drains-queue", "evt_2", "done").await;
        assert_eq!(story["attempts"], 1);
        assert_eq!(app.got().len(), 2);
        gateway.finish().await;
    });
}

#[test]
fn a_first_copy_that_waits_for_a_slot_is_refused_by_a_stop() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let gateway = Gateway::start(&stripe("no-slot", &app.url, "concurrency = 1")).await;
        let open = send_and_be_read(&gateway, &[gateway.stripe("no-slot", "evt_1")]).await;
        app.until(1).await;
        let waiting = send_and_be_read(&gateway, &[gateway.stripe("no-slot", "evt_2")]).await;
        gateway.ask_to_stop();
        assert_eq!(answers_of(waiting).await[0].told(), (503, "unavailable"));
        app.release(2);
        assert_eq!(answers_of(open).await[0].told(), (200, "processed"));
        gateway.finish().await;
        assert_eq!(app.got().len(), 1);
    });
}

#[test]
fn a_request_that_comes_over_an_open_connection_soon_after_a_stop_is_served() {
    run(async {
        let app = App::always(Step::says(200, "served")).await;
        let gateway = Gateway::start(&stripe("in-time", &app.url, "")).await;
        let silent = Connection::open(gateway.public).await;
        let mut resting = Connection::open(gateway.public).await;
        let answer = resting.send(&gateway.stripe("in-time", "evt_0")).await;
        assert_eq!((answer.told(), answer.header("connection")), ((200, "processed"), None));
        gateway.ask_to_stop();
        gateway.until_ready("draining\n").await;
        for (mut connection, id) in [(silent, "evt_1"), (resting, "evt_2")] {
            let answer = connection.send(&gateway.stripe("in-time", id)).await;
            assert_eq!((answer.told(), answer.text()), ((200, "processed"), "served"));
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(connection.read().await.is_none(), "another answer");
        }
        gateway.finish().await;
        assert_eq!(app.got().len(), 3);
    });
}

#[test]
fn a_second_signal_cuts_the_drain_short_and_what_was_open_is_unknown() {
    run(async {
        let app = App::always(Step::Hang).await;
        let settings = stripe("cut-short", &app.url, "");
        // Longer than the test may take.
        let gateway = Gateway::start_with("drain = \"1h\"", &settings, |_| {}).await;
        let open = send_and_be_read(&gateway, &[gateway.stripe("cut-short", "evt_1")]).await;
        app.until(1).await;
        gateway.ask_to_stop();
        gateway.until_ready("draining\n").await;
        gateway.cut_short();
        assert_eq!(answers_of(open).await[0].told(), (504, "unknown"));
        let dir = gateway.finish().await;
        let gateway = Gateway::start_in(dir, "", &settings, |_| {}).await;
        let story = gateway.story("cut-short", "evt_1").await.unwrap();
        assert_eq!((&story["state"], &story["unknown"]), (&"open".into(), &true.into()));
        gateway.finish().await;
    });
}

#[test]
fn a_request_whose_body_ends_after_the_grace_is_refused_and_claims_nothing() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let settings = stripe("too-late", &app.url, "");
        let gateway = Gateway::start(&settings).await;
        let open = send_and_be_read(&gateway, &[gateway.stripe("too-late", "evt_1")]).await;
        app.until(1).await;
        let late = gateway.stripe("too-late", "evt_2");
        let bytes = late.bytes();
        let (most, last) = bytes.split_at(bytes.len() - 1);
        let mut connection = Connection::open(gateway.public).await;
        assert!(connection.write(most).await);
        drop(send_and_be_read(&gateway, &[]).await);
        let mut resting = Connection::open(gateway.public).await;
        gateway.ask_to_stop();
        // Closed at the end of the grace.
        assert!(resting.read().await.is_none());
        assert!(connection.write(last).await);
        let answer = connection.read().await.unwrap();
        assert_eq!(answer.told(), (503, "unavailable"));
        assert!(answer.header("retry-after").is_some());
        app.release(1);
        assert_eq!(answers_of(open).await[0].told(), (200, "processed"));
        let dir = gateway.finish().await;
        let gateway = Gateway::start_in(dir, "", &settings, |_| {}).await;
        assert!(gateway.story("too-late", "evt_2").await.is_none());
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}
