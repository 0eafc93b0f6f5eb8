//! The OpenAPI document of this function.
//!
//! `tests/openapi` compares it with the endpoint tables and the limits, and schemathesis tests the deployed function
//! with it (`tests/api`).

/// The document, JSON.
pub const DOCUMENT: &str = include_str!("../openapi.json");
