//! ingest: the Lambda function behind the pipeline's URL.
//!
//! It takes records over HTTP in three wire formats (`docs/api.md` is their manual), puts them on one Kinesis
//! stream, and answers 2xx only for what Kinesis has taken. It answers what clients of the old APIs ask besides: which
//! topics and streams there are, and, where that is switched on, what lies on them. It reads JSON and no meaning: whether a record fits
//! its data contract is the cleaner's business, and a record that does not is accepted here.
//!
//! Invariants:
//! - Nothing of a request is stored before all of it has been read and found well-formed.
//! - What was acknowledged is on the stream: as compact JSON lines under a
//!   [`StreamKey`](pinlake_schema::stream_key::StreamKey) that says what the request knew about them.
//! - Sizes, depths, counts and times are bounded, and payload bytes are never logged.
//!
//! `main.rs` wires it to AWS; tests and the simulator drive [`app::App`] with a [`stream::RecordStream`] of
//! their own.
//!
//! ```
//! use std::sync::Arc;
//! use ingest::app::{Access, App};
//! use ingest::packing::StreamRecord;
//! use ingest::reading::ReadableStream;
//! use ingest::stream::{Receipt, RecordStream, PutError};
//! use ingest::writer::RetryPolicy;
//!
//! /// A stream that takes everything.
//! struct Willing;
//! impl RecordStream for Willing {
//!     async fn put_records(&self, records: &[&StreamRecord]) -> Result<Vec<Result<Receipt, PutError>>, PutError> {
//!         let receipt = |_: &&StreamRecord| Ok(Receipt { shard: "shardId-000000000000".into(), sequence: "42".into() });
//!         Ok(records.iter().map(receipt).collect())
//!     }
//! }
//!
//! impl ReadableStream for Willing {}
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let app = App {
//!     stream: Willing,
//!     catalog: Arc::new(pinlake_schema::Catalog::embedded().unwrap()),
//!     access: Access::Anyone,
//!     reads: false,
//!     patience: RetryPolicy::default(),
//!     effects: pinlake_env::Env::system(),
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
pub mod compact;
pub mod error;
pub mod kafka_rest;
pub mod kinesis_api;
pub mod kinesis_reads;
pub mod kinesis_streams;
pub mod native;
pub mod openapi;
pub mod packing;
pub mod payload;
pub mod reading;
pub mod request_id;
pub mod response;
pub mod router;
pub mod stream;
pub mod writer;
