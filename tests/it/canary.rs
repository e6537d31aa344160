//! Canaries: secrets and a card number go all the way through the real binary, and show up
//! in nothing that anybody but the application gets to see.
//!
//! Secrets are given in each of the ways there are. What is searched: everything the process
//! writes at its most talkative, in both formats; metrics, stories and every other page of
//! the admin listener; `check` with right and with wrong settings.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use oncegate::clock;
use oncegate::config::Config;
use oncegate::verify::Delivery;

use crate::harness::{Answer, App, Request, Step, run};
use crate::process::Site;

/// What no secret's text contains by chance. The other half differs from secret to secret.
const BIRD: &str = "Q2FuYXJ5";
const CARD: &str = "4929123456781234";

/// A secret of Standard Webhooks, valid everywhere.
fn secret(nth: u8) -> String {
    let bytes = [&BASE64.decode(BIRD.as_bytes()).unwrap()[..], &[nth; 18]].concat();
    format!("whsec_{}", BASE64.encode(&bytes))
}

/// Every form in which a secret or the card could leak.
fn canaries() -> Vec<String> {
    let mut forms = vec![BIRD.to_owned(), CARD.to_owned()];
    for text in [BIRD, CARD, "Canary"] {
        forms.push(BASE64.encode(text.as_bytes()).trim_end_matches('=').to_owned());
        forms.push(HEXLOWER.encode(text.as_bytes()));
        // A list of bytes, as `Debug` has it.
        let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
        forms.push(bytes.join(", "));
    }
    forms
}

fn is_silent(what: &str, text: &str) {
    for canary in canaries() {
        assert!(!text.contains(&canary), "{what} has {canary}:\n{text}");
    }
}

/// Sources whose secrets come from everywhere.
fn settings(dir: &Path, app: &str) -> (String, String, Vec<(String, String)>) {
    let credentials = dir.join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("source"), secret(1)).unwrap();
    fs::write(credentials.join("admin"), secret(2)).unwrap();
    fs::write(dir.join("a.secret"), secret(3) + "\n").unwrap();
    let source = |name: &str, provider: &str, secrets: &str, more: &str| {
        format!(
            "[sources.{name}]\nprovider = \"{provider}\"\ntarget = \"{app}\"\ntimeout = \"300ms\"\n\
             secrets = {secrets}\n{more}\n"
        )
    };
    let literal = format!("[\"{}\", \"{}\"]", secret(4), secret(5));
    let sign = format!(
        "mode = \"queue\"\nsign_with = [{{ env = \"SIGN\" }}, {{ file = \"a.secret\" }}, \"{}\"]",
        secret(6)
    );
    let rest = [
        source("literal", "stripe", &literal, "on_mismatch = \"refuse\""),
        source("env", "svix", "[{ env = \"ENV\" }]", "on_unknown = \"hold\""),
        source("file", "standard-webhooks", "[{ file = \"a.secret\" }]", &sign),
        source("credential", "stripe", "[{ credential = \"source\" }]", "final = [422]"),
    ];
    let env = [
        ("ENV", secret(7)),
        ("SIGN", secret(8)),
        ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap().to_owned()),
        // A variable that is a setting itself.
        ("ONCEGATE_SOURCES__VARIABLE__SECRETS", secret(9)),
        ("ONCEGATE_SOURCES__VARIABLE__PROVIDER", "stripe".to_owned()),
        ("ONCEGATE_SOURCES__VARIABLE__TARGET", app.to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let server = "admin_token = { credential = \"admin\" }".to_owned();
    (server, rest.concat(), env)
}

/// A body with a card in it.
fn body(id: &str) -> String {
    format!(r#"{{"id":"{id}","card":{{"number":"{CARD}"}}}}"#)
}

/// The gateway's other side of a story: what the application does is in the body's id.
async fn app() -> App {
    App::start(|got, _| {
        let says = |word: &str| String::from_utf8_lossy(&got.body).contains(word);
        let cookie = ("set-cookie", format!("card={CARD}; key={BIRD}"));
        let kind = ("content-type", "application/json".to_owned());
        let echo = |status| Step::Answer(status, vec![cookie, kind], got.body.clone());
        match () {
            () if says("hangs") => Step::Hang,
            () if says("cut") => Step::Cut(200, got.body.clone()),
            () if says("fails") => echo(500),
            () if says("final") => echo(422),
            () => echo(200),
        }
    })
    .await
}

fn signed(site: &Site<'_>, config: &Config, source: &str, id: &str) -> Request {
    let source = config.sources.iter().find(|it| it.name == source).unwrap();
    let body = body(id);
    let mut delivery = Delivery {
        method: http::Method::POST,
        query: None,
        headers: http::HeaderMap::new(),
        body: body.clone().into(),
    };
    source.verifier.sign(&mut delivery, id, clock::wall()).unwrap();
    let mut request = Request::new(site.public, &source.path, body.into_bytes());
    for (name, value) in &delivery.headers {
        request = request.header(name.as_str(), value.to_str().unwrap());
    }
    // What a provider may send beside: secrets of its own.
    request.header("authorization", &format!("Bearer {BIRD}")).query(&format!("card={CARD}"))
}

/// Sends deliveries that end in every way, each with what it is to end as.
async fn send_all(site: &Site<'_>, config: &Config) {
    let sources = ["literal", "env", "file", "credential", "variable"];
    let mut sent: Vec<(Request, &str)> = Vec::new();
    for source in sources {
        let first = if source == "file" { "queued" } else { "processed" };
        let processed = signed(site, config, source, "evt_ok");
        sent.push((processed.clone(), first));
        sent.push((processed.clone(), "duplicate"));
        let mut wrong = processed;
        wrong.body.push(b' ');
        sent.push((wrong, "rejected"));
    }
    let other = |request: Request| Request { headers: Vec::new(), ..request };
    sent.extend([
        (signed(site, config, "literal", "evt_fails"), "failed"),
        (signed(site, config, "literal", "evt_hangs"), "unknown"),
        (signed(site, config, "literal", "evt_cut"), "processed"),
        (signed(site, config, "env", "evt_hangs"), "held"),
        (signed(site, config, "credential", "evt_final"), "failed"),
        (signed(site, config, "file", "evt_hangs"), "queued"),
        (other(signed(site, config, "literal", "evt_unsigned")), "rejected"),
        // A path no source has is logged, so that its owner finds the mistake; its query is not.
        (
            Request { target: format!("/hook?{CARD}"), ..signed(site, config, "env", "e") },
            "not_found",
        ),
    ]);
    let mismatch = signed(site, config, "literal", "evt_ok");
    let body = String::from_utf8(mismatch.body).unwrap().replace("number", "numbers");
    sent.push((resigned(site, config, "literal", &body), "mismatch"));
    for (request, outcome) in sent {
        let answer = request.send().await;
        assert_eq!(answer.outcome(), outcome, "{} {}", request.target, answer.text());
        if !matches!(outcome, "processed" | "duplicate" | "failed") {
            // Those carry the application's own words.
            is_silent("an answer", &format!("{answer:?}"));
        }
        if outcome == "duplicate" {
            assert_eq!(answer.header("set-cookie"), None, "a copy got another's cookie");
        }
    }
}

fn resigned(site: &Site<'_>, config: &Config, source: &str, body: &str) -> Request {
    let source = config.sources.iter().find(|it| it.name == source).unwrap();
    let mut delivery = Delivery {
        method: http::Method::POST,
        query: None,
        headers: http::HeaderMap::new(),
        body: body.to_owned().into(),
    };
    source.verifier.sign(&mut delivery, "other", clock::wall()).unwrap();
    let request = Request::new(site.public, &source.path, body.to_owned().into_bytes());
    delivery.headers.iter().fold(request, |request, (name, value)| {
        request.header(name.as_str(), value.to_str().unwrap())
    })
}

/// Every page of the admin listener that there may be, with the token.
async fn pages(site: &Site<'_>) {
    let token = format!("Bearer {}", secret(2));
    let get = async |path: &str| -> Answer { site.get(path, &[("authorization", &token)]).await };
    let story = get("/api/v1/events/literal/evt_ok").await;
    assert_eq!(story.status, 200, "{}", story.text());
    assert!(story.text().contains("\"sha256\""));
    assert!(get("/metrics").await.text().contains("oncegate_deliveries_total"));
    for source in ["literal", "env", "file", "credential", "variable"] {
        for id in ["evt_ok", "evt_fails", "evt_hangs", "evt_cut", "evt_final"] {
            let path = format!("/api/v1/events/{source}/{id}");
            is_silent(&path, get(&path).await.text());
        }
        let path = format!("/api/v1/sources/{source}/rejections");
        let rejections = get(&path).await;
        assert!(rejections.text().contains("\"wrong\""), "{}", rejections.text());
        is_silent(&path, rejections.text());
    }
    for path in ["/metrics", "/readyz", "/healthz", "/api/v1/events", "/api/v1/sources"] {
        let page = get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        is_silent(path, page.text());
    }
    let refused = site.get("/metrics", &[("authorization", &format!("Bearer {BIRD}"))]).await;
    assert_eq!(refused.status, 401);
    is_silent("a refusal", &format!("{refused:?}"));
}

#[test]
fn no_secret_and_no_body_shows_in_what_the_process_writes_or_the_operator_reads() {
    for (format, level) in [("text", "trace"), ("json", "trace"), ("json", "oncegate=debug")] {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let app = app().await;
            let (server, rest, env) = settings(dir.path(), &app.url);
            let log = format!("[log]\nlevel = \"{level}\"\nformat = \"{format}\"\n");
            let site = Site::new(dir.path(), &server, &(log + &rest));
            let file = dir.path().join("config.toml");
            let config = Config::load(Some(&file), &env.iter().cloned().collect()).unwrap();
            is_silent("Debug of the settings", &format!("{config:?}"));
            is_silent("their report", &format!("{}{}", config.report(), config.report().to_json()));

            let env: Vec<_> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let gateway = site.start(&env).await;
            send_all(&site, &config).await;
            pages(&site).await;
            gateway.terminate();
            assert_eq!(gateway.ended().await.code(), Some(0), "{}", site.said());
            // The attempts of the queue are in it too: they had at least one.
            let got = app.got();
            assert!(got.iter().any(|got| String::from_utf8_lossy(&got.body).contains(CARD)));
            let said = site.said();
            assert!(said.contains("evt_ok") && said.contains("DEBUG"), "little was said:\n{said}");
            is_silent("the log", &said);
        });
    }
}

#[test]
fn check_shows_no_secret_of_right_or_of_wrong_settings() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (server, rest, env) = settings(dir.path(), "http://127.0.0.1:9/");
        let env: Vec<_> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let bird = secret(1);
        let wrongs = [
            (0, String::new()),
            // Not in the format that the scheme has.
            (3, format!("[sources.x]\nprovider = \"svix\"\nsecrets = [\"{bird}!\"]\n")),
            // Too short.
            (3, format!("[sources.x]\nprovider = \"stripe\"\nsecrets = [\"{BIRD}\"]\n")),
            // Under a wrong name, of the wrong kind.
            (3, format!("[sources.x]\nsecret = \"{bird}\"\n")),
            (3, format!("[sources.x]\nsecrets = [[\"{bird}\"]]\n")),
            (3, format!("[sources.x]\nsecrets = {{ env = \"ENV\", value = \"{bird}\" }}\n")),
            (3, format!("[sources.x]\nsecrets = {{ literal = \"{bird}\" }}\n")),
            // Not TOML, beside a secret.
            (3, format!("[sources.x]\nsecrets = [\"{bird}\", \"{bird}]\n")),
            (3, format!("[sources.x]\nsecrets = \"{bird}\" \"{bird}\"\n")),
        ];
        for (code, wrong) in wrongs {
            for args in [&["check"][..], &["check", "--json"], &["serve"]] {
                if code == 0 && args == ["serve"] {
                    continue;
                }
                fs::remove_file(dir.path().join("said.txt")).unwrap_or_default();
                let site = Site::new(dir.path(), &server, &format!("{rest}{wrong}"));
                let ended = site.run(args, &env).ended().await;
                assert_eq!(ended.code(), Some(code), "{wrong}{}", site.said());
                assert!(!site.said().is_empty());
                is_silent(&format!("{args:?} of {wrong}"), &site.said());
            }
        }
    });
}
