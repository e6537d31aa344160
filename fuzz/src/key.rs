//! Key extraction: what a key may look like, and that it says what the delivery said.

use oncegate::key::{Fallback, Key, MAX_TEXT, Rule, Spec, Unkeyed};
use oncegate::time::Millis;
use oncegate::verify::{self, Scheme, Verified, Verifier};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use uuid::Uuid;

/// The first line: parts, separated by spaces, and `fallback=..`; the query after a `?`.
pub fn run(data: &[u8]) {
    let (first, delivery) = crate::request(data);
    let words = || first.split_ascii_whitespace();
    let parts: Vec<String> =
        words().filter(|word| !word.starts_with("fallback=")).map(str::to_owned).collect();
    let fallback = words().find_map(|word| word.strip_prefix("fallback=")).unwrap_or("body");
    let Ok(fallback) = Fallback::try_from(fallback.to_owned()) else { return };
    let open = verify::Spec::new(Scheme::None, "");
    let verifier =
        Verifier::new(&open, Vec::<oncegate::verify::Secret>::new()).expect("`none` needs nothing");
    let verified = verifier.check(delivery, Millis(0)).expect("`none` takes everything");

    let Some(key) = derive(&parts, fallback, &verified) else { return };
    if let Ok(key) = &key {
        is_well_formed(key);
    }
    assert_eq!(derive(&parts, fallback, &verified), Some(key), "not the same twice");

    let whole = derive(&parts, Fallback::Reject, &verified);
    let each: Vec<_> = parts.iter().map(|part| alone(part, &verified)).collect();
    let Some(whole) = whole else { return };
    match (&whole, each.iter().cloned().collect::<Result<Vec<_>, _>>()) {
        // Parts never run into each other: a comma is escaped within one.
        (Ok(whole), Ok(each)) => {
            assert_eq!(full(whole), each.join(","));
            assert!(each.iter().all(|text| !text.contains(',')));
        },
        (Err(reason), Err(_)) => assert!(each.contains(&Err(*reason))),
        (whole, each) => panic!("{whole:?} but {each:?}"),
    }
    for (part, text) in parts.iter().zip(each) {
        if let Some(pointer) = part.strip_prefix("json:") {
            is_what_json_says(pointer, &verified.delivery().body, text);
        }
    }
}

fn derive(parts: &[String], fallback: Fallback, of: &Verified) -> Option<Result<Key, Unkeyed>> {
    let rule = Rule::new(&Spec { parts: parts.to_vec(), fallback, ..Spec::default() }).ok()?;
    Some(rule.derive(of, || Uuid::nil()))
}

/// The text of one part.
fn alone(part: &str, of: &Verified) -> Result<String, Unkeyed> {
    let parts = [part.to_owned()];
    derive(&parts, Fallback::Reject, of).expect("it was a part before").map(|key| full(&key))
}

fn full(key: &Key) -> String {
    key.long.clone().unwrap_or_else(|| key.text.clone())
}

fn is_well_formed(key: &Key) {
    assert!(!key.text.is_empty() && key.text.len() <= MAX_TEXT, "{key:?}");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=,+".contains(&byte);
    assert!(full(key).bytes().all(known), "{key:?}");
    assert_eq!(key.long.is_some(), key.text.starts_with("=long."), "{key:?}");
}

/// `serde_json` is the oracle; it reads numbers as floats, and refuses some sooner.
fn is_what_json_says(pointer: &str, body: &[u8], ours: Result<String, Unkeyed>) {
    let theirs: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => {
            let why = error.to_string();
            let stricter = why.contains("recursion limit") || why.contains("out of range");
            assert!(stricter || ours.is_err(), "{ours:?} of a body that is no JSON: {why}");
            return;
        },
    };
    match (theirs.pointer(pointer), ours) {
        (_, Err(Unkeyed::Repeated | Unkeyed::TooDeep)) => {},
        (Some(Value::String(text)), Ok(ours)) => {
            assert_eq!(
                percent_decode_str(&ours).decode_utf8().ok().as_deref(),
                Some(text.as_str())
            );
            assert!(!ours.starts_with('='));
        },
        (Some(Value::String(text)), Err(Unkeyed::Empty)) => assert_eq!(text, ""),
        (Some(Value::Bool(value)), Ok(ours)) => assert_eq!(ours, format!("={value}")),
        (Some(Value::Number(number)), Ok(ours)) => {
            let token = ours.strip_prefix('=').expect("a raw token");
            assert!(body.windows(token.len()).any(|text| text == token.as_bytes()), "{token}");
            // Theirs may be off in the last digit.
            let (ours, theirs): (f64, _) = (token.parse().expect("it"), number.as_f64());
            let theirs = theirs.expect("a number");
            assert!((ours - theirs).abs() <= theirs.abs() * 1e-15, "{token} is not {theirs}");
        },
        (Some(Value::Null | Value::Array(_) | Value::Object(_)), Err(Unkeyed::NotScalar)) => {},
        (None, Err(Unkeyed::Missing)) => {},
        (theirs, ours) => panic!("{pointer}: {ours:?}, but {theirs:?}"),
    }
}
