//! How the values of settings are written: durations, sizes, numbers, words, addresses.
//!
//! Each reads its kind from text too, since a variable is always text.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use figment::value::Value;
use http::Uri;
use ipnet::IpNet;

use super::Listen;
use super::problem::{Wrong, wrong};
use super::table::{kind, nearest};

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

/// Text.
pub(super) fn text(value: &Value) -> Result<&str, Wrong> {
    value
        .as_str()
        .ok_or_else(|| wrong(format!("must be text, not {}", kind(value)), "put it in quotes"))
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Result<bool, Wrong> {
    value
        .to_bool()
        .or_else(|| value.as_str()?.parse().ok())
        .ok_or_else(|| wrong(format!("must be true or false, not {}", shown(value)), ""))
}

/// A whole number within `range`.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> impl FnOnce(&Value) -> Result<T, Wrong>
where
    T: Copy + Display + PartialOrd + TryFrom<i128> + FromStr,
{
    move |value| {
        let number = value
            .to_i128()
            .and_then(|number| T::try_from(number).ok())
            .or_else(|| value.as_str()?.parse().ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            wrong(format!("must be a whole number from {low} to {high}, not {}", shown(value)), "")
        })
    }
}

/// A number from `low` to `high`, whole or not.
pub(super) fn decimal(low: f64, high: f64) -> impl FnOnce(&Value) -> Result<f64, Wrong> {
    move |value| {
        let number = value
            .to_num()
            .and_then(|number| {
                number.to_f64().or_else(|| i32::try_from(number.to_i128()?).ok().map(f64::from))
            })
            .or_else(|| value.as_str()?.parse().ok());
        number.filter(|number| (low..=high).contains(number)).ok_or_else(|| {
            wrong(format!("must be a number from {low} to {high}, not {}", shown(value)), "")
        })
    }
}

/// A duration within `range`: an integer and ms, s, m, h or d. The unit is never left out.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl FnOnce(&Value) -> Result<Duration, Wrong> {
    move |value| {
        let millis =
            value.as_str().and_then(|text| measure(text, &DURATION_UNITS)).ok_or_else(|| {
                let mend = "write an integer and ms, s, m, h or d, such as \"30s\"";
                wrong(format!("{} is not a duration", shown(value)), mend)
            })?;
        let length = Duration::from_millis(millis);
        if range.contains(&length) {
            return Ok(length);
        }
        let (low, high) = (write_duration(*range.start()), write_duration(*range.end()));
        Err(wrong(format!("must be from {low} to {high}, not {}", shown(value)), ""))
    }
}

/// A size in bytes within `range`: an integer and KiB, MiB or GiB; an integer alone is bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> impl FnOnce(&Value) -> Result<u64, Wrong> {
    move |value| {
        let plain = value.to_i128().and_then(|number| u64::try_from(number).ok());
        let bytes = plain.or_else(|| measure(value.as_str()?, &SIZE_UNITS)).ok_or_else(|| {
            let mend = "write an integer and KiB, MiB or GiB, such as \"1MiB\"";
            wrong(format!("{} is not a size", shown(value)), mend)
        })?;
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        let (low, high) = (write_size(*range.start()), write_size(*range.end()));
        Err(wrong(format!("must be from {low} to {high}, not {}", shown(value)), ""))
    }
}

/// One of the words of `choices`.
pub(super) fn word<T: Copy>(choices: &[(&str, T)]) -> impl FnOnce(&Value) -> Result<T, Wrong> {
    move |value| {
        let text = text(value)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*choice);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let mend = match nearest(text, choices.iter().map(|(word, _)| *word)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => String::new(),
        };
        Err(wrong(format!("must be {}, not \"{text}\"", words.join(" or ")), mend))
    }
}

/// An address and port.
pub(super) fn address(value: &Value) -> Result<SocketAddr, Wrong> {
    text(value)?.parse().map_err(|_invalid| {
        let mend = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"";
        wrong(format!("{} is not an address", shown(value)), mend)
    })
}

/// An address and port, or `unix:` and the path of a socket, relative to `folder`.
pub(super) fn listen(folder: &Path) -> impl FnOnce(&Value) -> Result<Listen, Wrong> {
    move |value| match text(value)?.strip_prefix("unix:") {
        None => address(value).map(Listen::Tcp),
        Some("") => {
            Err(wrong("names no socket", "write its path: \"unix:/run/oncegate/admin.sock\""))
        },
        Some(path) => Ok(Listen::Unix(folder.join(path))),
    }
}

/// A list of networks (`10.0.0.0/8`) and single addresses.
pub(super) fn networks(value: &Value) -> Result<Vec<IpNet>, Wrong> {
    let Some(items) = value.as_array() else {
        let mend = "write one such as [\"10.0.0.0/8\", \"::1\"]";
        return Err(wrong("must be a list of networks and addresses", mend));
    };
    items.iter().map(network).collect()
}

fn network(value: &Value) -> Result<IpNet, Wrong> {
    let text = text(value)?;
    let single = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    match text.parse::<IpNet>().or_else(|_| single()) {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => {
            let mend = format!("write \"{}\", or one address without a prefix", net.trunc());
            Err(wrong(format!("\"{text}\" goes beyond its prefix"), mend))
        },
        Err(_) => {
            let mend = "write one such as \"10.0.0.0/8\" or \"::1\"";
            Err(wrong(format!("\"{text}\" is neither a network nor an address"), mend))
        },
    }
}

/// The path of a source: matched byte for byte, so it has one spelling only.
pub(super) fn hook_path(value: &Value) -> Result<String, Wrong> {
    let path = text(value)?;
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"%;?#\\\"<>".contains(&byte));
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    if !path.starts_with('/') {
        Err(wrong(format!("{} must start with /", shown(value)), ""))
    } else if !plain || dots || path.contains("//") || path.contains("..") {
        let mend = "write plain letters, digits and single slashes, such as \"/hooks/stripe\"";
        Err(wrong(
            format!("{} has a query, //, .., %, ; or another odd character", shown(value)),
            mend,
        ))
    } else {
        Ok(path.to_owned())
    }
}

/// The URL of the application.
pub(super) fn target(value: &Value) -> Result<Uri, Wrong> {
    let text = text(value)?;
    // Not shown with user information in it: that is a password.
    let uri: Uri = text.parse().map_err(|_invalid| {
        wrong("is not a URL", "write one such as \"http://127.0.0.1:5000/webhooks\"")
    })?;
    let cause = if !matches!(uri.scheme_str(), Some("http" | "https")) {
        "must be an absolute URL that begins with http:// or https://"
    } else if uri.host().is_none_or(str::is_empty) {
        "has no host"
    } else if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        "must not have a user or password in it"
    } else if uri.query().is_some() {
        "must not have a query: each delivery's own is appended"
    } else if text.contains('#') {
        "must not have a fragment"
    } else {
        return Ok(uri);
    };
    Err(wrong(cause, ""))
}

/// The beginning of the URL that providers call, without a slash at its end.
pub(super) fn public_url(value: &Value) -> Result<String, Wrong> {
    let uri = target(value)?;
    let path = uri.path().trim_end_matches('/');
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Ok(format!("{}://{authority}{path}", uri.scheme_str().unwrap_or_default()))
}

/// A duration as the settings write it.
pub fn write_duration(length: Duration) -> String {
    write(u64::try_from(length.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS, "s")
}

/// A size as the settings write it.
pub fn write_size(bytes: u64) -> String {
    write(bytes, &SIZE_UNITS, "")
}

/// `amount` in the largest unit that loses nothing.
fn write(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, scale)| amount >= *scale && amount.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", amount / scale),
        None => format!("{amount}{zero}"),
    }
}

/// An integer directly followed by a unit.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// A value as it was written; only for settings that are no secret.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("\"{text}\""),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            (None, None) => "a number".to_owned(),
        },
        Value::Char(..) | Value::Empty(..) | Value::Dict(..) | Value::Array(..) => {
            kind(value).to_owned()
        },
    }
}
