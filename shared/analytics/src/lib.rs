//! Runs sets of SQL queries over the tables of a lake and stores the results.
//!
//! A [`QuerySet`] is a folder of SQL files; each file gives one result. A file may be written in the [`Dialect`] of
//! another engine. [`run_queries`] executes the set with DataFusion over the files of one pinned version of each table.
//! It returns [`Results`], which `pinlake_results` converts, renders and stores. [`lake::analyse`] pins the tables of a lake
//! and runs the set over them.
//!
//! Invariants:
//! - Only the given files are read. Nothing is listed and no schema is inferred. A column that a file lacks is null.
//! - A query only reads. Statements that change or write anything are rejected.
//! - Rows have the order of the query's `ORDER BY`. Without one they are sorted by their cells, so equal tables give
//!   equal results.
//! - A run succeeds or fails as a whole, and its error names every query that failed; [`run_each_query`] returns the
//!   outcome of each query instead.
//! - [`QueryLimits`] bounds memory, time and the rows of a result. The size of a query and of a set is bounded too.
//!
//! DataFusion gets a list of files and an object store; it depends neither on Delta nor on AWS.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! use parquet::arrow::ArrowWriter;
//! use pinlake_analytics::{Dialect, QuerySet, TableFile, TableInput, run_queries};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let followers: ArrayRef = Arc::new(Int64Array::from(vec![Some(124_000), None, Some(1_000)]));
//! let batch = RecordBatch::try_from_iter([("follower_count", followers)])?;
//! let mut file = Vec::new();
//! let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None)?;
//! writer.write(&batch)?;
//! writer.close()?;
//!
//! let store = Arc::new(InMemory::new());
//! let path = Path::from("tables/pin/part-0.parquet");
//! let size = file.len() as u64;
//! store.put(&path, file.into()).await?;
//!
//! let pin = TableInput { name: "pin".into(), version: Some(3), schema: batch.schema(), partition_columns: vec![],
//!     files: vec![TableFile::new(path, size)] };
//! let queries = QuerySet::from_files(Dialect::Shared, [(
//!     "posts.sql".to_owned(),
//!     "SELECT COUNT(*) AS posts, MEDIAN(follower_count) AS median FROM pin".to_owned(),
//! )])?;
//!
//! let results = run_queries(store, vec![pin], &queries).await?;
//! assert_eq!(
//!     results.to_json().to_string(),
//!     r#"{"posts":{"columns":["posts","median"],"rows":[[3,62500.0]],"versions":{"pin":3}}}"#
//! );
//! # Ok(())
//! # })
//! # }
//! ```

mod cell;
mod column_cache;
mod cooperative_joins;
mod error;
mod file_pruning;
mod json_functions;
pub mod lake;
mod query_set;
mod run;
mod table;

pub use error::{AnalyticsError, FailureKind, QueryFailure};
pub use pinlake_results::{QueryResult, Results};
pub use query_set::{Dialect, Query, QuerySet};
pub use run::{
    BytesRead, QueryLimits, QueryOutcome, RunOutcome, run_each_query, run_queries, run_queries_with_limits,
};
pub use table::{TableFile, TableInput};
