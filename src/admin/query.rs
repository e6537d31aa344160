//! The parameters of a query: each once, none unknown. A slip that is passed over would list
//! other events than were asked for, and look right.

use axum::extract::Query;
use http::Uri;

use super::Refusal;
use crate::config::nearest;

/// The parameters that are known, as they were given.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads those of `uri`; every other than `known` is refused.
    pub(super) fn read(uri: &Uri, known: &[&'static str]) -> Result<Self, Refusal> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| bad(format!("the query cannot be read: {error}")))?;
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in &pairs {
            if !known.contains(&name.as_str()) {
                let mend = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "this path takes none".to_owned(),
                    None => format!("known here: {}", known.join(", ")),
                };
                return Err(bad(format!("`{name}` is not a parameter: {mend}")));
            }
            if seen.contains(&name.as_str()) {
                return Err(bad(format!("`{name}` is there twice: give it once")));
            }
            seen.push(name);
        }
        Ok(Self(pairs))
    }

    /// The value of `name`; an empty one counts as not given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The number `limit`, from 1 to `most`.
    pub(super) fn limit(&self, default: usize, most: usize) -> Result<usize, Refusal> {
        let Some(text) = self.get("limit") else { return Ok(default) };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| bad(format!("`limit` is a whole number from 1 to {most}")))
    }
}

/// A parameter that cannot be used.
pub(super) fn bad(detail: impl Into<String>) -> Refusal {
    Refusal::bad("bad_parameter", detail)
}
