//! A compaction while deliveries come: nothing is lost, and nothing fails but with 503.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{App, Gateway, Step, run, stripe};

#[test]
fn a_compaction_under_load_loses_nothing_and_refuses_with_503_alone() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let both = stripe("busy", &app.url, "") + &stripe("later", &app.url, "mode = \"queue\"");
        let gateway = Arc::new(Gateway::start(&both).await);
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for sender in 0..6 {
            let (gateway, stop) = (Arc::clone(&gateway), Arc::clone(&stop));
            senders.spawn(async move {
                let source = if sender % 2 == 0 { "busy" } else { "later" };
                let mut taken = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let key = format!("evt_{sender}_{n}");
                    let answer = gateway.stripe(source, &key).send().await;
                    match answer.told() {
                        (200, _) => taken.push((source, key)),
                        (503, "unavailable") => {
                            assert!(answer.header("retry-after").is_some());
                        },
                        other => panic!("{key}: {other:?}"),
                    }
                }
                taken
            });
        }
        for round in 1..=5 {
            app.until(round * 20).await;
            let (status, told) = gateway.post("/api/v1/compact", "").await;
            assert_eq!(status, 200, "{told}");
            assert!(told["after"].as_u64() <= told["before"].as_u64(), "{told}");
            assert!(told["after"].as_u64() > Some(0) && told["paused_ms"].is_u64(), "{told}");
        }
        stop.store(true, Ordering::SeqCst);
        let taken: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
        assert!(taken.len() > 20, "{}", taken.len());
        for (source, key) in &taken {
            let story = gateway.until_state(source, key, "done").await;
            assert_eq!(story["attempts"], 1, "{source} {key}");
        }
        gateway.until_ready("ready\n").await;
        Arc::into_inner(gateway).unwrap().finish().await;
    });
}

#[test]
fn an_attempt_that_ends_during_a_compaction_is_recorded_after_it() {
    run(async {
        let app = App::always(Step::says(200, "fine").held()).await;
        let gateway = Gateway::start(&stripe("open", &app.url, "")).await;
        let event = gateway.stripe("open", "evt_1");
        let waits = super::send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        let ((status, _), ()) =
            tokio::join!(gateway.post("/api/v1/compact", ""), async { app.release(1) });
        assert_eq!(status, 200);
        assert_eq!(super::answers_of(waits).await[0].told(), (200, "processed"));
        assert_eq!(gateway.until_state("open", "evt_1", "done").await["attempts"], 1);
        assert_eq!(event.send().await.told(), (200, "duplicate"));
        gateway.finish().await;
    });
}

#[test]
fn a_second_compaction_at_once_is_refused() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("twice", &app.url, "")).await;
        gateway.stripe("twice", "evt_1").send().await;
        let asks = (0..8).map(|_| gateway.ask("POST", "/api/v1/compact", ""));
        let answers = super::at_once(&asks.collect::<Vec<_>>()).await;
        for answer in &answers {
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            match answer.status {
                200 => assert!(told["after"].is_u64(), "{told}"),
                409 => assert_eq!(told["error"], "compacting"),
                other => panic!("{other}: {told}"),
            }
        }
        assert!(answers.iter().any(|answer| answer.status == 200));
        assert_eq!(gateway.stripe("twice", "evt_1").send().await.told(), (200, "duplicate"));
        gateway.finish().await;
    });
}
