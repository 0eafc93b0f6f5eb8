//! Files as a source of records: files on this machine, objects of a bucket, and the lake's `inbox/`.
//!
//! Two programs read files, and share what is here:
//!
//! | caller | path of a record | modules |
//! |---|---|---|
//! | `pinlake load` | file → clean on all processors → insert into the tables | [`local`], [`load`] |
//! | the compactor | file → slice of bounded size → `raw/` and `landing/` | [`inbox`], [`slice`](mod@slice), [`progress`], [`attempt`] |
//!
//! Both name a file with [`FileSource`](source::FileSource) and get its bytes with [`fetch`](fetch::fetch).
//!
//! Invariants:
//! - The identity of a record is the file's id and the record's number, so a file that is read twice produces the same
//!   keys, and its rows are inserted once.
//! - A load keeps the order of the records: of rows with equal keys the first one wins.
//! - Memory is bounded: blocks, slices and gathered rows have a maximum size, and large files are spooled to disk.
//! - A cursor or a progress object is written after the rows before it are stored.
//!
//! ```
//! use std::sync::Arc;
//!
//! use object_store::memory::InMemory;
//! use pinlake_clean::record_reader::{ReadLimits, RecordReader};
//! use pinlake_env::{Clock, Env};
//! use pinlake_files::load::{Loader, LoadSource};
//! use pinlake_lake::Lake;
//! use pinlake_schema::Catalog;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let (env, catalog) = (Env::system(), Arc::new(Catalog::embedded()?));
//! let lake = Arc::new(Lake::new(Arc::new(InMemory::new()), env.clone()));
//! let mut loader = Loader::open(lake, catalog, env.clock.now()).await?;
//!
//! let line = r#"{"ind": 1, "country": "Peru", "timestamp": "2020-08-28 03:52:47", "latitude": -75.3, "longitude": 1.0}"#;
//! let records = RecordReader::from_bytes("geo.ndjson", line.into(), ReadLimits::default())?;
//! let (name, dataset) = ("file/geo.ndjson".to_owned(), Some("geo".to_owned()));
//! let source = LoadSource { name, dataset, ..LoadSource::default() };
//! loader.load_file(records, source, |_bytes_read| {}).await??;
//! loader.flush().await?;
//!
//! let summary = loader.summaries().remove(0);
//! assert_eq!((summary.dataset.as_deref(), summary.read, summary.inserted), (Some("geo"), 1, 1));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub mod attempt;
pub mod fetch;
pub mod inbox;
pub mod load;
pub mod local;
pub mod progress;
pub mod slice;
pub mod source;
