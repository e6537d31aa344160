//! The integration tests, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "in tests: outside #[test] functions clippy cannot tell"
)]

mod canary;
mod cli;
mod crash;
mod demo;
mod docs;
mod harness;
mod http;
mod kill;
mod process;
mod service;
mod tidy;
