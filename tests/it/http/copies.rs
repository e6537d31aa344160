//! Every event reaches the application once, however many copies come at once.

use std::collections::HashMap;

use super::{answers_of, at_once, count, over, send_and_be_read};
use crate::harness::{App, Gateway, Request, Step, run, stripe};

/// Answers that name the event, so that no two events have the same.
async fn naming_app() -> App {
    App::start(|got, nth| {
        let key = got.header("oncegate-key").unwrap();
        Step::with(201, ("x-nth", &nth.to_string()), &format!("{key} was request {nth}"))
    })
    .await
}

#[test]
fn a_hundred_copies_at_once_are_one_request_and_one_answer() {
    run(async {
        let app = naming_app().await;
        let gateway = Gateway::start(&stripe("hundred", &app.url, "")).await;
        let copies: Vec<Request> = vec![gateway.stripe("hundred", "evt_1"); 100];
        let answers = at_once(&copies).await;
        assert_eq!((count(&answers, "processed"), count(&answers, "duplicate")), (1, 99));
        for answer in &answers {
            let replayed = (answer.outcome() == "duplicate").then_some("true");
            assert_eq!(answer.header("idempotency-replayed"), replayed);
        }
        let mut same: Vec<_> = answers.into_iter().map(super::Answer::for_all_copies).collect();
        same.dedup();
        assert_eq!(same.len(), 1, "{same:?}");
        assert_eq!((same[0].status, same[0].text()), (201, "evt_1 was request 0"));
        assert_eq!(app.got().len(), 1);

        let story = gateway.story("hundred", "evt_1").await.unwrap();
        assert_eq!(story["state"], "done");
        assert_eq!(story["attempts"], 1);
        assert_eq!(story["deliveries"]["total"], 100);
        assert_eq!(story["deliveries"]["by_outcome"]["duplicate"], 99);
        assert_eq!(story["deliveries"]["first"].as_array().unwrap().len(), 32);
        assert_eq!(story["deliveries"]["last"].as_array().unwrap().len(), 32);
        assert_eq!(gateway.delivered("hundred", "processed").await, 1.0);
        assert_eq!(gateway.delivered("hundred", "duplicate").await, 99.0);
        gateway.finish().await;
    });
}

#[test]
fn one_changed_byte_is_rejected_and_nothing_is_stored() {
    run(async {
        let app = naming_app().await;
        let gateway = Gateway::start(&stripe("tampered", &app.url, "")).await;
        let right = gateway.stripe("tampered", "evt_1");
        for place in [0, right.body.len() / 2, right.body.len() - 1] {
            let mut body = right.body.clone();
            body[place] ^= 1;
            let answer = right.clone().tampered(body).send().await;
            assert_eq!(answer.told(), (401, "rejected"));
        }
        let unsigned = gateway.request("tampered", right.body.clone()).send().await;
        assert_eq!(unsigned.told(), (401, "rejected"));
        let twice = right.clone().header("stripe-signature", &right.headers[0].1).send().await;
        assert_eq!(twice.told(), (401, "rejected"));
        assert!(gateway.story("tampered", "evt_1").await.is_none());
        assert!(app.got().is_empty());
        for (reason, times) in [("wrong", 3.0), ("missing", 1.0), ("repeated", 1.0)] {
            let labels = format!("source=\"tampered\",reason=\"{reason}\"");
            let counted = gateway.metric("oncegate_signature_failures_total", &labels).await;
            assert_eq!(counted, Some(times), "{reason}");
        }
        gateway.finish().await;
    });
}

/// 200 events, 50 copies of each, those of an event next to each other.
fn flood(gateway: &Gateway, source: &str) -> Vec<Request> {
    let events = (0..200).map(|nth| gateway.stripe(source, &format!("evt_{nth}")));
    events.flat_map(|event| vec![event; 50]).collect()
}

#[test]
fn in_proxy_mode_a_flood_of_copies_reaches_the_application_once_each() {
    run(async {
        let app = naming_app().await;
        let settings = stripe("flood", &app.url, "wait = \"60s\"");
        let gateway = Gateway::start(&settings).await;
        let answers = over(250, flood(&gateway, "flood")).await;
        assert_eq!((count(&answers, "processed"), count(&answers, "duplicate")), (200, 9_800));
        for copies in answers.chunks(50) {
            let first = copies[0].clone().for_all_copies();
            assert!(copies.iter().all(|copy| copy.clone().for_all_copies() == first), "{first:?}");
        }
        each_once(&app);
        assert!(app.most_open() <= 16, "{}", app.most_open());
        gateway.finish().await;
    });
}

#[test]
fn in_queue_mode_a_flood_of_copies_is_acknowledged_and_delivered_once_each() {
    run(async {
        let app = naming_app().await;
        let settings = stripe("flood-queue", &app.url, "mode = \"queue\"");
        let gateway = Gateway::start(&settings).await;
        let answers = over(250, flood(&gateway, "flood-queue")).await;
        assert_eq!((count(&answers, "queued"), count(&answers, "duplicate")), (200, 9_800));
        for answer in answers {
            let answer = answer.for_all_copies();
            assert_eq!((answer.status, answer.text()), (200, ""));
        }
        app.until(200).await;
        for nth in 0..200 {
            gateway.until_state("flood-queue", &format!("evt_{nth}"), "done").await;
        }
        each_once(&app);
        assert!(app.most_open() <= 16, "{}", app.most_open());
        gateway.finish().await;
    });
}

fn each_once(app: &App) {
    let mut times = HashMap::<String, usize>::new();
    for got in app.got() {
        *times.entry(got.header("idempotency-key").unwrap().to_owned()).or_default() += 1;
        assert_eq!(got.header("oncegate-attempt"), Some("1"));
    }
    assert_eq!(times.len(), 200);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[test]
fn a_copy_that_waited_too_long_is_told_to_come_back_and_starts_nothing() {
    run(async {
        let app = App::always(Step::says(200, "done").held()).await;
        let gateway = Gateway::start(&stripe("busy", &app.url, "wait = \"50ms\"")).await;
        let event = gateway.stripe("busy", "evt_1");
        let leader = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        let copy = event.send().await;
        assert_eq!(copy.told(), (503, "busy"));
        assert!(copy.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        app.release(1);
        assert_eq!(answers_of(leader).await[0].told(), (200, "processed"));
        assert_eq!(event.send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_copy_of_a_provider_that_never_retries_waits_to_the_end() {
    run(async {
        let app = App::always(Step::says(200, "done").held()).await;
        let settings = stripe("waits", &app.url, "wait = \"1ms\"\nconcurrency = 1");
        let never_again = |source: &mut oncegate::config::Source| source.provider_retries = false;
        let gateway = Gateway::start_with("", &settings, never_again).await;
        let event = gateway.stripe("waits", "evt_1");
        let leader = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        // The copy waits for the leader, another event for a slot.
        let other = gateway.stripe("waits", "evt_2");
        let waiting = send_and_be_read(&gateway, &[event, other]).await;
        app.release(2);
        assert_eq!(answers_of(leader).await[0].told(), (200, "processed"));
        let answers = answers_of(waiting).await;
        assert_eq!(answers[0].told(), (200, "duplicate"));
        assert_eq!(answers[1].told(), (200, "processed"));
        assert_eq!((app.got().len(), app.most_open()), (2, 1));
        gateway.finish().await;
    });
}

#[test]
fn more_events_than_slots_wait_unclaimed_and_are_then_refused() {
    run(async {
        let app = App::always(Step::says(200, "done").held()).await;
        let settings = stripe("slots", &app.url, "wait = \"100ms\"\nconcurrency = 2");
        let gateway = Gateway::start(&settings).await;
        let events = ["evt_1", "evt_2"].map(|id| gateway.stripe("slots", id));
        let leaders = send_and_be_read(&gateway, &events).await;
        app.until(2).await;
        let third = gateway.stripe("slots", "evt_3");
        let refused = at_once(&[third.clone(), third.clone()]).await;
        for answer in &refused {
            assert_eq!(answer.status, 503);
            assert!(answer.header("retry-after").is_some());
        }
        // Its copy may have given up waiting for it a moment before.
        assert!(count(&refused, "unavailable") >= 1, "{refused:?}");
        assert!(gateway.story("slots", "evt_3").await.is_none(), "it waited unclaimed");
        app.release(3);
        assert_eq!(count(&answers_of(leaders).await, "processed"), 2);
        assert_eq!(third.send().await.told(), (200, "processed"));
        assert_eq!((app.got().len(), app.most_open()), (3, 2));
        gateway.finish().await;
    });
}
