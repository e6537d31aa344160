//! The canonical form: published vectors, and that it never makes two events one.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::key::canonical::canonical;

fn form(body: &str) -> Result<String, Unkeyed> {
    canonical(body.as_bytes(), &[])
}

fn form_of(text: &str) -> String {
    form(text).unwrap()
}

fn less(body: &str, ignore: &[&str]) -> String {
    let ignore: Vec<_> = ignore.iter().map(|text| part::pointer(text).unwrap()).collect();
    canonical(body.as_bytes(), &ignore).unwrap()
}

fn keyed(body: &[u8], ignore: &[&str]) -> Result<Key, Unkeyed> {
    let ignore = ignore.iter().map(|text| (*text).to_owned()).collect();
    let spec = Spec { parts: Vec::new(), fallback: Fallback::Canonical, ignore };
    Rule::new(&spec).unwrap().derive(&verified(delivery(body)), Uuid::nil)
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    input: String,
    output: String,
}

/// The vectors of the RFC's authors. One number of theirs is more than a double holds.
#[test]
fn published_vectors_have_their_published_form() {
    let vectors = include_str!("../../../tests/vectors/jcs.json");
    let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
    assert_eq!(vectors.len(), 6);
    for Vector { name, input, output } in vectors {
        let kept = output.replace("333333333.3333333", "333333333.33333329");
        assert_eq!(kept == output, name != "values");
        assert_eq!(form(&input).unwrap(), kept, "{name}");
    }
}

/// RFC 8785, appendix B: doubles and their one spelling.
#[test]
fn numbers_are_written_as_the_rfc_has_them() {
    for (bits, expected) in [
        (0x0000_0000_0000_0000_u64, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        assert_eq!(form(expected).unwrap(), expected);
        let double = expected.parse::<f64>().unwrap();
        assert!(double.to_bits() == bits || double == 0.0, "{expected}");
        let other = if expected.contains('e') {
            expected.replace("e+", "E")
        } else {
            format!("{expected}e-0")
        };
        assert_eq!(form(&other).unwrap(), expected, "{other}");
    }
    for (one, other) in [("1", "1.0"), ("1e2", "100"), ("-0", "0"), ("0.0e9", "0"), ("10E-1", "1")]
    {
        assert_eq!(form(one), form(other));
    }
}

/// The RFC would round these to the nearest double; two events could then share a key.
#[test]
fn a_number_that_no_double_holds_keeps_every_digit() {
    for token in [
        "9007199254740993",
        "123456789012345678",
        "18446744073709551615",
        "1700000000.1234567",
        "1700000000.123456789",
        "333333333.33333329",
        "0.1000000000000000055511151231257827",
        "1e400",
        "-1e400",
        "1e-400",
        "1e99999999999999999999",
        "1.0e-99999999999999999999",
    ] {
        assert_eq!(form(token).unwrap(), token);
    }
}

#[test]
fn what_has_no_canonical_form_is_told_apart_by_its_bytes() {
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for (body, why) in [
        (r#"{"a":1,"a":1}"#, Unkeyed::Repeated),
        (r#"{"a":1,"b":2,"\u0061":3}"#, Unkeyed::Repeated),
        (r#"[{"x":{"a":1,"a":2}}]"#, Unkeyed::Repeated),
        (r#"{"a":"\ud800"}"#, Unkeyed::Broken),
        (r#"{"\udc00":1}"#, Unkeyed::Broken),
        (r#"{"a":1"#, Unkeyed::Broken),
        (r#"{"a":1,}"#, Unkeyed::Broken),
        (r#"{,"a":1}"#, Unkeyed::Broken),
        ("[1,]", Unkeyed::Broken),
        ("[1 2]", Unkeyed::Broken),
        (r#"{"a":1} x"#, Unkeyed::Broken),
        ("01", Unkeyed::Broken),
        ("NaN", Unkeyed::Broken),
        ("a=1&b=2", Unkeyed::Broken),
        (deep.as_str(), Unkeyed::TooDeep),
    ] {
        assert_eq!(form(body), Err(why), "{body}");
        let key = keyed(body.as_bytes(), &[]).unwrap().text;
        assert_eq!(key, format!("=body.{}", sha256(body.as_bytes())), "{body}");
    }
    assert!(keyed(b"{\"a\":\"\xFF\"}", &[]).unwrap().text.starts_with("=body."));
    assert_eq!(keyed(b"", &[]), Err(Unkeyed::NoBody));
    assert!(form(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_ok());
}

#[test]
fn one_event_in_other_bytes_has_one_key() {
    // printf '{"a":[1,2],"b":"\303\251"}' | sha256sum
    let key = "=canonical.d902c5ef87c42c33059e8d7b7aa30485809a5c0ff84b8d0d285616d5b03f23ea";
    let one = keyed("{\"a\":[1,2],\"b\":\"\u{e9}\"}".as_bytes(), &[]).unwrap();
    assert_eq!(one.text, key);
    assert_eq!(one, keyed(br#" { "b" : "\u00e9", "a": [1.0, 2e0] }"#, &[]).unwrap());
    for other in [
        &br#"{"a":[2,1],"b":"\u00e9"}"#[..],
        br#"{"a":["1",2],"b":"\u00e9"}"#,
        br#"{"a":[1,2],"b":"e\u0301"}"#,
        br#"{"a":[1,2],"b":"\u00e9","c":null}"#,
        b"[1,2]",
    ] {
        assert_ne!(one, keyed(other, &[]).unwrap());
    }
}

#[test]
fn what_is_ignored_makes_no_difference_and_all_else_does() {
    let ignore = ["/attempt", "/sent/at", "/list/1", "/a~1b", "/~0", "/gone/deep"];
    let body = |attempt: &str, at: &str, second: &str| {
        format!(
            r#"{{"id":7,"attempt":{attempt},"sent":{{"at":{at},"to":"x"}},"list":[1,{second},3],"a/b":{at},"~":{at}}}"#
        )
    };
    let kept = r#"{"id":7,"list":[1,3],"sent":{"to":"x"}}"#;
    assert_eq!(less(&body("1", "2", "3"), &ignore), kept);
    assert_eq!(less(&body("{\"x\":[]}", "null", "\"y\""), &ignore), kept);
    // A pointer is not a pattern, and does not reach into others' steps.
    assert_eq!(
        less(r#"{"x":{"attempt":1},"attempts":2}"#, &ignore),
        r#"{"attempts":2,"x":{"attempt":1}}"#
    );
    assert_eq!(less("[1,2,3]", &["/0", "/2"]), "[2]");
    assert_eq!(less("[1,2,3]", &["/00", "/-", "/3"]), "[1,2,3]");
    assert_eq!(less(r#"{"a":1}"#, &["/a", "/a/b"]), "{}");
    // An ignored value is still looked at.
    for broken in
        [r#"{"attempt":[1,]}"#, r#"{"attempt":{"a":1,"a":2}}"#, r#"{"attempt":1,"attempt":2}"#]
    {
        assert!(keyed(broken.as_bytes(), &ignore).unwrap().text.starts_with("=body."), "{broken}");
    }
}

#[test]
fn ignore_goes_with_canonical_only_and_has_pointers() {
    let refused = |fallback, ignore: &[&str]| {
        let ignore = ignore.iter().map(|text| (*text).to_owned()).collect();
        Rule::new(&Spec { parts: Vec::new(), fallback, ignore }).unwrap_err()
    };
    for fallback in [Fallback::Body, Fallback::None] {
        assert_eq!(refused(fallback, &["/a"]).field, "ignore");
    }
    for pointer in ["", "a", "/a~2", "json:/a"] {
        assert_eq!(refused(Fallback::Canonical, &[pointer]).field, "ignore", "{pointer}");
    }
    assert_eq!(refused(Fallback::Canonical, &["/a"; 33]).field, "ignore");
}

/// A document, by members in the order they are written.
#[derive(Clone, Debug)]
enum Node {
    Leaf(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn value(&self) -> Value {
        match self {
            Self::Leaf(value) => value.clone(),
            Self::List(list) => list.iter().map(Self::value).collect(),
            Self::Map(map) => map.iter().map(|(name, node)| (name.clone(), node.value())).collect(),
        }
    }

    /// The document with members in another order, other spaces and other escapes.
    fn write(&self, odd: bool) -> String {
        let space = if odd { " \n" } else { "" };
        let text = |text: &str| {
            if !odd {
                return Value::from(text).to_string();
            }
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
            format!("\"{}\"", units.collect::<String>())
        };
        match self {
            Self::Leaf(Value::String(leaf)) => text(leaf),
            Self::Leaf(leaf) => leaf.to_string(),
            Self::List(list) => {
                let items: Vec<_> = list.iter().map(|node| node.write(odd)).collect();
                format!("[{space}{}{space}]", items.join(&format!("{space},{space}")))
            },
            Self::Map(map) => {
                let item = |(name, node): &(String, Self)| {
                    format!("{}{space}:{space}{}", text(name), node.write(odd))
                };
                let mut items: Vec<_> = map.iter().map(item).collect();
                if odd {
                    items.reverse();
                }
                format!("{{{space}{}{space}}}", items.join(","))
            },
        }
    }
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-9..9_i32).prop_map(Value::from),
        "[ab\u{e9}\"\\\\\n\u{1f602}\u{fb33}]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_map(Node::Leaf).prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Node::List),
            prop::collection::btree_map("[ab\u{1f602}\u{fb33}]{0,2}", inner, 0..3)
                .prop_map(|map| Node::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn documents_share_a_key_if_and_only_if_they_have_one_value(one in node(), other in node()) {
        let form = |node: &Node, odd| form(&node.write(odd)).unwrap();
        prop_assert_eq!(form(&one, false), form(&one, true));
        prop_assert_eq!(form(&one, false) == form(&other, true), one.value() == other.value());
        // It is JSON, of the same value, and its own canonical form.
        let text = form(&one, true);
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), one.value());
        prop_assert_eq!(form_of(&text), text);
    }

    #[test]
    fn two_integers_share_a_key_only_if_they_are_equal(one in any::<u128>(), step in 0..3_u128) {
        let other = one.saturating_add(step);
        prop_assert_eq!(form(&one.to_string()) == form(&other.to_string()), one == other);
    }

    #[test]
    fn every_double_survives(bits in any::<u64>()) {
        let double = f64::from_bits(bits);
        if double.is_finite() {
            let text = form(&format!("{double:e}")).unwrap();
            let read = text.parse::<f64>().unwrap();
            prop_assert!(read.to_bits() == double.to_bits() || text == "0", "{}", text);
        }
    }

    #[test]
    fn the_form_takes_what_the_scanner_takes(body in "[\\[\\]{}\",:0-9eE+.\\-\\\\untrfalsbd \n]{0,40}") {
        // But for names written twice, which only the form refuses everywhere.
        let taken = !matches!(json("/nowhere", &body), Err(Unkeyed::Broken));
        let formed = !matches!(form(&body), Err(Unkeyed::Broken));
        if !matches!(form(&body), Err(Unkeyed::Repeated)) {
            prop_assert_eq!(taken, formed, "{}", body);
        }
    }

    #[test]
    fn no_bytes_make_the_form_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _any = keyed(&body, &["/a/0"]);
    }
}
