//! Filling in what a sample leaves open: `{timestamp}` and `{signature}` in its body.

use data_encoding::HEXUPPER;

use super::Delivery;
use super::place::Place;

/// Writes `text` in place of the first `mark` of the body, as the kind of body that `place` is
/// in has it; `false` if there is none.
pub(super) fn fill_in(delivery: &mut Delivery, mark: &str, text: &str, place: &Place) -> bool {
    let Ok(body) = str::from_utf8(&delivery.body) else { return false };
    if !body.contains(mark) {
        return false;
    }
    // A signature or a time needs no escape in JSON.
    let text = match place {
        Place::Form(_) => percent(text.as_bytes()),
        Place::Json(_) | Place::Query(_) | Place::Header(_) => text.to_owned(),
    };
    delivery.body = body.replacen(mark, &text, 1).into();
    true
}

/// `text` as the value of a field.
pub(super) fn percent(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push('%');
            HEXUPPER.encode_append(&[*byte], &mut encoded);
        }
    }
    encoded
}
