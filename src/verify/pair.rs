//! Key pairs of our own, for trying out a scheme whose provider keeps the private key.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use data_encoding::BASE64;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::spec::{Algorithm, Scheme, SecretFormat, Spec};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Of a line of PEM, in letters.
const WIDTH: usize = 64;

/// A private key. Its `Debug` does not show it.
pub struct Private(Kind);

enum Kind {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The scheme has a shared secret, or none.
    #[error("the scheme has no key pairs")]
    Scheme,
    /// The text is not a private key of the scheme.
    #[error("that is no private key of the scheme in PKCS #8 and PEM")]
    Text,
    /// The system gave no random bytes, or made no key of them.
    #[error("no key could be made")]
    Make,
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private(..)")
    }
}

impl Private {
    /// A new key pair of `scheme`, and its private key in PEM.
    pub fn generate(scheme: Scheme) -> Result<(Self, SecretString), NoKey> {
        let random = SystemRandom::new();
        let kept = |der: &[u8]| Zeroizing::new(der.to_vec());
        let der = match scheme.algorithm() {
            Some(Algorithm::Ed25519) => {
                Ed25519KeyPair::generate_pkcs8(&random).map(|der| kept(der.as_ref()))
            },
            Some(Algorithm::Ecdsa | Algorithm::EcdsaFixed) => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
                    .map(|der| kept(der.as_ref()))
            },
            Some(Algorithm::Rsa) => RsaKeyPair::generate(KeySize::Rsa2048)
                .and_then(|pair| pair.as_der())
                .map(|der: Pkcs8V1Der<'_>| kept(der.as_ref())),
            Some(Algorithm::Hmac(_)) | None => return Err(NoKey::Scheme),
        };
        let der = der.map_err(|_unspecified| NoKey::Make)?;
        let text = Zeroizing::new(BASE64.encode(&der));
        let mut pem = Zeroizing::new(format!("{BEGIN}\n"));
        for line in text.as_bytes().chunks(WIDTH) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str(END);
        pem.push('\n');
        Ok((Self::of(scheme, &der)?, SecretString::from(pem.as_str())))
    }

    /// The private key of `scheme` in `pem`.
    pub fn from_pem(scheme: Scheme, pem: &str) -> Result<Self, NoKey> {
        let inside = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let text: Zeroizing<String> =
            Zeroizing::new(inside.ok_or(NoKey::Text)?.split_whitespace().collect());
        let der = BASE64.decode(text.as_bytes()).map_err(|_shows_it| NoKey::Text)?;
        Self::of(scheme, &Zeroizing::new(der))
    }

    fn of(scheme: Scheme, der: &[u8]) -> Result<Self, NoKey> {
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der).map(Kind::Ecdsa);
        let kind = match scheme.algorithm() {
            Some(Algorithm::Ed25519) => Ed25519KeyPair::from_pkcs8(der).map(Kind::Ed25519),
            Some(Algorithm::Ecdsa) => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Some(Algorithm::EcdsaFixed) => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Some(Algorithm::Rsa) => RsaKeyPair::from_pkcs8(der).map(Kind::Rsa),
            Some(Algorithm::Hmac(_)) | None => return Err(NoKey::Scheme),
        };
        kind.map(Self).map_err(|_rejected| NoKey::Text)
    }

    /// The public key as a setting has it.
    pub fn public(&self, spec: &Spec) -> Result<String, NoKey> {
        let spki =
            |der: Result<PublicKeyX509Der<'_>, _>| der.map(|der| BASE64.encode(der.as_ref()));
        let text = match &self.0 {
            Kind::Ed25519(pair) => {
                let bytes = pair.public_key().as_ref();
                Ok(match spec.secret_format {
                    SecretFormat::Hex => data_encoding::HEXLOWER.encode(bytes),
                    SecretFormat::Utf8
                    | SecretFormat::Base64
                    | SecretFormat::Nfkd
                    | SecretFormat::Html
                    | SecretFormat::Sha1 => BASE64.encode(bytes),
                })
            },
            Kind::Ecdsa(pair) => spki(pair.public_key().as_der()),
            Kind::Rsa(pair) => spki(pair.public_key().as_der()),
        };
        text.map(|text| format!("{}{text}", spec.secret_prefix))
            .map_err(|_unspecified: aws_lc_rs::error::Unspecified| NoKey::Make)
    }

    /// Signs `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.0 {
            Kind::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Kind::Ecdsa(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            },
        }
    }
}
