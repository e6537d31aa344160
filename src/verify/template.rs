//! What a scheme signs: `{id}.{timestamp}.{body}` and its kin.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::HeaderName;

use super::headers::{name, read};
use super::place::{Place, Request};
use super::spec::{Scheme, Spec, SpecError};
use super::{Rejection, sns, twilio};

/// What was signed, piece by piece: they are not copied together, since one is the body.
pub(super) type Message<'a> = Vec<Cow<'a, [u8]>>;

/// A parsed `signed` setting.
#[derive(Clone, Debug)]
pub(super) enum Template {
    Pieces(Vec<Piece>),
    Twilio,
    Sns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Body,
    Timestamp,
    Id,
    Method,
    Url,
    Header(HeaderName),
    Field(Field),
    /// What the provider calls our webhook.
    WebhookId,
    /// The CRC-32 of the body, in decimal.
    Crc32,
}

/// A piece that is read from the body or the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    place: Place,
    /// Empty where it is missing.
    optional: bool,
    /// May contain the text beside it.
    loose: bool,
    /// A number; else a text. Each is written in one way only, so that what is signed has one
    /// way to be sent.
    number: bool,
}

/// What is signed and known here alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours {
    /// What the provider calls, less the query.
    pub(super) url: String,
    /// What it calls our webhook, or our topics.
    pub(super) names: Vec<String>,
}

/// What a request says of itself beside its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamped<'a> {
    pub(super) timestamp: Option<&'a str>,
    pub(super) id: Option<&'a str>,
}

const SIGNED: &str = "signed";
const PIECES: &str = "{body}, {timestamp}, {id}, {method}, {url}, {header:NAME}, {json:/pointer}, {number:/pointer}, {form:NAME}, {query:NAME}";

impl Template {
    /// Parses `spec.signed`; what the spec reads must be signed, and what it signs must be read.
    pub(super) fn parse(spec: &Spec) -> Result<Self, SpecError> {
        match spec.signed.as_str() {
            "{twilio}" => Ok(Self::Twilio),
            "{sns}" if spec.scheme == Scheme::AwsSns => Ok(Self::Sns),
            text => {
                let pieces = pieces(text)?;
                sound(&pieces, spec)?;
                Ok(Self::Pieces(pieces))
            },
        }
    }

    /// The headers that are signed.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let pieces = match self {
            Self::Pieces(pieces) => pieces.as_slice(),
            Self::Twilio | Self::Sns => &[],
        };
        pieces.iter().filter_map(Piece::header)
    }

    /// The messages that may have been signed.
    pub(super) fn fill<'a>(
        &'a self,
        stamped: &Stamped<'a>,
        ours: &Ours,
        request: Request<'a>,
    ) -> Result<Vec<Message<'a>>, Rejection> {
        match self {
            Self::Pieces(pieces) => Ok(vec![fill(pieces, stamped, ours, request)?]),
            Self::Twilio => twilio::messages(&called(&ours.url, request), request),
            Self::Sns => Ok(vec![sns::message(request)?]),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, SpecError> {
    let wrong = |problem: String| SpecError::new(SIGNED, problem);
    let mut pieces = Vec::new();
    let mut rest = text;
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
            "method" => Piece::Method,
            "url" => Piece::Url,
            "webhook_id" => Piece::WebhookId,
            "crc32" => Piece::Crc32,
            "twilio" => return Err(wrong("has {twilio}, which stands alone".to_owned())),
            _ => match word.split_once(':') {
                Some(("header", header)) => Piece::Header(name(SIGNED, header)?),
                Some((kind, at)) if !at.is_empty() => Piece::Field(Field::parse(kind, at)?),
                _ => return Err(wrong(format!("has {{{word}}}, which is none of {PIECES}"))),
            },
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

fn sound(pieces: &[Piece], spec: &Spec) -> Result<(), SpecError> {
    let wrong = |field, problem: &str| Err(SpecError::new(field, problem));
    let has = |piece| pieces.contains(&piece);
    let fields = || pieces.iter().filter_map(Piece::field);
    let paypal = spec.scheme == Scheme::Paypal;
    if !paypal && (has(Piece::Crc32) || has(Piece::WebhookId)) {
        return wrong(SIGNED, "has {crc32} or {webhook_id}, which are of the preset paypal alone");
    }
    if !paypal && !has(Piece::Body) && !fields().any(|field| field.place.is_of_the_body()) {
        return wrong(
            SIGNED,
            "must have {body}: a signature that does not cover it protects nothing",
        );
    }
    // A timestamp in the body is signed with it.
    let within = spec.timestamp.as_deref().is_some_and(in_body) && has(Piece::Body);
    match (has(Piece::Timestamp), spec.timestamp.is_some()) {
        (true, false) => return wrong("timestamp", "must say where {timestamp} is"),
        (false, true) if !within => {
            return wrong("timestamp", "is not signed: add {timestamp} to `signed`");
        },
        _ => {},
    }
    match (has(Piece::Id), spec.id.is_some()) {
        (true, false) => return wrong("id", "must say where {id} is"),
        (false, true) => return wrong("id", "is not signed: add {id} to `signed`"),
        _ => {},
    }
    let free = |piece: &Piece| matches!(piece, Piece::Id | Piece::Header(_) | Piece::Field(_));
    let run_on = pieces.windows(2).any(
        |pair| matches!(pair, [first, next] if free(first) && !matches!(next, Piece::Literal(_))),
    );
    if run_on {
        return wrong(
            SIGNED,
            "needs text after {id}, {header:NAME} and what is read from the body, or their end could be moved",
        );
    }
    let after = pieces.iter().skip_while(|piece| **piece != Piece::Body).skip(1);
    if after.into_iter().any(|piece| !matches!(piece, Piece::Literal(_) | Piece::Timestamp)) {
        return wrong(
            SIGNED,
            "has something after {body}: only text and {timestamp} can be there, or the body's end could be moved",
        );
    }
    if fields().filter(|field| field.loose).count() > 1 {
        return wrong(SIGNED, "has more than one {json*:..}: where one ends could not be told");
    }
    Ok(())
}

/// Whether a place is in the body.
pub(super) fn in_body(place: &str) -> bool {
    place.starts_with("json:") || place.starts_with("form:")
}

impl Piece {
    fn text(&self) -> Option<&str> {
        if let Self::Literal(text) = self { Some(text) } else { None }
    }

    fn field(&self) -> Option<&Field> {
        if let Self::Field(field) = self { Some(field) } else { None }
    }

    fn header(&self) -> Option<&HeaderName> {
        if let Self::Header(name) = self { Some(name) } else { None }
    }
}

/// The URL that was called: as we know it, with the query that came.
fn called(url: &str, request: Request<'_>) -> String {
    let query = request.delivery.query.as_ref().map(|query| format!("?{query}"));
    format!("{url}{}", query.unwrap_or_default())
}

/// The message. A free value must not contain the text that ends it, nor where one has no end
/// of its own the text that begins it: else two different requests would have one message.
fn fill<'a>(
    pieces: &'a [Piece],
    stamped: &Stamped<'a>,
    ours: &Ours,
    request: Request<'a>,
) -> Result<Message<'a>, Rejection> {
    let one_is_loose = pieces.iter().filter_map(Piece::field).any(|field| field.loose);
    let mut message = Vec::with_capacity(pieces.len());
    for (at, piece) in pieces.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).and_then(|at| pieces.get(at)), pieces.get(at + 1));
        // Where the text beside it is first or last found must be where the value ends or
        // begins: a text may overlap itself.
        let bounded = |text: &str| {
            let ends = |end: &str| format!("{text}{end}").find(end) == Some(text.len());
            let begins = |start: &str| format!("{start}{text}").rfind(start) == Some(0);
            let fits = after.and_then(Piece::text).is_none_or(ends)
                && (!one_is_loose || before.and_then(Piece::text).is_none_or(begins));
            if fits { Ok(()) } else { Err(Rejection::Malformed) }
        };
        let borrowed = |text: &'a str| -> Result<Cow<'a, [u8]>, Rejection> {
            bounded(text).map(|()| Cow::Borrowed(text.as_bytes()))
        };
        message.push(match piece {
            Piece::Literal(text) => Cow::Borrowed(text.as_bytes()),
            Piece::Body => Cow::Borrowed(request.body),
            Piece::Timestamp => {
                Cow::Borrowed(stamped.timestamp.ok_or(Rejection::Missing)?.as_bytes())
            },
            Piece::Method => Cow::Borrowed(request.delivery.method.as_str().as_bytes()),
            // Where the query ends and what follows it begins could not be told.
            Piece::Url if request.delivery.query.is_some() && !literal(after) => {
                return Err(Rejection::Malformed);
            },
            Piece::Url => Cow::Owned(called(&ours.url, request).into_bytes()),
            Piece::Id => borrowed(stamped.id.ok_or(Rejection::Missing)?)?,
            Piece::Header(name) => {
                borrowed(read(&request.delivery.headers, name)?.ok_or(Rejection::Missing)?)?
            },
            Piece::Field(field) => field.fill(request, bounded)?,
            Piece::WebhookId => {
                let name = ours.names.first().ok_or(Rejection::Foreign)?;
                Cow::Owned(name.clone().into_bytes())
            },
            Piece::Crc32 => Cow::Owned(crc32(request.body).to_string().into_bytes()),
        });
    }
    Ok(message)
}

/// The CRC-32 of zip and Ethernet. No hash: whoever wants to finds another body that has it.
fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
        let bit = |rest: u32| if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 };
        let mut byte = 0..;
        std::array::from_fn(|_| (0..8).fold(byte.next().unwrap_or_default(), |rest, _| bit(rest)))
    });
    let table = &*TABLE;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ table.get(usize::from(low ^ byte)).copied().unwrap_or_default()
    })
}

/// Whether a piece is text, or the end.
fn literal(piece: Option<&Piece>) -> bool {
    matches!(piece, None | Some(Piece::Literal(_)))
}

impl Field {
    fn parse(kind: &str, at: &str) -> Result<Self, SpecError> {
        let plain = kind.trim_end_matches(['?', '*']);
        let number = plain == "number";
        let place = Place::parse(SIGNED, &format!("{}:{at}", if number { "json" } else { plain }))?;
        let optional = kind.ends_with(['?', '*']);
        Ok(Self { place, optional, loose: kind.ends_with('*'), number })
    }

    fn fill<'a>(
        &self,
        request: Request<'a>,
        bounded: impl Fn(&str) -> Result<(), Rejection>,
    ) -> Result<Cow<'a, [u8]>, Rejection> {
        let found = match self.place.kind(request)? {
            Some((_, number)) if number != self.number => return Err(Rejection::Malformed),
            found => found,
        };
        let text = match found {
            Some((text, _)) => text,
            None if self.optional => Cow::Borrowed(""),
            None => return Err(Rejection::Missing),
        };
        if !self.loose {
            bounded(&text)?;
        }
        Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}
