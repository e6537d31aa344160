//! What each provider does, as data: one TOML file a provider, embedded.

/// What a copy is answered when there is no recorded answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}
