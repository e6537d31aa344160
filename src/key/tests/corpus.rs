//! Hostile and odd JSON: each case has one expected end.

use super::*;

#[test]
fn tokens_are_raw() {
    for (body, expected) in [
        (r#"{"id":1}"#, "=1"),
        (r#"{"id":"1"}"#, "1"),
        (r#"{"id":1.0}"#, "=1.0"),
        (r#"{"id":-0}"#, "=-0"),
        (r#"{"id":0}"#, "=0"),
        (r#"{"id":1e400}"#, "=1e400"),
        (r#"{"id":1E+2}"#, "=1E+2"),
        (r#"{"id":9007199254740993}"#, "=9007199254740993"),
        (r#"{"id":18446744073709551616}"#, "=18446744073709551616"),
        (r#"{"id":123456789012345678901234567890}"#, "=123456789012345678901234567890"),
        (r#"{"id":true}"#, "=true"),
        (r#"{"id":"true"}"#, "true"),
        (r#"{"id":false}"#, "=false"),
        (r#"{"id":" "}"#, "%20"),
        (r#"{"id":"a,b=c%2F"}"#, "a%2Cb%3Dc%252F"),
        (r#"{"id":"\u0061\/\n\\\"\b\f\r\t"}"#, "a%2F%0A%5C%22%08%0C%0D%09"),
        (r#"{"id":"x\u0041y\u0042z"}"#, "xAyBz"),
        (r#"{"id":"\u0000"}"#, "%00"),
        (r#"{"id":"\ud83d\ude00"}"#, "%F0%9F%98%80"),
        (r#"{"id":"😀"}"#, "%F0%9F%98%80"),
        (r#"{"\u0069d":"1"}"#, "1"),
        (" {\t\"id\"\r\n: 7 } ", "=7"),
    ] {
        assert_eq!(json("/id", body).unwrap(), expected, "{body}");
    }
    // Two ways to write a letter are two texts: byte for byte.
    assert_ne!(json("/id", "{\"id\":\"\u{e9}\"}"), json("/id", "{\"id\":\"e\u{301}\"}"));
}

#[test]
fn pointers_are_read_as_rfc_6901_has_it() {
    let body = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
        "~1":9,"0":{"1":10},"deep":[[],[{"x":[false]}]]}"#;
    for (pointer, expected) in [
        ("/foo/0", "bar"),
        ("/foo/1", "baz"),
        ("/", "=0"),
        ("/a~1b", "=1"),
        ("/c%d", "=2"),
        ("/e^f", "=3"),
        ("/g|h", "=4"),
        ("/i\\j", "=5"),
        ("/k\"l", "=6"),
        ("/ ", "=7"),
        ("/m~0n", "=8"),
        ("/~01", "=9"),
        ("/0/1", "=10"),
        ("/deep/1/0/x/0", "=false"),
    ] {
        assert_eq!(json(pointer, body).unwrap(), expected, "{pointer}");
    }
    for pointer in [
        "/foo/2", "/foo/00", "/foo/01", "/foo/+1", "/foo/-", "/foo/", "/foo/a", "/fo", "/Foo",
        "/a~1b/c",
    ] {
        assert_eq!(json(pointer, body), Err(Unkeyed::Missing), "{pointer}");
    }
    assert_eq!(json("/foo/99999999999999999999999", body), Err(Unkeyed::Missing));
}

#[test]
fn null_objects_arrays_and_nothing_are_no_value() {
    for body in
        [r#"{"id":null}"#, r#"{"id":{}}"#, r#"{"id":[]}"#, r#"{"id":["a"]}"#, r#"{"id":{"id":1}}"#]
    {
        assert_eq!(json("/id", body), Err(Unkeyed::NotScalar), "{body}");
    }
    for body in ["{}", "[]", "1", "null", "\"id\"", r#"{"a":{"id":1}}"#, r#"[{"id":1}]"#] {
        assert_eq!(json("/id", body), Err(Unkeyed::Missing), "{body}");
    }
    assert_eq!(json("/id", r#"{"id":""}"#), Err(Unkeyed::Empty));
}

#[test]
fn a_key_written_twice_on_the_way_fails_the_rule() {
    for body in [
        r#"{"a":{"id":1},"a":{"id":1}}"#,
        r#"{"a":{"id":1,"id":1}}"#,
        r#"{"a":{"id":1,"\u0069d":2}}"#,
        r#"{"a":{"id":1,"\u0069\u0064":2}}"#,
        r#"{"\u0061":{"id":1},"a":2}"#,
        r#"{"a":{"id":1},"a":null}"#,
        r#"{"a":null,"a":{"id":1}}"#,
    ] {
        assert_eq!(json("/a/id", body), Err(Unkeyed::Repeated), "{body}");
    }
    assert_eq!(json("/0/id", r#"[{"id":1,"id":2}]"#), Err(Unkeyed::Repeated));
    // Beside the way it does no harm.
    let body = r#"{"x":1,"x":2,"a":{"y":1,"y":2,"id":3},"b":{"id":4,"id":5}}"#;
    assert_eq!(json("/a/id", body).unwrap(), "=3");
}

#[test]
fn what_is_not_json_to_its_end_fails_the_rule() {
    for body in [
        "",
        " ",
        "{",
        "}",
        "{\"id\":1",
        "{\"id\":1,}",
        "{\"id\":1}}",
        "{\"id\":1} x",
        "{\"id\":1}{\"id\":1}",
        "{\"id\":1}\0",
        "{\"id\" 1}",
        "{id:1}",
        "{'id':1}",
        "{\"id\":}",
        "{\"id\":1,\"a\"}",
        "{,\"id\":1}",
        "{\"id\":1,\"a\":[1,]}",
        "{\"id\":1,\"a\":[1 2]}",
        "{\"id\":1,\"a\":[}",
        "{\"id\":01}",
        "{\"id\":+1}",
        "{\"id\":1.}",
        "{\"id\":.5}",
        "{\"id\":1e}",
        "{\"id\":1e+}",
        "{\"id\":-}",
        "{\"id\":0x1}",
        "{\"id\":1_0}",
        "{\"id\":NaN}",
        "{\"id\":Infinity}",
        "{\"id\":-Infinity}",
        "{\"id\":nul}",
        "{\"id\":True}",
        "{\"id\":truex}",
        "{\"id\":\"a}",
        "{\"id\":\"\n\"}",
        "{\"id\":\"\t\"}",
        "{\"id\":\"\0\"}",
        "{\"id\":\"\\x41\"}",
        "{\"id\":\"\\u00g1\"}",
        "{\"id\":\"\\u12\"}",
        "{\"id\":\"\\u+123\"}",
        "{\"id\":\"\\",
        "\u{feff}{\"id\":1}",
        "{\"id\":1}/**/",
        "{\"id\":\u{a0}1}",
        "{\"id\":1,\"a\":tru}",
        "id=1",
    ] {
        assert_eq!(json("/id", body), Err(Unkeyed::Broken), "{body:?}");
    }
}

#[test]
fn text_that_is_not_unicode_fails_the_rule_wherever_it_is() {
    for escape in [
        "\\ud800",
        "\\udc00",
        "\\ud800\\ud800",
        "\\ud800x",
        "\\ud800\\n",
        "\\udc00\\ud800",
        "\\uD83D",
    ] {
        for body in [
            format!("{{\"id\":\"{escape}\"}}"),
            format!("{{\"id\":1,\"a\":\"{escape}\"}}"),
            format!("{{\"id\":1,\"{escape}\":1}}"),
        ] {
            assert_eq!(json("/id", &body), Err(Unkeyed::Broken), "{body}");
        }
    }
    for body in [
        &b"{\"id\":\"\xFF\"}"[..],
        b"{\"id\":1,\"\xC3\":1}",
        b"{\"id\":\"\xC0\x80\"}",
        b"{\"id\":\"\xED\xA0\x80\"}",
    ] {
        assert_eq!(json("/id", body), Err(Unkeyed::Broken), "{body:?}");
    }
}

#[test]
fn nesting_ends_at_128() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{{\"id\":7,\"a\":{}1{}}}", open.repeat(depth - 1), close.repeat(depth - 1))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert_eq!(json("/id", nested(127, open, close)).unwrap(), "=7");
        assert_eq!(json("/id", nested(128, open, close)).unwrap(), "=7");
        assert_eq!(json("/id", nested(129, open, close)), Err(Unkeyed::TooDeep));
    }
    assert_eq!(json("/id", "[".repeat(1_000_000)), Err(Unkeyed::TooDeep));
    assert_eq!(json("/id", "{\"id\":".repeat(1_000_000)), Err(Unkeyed::TooDeep));
    let pointer = "/0".repeat(128);
    let deepest = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(json(&pointer, deepest).unwrap(), "=1");
}

#[test]
fn long_values_keep_every_digit() {
    let number = "7".repeat(1_000_000);
    let other = format!("{}8", &number[1..]);
    let keyed = |number: &str| {
        let sent = verified(delivery(format!("{{\"id\":{number}}}").as_bytes()));
        rule(&["json:/id"], Fallback::Reject).derive(&sent, Uuid::nil).unwrap()
    };
    assert_eq!(keyed(&number).long.unwrap(), format!("={number}"));
    assert_ne!(keyed(&number).text, keyed(&other).text);
}
