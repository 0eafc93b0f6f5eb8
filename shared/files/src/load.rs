//! Loads files into the tables: records are cleaned on all processors while the rows before them are inserted.
//!
//! ```text
//! records ──> CleaningPool (blocks of 1 MiB, two per thread) ──> InsertQueue (commits of 32 MiB)
//! ```

mod bucket;
mod clean;
mod cursor;
mod error;
mod insert;
mod loader;
mod source;

pub use self::bucket::BucketLoader;
pub use self::error::{LoadError, RefusedTable};
pub use self::loader::{DatasetSummary, FileSummary, Loader, QuarantinedFile};
pub use self::source::LoadSource;
