//! What each provider asks of an endpoint, and what it is answered; and that nothing else is
//! taken for that.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::verify::Delivery;

const TOKEN: &[u8] = b"our own word to them";

/// A request as `POST /?query`, with headers as `Name: value`.
fn asks(method: &str, query: &str, headers: &[(&str, &str)], body: &str) -> Delivery {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    Delivery {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        query: Some(query.to_owned()).filter(|query| !query.is_empty()),
        headers: map,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// What a request is answered whose signature was checked, or was not.
fn told(name: &str, delivery: &Delivery, verified: bool) -> Option<Result<Greeting, WrongToken>> {
    let preset = find(name).unwrap();
    let (verifier, token) = (verifier(preset), SecretSlice::from(TOKEN.to_vec()));
    let asked = Asked { delivery, verified, verifier: &verifier, token: Some(&token) };
    greet(&preset.handshakes, asked)
}

fn unsigned(name: &str, delivery: &Delivery) -> Option<String> {
    told(name, delivery, false).map(|greeting| greeting.unwrap().body)
}

#[test]
fn a_challenge_by_get_is_echoed() {
    let dropbox = asks("GET", "challenge=a%26b+c", &[], "");
    assert_eq!(unsigned("dropbox", &dropbox).unwrap(), "a&b c");
    assert_eq!(told("dropbox", &dropbox, true), None);
    let greeting = told("dropbox", &dropbox, false).unwrap().unwrap();
    let nosniff = ("x-content-type-options".to_owned(), "nosniff".to_owned());
    assert!(greeting.headers.contains(&nosniff), "what is echoed is no page");
    assert_eq!(unsigned("dropbox", &asks("GET", "challenge=", &[], "")), None);
    assert_eq!(unsigned("dropbox", &asks("POST", "challenge=a", &[], "")), None);
    let long = format!("challenge={}", "x".repeat(1025));
    assert_eq!(unsigned("dropbox", &asks("GET", &long, &[], "")), None);

    let okta = asks("GET", "", &[("x-okta-verification-challenge", "a\"b")], "");
    assert_eq!(unsigned("okta", &okta).unwrap(), r#"{"verification":"a\"b"}"#);
    let graph = asks("POST", "validationToken=Validation%3a+Testing", &[], "");
    assert_eq!(unsigned("microsoft-graph", &graph).unwrap(), "Validation: Testing");
    let notification = asks("POST", "validationToken=a", &[], "{\"value\":[]}");
    assert_eq!(unsigned("microsoft-graph", &notification), None, "it has a body");
}

#[test]
fn meta_is_answered_only_if_it_knows_our_word() {
    let asked = |token: &str| {
        let query = format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        asks("GET", &query, &[], "")
    };
    let right = asked("our+own+word+to+them");
    assert_eq!(unsigned("meta", &right).unwrap(), "1158201444");
    for wrong in ["", "our+own+word+to+the", "our+own+word+to+them2"] {
        assert_eq!(told("meta", &asked(wrong), false), Some(Err(WrongToken)), "{wrong}");
    }
    let twice = asked("our+own+word+to+them&hub.verify_token=x");
    assert_eq!(told("meta", &twice, false), Some(Err(WrongToken)));
    // Without a word of ours nobody knows it.
    let preset = find("meta").unwrap();
    let verifier = verifier(preset);
    let asked = Asked { delivery: &right, verified: false, verifier: &verifier, token: None };
    assert_eq!(greet(&preset.handshakes, asked), Some(Err(WrongToken)));
}

/// `tests/unit/test_webhooks.py` of Braintree's Python library.
#[test]
fn braintrees_challenge_is_answered_and_no_payload_is_signed_for_anybody() {
    let preset = find("braintree").unwrap();
    let secret = Secret {
        value: SecretSlice::from(b"integration_private_key".to_vec()),
        id: Some("integration_public_key".to_owned()),
    };
    let verifier = Verifier::new(&preset.verify, vec![secret]).unwrap();
    let answer = |challenge: &str| {
        let delivery = asks("GET", &format!("bt_challenge={challenge}"), &[], "");
        let asked =
            Asked { delivery: &delivery, verified: false, verifier: &verifier, token: None };
        greet(&preset.handshakes, asked).map(|greeting| greeting.unwrap().body)
    };
    assert_eq!(
        answer("20f9f8ed05f77439fe955c977e4c8a53").unwrap(),
        "integration_public_key|d9b899556c966b3f06945ec21311865d35df3ce4"
    );
    for other in ["20F9F8ED05F77439FE955C977E4C8A53", "20f9f8ed05f77439fe9", "PG5vdGlmaWNhdGlvbj4="]
    {
        assert_eq!(answer(other), None, "{other}");
    }
    assert_eq!(answer(&"0".repeat(33)), None);
}

#[test]
fn zooms_token_is_answered_with_its_hmac_once_it_is_signed() {
    let body =
        r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    let zoom = asks("POST", "", &[], body);
    assert_eq!(told("zoom", &zoom, false), None, "not before its signature was checked");
    let answer = told("zoom", &zoom, true).unwrap().unwrap().body;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
    let hmac = verifier(find("zoom").unwrap()).mac("qgg8vlvZRS6UYooatFL8Aw").unwrap();
    assert_eq!(answer["encryptedToken"], hmac);
    assert_eq!(hmac.len(), 64);
}

#[test]
fn a_sender_of_cloudevents_is_allowed_the_origin_it_names() {
    let asked = asks("OPTIONS", "", &[("webhook-request-origin", "eventemitter.example.com")], "");
    for name in ["cloudevents", "cloudevents-binary"] {
        let greeting = told(name, &asked, false).unwrap().unwrap();
        let origin = ("WebHook-Allowed-Origin".to_owned(), "eventemitter.example.com".to_owned());
        assert!(greeting.headers.contains(&origin), "{greeting:?}");
        assert_eq!(told(name, &asks("OPTIONS", "", &[], ""), false), None);
    }
}

#[test]
fn woocommerces_ping_is_nothing_but_its_number() {
    let ping = |body: &str| unsigned("woocommerce", &asks("POST", "", &[], body));
    assert_eq!(ping("webhook_id=7").as_deref(), Some(""));
    for body in
        ["webhook_id=7&a=b", "webhook_id=seven", "webhook_id=", "webhook_id=7&webhook_id=7", "{}"]
    {
        assert_eq!(ping(body), None, "{body}");
    }
}

/// "Type numbers differ between the two."
#[test]
fn discords_two_pings_are_answered_each_in_its_way() {
    let ping = |kind: u8| asks("POST", "", &[], &format!("{{\"type\":{kind}}}"));
    let answer = |name, kind| told(name, &ping(kind), true).map(|greeting| greeting.unwrap());
    let interaction = answer("discord-interactions", 1).unwrap();
    assert_eq!((interaction.status, interaction.body.as_str()), (200, "{\"type\":1}"));
    assert_eq!(answer("discord-interactions", 0), None);
    let event = answer("discord-events", 0).unwrap();
    assert_eq!((event.status, event.body.as_str()), (204, ""));
    assert_eq!(answer("discord-events", 1), None);
    assert_eq!(told("discord-events", &ping(0), false), None, "pings are signed");
}

#[test]
fn wises_test_is_answered_once_it_is_signed() {
    let test = asks("POST", "", &[("x-test-notification", "true")], "{}");
    assert!(told("wise", &test, true).is_some());
    assert_eq!(told("wise", &test, false), None);
    assert_eq!(told("wise", &asks("POST", "", &[], "{}"), true), None);
}
