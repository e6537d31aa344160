//! Which event is this? Pure: a verified delivery in, a key or a reason out.

/// How a source's events are told apart.
#[derive(Clone, Debug)]
pub struct Rule {}

/// The identity of an event within its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The key's one text form: at most 200 bytes of `A-Za-z0-9-._~%=,`.
    pub text: String,
    /// The full text, where `text` is `=long.<sha256>`.
    pub long: Option<String>,
}
