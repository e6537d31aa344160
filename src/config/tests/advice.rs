//! What `check` says of keys, of providers that never retry, and of several mistakes in one
//! table; and a delivery that a source signs itself.

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::preset::ReplayGuard;
use crate::time::Millis;

fn custom(verify: &str, key: &str) -> String {
    format!(
        "[sources.a]\nprovider = \"custom\"\nsecrets = [\"{SECRET}\"]\ntarget = \"http://127.0.0.1:5000\"\n\
         [sources.a.verify]\nscheme = \"hmac-sha256\"\nheader = \"X-Sig\"\n{verify}\n[sources.a.key]\n{key}"
    )
}

fn preset(name: &str, rest: &str) -> String {
    format!(
        "[sources.a]\nprovider = \"{name}\"\nsecrets = [\"{SECRET}\"]\ntarget = \"http://127.0.0.1:5000\"\n{rest}"
    )
}

fn source(text: &str) -> Arc<Source> {
    Arc::clone(good(text, &[]).sources.first().unwrap())
}

#[test]
fn a_key_that_is_not_signed_is_warned_of() {
    let stamped = "signed = '{timestamp}.{header:X-Tenant}.{body}'\ntimestamp = 'header:X-Time'\ntolerance = '90s'";
    let versioned = "signed = '{id}.{body}'\nid = 'header:X-Id'";
    for (verify, key, warned) in [
        (
            "",
            "parts = ['header:X-Id']",
            Some(
                "header:X-Id, which is not signed: whoever holds one signed request can send it again under another id",
            ),
        ),
        ("", "parts = ['json:/id', 'query:v']", Some("query:v, which")),
        (stamped, "parts = ['header:X-Id']", Some("under another id, for 90s")),
        (stamped, "parts = ['header:x-tenant', 'header:X-Time']", None),
        (versioned, "parts = ['header:x-id']", None),
        (versioned, "parts = ['signed:id']", None),
        ("", "parts = ['json:/id', 'form:id']", None),
        ("", "", None),
    ] {
        let report = good(&custom(verify, key), &[]).report();
        let found = report.warnings.iter().any(|it| it.contains(warned.unwrap_or("not signed")));
        assert_eq!(found, warned.is_some(), "{key}: {:?}", report.warnings);
        assert!(report.notes.is_empty(), "{:?}", report.notes);
    }
}

#[test]
fn a_source_that_knows_no_copies_is_warned_of() {
    let warned = |key: &str| {
        let warnings = good(&custom("", key), &[]).report().warnings;
        warnings.iter().any(|it| it.contains("no copy is ever known"))
    };
    assert!(warned("fallback = 'none'"));
    assert!(!warned("fallback = 'none'\nparts = ['json:/id']"));
    assert!(!warned("fallback = 'canonical'"));
}

#[test]
fn a_guard_against_replays_is_told_of_where_it_is_missed_and_where_it_guards_nothing() {
    let idle = "replay_guard = \"flag\" guards nothing: ";
    let warnings = |text: &str| good(text, &[]).report().warnings;
    for (guard, said) in [("off", "notices"), ("flag", "flags"), ("refuse", "refuses")] {
        let text = custom("", "parts = ['header:X-Id']");
        let text = text.replace(
            "[sources.a.verify]",
            &format!("replay_guard = '{guard}'\n[sources.a.verify]"),
        );
        let found = warnings(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(&format!("{said} that")), "{found:?}");
        assert!(found[0].contains("replay_guard"), "{found:?}");
    }
    for (verify, key, why) in [
        ("", "parts = ['json:/id']", "the signature covers"),
        ("", "", "the signature covers"),
        ("signed = '{id}.{body}'\nid = 'header:X-Id'", "parts = ['header:x-id']", "the signature"),
    ] {
        let text = custom(verify, key)
            .replace("[sources.a.verify]", "replay_guard = 'flag'\n[sources.a.verify]");
        assert!(warnings(&text).iter().any(|it| it.contains(&format!("{idle}{why}"))), "{text}");
    }
    for scheme in ["token", "none"] {
        let text = custom("", "parts = ['header:X-Id']")
            .replace("hmac-sha256", scheme)
            .replace("[sources.a.verify]", "replay_guard = 'flag'\n[sources.a.verify]");
        let text = if scheme == "none" {
            text.replace(&format!("secrets = [\"{SECRET}\"]\n"), "")
        } else {
            text
        };
        let found = warnings(&text);
        assert!(
            found.iter().any(|it| it.contains(&format!("{idle}nothing is signed"))),
            "{found:?}"
        );
    }
}

#[test]
fn the_guard_of_a_preset_is_for_its_own_key() {
    let guard = |rest: &str| source(&preset("github", rest)).replay_guard;
    assert_eq!(guard(""), ReplayGuard::Flag);
    assert_eq!(guard("replay_guard = 'refuse'"), ReplayGuard::Refuse);
    assert_eq!(guard("replay_guard = 'off'"), ReplayGuard::Off);
    let signed = "[sources.a.key]\nparts = ['json:/id']";
    assert_eq!(guard(signed), ReplayGuard::Off);
    assert_eq!(good(&preset("github", signed), &[]).report().warnings, Vec::<String>::new());
    assert_eq!(guard("[sources.a.key]\nparts = ['header:X-Own']"), ReplayGuard::Flag);
    assert_eq!(source(&preset("slack", "")).replay_guard, ReplayGuard::Off);
}

#[test]
fn a_preset_that_is_keyed_by_what_is_not_signed_has_a_note() {
    let base64 = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    let report =
        |name: &str, rest: &str| good(&preset(name, rest).replace(SECRET, base64), &[]).report();
    let github = report("github", "");
    assert_eq!(github.warnings, Vec::<String>::new());
    insta::assert_snapshot!(github.notes.join("\n"), @"sources.a: the key is read from header:X-GitHub-Delivery, which is not signed: whoever holds one signed request can send it again under another id; replay_guard flags that");
    assert!(github.to_string().contains("\nnote: sources.a: the key"));
    assert_eq!(github.to_json()["notes"].as_array().unwrap().len(), 1);
    assert_eq!(report("shopify", "").notes.len(), 1);
    for name in ["slack", "stripe", "svix", "standard-webhooks"] {
        let found = report(name, "");
        assert_eq!((found.warnings.len(), found.notes.len()), (0, 0), "{name}");
    }
    // A key of the operator's own is the operator's to mend.
    let own = report("stripe", "[sources.a.key]\nparts = ['header:X-Id']");
    assert_eq!((own.warnings.len(), own.notes.len()), (1, 0));
}

#[test]
fn a_provider_that_never_retries_is_queued_unless_told_otherwise() {
    let github = source(&preset("github", ""));
    assert_eq!((github.provider_retries, github.policy.mode), (false, Mode::Queue));
    assert_eq!(github.max_body, 25 << 20);
    let proxy = good(&preset("github", "mode = 'proxy'"), &[]).report();
    assert!(proxy.warnings.iter().any(|it| it.contains("never sends again")));
    let custom =
        custom("", "").replace("[sources.a.verify]", "retries = false\n[sources.a.verify]");
    let own = source(&custom);
    assert_eq!((own.provider_retries, own.policy.mode), (false, Mode::Queue));
    let report = good(&custom.replace("retries", "mode = 'proxy'\nretries"), &[]).report();
    assert!(report.warnings.iter().any(|it| it.contains("never sends again")));
    // What a preset queues stays queued.
    let again = source(&preset("github", "retries = true"));
    assert_eq!((again.provider_retries, again.policy.mode), (true, Mode::Queue));
    assert_eq!(source(&preset("stripe", "")).policy.mode, Mode::Proxy);
}

#[test]
fn check_tells_the_shape_of_a_provider_with_two_sets_of_headers() {
    let report = good(&preset("slack", ""), &[]).report().to_json();
    let source = &report["settings"]["sources"]["a"];
    assert_eq!(source["handshakes"][0], "json:/type = url_verification");
    assert_eq!(source["verify"]["signed"], "v0:{timestamp}:{body}");
    assert_eq!(source["key"]["fallback"], "none");
    let report = good(&preset("shopify", ""), &[]).report().to_json();
    let verify = &report["settings"]["sources"]["a"]["verify"];
    assert_eq!(verify["header"], "*-Hmac-Sha256");
    assert_eq!(verify["families"][1], "Shopify");
    let ignored = "parts = ['json:/id']\nfallback = 'canonical'\nignore = ['/attempt']";
    let report = good(&custom("", ignored), &[]).report().to_json();
    assert_eq!(report["settings"]["sources"]["a"]["key"]["ignore"][0], "/attempt");
}

#[test]
fn every_mistake_of_one_table_is_told() {
    let verify = "layout = 'pairs'\nprefix = 'v0='\nsigned = 'x'\ntolerance = '1m'\nid = 'X-Id'";
    let key = "parts = ['cookie:a', 'header:b c', 'header:*-id']\nignore = ['x']";
    let text = custom(verify, key)
        .replace("[sources.a.verify]", "final = [200, 422, 'x', 302]\n[sources.a.verify]");
    insta::assert_snapshot!(problems(&text, &[]), @r#"
    config.toml:5: sources.a.final[0]: 200 is a success and ends the event in any case; remove it
    config.toml:5: sources.a.final[2]: must be a whole number from 100 to 599, not "x"
    config.toml:5: sources.a.final[3]: 302 is a redirect: set `target` to where it leads; remove it
    config.toml:6: sources.a.verify.version: is needed with the layouts `pairs` and `versioned`, and only there
    config.toml:11: sources.a.verify.signed: must have {body}: a signature that does not cover it protects nothing
    config.toml:12: sources.a.verify.tolerance: needs `timestamp` to say where that is
    config.toml:13: sources.a.verify.id: must be "header:NAME"
    config.toml:15: sources.a.key.parts: has "cookie:a", which is none of header:NAME, json:/pointer, form:NAME, query:NAME, signed:id
    config.toml:15: sources.a.key.parts: has "header:b c", which is no header's name
    config.toml:15: sources.a.key.parts: has a `*`, which stands for one of `verify.families`: there are none; write the header's name
    config.toml:16: sources.a.key.ignore: goes with fallback = "canonical" only
    config.toml:16: sources.a.key.ignore: has "x", which is no JSON pointer (/a/0, with ~0 for ~ and ~1 for /)
    "#);
}

fn delivery(body: &'static str) -> Delivery {
    Delivery {
        method: Method::POST,
        query: None,
        headers: HeaderMap::new(),
        body: Bytes::from(body),
    }
}

#[test]
fn a_source_signs_what_it_takes_itself() {
    let own = "signed = '{timestamp}:{body}'\ntimestamp = 'header:X-Time'\nencoding = 'base64'\nprefix = 'v1='";
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    let now = Millis(1_764_000_000_000);
    for (text, key) in [
        (preset("github", ""), "id-1"),
        (preset("shopify", ""), "id-1"),
        (preset("svix", "").replace(SECRET, secret), "id-1"),
        (custom(own, "parts = ['header:X-Id', 'json:/id']"), "id-1,7"),
        (preset("stripe", ""), "7"),
        (preset("slack", "[sources.a.key]\nparts = ['json:/id']"), "7"),
    ] {
        let source = source(&text);
        let mut sent = delivery("{\"id\":\"7\"}");
        source.sign(&mut sent, "id-1", now).unwrap();
        assert!(sent.headers.contains_key("content-type"), "{text}");
        let verified = source.verifier.check(sent, now).unwrap();
        let found = source.key.derive(&verified, Uuid::nil).unwrap();
        assert_eq!(found.text, key, "{text}");
    }
    let github = source(&preset("github", ""));
    assert!(github.sign(&mut delivery("{}"), "a\nb", now).is_err());
    let tenant = source(&custom("signed = '{header:X-Tenant}.{body}'", "parts = ['json:/id']"));
    assert!(matches!(tenant.sign(&mut delivery("{}"), "1", now), Err(Unsigned::Lacks(_))));
}

#[test]
fn a_handshake_that_lacks_something_of_ours_is_warned_of() {
    let warned = |text: &str, what: &str| {
        good(text, &[]).report().warnings.iter().any(|it| it.contains(what))
    };
    let word = format!("verify_token = \"{SECRET}\"");
    assert!(warned(&preset("meta", ""), "verify_token is not set"));
    assert!(!warned(&preset("meta", &word), "verify_token"));
    assert!(warned(&preset("stripe", &word), "never asks for it"));
    assert!(warned(&preset("braintree", ""), "has no id"));
    assert!(!warned(&preset("stripe", ""), "has no id"));
}
