//! oncegate: every webhook, once.
//!
//! A gateway that stands in front of an application, receives providers' webhooks,
//! verifies them, claims each event durably in an embedded redb file, hands it to the
//! application once, and answers every later copy the way its provider expects.
//!
//! The modules, in reading order: from the wiring, along the way of one webhook, to the
//! pure core.

// The wiring.
pub mod config;
pub mod server;

// The way of one webhook.
pub mod deliver;

// The pure core: no clock, no I/O.
pub mod key;
pub mod preset;
pub mod record;
pub mod time;
pub mod verify;
