//! A request that has the secret itself: a token, or a user and a password. It covers nothing:
//! whoever saw one request can make any other. Only for providers that have nothing better.

use aws_lc_rs::constant_time;
use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretSlice};

use super::fill::fill_in;
use super::headers::{name, read};
use super::place::{Place, Request};
use super::secret::{self, Secret};
use super::spec::{Encoding, Layout, Scheme, Spec, SpecError, Stamp};
use super::{Delivery, Rejection};

/// Where the secret is, and what it may be.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) carrier: Carrier,
    prefix: String,
    /// As they are sent; newest first.
    secrets: Vec<SecretSlice<u8>>,
}

#[derive(Clone, Debug)]
pub(super) enum Carrier {
    Header(HeaderName),
    Field(Place),
}

impl Token {
    pub(super) fn new(spec: &Spec, secrets: Vec<Secret>) -> Result<Self, SpecError> {
        let carrier = Self::carrier(spec)?;
        let mut secrets = secret::decoded(spec, secrets)?;
        let mut prefix = spec.prefix.clone();
        if spec.scheme == Scheme::Basic {
            secrets = secrets.iter().map(encoded).collect::<Result<_, _>>()?;
            "Basic ".clone_into(&mut prefix);
        }
        if secrets.iter().any(|secret| !secret.expose_secret().iter().all(u8::is_ascii_graphic)) {
            let why = "has a token that no header can carry: visible ASCII only, no spaces";
            return Err(SpecError::new("secrets", why));
        }
        Ok(Self { carrier, prefix, secrets })
    }

    /// Where `spec` has the secret, if it has nothing that only a signature has.
    pub(super) fn carrier(spec: &Spec) -> Result<Carrier, SpecError> {
        let of_a_signature = [
            ("timestamp", spec.timestamp.is_some()),
            ("tolerance", spec.tolerance.is_some()),
            ("id", spec.id.is_some()),
            ("key_id", spec.key_id.is_some()),
            ("families", !spec.families.is_empty()),
            ("repeats", spec.repeats),
            ("layout", spec.layout != Layout::Plain),
            ("version", !spec.version.is_empty()),
            ("encoding", spec.encoding != Encoding::default()),
            ("signed", spec.signed != "{body}"),
            ("signed_min", spec.signed_min != 0),
            ("timestamp_format", spec.timestamp_format != Stamp::default()),
        ];
        if let Some((field, _)) = of_a_signature.into_iter().find(|(_, is_set)| *is_set) {
            return Err(SpecError::new(field, "goes with a signature: a token has none"));
        }
        if spec.header.contains(['*', '#']) {
            return Err(SpecError::new("header", "has a `*` or `#`, which a token's has not"));
        }
        if !spec.prefix.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(SpecError::new("prefix", "is text that no header can carry"));
        }
        let basic = spec.scheme == Scheme::Basic;
        for (field, is_set) in [
            ("header", !spec.header.is_empty()),
            ("signature", spec.signature.is_some()),
            ("prefix", !spec.prefix.is_empty()),
            ("each", spec.each.is_some()),
        ] {
            if basic && is_set {
                let why = "is not needed: scheme \"basic\" reads `Authorization`";
                return Err(SpecError::new(field, why));
            }
        }
        match &spec.signature {
            _ if basic => Ok(Carrier::Header(AUTHORIZATION)),
            Some(_) if !spec.header.is_empty() => {
                Err(SpecError::new("signature", "takes the place of `header`: remove one"))
            },
            Some(place) => match Place::parse("signature", place)? {
                Place::Header(name) => Ok(Carrier::Header(name)),
                place @ (Place::Json(_) | Place::Form(_) | Place::Query(_)) => {
                    Ok(Carrier::Field(place))
                },
            },
            None => name("header", &spec.header).map(Carrier::Header),
        }
    }

    pub(super) fn header(&self) -> Option<&HeaderName> {
        match &self.carrier {
            Carrier::Header(name) => Some(name),
            Carrier::Field(_) => None,
        }
    }

    /// Whether one of the secrets was sent.
    pub(super) fn check(&self, request: Request<'_>) -> Result<(), Rejection> {
        let field;
        let sent = match &self.carrier {
            Carrier::Header(name) => {
                read(&request.delivery.headers, name)?.ok_or(Rejection::Missing)?
            },
            Carrier::Field(place) => {
                field = place.read(request)?;
                field.as_ref()
            },
        };
        let sent = self.less_prefix(sent).ok_or(Rejection::Malformed)?;
        let same = |secret: &SecretSlice<u8>| {
            constant_time::verify_slices_are_equal(secret.expose_secret(), sent.as_bytes()).is_ok()
        };
        let right = self.secrets.iter().map(same).fold(false, |any, same| any | same);
        if right { Ok(()) } else { Err(Rejection::Wrong) }
    }

    /// What is right is not shown by whoever prints the delivery.
    pub(super) fn hide(&self, delivery: &mut Delivery) {
        let value = self.header().and_then(|name| delivery.headers.get_mut(name));
        if let Some(value) = value {
            value.set_sensitive(true);
        }
    }

    /// The name of an authentication scheme may be written in any case: RFC 9110, 11.1.
    fn less_prefix<'a>(&self, sent: &'a str) -> Option<&'a str> {
        let (start, rest) = sent.split_at_checked(self.prefix.len())?;
        let same = match self.header() {
            Some(name) if *name == AUTHORIZATION => start.eq_ignore_ascii_case(&self.prefix),
            _ => start == self.prefix,
        };
        same.then_some(rest)
    }

    /// Sends the newest.
    pub(super) fn sign(&self, delivery: &mut Delivery) -> Result<(), Rejection> {
        let secret = self.secrets.first().ok_or(Rejection::Missing)?;
        let text = [self.prefix.as_bytes(), secret.expose_secret()].concat();
        match &self.carrier {
            Carrier::Header(name) => {
                let mut value =
                    HeaderValue::from_bytes(&text).map_err(|_control| Rejection::Malformed)?;
                value.set_sensitive(true);
                let _replaced = delivery.headers.insert(name.clone(), value);
            },
            Carrier::Field(Place::Query(name)) => {
                let token = super::fill::percent(&text);
                let rest = delivery.query.take().map(|rest| format!("{rest}&"));
                delivery.query = Some(format!("{}{name}={token}", rest.unwrap_or_default()));
            },
            Carrier::Field(place) => {
                let text = String::from_utf8_lossy(&text);
                if !fill_in(delivery, "{signature}", &text, place) {
                    return Err(Rejection::Missing);
                }
                while fill_in(delivery, "{signature}", &text, place) {}
            },
        }
        Ok(())
    }
}

/// `user:password` as the header has it.
fn encoded(secret: &SecretSlice<u8>) -> Result<SecretSlice<u8>, SpecError> {
    let secret = secret.expose_secret();
    if secret.iter().position(|byte| *byte == b':').is_none_or(|at| at == 0) {
        let why = "must be a user and a password: \"user:password\"";
        return Err(SpecError::new("secrets", why));
    }
    Ok(BASE64.encode(secret).into_bytes().into())
}
