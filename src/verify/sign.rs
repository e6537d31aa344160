//! Signing as a provider does: for the demo, `oncegate sign`, `sign_with` and tests.

use data_encoding::HEXUPPER;
use http::{HeaderName, HeaderValue};

use super::headers::{Family, Form};
use super::spec::Layout;
use super::template::Stamped;
use super::{Delivery, Hmac, Rejection, hash};
use crate::time::Millis;

impl Hmac {
    /// See [`super::Verifier::sign`].
    pub(super) fn sign(
        &self,
        delivery: &mut Delivery,
        id: &str,
        now: Millis,
    ) -> Result<(), Rejection> {
        let timestamp = self.stamp.write(now);
        let id = plain(id);
        let stamped = Stamped { timestamp: Some(&timestamp), id: Some(&id) };
        let message = self.template.fill(&stamped, delivery)?;
        let signatures: Vec<_> =
            self.keys.iter().map(|key| self.form.encode(hash(key, &message).as_ref())).collect();
        let signature = self.form.write(&timestamp, &signatures);
        for name in self.families.iter().flat_map(Family::names) {
            let _replaced = delivery.headers.remove(name);
        }
        let Some(family) = self.families.first() else { return Err(Rejection::Missing) };
        let headers = [
            (Some(&family.signature), signature.as_str()),
            (family.timestamp.as_ref(), timestamp.as_str()),
            (family.id.as_ref(), id.as_str()),
        ];
        for (name, value) in headers {
            set(delivery, name, value)?;
        }
        Ok(())
    }
}

impl Form {
    /// Writes a signature header: with every signature, or where only one fits, the first.
    fn write(&self, timestamp: &str, signatures: &[String]) -> String {
        let version = &self.version;
        match self.layout {
            Layout::Plain => {
                format!("{}{}", self.prefix, signatures.first().map_or("", String::as_str))
            },
            Layout::Pairs => {
                let stamp = self.stamp.iter().map(|key| format!("{key}={timestamp}"));
                let items = signatures.iter().map(|signature| format!("{version}={signature}"));
                stamp.chain(items).collect::<Vec<_>>().join(&self.separator.to_string())
            },
            Layout::Versioned => {
                let items = signatures.iter().map(|signature| format!("{version},{signature}"));
                items.collect::<Vec<_>>().join(" ")
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
