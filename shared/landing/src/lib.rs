//! The landing area: cleaned rows that are not in their table yet, as immutable Parquet objects.
//!
//! The cleaner writes landing objects, the compactor inserts their rows into the tables. Paths are relative to the
//! lake's root; `<stream>/<shard>` depends on the source of the records, see [`source`]:
//!
//! | path | contents |
//! |---|---|
//! | `landing/<dataset>/<contract hash>/<minute>/<stream>/<shard>/<first>-<last>-<content hash>.parquet` | cleaned rows and their keys |
//! | `raw/<minute>/<stream>/<shard>/<first>-<last>-<content hash>.ndjson.zst` | the records that the rows were cleaned from |
//! | `contracts/<catalog hash>.json` | the catalog history, see [`catalog_history`] |
//! | `state/watermarks/<stream>/<shard>.json` | the watermark of each shard |
//! | `aws/lambda/<event source>/<shard>/...` | discarded batches, in the bucket's root, see [`discarded`] |
//! | `failed/landing/...` | landing objects that cannot be read, see [`recover`] |
//! | `inbox/<dataset>/...` | files to ingest, see the crate `pinlake-files` |
//! | `state/files/<file id>.json` | progress of files that need more than one invocation |
//!
//! Invariants:
//! - An object is created once and never changed. Its name contains the hash of its bytes, so a batch that is delivered
//!   twice lands once.
//! - Names depend on the records alone, never on the present time, so a retry produces the same names.
//! - A watermark is written after all records up to it have landed, and never goes back.
//!
//! ```
//! use pinlake_landing::name::LandingName;
//!
//! let path = "landing/pin/00aa11bb22cc33dd/20221019T1200/events/shardId-000000000000/7-9-c0ffee00c0ffee00.parquet";
//! let name = LandingName::parse(&path.into()).unwrap();
//! assert_eq!((name.dataset.as_str(), name.first.as_str(), name.last.as_str()), ("pin", "7", "9"));
//! assert_eq!(name.source.to_string(), "kinesis/events/shardId-000000000000");
//! assert_eq!(name.path().as_ref(), path);
//! ```

mod aggregate;
pub mod catalog_history;
pub mod discarded;
pub mod drain;
pub mod error;
pub mod kinesis;
pub mod land;
pub mod message;
pub mod name;
pub mod object;
pub mod raw;
pub mod recover;
pub mod sequence;
pub mod source;
pub mod watermark;

pub use error::LandingError;
