//! Results of queries: in memory, as JSON, CSV, Parquet and text tables, and stored in a lake.
//!
//! [`store`] keeps the results of each run with the SQL and the time of each query, the id of the newest run, and a
//! bounded history of each result. This crate knows no engine, so a function that only shows results is small.
//!
//! ```
//! use object_store::memory::InMemory;
//! use pinlake_results::{Results, StoredRun, store};
//! use serde_json::json;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let results = Results::from_json(json!({ "posts": { "columns": ["n"], "rows": [[3]] } }))?;
//! let lake = InMemory::new();
//! store::save(&lake, "20221019T120000Z-a", &StoredRun::from(results)).await?;
//! let (run, loaded) = store::load(&lake, None).await?;
//! assert_eq!((run.as_str(), loaded.get("posts").map(|posts| posts.rows.len())), ("20221019T120000Z-a", Some(1)));
//! assert_eq!(store::load_history(&lake, "posts").await?.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```

mod decimal;
mod history;
mod parquet;
mod render;
mod results;
pub mod store;

pub use decimal::decimal_to_json;
pub use history::{MAX_HISTORY, PastResult};
pub use results::{InvalidResults, NamedResults, QueryResult, ResultForm, Results, StoredResult, StoredRun};
