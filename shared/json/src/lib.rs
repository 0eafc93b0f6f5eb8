//! The JSON lexer of pinlake: checks JSON text and finds the pieces of it, without building values and without allocating.
//!
//! Ingest uses it to check and compact requests, the cleaner to find the fields of records, and the record reader to split files
//! into records. Where an error message matters more than time, they use `serde_json`.
//!
//! Invariants:
//! - a [`Lexer`] accepts exactly the texts of RFC 8259 that nest at most [`MAX_DEPTH`] levels deep. As the RFC allows, a string may
//!   contain half a surrogate pair, for which [`Escape::character`] is `None`;
//! - property tests and the fuzz target `json` compare it with `serde_json`.
//!
//! ```
//! use pinlake_json::{Lexer, Malformed, ValueKind};
//!
//! let mut lexer = Lexer::new(br#"{"title": "caf\u00e9", "tags": ["a", "b"]}"#);
//! let mut kinds = Vec::new();
//! lexer.object(|lexer, _| {
//!     lexer.open_name()?;
//!     lexer.finish_string()?;
//!     lexer.colon()?;
//!     kinds.push(lexer.value_kind()?);
//!     lexer.skip_value()
//! })?;
//! lexer.end()?;
//! assert_eq!(kinds, [ValueKind::String, ValueKind::Array]);
//! # Ok::<(), Malformed>(())
//! ```

mod boundary;
mod escape;
mod lexer;
mod plain_run;

pub use boundary::{Boundary, BoundaryScanner, MAX_OPEN_BRACKETS};
pub use escape::Escape;
pub use lexer::{Lexer, MAX_DEPTH, Malformed, RunEnd, ValueKind};
