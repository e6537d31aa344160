//! The events of the demo: what their providers really send, with ids of today.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock;

/// What the application does when it first sees an event. From then on it answers 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Answers 200.
    Works,
    /// Answers 500: nothing happened.
    Fails,
    /// Acts, and hangs up before it answers: nobody can tell.
    HangsUp,
}

/// One event.
#[derive(Debug)]
pub(super) struct Event {
    /// The configured source.
    pub(super) source: &'static str,
    /// The provider's word for it.
    pub(super) kind: &'static str,
    /// Its identity, as the provider tells it.
    pub(super) id: String,
    /// The raw body.
    pub(super) body: Bytes,
    /// What the application does with it at first.
    pub(super) first: First,
}

impl Event {
    /// `<source>:<key>`.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.source, self.id)
    }

    /// Where the admin API tells its story.
    pub(super) fn story_path(&self) -> String {
        format!("/api/v1/events/{}/{}", self.source, self.id)
    }
}

/// Every event, new each time.
pub(super) fn all() -> Vec<Arc<Event>> {
    let stripe = [
        ("checkout.session.completed", First::Works, STRIPE_SESSION),
        ("invoice.paid", First::Fails, STRIPE_INVOICE),
        ("charge.refunded", First::HangsUp, STRIPE_CHARGE),
    ];
    let partner = [
        ("user.created", First::Works, r#"{"user":"usr_8412","plan":"team"}"#),
        ("order.shipped", First::Fails, r#"{"order":"ord_20319","parcels":2}"#),
        ("seat.added", First::HangsUp, r#"{"team":"tm_77","seats":12}"#),
    ];
    let stripe = stripe.into_iter().map(|(kind, first, object)| {
        let id = format!("evt_1{}", unique());
        let body = of_stripe(&id, kind, object);
        Arc::new(Event { source: "stripe", kind, id, body: Bytes::from(body), first })
    });
    let partner = partner.into_iter().map(|(kind, first, about)| {
        let at = clock::wall();
        // A partner's id is in a header; the order's own number makes each body another.
        let body = format!(r#"{{"type":"{kind}","timestamp":"{at}","data":{about}}}"#);
        let id = format!("msg_{}", unique());
        Arc::new(Event { source: "partner", kind, id, body: Bytes::from(body), first })
    });
    stripe.chain(partner).collect()
}

fn unique() -> String {
    Uuid::new_v4().simple().to_string().chars().take(23).collect()
}

/// Stripe's envelope, indented by two as Stripe sends it.
fn of_stripe(id: &str, kind: &str, object: &str) -> String {
    let created = clock::wall().0 / 1000;
    format!(
        r#"{{
  "id": "{id}",
  "object": "event",
  "api_version": "2026-08-27",
  "created": {created},
  "data": {{
    "object": {object}
  }},
  "livemode": false,
  "pending_webhooks": 1,
  "request": {{ "id": null, "idempotency_key": null }},
  "type": "{kind}"
}}"#
    )
}

const STRIPE_SESSION: &str = r#"{
      "id": "cs_test_a1Yx2Lq8", "object": "checkout.session", "amount_total": 4900,
      "currency": "eur", "mode": "payment", "payment_status": "paid", "status": "complete"
    }"#;

const STRIPE_INVOICE: &str = r#"{
      "id": "in_1QmZ7kLq", "object": "invoice", "amount_paid": 12900, "currency": "eur",
      "billing_reason": "subscription_cycle", "paid": true, "status": "paid"
    }"#;

const STRIPE_CHARGE: &str = r#"{
      "id": "ch_3QmZ9wLq", "object": "charge", "amount": 4900, "amount_refunded": 4900,
      "currency": "eur", "refunded": true, "status": "succeeded"
    }"#;
