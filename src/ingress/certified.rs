//! Step 2, the signature, where the key may be in a certificate that is fetched first; and the
//! one call that a right signature can have us make: to confirm a subscription.
//!
//! A certificate that cannot be had is no reason to let a delivery in, nor to tell the provider
//! that it is wrong: 503, and it comes again.

use std::net::IpAddr;

use super::Turned;
use super::suspect::reject;
use crate::gate::{Gate, Missed, Rejected};
use crate::telemetry::Outcome;
use crate::time::Millis;
use crate::verify::{Delivery, Rejection, Verified};

/// Checks the signature of `delivery`, as of `at`.
pub(super) async fn verify(
    gate: &Gate,
    delivery: Delivery,
    (from, at): (Option<IpAddr>, Millis),
) -> Result<Verified, Turned> {
    let (verifier, bytes) = (&gate.source.verifier, delivery.body.len());
    let rejected = |reason: Rejection| reject(gate, Rejected { at, reason, from, bytes });
    let named = verifier.certificate(&delivery, at).map_err(rejected)?;
    let Some((address, certificates)) = named.zip(gate.certificates.as_ref()) else {
        return verifier.check(delivery, at).map_err(rejected);
    };
    let certificate = certificates.get(&address).await.map_err(|Missed| {
        Turned::away(Outcome::Unavailable, "the provider's certificate cannot be had")
    })?;
    let verified = verifier.check_by(delivery, at, Some(&certificate)).map_err(rejected)?;
    certificates.proved(&address);
    Ok(verified)
}

/// Confirms the subscription that a verified delivery asks to confirm, if it does.
pub(super) async fn confirm(gate: &Gate, verified: &Verified) -> Result<(), Turned> {
    let asked = gate.source.verifier.confirmation(verified);
    let Some((address, certificates)) = asked.zip(gate.certificates.as_ref()) else {
        return Ok(());
    };
    certificates.call(&address).await.map_err(|Missed| {
        Turned::away(Outcome::Unavailable, "the subscription cannot be confirmed")
    })?;
    tracing::info!(source = gate.source.name, host = address.host(), "subscription confirmed");
    Ok(())
}

#[cfg(test)]
mod tests;
