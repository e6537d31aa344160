//! A delivery like one of the provider's own, for `sign`, the demo and tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::verify::Delivery;

/// A delivery as a preset has it: real-looking, unsigned. `{id}` stands for the event's id.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The headers it has beside those of the signature.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Sample {
    /// The delivery of the event `id`, which is written into JSON as it is: letters, digits,
    /// `-` and `_`.
    pub fn delivery(&self, id: &str) -> http::Result<Delivery> {
        let mut delivery = Delivery {
            method: Method::POST,
            query: None,
            headers: HeaderMap::new(),
            body: Bytes::from(self.body.replace("{id}", id)),
        };
        self.complete(&mut delivery, id)?;
        Ok(delivery)
    }

    /// Gives `delivery` the headers that it lacks.
    pub fn complete(&self, delivery: &mut Delivery, id: &str) -> http::Result<()> {
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name)?;
            if !delivery.headers.contains_key(&name) {
                let value = HeaderValue::try_from(value.replace("{id}", id))?;
                delivery.headers.insert(name, value);
            }
        }
        Ok(())
    }
}
