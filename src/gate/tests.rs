//! What is fetched, from whom, and how often at most.

mod certificates;
mod fetch;
pub(crate) mod site;
