//! The integration tests, in one binary.

mod crash;
mod demo;
mod tidy;
