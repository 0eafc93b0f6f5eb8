//! ingest: the Lambda function behind the pipeline's URL.
//!
//! It accepts records over HTTP in several wire protocols (`docs/api.md` is the reference), writes them to one Kinesis
//! stream, and answers 2xx only for records that Kinesis has stored. It also serves the metadata requests of the old
//! APIs and, if enabled, reads records back. It checks that records are JSON; the cleaner checks them against their
//! contract, so a record that breaks its contract is accepted here.
//!
//! Invariants:
//! - Nothing of a request is stored before the whole request has been read and validated.
//! - An acknowledged record is on the stream, as a compact JSON line under a
//!   [`StreamKey`](pinlake_schema::stream_key::StreamKey) with its dataset, if the request named one.
//! - Sizes, depths, counts and times are bounded. Nothing that a client wrote is logged.
//!
//! `main.rs` wires it to AWS. Tests and the simulator use [`app::App`] with their own [`stream::RecordStream`].
//! [`endpoint`] describes how to add a protocol.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ingest::access::Access;
//! use ingest::app::App;
//! use ingest::packing::StreamRecord;
//! use ingest::stream::read::ReadableStream;
//! use ingest::stream::{Receipt, RecordStream, StreamError};
//! use ingest::writer::WriteRetryPolicy;
//!
//! /// A stream that accepts every record.
//! struct MemoryStream;
//!
//! impl RecordStream for MemoryStream {
//!     async fn put_records(
//!         &self,
//!         records: &[&StreamRecord],
//!     ) -> Result<Vec<Result<Receipt, StreamError>>, StreamError> {
//!         let receipt = Receipt { shard: "shardId-000000000000".into(), sequence: "42".into() };
//!         Ok(vec![Ok(receipt); records.len()])
//!     }
//! }
//!
//! impl ReadableStream for MemoryStream {}
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let app = App {
//!     stream: MemoryStream,
//!     catalog: Arc::new(pinlake_schema::Catalog::embedded().unwrap()),
//!     access: Access::Anyone,
//!     reads_enabled: false,
//!     is_paused: false,
//!     cors: ingest::cors::Cors::default(),
//!     webhooks: ingest::webhook::Webhooks::default(),
//!     retry_policy: WriteRetryPolicy::default(),
//!     env: pinlake_env::Env::system(),
//! };
//! let request = http::Request::post("https://example.org/v1/pin")
//!     .header("Idempotency-Key", "first")
//!     .body(lambda_http::Body::from(r#"{"index": 1}"#))
//!     .unwrap();
//! let response = app.handle(request).await;
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.headers()["Pinlake-Ack"], "shardId-000000000000=42");
//! # });
//! ```

pub mod access;
pub mod ack;
pub mod app;
pub mod body;
pub mod canary;
pub mod cors;
pub mod endpoint;
pub mod error;
pub mod json_reader;
pub mod openapi;
pub mod packing;
pub mod payload;
pub mod protocol;
pub mod request_id;
pub mod response;
pub mod stream;
pub mod webhook;
pub mod writer;
