//! Handshakes: requests that are no events, by which a provider asks whether an endpoint is
//! there and whose it is. A preset says how to know one and what to answer. What the provider
//! signs is judged only after the signature was checked; nothing of any is kept.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::constant_time;
use http::Method;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde::Deserialize;

use crate::key::form;
use crate::verify::place::{Place, Request};
use crate::verify::{Delivery, SpecError, Verifier};

/// The longest text that is echoed, in bytes. A challenge has some 60; without a bound the
/// answer would be as long as whoever asks wants.
const MAX_ECHO: usize = 1024;

/// One kind of handshake: `[[handshake]]` of a preset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// The method it comes with. `GET` and `OPTIONS` are never signed.
    #[serde(default)]
    pub method: Asking,
    /// Whether the provider signs it.
    #[serde(default = "yes")]
    pub signed: bool,
    /// Where the word is that tells it from an event.
    pub when: Spot,
    /// The word; any, where nothing is stated.
    #[serde(default)]
    pub is: Option<String>,
    /// What the word is made of.
    #[serde(default)]
    pub shape: Shape,
    /// Whether nothing else is in the form.
    #[serde(default)]
    pub alone: bool,
    /// Whether it has no body.
    #[serde(default)]
    pub bodiless: bool,
    /// Where the source's `verify_token` must be.
    #[serde(default)]
    pub token: Option<Spot>,
    /// The status it is answered with.
    pub status: u16,
    /// The content type of the answer, if it has a body.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Further headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body of the answer. In it and in the headers `{echo}` stands for the text at `echo`,
    /// `{echo:json}` for the same as a string of JSON, `{hmac}` for its HMAC, and `{key_id}` for
    /// the id of the newest secret.
    #[serde(default)]
    pub body: Option<String>,
    /// Where the text is that is echoed: the body, where none is stated.
    #[serde(default)]
    pub echo: Option<Spot>,
}

fn yes() -> bool {
    true
}

/// What a handshake's word is made of. Where an answer has an HMAC of it and the request is not
/// signed, only the shape keeps whoever asks from having any text signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Any text.
    #[default]
    Any,
    /// Digits.
    Digits,
    /// 20 to 32 hexadecimal digits in lower case: Braintree's challenge, as its libraries take it.
    Challenge,
}

impl Shape {
    fn fits(self, word: &str) -> bool {
        let all = |fits: fn(&u8) -> bool| word.as_bytes().iter().all(fits);
        match self {
            Self::Any => true,
            Self::Digits => all(u8::is_ascii_digit),
            Self::Challenge => {
                (20..=32).contains(&word.len())
                    && all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            },
        }
    }
}

/// The methods of handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Asking {
    /// `POST`, as events come.
    #[default]
    Post,
    /// `GET`.
    Get,
    /// `OPTIONS`.
    Options,
}

impl Asking {
    fn is(self, method: &Method) -> bool {
        match self {
            Self::Post => method == Method::POST,
            Self::Get => method == Method::GET,
            Self::Options => method == Method::OPTIONS,
        }
    }
}

/// Where a text is in a request: `header:NAME`, `json:/pointer`, `form:NAME`, `query:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Spot {
    text: String,
    place: Place,
}

impl Spot {
    fn find(&self, delivery: &Delivery) -> Option<String> {
        let found = self.place.find(Request::whole(delivery)).ok()??;
        Some(found.into_owned())
    }
}

impl TryFrom<String> for Spot {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        let place = Place::parse("handshake", &text)?;
        Ok(Self { text, place })
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A request that may be a handshake, and what its source has to answer one.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request.
    pub delivery: &'a Delivery,
    /// Whether its signature was checked.
    pub verified: bool,
    /// What the source signs with.
    pub verifier: &'a Verifier,
    /// `verify_token`.
    pub token: Option<&'a SecretSlice<u8>>,
}

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// A handshake whose token is not the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongToken;

/// Whether a request with `method` may be one of `handshakes`.
pub fn may_greet(handshakes: &[Handshake], method: &Method) -> bool {
    handshakes.iter().any(|handshake| handshake.method.is(method))
}

/// The answer, if the request is one of `handshakes`. One that has nothing to echo, or too much,
/// is none: it goes on like any other request.
pub fn greet(handshakes: &[Handshake], asked: Asked<'_>) -> Option<Result<Greeting, WrongToken>> {
    handshakes.iter().find_map(|handshake| handshake.answer(asked))
}

impl Handshake {
    fn answer(&self, asked: Asked<'_>) -> Option<Result<Greeting, WrongToken>> {
        let delivery = asked.delivery;
        let signed = self.signed && self.method == Asking::Post;
        if signed != asked.verified || !self.method.is(&delivery.method) {
            return None;
        }
        let word = self.when.find(delivery)?;
        let meant = self.is.as_ref().is_none_or(|is| *is == word)
            && self.shape.fits(&word)
            && (!self.bodiless || delivery.body.is_empty())
            && (!self.alone || form::fields(&delivery.body)?.len() == 1);
        if !meant {
            return None;
        }
        if let Some(spot) = &self.token {
            let sent = spot.find(delivery).unwrap_or_default();
            let same = |token: &SecretSlice<u8>| {
                let token = token.expose_secret();
                constant_time::verify_slices_are_equal(token, sent.as_bytes()).is_ok()
            };
            if !asked.token.is_some_and(same) {
                return Some(Err(WrongToken));
            }
        }
        let echo = match &self.echo {
            None => String::new(),
            Some(spot) => spot.find(delivery).filter(|text| text.len() <= MAX_ECHO)?,
        };
        let mut headers = Vec::new();
        headers.extend(self.content_type.clone().map(|kind| ("content-type".to_owned(), kind)));
        if self.echo.is_some() {
            headers.push(("x-content-type-options".to_owned(), "nosniff".to_owned()));
        }
        for (name, text) in &self.headers {
            headers.push((name.clone(), filled(text, &echo, asked.verifier)?));
        }
        let body = self.body.as_deref().unwrap_or(if self.echo.is_some() { "{echo}" } else { "" });
        let body = filled(body, &echo, asked.verifier)?;
        Some(Ok(Greeting { status: self.status, headers, body }))
    }
}

/// `text` with what stands for the echo, in one pass: the echo itself is not looked into.
fn filled(text: &str, echo: &str, verifier: &Verifier) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let known = |(mark, value): (&str, Option<String>)| {
            after.strip_prefix(mark).map(|rest| Some((value?, rest)))
        };
        let hmac = || verifier.mac(echo);
        let found = [
            ("echo}", Some(echo.to_owned())),
            ("echo:json}", serde_json::to_string(echo).ok()),
            ("hmac}", if after.starts_with("hmac}") { hmac() } else { None }),
            ("key_id}", verifier.newest_id().map(str::to_owned)),
        ];
        if let Some(found) = found.into_iter().find_map(known) {
            let (value, after) = found?;
            filled.push_str(&value);
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    Some(filled)
}
