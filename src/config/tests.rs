//! Tests of the settings: what is accepted, what each mistake is told, and that no secret
//! shows. None reads the process environment.

use std::path::Path;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;
use crate::record::{Mode, OnMismatch, OnUnknown};

mod advice;
mod batches;
mod broken;
mod certified;
mod names;

/// A secret that must show up nowhere.
const SECRET: &str = "whsec_do_not_show_me_anywhere_0123456789";

fn env(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads `text` as `config.toml` of a folder of its own.
fn load_in(folder: &TempDir, text: &str, env: &Environment) -> Result<Config, Errors> {
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path), env)
}

/// `text` without the folder's name, which differs each time.
fn portable(folder: &TempDir, text: &str) -> String {
    text.replace(&format!("{}/", folder.path().display()), "")
}

fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    load_in(&TempDir::new().unwrap(), text, &env(variables)).unwrap()
}

fn problems(text: &str, variables: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let errors = load_in(&folder, text, &env(variables)).unwrap_err();
    assert!(!format!("{errors} {errors:?}").contains("do_not_show"), "a secret shows: {errors}");
    portable(&folder, &errors.to_string())
}

const STRIPE: &str = r#"
[sources.stripe]
provider = "stripe"
secrets = [{ env = "STRIPE" }]
target = "http://127.0.0.1:5000/webhooks"
"#;

#[test]
fn the_shipped_file_starts_without_any_variable_and_holds_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let shipped = Config::load(Some(&path), &Environment::new()).unwrap().report().to_json();
    let defaults = Config::load(None, &Environment::new()).unwrap().report().to_json();
    assert_eq!(shipped["settings"], defaults["settings"]);
    assert_eq!(shipped["warnings"].as_array().unwrap().len(), 1, "{shipped}");
}

#[test]
fn the_shipped_examples_are_right_when_uncommented() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("partner.secret"),
        "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\n",
    )
    .unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("fullchain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("privkey.pem"), made.signing_key.serialize_pem()).unwrap();
    let shipped = include_str!("../../config.toml");
    // A line of an example is a comment that is TOML.
    let uncommented: String = shipped
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.parse::<toml::Table>().is_ok())
                .unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let secrets = env(&[
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("ACME_SECRET", SECRET),
        ("GITHUB_WEBHOOK_SECRET", SECRET),
        ("SLACK_SIGNING_SECRET", SECRET),
        ("META_VERIFY_TOKEN", SECRET),
        ("ONCEGATE_ADMIN_TOKEN", SECRET),
        ("ONCEGATE_SIGNING_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
    ]);
    let config =
        load_in(&folder, &uncommented, &secrets).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["acme", "github", "partner", "plain", "slack", "stripe"]);
    let plain = &config.sources[3];
    assert_eq!(plain.policy.mode, Mode::Queue);
    assert_eq!(plain.key_spec.ignore, ["/attempt", "/meta/sent_at"]);
    assert!(config.server.tls.is_some() && config.server.trusted_proxies.len() == 2);
    let stripe = config.sources.last().unwrap();
    assert!(stripe.signer.is_some());
    assert_eq!(stripe.policy.dead_ttl, Some(Duration::from_hours(90 * 24)));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let config = good(
        &format!("[server]\ndrain = \"1m\"\nlisten = \"127.0.0.1:1\"\n{STRIPE}mode = \"proxy\""),
        &[
            ("STRIPE", SECRET),
            ("ONCEGATE_SERVER__LISTEN", "127.0.0.1:2"),
            ("ONCEGATE_SERVER__MAX_CONNECTIONS", "12"),
            ("ONCEGATE_STORAGE__TWO_PHASE", "true"),
            ("ONCEGATE_SOURCES__STRIPE__MODE", "queue"),
            ("ONCEGATE_SOURCES__STRIPE__FINAL", "[422, 400]"),
            ("ONCEGATE_SOURCES__STRIPE__RETRY__FACTOR", "3"),
            ("ONCEGATE_LOG", "not a setting: no second part"),
            ("ONCEGATE_SERVER__DRAIN", ""),
        ],
    );
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.max_connections, 12);
    assert_eq!(config.server.drain, Duration::from_mins(1), "an empty variable is not set");
    assert!(config.storage.two_phase);
    let source = config.sources.first().unwrap();
    assert_eq!(source.policy.mode, Mode::Queue);
    assert_eq!(source.final_statuses, [400, 422]);
    assert!((source.policy.retry.factor - 3.0).abs() < f64::EPSILON);
    assert_eq!(source.policy.on_mismatch, OnMismatch::Flag);
    assert_eq!(source.policy.on_unknown, OnUnknown::Redeliver);
}

#[test]
fn a_source_can_be_made_of_variables_alone() {
    let config = good(
        "",
        &[
            ("ONCEGATE_SOURCES__MY_SHOP__PROVIDER", "custom"),
            ("ONCEGATE_SOURCES__MY_SHOP__SECRETS", SECRET),
            ("ONCEGATE_SOURCES__MY_SHOP__TARGET", "http://app:3000/x"),
            ("ONCEGATE_SOURCES__MY_SHOP__VERIFY__SCHEME", "hmac-sha256"),
            ("ONCEGATE_SOURCES__MY_SHOP__VERIFY__HEADER", "X-Signature"),
            ("ONCEGATE_SOURCES__MY_SHOP__KEY__PARTS", "[\"json:/id\"]"),
        ],
    );
    assert_eq!(config.sources.first().unwrap().name, "my-shop");
}

#[test]
fn a_secret_of_digits_or_brackets_stays_the_text_it_is() {
    for secret in
        ["0012345678901234", "[1, 2, 3, 4, 5, 6]", "{ a = 1 }{ b = 2 }", "1e100000000000000"]
    {
        let config = good("", &[("ONCEGATE_SERVER__ADMIN_TOKEN", secret)]);
        let token = config.server.admin_token.unwrap();
        assert_eq!(token.expose_secret(), secret.as_bytes());
    }
}

#[test]
fn a_secret_file_loses_one_newline_and_is_looked_for_beside_the_settings() {
    let folder = TempDir::new().unwrap();
    for (content, found) in [
        ("0123456789abcdef", "0123456789abcdef"),
        ("0123456789abcdef\n", "0123456789abcdef"),
        ("0123456789abcdef\r\n", "0123456789abcdef"),
    ] {
        std::fs::write(folder.path().join("token"), content).unwrap();
        let credentials = env(&[("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())]);
        for place in ["file", "credential"] {
            let text = format!("[server]\nadmin_token = {{ {place} = \"token\" }}");
            let config = load_in(&folder, &text, &credentials).unwrap();
            assert_eq!(config.server.admin_token.unwrap().expose_secret(), found.as_bytes());
        }
    }
    for content in ["0123456789abcdef\n\n", "  0123456789abcdef", "0123456789abcdef "] {
        std::fs::write(folder.path().join("token"), content).unwrap();
        let text = "[server]\nadmin_token = { file = \"token\" }";
        let told = load_in(&folder, text, &env(&[])).unwrap_err().to_string();
        assert!(told.contains("the secret begins or ends with white space"), "{told}");
    }
}

#[test]
fn durations_and_sizes_are_written_as_they_are_read() {
    use figment::value::Value;
    let year = Duration::from_hours(24 * 365);
    for text in ["1ms", "1500ms", "90s", "5m", "36h", "35d"] {
        let length = values::duration(Duration::ZERO..=year)(&Value::from(text)).unwrap();
        assert_eq!(write_duration(length), text);
    }
    for text in ["0", "1KiB", "1025", "25MiB", "3GiB"] {
        let bytes = values::size(0..=u64::MAX)(&Value::from(text)).unwrap();
        assert_eq!(write_size(bytes), text);
    }
    for text in
        ["", "s", "30", "30 s", "-1s", "1.5s", "1h30m", "30S", "99999999999999999999d", "٣s"]
    {
        assert!(values::duration(Duration::ZERO..=year)(&Value::from(text)).is_err(), "{text}");
    }
    for text in ["", "MiB", "1MB", "1 MiB", "-1", "1.5MiB", "1mib", "99999999999GiB"] {
        assert!(values::size(0..=u64::MAX)(&Value::from(text)).is_err(), "{text}");
    }
    assert_eq!(values::size(0..=9)(&Value::from(7)).unwrap(), 7, "a plain integer is bytes");
}

#[test]
fn nothing_of_a_config_shows_a_secret() {
    let folder = TempDir::new().unwrap();
    let text = format!("[server]\nadmin_token = \"{SECRET}\"\n{STRIPE}");
    let config = load_in(&folder, &text, &env(&[("STRIPE", SECRET)])).unwrap();
    let report = config.report();
    let shown = format!("{config:?} {report} {report:?} {}", report.to_json());
    assert!(!shown.contains("do_not_show"), "{shown}");
}

/// Two sources, unlike each other.
const RICH: &str = r#"
[server]
drain = "20s"
admin = "0.0.0.0:9000"
admin_token = { env = "SECRET" }
[sources.acme]
provider = "custom"
target = "https://app.example/acme"
mode = "queue"
[sources.acme.verify]
scheme = "none"
[sources.acme.key]
parts = ["header:X-Id", "json:/id"]
[sources.acme.retry]
attempts = 3
jitter = false
[sources.stripe]
provider = "stripe"
secrets = [{ env = "SECRET" }, { env = "SECRET" }]
target = "http://127.0.0.1:5000/webhooks/stripe"
ttl = "3d"
final = [422, 400]
dead_ttl = "90d"
wait = "40s"
on_unknown = "hold"
"#;

#[test]
#[expect(clippy::too_many_lines, reason = "the whole report in one piece")]
fn check_prints_what_is_in_force_and_what_to_think_about() {
    let folder = TempDir::new().unwrap();
    let config = load_in(&folder, RICH, &env(&[("SECRET", SECRET)])).unwrap();
    let report = config.report();
    insta::assert_snapshot!(portable(&folder, &report.to_string()), @r#"
    settings of config.toml, the environment and defaults

    [server]
    listen = "127.0.0.1:8080"
    admin = "0.0.0.0:9000"
    admin_token = true
    admin_hosts = []
    tls = false
    trusted_proxies = []
    header_timeout = "10s"
    body_timeout = "1m"
    idle_timeout = "30s"
    max_connections = 10000
    drain = "20s"

    [storage]
    path = "data/oncegate.redb"
    cache = "128MiB"
    reserve = "512MiB"
    two_phase = false

    [log]
    level = "info"
    format = "auto"

    [sources.acme]
    provider = "custom"
    secrets = 0
    path = "/hooks/acme"
    mode = "queue"
    target = "https://app.example/acme"
    timeout = "30s"
    wait = "4s"
    concurrency = 16
    max_body = "1MiB"
    ttl = "35d"
    keep = "3d"
    dead_ttl = "never"
    final = []
    on_unknown = "redeliver"
    on_mismatch = "flag"
    replay_guard = "off"
    signed = false
    retries = true
    acknowledgement = 200
    handshakes = []

    [sources.acme.verify]
    scheme = "none"

    [sources.acme.key]
    parts = ["header:X-Id","json:/id"]
    fallback = "body"

    [sources.acme.retry]
    attempts = 3
    first = "5s"
    factor = 2.0
    max = "6h"
    jitter = false
    nominal = "15s"
    expected = "15s"

    [sources.stripe]
    provider = "stripe"
    secrets = 2
    path = "/hooks/stripe"
    mode = "proxy"
    target = "http://127.0.0.1:5000/webhooks/stripe"
    timeout = "30s"
    wait = "40s"
    concurrency = 16
    max_body = "1MiB"
    ttl = "3d"
    keep = "3d"
    dead_ttl = "90d"
    final = [400,422]
    on_unknown = "hold"
    on_mismatch = "flag"
    replay_guard = "off"
    signed = false
    retries = true
    acknowledgement = 200
    handshakes = []

    [sources.stripe.verify]
    scheme = "hmac-sha256"
    header = "Stripe-Signature"
    signed = "{timestamp}.{body}"
    timestamp = "key:t"
    timestamp_format = "seconds"
    tolerance = "5m"

    [sources.stripe.key]
    parts = ["json:/id"]
    fallback = "body"

    [sources.stripe.retry]
    attempts = 24
    first = "5s"
    factor = 2.0
    max = "6h"
    jitter = true
    nominal = "2d 23h"
    expected = "1d 11h"

    warning: server.drain (20s) is not longer than sources.stripe.timeout (30s): a stop cuts attempts, whose outcome is then unknown
    warning: sources.acme: scheme "none": whoever reaches its path can send events
    warning: sources.stripe: ttl (3d) is shorter than the 30d in which stripe may send an event again: such a copy would run twice
    warning: sources.stripe: wait is longer than timeout: no copy has an attempt to wait for that long
    "#);
    let json = report.to_json();
    assert_eq!(json["settings"]["sources"]["stripe"]["retry"]["attempts"], 24);
    assert_eq!(json["settings"]["sources"]["acme"]["secrets"], 0);
}
