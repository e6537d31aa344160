//! A moment and how it is written. Pure: the clock itself is read in [`crate::clock`].

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use wincode::{SchemaRead, SchemaWrite};

/// A moment in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaRead, SchemaWrite,
)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment and `by` after it; saturates at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This moment and `by` before it; saturates at the epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is later than this moment.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in milliseconds, to the microsecond: what a line of the log shows.
#[expect(clippy::cast_precision_loss, reason = "exact below 285 years")]
pub fn millis(length: Duration) -> f64 {
    length.as_micros() as f64 / 1000.0
}

/// RFC 3339 in UTC with milliseconds, as in the header `Oncegate-Received` and the API.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A duration as settings write it: an integer and `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Option<Duration> {
    let (count, unit) =
        text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_millis)
}

/// A moment as RFC 3339 writes it. None before the epoch.
pub fn moment(text: &str) -> Option<Millis> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Millis)
}

/// Reads a [`duration`], for `#[serde(deserialize_with)]`.
pub(crate) fn deserialize_duration<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<Duration>,
{
    let text = String::deserialize(from)?;
    let wrong =
        || D::Error::custom(format!("\"{text}\" is not a duration such as \"30s\" or \"35d\""));
    duration(&text).map(T::from).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_shown_to_the_microsecond() {
        for (nanos, shown) in [(1_723, "0.001"), (12_345_678, "12.345"), (2_000_000, "2")] {
            assert_eq!(millis(Duration::from_nanos(nanos)).to_string(), shown);
        }
    }
}
