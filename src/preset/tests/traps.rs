//! What providers publish, or are known for, that makes one event of two or two of one: each is
//! held here by its name.

use http::{HeaderName, HeaderValue};

use super::*;

/// The keys of the events of the preset's sample, with `changes` to its body (old text, new text)
/// and to its headers (`header:NAME`, value).
fn keys(name: &str, changes: &[(&str, &str)]) -> Vec<String> {
    let preset = find(name).unwrap();
    let mut delivery = preset.sample.delivery("sample").unwrap();
    for (old, new) in changes {
        if let Some(header) = old.strip_prefix("header:") {
            let header = HeaderName::try_from(header).unwrap();
            delivery.headers.insert(header, HeaderValue::try_from(*new).unwrap());
        } else {
            let body = str::from_utf8(&delivery.body).unwrap();
            assert!(body.contains(old), "{name}: {old} is not in {body}");
            delivery.body = body.replace(old, new).into();
        }
    }
    super::keys(preset, &verified(preset, delivery))
}

/// Whether the sample is the same event when it is changed so.
fn same(name: &str, old: &str, new: &str) -> bool {
    keys(name, &[]) == keys(name, &[(old, new)])
}

#[test]
fn a_counter_of_attempts_or_a_time_of_sending_makes_no_other_event() {
    assert!(same("intercom", "\"delivery_attempts\": 1", "\"delivery_attempts\": 2"));
    assert!(same("coinbase-commerce", "\"attempt_number\": 1", "\"attempt_number\": 2"));
    assert!(same("docusign", "\"retryCount\": 0", "\"retryCount\": 3"));
    assert!(same("hubspot", "\"attemptNumber\": 0", "\"attemptNumber\": 1"));
    assert!(same("sendcloud", "\"timestamp\": 1764000000000", "\"timestamp\": 1764000000999"));
    assert!(same("adyen-standard", "\"eventDate\": \"2026", "\"eventDate\": \"2027"));
    assert!(same("linear", "\"title\": \"Sample\"", "\"title\": \"Sample\""));
}

#[test]
fn an_id_of_the_delivery_or_of_the_webhook_is_no_key() {
    assert!(same("coinbase-commerce", "\"id\": 1,", "\"id\": 2,"));
    assert!(same("gitlab", "header:x-gitlab-webhook-uuid", "new in each attempt"));
    assert!(same("zendesk", "header:x-zendesk-webhook-id", "another webhook"));
    assert!(same("sentry", "header:request-id", "drawn for each request"));
    assert!(same("linear", "header:linear-delivery", "not signed"));
    assert!(same("woocommerce", "header:x-wc-webhook-delivery-id", "of a second"));
    assert!(same("gocardless", "WB0000SAMPLE", "WB0000OTHER"));
    assert!(same("shopify", "header:x-shopify-event-id", "of an action"));
    assert!(same("bigcommerce", "\"hash\": \"dc8a", "\"hash\": \"ab8a"));
    assert!(same("square", "header:square-retry-number", "1"));
    assert!(same("slack", "header:x-slack-retry-num", "1"));
    assert!(same("bitbucket", "header:x-attempt-number", "2"));
}

#[test]
fn what_happens_later_to_the_same_object_is_another_event() {
    for (name, old, new) in [
        ("lemon-squeezy", "\"updated_at\": \"2026-11-24T12", "\"updated_at\": \"2026-11-24T13"),
        ("adyen-standard", "AUTHORISATION", "CAPTURE"),
        ("adyen-standard", "\"success\": \"true\"", "\"success\": \"false\""),
        ("sendcloud", "\"status\": {\"id\": 11", "\"status\": {\"id\": 12"),
        ("calendly", "invitee.created", "invitee.canceled"),
        ("cal-com", "BOOKING_CREATED", "BOOKING_CANCELLED"),
        (
            "woocommerce",
            "\"date_modified_gmt\": \"2026-11-24T12",
            "\"date_modified_gmt\": \"2026-11-24T13",
        ),
        ("xero", "\"eventType\": \"UPDATE\"", "\"eventType\": \"CREATE\""),
        ("quickbooks", "\"operation\": \"Update\"", "\"operation\": \"Delete\""),
        ("linear", "\"action\": \"update\"", "\"action\": \"remove\""),
        (
            "typeform",
            "\"event_type\": \"form_response\"",
            "\"event_type\": \"form_response_partial\"",
        ),
        ("hubspot", "\"subscriptionId\": 33", "\"subscriptionId\": 34"),
        ("meta", "\"type\": \"text\"", "\"type\": \"sticker\""),
        ("meta", "\"time\": 1764000000", "\"time\": 1764000099"),
        ("hubspot", "lifecyclestage", "email"),
        ("docusign", "envelope-completed", "envelope-sent"),
        ("shopify", "header:x-shopify-webhook-id", "of another topic"),
    ] {
        assert!(!same(name, old, new), "{name}: {old}");
    }
}

#[test]
fn what_twilio_says_of_one_message_is_never_one_event_by_its_sid() {
    let token = "header:i-twilio-idempotency-token";
    let sent = keys("twilio", &[("delivered", "sent"), (token, "a")]);
    assert_ne!(sent, keys("twilio", &[(token, "b")]));
    assert_eq!(sent, keys("twilio", &[("delivered", "sent"), (token, "a")]));
}

#[test]
fn signals_are_never_told_apart_for_long() {
    for name in ["mollie", "dropbox"] {
        let found = keys(name, &[]);
        assert!(found.iter().all(|key| key.starts_with("=signal.")), "{name}: {found:?}");
    }
    let without_id = keys("microsoft-graph", &[("\"id\": \"sample\", \"sub", "\"sub")]);
    assert!(without_id[0].starts_with("=signal."), "{without_id:?}");
}

#[test]
fn each_event_of_a_batch_has_its_own_key_wherever_it_comes_again() {
    let event = |id: &str| format!("{{\"id\": \"{id}\"}}");
    let of = |ids: &[&str]| {
        let preset = find("gocardless").unwrap();
        let mut delivery = preset.sample.delivery("sample").unwrap();
        let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
        delivery.body = format!("{{\"events\": [{}]}}", events.join(",")).into();
        super::keys(preset, &verified(preset, delivery))
    };
    assert_eq!(of(&["EV1", "EV2"]), ["EV1", "EV2"]);
    assert_eq!(of(&["EV2", "EV3"]), ["EV2", "EV3"]);
}

#[test]
fn a_delivery_without_what_its_key_is_made_of_is_never_another_ones_copy() {
    // Two of them with other bytes are two events, and a part that is null is none.
    for (name, old, new, other) in [
        ("stripe", "\"evt_sample\"", "null", "7"),
        ("paddle", "\"evt_sample\"", "null", "{}"),
        ("razorpay", "header:x-razorpay-event-id", "", ""),
    ] {
        let one = keys(name, &[(old, new)]);
        assert!(one[0].starts_with('='), "{name}: {one:?}");
        assert_eq!(one == keys(name, &[(old, other)]), new == other, "{name}");
    }
}

/// With no secret set, Cal.com sends this in the signature's place.
#[test]
fn cal_coms_word_for_no_secret_is_no_signature() {
    let preset = find("cal-com").unwrap();
    let mut delivery = preset.sample.delivery("1").unwrap();
    let word = HeaderValue::from_static("no-secret-provided");
    delivery.headers.insert("x-cal-signature-256", word);
    assert_eq!(verdict(&verifier(preset), delivery), Some(Rejection::Malformed));
}
