//! A delivery's way through the signature with a host of ours in the provider's place: what is
//! let in, what is refused without asking anybody, and what is told to come again.

use std::sync::Arc;

use http::Method;
use secrecy::{ExposeSecret as _, SecretString};

use super::{confirm, verify};
use crate::clock;
use crate::config::{Config, Environment};
use crate::deliver::{Trust, client};
use crate::gate::Gate;
use crate::gate::tests::site::Site;
use crate::ingress::{Turned, greet};
use crate::telemetry::Outcome;
use crate::verify::{Delivery, Private, Rejection, Scheme, made};

const SNS: &str =
    "provider = \"aws-sns\"\ntopics = [\"arn:aws:sns:us-east-1:123456789012:orders\"]";
const PAYPAL: &str = "provider = \"paypal\"\nwebhook_id = \"4JH86294D6297924G\"";
const SNS_PATH: &str = "/SimpleNotificationService-00000000000000000000000000000000.pem";
const PAYPAL_PATH: &str = "/v1/notifications/certs/CERT-00000000-00000000-00000000";

/// A gateway's source, and the provider.
struct World {
    gate: Gate,
    site: Site,
    private: SecretString,
}

/// What became of a delivery.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    Event,
    Answered(Outcome, u16),
}

impl World {
    async fn new(settings: &str) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("config.toml");
        let text = format!("[sources.x]\ntarget = \"http://127.0.0.1:5000\"\n{settings}\n");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), &Environment::new()).unwrap();
        let source = Arc::clone(config.sources.first().unwrap());
        let trust = Trust::of(client(rustls::RootCertStore::empty()).unwrap());
        let mut gate = Gate::new(source, &[], &trust).unwrap();
        let site = Site::open().await;
        gate.certificates = Some(site.certificates());
        let (private, pem) = made();
        site.has(SNS_PATH, &pem);
        site.has(PAYPAL_PATH, &pem);
        Self { gate, site, private }
    }

    /// The sample, changed, then signed by the provider.
    fn signed(&self, change: impl FnOnce(&mut Delivery)) -> Delivery {
        let source = &self.gate.source;
        let mut delivery = source.sample.delivery("1").unwrap();
        change(&mut delivery);
        let private = Private::from_pem(Scheme::RsaSha256, self.private.expose_secret()).unwrap();
        let signer = source.verifier.clone().holding(private);
        source.sign_by(&signer, &mut delivery, "1", clock::wall()).unwrap();
        delivery
    }

    async fn send(&self, delivery: Delivery) -> Became {
        assert_eq!(delivery.method, Method::POST);
        let answered = async {
            let verified = verify(&self.gate, delivery, (None, clock::wall())).await?;
            confirm(&self.gate, &verified).await?;
            greet(&self.gate, None, verified.delivery(), true)
        };
        match answered.await {
            Ok(()) => Became::Event,
            Err(Turned { reply, .. }) => Became::Answered(reply.outcome, reply.status),
        }
    }

    fn asked(&self) -> usize {
        self.site.asked().len()
    }

    fn last_reason(&self) -> Rejection {
        self.gate.rejections.newest(1).first().unwrap().reason
    }
}

const REJECTED: Became = Became::Answered(Outcome::Rejected, 401);
const UNAVAILABLE: Became = Became::Answered(Outcome::Unavailable, 503);
const GREETED: Became = Became::Answered(Outcome::Handshake, 200);

fn changed(mut delivery: Delivery, old: &str, new: &str) -> Delivery {
    let body = String::from_utf8(delivery.body.to_vec()).unwrap();
    assert!(body.contains(old), "{body}");
    delivery.body = body.replace(old, new).into();
    delivery
}

#[tokio::test]
async fn an_event_and_its_retry_are_let_in_by_one_fetch_and_forgeries_are_not() {
    for (settings, real, forged) in [(SNS, "42", "43"), (PAYPAL, "20.00", "90.00")] {
        let world = World::new(settings).await;
        let event = world.signed(|_| {});
        assert_eq!(world.send(event.clone()).await, Became::Event);
        assert_eq!(world.send(event.clone()).await, Became::Event);
        assert_eq!(world.send(changed(event, real, forged)).await, REJECTED);
        assert_eq!(world.last_reason(), Rejection::Wrong);
        assert_eq!(world.asked(), 1);
    }
}

#[tokio::test]
async fn what_names_a_certificate_of_its_own_is_refused_and_nobody_is_asked() {
    let world = World::new(SNS).await;
    let event = world.signed(|_| {});
    let host = "https://sns.us-east-1.amazonaws.com/Simple";
    for (old, new, reason) in [
        (host, "https://evil.example/Simple", Rejection::Foreign),
        (host, "http://sns.us-east-1.amazonaws.com/Simple", Rejection::Foreign),
        (host, "https://127.0.0.1/Simple", Rejection::Foreign),
        ("012:orders\", \"Subject", "012:others\", \"Subject", Rejection::Foreign),
        ("\"SignatureVersion\": \"2\"", "\"SignatureVersion\": \"1\"", Rejection::Unsupported),
        ("\"Timestamp\": ", "\"Timestamp\": \"2020-01-01T00:00:00Z\", \"Was\": ", Rejection::Stale),
    ] {
        assert_eq!(world.send(changed(event.clone(), old, new)).await, REJECTED, "{new}");
        assert_eq!(world.last_reason(), reason, "{new}");
    }
    assert_eq!(world.asked(), 0);
    let world = World::new(PAYPAL).await;
    let mut event = world.signed(|_| {});
    let evil = format!("https://evil.example{PAYPAL_PATH}");
    event.headers.insert("paypal-cert-url", evil.parse().unwrap());
    assert_eq!(world.send(event).await, REJECTED);
    assert_eq!((world.asked(), world.last_reason()), (0, Rejection::Foreign));
}

#[tokio::test]
async fn while_the_certificate_cannot_be_had_nothing_is_let_in_and_nothing_refused() {
    for settings in [SNS, PAYPAL] {
        let world = World::new(settings).await;
        let event = world.signed(|_| {});
        let redirect = b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
        for path in [SNS_PATH, PAYPAL_PATH] {
            world.site.answer(path, redirect);
        }
        assert_eq!(world.send(event.clone()).await, UNAVAILABLE);
        assert_eq!(world.send(event).await, UNAVAILABLE);
        assert_eq!(world.asked(), 1);
        assert!(world.gate.rejections.newest(1).is_empty());
    }
}

/// What SNS sends when a subscription begins or ends.
fn confirmation(world: &World, kind: &str) -> Delivery {
    world.signed(|delivery| {
        let told = serde_json::json!({
            "Type": kind, "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b", "Token": "2336412f",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:orders",
            "Message": "You have chosen to subscribe to the topic.",
            "SubscribeURL": "https://evil.example/?Action=ConfirmSubscription",
            "Timestamp": "{timestamp}", "SignatureVersion": "2", "Signature": "{signature}",
            "SigningCertURL": format!("https://sns.us-east-1.amazonaws.com{SNS_PATH}"),
        });
        delivery.body = told.to_string().into();
    })
}

#[tokio::test]
async fn a_subscription_is_confirmed_by_a_call_of_our_own_and_is_no_event() {
    let world = World::new(SNS).await;
    let url = "/?Action=ConfirmSubscription&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3Aorders&Token=2336412f";
    let asked = confirmation(&world, "SubscriptionConfirmation");
    assert_eq!(world.send(asked.clone()).await, UNAVAILABLE, "AWS said 404");
    world.site.has(url, "<ConfirmSubscriptionResponse/>");
    assert_eq!(world.send(asked.clone()).await, GREETED);
    let calls = ["sns.us-east-1.amazonaws.com"; 2].map(|host| format!("{host}{url}"));
    assert_eq!(world.site.asked()[1..], calls);

    let forged = changed(asked.clone(), "2336412f", "2336412e");
    assert_eq!(world.send(forged).await, REJECTED);
    let of_another = changed(asked, "012:orders", "012:others");
    assert_eq!(world.send(of_another).await, REJECTED);
    let ended = confirmation(&world, "UnsubscribeConfirmation");
    assert_eq!(world.send(ended).await, GREETED);
    assert_eq!(world.asked(), 3, "no further call");
}
