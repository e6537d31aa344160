//! A copy with the key of another body: flagged, refused, or not looked at.

use super::{answers_of, send_and_be_read};
use crate::harness::{App, Gateway, Request, Step, run, stripe};

/// The event `evt_1` with other bytes.
fn other(gateway: &Gateway, source: &str, nth: usize) -> Request {
    gateway.signed(source, "evt_1", format!(r#"{{"id":"evt_1","nth":{nth}}}"#))
}

#[test]
fn a_mismatching_copy_is_flagged_counted_and_kept() {
    run(async {
        let app = App::always(Step::says(200, "mine")).await;
        let gateway = Gateway::start(&stripe("flags", &app.url, "")).await;
        let first = gateway.stripe("flags", "evt_1").send().await;
        assert_eq!(first.header("oncegate-mismatch"), None);
        for nth in 0..5 {
            let copy = other(&gateway, "flags", nth).send().await;
            assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), "mine"));
            assert_eq!(copy.header("oncegate-mismatch"), Some("true"));
        }
        let same = gateway.stripe("flags", "evt_1").send().await;
        assert_eq!(same.header("oncegate-mismatch"), None);
        let story = gateway.story("flags", "evt_1").await.unwrap();
        assert_eq!(story["mismatching_copies"].as_array().unwrap().len(), 3);
        let counted = gateway.metric("oncegate_mismatches_total", "source=\"flags\"").await;
        assert_eq!(counted, Some(5.0));
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_mismatching_copy_of_a_done_event_is_refused_where_that_is_set() {
    run(async {
        let app = App::steps([Step::says(500, "no"), Step::says(200, "yes")]).await;
        let gateway =
            Gateway::start(&stripe("refuses", &app.url, "on_mismatch = \"refuse\"")).await;
        assert_eq!(gateway.stripe("refuses", "evt_1").send().await.told(), (500, "failed"));
        // Only against Done: the event is open, and the copy carries the attempt.
        let carries = other(&gateway, "refuses", 1).send().await;
        assert_eq!(carries.told(), (200, "processed"));
        assert_eq!(carries.header("oncegate-mismatch"), Some("true"));
        let refused = gateway.stripe("refuses", "evt_1").send().await;
        assert_eq!(refused.told(), (422, "mismatch"));
        assert_eq!(refused.header("oncegate-mismatch"), Some("true"));
        assert_eq!(other(&gateway, "refuses", 1).send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 2);
        assert_eq!(app.got()[1].body, other(&gateway, "refuses", 1).body);
        gateway.finish().await;
    });
}

#[test]
fn a_mismatching_copy_is_as_any_other_where_that_is_set() {
    run(async {
        let app = App::always(Step::says(200, "mine")).await;
        let gateway =
            Gateway::start(&stripe("ignores", &app.url, "on_mismatch = \"ignore\"")).await;
        let first = gateway.stripe("ignores", "evt_1").send().await;
        let copy = other(&gateway, "ignores", 1).send().await;
        assert_eq!(copy.told(), (200, "duplicate"));
        assert_eq!(copy.for_all_copies(), first.for_all_copies());
        let counted = gateway.metric("oncegate_mismatches_total", "source=\"ignores\"").await;
        assert_eq!(counted, Some(0.0));
        gateway.finish().await;
    });
}

#[test]
fn a_mismatching_copy_that_waits_for_the_leader_is_looked_at_too() {
    run(async {
        for (source, word, told) in [
            ("waits-flagged", "flag", (200, "duplicate")),
            ("waits-refused", "refuse", (422, "mismatch")),
        ] {
            let app = App::always(Step::says(200, "mine").held()).await;
            let settings = stripe(source, &app.url, &format!("on_mismatch = \"{word}\""));
            let gateway = Gateway::start(&settings).await;
            let event = gateway.stripe(source, "evt_1");
            let mut open = send_and_be_read(&gateway, &[event]).await;
            app.until(1).await;
            let copy = other(&gateway, source, 1);
            open.extend(send_and_be_read(&gateway, &[copy]).await);
            app.release(1);
            let answers = answers_of(open).await;
            assert_eq!(answers[0].told(), (200, "processed"));
            assert_eq!(answers[1].told(), told);
            assert_eq!(answers[1].header("oncegate-mismatch"), Some("true"));
            assert_eq!(app.got().len(), 1);
            gateway.finish().await;
        }
    });
}
