//! Batches: several events in one request. Each is stored, delivered and known again on its
//! own; the request is answered for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::{at_once, count};
use crate::harness::{App, Gateway, Got, Request, SECRET, Step, run, stripe};

/// A source whose deliveries have their events at `/events`, each with an `id`.
fn settings(name: &str, app: &App, more: &str, key: &str) -> String {
    let target = &app.url;
    format!(
        "[sources.{name}]\nprovider = \"custom\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n{more}\n\
         [sources.{name}.verify]\nscheme = \"hmac-sha256\"\nheader = \"X-Sig\"\n\
         [sources.{name}.key]\n{key}\n[sources.{name}.batch]\nelements = \"/events\"\n"
    )
}

fn queue(name: &str, app: &App) -> String {
    settings(name, app, "mode = \"queue\"", BY_ID)
}

const BY_ID: &str = "parts = [\"json:/id\"]";

fn batch(gateway: &Gateway, source: &str, ids: &[&str]) -> Request {
    let events: Vec<_> = ids.iter().map(|id| json!({ "id": id, "of": source })).collect();
    gateway.signed(source, "", json!({ "events": events }).to_string())
}

/// What reached the application, by key; its attempts may overtake each other.
fn keys(got: &[Arc<Got>]) -> Vec<String> {
    let mut keys: Vec<_> =
        got.iter().map(|got| got.header("oncegate-key").unwrap().to_owned()).collect();
    keys.sort_unstable();
    keys
}

async fn until_done(gateway: &Gateway, source: &str, keys: &[&str]) {
    for key in keys {
        gateway.until_state(source, key, "done").await;
    }
}

#[test]
fn each_element_is_an_event_of_its_own_with_its_own_bytes_and_its_place() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("splits", &app)).await;
        let body = "{\"sent\": 1, \"events\":[ {\"id\" : \"a\",\t\"n\":1.50}\n,{\"id\":7 } , \
                    {\"id\":\"\u{e9}\",\"x\":[{}, \"],\"]} ] }\r\n";
        let request = gateway
            .signed("splits", "", body)
            .query("of=all")
            .header("content-type", "application/json")
            .header("content-digest", "sha-256=:AAAA:")
            .header("x-topic", "orders")
            .header("oncegate-batch", "forged");
        let answer = request.send().await;
        assert_eq!((answer.told(), answer.text()), ((200, "queued"), ""));
        let got = app.until(3).await;
        let expected = [
            ("a", "1/3", "{\"id\" : \"a\",\t\"n\":1.50}"),
            ("=7", "2/3", "{\"id\":7 }"),
            ("%C3%A9", "3/3", "{\"id\":\"\u{e9}\",\"x\":[{}, \"],\"]}"),
        ];
        for (key, place, bytes) in expected {
            let got = got.iter().find(|got| got.header("oncegate-key") == Some(key)).expect(key);
            assert_eq!(std::str::from_utf8(&got.body), Ok(bytes));
            assert_eq!(got.target, "/hook?of=all");
            assert_eq!(got.header("oncegate-batch"), Some(place));
            assert_eq!(got.header("idempotency-key"), Some(format!("\"splits:{key}\"").as_str()));
            assert_eq!(got.header("content-length"), Some(bytes.len().to_string().as_str()));
            assert_eq!(got.header("content-type"), Some("application/json"));
            assert_eq!(got.header("x-topic"), Some("orders"));
            assert_eq!(got.header("x-sig"), None, "it signs another body");
            assert_eq!(got.header("content-digest"), None, "it is of another body");
            let story = gateway.until_state("splits", key, "done").await;
            assert_eq!(story["deliveries"]["by_outcome"], json!({ "queued": 1 }));
        }
        assert_eq!(gateway.delivered("splits", "queued").await, Some(1.0), "it is one delivery");
        gateway.finish().await;
    });
}

#[test]
fn the_same_batch_again_is_a_duplicate_and_reaches_nothing() {
    run(async {
        let app = App::always(Step::says(200, "not for the provider").held()).await;
        let gateway = Gateway::start(&queue("again", &app)).await;
        let first = batch(&gateway, "again", &["a", "b", "c"]);
        assert_eq!(first.send().await.told(), (200, "queued"));
        app.until(3).await;
        let copy = first.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), ""));
        assert_eq!(copy.header("idempotency-replayed"), None, "they are not finished");
        app.release(3);
        until_done(&gateway, "again", &["a", "b", "c"]).await;
        let copy = first.send().await;
        assert_eq!((copy.told(), copy.text()), ((200, "duplicate"), ""));
        assert_eq!(copy.header("idempotency-replayed"), Some("true"));
        assert_eq!(app.got().len(), 3);
        let story = gateway.story("again", "b").await.unwrap();
        assert_eq!(story["deliveries"]["by_outcome"], json!({ "queued": 1, "duplicate": 2 }));
        assert_eq!(gateway.delivered("again", "duplicate").await, Some(2.0));
        let lags = gateway.metric("oncegate_duplicate_lag_seconds_count", "source=\"again\"").await;
        assert_eq!(lags, Some(2.0));
        gateway.finish().await;
    });
}

#[test]
fn of_a_batch_that_overlaps_only_what_is_new_reaches_the_application() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("overlaps", &app)).await;
        assert_eq!(batch(&gateway, "overlaps", &["a", "b"]).send().await.told(), (200, "queued"));
        until_done(&gateway, "overlaps", &["a", "b"]).await;
        let second = batch(&gateway, "overlaps", &["b", "c", "a"]).send().await;
        assert_eq!(second.told(), (200, "queued"), "one of them is new");
        assert_eq!(second.header("idempotency-replayed"), None);
        until_done(&gateway, "overlaps", &["c"]).await;
        assert_eq!(batch(&gateway, "overlaps", &["a"]).send().await.told(), (200, "duplicate"));
        let got = app.got();
        assert_eq!(keys(&got), ["a", "b", "c"]);
        let newest = got.iter().find(|got| got.header("oncegate-key") == Some("c")).unwrap();
        assert_eq!(newest.header("oncegate-batch"), Some("2/3"));
        let story = gateway.story("overlaps", "a").await.unwrap();
        assert_eq!(story["deliveries"]["by_outcome"], json!({ "queued": 1, "duplicate": 2 }));
        gateway.finish().await;
    });
}

#[test]
fn of_two_equal_elements_the_second_is_a_copy_of_the_first() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("twice", &app)).await;
        let answer = batch(&gateway, "twice", &["a", "a", "b"]).send().await;
        assert_eq!(answer.told(), (200, "queued"));
        assert_eq!(answer.header("oncegate-mismatch"), None);
        until_done(&gateway, "twice", &["a", "b"]).await;
        assert_eq!(keys(&app.got()), ["a", "b"]);
        let story = gateway.story("twice", "a").await.unwrap();
        assert_eq!(story["deliveries"]["by_outcome"], json!({ "queued": 1, "duplicate": 1 }));

        // The same key and other bytes: flagged, and the bytes are kept.
        let body = r#"{"events":[{"id":"x","n":1},{"id":"x","n":2},{"id":"y"}]}"#;
        let answer = gateway.signed("twice", "", body).send().await;
        assert_eq!(answer.told(), (200, "queued"));
        assert_eq!(answer.header("oncegate-mismatch"), Some("true"));
        let story = gateway.until_state("twice", "x", "done").await;
        assert_eq!(story["mismatching_copies"].as_array().unwrap().len(), 1);
        let counted = gateway.metric("oncegate_mismatches_total", "source=\"twice\"").await;
        assert_eq!(counted, Some(1.0));
        gateway.until_state("twice", "y", "done").await;
        gateway.finish().await;
    });
}

#[test]
fn an_element_that_is_refused_is_not_acknowledged_with_the_others() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let more = "mode = \"queue\"\non_mismatch = \"refuse\"";
        let gateway = Gateway::start(&settings("strict", &app, more, BY_ID)).await;
        assert_eq!(batch(&gateway, "strict", &["a"]).send().await.told(), (200, "queued"));
        until_done(&gateway, "strict", &["a"]).await;
        let other = r#"{"events":[{"id":"b"},{"id":"a","other":true}]}"#;
        let answer = gateway.signed("strict", "", other).send().await;
        assert_eq!(answer.told(), (422, "mismatch"));
        assert_eq!(answer.header("oncegate-mismatch"), Some("true"));
        // The others are stored all the same, and known when they come again.
        until_done(&gateway, "strict", &["b"]).await;
        assert_eq!(keys(&app.got()), ["a", "b"]);
        gateway.finish().await;
    });
}

#[test]
fn an_empty_batch_is_answered_and_nothing_is_stored() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("asks", &app)).await;
        let empty = gateway.signed("asks", "", r#"{"events": [ ], "firstEventSequence": 0}"#);
        let answer = empty.send().await;
        assert_eq!((answer.told(), answer.text()), ((200, "handshake"), ""));
        // Xero asks with a wrong signature as well, and wants 401.
        let wrong = empty.tampered(r#"{"events": [  ], "firstEventSequence": 0}"#);
        assert_eq!(wrong.send().await.told(), (401, "rejected"));
        assert_eq!(gateway.json("/api/v1/events").await.1["events"], json!([]));
        assert!(app.got().is_empty());
        gateway.finish().await;
    });
}

#[test]
fn what_is_no_batch_is_one_event_and_nothing_is_lost() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("whole", &app)).await;
        let bodies = [
            r#"{"id":"a"}"#,
            r#"{"id":"a","events":{"id":"b"}}"#,
            r#"{"events":null}"#,
            r#"{"events":[{"id":"a"}],"events":[]}"#,
            r#"{"events":[{"id":"a"}"#,
            "events=a",
        ];
        for (nth, body) in bodies.into_iter().enumerate() {
            let request = gateway.signed("whole", "", body).header("oncegate-batch", "1/9");
            assert_eq!(request.send().await.told(), (200, "queued"), "{body}");
            let got = app.until(nth + 1).await;
            let got = got.iter().find(|got| got.body == body.as_bytes()).expect(body);
            let key = got.header("oncegate-key").unwrap();
            assert!(key.starts_with("=body."), "{key}");
            assert_eq!(got.header("oncegate-batch"), None);
            assert_eq!(got.header("x-sig"), Some(request.headers[0].1.as_str()));
            gateway.until_state("whole", key, "done").await;
            assert_eq!(request.send().await.told(), (200, "duplicate"), "{body}");
        }
        gateway.finish().await;
    });
}

#[test]
fn a_batch_with_a_wrong_signature_claims_nothing() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("forged", &app)).await;
        let right = batch(&gateway, "forged", &["a", "b"]);
        let wrong = right.clone().tampered(r#"{"events":[{"id":"a"},{"id":"c"}]}"#);
        assert_eq!(wrong.send().await.told(), (401, "rejected"));
        assert_eq!(gateway.json("/api/v1/events").await.1["events"], json!([]));
        assert_eq!(right.send().await.told(), (200, "queued"));
        until_done(&gateway, "forged", &["a", "b"]).await;
        assert_eq!(keys(&app.got()), ["a", "b"]);
        gateway.finish().await;
    });
}

#[test]
fn in_proxy_mode_a_batch_is_one_event_keyed_by_its_elements_in_order() {
    run(async {
        let app = App::always(Step::says(201, "all of it")).await;
        let gateway = Gateway::start(&settings("asone", &app, "mode = \"proxy\"", BY_ID)).await;
        let first = batch(&gateway, "asone", &["a", "b"]);
        let answer = first.send().await;
        assert_eq!((answer.told(), answer.text()), ((201, "processed"), "all of it"));
        let copy = first.send().await;
        assert_eq!((copy.told(), copy.text()), ((201, "duplicate"), "all of it"));
        assert_eq!(batch(&gateway, "asone", &["b", "a"]).send().await.told(), (201, "processed"));
        let got = app.got();
        assert_eq!(keys(&got), ["a,b", "b,a"]);
        assert_eq!(got[0].body, first.body);
        assert_eq!(got[0].header("oncegate-batch"), None);
        assert_eq!(got[0].header("x-sig"), Some(first.headers[0].1.as_str()));
        // Many: the key is hashed, and still the same for the same elements.
        let ids: Vec<_> = (0..200).map(|nth| format!("event-{nth}")).collect();
        let many = batch(&gateway, "asone", &ids.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(many.send().await.told(), (201, "processed"));
        assert_eq!(many.send().await.told(), (201, "duplicate"));
        assert!(app.got()[2].header("oncegate-key").unwrap().starts_with("=long."));
        // An element's doubt is the batch's.
        let odd = gateway.signed("asone", "", r#"{"events":[{"id":"a"},{"id":null}]}"#);
        assert_eq!(odd.send().await.told(), (201, "processed"));
        assert_eq!(odd.send().await.told(), (201, "duplicate"));
        assert!(app.got()[3].header("oncegate-key").unwrap().starts_with("a,=body."));
        let empty = gateway.signed("asone", "", r#"{"events":[]}"#).send().await;
        assert_eq!(empty.told(), (200, "handshake"));
        gateway.finish().await;
    });
}

#[test]
fn five_hundred_elements_are_five_hundred_events_however_many_copies_come() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("many", &app)).await;
        let ids: Vec<_> = (0..500).map(|nth| format!("event-{nth}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let first = batch(&gateway, "many", &ids);
        let answers = at_once(&vec![first.clone(); 8]).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!((count(&answers, "queued"), count(&answers, "duplicate")), (1, 7));
        let got = app.until(500).await;
        assert_eq!(keys(&got).into_iter().collect::<BTreeSet<_>>().len(), 500);
        until_done(&gateway, "many", &ids).await;
        assert_eq!(first.send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 500);
        gateway.finish().await;
    });
}

#[test]
fn a_batch_that_is_too_large_is_refused_whole() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("toomany", &app)).await;
        let many = format!(r#"{{"events":[{}1]}}"#, "0,".repeat(10_000));
        let answer = gateway.signed("toomany", "", many).send().await;
        assert_eq!(answer.told(), (400, "invalid"));
        assert!(answer.text().contains("more than 10000 elements"), "{}", answer.text());
        // Its headers would be stored with each element.
        let ids: Vec<_> = (0..5_000).map(|nth| nth.to_string()).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let headers = batch(&gateway, "toomany", &ids).header("x-long", &"x".repeat(20_000));
        assert_eq!(headers.send().await.told(), (413, "too_large"));
        assert_eq!(gateway.json("/api/v1/events").await.1["events"], json!([]));
        assert!(app.got().is_empty());
        gateway.finish().await;
    });
}

#[test]
fn an_element_without_a_key_falls_back_as_the_rule_says() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let key = |fallback: &str| format!("{BY_ID}\nfallback = \"{fallback}\"");
        let queue = "mode = \"queue\"";
        let sources = ["body", "canonical", "reject", "none"]
            .map(|fallback| settings(&format!("else-{fallback}"), &app, queue, &key(fallback)));
        let gateway = Gateway::start(&sources.concat()).await;
        let send = async |source: &str, body: &str| gateway.signed(source, "", body).send().await;
        let body = r#"{"events":[{"id":"a"},{"no":1},{ "no":1 }]}"#;
        for (fallback, events) in [("body", 3), ("canonical", 2), ("none", 3)] {
            let source = format!("else-{fallback}");
            let before = app.got().len();
            assert_eq!(send(&source, body).await.told(), (200, "queued"), "{fallback}");
            let got = app.until(before + events).await;
            let prefix = if fallback == "none" { "=once." } else { &format!("={fallback}.") };
            let fell = got[before..].iter().filter(|got| {
                let key = got.header("oncegate-key").unwrap();
                key.starts_with(prefix) || key == "a"
            });
            assert_eq!(fell.count(), events, "{fallback}");
            for got in &got[before..] {
                let key = got.header("oncegate-key").unwrap();
                gateway.until_state(&source, key, "done").await;
            }
            let again = if fallback == "none" { "queued" } else { "duplicate" };
            assert_eq!(send(&source, body).await.told(), (200, again), "{fallback}");
            if fallback == "none" {
                app.until(before + events + 2).await;
            }
        }
        // One element without a key refuses no others; what is no batch is refused.
        let before = app.got().len();
        assert_eq!(send("else-reject", body).await.told(), (200, "queued"));
        assert_eq!(app.until(before + 3).await.len(), before + 3);
        assert_eq!(send("else-reject", "{}").await.told(), (400, "invalid"));
        gateway.finish().await;
    });
}

#[test]
fn an_element_is_found_again_after_the_key_rule_changed() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&queue("rekeyed", &app)).await;
        let old = batch(&gateway, "rekeyed", &["a", "b"]);
        assert_eq!(old.send().await.told(), (200, "queued"));
        until_done(&gateway, "rekeyed", &["a", "b"]).await;
        let dir = gateway.finish().await;
        let changed =
            settings("rekeyed", &app, "mode = \"queue\"", "parts = [\"json:/id\", \"json:/of\"]");
        let gateway = Gateway::start_in(dir, "", &changed, |_| {}).await;
        let old = batch(&gateway, "rekeyed", &["a", "b"]);
        assert_eq!(old.send().await.told(), (200, "duplicate"));
        let more = batch(&gateway, "rekeyed", &["b", "c"]);
        assert_eq!(more.send().await.told(), (200, "queued"));
        until_done(&gateway, "rekeyed", &["c,rekeyed"]).await;
        assert_eq!(keys(&app.got()), ["a", "b", "c,rekeyed"]);
        gateway.finish().await;
    });
}

#[test]
fn what_a_provider_says_of_a_batch_does_not_reach_the_application() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let proxy = stripe("says", &app.url, "");
        let queue = stripe("says-later", &app.url, "mode = \"queue\"");
        let gateway = Gateway::start(&(proxy + &queue)).await;
        for (source, outcome) in [("says", "processed"), ("says-later", "queued")] {
            let request = gateway.stripe(source, "evt_1").header("oncegate-batch", "1/2");
            assert_eq!(request.send().await.told(), (200, outcome));
        }
        gateway.until_state("says-later", "evt_1", "done").await;
        let got = app.got();
        assert_eq!(got.len(), 2);
        assert!(got.iter().all(|got| got.header("oncegate-batch").is_none()));
        gateway.finish().await;
    });
}
