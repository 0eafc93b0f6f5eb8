//! Query sets over pinned tables: the analyses of a lake and how their answers are written down.
//!
//! A [`QuerySet`] is a folder of SQL files, one a result; it may hold some in the [`Dialect`] of another engine. [`run`]
//! answers all of them with DataFusion over exactly the files it is given (one pinned version of each table), and
//! [`Results`] are the answers: to JSON and back, as tables for people, as CSV.
//!
//! Invariants:
//! - nothing but the given files is read: no listing, no schema inferred; a column that a file does not have yet
//!   is null;
//! - a query can only read: statements that change or write anything are refused;
//! - rows come in the query's own `ORDER BY`, or else sorted by their cells, so equal tables give equal results;
//! - a run fails as a whole and then names every query that failed, never some of the answers as if they were all;
//! - memory, time, rows of a result and the size of a query are bounded by [`Limits`].
//!
//! The program, the analysis function and tests use this crate. The engine knows neither Delta nor AWS: it is given a
//! list of files and an object store. [`lake::analyse`] makes that list from a lake's tables, and [`stored`] keeps
//! results in the lake.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! use parquet::arrow::ArrowWriter;
//! use pinlake_analytics::{Dialect, QuerySet, TableInput, run};
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
//! let pin = TableInput { name: "pin".into(), version: Some(3), schema: batch.schema(), files: vec![(path, size)] };
//! let queries = QuerySet::from_files(Dialect::Shared, [(
//!     "posts.sql".to_owned(),
//!     "SELECT COUNT(*) AS posts, MEDIAN(follower_count) AS median FROM pin".to_owned(),
//! )])?;
//!
//! let results = run(store, vec![pin], &queries).await?;
//! assert_eq!(
//!     results.to_json().to_string(),
//!     r#"{"posts":{"columns":["posts","median"],"rows":[[3,62500.0]],"versions":{"pin":3}}}"#
//! );
//! # Ok(())
//! # })
//! # }
//! ```

mod cell;
mod columns;
mod error;
pub mod lake;
mod pauses;
mod query_set;
mod render;
mod results;
mod run;
pub mod stored;
mod table;

pub use error::{AnalyticsError, FailureKind, QueryFailure};
pub use query_set::{Dialect, Query, QuerySet};
pub use results::{QueryResult, Results};
pub use run::{Limits, run, run_with};
pub use table::TableInput;
