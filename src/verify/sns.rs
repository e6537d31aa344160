//! What AWS SNS signs: some keys of its JSON, each with its value, a line each. No template says
//! that.
//!
//! Facts: `MessageValidator.php` of AWS's PHP library.
//!
//! A line has no end of its own, so what one value says could be taken for two. AWS writes line
//! breaks into `Message` alone; with that one free value every message is read in one way.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Rejection;
use super::certified::Address;
use super::place::Request;
use super::template::Message;
use crate::key::Unkeyed;
use crate::key::json::{Scalar, find_any};

/// What is signed of a notification, in order; `Subject` may be missing.
const NOTIFICATION: [&str; 6] =
    ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
/// What is signed of a subscription's confirmation, and of its end's.
const CONFIRMATION: [&str; 7] =
    ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

/// What is not written as it is in a query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The one version that is taken: SHA-256. Version 1 is SHA-1, of which two messages with one
/// hash can be made.
const VERSION: &str = "2";

/// Whether the value of `key` is signed in every message.
pub(super) fn signs(key: &str) -> bool {
    NOTIFICATION.contains(&key) && CONFIRMATION.contains(&key)
}

/// The message that was signed.
pub(super) fn message(request: Request<'_>) -> Result<Message<'_>, Rejection> {
    let kind = needed(request, "Type")?;
    let keys = match kind.as_ref() {
        "Notification" => NOTIFICATION.as_slice(),
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => CONFIRMATION.as_slice(),
        _ => return Err(Rejection::Unsupported),
    };
    let mut message: Message<'_> = Vec::with_capacity(4 * keys.len());
    for key in keys {
        let value = match text(request, key)? {
            Some(value) => value,
            None if *key == "Subject" => continue,
            None => return Err(Rejection::Missing),
        };
        if *key != "Message" && value.contains('\n') {
            return Err(Rejection::Malformed);
        }
        let value = match value {
            Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
            Cow::Owned(value) => Cow::Owned(value.into_bytes()),
        };
        let line = || Cow::Borrowed(b"\n".as_slice());
        message.extend([Cow::Borrowed(key.as_bytes()), line(), value, line()]);
    }
    Ok(message)
}

/// Whether the message says that it is of one of `topics`, and signed as is taken here.
pub(super) fn allows(topics: &[String], request: Request<'_>) -> Result<(), Rejection> {
    let topic = needed(request, "TopicArn")?;
    if !topics.iter().any(|ours| *ours == topic) {
        return Err(Rejection::Foreign);
    }
    if needed(request, "SignatureVersion")? == VERSION {
        Ok(())
    } else {
        Err(Rejection::Unsupported)
    }
}

/// Where it says that the certificate is.
pub(super) fn certificate(request: Request<'_>) -> Result<Cow<'_, str>, Rejection> {
    needed(request, "SigningCertURL")
}

/// The call that confirms a subscription, if the message asks for that. Not the one that the
/// message brings.
pub(super) fn confirmation(topics: &[String], request: Request<'_>) -> Option<Address> {
    if text(request, "Type").ok()?? != "SubscriptionConfirmation" {
        return None;
    }
    let arn = text(request, "TopicArn").ok()??;
    let region = topics.iter().find(|topic| **topic == arn).and_then(|topic| region_of(topic))?;
    let token = text(request, "Token").ok()??;
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let (arn, token) = (encoded(&arn), encoded(&token));
    let target = format!("/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}");
    Some(Address::new(host(region), target))
}

/// The region of a topic, if `arn` is that of one that can call an endpoint:
/// `arn:aws:sns:eu-central-1:123456789012:orders`.
pub fn region_of(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let head = [parts.next()?, parts.next()?, parts.next()?];
    let [region, account, name] = [parts.next()?, parts.next()?, parts.next()?];
    let ours = match head {
        ["arn", "aws", "sns"] => !region.starts_with("cn-") && !region.starts_with("us-gov-"),
        ["arn", "aws-cn", "sns"] => region.starts_with("cn-"),
        ["arn", "aws-us-gov", "sns"] => region.starts_with("us-gov-"),
        _ => false,
    };
    let numbered = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let named = (1..=256).contains(&name.len()) && name.bytes().all(letter);
    let whole = parts.next().is_none();
    (ours && numbered && named && whole && is_region(region)).then_some(region)
}

/// The host of SNS in `region`.
fn host(region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("sns.{region}.amazonaws.com{china}")
}

/// Whether `host` is that of SNS in some region.
pub(super) fn is_host(text: &str) -> bool {
    let region = text.strip_prefix("sns.").and_then(|rest| rest.split('.').next());
    region.is_some_and(|region| is_region(region) && host(region) == text)
}

/// Whether `text` is written as regions are: `us-east-1`, `us-gov-west-1`. AWS's own rule, any
/// letters and digits, also takes `sns.s3-us-west-2.amazonaws.com`, which is anybody's bucket.
fn is_region(text: &str) -> bool {
    let all = |part: &str, fits: fn(&u8) -> bool| {
        (1..=20).contains(&part.len()) && part.as_bytes().iter().all(fits)
    };
    let parts: Vec<_> = text.split('-').collect();
    let [land, places @ .., number] = parts.as_slice() else { return false };
    land.len() == 2
        && all(land, u8::is_ascii_lowercase)
        && (1..=2).contains(&places.len())
        && places.iter().all(|place| all(place, u8::is_ascii_lowercase))
        && all(number, u8::is_ascii_digit)
}

fn needed<'a>(request: Request<'a>, key: &str) -> Result<Cow<'a, str>, Rejection> {
    text(request, key)?.ok_or(Rejection::Missing)
}

/// The text at `key`: nothing else may be there.
fn text<'a>(request: Request<'a>, key: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
    match find_any(request.body, &[key.to_owned()]) {
        Ok(Some(Scalar::Text(text))) => Ok(Some(text)),
        Ok(None) | Err(Unkeyed::Missing | Unkeyed::NoBody) => Ok(None),
        Err(Unkeyed::Repeated) => Err(Rejection::Repeated),
        Ok(Some(Scalar::Token(_)))
        | Err(
            Unkeyed::Empty
            | Unkeyed::NotScalar
            | Unkeyed::NotArray
            | Unkeyed::Broken
            | Unkeyed::TooDeep
            | Unkeyed::TooMany,
        ) => Err(Rejection::Malformed),
    }
}
