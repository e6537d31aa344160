//! The integration tests, in one binary.

mod kill;
mod tidy;
