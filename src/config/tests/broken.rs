//! What each mistake is told.

use super::*;

fn source(rest: &str) -> String {
    problems(&format!("{STRIPE}{rest}"), &[("STRIPE", SECRET)])
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = r#"
[server]
listn = "127.0.0.1:1"
admin = "0.0.0.0:8080"
max_connections = 0
idle_timeout = 30
public_url = "https://shop.example"
[storge]
path = "x"
[storage]
cache = "lots"
path = ""
[log]
format = "yaml"
level = "a=b=c"
[sources.Shop_1]
provider = "strpe"
target = "http://127.0.0.1:5000"
[sources.one]
provider = "stripe"
path = "/hooks/two"
secrets = []
target = "/webhooks"
timeout = "30 seconds"
concurrency = "many"
replay_guard = "flag"
on_unknown = { ask = "http://127.0.0.1:5000/ask" }
[sources.one.verify]
scheme = "none"
[sources.one.retry]
factor = 0.5
first = "1h"
max = "1m"
atempts = 3
[sources.two]
secrets = ["short"]
mode = "direct"
"#;
    let shown = problems(text, &[("ONCEGATE_SERVER__DRAIN", "2 weeks"), ("ONCEGATE_SERVR__DRAIN", "1s")]);
    insta::assert_snapshot!(shown, @"");
}

#[test]
fn a_custom_source_is_told_what_its_description_lacks() {
    let text = r#"
[sources.a]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.b]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.b.verify]
scheme = "ed25519"
headr = "X-Signature"
encoding = "base46"
[sources.b.key]
parts = ["cookie:id"]
fallback = "canonical"
[sources.c]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.c.verify]
scheme = "none"
[sources.c.key]
parts = ["cookie:id"]
[sources.d]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.d.verify]
scheme = "hmac-sha256"
[sources.d.key]
"#;
    insta::assert_snapshot!(problems(text, &[]), @"");
}

#[test]
fn a_secret_that_cannot_be_used_is_named_but_never_shown() {
    let text = r#"
[server]
admin_token = 12345678901234567890123
"#;
    insta::assert_snapshot!(problems(text, &[]), @"");
    let text = r#"
[server]
admin_token = "do_not_show"
[sources.stripe]
provider = "stripe"
target = "http://127.0.0.1:5000"
secrets = [
  { env = "GONE" },
  { env = "EMPTY" },
  { file = "gone" },
  { credential = "stripe" },
  { vault = "do_not_show" },
  { env = "A", file = "b" },
  {},
  123456789012345678,
  "do_not_show",
]
sign_with = ["whsec_do_not_show_this_is_not_base64"]
"#;
    insta::assert_snapshot!(problems(text, &[("EMPTY", "")]), @"");
}

#[test]
fn what_is_not_toml_is_told_with_line_and_column_but_not_quoted() {
    let text = "[sources.x]\nsecrets = [\"whsec_do_not_show_0123456789]\nprovider = = 1\n";
    insta::assert_snapshot!(problems(text, &[]), @"");
}

#[test]
fn a_named_file_must_be_there() {
    let errors = Config::load(Some(Path::new("gone/config.toml")), &Environment::new()).unwrap_err();
    insta::assert_snapshot!(errors, @"");
}

#[test]
fn statuses_that_would_mislead_a_provider_are_refused_in_proxy_mode_only() {
    for (mode, status, refused) in [
        ("proxy", "200", true),
        ("queue", "204", true),
        ("proxy", "302", true),
        ("queue", "302", false),
        ("proxy", "409", true),
        ("proxy", "410", true),
        ("queue", "410", false),
        ("proxy", "422", false),
        ("queue", "99", true),
        ("queue", "600", true),
    ] {
        let text = format!("{STRIPE}mode = \"{mode}\"\nfinal = [{status}]");
        let loaded = load_in(&TempDir::new().unwrap(), &text, &env(&[("STRIPE", SECRET)]));
        assert_eq!(loaded.is_err(), refused, "{mode} {status}");
    }
}

#[test]
fn a_path_has_one_spelling() {
    for path in ["hooks", "", "/a//b", "/a/../b", "/a/./b", "/a?b", "/a%20b", "/a;b", "/a b", "/ä", "//"] {
        let shown = source(&format!("path = \"{path}\""));
        assert!(shown.contains("sources.stripe.path"), "{path}: {shown}");
    }
}

#[test]
fn a_target_is_a_plain_absolute_url() {
    for target in [
        "app:5000",
        "/x",
        "ftp://app/x",
        "http://",
        "http://app/x?y=1",
        "http://app/#x",
        "http://user:do_not_show@app/x",
        "http://127.0.0.1:8080/x",
        "http://localhost:8080/x",
    ] {
        let text = STRIPE.replace("http://127.0.0.1:5000/webhooks", target);
        let shown = problems(&text, &[("STRIPE", SECRET)]);
        assert!(shown.contains("sources.stripe.target"), "{target}: {shown}");
    }
}

#[test]
fn the_admin_listener_needs_a_token_or_loopback_and_an_address_of_its_own() {
    for (text, refused) in [
        ("admin = \"0.0.0.0:1\"", true),
        ("admin = \"[::1]:1\"", false),
        ("admin = \"0.0.0.0:1\"\nadmin_token = \"0123456789abcdef\"", false),
        ("admin = \"0.0.0.0:1\"\nadmin_token = \"0123456789abcde\"", true),
        ("admin = \"127.0.0.1:8080\"", true),
        ("listen = \"0.0.0.0:8081\"", true),
        ("listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"", false),
    ] {
        let text = format!("[server]\n{text}");
        let loaded = load_in(&TempDir::new().unwrap(), &text, &Environment::new());
        assert_eq!(loaded.is_err(), refused, "{text}");
    }
}

#[test]
fn two_variables_for_one_setting_are_refused() {
    let shown = problems(
        "",
        &[
            ("ONCEGATE_SERVER__DRAIN", "10s"),
            ("ONCEGATE_SERVER__drain", "20s"),
            ("ONCEGATE_LOG__LEVEL__X", "1"),
            ("ONCEGATE_LOG__LEVEL", "debug"),
        ],
    );
    insta::assert_snapshot!(shown, @"");
}
