//! Tests that span several modules, and what tests share.

mod broken;
mod evolution;
mod keep_latest;
mod other_writers;
mod partitions;
mod rebuild;
pub(crate) mod support;
