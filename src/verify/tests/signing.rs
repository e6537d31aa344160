//! What `sign` writes, `check` takes; rotation; what is shown of a secret.

use super::*;

const NOW: u64 = 1_700_000_000;
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn what_is_signed_passes_and_what_was_there_is_replaced() {
    for name in ["stripe", "standard-webhooks", "svix"] {
        let verifier = verifier(&preset(name), &[NEW]);
        let mut sent = with(
            delivery("{}"),
            &[("webhook-id", "theirs"), ("svix-id", "theirs"), ("stripe-signature", "t=1")],
        );
        verifier.sign(&mut sent, "msg_1", seconds(NOW)).unwrap();
        let verified = verifier.check(sent.clone(), seconds(NOW)).unwrap();
        assert_eq!(verified.signed_id(), (name != "stripe").then_some("msg_1"));
        for header in verifier.headers() {
            assert!(sent.headers.get_all(header).iter().count() <= 1);
        }
    }
}

#[test]
fn signing_gives_the_published_signature() {
    let vector = standard().remove(0);
    let mut sent = delivery(&vector.body);
    let now = seconds(vector.header("webhook-timestamp").parse().unwrap());
    verifier(&preset("standard-webhooks"), &[&vector.secret])
        .sign(&mut sent, vector.header("webhook-id"), now)
        .unwrap();
    assert_eq!(sent.headers, vector.delivery().headers);
}

#[test]
fn during_a_rotation_either_secret_passes_on_either_side() {
    for name in ["stripe", "standard-webhooks", "svix"] {
        let spec = preset(name);
        let (old, new) = (verifier(&spec, &[OLD]), verifier(&spec, &[NEW]));
        let both = verifier(&spec, &[NEW, OLD]);
        let signed = |by: &Verifier| {
            let mut sent = delivery("{}");
            by.sign(&mut sent, "msg_1", seconds(NOW)).unwrap();
            sent
        };
        for by in [&old, &new, &both] {
            assert_eq!(verdict(&both, signed(by), NOW), Ok(()));
            assert_eq!(verdict(by, signed(&both), NOW), Ok(()));
        }
        assert_eq!(verdict(&old, signed(&new), NOW), Err(Rejection::Wrong));
    }
}

/// GitHub has room for one signature: the newest secret's.
#[test]
fn a_plain_header_is_signed_with_the_newest_secret() {
    let spec = spec("scheme = 'hmac-sha256'\nheader = 'x-sig'\nprefix = 'sha256='");
    let mut sent = delivery("{}");
    verifier(&spec, &[NEW, OLD]).sign(&mut sent, "", seconds(NOW)).unwrap();
    assert_eq!(verdict(&verifier(&spec, &[NEW]), sent.clone(), NOW), Ok(()));
    assert_eq!(verdict(&verifier(&spec, &[OLD]), sent, NOW), Err(Rejection::Wrong));
}

#[test]
fn any_key_can_be_an_id() {
    let verifier = verifier(&preset("standard-webhooks"), &[NEW]);
    for (id, written) in [
        ("=body.00ff", "=body%2E00ff"),
        ("a b\u{e9}\n", "a%20b%C3%A9%0A"),
        ("caf%C3%A9,=1", "caf%C3%A9,=1"),
    ] {
        let mut sent = delivery("{}");
        verifier.sign(&mut sent, id, seconds(NOW)).unwrap();
        assert_eq!(sent.headers["webhook-id"], written);
        assert_eq!(verdict(&verifier, sent, NOW), Ok(()));
    }
}

#[test]
fn a_signed_header_is_covered() {
    let spec = spec("scheme = 'hmac-sha256'\nheader = 'x-sig'\nsigned = '{header:X-Topic}:{body}'");
    let verifier = verifier(&spec, &[NEW]);
    let mut sent = with(delivery("{}"), &[("x-topic", "orders")]);
    verifier.sign(&mut sent, "", seconds(NOW)).unwrap();
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Ok(()));
    let mut other = sent.clone();
    other.headers.insert("x-topic", HeaderValue::from_static("refunds"));
    assert_eq!(verdict(&verifier, other, NOW), Err(Rejection::Wrong));
    // orders:{ + } would be the same message.
    let mut moved = sent.clone();
    moved.headers.insert("x-topic", HeaderValue::from_static("orders:{"));
    moved.body = Bytes::from_static(b"}");
    assert_eq!(verdict(&verifier, moved, NOW), Err(Rejection::Malformed));
    sent.headers.remove("x-topic");
    assert_eq!(verdict(&verifier, sent.clone(), NOW), Err(Rejection::Missing));
    assert_eq!(verifier.sign(&mut sent, "", seconds(NOW)), Err(Rejection::Missing));
}

#[test]
fn the_headers_of_a_scheme_are_named() {
    let names = |name| -> Vec<String> {
        verifier(&preset(name), &[NEW]).headers().map(ToString::to_string).collect()
    };
    assert_eq!(names("stripe"), ["stripe-signature"]);
    let standard = ["webhook-signature", "webhook-timestamp", "webhook-id"];
    assert_eq!(names("standard-webhooks"), standard);
    assert_eq!(names("svix"), [["svix-signature", "svix-timestamp", "svix-id"], standard].concat());
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?}", verifier(&preset("stripe"), &["whsec_canary_canary_canary"]));
    let bytes = format!("{:?}", b"canary");
    assert!(
        !shown.contains("canary") && !shown.contains(bytes.trim_matches(['[', ']'])),
        "{shown}"
    );
    for bad in ["canary", "whsec_canary!canary!canary!canary", "whsec_Y2FuYXJ5"] {
        let error = Verifier::new(&preset("standard-webhooks"), vec![secret(bad)]).unwrap_err();
        assert!(
            !error.to_string().contains("canary") && !format!("{error:?}").contains("Y2Fu"),
            "{error}"
        );
    }
}
