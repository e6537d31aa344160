//! Fields of a form, or of a query: `application/x-www-form-urlencoded`.

use std::borrow::Cow;

use super::Unkeyed;

/// The value of `name` in `encoded`. Other fields may be in any character set (windows-1252
/// is still met); this one must be UTF-8.
pub(crate) fn field(encoded: &[u8], name: &str) -> Result<String, Unkeyed> {
    let mut found = None;
    for (key, value) in raw(encoded) {
        if unescape(key).as_deref() == Some(name.as_bytes()) && found.replace(value).is_some() {
            return Err(Unkeyed::Repeated);
        }
    }
    let value = unescape(found.ok_or(Unkeyed::Missing)?).ok_or(Unkeyed::Broken)?;
    String::from_utf8(value.into_owned()).map_err(|_not_utf8| Unkeyed::Broken)
}

/// The name of a field and its value, decoded.
pub(crate) type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Every field of `encoded`; nothing if one cannot be decoded.
pub(crate) fn fields(encoded: &[u8]) -> Option<Vec<Field<'_>>> {
    let pairs = raw(encoded).filter(|(key, value)| !key.is_empty() || !value.is_empty());
    pairs.map(|(key, value)| Some((unescape(key)?, unescape(value)?))).collect()
}

fn raw(encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    encoded.split(|byte| *byte == b'&').map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
    })
}

/// Decodes `+` and `%41`; nothing if a `%` has no two hex digits after it.
fn unescape(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                match (bytes.next().copied().and_then(digit), bytes.next().copied().and_then(digit))
                {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return None,
                }
            },
            other => *other,
        });
    }
    Some(Cow::Owned(plain))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
