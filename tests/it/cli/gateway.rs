//! The commands against a real gateway, from an event's first delivery to its redelivery.

use std::fs;
use std::sync::Arc;

use serde_json::Value;

use super::{Shell, like};
use crate::harness::{App, Gateway, SECRET, Step, run, stripe};

fn github(name: &str, target: &str) -> String {
    format!(
        "[sources.{name}]\nprovider = \"github\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n"
    )
}

#[test]
fn a_newcomer_signs_a_delivery_of_github_sees_its_story_and_has_it_delivered_again() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = github("new", &app.url);
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        assert_eq!(shell.run(&["health"]).await.done(), "ready\n");

        let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
        fs::write(shell.path().join("issue.json"), r#"{"action":"opened"}"#).unwrap();
        let sent = ["sign", "new", "issue.json", "--id", id, "--send", "--times", "3"];
        let told = shell.run(&sent).await.done();
        assert!(told.contains("3 copies: 2 duplicate, 1 queued"), "{told}");
        gateway.until_state("new", id, "done").await;
        let list = shell.run(&["events", "list"]).await.done();
        assert!(list.contains(&format!("new     {id}  done ")), "{list}");
        let story = shell.run(&["events", "show", "new", id]).await.done();
        assert!(story.contains("attempt 1 succeeded: answered 200"), "{story}");

        // Done: it takes a word more.
        let name = format!("new:{id}");
        let refused = shell.run(&["events", "redeliver", &name]).await;
        assert_eq!(refused.code, 1);
        assert!(refused.err.ends_with("tip: add --force\n"), "{}", refused.err);
        let again = ["events", "redeliver", &name, "--force", "--note", "lost by the warehouse"];
        assert_eq!(shell.run(&again).await.done(), format!("{name} is queued\n"));

        let got = app.until(2).await;
        assert_eq!(got[1].header("oncegate-attempt"), Some("2"));
        assert_eq!(got[1].body, got[0].body);
        let key = format!("\"{name}\"");
        assert!(got.iter().all(|got| got.header("idempotency-key") == Some(key.as_str())));
        gateway.until_state("new", id, "done").await;
        let story = shell.run(&["events", "show", &name]).await.done();
        for words in [
            "redelivered by an operator: lost by the warehouse",
            "attempt 2 succeeded: answered 200",
        ] {
            assert!(story.contains(words), "{story}");
        }
        gateway.finish().await;
    });
}

#[test]
fn a_redelivery_of_the_providers_own_is_let_through_once() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = github("lets-in", &app.url);
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        let send = ["sign", "lets-in", "--id", "guid-1", "--send"];
        shell.run(&send).await.done();
        gateway.until_state("lets-in", "guid-1", "done").await;
        let admit = ["events", "admit", "lets-in:guid-1", "--note", "for the new handler"];
        assert_eq!(shell.run(&admit).await.done(), "lets-in:guid-1 is open\n");
        let story = shell.run(&["events", "show", "lets-in:guid-1"]).await.done();
        for words in [
            "open, its next copy is let through",
            "next copy let through by an operator: for the new handler",
        ] {
            assert!(story.contains(words), "{story}");
        }
        let again = shell.run(&admit).await;
        assert_eq!(again.code, 1);
        assert!(again.err.contains("its next copy is let through anyway"), "{}", again.err);
        let told = shell.run(&send).await.done();
        assert!(told.contains("queued"), "{told}");
        gateway.until_state("lets-in", "guid-1", "done").await;
        let told = shell.run(&send).await.done();
        assert!(told.contains("duplicate"), "{told}");
        let got = app.until(2).await;
        assert_eq!((got.len(), got[1].header("oncegate-attempt")), (2, Some("2")));
        gateway.finish().await;
    });
}

#[test]
fn the_whole_story_is_told_line_by_line() {
    run(async {
        let app = App::steps([
            Step::says(503, "later"),
            Step::HangUp,
            Step::with(201, ("x-mine", "1"), "made"),
        ])
        .await;
        let sources = stripe("story", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        for _ in 0..4 {
            gateway.stripe("story", "evt_1").send().await;
        }
        let told = shell.run(&["events", "show", "story", "evt_1"]).await.done();
        // What happens within a millisecond has no order.
        let mut lines: Vec<&str> = told.lines().map(|line| line.get(26..).unwrap_or("")).collect();
        let timeline = lines.split_off(lines.iter().position(|it| it.contains("WHAT")).unwrap());
        let mut timeline: Vec<_> = timeline.into_iter().map(str::trim_start).collect();
        timeline.sort_unstable();
        like("story", &timeline.join("\n"));
        let json = shell.run(&["events", "show", "story:evt_1", "--json"]).await.json();
        assert_eq!(json, gateway.story("story", "evt_1").await.unwrap());
        let missing = shell.run(&["events", "show", "story", "a/b"]).await;
        assert_eq!(missing.code, 1);
        assert!(missing.err.contains("try story:a%2Fb"), "{}", missing.err);
        let slip = shell.run(&["events", "show", "stori:evt_1"]).await;
        assert!(slip.err.contains("did you mean `story`?"), "{}", slip.err);
        gateway.finish().await;
    });
}

#[test]
fn every_page_of_a_real_list_is_gone_through() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = stripe("pages", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        for at in 0..7 {
            gateway.stripe("pages", &format!("evt_{at}")).send().await;
        }
        let keys = |documents: &str| -> Vec<String> {
            serde_json::Deserializer::from_str(documents)
                .into_iter::<Value>()
                .flat_map(|page| page.unwrap()["events"].as_array().unwrap().clone())
                .map(|event| event["key"].as_str().unwrap().to_owned())
                .collect()
        };
        let all = keys(&shell.run(&["events", "list", "--all", "--json"]).await.done());
        assert_eq!(all.len(), 7);
        // By hand, as the hint says: the same events in the same order.
        let (mut by_hand, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut args = vec!["events", "list", "--limit", "3", "--json"];
            if let Some(cursor) = &cursor {
                args.extend(["--cursor", cursor]);
            }
            let ran = shell.run(&args).await;
            by_hand.extend(keys(&ran.out));
            let next = ran.err.rsplit_once("--cursor ").map(|(_, it)| it.trim().to_owned());
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(by_hand, all);
        let filters = ["--source", "pages", "--state", "done", "--key", "evt_3", "--since", "1h"];
        let one = shell.run(&[&["events", "list", "--json"][..], &filters].concat()).await.done();
        assert_eq!(keys(&one), ["evt_3"]);
        let none = shell.run(&["events", "list", "--until", "1h"]).await;
        assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (0, "", "no event fits\n"));
        let wrong = shell.run(&["events", "list", "--since", "yesterday"]).await;
        assert_eq!(wrong.code, 1);
        assert!(wrong.err.contains("since"), "{}", wrong.err);
        gateway.finish().await;
    });
}

#[test]
fn a_held_event_is_settled_and_forgotten_by_hand() {
    run(async {
        let app = App::steps([Step::HangUp, Step::says(200, "fine")]).await;
        let sources = stripe("settle", &app.url, "on_unknown = \"hold\"");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        gateway.stripe("settle", "evt_1").send().await;
        gateway.until_state("settle", "evt_1", "held").await;
        let held = shell.run(&["events", "list", "--state", "held"]).await.done();
        assert!(held.contains("an outcome is unknown"), "{held}");
        let settle = ["events", "settle", "settle:evt_1", "--as", "done", "--note", "it did"];
        assert_eq!(shell.run(&settle).await.done(), "settle:evt_1 is done\n");
        let again = shell.run(&settle).await;
        assert_eq!(again.code, 1, "{}", again.out);
        let forget = ["events", "forget", "settle:evt_1"];
        assert_eq!(shell.run(&forget).await.done(), "settle:evt_1 is forgotten\n");
        let gone = shell.run(&forget).await;
        assert_eq!(gone.code, 1);
        assert!(gone.err.contains("there is no event settle:evt_1"), "{}", gone.err);
        assert_eq!(app.got().len(), 1);
        gateway.finish().await;
    });
}

#[test]
fn a_source_shows_how_it_fares_and_what_it_rejected() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = stripe("fares", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let shell = Shell::of(&gateway, &sources);
        shell.run(&["sign", "fares", "--send"]).await.done();
        shell.run(&["sign", "fares", "--send", "--tamper", "--times", "2"]).await.done();
        let told = shell.run(&["sources", "--json"]).await.json();
        let source = &told["sources"][0];
        assert_eq!((&source["name"], &source["rejected"]), (&"fares".into(), &2.into()));
        let table = shell.run(&["sources"]).await.done();
        assert!(table.contains("1 done"), "{table}");
        let shown = shell.run(&["sources", "show", "fares"]).await.done();
        assert_eq!(shown.matches("  wrong ").count(), 2, "{shown}");
        let limited = shell.run(&["sources", "show", "fares", "--limit", "1", "--json"]).await;
        assert_eq!(limited.json()["rejections"].as_array().unwrap().len(), 1);
        let slip = shell.run(&["sources", "show", "fare"]).await;
        assert!(slip.err.contains("did you mean `fares`?"), "{}", slip.err);
        let slip = shell.run(&["events", "list", "--source", "fare"]).await;
        assert_eq!((slip.code, slip.out.as_str()), (1, ""));
        assert!(slip.err.contains("did you mean `fares`?"), "{}", slip.err);
        gateway.finish().await;
    });
}

#[test]
fn the_file_is_compacted_by_the_gateway_or_without_one() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = stripe("compact", &app.url, "");
        let gateway = Gateway::start(&sources).await;
        let (public, admin) = (gateway.public, gateway.admin);
        let shell = Shell::of(&gateway, &sources);
        gateway.stripe("compact", "evt_1").send().await;
        let told = shell.run(&["compact"]).await.done();
        assert!(told.contains("bytes after; the gateway paused for "), "{told}");
        // The file is taken while the gateway runs, wherever its listener is.
        let dir = gateway.finish().await;
        let file = dir.path().join("events.redb");
        let storage = format!("[storage]\npath = \"{}\"\n", file.display());
        let listeners = format!("[server]\nlisten = \"{public}\"\nadmin = \"{admin}\"\n");
        let alone = Shell::new(&format!("{listeners}{storage}{sources}"));
        let told = alone.run(&["compact"]).await.done();
        assert!(told.ends_with("bytes after; no gateway was running\n"), "{told}");
        let again = Gateway::start_in(Arc::clone(&dir), "", &sources, |_| {}).await;
        assert_eq!(again.story("compact", "evt_1").await.unwrap()["state"], "done");
        let refused = alone.run(&["compact"]).await;
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("another oncegate process has this file"), "{}", refused.err);
        again.finish().await;
        let none = Shell::new(&format!("{listeners}[storage]\npath = \"none.redb\"\n"));
        let ran = none.run(&["compact"]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("none.redb"), "{}", ran.err);
    });
}

#[test]
fn the_admin_listener_may_be_a_unix_socket() {
    run(async {
        let app = App::always(Step::says(200, r#"{"sources":[]}"#)).await;
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let shell = Shell::new(&format!("[server]\nadmin = \"unix:{}\"\n", socket.display()));
        let absent = shell.run(&["health"]).await;
        assert_eq!(absent.code, 4);
        assert!(absent.err.contains("does not answer at unix:/"), "{}", absent.err);
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let address = app.url.strip_prefix("http://").unwrap().split('/').next().unwrap();
        let address = address.to_owned();
        let relay = tokio::spawn(async move {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = tokio::net::TcpStream::connect(address).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut from, &mut to).await);
        });
        let ran = shell.run(&["sources"]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(app.got()[0].header("host"), Some("localhost"));
        relay.abort();
    });
}
