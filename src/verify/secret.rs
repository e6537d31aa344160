//! From configured secrets to keys. The decoded bytes are wiped; a key keeps its own state.

use aws_lc_rs::hmac;
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};

use super::spec::{SecretFormat, Spec, SpecError};

/// A key for each secret.
pub(super) fn keys(
    spec: &Spec,
    algorithm: hmac::Algorithm,
    secrets: Vec<SecretSlice<u8>>,
) -> Result<Vec<hmac::Key>, SpecError> {
    let decoded = decoded(spec, secrets)?;
    Ok(decoded.iter().map(|secret| hmac::Key::new(algorithm, secret.expose_secret())).collect())
}

/// The bytes of each secret: at least one, none too short.
pub(super) fn decoded(
    spec: &Spec,
    secrets: Vec<SecretSlice<u8>>,
) -> Result<Vec<SecretSlice<u8>>, SpecError> {
    if secrets.is_empty() {
        return Err(SpecError::new("secrets", "must have at least one secret"));
    }
    secrets
        .into_iter()
        .map(|secret| {
            let secret = decode(spec, secret.expose_secret())?;
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
    let (decoded, format) = match spec.secret_format {
        SecretFormat::Utf8 => (Ok(secret.to_vec()), "text"),
        // Svix's Python library takes secrets without padding, so some are stored that way.
        SecretFormat::Base64 => {
            (BASE64.decode(secret).or_else(|_| BASE64_NOPAD.decode(secret)), "base64")
        },
        SecretFormat::Hex => (HEXLOWER_PERMISSIVE.decode(secret), "hex"),
    };
    decoded.map(Zeroizing::new).map_err(|_shows_where| {
        SpecError::new("secrets", format!("has a secret that is not {format}"))
    })
}
