//! From configured secrets to keys. The decoded bytes are wiped; a key keeps its own state.

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};
use unicode_normalization::UnicodeNormalization as _;

use super::spec::{Algorithm, Scheme, SecretFormat, Spec, SpecError};

/// A secret as configured, still in its format. Its `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The secret, or a public key.
    pub value: SecretSlice<u8>,
    /// What the provider calls it, where a request says which one signed.
    pub id: Option<String>,
}

impl From<SecretSlice<u8>> for Secret {
    fn from(value: SecretSlice<u8>) -> Self {
        Self { value, id: None }
    }
}

/// What a signature is checked with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// What the provider calls it.
    pub(super) id: Option<String>,
    pub(super) kind: KeyKind,
}

#[derive(Clone, Debug)]
pub(super) enum KeyKind {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// A key for each secret.
pub(super) fn keys(spec: &Spec, secrets: Vec<Secret>) -> Result<Vec<Key>, SpecError> {
    if let Some(algorithm) = spec.scheme.hmac() {
        let ids: Vec<_> = secrets.iter().map(|secret| secret.id.clone()).collect();
        let key = |secret: &SecretSlice<u8>| hmac::Key::new(algorithm, secret.expose_secret());
        let keys = decoded(spec, secrets)?;
        let keyed = keys.iter().map(|secret| KeyKind::Hmac(Box::new(key(secret)))).zip(ids);
        return Ok(keyed.map(|(kind, id)| Key { id, kind }).collect());
    }
    if spec.scheme.is_certified() && !secrets.is_empty() {
        let why = "must be absent: the key is in a certificate that is fetched";
        return Err(SpecError::new("secrets", why));
    }
    if secrets.is_empty() && !spec.scheme.is_certified() {
        return Err(SpecError::new("secrets", "must have at least one public key"));
    }
    let (algorithm, format) = public(spec.scheme);
    let wrong = || SpecError::new("secrets", format!("has a public key that is not {format}"));
    let key = |secret: Secret| {
        let bytes = der(spec, secret.value.expose_secret()).ok_or_else(wrong)?;
        let key = ParsedPublicKey::new(algorithm, bytes).map_err(|_rejected| wrong())?;
        Ok(Key { id: secret.id, kind: KeyKind::Public(key) })
    };
    secrets.into_iter().map(key).collect()
}

/// How a public key of `scheme` is checked, and written.
fn public(scheme: Scheme) -> (&'static dyn VerificationAlgorithm, &'static str) {
    const ED25519: &str = "an Ed25519 key: 32 bytes, as the provider shows it, or PEM";
    const P256: &str = "a P-256 key: SubjectPublicKeyInfo in base64 or PEM";
    const RSA: &str = "an RSA key: SubjectPublicKeyInfo in base64 or PEM";
    match scheme.algorithm() {
        Some(Algorithm::Ed25519) => (&signature::ED25519, ED25519),
        Some(Algorithm::Ecdsa) => (&signature::ECDSA_P256_SHA256_ASN1, P256),
        Some(Algorithm::EcdsaFixed) => (&signature::ECDSA_P256_SHA256_FIXED, P256),
        Some(Algorithm::Rsa | Algorithm::Hmac(_)) | None => {
            (&signature::RSA_PKCS1_2048_8192_SHA256, RSA)
        },
    }
}

/// The bytes of a public key: hex or base64, in PEM's armour or without.
fn der(spec: &Spec, text: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(text).ok()?.trim();
    let text = text.strip_prefix(spec.secret_prefix.as_str()).unwrap_or(text);
    let is_pem = text.starts_with("-----BEGIN");
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let text: String = lines.collect();
    if spec.secret_format == SecretFormat::Hex && !is_pem {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
    } else {
        BASE64.decode(text.as_bytes()).ok()
    }
}

/// The bytes of each secret: at least one, none too short.
pub(super) fn decoded(
    spec: &Spec,
    secrets: Vec<Secret>,
) -> Result<Vec<SecretSlice<u8>>, SpecError> {
    if secrets.is_empty() {
        return Err(SpecError::new("secrets", "must have at least one secret"));
    }
    secrets
        .into_iter()
        .map(|secret| {
            let written = secret.value.expose_secret();
            if [b"-----BEGIN".as_slice(), b"whpk_"].iter().any(|it| written.starts_with(it)) {
                let why = "has a public key, which everybody may know: this scheme needs a secret";
                return Err(SpecError::new("secrets", why));
            }
            let secret = decode(spec, written)?;
            if secret.len() < spec.secret_min.max(1) {
                let (have, need) = (secret.len(), spec.secret_min.max(1));
                let problem = format!("has a secret of {have} bytes; at least {need} are needed");
                return Err(SpecError::new("secrets", problem));
            }
            // Copied to its exact length: a vector that shrinks leaves bytes behind.
            Ok(SecretSlice::new(secret.as_slice().into()))
        })
        .collect()
}

fn decode(spec: &Spec, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, SpecError> {
    let secret = secret.strip_prefix(spec.secret_prefix.as_bytes()).unwrap_or(secret);
    let text = || str::from_utf8(secret).ok();
    let (decoded, format) = match spec.secret_format {
        SecretFormat::Utf8 => (Some(secret.to_vec()), "text"),
        // Svix's Python library takes secrets without padding, so some are stored that way.
        SecretFormat::Base64 => {
            (BASE64.decode(secret).or_else(|_| BASE64_NOPAD.decode(secret)).ok(), "base64")
        },
        SecretFormat::Hex => (HEXLOWER_PERMISSIVE.decode(secret).ok(), "hex"),
        SecretFormat::Nfkd => {
            (text().map(|text| text.nfkd().collect::<String>().into_bytes()), "UTF-8")
        },
        SecretFormat::Html => (text().map(plain), "UTF-8"),
        SecretFormat::Sha1 => {
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, secret);
            // As long as it must be before it is hashed: after, each is.
            let long = secret.len() >= spec.secret_min.max(1);
            (Some(if long { hash.as_ref() } else { secret }.to_vec()), "text")
        },
    };
    decoded
        .map(Zeroizing::new)
        .ok_or_else(|| SpecError::new("secrets", format!("has a secret that is not {format}")))
}

/// `text` with the entities decoded that `WordPress` writes, each once.
fn plain(text: &str) -> Vec<u8> {
    const ENTITIES: [(&str, char); 6] = [
        ("&amp;", '&'),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&quot;", '"'),
        ("&#039;", '\''),
        ("&#39;", '\''),
    ];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let entity = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity));
        let (written, letter) =
            entity.map_or((letter.len_utf8(), letter), |(entity, letter)| (entity.len(), *letter));
        plain.push(letter);
        rest = rest.get(written..).unwrap_or_default();
    }
    plain.into_bytes()
}
