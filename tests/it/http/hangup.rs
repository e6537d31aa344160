//! A provider that hangs up cancels nothing: what began is finished and recorded.

use super::send_and_be_read;
use crate::harness::{App, Connection, Gateway, Step, run, stripe};

#[test]
fn a_provider_that_hangs_up_within_its_request_has_claimed_nothing() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("hang-early", &app.url, "")).await;
        let event = gateway.stripe("hang-early", "evt_1");
        let bytes = event.bytes();
        for (nth, end) in (0..bytes.len()).step_by(7).enumerate() {
            let mut connection = Connection::open(gateway.public).await;
            assert!(connection.write(&bytes[..end]).await);
            if nth % 2 == 0 { connection.reset() } else { drop(connection) }
        }
        let mut connection = Connection::open(gateway.public).await;
        assert!(connection.write(&bytes[..bytes.len() - 1]).await);
        drop(connection);
        drop(send_and_be_read(&gateway, &[]).await);
        assert!(gateway.story("hang-early", "evt_1").await.is_none());
        assert!(app.got().is_empty());
        assert_eq!(event.send().await.told(), (200, "processed"));
        gateway.finish().await;
    });
}

#[test]
fn a_provider_that_hangs_up_after_its_request_gets_the_recorded_answer_later() {
    run(async {
        let app = App::always(Step::says(200, "kept for you")).await;
        let gateway = Gateway::start(&stripe("hang-late", &app.url, "")).await;
        for nth in 0..40 {
            let key = format!("evt_{nth}");
            let event = gateway.stripe("hang-late", &key);
            let mut connection = Connection::open(gateway.public).await;
            assert!(connection.write(&event.bytes()).await);
            // A close may come before the request is read; what is read, is done.
            if nth % 2 == 0 {
                connection.reset()
            } else {
                drop(connection)
            }
            let copy = event.send().await;
            assert_eq!((copy.status, copy.text()), (200, "kept for you"), "{nth}");
            assert_eq!(event.send().await.told(), (200, "duplicate"));
        }
        let got = app.got();
        assert_eq!(got.len(), 40, "each once");
        gateway.finish().await;
    });
}

#[test]
fn a_provider_that_hangs_up_while_the_attempt_runs_cancels_nothing() {
    run(async {
        let app = App::always(Step::says(200, "kept for you").held()).await;
        let gateway = Gateway::start(&stripe("hang-midway", &app.url, "")).await;
        for nth in 0..4 {
            let key = format!("evt_{nth}");
            let event = gateway.stripe("hang-midway", &key);
            let leader = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
            app.until(nth + 1).await;
            let follower = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
            for connection in leader.into_iter().chain(follower) {
                if nth % 2 == 0 { connection.reset() } else { drop(connection) }
            }
            drop(send_and_be_read(&gateway, &[]).await);
            app.release(1);
            let story = gateway.until_state("hang-midway", &key, "done").await;
            assert_eq!(story["attempts"], 1);
            let copy = event.send().await;
            assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), "kept for you"));
        }
        assert_eq!(app.got().len(), 4);
        gateway.finish().await;
    });
}

#[test]
fn a_provider_that_hangs_up_within_its_answer_gets_all_of_it_later() {
    run(async {
        let long = "x".repeat(64 * 1024);
        let app = App::always(Step::says(200, &long)).await;
        let gateway = Gateway::start(&stripe("hang-at-end", &app.url, "")).await;
        let event = gateway.stripe("hang-at-end", "evt_1");
        let mut connection = Connection::open(gateway.public).await;
        assert!(connection.write(&event.bytes()).await);
        connection.read_head().await;
        connection.reset();
        let copy = event.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), long.as_str()));
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_provider_that_hangs_up_in_queue_mode_after_its_request_loses_nothing() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&stripe("hang-queue", &app.url, "mode = \"queue\"")).await;
        for nth in 0..20 {
            let event = gateway.stripe("hang-queue", &format!("evt_{nth}"));
            drop(send_and_be_read(&gateway, &[event]).await);
        }
        for nth in 0..20 {
            gateway.until_state("hang-queue", &format!("evt_{nth}"), "done").await;
        }
        assert_eq!(app.got().len(), 20);
        gateway.finish().await;
    });
}
