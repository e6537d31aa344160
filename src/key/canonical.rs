//! A JSON body in its canonical form (RFC 8785, JCS): for senders that write one event in
//! different bytes from retry to retry.
//!
//! Written straight from the scanner, not from parsed values, because a parser would lose
//! what must not be lost. Stricter than the RFC in two ways, as two events must never share a
//! key: a name written twice in an object is refused; and where the RFC takes every number
//! for an IEEE double, here a number that a double does not hold to its last digit keeps the
//! digits it was sent with.

use std::borrow::Cow;
use std::ops::Range;

use data_encoding::HEXLOWER;

use super::Unkeyed;
use super::json::{self, MAX_DEPTH, Scanner};

/// The canonical form of `body` without the values at the pointers of `ignore`.
pub(super) fn canonical(body: &[u8], ignore: &[Vec<String>]) -> Result<String, Unkeyed> {
    let ignore: Vec<_> = ignore.iter().map(Vec::as_slice).collect();
    let scanner = Scanner::new(body)?;
    let mut writer = Writer { scanner, text: String::with_capacity(body.len()) };
    writer.value(&ignore, 0)?;
    writer.scanner.end()?;
    Ok(writer.text)
}

struct Writer<'a> {
    scanner: Scanner<'a>,
    text: String,
}

/// One member of an object: its name, and where its value was written, unless it is ignored.
type Member<'a> = (Cow<'a, str>, Option<Range<usize>>);

impl<'a> Writer<'a> {
    /// Writes one value. `ignore` is what is left of the pointers that lead into it.
    fn value(&mut self, ignore: &[&[String]], depth: usize) -> Result<(), Unkeyed> {
        self.scanner.space();
        match self.scanner.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => return Err(Unkeyed::TooDeep),
            Some(b'{') => self.object(ignore, depth)?,
            Some(b'[') => self.array(ignore, depth)?,
            Some(b'"') => {
                let text = self.scanner.string(true)?;
                quote(&text, &mut self.text);
            },
            Some(b'n') => self.text.push_str(self.scanner.word("null")?),
            Some(b't') => self.text.push_str(self.scanner.word("true")?),
            Some(b'f') => self.text.push_str(self.scanner.word("false")?),
            _ => {
                let token = self.scanner.number()?;
                number(token, &mut self.text);
            },
        }
        Ok(())
    }

    /// Writes the values as they come, then the members in order. Each level copies its text
    /// once more, which the depth bounds.
    fn object(&mut self, ignore: &[&[String]], depth: usize) -> Result<(), Unkeyed> {
        self.scanner.byte(b'{')?;
        let start = self.text.len();
        let mut members: Vec<Member<'a>> = Vec::new();
        while !self.scanner.ends(b'}') {
            if !members.is_empty() {
                self.scanner.byte(b',')?;
            }
            self.scanner.space();
            let name = self.scanner.string(true)?;
            self.scanner.space();
            self.scanner.byte(b':')?;
            let at = self.text.len();
            let kept = self.child(ignore, depth, |step| step == name)?;
            members.push((name, kept.then(|| at - start..self.text.len() - start)));
        }
        members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
        if members.windows(2).any(|pair| matches!(pair, [one, other] if one.0 == other.0)) {
            return Err(Unkeyed::Repeated);
        }
        let values = self.text.split_off(start);
        let mut open = '{';
        for (name, value) in &members {
            let Some(value) = value.clone().and_then(|range| values.get(range)) else { continue };
            self.text.push(open);
            quote(name, &mut self.text);
            self.text.push(':');
            self.text.push_str(value);
            open = ',';
        }
        self.text.push_str(if open == '{' { "{}" } else { "}" });
        Ok(())
    }

    fn array(&mut self, ignore: &[&[String]], depth: usize) -> Result<(), Unkeyed> {
        self.scanner.byte(b'[')?;
        self.text.push('[');
        let mut kept = false;
        let mut index = 0;
        while !self.scanner.ends(b']') {
            if index > 0 {
                self.scanner.byte(b',')?;
            }
            let before = self.text.len();
            if kept {
                self.text.push(',');
            }
            if self.child(ignore, depth, |step| json::index(step) == Some(index))? {
                kept = true;
            } else {
                self.text.truncate(before);
            }
            index += 1;
        }
        self.text.push(']');
        Ok(())
    }

    /// Writes the value that the step `is`, or only passes it if a pointer ends there: an
    /// ignored value must be sound too. Says whether it was written.
    fn child(
        &mut self,
        ignore: &[&[String]],
        depth: usize,
        is: impl Fn(&str) -> bool,
    ) -> Result<bool, Unkeyed> {
        let before = self.text.len();
        let steps = ignore.iter().filter_map(|pointer| pointer.split_first());
        let below: Vec<_> = steps.filter(|(step, _)| is(step)).map(|(_, rest)| rest).collect();
        self.value(&below, depth + 1)?;
        let ignored = below.iter().any(|rest| rest.is_empty());
        if ignored {
            self.text.truncate(before);
        }
        Ok(!ignored)
    }
}

/// Appends `value` as RFC 8785 3.2.2.2 writes text: only what must be is escaped.
fn quote(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            control @ '\0'..' ' => {
                text.push_str("\\u00");
                HEXLOWER.encode_append(control.encode_utf8(&mut [0]).as_bytes(), text);
            },
            _ => text.push(character),
        }
    }
    text.push('"');
}

/// Appends a number as ECMAScript writes the double it stands for (RFC 8785 3.2.2.3); as it
/// was sent, if that would be another number.
fn number(token: &str, text: &mut String) {
    let mut buffer = ryu_js::Buffer::new();
    let double = token.parse::<f64>().ok().filter(|double| double.is_finite());
    let short = double.map(|double| buffer.format_finite(double));
    let same =
        short.filter(|short| Decimal::of(token).is_some_and(|it| Some(it) == Decimal::of(short)));
    text.push_str(same.unwrap_or(token));
}

/// The exact value of a JSON number: `0.DIGITS` times ten to the `exponent`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None`: the exponent is beyond anything that a double could have.
    fn of(token: &str) -> Option<Self> {
        let (negative, token) = token.strip_prefix('-').map_or((false, token), |rest| (true, rest));
        let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let leading = i64::try_from(digits.len() - significant.len()).ok()?;
        let whole = i64::try_from(whole.len()).ok()?;
        let exponent = exponent.parse::<i64>().ok()?.checked_add(whole)?.checked_sub(leading)?;
        Some(Self { negative, digits: significant.trim_end_matches('0').to_owned(), exponent })
    }
}
