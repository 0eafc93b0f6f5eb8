//! Hostile requests: properties of any body, the table of `docs/hostile-input.md`, and the resources that they use.

mod bounds;
#[path = "../../../../shared/schema/tests/it/cases.rs"]
mod cases;
mod cost;
mod forgery;
#[path = "../../../../shared/clean/tests/it/hostile/inputs.rs"]
mod inputs;
mod invariants;
mod properties;
mod secrecy;
mod table;
