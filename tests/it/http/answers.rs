//! What a provider is answered, row by row.

use std::time::Duration;

use super::{answers_of, send_and_be_read};
use crate::harness::{App, Gateway, Step, run, stripe};

#[test]
fn a_long_answer_passes_and_its_copies_get_what_was_kept() {
    run(async {
        let long = "x".repeat(64 * 1024 + 1);
        let app = App::always(Step::with(202, ("x-kept", "yes"), &long)).await;
        let gateway = Gateway::start(&stripe("long", &app.url, "")).await;
        let event = gateway.stripe("long", "evt_1");
        let first = event.send().await;
        assert_eq!((first.told(), first.text()), ((202, "processed"), long.as_str()));
        assert_eq!(first.header("oncegate-truncated"), None);
        truncated(&event.send().await, 202);

        let kept = "x".repeat(64 * 1024);
        let app = App::always(Step::says(200, &kept)).await;
        let whole = Gateway::start(&stripe("not-too-long", &app.url, "")).await;
        let event = whole.stripe("not-too-long", "evt_1");
        for outcome in ["processed", "duplicate"] {
            let answer = event.send().await;
            assert_eq!((answer.told(), answer.text()), ((200, outcome), kept.as_str()));
            assert_eq!(answer.header("oncegate-truncated"), None);
        }
        gateway.finish().await;
        whole.finish().await;
    });
}

fn truncated(copy: &super::Answer, status: u16) {
    assert_eq!((copy.told(), copy.text()), ((status, "duplicate"), ""));
    assert_eq!(copy.header("oncegate-truncated"), Some("true"));
    assert_eq!(copy.header("idempotency-replayed"), Some("true"));
    if status == 202 {
        assert_eq!(copy.header("x-kept"), Some("yes"));
    }
}

#[test]
fn an_answer_cut_after_a_2xx_head_is_done() {
    run(async {
        let slow = Step::Drip(200, vec![b'x'; 10_000], Duration::from_millis(50));
        for (source, step) in [("cut", Step::Cut(200, b"half".to_vec())), ("drips", slow)] {
            let app = App::always(step).await;
            let gateway = Gateway::start(&stripe(source, &app.url, "timeout = \"400ms\"")).await;
            let event = gateway.stripe(source, "evt_1");
            let first = event.send().await;
            assert_eq!(first.told(), (200, "processed"), "{source}");
            assert!(source == "drips" || first.text() == "half");
            truncated(&event.send().await, 200);
            assert_eq!(app.got().len(), 1);
            gateway.until_state(source, "evt_1", "done").await;
            gateway.finish().await;
        }
    });
}

#[test]
fn waiting_copies_of_a_long_answer_get_what_later_copies_get() {
    run(async {
        let long = "x".repeat(64 * 1024 + 1);
        let app = App::always(Step::says(200, &long).held()).await;
        let gateway = Gateway::start(&stripe("long-wait", &app.url, "")).await;
        let event = gateway.stripe("long-wait", "evt_1");
        let mut open = send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(1).await;
        open.extend(send_and_be_read(&gateway, std::slice::from_ref(&event)).await);
        app.release(1);
        let answers = answers_of(open).await;
        assert_eq!((answers[0].told(), answers[0].text()), ((200, "processed"), long.as_str()));
        truncated(&answers[1], 200);
        gateway.finish().await;
    });
}

#[test]
fn a_status_that_would_mislead_a_provider_becomes_502_with_the_applications_words() {
    run(async {
        let statuses = [300, 301, 302, 303, 304, 307, 308, 400, 401, 404, 409, 410, 418, 422];
        let app = App::start(move |_, nth| {
            Step::with(statuses[nth], ("location", "http://elsewhere.example/"), "my words")
        })
        .await;
        let gateway = Gateway::start(&stripe("misleads", &app.url, "")).await;
        for status in statuses {
            let answer = gateway.stripe("misleads", "evt_1").send().await;
            assert_eq!(answer.told(), (502, "failed"), "{status}");
            let told = answer.header("oncegate-upstream-status");
            assert_eq!(told, Some(status.to_string().as_str()));
            assert_eq!(answer.header("location"), None);
            assert!(status == 304 || answer.text() == "my words", "{status}");
        }
        assert_eq!(app.got().len(), statuses.len(), "a redirect is not followed");
        gateway.finish().await;
    });
}

#[test]
fn busy_and_broken_applications_speak_for_themselves() {
    run(async {
        let statuses = [429, 500, 502, 503, 504, 599];
        let app =
            App::start(move |_, nth| Step::with(statuses[nth], ("retry-after", "17"), "not now"))
                .await;
        let gateway = Gateway::start(&stripe("passes", &app.url, "")).await;
        for status in statuses {
            let answer = gateway.stripe("passes", "evt_1").send().await;
            assert_eq!((answer.told(), answer.text()), ((status, "failed"), "not now"));
            assert_eq!(answer.header("retry-after"), Some("17"));
            assert_eq!(answer.header("oncegate-upstream-status"), None);
        }
        gateway.finish().await;
    });
}

#[test]
fn headers_that_are_not_for_the_provider_are_dropped_from_every_answer() {
    run(async {
        let dropped = [
            ("location", "/there"),
            ("set-cookie", "a=b"),
            ("webhook-delivery", "disable"),
            ("x-slack-no-retry", "1"),
            ("oncegate-outcome", "forged"),
            ("oncegate-mismatch", "true"),
            ("idempotency-replayed", "true"),
            ("keep-alive", "timeout=5"),
            ("x-nominated", "1"),
        ];
        let mut headers: Vec<_> =
            dropped.map(|(name, value)| (name, value.to_owned())).into_iter().collect();
        headers.push(("connection", "x-nominated".to_owned()));
        headers.push(("x-mine", "1".to_owned()));
        headers.push(("date", "Tue, 15 Nov 1994 08:12:31 GMT".to_owned()));
        let app = App::start(move |_, nth| {
            Step::Answer(if nth == 0 { 500 } else { 200 }, headers.clone(), Vec::new())
        })
        .await;
        let gateway = Gateway::start(&stripe("drops", &app.url, "")).await;
        for told in [(500, "failed"), (200, "processed"), (200, "duplicate")] {
            let answer = gateway.stripe("drops", "evt_1").send().await;
            assert_eq!(answer.told(), told);
            for (name, _) in dropped {
                let ours = (name == "oncegate-outcome").then_some(told.1);
                let replayed =
                    (name == "idempotency-replayed" && told.1 == "duplicate").then_some("true");
                assert_eq!(answer.header(name), ours.or(replayed), "{name}");
            }
            assert_eq!(answer.header("x-mine"), Some("1"));
            assert_eq!(answer.header("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
        }
        gateway.finish().await;
    });
}

#[test]
fn a_final_status_passes_and_is_replayed() {
    run(async {
        let app = App::always(Step::says(404, "no such order")).await;
        let gateway = Gateway::start(&stripe("final", &app.url, "final = [404]")).await;
        for (outcome, replayed) in [("failed", None), ("duplicate", Some("true"))] {
            let answer = gateway.stripe("final", "evt_1").send().await;
            assert_eq!((answer.told(), answer.text()), ((404, outcome), "no such order"));
            assert_eq!(answer.header("idempotency-replayed"), replayed);
            assert_eq!(answer.header("oncegate-upstream-status"), None);
        }
        assert_eq!(app.got().len(), 1);
        gateway.until_state("final", "evt_1", "done").await;
        gateway.finish().await;
    });
}

#[test]
fn an_answer_without_a_body_is_replayed_without_one() {
    run(async {
        let app = App::always(Step::Answer(204, Vec::new(), Vec::new())).await;
        let gateway = Gateway::start(&stripe("no-content", &app.url, "")).await;
        for outcome in ["processed", "duplicate"] {
            let answer = gateway.stripe("no-content", "evt_1").send().await;
            assert_eq!((answer.told(), answer.text()), ((204, outcome), ""));
        }
        gateway.finish().await;
    });
}

#[test]
fn the_answer_once_recorded_outlives_the_process() {
    run(async {
        let app = App::steps([Step::says(200, "the first"), Step::says(200, "another")]).await;
        let settings = stripe("outlives", &app.url, "");
        let gateway = Gateway::start(&settings).await;
        let first = gateway.stripe("outlives", "evt_1").send().await;
        let dir = gateway.finish().await;
        let gateway = Gateway::start_in(dir, "", &settings, |_| {}).await;
        let copy = gateway.stripe("outlives", "evt_1").send().await;
        assert_eq!(copy.told(), (200, "duplicate"));
        assert_eq!(copy.for_all_copies(), first.for_all_copies());
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}
