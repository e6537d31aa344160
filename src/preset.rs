//! What each provider does, as data: one TOML file a provider, embedded.
//!
//! The facts come from the provider's own libraries and documents; each file names them,
//! when they were read, and how sure they are.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use crate::record::Mode;
use crate::{key, time, verify};

mod handshake;
mod sample;
#[cfg(test)]
mod tests;

pub use handshake::{Asked, Asking, Greeting, Handshake, Shape, WrongToken, greet, may_greet};
pub use sample::Sample;

/// What a copy is answered when there is no recorded answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// What becomes of signed content that comes under another key than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayGuard {
    /// Not looked at.
    #[default]
    Off,
    /// Counted and marked, once the event that it came with first is done.
    Flag,
    /// Refused then.
    Refuse,
}

impl ReplayGuard {
    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Flag => "flag",
            Self::Refuse => "refuse",
        }
    }

    /// Whether there is anything to guard: the same signed content can have several keys.
    pub fn is_of_use(verify: &verify::Spec, key: &key::Spec) -> bool {
        verify.signs() && key.parts.iter().any(|part| !verify.covers(part))
    }
}

/// What one provider does, and the defaults that follow from it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The word in settings: lower case with hyphens.
    pub name: String,
    /// The provider's name as it writes it itself.
    pub title: String,
    /// How it signs.
    pub verify: verify::Spec,
    /// How its events are told apart.
    pub key: key::Spec,
    /// Where the events of a delivery are, if it has several.
    #[serde(default)]
    pub batch: Option<key::Batch>,
    /// What it takes for success.
    pub acknowledgement: Acknowledgement,
    /// What it asks of an endpoint itself.
    #[serde(rename = "handshake", default)]
    pub handshakes: Vec<Handshake>,
    /// Whether it sends again what was not answered 2xx.
    pub retries: bool,
    /// Whether the body of the application's answer matters to it.
    #[serde(default)]
    pub answers: bool,
    /// Where a time or a version is that says which of two events is newer, as a part of a key
    /// is written.
    #[serde(default)]
    pub order_hint: Option<String>,
    /// What becomes of its signed content under another key.
    #[serde(default)]
    pub replay_guard: ReplayGuard,
    /// Proxy, or queue where the provider never retries.
    #[serde(deserialize_with = "mode")]
    pub mode: Mode,
    /// How long a concurrent copy may wait: below the provider's own time-out.
    #[serde(deserialize_with = "time::deserialize_duration")]
    pub wait: Duration,
    /// How long a key is kept: past `horizon`.
    #[serde(deserialize_with = "time::deserialize_duration")]
    pub ttl: Duration,
    /// How long after the first delivery a copy may still come, resent by hand included.
    #[serde(deserialize_with = "time::deserialize_duration")]
    pub horizon: Duration,
    /// The largest body it sends, in bytes.
    pub max_body: usize,
    /// A delivery like one of its own.
    pub sample: Sample,
    /// Where this is from.
    pub facts: Facts,
}

/// Where a preset's facts are from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// URLs, the most authoritative first.
    pub sources: Vec<String>,
    /// The month they were read: `2026-11`.
    pub date: String,
    /// How sure they are.
    pub confidence: Confidence,
    /// What an operator should know: traps, above all.
    pub notes: Vec<String>,
    /// What could not be confirmed, and is not relied on where that could lose an event.
    #[serde(default)]
    pub unconfirmed: Vec<String>,
}

/// How sure a preset's facts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Checked against test vectors the provider publishes.
    Vectors,
    /// Read in the provider's own library; it publishes no vectors.
    Library,
    /// Read in its documents only.
    Documents,
    /// Told by others: how it signs could not be read in a text of the provider's own.
    Reports,
}

impl Confidence {
    /// The word in files and output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vectors => "vectors",
            Self::Library => "library",
            Self::Documents => "documents",
            Self::Reports => "reports",
        }
    }
}

impl Preset {
    /// The shortest secret, in bytes, decoded.
    pub fn secret_min(&self) -> usize {
        self.verify.secret_min
    }

    /// Whether the signature covers what the key is made of. Where it does not, whoever holds one
    /// signed request can send it again under another key.
    pub fn signs_its_key(&self) -> bool {
        self.verify.signs() && self.key.parts.iter().all(|part| self.verify.covers(part))
    }

    /// What holds for `provider = "custom"`, whose `verify` must be written in the settings.
    /// It is not among [`all`].
    pub fn custom() -> &'static Self {
        &CUSTOM
    }
}

/// The preset called `name`.
pub fn find(name: &str) -> Option<&'static Preset> {
    all().iter().find(|preset| preset.name == name)
}

/// Every preset, in order of their names.
pub fn all() -> &'static [Preset] {
    &PRESETS
}

const FILES: [&str; 64] = [
    include_str!("presets/adyen-platform.toml"),
    include_str!("presets/adyen-standard.toml"),
    include_str!("presets/aftership.toml"),
    include_str!("presets/auth0.toml"),
    include_str!("presets/aws-sns.toml"),
    include_str!("presets/bigcommerce.toml"),
    include_str!("presets/bitbucket.toml"),
    include_str!("presets/braintree.toml"),
    include_str!("presets/cal-com.toml"),
    include_str!("presets/calendly.toml"),
    include_str!("presets/checkout-com.toml"),
    include_str!("presets/clerk.toml"),
    include_str!("presets/cloudevents.toml"),
    include_str!("presets/cloudevents-binary.toml"),
    include_str!("presets/coinbase-commerce.toml"),
    include_str!("presets/discord-events.toml"),
    include_str!("presets/discord-interactions.toml"),
    include_str!("presets/docusign.toml"),
    include_str!("presets/dropbox.toml"),
    include_str!("presets/easypost.toml"),
    include_str!("presets/github.toml"),
    include_str!("presets/gitlab.toml"),
    include_str!("presets/gitlab-signed.toml"),
    include_str!("presets/gocardless.toml"),
    include_str!("presets/hubspot.toml"),
    include_str!("presets/intercom.toml"),
    include_str!("presets/klarna.toml"),
    include_str!("presets/lemon-squeezy.toml"),
    include_str!("presets/linear.toml"),
    include_str!("presets/mailgun.toml"),
    include_str!("presets/meta.toml"),
    include_str!("presets/microsoft-graph.toml"),
    include_str!("presets/mollie.toml"),
    include_str!("presets/mollie-next.toml"),
    include_str!("presets/okta.toml"),
    include_str!("presets/paddle.toml"),
    include_str!("presets/pagerduty.toml"),
    include_str!("presets/paypal.toml"),
    include_str!("presets/plaid.toml"),
    include_str!("presets/postmark.toml"),
    include_str!("presets/quickbooks.toml"),
    include_str!("presets/razorpay.toml"),
    include_str!("presets/resend.toml"),
    include_str!("presets/segment.toml"),
    include_str!("presets/sendcloud.toml"),
    include_str!("presets/sendgrid.toml"),
    include_str!("presets/sentry.toml"),
    include_str!("presets/shippo.toml"),
    include_str!("presets/shipstation.toml"),
    include_str!("presets/shopify.toml"),
    include_str!("presets/slack.toml"),
    include_str!("presets/square.toml"),
    include_str!("presets/standard-webhooks.toml"),
    include_str!("presets/standard-webhooks-v1a.toml"),
    include_str!("presets/stripe.toml"),
    include_str!("presets/svix.toml"),
    include_str!("presets/twilio.toml"),
    include_str!("presets/typeform.toml"),
    include_str!("presets/vercel.toml"),
    include_str!("presets/wise.toml"),
    include_str!("presets/woocommerce.toml"),
    include_str!("presets/xero.toml"),
    include_str!("presets/zendesk.toml"),
    include_str!("presets/zoom.toml"),
];

/// A file that cannot be read is left out; a test sees to it that none is.
static PRESETS: LazyLock<Vec<Preset>> =
    LazyLock::new(|| FILES.iter().filter_map(|file| toml::from_str(file).ok()).collect());

/// Careful where nothing is known: a short wait, a long memory, and no header to read a
/// signature from until the settings name one.
static CUSTOM: LazyLock<Preset> = LazyLock::new(|| Preset {
    name: "custom".to_owned(),
    title: "Custom".to_owned(),
    verify: verify::Spec::new(verify::Scheme::HmacSha256, ""),
    key: key::Spec::default(),
    batch: None,
    acknowledgement: Acknowledgement { status: 200, body: String::new() },
    handshakes: Vec::new(),
    retries: true,
    answers: false,
    order_hint: None,
    replay_guard: ReplayGuard::Off,
    mode: Mode::Proxy,
    wait: Duration::from_secs(4),
    ttl: Duration::from_hours(35 * 24),
    horizon: Duration::from_hours(30 * 24),
    max_body: 1 << 20,
    sample: Sample {
        headers: BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
        body: "{\"id\":\"{id}\"}".to_owned(),
    },
    facts: Facts {
        sources: Vec::new(),
        date: String::new(),
        confidence: Confidence::Documents,
        notes: Vec::new(),
        unconfirmed: Vec::new(),
    },
});

fn mode<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
    match String::deserialize(from)?.as_str() {
        "proxy" => Ok(Mode::Proxy),
        "queue" => Ok(Mode::Queue),
        other => Err(serde::de::Error::unknown_variant(other, &["proxy", "queue"])),
    }
}
