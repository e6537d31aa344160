//! What the commands ask of the gateway, and how they tell its answers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Shell, like};
use crate::harness::{App, Got, Step, run};

/// An event as a page of the API has it.
fn event(key: &str, state: &str, due: Option<&str>, unknown: bool) -> Value {
    json!({
        "source": "acme", "key": key, "idempotency_key": format!("acme:{key}"), "state": state,
        "received": "2026-11-23T20:00:00.123Z", "changed": "2026-11-23T20:00:01.000Z",
        "due": due, "attempts": 1, "owed": due.is_some(), "unknown": unknown, "bytes": 1234,
    })
}

fn says(document: &Value) -> Step {
    Step::says(200, &document.to_string())
}

fn targets(got: &[Arc<Got>]) -> Vec<&str> {
    got.iter().map(|got| got.target.as_str()).collect()
}

#[test]
fn a_list_is_a_table_that_says_how_to_go_on() {
    run(async {
        let page = json!({ "cursor": "abc", "events": [
            event("order-1", "done", None, false),
            event("order%2F2", "queued", Some("2026-11-23T21:00:00.000Z"), true),
        ]});
        let app = App::always(says(&page)).await;
        let shell = Shell::beside(&app.url, "");
        let args = ["events", "list", "--limit", "2", "--source", "acme", "--key", "order*"];
        like("list", &shell.run(&args).await.whole());
        let target = "/api/v1/events?limit=2&source=acme&key=order%2A";
        assert_eq!(targets(&app.got()), [target]);
        let told = shell.run(&[&args[..], &["--json", "--since", "2h"]].concat()).await.json();
        assert_eq!(told, page);
    });
}

#[test]
fn all_pages_are_one_table_and_as_json_one_document_each() {
    run(async {
        let pages = [
            json!({ "cursor": "p 2", "events": [event("a-longer-key", "dead", None, false)] }),
            // A page may be empty and not the last.
            json!({ "cursor": "p3", "events": [] }),
            json!({ "cursor": null, "events": [event("b", "held", None, true)] }),
        ];
        let app = App::start(move |got, _| {
            let page = match got.target.rsplit("cursor=").next().unwrap() {
                "p%202" => &pages[1],
                "p3" => &pages[2],
                _ => &pages[0],
            };
            says(page)
        })
        .await;
        let shell = Shell::beside(&app.url, "");
        like("list_all", &shell.run(&["events", "list", "--all"]).await.whole());
        let limited = shell.run(&["events", "list", "--limit", "1"]).await;
        assert!(limited.err.contains("--cursor p 2"), "{}", limited.err);
        let json = shell.run(&["events", "list", "--all", "--json"]).await.done();
        let documents = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
        let keys: Vec<Value> = documents
            .flat_map(|page| page.unwrap()["events"].as_array().unwrap().clone())
            .map(|event| event["key"].clone())
            .collect();
        assert_eq!(keys, ["a-longer-key", "b"]);
    });
}

#[test]
fn a_gateway_that_repeats_its_cursor_does_not_hang_the_list() {
    run(async {
        let app = App::always(says(&json!({ "cursor": "same", "events": [] }))).await;
        let shell = Shell::beside(&app.url, "");
        assert_eq!(shell.run(&["events", "list", "--all"]).await.code, 0);
        assert_eq!(app.got().len(), 2);
    });
}

#[test]
fn nothing_a_stranger_sent_reaches_the_terminal_as_a_command() {
    run(async {
        let rejections = json!({ "rejections": [
            { "at": "2026-11-23T20:00:00.123Z", "reason": "wrong\u{1b}[2J", "from": "\u{9b}31m\n",
              "bytes": 7 },
        ]});
        let app = App::always(says(&rejections)).await;
        let shell = Shell::beside(&app.url, "");
        like("rejections", &shell.run(&["sources", "show", "acme"]).await.whole());
        assert_eq!(targets(&app.got()), ["/api/v1/sources/acme/rejections?limit=20"]);
    });
}

#[test]
fn the_sources_are_a_table_with_those_that_are_gone() {
    run(async {
        let sources = json!({ "sources": [
            { "name": "stripe", "provider": "stripe", "mode": "proxy", "path": "/hooks/stripe",
              "target": "http://127.0.0.1:5000/", "was": [], "orphaned": false,
              "events": { "done": 12345, "dead": 2, "open": 0 },
              "last_delivery": "2026-11-23T20:00:00.123Z", "rejected": 3 },
            { "name": "gone", "provider": null, "mode": null, "path": null, "target": null,
              "was": [], "orphaned": true, "events": { "queued": 1 },
              "last_delivery": null, "rejected": 0 },
        ]});
        let app = App::always(says(&sources)).await;
        let shell = Shell::beside(&app.url, "");
        like("sources", &shell.run(&["sources"]).await.whole());
        assert_eq!(shell.run(&["sources", "--json"]).await.json(), sources);
    });
}

#[test]
fn an_operator_acts_by_one_request_and_is_told_what_came_of_it() {
    run(async {
        let app = App::start(|got, _| match got.target.rsplit('/').next().unwrap() {
            "redeliver" => says(&json!({ "state": "queued" })),
            "settle" => Step::says(409, r#"{"error":"not_held","detail":"it is done, not held"}"#),
            "forget" => Step::says(409, r#"{"error":"needs_force","detail":"it is queued"}"#),
            _ => says(&json!({ "before": 1_048_576, "after": 1, "paused_ms": 12 })),
        })
        .await;
        let shell = Shell::beside(&app.url, "");
        let mut all = String::new();
        for args in [
            &["events", "redeliver", "acme:a%2Fb", "--force", "--note", "why not"][..],
            &["events", "settle", "acme", "a%2Fb", "--as", "done"],
            &["events", "forget", "\"acme:a%2Fb\""],
            &["compact"],
        ] {
            let ran = shell.run(args).await.whole();
            all += &["$ oncegate ", &args.join(" "), "\n", &ran, "\n"].concat();
        }
        like("acts", &all);
        let got = app.got();
        let path = "/api/v1/events/acme/a%252Fb";
        assert_eq!(
            targets(&got),
            [
                &format!("{path}/redeliver"),
                &format!("{path}/settle"),
                &format!("{path}/forget"),
                "/api/v1/compact"
            ]
        );
        let sent = |at: usize| serde_json::from_slice::<Value>(&got[at].body).unwrap();
        assert_eq!(sent(0), json!({ "force": true, "note": "why not" }));
        assert_eq!(sent(1), json!({ "as": "done", "note": "" }));
        assert_eq!(sent(2), json!({ "force": false, "note": "" }));
        assert!(got.iter().all(|got| got.method == "POST"));
        assert!(got.iter().all(|got| got.header("content-type") == Some("application/json")));
    });
}

#[test]
fn a_long_story_says_how_many_deliveries_were_only_counted() {
    run(async {
        let delivery = |second: u32, outcome: &str| {
            json!({ "at": format!("2026-11-23T20:00:{second:02}.000Z"), "outcome": outcome,
                    "status": 200, "mismatch": second == 9 })
        };
        let line = |second: u32, more: Value| {
            let mut line = json!({ "at": format!("2026-11-23T20:00:{second:02}.000Z"),
                                   "state": "held" });
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            line
        };
        let story = json!({
            "source": "acme", "key": "=long.00", "long_key": "a very\u{7} long one",
            "idempotency_key": "acme:=long.00", "state": "queued",
            "due": "2026-11-23T20:10:00.000Z", "owed": true, "unknown": true,
            "received": "2026-11-23T20:00:00.000Z", "changed": "2026-11-23T20:00:10.000Z",
            "attempts": 2, "token": 7, "copies_get": null,
            "body": { "sha256": "00", "bytes": 1, "held_since": null },
            "mismatching_copies": ["11", "22"], "answer": null,
            "deliveries": { "total": 1003, "by_outcome": { "processed": 1, "duplicate": 1002 },
                "first": [delivery(0, "processed"), delivery(1, "duplicate")],
                "last": [delivery(9, "duplicate")] },
            "story": [
                line(0, json!({ "event": "stored" })),
                line(1, json!({ "event": "claimed", "token": 7, "attempt": 1 })),
                line(2, json!({ "event": "settled", "attempt": 1, "result": "unknown",
                    "status": null, "detail": "the connection was lost", "late": true })),
                line(3, json!({ "event": "operated", "act": "settle_queued", "note": "go\non" })),
                line(4, json!({ "event": "mismatch_kept", "slot": 1 })),
                line(5, json!({ "event": "of_a_newer_version", "more": [1] })),
            ],
            "damaged_lines": 1,
        });
        let app = App::always(says(&story)).await;
        let shell = Shell::beside(&app.url, "");
        like("long_story", &shell.run(&["events", "show", "acme:=long.00"]).await.whole());
    });
}
