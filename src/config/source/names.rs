//! Names of sources: the one of now, and in `was` those of before, each of one source only.

use std::collections::BTreeMap;

use figment::value::Value;

use crate::config::problem::{Findings, Wrong, wrong};

/// Most names that one source may have had: each costs a lookup for every new event.
const MOST: usize = 8;

/// Whether a name is `[a-z0-9-]{1,40}`.
pub(super) fn well_named(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&name.len()) && name.bytes().all(plain)
}

/// Reads `was`.
pub(super) fn was(value: &Value) -> Result<Vec<String>, Wrong> {
    let mend = "write the names it had before, such as [\"shop\"]";
    let Some(items) = value.as_array() else {
        return Err(wrong("must be a list of names", mend));
    };
    if items.len() > MOST {
        return Err(wrong(format!("has more than {MOST} names"), "remove the oldest"));
    }
    let mut names = Vec::new();
    for item in items {
        match item.as_str() {
            Some(name) if well_named(name) => names.push(name.to_owned()),
            Some(name) => {
                let cause = format!("\"{name}\" is not a source's name");
                return Err(wrong(cause, "use 1 to 40 of a-z, 0-9 and -"));
            },
            None => return Err(wrong("must be a list of names", mend)),
        }
    }
    Ok(names)
}

/// Notes each name of before that a source has now, or that two sources had. `sources` is
/// every source's name, its path in the settings and its `was`, right or wrong.
pub(super) fn settle(sources: &[(String, String, Vec<String>)], findings: &Findings) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, path, was) in sources {
        let add = |cause: String, mend: &str| {
            findings.add(&format!("{path}.was"), wrong(cause, mend));
        };
        for old in was {
            if sources.iter().any(|(known, ..)| known == old) {
                let mend = "a source's events stay with it: remove it here, or the source";
                add(format!("\"{old}\" is a source that is configured"), mend);
            } else if let Some(owner) = owners.insert(old, name) {
                let cause = if owner == name {
                    format!("names \"{old}\" twice")
                } else {
                    format!("\"{old}\" is in `was` of {owner} too")
                };
                add(cause, "its events can go on under one name only");
            }
        }
    }
}
