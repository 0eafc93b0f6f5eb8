//! The landing area: clean rows on their way into a table, as immutable Parquet objects.
//!
//! The cleaner writes here, the compactor takes from here. Paths are relative to the lake's root:
//!
//! | path | what |
//! |---|---|
//! | `landing/<dataset>/<contract hash>/<minute>/<source>/<shard>/<first>-<last>-<content hash>.parquet` | clean rows and their keys |
//! | `raw/<minute>/<source>/<shard>/<first>-<last>-<content hash>.ndjson.zst` | the records they came from |
//! | `state/watermarks/<stream>/<shard>.json` | how far each shard has landed |
//! | `aws/lambda/<event source>/<shard>/...` | batches that the stream's event source gave up, in the bucket's root, see [`discarded`] |
//! | `failed/landing/...` | landing objects that could not be taken, see [`recover`] |
//! | `inbox/<dataset>/...`, `state/files/<file id>.json` | dropped files and the progress in large ones, see the crate `pinlake-files` |
//!
//! Invariants:
//! - An object is put if absent and never changed; its name holds the hash of its bytes, so a batch that is
//!   delivered twice lands once, and a put that was retried is the same put.
//! - Names come from the records alone (never from the present time), so a retry makes the same names.
//! - A shard's watermark is written after everything up to it has landed, and never goes back.
//!
//! ```
//! use pinlake_landing::name::LandingName;
//!
//! let path = "landing/pin/00aa11bb22cc33dd/20221019T1200/events/shardId-000000000000/7-9-c0ffee00c0ffee00.parquet";
//! let name = LandingName::parse(&path.into()).unwrap();
//! assert_eq!((name.dataset.as_str(), name.first.as_str(), name.last.as_str()), ("pin", "7", "9"));
//! assert_eq!(name.path().as_ref(), path);
//! ```

mod aggregate;
pub mod bounded_list;
pub mod catalog_history;
mod compression;
pub mod discarded;
pub mod drain;
pub mod error;
pub mod kinesis;
pub mod land;
pub mod name;
pub mod object;
pub mod raw;
pub mod recover;
pub mod sequence;
pub mod source;
pub mod watermark;

pub use error::LandingError;
