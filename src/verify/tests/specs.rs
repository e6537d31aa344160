//! Settings that could not protect are refused, and say which of them is at fault.

use super::*;

const SECRET: &str = "0123456789abcdef";

fn fault(settings: &str, secrets: &[&str]) -> &'static str {
    let settings = format!("scheme = 'hmac-sha256'\n{settings}");
    Verifier::new(&spec(&settings), secrets.iter().map(|text| secret(text)).collect())
        .unwrap_err()
        .field
}

fn unreadable(settings: &str) -> String {
    toml::from_str::<Spec>(settings).unwrap_err().to_string()
}

#[test]
fn only_scheme_and_header_are_needed() {
    let spec = spec("scheme = 'hmac-sha256'\nheader = 'X-Sig'");
    assert_eq!(spec, Spec::new(Scheme::HmacSha256, "X-Sig"));
    assert!(Verifier::new(&spec, vec![secret(SECRET)]).is_ok());
}

#[test]
fn missing_empty_short_or_unreadable_secrets_are_refused() {
    let header = "header = 'x-sig'";
    let fifteen = &SECRET[..15];
    for secrets in [&[][..], &[""], &[fifteen], &[SECRET, ""], &[SECRET, fifteen]] {
        assert_eq!(fault(header, secrets), "secrets", "{secrets:?}");
    }
    // A minimum of 0 is no leave to use none.
    assert_eq!(fault("header = 'x-sig'\nsecret_min = 0", &[""]), "secrets");
    // What counts is the decoded length.
    assert_eq!(
        fault("header = 'x-sig'\nsecret_format = 'hex'", &["00112233445566778899aabbccddee"]),
        "secrets"
    );
    assert_eq!(
        fault("header = 'x-sig'\nsecret_format = 'hex'", &["not hexadecimal at all, really"]),
        "secrets"
    );
    for bad in ["whsec_", "whsec_!!!!", "whsec_AAAA", "plain text, not base64 by any means"] {
        let error = Verifier::new(&preset("standard-webhooks"), vec![secret(bad)]).unwrap_err();
        assert_eq!(error.field, "secrets");
    }
}

#[test]
fn a_base64_secret_may_lack_its_prefix_and_its_padding() {
    let spec = spec(
        "scheme = 'hmac-sha256'\nheader = 'x-sig'\nsecret_format = 'base64'\nsecret_prefix = 'whsec_'",
    );
    let mut sent = delivery("{}");
    verifier(&spec, &["whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]).sign(&mut sent, "", Millis(0)).unwrap();
    for same in ["MDEyMzQ1Njc4OWFiY2RlZg==", "whsec_MDEyMzQ1Njc4OWFiY2RlZg"] {
        assert_eq!(verdict(&verifier(&spec, &[same]), sent.clone(), 0), Ok(()));
    }
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let cases = [
        ("", "header"),
        ("header = 'no name'", "header"),
        ("header = '*-sig'", "families"),
        ("header = 'x-sig'\nfamilies = ['a']", "families"),
        ("header = 'x-sig'\nlayout = 'pairs'", "version"),
        ("header = 'x-sig'\nlayout = 'versioned'", "version"),
        ("header = 'x-sig'\nversion = 'v1'", "version"),
        ("header = 'x-sig'\nlayout = 'versioned'\nversion = 'v1'\nprefix = 'p='", "prefix"),
        ("header = 'x-sig'\nsigned = 'fixed'", "signed"),
        ("header = 'x-sig'\nsigned = '{bod}'", "signed"),
        ("header = 'x-sig'\nsigned = '{body'", "signed"),
        ("header = 'x-sig'\nsigned = '{header:no name}.{body}'", "signed"),
        ("header = 'x-sig'\nsigned = '{header:x-a}{body}'", "signed"),
        ("header = 'x-sig'\nid = 'header:x-id'\nsigned = '{id}{body}'", "signed"),
        ("header = 'x-sig'\nid = 'header:x-id'", "id"),
        ("header = 'x-sig'\nid = 'x-id'\nsigned = '{id}.{body}'", "id"),
        ("header = 'x-sig'\nid = 'header:'\nsigned = '{id}.{body}'", "id"),
        ("header = 'x-sig'\nsigned = '{id}.{body}'", "id"),
        ("header = 'x-sig'\nsigned = '{timestamp}.{body}'", "timestamp"),
        ("header = 'x-sig'\ntimestamp = 'header:x-time'", "timestamp"),
        ("header = 'x-sig'\ntimestamp = 'x-time'\nsigned = '{timestamp}.{body}'", "timestamp"),
        ("header = 'x-sig'\ntimestamp = 'key:t'\nsigned = '{timestamp}.{body}'", "timestamp"),
        ("header = 'x-sig'\ntolerance = '5m'", "tolerance"),
        ("header = 'x-sig'\ntimestamp_format = 'millis'", "timestamp_format"),
        (
            "header = 'x-sig'\ntimestamp = 'header:t'\nsigned = '{timestamp}.{body}'\ntolerance = '0s'",
            "tolerance",
        ),
    ];
    for (settings, field) in cases {
        assert_eq!(fault(settings, &[SECRET]), field, "{settings}");
    }
}

#[test]
fn what_is_unknown_is_named() {
    assert!(unreadable("scheme = 'hmac-md5'\nheader = 'x'").contains("unknown scheme"));
    assert!(unreadable("scheme = 'HMAC-SHA256'\nheader = 'x'").contains("unknown scheme"));
    assert!(unreadable("header = 'x'").contains("scheme"));
    assert!(unreadable("scheme = 'hmac-sha256'\nheaders = 'x'").contains("unknown field"));
    assert!(unreadable("scheme = 'hmac-sha256'\nencoding = 'Hex'").contains("unknown variant"));
    for bad in
        ["5", "5 m", "m", "-5m", "5min", "1.5m", "", "99999999999999999999d", "999999999999999d"]
    {
        let settings = format!("scheme = 'hmac-sha256'\ntolerance = '{bad}'");
        assert!(unreadable(&settings).contains("duration"), "{bad}");
    }
}

#[test]
fn upper_case_is_taken_where_it_is_stated() {
    let spec = spec("scheme = 'hmac-sha256'\nheader = 'x-sig'\nencoding = 'hex-upper'");
    let verifier = verifier(&spec, &[SECRET]);
    let mut sent = delivery("{}");
    verifier.sign(&mut sent, "", Millis(0)).unwrap();
    assert_eq!(verdict(&verifier, sent.clone(), 0), Ok(()));
    let lower = sent.headers["x-sig"].to_str().unwrap().to_lowercase();
    sent.headers.insert("x-sig", HeaderValue::from_str(&lower).unwrap());
    assert_eq!(verdict(&verifier, sent, 0), Err(Rejection::Malformed));
}

#[test]
fn none_lets_everything_pass_and_has_no_secrets() {
    let open = spec("scheme = 'none'");
    assert!(open.is_open());
    let verifier = verifier(&open, &[]);
    assert!(verifier.is_open());
    assert_eq!(verdict(&verifier, delivery(""), 0), Ok(()));
    assert_eq!(verifier.headers().count(), 0);
    assert_eq!(Verifier::new(&open, vec![secret(SECRET)]).unwrap_err().field, "scheme");
    assert!(!preset("stripe").is_open());
}
