//! The OpenAPI document of this function. `tests/it` compares it with the routes and the responses.

/// The document, JSON.
pub const DOCUMENT: &str = include_str!("../openapi.json");
