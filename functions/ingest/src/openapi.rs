//! The OpenAPI document of everything that this function serves.
//!
//! It is a file of its own, which people and programs read as it is; `tests/openapi` holds it against the router and the
//! limits, and schemathesis against the deployed function (`tests/api`).

/// The document, JSON.
pub const DOCUMENT: &str = include_str!("../openapi.json");
