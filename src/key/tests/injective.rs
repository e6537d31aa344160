//! No two different lists of parts share a key; and our scanner agrees with `serde_json`.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Values that could be taken for one another: separators, escapes, numbers as text.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[,=%a1.]{1,4}".prop_map(Value::from),
        "(=|%3D|%2C|,|1|true|=1|body|long){1,3}".prop_map(Value::from),
        any::<String>().prop_filter("empty", |text| !text.is_empty()).prop_map(Value::from),
        (0..20_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[,%]{150,210}".prop_map(Value::from),
    ]
}

fn keyed(values: &[Value]) -> Key {
    let pointers: Vec<_> = (0..values.len()).map(|at| format!("json:/{at}")).collect();
    let parts: Vec<_> = pointers.iter().map(String::as_str).collect();
    let body = serde_json::to_vec(values).unwrap();
    rule(&parts, Fallback::Body).derive(&verified(delivery(&body)), Uuid::nil).unwrap()
}

/// A document in which a pointer may or may not find something.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[ab0~/\u{e9}\"]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_two_lists_of_parts_share_a_key(lists in prop::collection::vec(prop::collection::vec(value(), 1..4), 2..40)) {
        let mut seen = HashMap::new();
        for list in lists {
            let key = keyed(&list);
            prop_assert!(key.text.len() <= MAX_TEXT);
            prop_assert!(key.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%=,".contains(&byte)));
            prop_assert!(!key.text.starts_with("=body."));
            if let Some(other) = seen.insert(key.text, list.clone()) {
                prop_assert_eq!(other, list);
            }
        }
    }

    #[test]
    fn the_scanner_finds_what_serde_json_finds(document in document(), pointer in "(/[ab0]{0,2}){1,3}") {
        let body = serde_json::to_vec(&document).unwrap();
        let expected = match document.pointer(&pointer) {
            None => Err(Unkeyed::Missing),
            Some(Value::Null | Value::Object(_) | Value::Array(_)) => Err(Unkeyed::NotScalar),
            Some(Value::String(found)) if found.is_empty() => Err(Unkeyed::Empty),
            Some(Value::String(found)) => {
                let mut written = String::from("q=");
                for byte in found.bytes() {
                    written.push('%');
                    HEXLOWER.encode_append(&[byte], &mut written);
                }
                text(&["query:q"], Delivery { query: Some(written), ..delivery(b"") })
            }
            Some(token) => Ok(format!("={token}")),
        };
        prop_assert_eq!(json(&pointer, &body), expected);
    }

    #[test]
    fn the_scanner_takes_no_bytes_that_serde_json_refuses(body in "[\\[\\]{}\",:0-9eE+.\\-\\\\untrfalsbd \n]{0,40}") {
        // Only this way round: we also refuse what it takes (a key twice, surrogates it repairs).
        let taken = !matches!(json("/0", &body), Err(Unkeyed::Broken));
        if taken {
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&body).is_ok(), "{}", body);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60) {
        let _any = json("/id", &body);
        let whole = br#"{"a":[1,"\u00e9\ud83d\ude00"],"id":{"b":-1.5e+7,"c":true}}"#;
        let _any = json("/id/b", &whole[..cut.min(whole.len())]);
        let _any = text(&["form:id"], delivery(&body));
    }
}
