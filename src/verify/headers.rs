//! Reading a scheme's headers: which set of them, and the signatures in the one that has them.

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::spec::{Encoding, Layout, Spec, SpecError};
use super::{MAX_CANDIDATES, MAX_HEADER, Rejection};

/// One set of a scheme's headers, used whole or not at all.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// What `*` stands for, where the scheme has several sets.
    pub(super) star: Option<String>,
    /// The headers that have signatures: one, or where they are numbered each that may be there.
    pub(super) signature: Vec<HeaderName>,
    /// Whether it may be sent several times.
    repeats: bool,
    pub(super) timestamp: Option<HeaderName>,
    pub(super) id: Option<HeaderName>,
}

/// What a request sent of one family.
#[derive(Clone, Debug)]
pub(super) struct Sent<'a> {
    pub(super) family: Option<&'a str>,
    pub(super) signatures: Vec<&'a str>,
    pub(super) timestamp: Option<&'a str>,
    pub(super) id: Option<&'a str>,
}

impl Family {
    /// The families of `spec`, in order of preference.
    pub(super) fn of(spec: &Spec) -> Result<Vec<Self>, SpecError> {
        let starred = spec.header.contains('*');
        if starred == spec.families.is_empty() {
            return Err(SpecError::new("families", "and a `*` in `header` need each other"));
        }
        if spec.signature.is_some() && !spec.header.is_empty() {
            return Err(SpecError::new("signature", "takes the place of `header`: remove one"));
        }
        let no_place = || SpecError::new("id", "must be \"header:NAME\"");
        let family = |star: &str| {
            let stamp = spec.timestamp.as_deref().and_then(|place| place.strip_prefix("header:"));
            let id = spec.id.as_deref().map(|place| place.strip_prefix("header:"));
            let id = id.map(|name| name.ok_or_else(no_place)).transpose()?;
            let named = |field, text: &str| name(field, &text.replace('*', star));
            let numbered =
                |number: usize| named("header", &spec.header.replace('#', &number.to_string()));
            Ok(Self {
                star: Some(star.to_owned()).filter(|_| starred),
                signature: match &spec.signature {
                    Some(_in_the_body) => Vec::new(),
                    None if spec.header.contains('#') => {
                        (1..=MAX_CANDIDATES).map(numbered).collect::<Result<_, _>>()?
                    },
                    None => vec![named("header", &spec.header)?],
                },
                repeats: spec.repeats,
                timestamp: stamp.map(|text| named("timestamp", text)).transpose()?,
                id: id.map(|text| named("id", text)).transpose()?,
            })
        };
        if spec.families.is_empty() {
            Ok(vec![family("*")?])
        } else {
            spec.families.iter().map(|star| family(star)).collect()
        }
    }

    /// The names of the family's headers.
    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.signature.iter().chain(&self.timestamp).chain(&self.id)
    }

    /// The first family that was sent in full.
    pub(super) fn choose<'a>(
        families: &'a [Self],
        sent: &'a HeaderMap,
    ) -> Result<Sent<'a>, Rejection> {
        for family in families {
            if let Some(sent) = family.sent(sent)? {
                return Ok(sent);
            }
        }
        Err(Rejection::Missing)
    }

    fn sent<'a>(&'a self, headers: &'a HeaderMap) -> Result<Option<Sent<'a>>, Rejection> {
        let wanted = |name: &Option<HeaderName>| match name {
            None => Ok(Some(None)),
            Some(name) => read(headers, name).map(|value| value.map(Some)),
        };
        let signatures = self.signatures(headers)?;
        let (timestamp, id) = (wanted(&self.timestamp)?, wanted(&self.id)?);
        let complete = self.signature.is_empty() || !signatures.is_empty();
        Ok(match (timestamp, id) {
            (Some(timestamp), Some(id)) if complete => {
                Some(Sent { family: self.star.as_deref(), signatures, timestamp, id })
            },
            _ => None,
        })
    }

    fn signatures<'a>(&'a self, headers: &'a HeaderMap) -> Result<Vec<&'a str>, Rejection> {
        let mut found = Vec::with_capacity(1);
        for name in &self.signature {
            if self.repeats {
                for value in headers.get_all(name) {
                    found.extend(text(value)?);
                }
            } else {
                found.extend(read(headers, name)?);
            }
        }
        if found.len() > MAX_CANDIDATES { Err(Rejection::TooLarge) } else { Ok(found) }
    }
}

/// The name of a header, as a setting has it.
pub(super) fn name(field: &'static str, text: &str) -> Result<HeaderName, SpecError> {
    if text.contains('_') {
        let why = format!("has \"{text}\": headers with _ in their name are dropped, write -");
        return Err(SpecError::new(field, why));
    }
    HeaderName::try_from(text)
        .map_err(|_invalid| SpecError::new(field, format!("has no header's name in \"{text}\"")))
}

/// A header sent once and not empty.
pub(super) fn read<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::Repeated);
    }
    text(value)
}

/// A header's value, if it is not empty.
fn text(value: &HeaderValue) -> Result<Option<&str>, Rejection> {
    if value.len() > MAX_HEADER {
        return Err(Rejection::TooLarge);
    }
    let text = value.to_str().map_err(|_not_ascii| Rejection::Malformed)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// How a signature header is written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) layout: Layout,
    pub(super) version: String,
    pub(super) separator: char,
    pub(super) prefix: String,
    /// The key of `pairs` that has the timestamp.
    pub(super) stamp: Option<String>,
    encoding: Encoding,
    /// The length of a signature in bytes, if the scheme has one.
    length: Option<usize>,
}

/// What a signature header says.
#[derive(Debug)]
pub(super) struct Claimed<'a> {
    pub(super) timestamp: Option<&'a str>,
    /// At least one, each of the full length.
    pub(super) candidates: Vec<Candidate<'a>>,
}

/// A signature that may be right.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// The id of the key that made it, where the layout has that.
    pub(super) key_id: Option<&'a str>,
    pub(super) bytes: Vec<u8>,
}

impl Form {
    /// The form of `spec`, whose signatures have `length` bytes.
    pub(super) fn of(spec: &Spec, length: Option<usize>) -> Result<Self, SpecError> {
        let wrong = |field, problem: &str| Err(SpecError::new(field, problem));
        let versioned = matches!(spec.layout, Layout::Pairs | Layout::Versioned);
        if versioned == spec.version.is_empty() {
            return wrong(
                "version",
                "is needed with the layouts `pairs` and `versioned`, and only there",
            );
        }
        if spec.layout != Layout::Plain && !spec.prefix.is_empty() {
            return wrong("prefix", "goes with the layout `plain` only");
        }
        let several = spec.repeats || spec.header.contains('#');
        if several && spec.layout != Layout::Plain {
            return wrong("layout", "must be `plain` where there are several headers");
        }
        let stamp = match spec.timestamp.as_deref().map(|place| place.split_once(':')) {
            None | Some(Some(("header" | "json" | "form", _))) => None,
            Some(Some(("key", key))) if spec.layout == Layout::Pairs && key != spec.version => {
                Some(key.to_owned())
            },
            _ => {
                return wrong(
                    "timestamp",
                    "must be \"header:NAME\", \"json:/pointer\", \"form:NAME\", or \"key:NAME\" with the layout `pairs`",
                );
            },
        };
        Ok(Self {
            layout: spec.layout,
            version: spec.version.clone(),
            separator: spec.separator,
            prefix: spec.prefix.clone(),
            stamp,
            encoding: spec.encoding,
            length,
        })
    }

    /// Reads the values of the signature's headers, or of the field that it is in: one, but where
    /// the layout is plain.
    pub(super) fn read<'a>(&self, values: &[&'a str]) -> Result<Claimed<'a>, Rejection> {
        let value = values.first().copied().unwrap_or_default();
        let (texts, timestamp): (Vec<(Option<&str>, &str)>, _) = match self.layout {
            Layout::Plain => {
                let text = |value: &&'a str| value.strip_prefix(self.prefix.as_str());
                let texts: Vec<_> = values.iter().filter_map(text).map(|it| (None, it)).collect();
                (texts, None)
            },
            Layout::Pairs => {
                let items = || value.split(self.separator).filter_map(|item| item.split_once('='));
                (texts(items(), &self.version)?, self.stamp(items())?)
            },
            Layout::Versioned => {
                let items = value.split(' ').filter_map(|item| item.split_once(','));
                (texts(items, &self.version)?, None)
            },
            Layout::Piped => {
                let items = value.split('&').filter_map(|item| item.split_once('|'));
                let texts: Vec<_> = items.map(|(id, text)| (Some(id), text)).collect();
                (texts, None)
            },
        };
        if texts.len() > MAX_CANDIDATES {
            return Err(Rejection::TooLarge);
        }
        let candidate = |(key_id, text)| Some(Candidate { key_id, bytes: self.decode(text)? });
        let candidates: Vec<_> = texts.into_iter().filter_map(candidate).collect();
        if candidates.is_empty() {
            return Err(Rejection::Malformed);
        }
        Ok(Claimed { timestamp, candidates })
    }

    fn stamp<'a>(
        &self,
        items: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<&'a str>, Rejection> {
        let Some(stamp) = &self.stamp else { return Ok(None) };
        let mut found = items.filter(|(key, _)| key == stamp).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (None | Some(""), None) => Err(Rejection::Missing),
            (Some(value), None) => Ok(Some(value)),
            (_, Some(_)) => Err(Rejection::Repeated),
        }
    }

    /// The bytes of a signature, if they are written and as long as they must be.
    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let fits = |bytes: &Vec<u8>| self.length.is_none_or(|length| bytes.len() == length);
        self.alphabet().decode(text.as_bytes()).ok().filter(fits)
    }

    /// Writes `signature` as [`Form::decode`] reads it.
    pub(super) fn encode(&self, signature: &[u8]) -> String {
        self.alphabet().encode(signature)
    }

    fn alphabet(&self) -> data_encoding::Encoding {
        match self.encoding {
            Encoding::Hex => HEXLOWER,
            Encoding::HexUpper => HEXUPPER,
            Encoding::Base64 => BASE64,
            Encoding::Base64url => BASE64URL_NOPAD,
        }
    }
}

/// The signatures of `version` among `items`; other versions are skipped.
fn texts<'a>(
    items: impl Iterator<Item = (&'a str, &'a str)>,
    version: &str,
) -> Result<Vec<(Option<&'a str>, &'a str)>, Rejection> {
    let texts: Vec<_> = items
        .filter(|(key, _)| *key == version)
        .map(|(_, text)| (None, text))
        .take(MAX_CANDIDATES + 1)
        .collect();
    if texts.is_empty() { Err(Rejection::Unsupported) } else { Ok(texts) }
}
