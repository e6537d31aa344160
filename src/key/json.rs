//! One value out of a JSON body, as its raw token. Our own scanner, because a parser into
//! values would lose what matters here: the digits of long numbers, and that a key was
//! written twice.
//!
//! One pass over the whole body, which must be JSON to its end. The depth is bounded before
//! the stack is.

use std::borrow::Cow;

use memchr::memchr2;

use super::Unkeyed;

/// The deepest nesting of objects and arrays; `serde_json` and others stop there too.
pub const MAX_DEPTH: usize = 128;

/// A value that can be part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// A string, decoded.
    Text(Cow<'a, str>),
    /// A number, `true` or `false`, as written.
    Token(&'a str),
}

/// The scalar at `path` in `body`. Every key that equals a step of the path, compared after
/// decoding, must be alone in its object.
pub(crate) fn find<'a>(body: &'a [u8], path: &[String]) -> Result<Scalar<'a>, Unkeyed> {
    find_any(body, path)?.ok_or(Unkeyed::NotScalar)
}

/// The same, with nothing for `null`.
pub(crate) fn find_any<'a>(body: &'a [u8], path: &[String]) -> Result<Option<Scalar<'a>>, Unkeyed> {
    let mut scanner = Scanner::new(body)?;
    scanner.value(Some(path), 0)?;
    scanner.end()?;
    match scanner.found {
        None => Err(Unkeyed::Missing),
        Some(Found::Other | Found::Elements(_)) => Err(Unkeyed::NotScalar),
        Some(Found::Null) => Ok(None),
        Some(Found::Scalar(scalar)) => Ok(Some(scalar)),
    }
}

enum Found<'a> {
    Scalar(Scalar<'a>),
    /// Of an array, if they are wanted.
    Elements(Vec<&'a [u8]>),
    Null,
    Other,
}

/// A place in a text of JSON.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    found: Option<Found<'a>>,
    /// How many elements an array that is looked for may have; `None`: they are not wanted.
    most: Option<usize>,
}

impl<'a> Scanner<'a> {
    /// The beginning of `body`.
    pub(super) fn new(body: &'a [u8]) -> Result<Self, Unkeyed> {
        let text = std::str::from_utf8(body).map_err(|_not_utf8| Unkeyed::Broken)?;
        Ok(Self { text, at: 0, found: None, most: None })
    }

    /// The elements of the array at `path`, at `most` so many.
    pub(super) fn elements(
        mut self,
        path: &[String],
        most: usize,
    ) -> Result<Vec<&'a [u8]>, Unkeyed> {
        self.most = Some(most);
        self.value(Some(path), 0)?;
        self.end()?;
        match self.found {
            None => Err(Unkeyed::Missing),
            Some(Found::Scalar(_) | Found::Null | Found::Other) => Err(Unkeyed::NotArray),
            Some(Found::Elements(elements)) => Ok(elements),
        }
    }

    /// Passes what is left, which must be space.
    pub(super) fn end(&mut self) -> Result<(), Unkeyed> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(Unkeyed::Broken) }
    }

    /// Passes one value. `path` is what is left of the pointer, `None` off its way.
    fn value(&mut self, path: Option<&[String]>, depth: usize) -> Result<(), Unkeyed> {
        self.space();
        let here = path.is_some_and(<[_]>::is_empty);
        let found = match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                if depth == MAX_DEPTH {
                    return Err(Unkeyed::TooDeep);
                }
                self.at += 1;
                match (open, self.most.filter(|_| here)) {
                    (b'{', _) => self.object(path, depth).map(|()| Found::Other)?,
                    (_, None) => self.array(path, depth).map(|()| Found::Other)?,
                    (_, Some(most)) => Found::Elements(self.all(most, depth)?),
                }
            },
            Some(b'"') => Found::Scalar(Scalar::Text(self.string(here)?)),
            Some(b'n') => self.word("null").map(|_null| Found::Null)?,
            Some(b't') => Found::Scalar(Scalar::Token(self.word("true")?)),
            Some(b'f') => Found::Scalar(Scalar::Token(self.word("false")?)),
            _ => Found::Scalar(Scalar::Token(self.number()?)),
        };
        if here {
            self.found = Some(found);
        }
        Ok(())
    }

    /// Passes the rest of an object.
    fn object(&mut self, path: Option<&[String]>, depth: usize) -> Result<(), Unkeyed> {
        let step = path.and_then(<[_]>::split_first);
        let mut seen = false;
        if self.ends(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string(step.is_some())?;
            let on_way = step.filter(|(step, _)| key == step.as_str()).map(|(_, rest)| rest);
            if on_way.is_some() && std::mem::replace(&mut seen, true) {
                return Err(Unkeyed::Repeated);
            }
            self.space();
            self.byte(b':')?;
            self.value(on_way, depth + 1)?;
            if self.ends(b'}') {
                return Ok(());
            }
            self.byte(b',')?;
        }
    }

    /// Passes the rest of an array.
    fn array(&mut self, path: Option<&[String]>, depth: usize) -> Result<(), Unkeyed> {
        let step =
            path.and_then(<[_]>::split_first).and_then(|(step, rest)| Some((index(step)?, rest)));
        let mut at = 0;
        if self.ends(b']') {
            return Ok(());
        }
        loop {
            self.value(step.filter(|(index, _)| *index == at).map(|(_, rest)| rest), depth + 1)?;
            at += 1;
            if self.ends(b']') {
                return Ok(());
            }
            self.byte(b',')?;
        }
    }

    /// Passes the rest of an array whose elements are wanted.
    fn all(&mut self, most: usize, depth: usize) -> Result<Vec<&'a [u8]>, Unkeyed> {
        let mut elements = Vec::new();
        if self.ends(b']') {
            return Ok(elements);
        }
        loop {
            self.space();
            let start = self.at;
            self.value(None, depth + 1)?;
            if elements.len() == most {
                return Err(Unkeyed::TooMany);
            }
            elements.push(self.since(start).as_bytes());
            if self.ends(b']') {
                return Ok(elements);
            }
            self.byte(b',')?;
        }
    }

    /// Passes a string; its text only if it is `wanted`, so that most are not copied.
    pub(super) fn string(&mut self, wanted: bool) -> Result<Cow<'a, str>, Unkeyed> {
        self.byte(b'"')?;
        let mut decoded = String::new();
        let mut run = self.at;
        loop {
            match self.peek().ok_or(Unkeyed::Broken)? {
                b'"' => {
                    let last = self.since(run);
                    self.at += 1;
                    if decoded.is_empty() || !wanted {
                        return Ok(Cow::Borrowed(last));
                    }
                    decoded.push_str(last);
                    return Ok(Cow::Owned(decoded));
                },
                b'\\' => {
                    let before = self.since(run);
                    self.at += 1;
                    let character = self.escape()?;
                    if wanted {
                        decoded.push_str(before);
                        decoded.push(character);
                    }
                    run = self.at;
                },
                _ => self.plain()?,
            }
        }
    }

    /// Passes what a string has up to its end or a backslash.
    fn plain(&mut self) -> Result<(), Unkeyed> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let plain = memchr2(b'"', b'\\', rest).and_then(|end| rest.get(..end)).unwrap_or(rest);
        self.at += plain.len();
        // Over all of it, without a way out at the first: many bytes are compared at a time.
        let least = plain.iter().fold(u8::MAX, |least, byte| least.min(*byte));
        if least < 0x20 { Err(Unkeyed::Broken) } else { Ok(()) }
    }

    /// Passes what follows a backslash.
    fn escape(&mut self) -> Result<char, Unkeyed> {
        let byte = self.peek().ok_or(Unkeyed::Broken)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                let low = if (0xD800..0xDC00).contains(&unit) {
                    self.byte(b'\\')?;
                    self.byte(b'u')?;
                    Some(self.unit()?)
                } else {
                    None
                };
                // A surrogate alone is no character.
                let mut characters = char::decode_utf16([unit].into_iter().chain(low));
                characters.next().and_then(Result::ok).ok_or(Unkeyed::Broken)?
            },
            _ => return Err(Unkeyed::Broken),
        })
    }

    /// Passes four hex digits.
    fn unit(&mut self) -> Result<u16, Unkeyed> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Unkeyed::Broken)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
            Ok(unit << 4 | digit.ok_or(Unkeyed::Broken)?)
        })
    }

    /// Passes a number: RFC 8259, section 6.
    pub(super) fn number(&mut self) -> Result<&'a str, Unkeyed> {
        let start = self.at;
        self.skip(b"-");
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Result<(), Unkeyed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Unkeyed::Broken) } else { Ok(()) }
    }

    /// Passes `word`.
    pub(super) fn word(&mut self, word: &'static str) -> Result<&'static str, Unkeyed> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Unkeyed::Broken);
        }
        self.at += word.len();
        Ok(word)
    }

    /// Passes `close`, if it is next.
    pub(super) fn ends(&mut self, close: u8) -> bool {
        self.space();
        self.skip(&[close])
    }

    /// Passes one byte, which must be `byte`.
    pub(super) fn byte(&mut self, byte: u8) -> Result<(), Unkeyed> {
        if self.skip(&[byte]) { Ok(()) } else { Err(Unkeyed::Broken) }
    }

    /// Passes one byte if it is one of `any`.
    fn skip(&mut self, any: &[u8]) -> bool {
        let is = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(is);
        is
    }

    /// Passes space.
    pub(super) fn space(&mut self) {
        while self.skip(b" \t\n\r") {}
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The text from `start`, which is at a character's edge like every ASCII byte, to here.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

/// An index as RFC 6901 writes it: no sign, no leading zero.
pub(super) fn index(step: &str) -> Option<usize> {
    let plain =
        step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    if plain { step.parse().ok() } else { None }
}
