//! Handshakes: deliveries that are no events, by which a provider asks whether an endpoint is
//! there and whose it is. A preset says how to know one and what to answer; it is judged
//! only after the signature was checked, and nothing of it is kept.

use serde::Deserialize;

use crate::key::Place;
use crate::verify::Verified;

/// The longest text that is echoed, in bytes. A challenge has some 60; without a bound the
/// answer would be as long as whoever holds the secret wants.
const MAX_ECHO: usize = 1024;

/// One kind of handshake: `[[handshake]]` of a preset.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// Where the word is that tells it from an event.
    pub when: Place,
    /// The word.
    pub is: String,
    /// The status it is answered with.
    pub status: u16,
    /// The content type of the answer, if it has a body.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The body of the answer.
    #[serde(default)]
    pub body: String,
    /// Where the text is that the answer has as its body instead.
    #[serde(default)]
    pub echo: Option<Place>,
}

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The content type, if there is a body.
    pub content_type: Option<&'a str>,
    /// The body.
    pub body: String,
}

/// The answer to `delivery`, if it is one of `handshakes`. One that has nothing to echo, or
/// too much, is none: it goes to the application like any other delivery.
pub fn greet<'a>(handshakes: &'a [Handshake], delivery: &Verified) -> Option<Greeting<'a>> {
    handshakes.iter().find_map(|handshake| handshake.answer(delivery))
}

impl Handshake {
    fn answer(&self, delivery: &Verified) -> Option<Greeting<'_>> {
        if self.when.find(delivery)? != self.is {
            return None;
        }
        let body = match &self.echo {
            None => self.body.clone(),
            Some(place) => {
                let text = place.find(delivery)?;
                let fits = (1..=MAX_ECHO).contains(&text.len());
                fits.then(|| text.into_owned())?
            },
        };
        Some(Greeting { status: self.status, content_type: self.content_type.as_deref(), body })
    }
}
