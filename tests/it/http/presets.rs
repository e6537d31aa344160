//! Presets from end to end: what each provider sends, how often it reaches the application, and
//! that a handshake reaches nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use oncegate::clock::{self, Clock};
use oncegate::config::{Config, Environment};
use oncegate::key::Fallback;
use oncegate::preset;
use oncegate::record::Mode;
use oncegate::store::{Medium, RedbStore, Store as _};
use oncegate::verify::{Delivery, Private, Scheme};
use secrecy::{ExposeSecret as _, SecretString};

use super::{at_once, count};
use crate::harness::{App, Gateway, Request, Step, run};

/// A secret in every format that presets have: text, base64 and hexadecimal.
const SECRET: &str = "8f742231b10e8888abcd99aaabbb85a5";

fn settings(name: &str, provider: &str, app: &App, more: &str) -> String {
    let target = &app.url;
    format!(
        "[sources.{name}]\nprovider = \"{provider}\"\nsecrets = [\"{SECRET}\"]\ntarget = \"{target}\"\n{more}\n"
    )
}

/// The preset's sample of the event `id`, changed, then signed.
fn sample(gateway: &Gateway, name: &str, id: &str, change: impl FnOnce(&mut Delivery)) -> Request {
    let source = gateway.source(name);
    let mut delivery = source.sample.delivery(id).unwrap();
    change(&mut delivery);
    source.sign(&mut delivery, id, clock::wall()).unwrap();
    let mut request = gateway.request(name, delivery.body.to_vec());
    for (name, value) in &delivery.headers {
        request = request.header(name.as_str(), value.to_str().unwrap());
    }
    match &delivery.query {
        Some(query) => request.query(query),
        None => request,
    }
}

fn header(delivery: &mut Delivery, name: &'static str, value: &str) {
    delivery.headers.insert(name, value.parse().unwrap());
}

/// Stops the gateway and counts the events of its file.
async fn events(gateway: Gateway) -> u64 {
    let dir = gateway.finish().await;
    let config = Config::load(Some(&dir.path().join("config.toml")), &Environment::new()).unwrap();
    let rules = config.sources.iter().map(|it| (it.name.clone(), it.as_ref().into())).collect();
    let opening = tokio::task::spawn_blocking(move || {
        let medium = Medium::File(config.storage.path.clone());
        RedbStore::open(medium, &config.storage, rules, Arc::new(Clock::start())).unwrap()
    });
    let store = opening.await.unwrap();
    let events = store.stats().counts.iter().map(|(_, _, count)| count).sum();
    store.close().await;
    events
}

#[test]
fn github_is_queued_once_and_its_redelivery_is_a_copy() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&settings("hub", "github", &app, "")).await;
        let push = sample(&gateway, "hub", "72d3162e-cc78-11e3-81ab-4c9367dc0958", |_| {});
        let answers = at_once(&vec![push.clone(); 20]).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!((count(&answers, "queued"), count(&answers, "duplicate")), (1, 19));
        let got = app.until(1).await.remove(0);
        assert_eq!(got.header("x-github-event"), Some("push"));
        assert_eq!(got.header("oncegate-key"), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
        gateway.until_state("hub", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "done").await;
        // Resent by hand: the same GUID.
        assert_eq!(push.send().await.told(), (200, "duplicate"));
        // 25 MiB is the most it sends.
        let large = sample(&gateway, "hub", "large", |it| it.body = vec![b'x'; 25 << 20].into());
        assert_eq!(large.send().await.told(), (200, "queued"));
        assert_eq!(push.clone().tampered("{}").send().await.told(), (401, "rejected"));
        assert_eq!(app.until(2).await.len(), 2);
        gateway.until_state("hub", "large", "done").await;
        assert_eq!(events(gateway).await, 2);
    });
}

#[test]
fn githubs_ping_is_answered_and_nothing_is_stored() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let gateway = Gateway::start(&settings("pinged", "github", &app, "")).await;
        let ping = sample(&gateway, "pinged", "1", |it| header(it, "x-github-event", "ping"));
        for _ in 0..2 {
            let answer = ping.send().await;
            assert_eq!(answer.told(), (200, "handshake"));
            assert_eq!(answer.text(), "pong");
        }
        assert_eq!(ping.tampered("{}").send().await.told(), (401, "rejected"));
        assert_eq!(gateway.delivered("pinged", "handshake").await, Some(2.0));
        let seen =
            gateway.metric("oncegate_last_delivery_timestamp_seconds", "source=\"pinged\"").await;
        assert!(seen.unwrap() > 0.0, "a handshake is a sign of life");
        assert!(gateway.story("pinged", "1").await.is_none());
        assert!(app.got().is_empty());
        assert_eq!(events(gateway).await, 0);
    });
}

#[test]
fn shopify_is_processed_once_in_either_set_of_headers() {
    run(async {
        let app = App::always(Step::says(201, "made")).await;
        let gateway = Gateway::start(&settings("shop", "shopify", &app, "")).await;
        let order = sample(&gateway, "shop", "b54557e4", |_| {});
        let answers = at_once(&vec![order.clone(); 10]).await;
        assert!(answers.iter().all(|answer| answer.status == 201 && answer.text() == "made"));
        assert_eq!((count(&answers, "processed"), count(&answers, "duplicate")), (1, 9));

        // Another topic of the same action: another event.
        let updated = sample(&gateway, "shop", "c65668f5", |it| {
            header(it, "x-shopify-topic", "orders/updated");
            header(it, "x-shopify-event-id", "event-b54557e4");
        });
        assert_eq!(updated.send().await.told(), (201, "processed"));

        let newer = |request: &Request, id: &str| {
            let mut request = request.clone();
            for (name, value) in &mut request.headers {
                if let Some(rest) = name.strip_prefix("x-shopify-") {
                    *name = format!("Shopify-{rest}");
                }
                if name == "Shopify-webhook-id" {
                    id.clone_into(value);
                }
            }
            request
        };
        let event = newer(&order, "d76779a6");
        assert_eq!(event.send().await.told(), (201, "processed"));
        assert_eq!(event.send().await.told(), (201, "duplicate"));
        // One event in both sets is one event.
        assert_eq!(newer(&order, "b54557e4").send().await.told(), (201, "duplicate"));
        assert_eq!(event.tampered("{}").send().await.told(), (401, "rejected"));
        let keys: Vec<_> =
            app.got().iter().map(|got| got.header("oncegate-key").unwrap().to_owned()).collect();
        assert_eq!(keys, ["b54557e4", "c65668f5", "d76779a6"]);
        assert_eq!(events(gateway).await, 3);
    });
}

#[test]
fn slacks_event_is_processed_once_however_often_it_is_retried() {
    run(async {
        let app = App::always(Step::says(200, "").held()).await;
        let gateway = Gateway::start(&settings("team", "slack", &app, "wait = \"1m\"")).await;
        let event = |attempt: usize| {
            sample(&gateway, "team", "0PV52K21", |it| {
                if attempt > 0 {
                    header(it, "x-slack-retry-num", &attempt.to_string());
                    header(it, "x-slack-retry-reason", "http_timeout");
                }
            })
        };
        // Retries come while the first attempt is under way.
        let mut open = super::send_and_be_read(&gateway, &[event(0)]).await;
        app.until(1).await;
        open.extend(super::send_and_be_read(&gateway, &[event(1), event(2), event(3)]).await);
        app.release(1);
        let answers = super::answers_of(open).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!((count(&answers, "processed"), count(&answers, "duplicate")), (1, 3));
        assert_eq!(event(3).send().await.told(), (200, "duplicate"));
        assert_eq!(app.got().len(), 1);
        assert_eq!(app.got()[0].header("oncegate-key"), Some("Ev0PV52K21"));
        assert_eq!(events(gateway).await, 1);
    });
}

#[test]
fn two_equal_slash_commands_are_two_events() {
    run(async {
        let app = App::always(Step::says(200, "on it")).await;
        let gateway = Gateway::start(&settings("commands", "slack", &app, "")).await;
        for _ in 0..2 {
            let command = sample(&gateway, "commands", "1", |it| {
                it.body = "command=%2Fdeploy&text=now".into();
                header(it, "content-type", "application/x-www-form-urlencoded");
            });
            let answer = command.send().await;
            assert_eq!((answer.told(), answer.text()), ((200, "processed"), "on it"));
        }
        assert_eq!(app.got().len(), 2);
        assert_eq!(events(gateway).await, 2);
    });
}

#[test]
fn slacks_challenge_is_answered_only_if_its_signature_is_right() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let both = settings("asked", "slack", &app, "")
            + &settings("asked-queue", "slack", &app, "mode = \"queue\"");
        let gateway = Gateway::start(&both).await;
        let body = r#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
        for name in ["asked", "asked-queue"] {
            let asked = sample(&gateway, name, "1", |it| it.body = body.into());
            let answer = asked.send().await;
            assert_eq!(answer.told(), (200, "handshake"));
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert_eq!(answer.text(), "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");

            let forged = asked.clone().tampered(body.replace("3eZb", "4eZb")).send().await;
            assert_eq!(forged.told(), (401, "rejected"));
            assert!(!forged.text().contains("4eZb"));
            let unsigned = gateway.request(name, body).send().await;
            assert_eq!(unsigned.told(), (401, "rejected"));
            assert_eq!(gateway.delivered(name, "handshake").await, Some(1.0));
        }
        assert!(app.got().is_empty());
        assert_eq!(events(gateway).await, 0);
    });
}

#[test]
fn a_body_that_is_written_otherwise_in_a_retry_is_the_same_event_where_that_is_asked_for() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let settings = format!(
            "[sources.shifty]\nprovider = \"custom\"\ntarget = \"{}\"\nsecrets = [\"{SECRET}\"]\n\
             [sources.shifty.verify]\nscheme = \"hmac-sha256\"\nheader = \"X-Sig\"\n\
             [sources.shifty.key]\nfallback = \"canonical\"\nignore = [\"/attempt\"]\n",
            app.url
        );
        let gateway = Gateway::start(&settings).await;
        for (body, outcome) in [
            (r#"{"amount":9007199254740993,"attempt":1}"#, "processed"),
            (r#"{ "attempt": 2, "amount": 9007199254740993 }"#, "duplicate"),
            (r#"{"amount":9007199254740992,"attempt":3}"#, "processed"),
            (r#"{"amount":1,"amount":2}"#, "processed"),
            (r#"{"amount":2,"amount":1}"#, "processed"),
            (r#"{"amount":2,"amount":1}"#, "duplicate"),
        ] {
            let answer = gateway.signed("shifty", "", body).send().await;
            assert_eq!(answer.told(), (200, outcome), "{body}");
        }
        assert_eq!(gateway.signed("shifty", "", "").send().await.told(), (400, "invalid"));
        assert_eq!(app.got().len(), 4);
        assert!(app.got()[0].header("oncegate-key").unwrap().starts_with("=canonical."));
        assert!(app.got()[2].header("oncegate-key").unwrap().starts_with("=body."));
        assert_eq!(events(gateway).await, 4);
    });
}

/// The presets that can be signed for here. A provider whose certificate is fetched from its own
/// host cannot be played over sockets: `src/ingress/certified/tests.rs` does it with a host of ours.
fn presets() -> impl Iterator<Item = &'static preset::Preset> {
    preset::all().iter().filter(|preset| !preset.verify.scheme.is_certified())
}

/// A source of every preset, and the private keys of those whose secret is a public one.
fn all_of_them(app: &App, keys_in: &Path) -> (String, BTreeMap<String, SecretString>) {
    let (mut sources, mut keys) = (String::new(), BTreeMap::new());
    for preset in presets() {
        let (name, spec) = (&preset.name, &preset.verify);
        let secret = if spec.scheme.is_asymmetric() {
            let (private, pem) = Private::generate(spec.scheme).unwrap();
            keys.insert(name.clone(), pem);
            private.public(spec).unwrap()
        } else if spec.scheme == Scheme::Basic {
            "shop:correct-horse-battery".to_owned()
        } else if spec.is_open() {
            String::new()
        } else {
            SECRET.to_owned()
        };
        let source = settings(name, name, app, "");
        let secrets = format!("secrets = [\"{SECRET}\"]\n");
        assert!(source.contains(&secrets));
        let theirs = if secret.is_empty() {
            secret
        } else if spec.scheme == Scheme::JwtEs256 {
            let file = keys_in.join(name);
            fs::write(&file, secret).unwrap();
            format!("secrets = [{{ file = \"{}\", id = \"sample\" }}]\n", file.display())
        } else {
            format!("secrets = [\"{secret}\"]\n")
        };
        sources += &source.replace(&secrets, &theirs);
    }
    (sources, keys)
}

#[test]
fn every_preset_takes_an_event_once_its_retry_as_a_copy_and_no_forgery() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let folder = tempfile::tempdir().unwrap();
        let (sources, keys) = all_of_them(&app, folder.path());
        let public_url = "public_url = \"https://shop.example\"";
        let gateway = Gateway::start_with(public_url, &sources, |source| {
            if let Some(pem) = keys.get(&source.name) {
                let scheme = source.verify_spec.scheme;
                let private = Private::from_pem(scheme, pem.expose_secret()).unwrap();
                source.verifier = source.verifier.clone().holding(private);
            }
        })
        .await;
        let mut runs = 0;
        for preset in presets() {
            let name = &preset.name;
            let passing = [Fallback::Coalesce, Fallback::None].contains(&preset.key.fallback);
            let signal = passing && preset.key.parts.is_empty();
            let (outcome, status) = match preset.mode {
                Mode::Proxy => ("processed", 200),
                Mode::Queue => ("queued", preset.acknowledgement.status),
            };
            let event = || sample(&gateway, name, "sample-1", |_| {});
            assert_eq!(event().send().await.told(), (status, outcome), "{name}");
            // Signed anew, as of now. Of a signal each run is an event.
            if !signal {
                assert_eq!(event().send().await.told(), (status, "duplicate"), "{name}");
            }
            let other = sample(&gateway, name, "sample-2", |_| {});
            assert_eq!(other.send().await.told(), (status, outcome), "{name}: another event");
            runs += 2;
            if preset.verify.scheme == Scheme::None {
                continue;
            }
            let forged = if preset.verify.signs() {
                event().tampered("{\"forged\": true}")
            } else {
                gateway.request(name, "{}")
            };
            assert_eq!(forged.send().await.told(), (401, "rejected"), "{name}");
        }
        assert_eq!(app.until(runs).await.len(), runs);
        gateway.finish().await;
    });
}

/// Bodies of a provider that are no event reach nothing; a method that nobody asks by is none.
#[test]
fn a_handshake_by_get_is_answered_and_any_other_request_by_get_is_not() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let sources = settings("meta", "meta", &app, "verify_token = \"our-own-word-to-them\"")
            + &settings("dropbox", "dropbox", &app, "")
            + &settings("stripe", "stripe", &app, "");
        let gateway = Gateway::start(&sources).await;
        let get = |name: &str, query: &str| {
            let mut request = gateway.request(name, "").query(query);
            request.method = "GET";
            request
        };
        let answer = get("dropbox", "challenge=a%2Bb").send().await;
        assert_eq!((answer.told(), answer.text()), ((200, "handshake"), "a+b"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let subscribe = "hub.mode=subscribe&hub.challenge=115&hub.verify_token=";
        let right = get("meta", &format!("{subscribe}our-own-word-to-them")).send().await;
        assert_eq!((right.told(), right.text()), ((200, "handshake"), "115"));
        let wrong = get("meta", &format!("{subscribe}another")).send().await;
        assert_eq!(wrong.told(), (401, "rejected"));
        assert!(!wrong.text().contains("115"));
        let failures = "source=\"meta\",reason=\"wrong\"";
        let counted = gateway.metric("oncegate_signature_failures_total", failures).await;
        assert_eq!(counted, Some(1.0), "it is kept and counted like any other");
        assert_eq!(get("meta", "hub.mode=unsubscribe").send().await.told(), (405, "method"));
        assert_eq!(get("stripe", "challenge=a").send().await.told(), (405, "method"));
        let mut options = gateway.request("dropbox", "").query("challenge=a");
        options.method = "OPTIONS";
        assert_eq!(options.send().await.told(), (405, "method"));
        assert!(app.got().is_empty());
        assert_eq!(events(gateway).await, 0);
    });
}

#[test]
fn a_counter_of_attempts_in_the_body_makes_no_other_event() {
    run(async {
        let app = App::always(Step::says(200, "fine")).await;
        let counters = [
            ("coinbase-commerce", "\"attempt_number\": 1", "\"attempt_number\": 2"),
            ("docusign", "\"retryCount\": 0", "\"retryCount\": 3"),
            ("hubspot", "\"attemptNumber\": 0", "\"attemptNumber\": 1"),
            ("intercom", "\"delivery_attempts\": 1", "\"delivery_attempts\": 2"),
        ];
        let sources = counters.map(|(name, ..)| settings(name, name, &app, ""));
        let public_url = "public_url = \"https://shop.example\"";
        let gateway = Gateway::start_with(public_url, &sources.concat(), |_| {}).await;
        for (name, first, later) in counters {
            let event = sample(&gateway, name, "counted", |_| {});
            let retry = sample(&gateway, name, "counted", |delivery| {
                let body = std::str::from_utf8(&delivery.body).unwrap();
                assert!(body.contains(first), "{name}: {body}");
                delivery.body = body.replace(first, later).into();
            });
            assert!(event.send().await.status / 100 == 2, "{name}");
            let answer = retry.send().await;
            assert_eq!(answer.outcome(), "duplicate", "{name}");
            assert_eq!(answer.header("oncegate-mismatch"), Some("true"), "{name}");
        }
        assert_eq!(app.until(counters.len()).await.len(), counters.len());
        gateway.finish().await;
    });
}
