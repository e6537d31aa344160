//! Is this signature right? Pure: bytes and the time in, a verified delivery or a reason out.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::time::Millis;

/// One request from a provider, as received.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The method.
    pub method: Method,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// The headers, in the order received.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
}

/// A delivery whose signature was checked. Only [`Verifier::check`] makes one, and only one
/// of these can be claimed.
#[derive(Clone, Debug)]
pub struct Verified(Delivery);

impl Verified {
    /// The delivery that was verified.
    pub fn delivery(&self) -> &Delivery {
        &self.0
    }

    /// The delivery that was verified.
    pub fn into_delivery(self) -> Delivery {
        self.0
    }
}

/// Checks the signatures of one source: a scheme and its secrets.
#[derive(Clone, Debug)]
pub struct Verifier {}

/// Why a delivery was rejected; a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// The signature header is missing or empty.
    Missing,
}

impl Verifier {
    /// Checks `delivery` as of `now`, the true wall-clock time.
    pub fn check(&self, delivery: Delivery, _now: Millis) -> Result<Verified, Rejection> {
        Ok(Verified(delivery))
    }

    /// Signs `delivery` as the event `id`, as of `now`.
    pub fn sign(
        &self,
        _delivery: &mut Delivery,
        _id: &str,
        _now: Millis,
    ) -> Result<(), Rejection> {
        Ok(())
    }
}
