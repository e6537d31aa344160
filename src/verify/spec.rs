//! What a provider signs and how it writes it down, as data: `[sources.NAME.verify]` and the
//! same table of a preset.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde::Deserialize;

use super::sns;
use crate::time::{self, Millis};

/// A signature scheme. Only `scheme` and `header` are needed.
///
/// A scheme whose header set has two names is written once: `header = "*-signature"`,
/// `timestamp = "header:*-timestamp"`, `id = "header:*-id"`, `families = ["svix", "webhook"]`. The
/// first family of which every header is there is used, whole; headers of two families are
/// never mixed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The algorithm; nothing in a request can choose another.
    pub scheme: Scheme,
    /// The header that carries the signature; `*` stands for the family, `#` for a number from
    /// 1 to 16.
    #[serde(default)]
    pub header: String,
    /// Where the signature is if it is in no header: `json:/pointer`, `form:NAME`; a token also
    /// `query:NAME`.
    #[serde(default)]
    pub signature: Option<String>,
    /// Whether the header may be sent several times, with a signature each.
    #[serde(default)]
    pub repeats: bool,
    /// What `*` stands for in the names of headers, in order of preference.
    #[serde(default)]
    pub families: Vec<String>,
    /// How the header is written.
    #[serde(default)]
    pub layout: Layout,
    /// The key (`pairs`) or the version (`versioned`) of the signatures that count.
    #[serde(default)]
    pub version: String,
    /// What separates the items of `pairs`: a comma unless stated.
    #[serde(default = "comma")]
    pub separator: char,
    /// How the bytes of a signature are written.
    #[serde(default)]
    pub encoding: Encoding,
    /// What a `plain` signature begins with, such as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// What is signed: text with `{body}`, `{timestamp}`, `{id}`, `{header:NAME}`, `{method}`,
    /// `{url}`, `{json:/pointer}`, `{form:NAME}`, `{query:NAME}`. `{json?:..}` is empty where
    /// nothing is there, `{json*:..}` also may contain the text beside it; these are texts, and
    /// `{number:/pointer}` is a number. `{twilio}` and `{sns}`
    /// stand alone; `{webhook_id}` and `{crc32}` are `PayPal`'s.
    #[serde(default = "body")]
    pub signed: String,
    /// The shortest message that counts, in bytes: where a provider has us sign short texts for a
    /// handshake with the same key, none of those is an event.
    #[serde(default)]
    pub signed_min: usize,
    /// Where the timestamp is: `header:NAME`, `key:NAME` of `pairs`, `json:/pointer` or
    /// `form:NAME`.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// How it is written.
    #[serde(default)]
    pub timestamp_format: Stamp,
    /// Where the signed id is: `header:NAME`.
    #[serde(default)]
    pub id: Option<String>,
    /// Where the id of the key that signed is: `header:NAME`. Secrets with another id are not
    /// tried.
    #[serde(default)]
    pub key_id: Option<String>,
    /// A JSON pointer to an array whose elements are signed each by itself: what is read from
    /// JSON is then read from the element, and `{body}` is the element. All of them must pass.
    #[serde(default)]
    pub each: Option<String>,
    /// How far the timestamp may be from now, either way; `5m` unless stated.
    #[serde(default, deserialize_with = "time::deserialize_duration")]
    pub tolerance: Option<Duration>,
    /// How a configured secret is written.
    #[serde(default)]
    pub secret_format: SecretFormat,
    /// Removed from a configured secret before it is decoded, if it is there.
    #[serde(default)]
    pub secret_prefix: String,
    /// The shortest secret, in bytes, decoded.
    #[serde(default = "shortest")]
    pub secret_min: usize,
}

fn comma() -> char {
    ','
}

fn body() -> String {
    "{body}".to_owned()
}

fn shortest() -> usize {
    16
}

impl Spec {
    /// The default tolerance: that of Stripe's, Svix's and Slack's own libraries.
    pub const TOLERANCE: Duration = Duration::from_mins(5);

    /// A plain signature in `header`, everything else as by default.
    pub fn new(scheme: Scheme, header: &str) -> Self {
        Self {
            scheme,
            header: header.to_owned(),
            signature: None,
            repeats: false,
            families: Vec::new(),
            layout: Layout::default(),
            version: String::new(),
            separator: comma(),
            encoding: Encoding::default(),
            prefix: String::new(),
            signed: body(),
            signed_min: 0,
            timestamp: None,
            timestamp_format: Stamp::default(),
            id: None,
            key_id: None,
            each: None,
            tolerance: None,
            secret_format: SecretFormat::default(),
            secret_prefix: String::new(),
            secret_min: shortest(),
        }
    }

    /// Whether everything passes: the scheme is `none`, and there are no secrets.
    pub fn is_open(&self) -> bool {
        self.scheme == Scheme::None
    }

    /// Whether anything is signed.
    pub fn signs(&self) -> bool {
        self.scheme.algorithm().is_some()
    }

    /// Whether the message names `piece`, without its braces.
    fn names(&self, piece: &str) -> bool {
        self.signed.contains(&format!("{{{piece}}}"))
    }

    /// Whether the signature covers the URL that was called, which `public_url` begins.
    pub fn signs_url(&self) -> bool {
        self.names("url") || self.names("twilio")
    }

    /// Whether the signature covers the whole body. Where it does not, whoever holds one signed
    /// request can change the rest.
    pub fn covers_body(&self) -> bool {
        self.signs() && (self.names("body") || self.names("twilio"))
    }

    /// Whether the signature covers this part of a key. Where it does not, whoever holds one
    /// signed request can send it again under another key.
    pub fn covers(&self, part: &str) -> bool {
        if self.scheme == Scheme::AwsSns {
            return part.strip_prefix("json:/").is_some_and(sns::signs);
        }
        let (kind, _) = part.split_once(':').unwrap_or_default();
        // The names of headers alone are the same in any case.
        let alike = |one: &str| one == part || kind == "header" && one.eq_ignore_ascii_case(part);
        let same = |place: &Option<String>| place.as_deref().is_some_and(alike);
        let pieces = || self.signed.split('{').filter_map(|rest| rest.split('}').next());
        let named = || {
            pieces().any(|piece| {
                let (word, place) = piece.split_once(':').unwrap_or_default();
                let word = word.trim_end_matches(['?', '*']);
                let word = if word == "number" { "json" } else { word };
                alike(&format!("{word}:{place}"))
            })
        };
        self.signs()
            && (same(&self.id)
                || same(&self.timestamp)
                || named()
                || match kind {
                    // Twilio writes fields without anything between them.
                    "form" => self.covers_body() && !self.names("twilio"),
                    "json" => self.covers_body(),
                    "query" => self.signs_url(),
                    "header" => false,
                    // What a scheme reads beside the body is signed.
                    _ => true,
                })
    }

    /// How the timestamp is written, if there is one to be written otherwise.
    pub(super) fn stamp(&self) -> Result<Stamp, SpecError> {
        if self.timestamp.is_none() && self.timestamp_format != Stamp::default() {
            let why = "needs `timestamp` to say where that is";
            return Err(SpecError::new("timestamp_format", why));
        }
        Ok(self.timestamp_format)
    }

    /// The tolerance in seconds, checked.
    pub(super) fn tolerance_seconds(&self) -> Result<u64, SpecError> {
        let wrong = |problem| Err(SpecError::new("tolerance", problem));
        match self.tolerance {
            Some(_) if self.timestamp.is_none() => wrong("needs `timestamp` to say where that is"),
            // In Stripe's libraries 0 turns the check off, which would surprise.
            Some(short) if short < Duration::from_secs(1) => wrong("must be at least 1s"),
            Some(tolerance) => Ok(tolerance.as_secs()),
            None => Ok(Self::TOLERANCE.as_secs()),
        }
    }
}

/// The algorithm of a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Scheme {
    /// `hmac-sha256`.
    HmacSha256,
    /// `hmac-sha1`: only for providers that have nothing better; still unbroken as a MAC.
    HmacSha1,
    /// `hmac-sha512`.
    HmacSha512,
    /// `ed25519`: the secret is the provider's public key.
    Ed25519,
    /// `ecdsa-p256-sha256`: the secret is the provider's public key.
    EcdsaP256Sha256,
    /// `rsa-sha256`, PKCS#1 v1.5: the secret is the provider's public key.
    RsaSha256,
    /// `jwt-es256`: a header has a token that is signed and says the body's SHA-256; the secrets
    /// are the provider's public keys, by their ids.
    JwtEs256,
    /// `aws-sns`: RSA, by the key in a certificate of AWS. Of the preset alone.
    AwsSns,
    /// `paypal`: RSA, by the key in a certificate of `PayPal`. Of the preset alone.
    Paypal,
    /// `token`: the request has the secret itself, and nothing is signed.
    Token,
    /// `basic`: the secret is a user and a password, and nothing is signed.
    Basic,
    /// `none`: everything passes.
    None,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 12] = [
        Self::HmacSha256,
        Self::HmacSha1,
        Self::HmacSha512,
        Self::Ed25519,
        Self::EcdsaP256Sha256,
        Self::RsaSha256,
        Self::JwtEs256,
        Self::AwsSns,
        Self::Paypal,
        Self::Token,
        Self::Basic,
        Self::None,
    ];

    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha512 => "hmac-sha512",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaSha256 => "rsa-sha256",
            Self::JwtEs256 => "jwt-es256",
            Self::AwsSns => "aws-sns",
            Self::Paypal => "paypal",
            Self::Token => "token",
            Self::Basic => "basic",
            Self::None => "none",
        }
    }

    /// Whether the secret is a public key: who has it can check, and cannot sign.
    pub fn is_asymmetric(self) -> bool {
        matches!(self, Self::Ed25519 | Self::EcdsaP256Sha256 | Self::RsaSha256 | Self::JwtEs256)
    }

    /// Whether the key is in a certificate that is fetched from the provider: there is no secret.
    pub fn is_certified(self) -> bool {
        matches!(self, Self::AwsSns | Self::Paypal)
    }

    /// The keyed hash; nothing for the other schemes.
    pub(super) fn hmac(self) -> Option<hmac::Algorithm> {
        match self.algorithm() {
            Some(Algorithm::Hmac(algorithm)) => Some(algorithm),
            Some(
                Algorithm::Ed25519 | Algorithm::Ecdsa | Algorithm::EcdsaFixed | Algorithm::Rsa,
            )
            | None => None,
        }
    }

    /// What makes a signature; nothing where nothing is signed.
    pub(super) fn algorithm(self) -> Option<Algorithm> {
        Some(match self {
            Self::HmacSha256 => Algorithm::Hmac(hmac::HMAC_SHA256),
            Self::HmacSha1 => Algorithm::Hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::HmacSha512 => Algorithm::Hmac(hmac::HMAC_SHA512),
            Self::Ed25519 => Algorithm::Ed25519,
            Self::EcdsaP256Sha256 => Algorithm::Ecdsa,
            Self::JwtEs256 => Algorithm::EcdsaFixed,
            Self::RsaSha256 | Self::AwsSns | Self::Paypal => Algorithm::Rsa,
            Self::Token | Self::Basic | Self::None => return None,
        })
    }
}

/// What makes a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// A keyed hash.
    Hmac(hmac::Algorithm),
    Ed25519,
    /// Over P-256 and SHA-256, written in DER.
    Ecdsa,
    /// The same, its two numbers beside each other.
    EcdsaFixed,
    /// PKCS#1 v1.5 over SHA-256.
    Rsa,
}

impl TryFrom<String> for Scheme {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|scheme| scheme.word() == word).ok_or_else(|| {
            let free = Self::ALL.iter().filter(|scheme| !scheme.is_certified());
            let known: Vec<_> = free.map(|scheme| scheme.word()).collect();
            format!("unknown scheme \"{word}\": there are {}", known.join(", "))
        })
    }
}

/// How a signature header is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One signature after the prefix: GitHub, Slack, Shopify.
    #[default]
    Plain,
    /// `t=1614265330,v1=<signature>,v1=<signature>,v0=..`: Stripe, Paddle. Unknown keys are ignored.
    Pairs,
    /// `v1,<signature> v1a,<signature>`: Standard Webhooks. Unknown versions are ignored.
    Versioned,
    /// `<key's id>|<signature>&<key's id>|<signature>`: Braintree.
    Piped,
}

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stamp {
    /// Seconds since the Unix epoch, in digits.
    #[default]
    Seconds,
    /// Milliseconds since the Unix epoch, in digits.
    Millis,
    /// RFC 3339: `2026-11-24T12:00:00Z`.
    Rfc3339,
}

impl Stamp {
    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "millis",
            Self::Rfc3339 => "rfc3339",
        }
    }

    /// The moment that `text` tells, in seconds since the epoch.
    pub(super) fn read(self, text: &str) -> Option<u64> {
        let digits = || {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // No sign, no space, no fraction; nor a zero that may be of what is before it.
            let plain = plain && (text == "0" || !text.starts_with('0'));
            if plain { text.parse::<u64>().ok() } else { None }
        };
        match self {
            Self::Seconds => digits(),
            Self::Millis => digits().map(|millis| millis / 1000),
            Self::Rfc3339 if is_plain(text) => time::moment(text).map(|at| at.0 / 1000),
            Self::Rfc3339 => None,
        }
    }

    /// Writes `now` as [`Stamp::read`] reads it.
    pub(super) fn write(self, now: Millis) -> String {
        match self {
            Self::Seconds => (now.0 / 1000).to_string(),
            Self::Millis => now.0.to_string(),
            Self::Rfc3339 => now.to_string(),
        }
    }
}

/// Whether `text` is written like `2026-11-24T12:00:00.5+01:00` or ends in `Z`, and not in one of
/// the other ways to write the same moment: of two ways, one may be the beginning of the other,
/// and what is behind it would be taken for the body.
fn is_plain(text: &str) -> bool {
    let shape = |text: &str| -> String {
        text.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect()
    };
    let shape = shape(text);
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches('0'),
        None => rest,
    };
    matches!(zone, "Z" | "+00:00" | "-00:00") && !rest.starts_with(&format!(".{zone}"))
}

/// How the bytes of a signature are written. One spelling each, so that no byte of a
/// signature can be changed and still pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower case, as every provider with a preset writes it.
    #[default]
    Hex,
    /// Upper case.
    HexUpper,
    /// The standard alphabet, with padding.
    Base64,
    /// The alphabet for URLs, without padding.
    Base64url,
}

/// How a configured secret is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretFormat {
    /// Its bytes are the secret.
    #[default]
    Utf8,
    /// The standard alphabet; padding may be left out.
    Base64,
    /// Either case.
    Hex,
    /// The bytes of its Unicode normal form NFKD: `EasyPost`.
    Nfkd,
    /// Its bytes with `&amp;`, `&lt;`, `&gt;`, `&quot;` and `&#039;` decoded: `WooCommerce`.
    Html,
    /// The SHA-1 of its bytes: Braintree.
    Sha1,
}

/// Why a spec or its secrets cannot be used. Never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The setting at fault: a field of the spec, or `secrets`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl SpecError {
    /// `field` is at fault, because it `problem`.
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.problem)
    }
}

impl std::error::Error for SpecError {}
