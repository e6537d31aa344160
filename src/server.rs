//! The wiring: open, recover, listen, drain under a deadline.

pub mod conn;
