//! AWS SNS and `PayPal`: what is signed, whose certificates are taken, and that nothing else is.

use secrecy::ExposeSecret as _;

use super::*;
use crate::verify::certified::Issuer;
use crate::verify::place::Request;
use crate::verify::sns;

const NOW: u64 = 1_764_000_000;
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:orders";
const WEBHOOK: &str = "4JH86294D6297924G";

fn certified(name: &str) -> (Verifier, Certificate) {
    let (private, pem) = made();
    let private = Private::from_pem(Scheme::RsaSha256, private.expose_secret()).unwrap();
    let ours = if name == "paypal" { WEBHOOK } else { TOPIC };
    let verifier = verifier(&preset(name), &[]).named(vec![ours.to_owned()]).holding(private);
    (verifier, Certificate::from_pem(pem.as_bytes()).unwrap())
}

fn signed(verifier: &Verifier, mut delivery: Delivery) -> Delivery {
    verifier.sign(&mut delivery, "id-1", seconds(NOW)).unwrap();
    delivery
}

fn sample(name: &str) -> Delivery {
    crate::preset::find(name).unwrap().sample.delivery("7").unwrap()
}

fn changed(mut delivery: Delivery, old: &str, new: &str) -> Delivery {
    let body = str::from_utf8(&delivery.body).unwrap();
    assert!(body.contains(old), "{body}");
    delivery.body = body.replace(old, new).into();
    delivery
}

fn judged(
    verifier: &Verifier,
    delivery: Delivery,
    now: u64,
    certificate: &Certificate,
) -> Result<(), Rejection> {
    verifier.check_by(delivery, seconds(now), Some(certificate)).map(|_verified| ())
}

/// The same both before something is fetched and after.
fn refused(verifier: &Verifier, delivery: &Delivery, now: u64) -> Rejection {
    verifier.certificate(delivery, seconds(now)).unwrap_err()
}

fn message(body: &str) -> Result<String, Rejection> {
    let delivery = delivery(body);
    let message = sns::message(Request::whole(&delivery))?;
    Ok(String::from_utf8(message.concat()).unwrap())
}

#[test]
fn a_notification_of_sns_passes_by_its_certificate_and_by_no_other_key() {
    let (verifier, certificate) = certified("aws-sns");
    let sent = signed(&verifier, sample("aws-sns"));
    let address = verifier.certificate(&sent, seconds(NOW)).unwrap().unwrap();
    assert_eq!(address.host(), "sns.us-east-1.amazonaws.com");
    let path = "/SimpleNotificationService-00000000000000000000000000000000.pem";
    assert_eq!(address.target(), path);
    assert_eq!(judged(&verifier, sent.clone(), NOW, &certificate), Ok(()));
    let (_, other) = certified("aws-sns");
    assert_eq!(judged(&verifier, sent.clone(), NOW, &other), Err(Rejection::Wrong));
    assert_eq!(verdict(&verifier, sent, NOW), Err(Rejection::Wrong), "without a certificate");
    let keyless = super::verifier(&preset("aws-sns"), &[]).named(vec![TOPIC.to_owned()]);
    let mut unsigned = sample("aws-sns");
    assert_eq!(keyless.sign(&mut unsigned, "", seconds(NOW)), Err(Rejection::Unsupported));
}

#[test]
fn every_value_that_sns_signs_is_held_to_it() {
    let (verifier, certificate) = certified("aws-sns");
    let sent = signed(&verifier, sample("aws-sns"));
    for (old, new) in [
        ("\"MessageId\": \"7\"", "\"MessageId\": \"8\""),
        ("An order", "No order"),
        ("\"Subject\": \"An order\", ", ""),
        ("42", "43"),
        ("2025-11-24T16:00:00", "2025-11-24T16:00:01"),
    ] {
        let forged = changed(sent.clone(), old, new);
        assert_eq!(judged(&verifier, forged, NOW, &certificate), Err(Rejection::Wrong), "{old}");
    }
    let spec = preset("aws-sns");
    for key in ["MessageId", "Message", "Timestamp", "TopicArn", "Type"] {
        assert!(spec.covers(&format!("json:/{key}")), "{key}");
    }
    for part in ["json:/MessageAttributes", "json:/Subject", "header:x-amz-sns-message-id"] {
        assert!(!spec.covers(part), "{part}");
    }
    let free = changed(sent, "UnsubscribeURL", "Unsubscribe");
    assert_eq!(judged(&verifier, free, NOW, &certificate), Ok(()), "it is not signed");
}

#[test]
fn the_string_that_sns_signs_is_of_decoded_values_in_order_of_their_keys() {
    let notification = r#"{"Type": "Notification", "Message": "a\n\u00e9\"{}", "MessageId": "1",
        "Subject": "s", "Timestamp": "t", "TopicArn": "arn", "Token": "no", "SubscribeURL": "no"}"#;
    assert_eq!(
        message(notification).unwrap(),
        "Message\na\né\"{}\nMessageId\n1\nSubject\ns\nTimestamp\nt\nTopicArn\narn\nType\nNotification\n"
    );
    let without =
        "Message\na\né\"{}\nMessageId\n1\nTimestamp\nt\nTopicArn\narn\nType\nNotification\n";
    for subject in ["", "\"Subject\": null,"] {
        let body = notification.replace("\"Subject\": \"s\",", subject);
        assert_eq!(message(&body).unwrap(), without);
    }
    for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
        let body = format!(
            r#"{{"Type": "{kind}", "Message": "m", "MessageId": "1", "SubscribeURL": "u",
            "Timestamp": "t", "Token": "k", "TopicArn": "arn", "Subject": "not signed"}}"#
        );
        let signed = format!(
            "Message\nm\nMessageId\n1\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\narn\nType\n{kind}\n"
        );
        assert_eq!(message(&body).unwrap(), signed);
        let missing = body.replace("\"Token\": \"k\",", "");
        assert_eq!(message(&missing), Err(Rejection::Missing));
    }
}

#[test]
fn no_line_of_one_value_is_taken_for_another() {
    // Both would have one string to sign.
    let whole = r#"{"Type": "Notification", "Message": "a\nMessageId\n9\nSubject\nb",
        "MessageId": "1", "Timestamp": "t", "TopicArn": "arn"}"#;
    let split = r#"{"Type": "Notification", "Message": "a", "MessageId": "9",
        "Subject": "b\nMessageId\n1", "Timestamp": "t", "TopicArn": "arn"}"#;
    assert!(message(whole).is_ok());
    assert_eq!(message(split), Err(Rejection::Malformed));
    for (body, reason) in [
        (whole.replace("\"1\"", "1"), Rejection::Malformed),
        (whole.replace("\"1\"", "{}"), Rejection::Malformed),
        (whole.replace("\"1\"", "\"1\", \"MessageId\": \"1\""), Rejection::Repeated),
        (whole.replace("Notification", "Other"), Rejection::Unsupported),
        (whole.replace("\"Type\"", "\"type\""), Rejection::Missing),
    ] {
        assert_eq!(message(&body), Err(reason), "{body}");
    }
}

#[test]
fn only_our_topics_and_only_sha256_are_taken_and_nothing_is_fetched_for_the_rest() {
    let (verifier, certificate) = certified("aws-sns");
    let sent = signed(&verifier, sample("aws-sns"));
    for (change, reason) in [
        (("12:orders", "12:others"), Rejection::Foreign),
        (("us-east-1:", "us-east-2:"), Rejection::Foreign),
        (("\"SignatureVersion\": \"2\"", "\"SignatureVersion\": \"1\""), Rejection::Unsupported),
        (("\"SignatureVersion\": \"2\"", "\"SignatureVersion\": 2"), Rejection::Malformed),
        (("\"SignatureVersion\": \"2\", ", ""), Rejection::Missing),
        (("\"Signature\":", "\"NoSignature\":"), Rejection::Missing),
        (("\"SigningCertURL\":", "\"SigningCertUrl\":"), Rejection::Missing),
    ] {
        let forged = changed(sent.clone(), change.0, change.1);
        assert_eq!(refused(&verifier, &forged, NOW), reason, "{change:?}");
        if !change.0.contains("Cert") {
            assert_eq!(judged(&verifier, forged, NOW, &certificate), Err(reason), "{change:?}");
        }
    }
    let nobody = verifier.clone().named(Vec::new());
    assert_eq!(refused(&nobody, &sent, NOW), Rejection::Foreign);
    // An hour of retries, which keep the time.
    assert_eq!(judged(&verifier, sent.clone(), NOW + 3700, &certificate), Ok(()));
    assert_eq!(refused(&verifier, &sent, NOW + 5401), Rejection::Stale);
    assert_eq!(refused(&verifier, &sent, NOW - 5401), Rejection::Future);
}

#[test]
fn a_certificate_is_the_providers_own_or_nothing_is_fetched() {
    let address = |issuer: Issuer, url: &str| {
        let delivery = match issuer {
            Issuer::Sns => delivery(&serde_json::json!({ "SigningCertURL": url }).to_string()),
            Issuer::Paypal => with(delivery("{}"), &[("paypal-cert-url", url)]),
        };
        issuer.address(Request::whole(&delivery))
    };
    for url in [
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-f3ecfb72.pem",
        "https://sns.us-gov-west-1.amazonaws.com/a.pem",
        "https://sns.cn-north-1.amazonaws.com.cn/a.pem",
    ] {
        let got = address(Issuer::Sns, url).unwrap();
        assert_eq!(format!("https://{}{}", got.host(), got.target()), url);
    }
    for url in [
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "HTTPS://sns.us-east-1.amazonaws.com/a.pem",
        "https://evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/a.pem",
        "https://user@sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com:8443/a.pem",
        "https://sns.us-east-1.amazonaws.com:443/a.pem",
        "https://evil.example#sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com\\@evil.example/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://sns.s3.amazonaws.com/a.pem",
        "https://sns.evil.amazonaws.com/a.pem",
        "https://sns.a.b.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.cn/a.pem",
        "https://sns.cn-north-1.amazonaws.com/a.pem",
        "https://SNS.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com/x/a.pem",
        "https://sns.us-east-1.amazonaws.com/../a.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem?b",
        "https://sns.us-east-1.amazonaws.com/a.pem#b",
        "https://sns.us-east-1.amazonaws.com/%61.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem\r\nx: y",
        "https://sns.us-east-1.amazonaws.com/.pem",
        "https://sns.us-east-1.amazonaws.com/?Action=Publish.pem",
        "https://sns.us-east-1.amazonaws.com/a",
        "https://169.254.169.254/a.pem",
        "//sns.us-east-1.amazonaws.com/a.pem",
        " https://sns.us-east-1.amazonaws.com/a.pem",
    ] {
        assert_eq!(address(Issuer::Sns, url), Err(Rejection::Foreign), "{url}");
    }
    for host in ["api.paypal.com", "api-m.sandbox.paypal.com"] {
        let url = format!("https://{host}/v1/notifications/certs/CERT-360caa42-fca2a594");
        assert_eq!(address(Issuer::Paypal, &url).unwrap().host(), host);
    }
    for url in [
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?x=1",
        "https://api.paypal.com/v1/notifications/certs/../../oauth2/token",
        "https://api.paypal.com/v1/payments/CERT-1",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://sns.us-east-1.amazonaws.com/a.pem",
    ] {
        assert_eq!(address(Issuer::Paypal, url), Err(Rejection::Foreign), "{url}");
    }
}

#[test]
fn a_subscription_is_confirmed_at_an_address_of_our_own() {
    let confirmation = |topic: &str, kind: &str| {
        let (verifier, certificate) = certified("aws-sns");
        let verifier = verifier.named(vec![TOPIC.to_owned(), topic.to_owned()]);
        let body = serde_json::json!({
            "Type": kind, "MessageId": "1", "Token": "2336&x=y z", "TopicArn": topic,
            "Message": "You have chosen", "SubscribeURL": "https://evil.example/",
            "Timestamp": "{timestamp}", "SignatureVersion": "2", "Signature": "{signature}",
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/a.pem",
        });
        let sent = signed(&verifier, delivery(&body.to_string()));
        let verified = verifier.check_by(sent, seconds(NOW), Some(&certificate)).unwrap();
        let address = verifier.confirmation(&verified)?;
        Some(format!("https://{}{}", address.host(), address.target()))
    };
    let china = "arn:aws-cn:sns:cn-north-1:123456789012:orders";
    for (topic, host) in
        [(TOPIC, "sns.us-east-1.amazonaws.com"), (china, "sns.cn-north-1.amazonaws.com.cn")]
    {
        let arn = topic.replace(':', "%3A");
        let url = format!(
            "https://{host}/?Action=ConfirmSubscription&TopicArn={arn}&Token=2336%26x%3Dy%20z"
        );
        assert_eq!(confirmation(topic, "SubscriptionConfirmation"), Some(url));
        assert_eq!(confirmation(topic, "UnsubscribeConfirmation"), None);
    }
    let (verifier, certificate) = certified("aws-sns");
    let sent = signed(&verifier, sample("aws-sns"));
    let event = verifier.check_by(sent, seconds(NOW), Some(&certificate)).unwrap();
    assert_eq!(verifier.confirmation(&event), None);
}

#[test]
fn a_topic_is_written_as_an_arn() {
    for (arn, region) in [
        (TOPIC, Some("us-east-1")),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:a_B-1", Some("us-gov-west-1")),
        ("arn:aws-cn:sns:us-east-1:123456789012:orders", None),
        ("arn:aws:sns:cn-north-1:123456789012:orders", None),
        ("arn:aws:sqs:us-east-1:123456789012:orders", None),
        ("arn:aws:sns:us-east-1:12345678901:orders", None),
        ("arn:aws:sns:us-east-1:123456789012:orders.fifo", None),
        ("arn:aws:sns:us-east-1:123456789012:orders:2c1e", None),
        ("arn:aws:sns:us-east-1:123456789012:", None),
        ("arn:aws:sns:us-east-1.evil.example/:123456789012:orders", None),
        ("orders", None),
    ] {
        assert_eq!(region_of(arn), region, "{arn}");
    }
}

#[test]
fn paypal_signs_our_webhook_the_time_and_the_crc_of_the_body() {
    let (verifier, certificate) = certified("paypal");
    // The check value that every CRC-32 is told by.
    let sent = signed(&verifier, Delivery { body: "123456789".into(), ..sample("paypal") });
    let verified = verifier.check_by(sent, seconds(NOW), Some(&certificate)).unwrap();
    let content = verifier.signed_content(&verified).unwrap();
    let time = verified.delivery().headers["paypal-transmission-time"].to_str().unwrap();
    let message = format!("id-1|{time}|{WEBHOOK}|3421780262");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message.as_bytes());
    assert_eq!(content, hash.as_ref());
    assert_eq!(verified.signed_id(), Some("id-1"));
    assert!(!preset("paypal").covers("json:/id") && !preset("paypal").covers_body());
}

#[test]
fn what_is_not_as_paypal_signed_it_is_refused() {
    let (verifier, certificate) = certified("paypal");
    let sent = signed(&verifier, sample("paypal"));
    let address = verifier.certificate(&sent, seconds(NOW)).unwrap().unwrap();
    assert_eq!(address.host(), "api.paypal.com");
    assert_eq!(judged(&verifier, sent.clone(), NOW, &certificate), Ok(()));
    let wrong = Err(Rejection::Wrong);
    let other = verifier.clone().named(vec!["9XL90610J3647323C".to_owned()]);
    assert_eq!(judged(&other, sent.clone(), NOW, &certificate), wrong, "another's webhook");
    let unnamed = verifier.clone().named(Vec::new());
    assert_eq!(judged(&unnamed, sent.clone(), NOW, &certificate), Err(Rejection::Foreign));
    let tampered = changed(sent.clone(), "20.00", "90.00");
    assert_eq!(judged(&verifier, tampered, NOW, &certificate), wrong);
    assert_eq!(judged(&verifier, sent.clone(), NOW, &certified("paypal").1), wrong);
    for (header, value, reason) in [
        ("paypal-auth-algo", "SHA1withRSA", Rejection::Unsupported),
        ("paypal-auth-algo", "", Rejection::Missing),
        ("paypal-cert-url", "https://evil.example/v1/notifications/certs/a", Rejection::Foreign),
        ("paypal-transmission-time", "yesterday", Rejection::Malformed),
    ] {
        let mut forged = sent.clone();
        forged.headers.insert(header, value.parse().unwrap());
        assert_eq!(refused(&verifier, &forged, NOW), reason, "{header}");
        let mut twice = sent.clone();
        twice.headers.append(header, value.parse().unwrap());
        assert_eq!(refused(&verifier, &twice, NOW), Rejection::Repeated, "{header}");
        let mut without = sent.clone();
        without.headers.remove(header);
        assert_eq!(refused(&verifier, &without, NOW), Rejection::Missing, "{header}");
        assert!(verifier.headers().any(|name| name == header), "{header}");
    }
    let mut moved = sent.clone();
    moved.headers.insert("paypal-transmission-id", "id-1|2".parse().unwrap());
    assert_eq!(judged(&verifier, moved, NOW, &certificate), Err(Rejection::Malformed));
    // As long as copies may come, and no longer.
    assert_eq!(judged(&verifier, sent.clone(), NOW + 30 * 86_400, &certificate), Ok(()));
    assert_eq!(refused(&verifier, &sent, NOW + 30 * 86_400 + 1), Rejection::Stale);
}

#[test]
fn what_a_certificate_signs_is_of_the_presets_alone() {
    let of = |text: &str| Verifier::mistakes(&spec(text));
    for signed in ["{id}.{crc32}", "{webhook_id}.{body}", "{sns}"] {
        let text = format!("scheme = 'hmac-sha256'\nheader = 'x'\nsigned = '{signed}'");
        assert!(!of(&text).is_empty(), "{signed}");
    }
    let error = Verifier::new(&preset("paypal"), vec![secret("sixteen-or-more!")]).unwrap_err();
    assert_eq!(error.field, "secrets");
    assert!(Certificate::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n").is_none());
    assert!(Certificate::from_pem(b"").is_none());
}
