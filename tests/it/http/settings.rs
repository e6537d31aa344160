//! Signals, and what a change of the key rule does to copies of older events.

use std::sync::Arc;

use super::{answers_of, count, send_and_be_read};
use crate::harness::{App, Gateway, Request, Step, run};

/// A source whose deliveries are not signed, with such a key rule.
fn open_source(name: &str, target: &str, more: &str, key: &str) -> String {
    format!(
        "[sources.{name}]\nprovider = \"custom\"\ntarget = \"{target}\"\n{more}\n\
         [sources.{name}.verify]\nscheme = \"none\"\n[sources.{name}.key]\n{key}\n"
    )
}

fn signals(name: &str, target: &str, more: &str) -> String {
    open_source(name, target, more, "fallback = \"coalesce\"")
}

#[test]
fn copies_that_come_while_a_run_is_open_share_one_later_run() {
    run(async {
        let app = App::start(|_, nth| Step::says(200, &format!("run {nth}")).held()).await;
        let settings = signals("signals", &app.url, "wait = \"60s\"");
        let gateway = Gateway::start(&settings).await;
        let signal = gateway.request("signals", "look again");
        let first = send_and_be_read(&gateway, std::slice::from_ref(&signal)).await;
        app.until(1).await;
        // All of these came after the first run began.
        let later = send_and_be_read(&gateway, &vec![signal.clone(); 20]).await;
        assert_eq!(app.got().len(), 1, "one run at a time");
        app.release(1);
        let first = answers_of(first).await;
        assert_eq!((first[0].told(), first[0].text()), ((200, "processed"), "run 0"));
        app.until(2).await;
        app.release(1);
        let later = answers_of(later).await;
        assert_eq!((count(&later, "processed"), count(&later, "duplicate")), (1, 19));
        assert!(later.iter().all(|answer| answer.text() == "run 1"));
        let got = app.got();
        assert_eq!(got.len(), 2, "twenty waiters cause one more run");
        assert_eq!(app.most_open(), 1);
        let ids: Vec<_> = got.iter().map(|got| got.header("idempotency-key").unwrap()).collect();
        assert_ne!(ids[0], ids[1], "each run is an event");
        // Equal bytes later are another event.
        let third = send_and_be_read(&gateway, &[signal]).await;
        app.until(3).await;
        app.release(1);
        assert_eq!(answers_of(third).await[0].text(), "run 2");
        gateway.finish().await;
    });
}

#[test]
fn a_copy_of_a_signal_whose_run_takes_too_long_is_told_busy() {
    run(async {
        let app = App::always(Step::says(200, "").held()).await;
        let gateway = Gateway::start(&signals("busy-signals", &app.url, "wait = \"30ms\"")).await;
        let signal = gateway.request("busy-signals", "look again");
        let first = send_and_be_read(&gateway, std::slice::from_ref(&signal)).await;
        app.until(1).await;
        assert_eq!(signal.send().await.told(), (503, "busy"));
        app.release(2);
        assert_eq!(answers_of(first).await[0].told(), (200, "processed"));
        // Sent again, it is the next run.
        assert_eq!(signal.send().await.told(), (200, "processed"));
        gateway.finish().await;
    });
}

#[test]
fn in_queue_mode_one_run_follows_those_that_came_during_one() {
    run(async {
        let app = App::always(Step::says(200, "").held()).await;
        let settings = signals("queued-signals", &app.url, "mode = \"queue\"");
        let gateway = Gateway::start(&settings).await;
        let signal = gateway.request("queued-signals", "look again");
        assert_eq!(signal.send().await.told(), (200, "queued"));
        app.until(1).await;
        assert_eq!(signal.send().await.told(), (200, "queued"), "the run had begun");
        for _ in 0..5 {
            assert_eq!(signal.send().await.told(), (200, "duplicate"));
        }
        assert_eq!(app.got().len(), 1);
        app.release(2);
        app.until(2).await;
        gateway.finish().await;
        assert_eq!((app.got().len(), app.most_open()), (2, 1));
    });
}

const BY_BODY: &str = "parts = [\"json:/id\"]";
const BY_HEADER: &str = "parts = [\"header:X-Id\"]";

fn delivery(gateway: &Gateway, body: &str, id: &str) -> Request {
    gateway.request("shop", body).header("x-id", id)
}

#[test]
fn after_a_change_of_the_key_rule_copies_find_their_events() {
    run(async {
        let app = App::always(Step::says(200, "once")).await;
        let source = |key: &str| open_source("shop", &app.url, "", key);
        let gateway = Gateway::start(&source(BY_BODY)).await;
        let sent = delivery(&gateway, r#"{"id":1}"#, "a").send().await;
        assert_eq!(sent.told(), (200, "processed"));
        let dir = gateway.finish().await;

        let gateway = Gateway::start_in(Arc::clone(&dir), "", &source(BY_HEADER), |_| {}).await;
        let copy = delivery(&gateway, r#"{"id":1}"#, "a").send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), "once"));
        assert!(gateway.story("shop", "a").await.is_none(), "it keeps the key it was born with");
        let story = gateway.story("shop", "=1").await.unwrap();
        assert_eq!(story["deliveries"]["total"], 2);
        // What the old rule took for one event is two now: other bytes, or another id.
        for (body, id) in [(r#"{"id":1,"n":2}"#, "b"), (r#"{"id":1}"#, "c")] {
            let sent = delivery(&gateway, body, id).send().await;
            assert_eq!(sent.told(), (200, "processed"), "{body} {id}");
        }
        assert_eq!(app.got().len(), 3);
        let dir = gateway.finish().await;

        // And back again, under another name.
        let renamed = source(BY_BODY).replace("sources.shop", "sources.store").replacen(
            "provider",
            "was = [\"shop\"]\npath = \"/hooks/shop\"\nprovider",
            1,
        );
        let gateway = Gateway::start_in(dir, "", &renamed, |_| {}).await;
        for (body, id) in [(r#"{"id":1}"#, "a"), (r#"{"id":1,"n":2}"#, "b")] {
            let copy = gateway.request("store", body).header("x-id", id).send().await;
            assert_eq!(copy.told(), (200, "duplicate"), "{body} {id}");
        }
        let copy = gateway.request("store", r#"{"id":1}"#).header("x-id", "c").send().await;
        assert_eq!(copy.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 3, "nothing again after an answer");
        gateway.finish().await;
    });
}

#[test]
fn where_each_delivery_is_an_event_no_old_rule_swallows_it() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let source = |key: &str| open_source("pings", &app.url, "", key);
        let gateway = Gateway::start(&source("fallback = \"body\"")).await;
        assert_eq!(gateway.request("pings", "ping").send().await.told(), (200, "processed"));
        let dir = gateway.finish().await;
        for (fallback, runs) in [("none", 3), ("coalesce", 5)] {
            let key = format!("fallback = \"{fallback}\"");
            let dir = Arc::clone(&dir);
            let gateway = Gateway::start_in(dir, "", &source(&key), |_| {}).await;
            for _ in 0..2 {
                let sent = gateway.request("pings", "ping").send().await;
                assert_eq!(sent.told(), (200, "processed"), "{fallback}");
            }
            assert_eq!(app.got().len(), runs);
            gateway.finish().await;
        }
    });
}

#[test]
fn a_rule_that_was_too_coarse_swallows_nothing_once_it_is_mended() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let source =
            |part| open_source("coarse", &app.url, "", &format!("parts = [\"json:/{part}\"]"));
        let body = |id| format!(r#"{{"type":"paid","id":"{id}"}}"#);
        let gateway = Gateway::start(&source("type")).await;
        assert_eq!(gateway.request("coarse", body(1)).send().await.told(), (200, "processed"));
        assert_eq!(gateway.request("coarse", body(2)).send().await.told(), (200, "duplicate"));
        let dir = gateway.finish().await;
        let gateway = Gateway::start_in(dir, "", &source("id"), |_| {}).await;
        for (id, outcome) in [(1, "duplicate"), (2, "processed"), (3, "processed")] {
            let sent = gateway.request("coarse", body(id)).send().await;
            assert_eq!(sent.told(), (200, outcome), "{id}");
        }
        assert_eq!(app.got().len(), 3);
        gateway.finish().await;
    });
}
