//! Input that is wrong on purpose: laws that hold for any, the table of `docs/hostile-input.md`, and what it may cost.

mod laws;
mod properties;
