//! What a scheme signs: `{id}.{timestamp}.{body}` and its kin.

use http::HeaderName;

use super::headers::{name, read};
use super::spec::{Spec, SpecError};
use super::{Delivery, Rejection};

/// A parsed `signed` setting.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Body,
    Timestamp,
    Id,
    Header(HeaderName),
}

/// What a request says of itself beside its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamped<'a> {
    pub(super) timestamp: Option<&'a str>,
    pub(super) id: Option<&'a str>,
}

impl Template {
    /// Parses `spec.signed`; what the spec reads must be signed, and what it signs must be read.
    pub(super) fn parse(spec: &Spec) -> Result<Self, SpecError> {
        let wrong = |problem: String| SpecError::new("signed", problem);
        let mut pieces = Vec::new();
        let mut rest = spec.signed.as_str();
        while let Some((literal, after)) = rest.split_once('{') {
            let (word, after) =
                after.split_once('}').ok_or_else(|| wrong("has a { without a }".to_owned()))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            pieces.push(match word {
                "body" => Piece::Body,
                "timestamp" => Piece::Timestamp,
                "id" => Piece::Id,
                _ => match word.strip_prefix("header:") {
                    Some(header) => Piece::Header(name("signed", header)?),
                    None => return Err(wrong(format!("has {{{word}}}, which is none of {{body}}, {{timestamp}}, {{id}}, {{header:NAME}}"))),
                },
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        let template = Self(pieces);
        template.sound(spec)?;
        Ok(template)
    }

    /// The headers that are signed.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Header(name) => Some(name),
            Piece::Literal(_) | Piece::Body | Piece::Timestamp | Piece::Id => None,
        })
    }

    fn sound(&self, spec: &Spec) -> Result<(), SpecError> {
        let wrong = |field, problem: &str| Err(SpecError::new(field, problem));
        let has = |piece| self.0.contains(&piece);
        if !has(Piece::Body) {
            return wrong(
                "signed",
                "must have {body}: a signature that does not cover it protects nothing",
            );
        }
        match (has(Piece::Timestamp), spec.timestamp.is_some()) {
            (true, false) => return wrong("timestamp", "must say where {timestamp} is"),
            (false, true) => {
                return wrong("timestamp", "is not signed: add {timestamp} to `signed`");
            },
            _ => {},
        }
        match (has(Piece::Id), spec.id.is_some()) {
            (true, false) => return wrong("id", "must say where {id} is"),
            (false, true) => return wrong("id", "is not signed: add {id} to `signed`"),
            _ => {},
        }
        let run_on = self.0.windows(2).any(|pair| {
            matches!(pair, [Piece::Id | Piece::Header(_), next] if !matches!(next, Piece::Literal(_)))
        });
        if run_on {
            return wrong(
                "signed",
                "needs text after {id} and {header:NAME}, or their end could be moved",
            );
        }
        Ok(())
    }

    /// The message, piece by piece. A free value must not contain the text that ends it: else
    /// two different requests would have one message.
    pub(super) fn fill<'a>(
        &'a self,
        stamped: &Stamped<'a>,
        delivery: &'a Delivery,
    ) -> Result<Vec<&'a [u8]>, Rejection> {
        let ends = self.0.iter().skip(1).map(Some).chain([None]);
        let mut message = Vec::with_capacity(self.0.len());
        for (piece, end) in self.0.iter().zip(ends) {
            let free = match piece {
                Piece::Literal(text) => {
                    message.push(text.as_bytes());
                    continue;
                },
                Piece::Body => {
                    message.push(delivery.body.as_ref());
                    continue;
                },
                Piece::Timestamp => {
                    message.push(stamped.timestamp.ok_or(Rejection::Missing)?.as_bytes());
                    continue;
                },
                Piece::Id => stamped.id,
                Piece::Header(name) => read(&delivery.headers, name)?,
            };
            let free = free.ok_or(Rejection::Missing)?;
            if matches!(end, Some(Piece::Literal(end)) if free.contains(end.as_str())) {
                return Err(Rejection::Malformed);
            }
            message.push(free.as_bytes());
        }
        Ok(message)
    }
}
