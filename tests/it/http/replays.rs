//! The guard against replays: signed content that comes again under another key.

use crate::harness::{App, Gateway, Request, SECRET, Step, run};

fn github(name: &str, target: &str, more: &str) -> String {
    format!(
        "[sources.{name}]\nprovider = \"github\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n{more}\n"
    )
}

/// A push whose body is `body`, as the delivery `guid`. The signature covers the body alone.
fn push(gateway: &Gateway, source: &str, guid: &str, body: &str) -> Request {
    gateway.signed(source, "", body).header("x-github-delivery", guid)
}

async fn suspects(gateway: &Gateway, source: &str) -> Option<f64> {
    gateway.metric("oncegate_suspects_total", &format!("source=\"{source}\"")).await
}

#[test]
fn a_replay_under_another_key_is_flagged_counted_and_delivered() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&github("replay-flag", &app.url, "")).await;
        let name = "replay-flag";
        assert_eq!(suspects(&gateway, name).await, Some(0.0));
        let first = push(&gateway, name, "guid-1", "{}").send().await;
        assert_eq!((first.told(), first.header("oncegate-suspect")), ((200, "queued"), None));
        gateway.until_state(name, "guid-1", "done").await;

        // The same key: a plain duplicate.
        let copy = push(&gateway, name, "guid-1", "{}").send().await;
        assert_eq!((copy.told(), copy.header("oncegate-suspect")), ((200, "duplicate"), None));
        // Another body: another content.
        let other = push(&gateway, name, "guid-2", "{ }").send().await;
        assert_eq!((other.told(), other.header("oncegate-suspect")), ((200, "queued"), None));
        assert_eq!(suspects(&gateway, name).await, Some(0.0));

        let replay = push(&gateway, name, "guid-3", "{}").send().await;
        assert_eq!(replay.told(), (200, "queued"));
        assert_eq!(replay.header("oncegate-suspect"), Some("true"));
        gateway.until_state(name, "guid-3", "done").await;
        let again = push(&gateway, name, "guid-3", "{}").send().await;
        assert_eq!(again.told(), (200, "duplicate"));
        assert_eq!(again.header("oncegate-suspect"), Some("true"));
        assert_eq!(suspects(&gateway, name).await, Some(2.0));
        assert_eq!(app.until(3).await.len(), 3);
        gateway.until_state(name, "guid-2", "done").await;
        gateway.finish().await;
    });
}

#[test]
fn a_replay_is_refused_where_that_is_set_and_nothing_of_it_is_stored() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let name = "replay-refuse";
        let sources = github(name, &app.url, "replay_guard = \"refuse\"");
        let gateway = Gateway::start(&sources).await;
        push(&gateway, name, "guid-1", "{}").send().await;
        gateway.until_state(name, "guid-1", "done").await;
        let replay = push(&gateway, name, "guid-2", "{}").send().await;
        assert_eq!(replay.told(), (401, "rejected"));
        assert_eq!(gateway.story(name, "guid-2").await, None);
        // Who tries is told nothing: it reads as any other.
        let wrong = push(&gateway, name, "guid-2", "{}").tampered("[]").send().await;
        assert_eq!((wrong.status, wrong.text()), (replay.status, replay.text()));

        let labels = format!("source=\"{name}\",reason=\"replayed\"");
        let refused = gateway.metric("oncegate_signature_failures_total", &labels).await;
        assert_eq!((refused, suspects(&gateway, name).await), (Some(1.0), Some(1.0)));
        let (_, told) = gateway.json(&format!("/api/v1/sources/{name}/rejections")).await;
        let (kept, last) = (&told["rejections"][1], &told["rejections"][0]);
        assert_eq!((&kept["reason"], &kept["bytes"]), (&"replayed".into(), &2.into()));
        assert_eq!(last["reason"], "wrong");

        assert_eq!(push(&gateway, name, "guid-1", "{}").send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 1);
        // Once the first is forgotten, the next one is the first.
        assert_eq!(gateway.post(&format!("/api/v1/events/{name}/guid-1/forget"), "").await.0, 200);
        let next = push(&gateway, name, "guid-2", "{}").send().await;
        assert_eq!((next.told(), next.header("oncegate-suspect")), ((200, "queued"), None));
        gateway.until_state(name, "guid-2", "done").await;
        let replay = push(&gateway, name, "guid-3", "{}").send().await;
        assert_eq!(replay.told(), (401, "rejected"));
        gateway.finish().await;
    });
}

#[test]
fn before_the_first_is_done_nothing_is_a_replay() {
    run(async {
        let app = App::steps([
            Step::says(500, "no"),
            Step::says(200, "two"),
            Step::says(500, "no"),
            Step::says(200, "one"),
        ])
        .await;
        let name = "replay-early";
        let sources = github(name, &app.url, "mode = \"proxy\"\nreplay_guard = \"refuse\"");
        let gateway = Gateway::start(&sources).await;
        let send = async |guid: &str| push(&gateway, name, guid, "{}").send().await;
        assert_eq!(send("guid-1").await.told(), (500, "failed"));
        let early = send("guid-2").await;
        assert_eq!((early.told(), early.header("oncegate-suspect")), ((200, "processed"), None));
        assert_eq!(send("guid-3").await.told(), (500, "failed"));
        assert_eq!(send("guid-1").await.told(), (200, "processed"));
        // What is on record and seen to is answered from there; what would be attempted is not.
        let known = send("guid-2").await;
        assert_eq!(known.told(), (200, "duplicate"));
        assert_eq!(known.header("oncegate-suspect"), Some("true"));
        assert_eq!(send("guid-3").await.told(), (401, "rejected"));
        assert_eq!(send("guid-4").await.told(), (401, "rejected"));
        // Let through by an operator, it comes under its own key.
        let admit = format!("/api/v1/events/{name}/guid-1/admit");
        assert_eq!(gateway.post(&admit, "").await.0, 200);
        assert_eq!(send("guid-1").await.told(), (200, "processed"));
        assert_eq!(app.got().len(), 5);
        gateway.finish().await;
    });
}

#[test]
fn where_the_guard_is_off_or_no_key_is_kept_nothing_is_looked_at() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let off = github("replay-off", &app.url, "replay_guard = \"off\"");
        let once = github(
            "replay-once",
            &app.url,
            "replay_guard = \"refuse\"\n[sources.replay-once.key]\nparts = [\"header:X-None\"]\nfallback = \"none\"",
        );
        let gateway = Gateway::start(&(off + &once)).await;
        for name in ["replay-off", "replay-once"] {
            for guid in ["guid-1", "guid-2"] {
                let answer = push(&gateway, name, guid, "{}").send().await;
                assert_eq!(answer.told(), (200, "queued"), "{name} {guid}");
                assert_eq!(answer.header("oncegate-suspect"), None);
            }
            let done = format!("/api/v1/events?state=done&source={name}");
            while gateway.json(&done).await.1["events"].as_array().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
            let last = push(&gateway, name, "guid-3", "{}").send().await;
            assert_eq!((last.told(), last.header("oncegate-suspect")), ((200, "queued"), None));
            assert_eq!(suspects(&gateway, name).await, Some(0.0));
        }
        app.until(6).await;
        gateway.finish().await;
    });
}
