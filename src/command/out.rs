//! What is printed: results to the standard output, everything said about them to the
//! standard error. Colours are dropped where no terminal reads.
//!
//! Much of what is printed came over the network from strangers; a terminal must not take
//! any of it for a command, so [`plain`] shows control characters instead of sending them.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::failure::Failure;

/// The colour of what to do.
pub(super) const TIP: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));

/// Prints a line of the result, or several.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints a document of the result.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(format_args!("{value:#}"))
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::unread()),
        Err(error) => Err(Failure::new(format!("cannot write the output: {error}"))),
    }
}

/// Says something about the result. There is nobody to tell where this cannot be written.
pub(crate) fn note(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// `text` with its control characters shown, line breaks too.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|letter| match letter {
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    });
    Cow::Owned(shown.collect())
}

/// An amount and its noun: `1 copy`, `3 copies`.
pub(crate) fn count(amount: u64, one: &str, many: &str) -> String {
    let digits = thousands(amount);
    if amount == 1 { format!("{digits} {one}") } else { format!("{digits} {many}") }
}

/// `1,234,567`.
pub(crate) fn thousands(amount: u64) -> String {
    let digits = amount.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
