//! Ends that are meant: a stop drains and leaves a clean file, and a file has one process.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oncegate::config::{Config, Source};

use super::activation::event;
use super::app::{App, Client, Script};
use super::check::{Evidence, check};
use super::child::{Plan, Site};
use super::load::Load;
use crate::harness::{self, Step, run, stripe};
use crate::process;

use super::{LAST, drained, per_event, runtime, stories};

const CALM: Script = Script { seed: 0, fails: 0, hangs_up: 0, slow: 300, too_slow: 0 };
const PLANS: [Plan; 2] = [
    Plan { provider: "stripe", mode: "proxy", on_unknown: "redeliver" },
    Plan { provider: "standard-webhooks", mode: "queue", on_unknown: "redeliver" },
];

#[test]
fn a_second_process_on_the_same_file_refuses_to_start_and_harms_nothing() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(CALM).unwrap();
        let site = Site::new(dir.path(), dir.path(), app.addr, &PLANS, "1MiB");
        let mut first = site.start_ready().await;
        let other_dir = tempfile::tempdir().unwrap();
        let other = Site::new(other_dir.path(), dir.path(), app.addr, &PLANS, "1MiB");
        let ended = other.start().ended().await;
        assert_eq!(ended.code(), Some(1));
        let said = other.said();
        assert!(said.contains("another oncegate process has this file; stop it first"), "{said}");
        assert!(first.runs());
        assert_eq!(site.get("/readyz").await.unwrap(), "ready\n");
    });
}

#[test]
fn a_stop_under_load_drains_exits_0_and_leaves_a_clean_file() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let app = App::start(CALM).unwrap();
        let site = Site::new(dir.path(), dir.path(), app.addr, &PLANS, "1MiB");
        let load = Load::start(&site, 16, 7);
        for _ in 0..2 {
            let mut gateway = site.start_ready().await;
            load.send(2_000);
            tokio::time::sleep(Duration::from_millis(300)).await;
            gateway.terminate();
            let ended = gateway.ended().await;
            load.wait();
            assert_eq!(ended.code(), Some(0), "{}", site.said());
            assert!(is_closed(dir.path()), "the file was not closed: {}", site.said());
        }
        let mut gateway = site.start_ready().await;
        let said = site.said();
        assert!(!said.contains("repair") && !said.contains("unknown"), "{said}");
        let sent = load.finish(LAST).await;
        drained(&site, &app).await;
        let stories = stories(&site, &sent).await;
        // Two modes at once: what holds in both is checked.
        let evidence = Evidence { sent, receipts: app.receipts(), stories, ..Evidence::default() };
        let totals = check(&evidence);
        println!("stops: {totals}");
        assert!(totals.broken.is_empty(), "{:?}", totals.broken.first());
        // Nothing was cut, so nothing was repeated.
        assert!(per_event(&evidence.receipts).values().all(|times| *times == 1));
        gateway.terminate();
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
    });
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let app = harness::App::always(Step::Hang).await;
        let site = process::Site::new(dir.path(), "drain = \"1h\"", &stripe("one", &app.url, ""));
        let gateway = site.start(&[]).await;
        let config = Config::load(Some(&dir.path().join("config.toml")), &[].into()).unwrap();
        let client = Client::new(site.public);
        let sending = tokio::spawn(send_one(client, Arc::clone(&config.sources[0])));
        app.until(1).await;
        gateway.terminate();
        while site.get("/readyz", &[]).await.body != b"draining\n" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway.terminate();
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
        assert!(site.said().contains("asked to stop at once"), "{}", site.said());
        assert_eq!(sending.await.unwrap().as_deref(), Ok("unknown"));
    });
}

/// Sends one event of Stripe; what became of it.
async fn send_one(mut client: Client, source: Arc<Source>) -> Result<String, String> {
    let answer = client.send(event(&source, "evt_1"), Duration::from_secs(60)).await?;
    Ok(answer.headers()["oncegate-outcome"].to_str().unwrap().to_owned())
}

/// What redb's header says (its docs/design.md): the second flag asks for a repair.
fn is_closed(dir: &Path) -> bool {
    let bytes = fs::read(dir.join("oncegate.redb")).unwrap();
    assert_eq!(&bytes[..4], b"redb");
    bytes[9] & 2 == 0
}
