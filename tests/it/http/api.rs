//! The API by which an operator sees and acts: every shape, every refusal.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use oncegate::record::{OnUnknown, Policy};
use serde_json::{Value, json};

use crate::harness::{App, Gateway, Step, nowhere, run, stripe};

/// `value` with every time written `TIME`.
fn redacted(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => {
            "TIME".clone_into(text);
        },
        Value::Array(items) => items.iter_mut().for_each(|item| *item = redacted(item.take())),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| *field = redacted(field.take()));
        },
        _ => {},
    }
    value
}

fn keys(told: &Value) -> Vec<String> {
    let events = told["events"].as_array().unwrap();
    events.iter().map(|event| event["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_shows_every_event_by_source_state_key_and_time() {
    run(async {
        let app = App::start(|got, _| {
            let refused = got.header("oncegate-key") == Some("evt_open");
            Step::says(if refused { 503 } else { 200 }, "")
        })
        .await;
        let (quiet, target) = (stripe("list-b", &app.url, ""), app.url.clone());
        let gateway = Gateway::start(&(stripe("list-a", &target, "") + &quiet)).await;
        for (source, id) in
            [("list-a", "evt_1"), ("list-a", "evt_open"), ("list-b", "evt_1"), ("list-b", "other")]
        {
            gateway.stripe(source, id).send().await;
        }
        let (status, told) = gateway.json("/api/v1/events?limit=1").await;
        assert_eq!(status, 200);
        assert!(told["cursor"].is_string());
        let bytes = gateway.stripe("list-b", "other").body.len();
        let line = json!({
            "source": "list-b", "key": "other", "idempotency_key": "list-b:other",
            "state": "done", "received": "TIME", "changed": "TIME", "due": null,
            "attempts": 1, "owed": false, "unknown": false, "bytes": bytes,
        });
        assert_eq!(redacted(told)["events"], json!([line]));
        for (query, found) in [
            ("", vec!["other", "evt_1", "evt_open", "evt_1"]),
            ("source=list-a", vec!["evt_open", "evt_1"]),
            ("state=open", vec!["evt_open"]),
            ("state=done", vec!["other", "evt_1", "evt_1"]),
            ("state=done&source=list-b", vec!["other", "evt_1"]),
            ("state=dead", vec![]),
            ("key=evt_1", vec!["evt_1", "evt_1"]),
            ("key=evt_1&source=list-b", vec!["evt_1"]),
            ("key=evt_*", vec!["evt_1", "evt_open", "evt_1"]),
            ("key=evt_*&source=list-a", vec!["evt_1", "evt_open"]),
            ("key=*&source=list-b&state=done", vec!["evt_1", "other"]),
            ("since=1h", vec!["other", "evt_1", "evt_open", "evt_1"]),
            ("until=1h", vec![]),
            (
                "since=2026-01-01T00:00:00Z&until=2099-01-01T00:00:00%2B02:00&key=other",
                vec!["other"],
            ),
            ("since=2099-01-01T00:00:00Z", vec![]),
        ] {
            let (status, told) = gateway.json(&format!("/api/v1/events?{query}")).await;
            assert_eq!(
                (status, keys(&told)),
                (200, found.iter().map(|&it| it.into()).collect()),
                "{query}"
            );
            assert_eq!(told["cursor"], Value::Null, "{query}");
        }
        gateway.finish().await;
    });
}

#[test]
fn a_parameter_that_cannot_be_used_is_told_with_its_mend() {
    run(async {
        let gateway = Gateway::start(&stripe("slips", &nowhere().await, "")).await;
        for (path, status, code, mend) in [
            ("events?sorce=slips", 400, "bad_parameter", "did you mean `source`?"),
            ("events?colour=red", 400, "bad_parameter", "known here: source, state"),
            ("events?limit=5&limit=6", 400, "bad_parameter", "twice"),
            ("events?state=quued", 400, "bad_parameter", "did you mean `queued`?"),
            ("events?state=x", 400, "bad_parameter", "one of open, in_flight"),
            ("events?limit=0", 400, "bad_parameter", "from 1 to 200"),
            ("events?limit=201", 400, "bad_parameter", "from 1 to 200"),
            ("events?since=yesterday", 400, "bad_parameter", "or how long ago"),
            ("events?until=-1h", 400, "bad_parameter", "or how long ago"),
            ("events?key=a*b", 400, "bad_parameter", "only at the end"),
            ("events?cursor=AAAA", 400, "bad_cursor", "begin again"),
            ("events?source=slip", 404, "no_such_source", "did you mean `slips`?"),
            ("sources?x=1", 400, "bad_parameter", "`x` is not a parameter: this path takes none"),
            ("sources/slip/rejections", 404, "no_such_source", "did you mean `slips`?"),
            ("sources/slips/rejections?limit=1001", 400, "bad_parameter", "from 1 to 1000"),
        ] {
            let (told, body) = gateway.json(&format!("/api/v1/{path}")).await;
            assert_eq!((told, body["error"].as_str().unwrap()), (status, code), "{path}");
            let detail = body["detail"].as_str().unwrap();
            assert!(detail.contains(mend), "{path}: {detail}");
        }
        gateway.finish().await;
    });
}

#[test]
fn paging_meets_every_event_once_while_others_arrive() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let gateway = Gateway::start(&stripe("pages", &app.url, "")).await;
        let before = 240;
        let requests = (0..before).map(|n| gateway.stripe("pages", &format!("evt_{n}")));
        super::over(8, requests.collect()).await;
        for query in ["", "source=pages&", "state=done&", "key=evt_*&source=pages&"] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            for page in 0.. {
                let path = format!("/api/v1/events?{query}limit=33{cursor}");
                let (status, told) = gateway.json(&path).await;
                assert_eq!(status, 200, "{told}");
                found.extend(keys(&told));
                let late = format!("late_{page}_{}", query.len());
                gateway.stripe("pages", &late).send().await;
                match told["cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let old: Vec<_> = found.iter().filter(|key| key.starts_with("evt_")).collect();
            assert_eq!(old.len(), before, "{query}");
            assert_eq!(old.into_iter().collect::<BTreeSet<_>>().len(), before, "{query}");
        }
        gateway.finish().await;
    });
}

#[test]
fn redelivering_wakes_the_queue() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let gateway = Gateway::start(&stripe("wakes", &app.url, "")).await;
        gateway.stripe("wakes", "evt_1").send().await;
        let begun = Instant::now();
        for attempt in 2..=9 {
            let path = "/api/v1/events/wakes/evt_1/redeliver";
            assert_eq!(gateway.post(path, r#"{"force":true}"#).await.0, 200);
            app.until(attempt).await;
            gateway.until_state("wakes", "evt_1", "done").await;
        }
        // Not woken it sleeps five seconds each time.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        gateway.finish().await;
    });
}

/// A gateway whose source holds what is unknown.
async fn holding(name: &str, target: &str) -> Gateway {
    Gateway::start_with("", &stripe(name, target, ""), |source| {
        source.policy = Policy { on_unknown: OnUnknown::Hold, ..source.policy.clone() };
    })
    .await
}

#[test]
fn a_redelivered_event_is_attempted_at_once_and_its_note_is_told() {
    run(async {
        let app = App::steps([Step::says(200, "one"), Step::says(200, "two")]).await;
        let gateway = Gateway::start(&stripe("again", &app.url, "")).await;
        gateway.stripe("again", "evt_1").send().await;
        let path = "/api/v1/events/again/evt_1/redeliver";
        let (status, told) = gateway.post(path, "").await;
        assert_eq!((status, told["error"].as_str()), (409, Some("needs_force")), "{told}");
        let told = gateway.post(path, r#"{"force":true,"note":"they lost it"}"#).await;
        assert_eq!(told, (200, json!({ "state": "queued" })));
        app.until(2).await;
        let story = gateway.until_state("again", "evt_1", "done").await;
        let acted = story["story"].as_array().unwrap().iter().find(|it| it["event"] == "operated");
        let mut acted = acted.unwrap().clone();
        acted["at"] = Value::Null;
        assert_eq!(
            acted,
            json!({ "event": "operated", "act": "redeliver", "note": "they lost it",
                    "at": null, "state": "queued" })
        );
        gateway.finish().await;
    });
}

#[test]
fn an_act_that_does_not_fit_the_event_is_refused_with_the_reason() {
    run(async {
        let app = App::steps([Step::HangUp, Step::says(200, "").held()]).await;
        let gateway = holding("acts", &app.url).await;
        let act = async |act: &str, body: &str| {
            let (status, told) =
                gateway.post(&format!("/api/v1/events/acts/evt_1/{act}"), body).await;
            let word = told["error"].as_str().or(told["state"].as_str()).unwrap().to_owned();
            (status, word)
        };
        let is = |status: u16, word: &str| (status, word.to_owned());
        for any in ["redeliver", "admit", "forget"] {
            assert_eq!(act(any, "").await, is(404, "no_such_event"));
        }
        assert_eq!(gateway.stripe("acts", "evt_1").send().await.outcome(), "held");
        // What must be said.
        assert_eq!(act("settle", "").await, is(400, "bad_body"));
        assert_eq!(act("settle", r#"{"as":"dead"}"#).await, is(400, "bad_body"));
        assert_eq!(act("admit", r#"{"force":true}"#).await, is(400, "bad_body"));
        assert_eq!(act("admit", "").await, is(409, "not_done"));
        let long = format!(r#"{{"as":"done","note":"{}"}}"#, "n".repeat(201));
        assert_eq!(act("settle", &long).await, is(400, "bad_note"));
        assert_eq!(act("settle", r#"{"as":"queued","note":"not done"}"#).await, is(200, "queued"));
        // It is attempted at once, and open now.
        app.until(2).await;
        let done = r#"{"as":"done"}"#;
        for (any, body) in [("redeliver", ""), ("forget", ""), ("admit", ""), ("settle", done)] {
            assert_eq!(act(any, body).await, is(409, "in_flight"));
        }
        app.release(1);
        gateway.until_state("acts", "evt_1", "done").await;
        assert_eq!(act("settle", r#"{"as":"done"}"#).await, is(409, "not_held"));
        assert_eq!(act("redeliver", "").await, is(409, "needs_force"));
        assert_eq!(act("forget", r#"{"note":"a test"}"#).await, is(200, "forgotten"));
        assert_eq!(gateway.story("acts", "evt_1").await, None);
        gateway.finish().await;
    });
}

#[test]
fn the_next_copy_of_an_admitted_event_is_attempted_once_in_either_mode() {
    run(async {
        let app = App::steps([
            Step::says(200, "one"),
            Step::says(201, "two").held(),
            Step::says(200, "q1"),
            Step::says(200, "q2"),
        ])
        .await;
        let sources =
            stripe("lets", &app.url, "") + &stripe("lets-q", &app.url, "mode = \"queue\"");
        let gateway = Gateway::start(&sources).await;
        let note = r#"{"note":"for the new handler"}"#;

        // The attempt's own answer for the copy that was let through, the recorded one for all others.
        let event = gateway.stripe("lets", "evt_1");
        assert_eq!(event.send().await.told(), (200, "processed"));
        let path = "/api/v1/events/lets/evt_1/admit";
        assert_eq!(gateway.post(path, note).await, (200, json!({ "state": "open" })));
        let (status, told) = gateway.post(path, note).await;
        assert_eq!((status, told["error"].as_str()), (409, Some("not_done")), "{told}");
        assert!(told["detail"].as_str().unwrap().contains("its next copy is let through anyway"));
        let mut open = super::send_and_be_read(&gateway, std::slice::from_ref(&event)).await;
        app.until(2).await;
        let meanwhile = event.send().await;
        assert_eq!((meanwhile.told(), meanwhile.text()), ((200, "duplicate"), "one"));
        app.release(1);
        let let_through = open.remove(0).read().await.unwrap();
        assert_eq!((let_through.told(), let_through.text()), ((201, "processed"), "two"));
        let later = event.send().await;
        assert_eq!((later.told(), later.text()), ((200, "duplicate"), "one"));
        let story = gateway.story("lets", "evt_1").await.unwrap();
        assert_eq!((&story["state"], &story["attempts"]), (&json!("done"), &json!(2)));
        let acted = story["story"].as_array().unwrap().iter().find(|it| it["event"] == "operated");
        let mut acted = acted.unwrap().clone();
        acted["at"] = Value::Null;
        let line = json!({ "event": "operated", "act": "admit", "note": "for the new handler",
                           "at": null, "state": "open" });
        assert_eq!(acted, line);

        // It stays oncegate's to see to: the copy is stored, and acknowledged.
        let event = gateway.stripe("lets-q", "evt_1");
        assert_eq!(event.send().await.told(), (200, "queued"));
        gateway.until_state("lets-q", "evt_1", "done").await;
        assert_eq!(gateway.post("/api/v1/events/lets-q/evt_1/admit", "").await.0, 200);
        assert_eq!(event.send().await.told(), (200, "queued"));
        assert_eq!(event.send().await.told(), (200, "duplicate"));
        let got = app.until(4).await;
        assert_eq!(got[3].header("oncegate-attempt"), Some("2"));
        gateway.until_state("lets-q", "evt_1", "done").await;
        assert_eq!(event.send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 4);
        gateway.finish().await;
    });
}

#[test]
fn a_held_event_settled_as_done_is_answered_as_done() {
    run(async {
        let app = App::always(Step::HangUp).await;
        let gateway = holding("settles", &app.url).await;
        let event = gateway.stripe("settles", "evt_1");
        assert_eq!(event.send().await.outcome(), "held");
        let told = gateway.post("/api/v1/events/settles/evt_1/settle", r#"{"as":"done"}"#).await;
        assert_eq!(told, (200, json!({ "state": "done" })));
        assert_eq!(event.send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_key_is_percent_encoded_once_more_in_a_path() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let gateway = Gateway::start(&stripe("coded", &app.url, "")).await;
        gateway.stripe("coded", "a/b c").send().await;
        let (_, told) = gateway.json("/api/v1/events").await;
        assert_eq!(keys(&told), ["a%2Fb%20c"]);
        assert!(gateway.story("coded", "a%2Fb%20c").await.is_some());
        let path = "/api/v1/events/coded/a%252Fb%2520c/forget";
        assert_eq!(gateway.post(path, "").await.0, 200);
        gateway.finish().await;
    });
}

#[test]
fn the_sources_are_shown_with_their_events_and_those_that_are_gone() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let both = stripe("stays", &app.url, "") + &stripe("goes", &app.url, "mode = \"queue\"");
        let gateway = Gateway::start(&both).await;
        gateway.stripe("stays", "evt_1").send().await;
        gateway.stripe("goes", "evt_1").send().await;
        gateway.until_state("goes", "evt_1", "done").await;
        gateway.request("stays", "unsigned").send().await;
        let events = |done: u64| json!({ "open": 0, "in_flight": 0, "queued": 0, "done": done, "dead": 0, "held": 0 });
        let set_up = |name: &str, mode: &str, rejected: u64| {
            json!({
                "name": name, "provider": "stripe", "mode": mode, "path": format!("/hooks/{name}"),
                "target": app.url, "was": [], "orphaned": false, "events": events(1),
                "last_delivery": "TIME", "rejected": rejected,
            })
        };
        let (status, told) = gateway.json("/api/v1/sources").await;
        let expected =
            json!({ "sources": [set_up("goes", "queue", 0), set_up("stays", "proxy", 1)] });
        assert_eq!((status, redacted(told)), (200, expected));

        let dir = gateway.finish().await;
        let gateway = Gateway::start_in(dir, "", &stripe("stays", &app.url, ""), |_| {}).await;
        let (_, told) = gateway.json("/api/v1/sources").await;
        assert_eq!(
            told["sources"][1],
            json!({
                "name": "goes", "provider": null, "mode": null, "path": null, "target": null,
                "was": [], "orphaned": true, "events": events(1), "last_delivery": null,
                "rejected": 0,
            })
        );
        assert_eq!(told["sources"][0]["last_delivery"], Value::Null);
        let (_, told) = gateway.json("/api/v1/events?source=goes").await;
        assert_eq!(keys(&told), ["evt_1"]);
        let path = "/api/v1/events/goes/evt_1/redeliver";
        let (status, told) = gateway.post(path, r#"{"force":true}"#).await;
        assert_eq!((status, told["error"].as_str()), (409, Some("orphaned")), "{told}");
        gateway.finish().await;
    });
}

#[test]
fn a_renamed_source_shows_and_redelivers_the_events_of_before() {
    run(async {
        let app = App::always(Step::says(200, "")).await;
        let gateway = Gateway::start(&stripe("before", &app.url, "")).await;
        gateway.stripe("before", "evt_1").send().await;
        gateway.stripe("before", "evt_2").send().await;
        let dir = gateway.finish().await;
        let renamed = stripe("after", &app.url, "was = [\"before\"]");
        let gateway = Gateway::start_in(dir, "", &renamed, |_| {}).await;
        gateway.stripe("after", "evt_3").send().await;
        for (query, found) in [
            ("source=after", vec!["evt_3", "evt_2", "evt_1"]),
            ("source=before", vec!["evt_3", "evt_2", "evt_1"]),
            ("source=after&state=done", vec!["evt_3", "evt_2", "evt_1"]),
            ("source=after&key=evt_*", vec!["evt_3", "evt_1", "evt_2"]),
            ("source=after&key=evt_1", vec!["evt_1"]),
        ] {
            let (_, told) = gateway.json(&format!("/api/v1/events?{query}")).await;
            assert_eq!(keys(&told), found, "{query}");
            let events = told["events"].as_array().unwrap();
            assert!(events.iter().all(|event| event["source"] == "after"), "{told}");
        }
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/events?source=after&key=*&limit=1{cursor}");
            let (_, told) = gateway.json(&path).await;
            paged.extend(keys(&told));
            let Some(next) = told["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, ["evt_3", "evt_1", "evt_2"]);
        let (_, told) = gateway.json("/api/v1/sources").await;
        assert_eq!(told["sources"].as_array().unwrap().len(), 1, "{told}");
        assert_eq!(told["sources"][0]["was"], json!(["before"]));
        assert_eq!(told["sources"][0]["events"]["done"], 3);
        // Attempted at once: the queue of the name of now is woken.
        let path = "/api/v1/events/after/evt_1/redeliver";
        assert_eq!(gateway.post(path, r#"{"force":true}"#).await.0, 200);
        let got = app.until(4).await;
        assert_eq!(got[3].header("idempotency-key"), Some("\"before:evt_1\""));
        gateway.until_state("after", "evt_1", "done").await;
        gateway.finish().await;
    });
}

#[test]
fn a_rejected_delivery_is_shown_with_its_reason_and_nothing_of_it() {
    run(async {
        let gateway = Gateway::start(&stripe("shows", &nowhere().await, "")).await;
        let card = "4242424242424242";
        gateway.request("shows", format!("{{\"card\":\"{card}\"}}")).send().await;
        gateway.stripe("shows", "evt_1").tampered(card).send().await;
        let (status, told) = gateway.json("/api/v1/sources/shows/rejections").await;
        assert!(!told.to_string().contains(card));
        let expected = json!({ "rejections": [
            { "at": "TIME", "reason": "wrong", "from": "127.0.0.1", "bytes": 16 },
            { "at": "TIME", "reason": "missing", "from": "127.0.0.1", "bytes": 27 },
        ] });
        assert_eq!((status, redacted(told)), (200, expected));
        let (_, told) = gateway.json("/api/v1/sources/shows/rejections?limit=1").await;
        assert_eq!(told["rejections"].as_array().unwrap().len(), 1);
        gateway.finish().await;
    });
}
