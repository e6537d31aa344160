//! oncegate: every webhook, once.
//!
//! A gateway that stands in front of an application, receives providers' webhooks,
//! verifies them, claims each event durably in an embedded redb file, hands it to the
//! application once, and answers every later copy the way its provider expects.
//!
//! The modules, in reading order: from the wiring, along the way of one webhook, to the
//! pure core.

// The wiring.
pub mod demo;
pub mod server;

// The four that act, and never call each other.
pub mod admin;
pub mod ingress;
pub mod queue;
pub mod upkeep;

// What the service manager is told.
pub mod service;

// What they share: one source at run time, who leads, one attempt, one answer.
pub mod claim;
pub mod deliver;
pub mod gate;
pub mod reply;

// The boundary to the disk, and what everything above the core knows.
pub mod clock;
pub mod config;
pub mod store;
pub mod telemetry;

// The pure core: no clock, no I/O.
pub mod key;
pub mod preset;
pub mod record;
pub mod time;
pub mod verify;
