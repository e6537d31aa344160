//! Signing as a provider does: for the demo, `oncegate sign`, `sign_with` and tests.

use data_encoding::HEXUPPER;
use http::{HeaderName, HeaderValue};

use super::fill::fill_in;
use super::headers::{Family, Form};
use super::place::Request;
use super::signature::Signature;
use super::spec::Layout;
use super::template::{Stamped, Template};
use super::twilio::{BODY_HASH, needs_hash};
use super::{Delivery, Rejection};
use crate::key::elements;
use crate::time::Millis;

/// The id of the key, if it has one, and the signature that it made.
type Made<'a> = (Option<&'a str>, String);

impl Signature {
    /// See [`super::Verifier::sign`].
    pub(super) fn sign(
        &self,
        delivery: &mut Delivery,
        each: Option<&[String]>,
        id: &str,
        now: Millis,
    ) -> Result<(), Rejection> {
        let timestamp = self.stamp.write(now);
        let id = plain(id);
        if let Some(place) = &self.timestamp {
            while fill_in(delivery, "{timestamp}", &timestamp, place) {}
        }
        self.say_which_key(delivery)?;
        self.hash_of_body(delivery);
        let stamped = Stamped { timestamp: Some(&timestamp), id: Some(&id) };
        let bodies = match each {
            None => vec![delivery.body.to_vec()],
            Some(pointer) => elements(&delivery.body, pointer)
                .map_err(|_no_array| Rejection::Malformed)?
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect(),
        };
        let mut signatures = Vec::new();
        for body in bodies {
            signatures.push(self.signature(&stamped, Request { delivery, body: &body })?);
        }
        for name in self.families.iter().flat_map(Family::names) {
            let _replaced = delivery.headers.remove(name);
        }
        let Some(family) = self.families.first() else { return Err(Rejection::Missing) };
        set(delivery, family.timestamp.as_ref(), &timestamp)?;
        set(delivery, family.id.as_ref(), &id)?;
        for signature in signatures {
            match &self.place {
                None => set(delivery, family.signature.first(), &signature)?,
                Some(place) if fill_in(delivery, "{signature}", &signature, place) => {},
                Some(_) => return Err(Rejection::Missing),
            }
        }
        Ok(())
    }

    /// The value of the signature's header, or of its field.
    fn signature(&self, stamped: &Stamped<'_>, request: Request<'_>) -> Result<String, Rejection> {
        let messages = self.template.fill(stamped, &self.ours, request)?;
        let message = messages.first().ok_or(Rejection::Missing)?;
        let mut signatures = Vec::new();
        if let Some(private) = &self.private {
            let bytes = private.sign(&message.concat()).ok_or(Rejection::Unsupported)?;
            signatures.push((None, self.form.encode(&bytes)));
        } else if self.issuer.is_some() {
            return Err(Rejection::Unsupported);
        } else {
            for key in &self.keys {
                let bytes = key.sign(message).ok_or(Rejection::Unsupported)?;
                signatures.push((key.id.as_deref(), self.form.encode(&bytes)));
            }
        }
        let timestamp = stamped.timestamp.unwrap_or_default();
        Ok(self.form.write(timestamp, &signatures))
    }

    /// The request names the key that signs: the newest.
    fn say_which_key(&self, delivery: &mut Delivery) -> Result<(), Rejection> {
        let newest = self.keys.first().and_then(|key| key.id.as_deref());
        match &self.key_id {
            Some(name) => set(delivery, Some(name), newest.unwrap_or("sample")),
            None => Ok(()),
        }
    }

    /// Twilio puts the hash of a body that is no form into the query.
    fn hash_of_body(&self, delivery: &mut Delivery) {
        if !matches!(self.template, Template::Twilio) {
            return;
        }
        let request = Request { delivery, body: &delivery.body };
        let there = delivery.query.as_deref().is_some_and(|query| query.contains(BODY_HASH));
        if let Some(hash) = needs_hash(request).filter(|_| !there) {
            let rest = delivery.query.take().map(|rest| format!("{rest}&"));
            delivery.query = Some(format!("{}{BODY_HASH}={hash}", rest.unwrap_or_default()));
        }
    }
}

impl Form {
    /// Writes a signature header: with every signature, or where only one fits, the first.
    fn write(&self, timestamp: &str, signatures: &[Made<'_>]) -> String {
        let version = &self.version;
        match self.layout {
            Layout::Plain => {
                format!("{}{}", self.prefix, signatures.first().map_or("", |(_, text)| text))
            },
            Layout::Pairs => {
                let stamp = self.stamp.iter().map(|key| format!("{key}={timestamp}"));
                let items = signatures.iter().map(|(_, text)| format!("{version}={text}"));
                stamp.chain(items).collect::<Vec<_>>().join(&self.separator.to_string())
            },
            Layout::Versioned => {
                let items = signatures.iter().map(|(_, text)| format!("{version},{text}"));
                items.collect::<Vec<_>>().join(" ")
            },
            Layout::Piped => {
                let item = |(id, text): &Made<'_>| format!("{}|{text}", id.unwrap_or("sample"));
                signatures.iter().map(item).collect::<Vec<_>>().join("&")
            },
        }
    }
}

fn set(delivery: &mut Delivery, name: Option<&HeaderName>, value: &str) -> Result<(), Rejection> {
    if let Some(name) = name {
        let value = HeaderValue::from_str(value).map_err(|_control| Rejection::Malformed)?;
        let _replaced = delivery.headers.insert(name.clone(), value);
    }
    Ok(())
}

/// `id` as a header can carry it and a dotted template can sign it. Two keys never become
/// one id: a key's text has no `%2E`, since it never encodes a dot.
fn plain(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_graphic() && byte != b'.' {
            text.push(char::from(byte));
        } else {
            text.push('%');
            HEXUPPER.encode_append(&[byte], &mut text);
        }
    }
    text
}
