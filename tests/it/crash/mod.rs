//! What a failing disk, a power cut and rot may do to the store, and what they may not.

mod compact;
mod cut;
mod disk;
mod faults;
mod image;
mod rot;
mod script;
mod world;
