//! Reading a scheme's headers: which set of them, and the signatures in the one that has them.

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use http::{HeaderMap, HeaderName};

use super::spec::{Encoding, Layout, Spec, SpecError};
use super::{MAX_CANDIDATES, MAX_HEADER, Rejection};

/// One set of a scheme's headers, used whole or not at all.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// What `*` stands for, where the scheme has several sets.
    pub(super) star: Option<String>,
    pub(super) signature: HeaderName,
    pub(super) timestamp: Option<HeaderName>,
    pub(super) id: Option<HeaderName>,
}

/// What a request sent of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub(super) family: Option<&'a str>,
    pub(super) signature: &'a str,
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
        let no_place = || SpecError::new("id", "must be \"header:NAME\"");
        let family = |star: &str| {
            let stamp = spec.timestamp.as_deref().and_then(|place| place.strip_prefix("header:"));
            let id = spec.id.as_deref().map(|place| place.strip_prefix("header:"));
            let id = id.map(|name| name.ok_or_else(no_place)).transpose()?;
            let named = |field, text: &str| name(field, &text.replace('*', star));
            Ok(Self {
                star: Some(star.to_owned()).filter(|_| starred),
                signature: named("header", &spec.header)?,
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
        [Some(&self.signature), self.timestamp.as_ref(), self.id.as_ref()].into_iter().flatten()
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
        let signature = read(headers, &self.signature)?;
        let (timestamp, id) = (wanted(&self.timestamp)?, wanted(&self.id)?);
        Ok(match (signature, timestamp, id) {
            (Some(signature), Some(timestamp), Some(id)) => {
                Some(Sent { family: self.star.as_deref(), signature, timestamp, id })
            },
            _ => None,
        })
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
    /// The length of a signature in bytes.
    length: usize,
}

/// What a signature header says.
#[derive(Debug)]
pub(super) struct Claimed<'a> {
    pub(super) timestamp: Option<&'a str>,
    /// At least one, each of the full length.
    pub(super) candidates: Vec<Vec<u8>>,
}

impl Form {
    /// The form of `spec`, whose signatures have `length` bytes.
    pub(super) fn of(spec: &Spec, length: usize) -> Result<Self, SpecError> {
        let wrong = |field, problem: &str| Err(SpecError::new(field, problem));
        let plain = spec.layout == Layout::Plain;
        if plain != spec.version.is_empty() {
            return wrong(
                "version",
                "is needed with the layouts `pairs` and `versioned`, and only there",
            );
        }
        if !plain && !spec.prefix.is_empty() {
            return wrong("prefix", "goes with the layout `plain` only");
        }
        let stamp = match spec.timestamp.as_deref().map(|place| place.split_once(':')) {
            None | Some(Some(("header", _))) => None,
            Some(Some(("key", key))) if spec.layout == Layout::Pairs && key != spec.version => {
                Some(key.to_owned())
            },
            _ => {
                return wrong(
                    "timestamp",
                    "must be \"header:NAME\", or \"key:NAME\" with the layout `pairs`",
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

    /// Reads the value of a signature header.
    pub(super) fn read<'a>(&self, value: &'a str) -> Result<Claimed<'a>, Rejection> {
        let (texts, timestamp) = match self.layout {
            Layout::Plain => {
                let text = value.strip_prefix(self.prefix.as_str()).ok_or(Rejection::Malformed)?;
                (vec![text], None)
            },
            Layout::Pairs => {
                let items = || value.split(self.separator).filter_map(|item| item.split_once('='));
                (texts(items(), &self.version)?, self.stamp(items())?)
            },
            Layout::Versioned => {
                let items = value.split(' ').filter_map(|item| item.split_once(','));
                (texts(items, &self.version)?, None)
            },
        };
        let candidates: Vec<_> = texts.into_iter().filter_map(|text| self.decode(text)).collect();
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
        let encoding = match self.encoding {
            Encoding::Hex => HEXLOWER,
            Encoding::HexUpper => HEXUPPER,
            Encoding::Base64 => BASE64,
        };
        encoding.decode(text.as_bytes()).ok().filter(|bytes| bytes.len() == self.length)
    }

    /// Writes `signature` as [`Form::decode`] reads it.
    pub(super) fn encode(&self, signature: &[u8]) -> String {
        match self.encoding {
            Encoding::Hex => HEXLOWER.encode(signature),
            Encoding::HexUpper => HEXUPPER.encode(signature),
            Encoding::Base64 => BASE64.encode(signature),
        }
    }
}

/// The signatures of `version` among `items`; other versions are skipped.
fn texts<'a>(
    items: impl Iterator<Item = (&'a str, &'a str)>,
    version: &str,
) -> Result<Vec<&'a str>, Rejection> {
    let texts: Vec<_> = items
        .filter(|(key, _)| *key == version)
        .map(|(_, text)| text)
        .take(MAX_CANDIDATES + 1)
        .collect();
    match texts.len() {
        0 => Err(Rejection::Unsupported),
        1..=MAX_CANDIDATES => Ok(texts),
        _ => Err(Rejection::TooLarge),
    }
}
