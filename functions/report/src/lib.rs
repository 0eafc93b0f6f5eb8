//! report: the Lambda function that shows results and the state of the lake.
//!
//! It answers with the page of `pinlake_report`, and with the same data as JSON, CSV and Parquet (`docs/report.md`,
//! `openapi.json`). Results are those that the function analysis stored; no query runs here, so a view costs a few reads
//! of S3. The state is read from the tables' logs.
//!
//! Invariants:
//! - It only reads, and its role cannot write.
//! - A caller with an API key of some datasets gets the state of these, the results that were computed from these only,
//!   and their quarantined records. Anonymous callers get no quarantined records.
//! - The size of every response is bounded, and nothing that a client wrote is logged.
//!
//! `main.rs` wires it to AWS. Tests use [`app::App`] with a lake in memory.

pub mod app;
mod cache;
mod error;
pub mod openapi;
mod page;
mod quarantine;
pub mod reader;
mod response;
mod results;
pub mod route;
