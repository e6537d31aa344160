//! The elements of a batch: several events in one body, each as its raw bytes.

use std::fmt;

use serde::Deserialize;

use super::Unkeyed;
use super::json::Scanner;
use super::part;

/// Most elements of one body. Providers send up to 4,000. Each becomes an event, and all of
/// one delivery are decided and synced at once: more would keep every other claim waiting.
pub const MAX_ELEMENTS: usize = 10_000;

/// `[batch]` of a preset, `[sources.NAME.batch]`: a delivery has several events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Where the array of them is in the body.
    pub elements: Pointer,
}

/// A checked RFC 6901 pointer; an empty one is the whole body.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// What the body of a delivery is where a batch is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split<'a> {
    /// Its elements, as raw bytes; at least one.
    Elements(Vec<&'a [u8]>),
    /// A batch of nothing, by which a provider asks whether the endpoint is there.
    Nothing,
    /// No batch, and why: it is one event, so that nothing is lost.
    Whole(Unkeyed),
}

impl Batch {
    /// Splits `body`. Refused is only what has too many elements.
    pub fn split<'a>(&self, body: &'a [u8]) -> Result<Split<'a>, Unkeyed> {
        match elements(body, &self.elements.steps) {
            Ok(elements) if elements.is_empty() => Ok(Split::Nothing),
            Ok(elements) => Ok(Split::Elements(elements)),
            Err(Unkeyed::TooMany) => Err(Unkeyed::TooMany),
            Err(why) => Ok(Split::Whole(why)),
        }
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match steps(&text) {
            Some(steps) => Ok(Self { text, steps }),
            None => Err(format!("is \"{text}\", {}", part::NO_POINTER)),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The raw bytes of each element of the array at `pointer` in `body`, in order, without the
/// space around it. `pointer` is as [`steps`] reads it. The whole body must be JSON to its end,
/// and every key on the pointer's way alone in its object.
pub fn elements<'a>(body: &'a [u8], pointer: &[String]) -> Result<Vec<&'a [u8]>, Unkeyed> {
    Scanner::new(body)?.elements(pointer, MAX_ELEMENTS)
}

/// The steps of an RFC 6901 pointer: of `/data/items` the two words, of an empty text, which
/// is the whole body, none. `None` where `text` is no pointer.
pub fn steps(text: &str) -> Option<Vec<String>> {
    if text.is_empty() { Some(Vec::new()) } else { part::pointer(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'a>(body: &'a str, pointer: &str) -> Result<Vec<&'a str>, Unkeyed> {
        let found = elements(body.as_bytes(), &steps(pointer).unwrap())?;
        Ok(found.into_iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect())
    }

    #[test]
    fn an_element_is_its_raw_bytes() {
        let body = " [ {\"a\" : 1.50} ,\n\"\\u0041 ,]\",[ 1,[2] ]\t,null, -0 ] ";
        let found = split(body, "").unwrap();
        assert_eq!(found, ["{\"a\" : 1.50}", "\"\\u0041 ,]\"", "[ 1,[2] ]", "null", "-0"]);
    }

    #[test]
    fn the_pointer_says_which_array() {
        let body = r#"{"n":[0],"a/b":[{"x":[1, 2]},[3]],"~":[],"z":[[4]]}"#;
        assert_eq!(split(body, "/a~1b").unwrap(), ["{\"x\":[1, 2]}", "[3]"]);
        assert_eq!(split(body, "/a~1b/0/x").unwrap(), ["1", "2"]);
        assert_eq!(split(body, "/a~1b/1").unwrap(), ["3"]);
        assert_eq!(split(body, "/~0").unwrap(), Vec::<&str>::new());
        assert_eq!(split(r#"{"\u0061":[7]}"#, "/a").unwrap(), ["7"], "keys are decoded");
        assert_eq!(split(r#"{"":[7]}"#, "/").unwrap(), ["7"], "an empty key is a key");
    }

    #[test]
    fn what_is_no_array_has_no_elements() {
        for body in ["{}", r#"{"b":[1]}"#, r#"{"a":{"b":[1]}}"#] {
            let found = split(body, "/a/c");
            assert_eq!(found, Err(Unkeyed::Missing), "{body}");
        }
        for body in [r#"{"a":{}}"#, r#"{"a":null}"#, r#"{"a":"[1]"}"#, r#"{"a":1}"#] {
            assert_eq!(split(body, "/a"), Err(Unkeyed::NotArray), "{body}");
        }
        assert_eq!(split("{\"0\":1}", ""), Err(Unkeyed::NotArray));
        assert_eq!(split("[[1]]", "/00"), Err(Unkeyed::Missing), "no index");
    }

    #[test]
    fn a_body_in_doubt_has_no_elements() {
        for body in
            ["", " ", "[", "[1", "[1,]", "[,1]", "[1 2]", "[1]]", "[1] 2", "[01]", "[\"\n\"]"]
        {
            assert_eq!(split(body, ""), Err(Unkeyed::Broken), "{body}");
        }
        assert_eq!(elements(b"[\"\xff\"]", &[]), Err(Unkeyed::Broken), "no UTF-8");
        let after = r#"{"a":[1],"b":}"#;
        assert_eq!(split(after, "/a"), Err(Unkeyed::Broken), "to its end");
    }

    #[test]
    fn an_array_written_twice_is_none() {
        assert_eq!(split(r#"{"a":[1],"a":[2]}"#, "/a"), Err(Unkeyed::Repeated));
        assert_eq!(split(r#"{"a":[1],"\u0061":[2]}"#, "/a"), Err(Unkeyed::Repeated));
        assert_eq!(split(r#"{"a":{"b":[1]},"a":{}}"#, "/a/b"), Err(Unkeyed::Repeated));
        assert_eq!(split(r#"{"a":[{"x":1,"x":2}],"b":1,"b":2}"#, "/a").unwrap().len(), 1);
    }

    #[test]
    fn elements_and_depth_are_bounded() {
        let of = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert_eq!(split(&of(MAX_ELEMENTS), "").unwrap().len(), MAX_ELEMENTS);
        assert_eq!(split(&of(MAX_ELEMENTS + 1), ""), Err(Unkeyed::TooMany));
        let elsewhere = format!("{{\"a\":{},\"b\":[1]}}", of(MAX_ELEMENTS + 1));
        assert_eq!(split(&elsewhere, "/b").unwrap(), ["1"], "only what is asked for counts");
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(split(&deep, ""), Err(Unkeyed::TooDeep));
    }

    #[test]
    fn what_is_no_batch_is_one_event_and_too_many_are_refused() {
        let batch: Batch = toml::from_str("elements = \"/a\"").unwrap();
        assert_eq!(batch.split(br#"{"a":[1,2]}"#), Ok(Split::Elements(vec![b"1", b"2"])));
        assert_eq!(batch.split(br#"{"a":[ ]}"#), Ok(Split::Nothing));
        for (body, why) in [
            ("{}", Unkeyed::Missing),
            ("{\"a\":{}}", Unkeyed::NotArray),
            ("{\"a\":[", Unkeyed::Broken),
            ("{\"a\":[1],\"a\":[]}", Unkeyed::Repeated),
        ] {
            assert_eq!(batch.split(body.as_bytes()), Ok(Split::Whole(why)), "{body}");
        }
        let many = format!("{{\"a\":[0{}]}}", ",0".repeat(MAX_ELEMENTS));
        assert_eq!(batch.split(many.as_bytes()), Err(Unkeyed::TooMany));
        for wrong in ["elements = \"a\"", "", "elements = \"/a\"\nelement = 1", "elements = 1"] {
            assert!(toml::from_str::<Batch>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pointer_is_read_as_rfc_6901_writes_it() {
        assert_eq!(steps(""), Some(Vec::new()));
        assert_eq!(steps("/a~1b/~0"), Some(vec!["a/b".to_owned(), "~".to_owned()]));
        for wrong in ["events", "#/events", "/a~2", "/a~"] {
            assert_eq!(steps(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn elements_are_what_a_parser_reads(
            values in prop::collection::vec(any::<(Vec<String>, Option<i64>, bool)>(), 0..8),
            at in "[a-z~/]{0,3}",
        ) {
            let body = serde_json::to_string_pretty(&serde_json::json!({ &at: values })).unwrap();
            let pointer = [at];
            let found = elements(body.as_bytes(), &pointer).unwrap();
            prop_assert_eq!(found.len(), values.len());
            for (found, value) in found.into_iter().zip(values) {
                let parsed: (Vec<String>, Option<i64>, bool) =
                    serde_json::from_slice(found).unwrap();
                prop_assert_eq!(parsed, value);
            }
        }

        #[test]
        fn any_bytes_are_answered(body: Vec<u8>, pointer in "(/[a-z0-9]{0,2}){0,3}") {
            let parsed = serde_json::from_slice::<serde_json::Value>(&body);
            let found = elements(&body, &steps(&pointer).unwrap());
            prop_assert!(found.is_err() || parsed.is_ok());
        }
    }
}
