//! Inserts the same batches into a table in a folder twice and prints both summaries. The second insert adds nothing.
//!
//! `cargo run --workspace --example insert_if_absent [FOLDER]`. Without FOLDER, a temporary folder is used. With one, run it again:
//! the table still has the rows.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Clock, Env, SystemClock};
use pinlake_lake::Lake;
use pinlake_schema::Catalog;

const CONTRACT: &str = r#"
name = "visit"
version = 1
description = "One row for each visit."
identity = ["visitor", "page"]
[route]
shape = ["visitor", "page"]
[[column]]
name = "visitor"
type = "int64"
required = true
[[column]]
name = "page"
type = "string"
"#;

const RECORDS: [&str; 3] = [
    r#"{"visitor": 7, "page": "home"}"#,
    r#"{"visitor": 8, "page": "home"}"#,
    r#"{"visitor": 7, "page": "home"}"#,
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let lake = Lake::new(Arc::new(LocalFileSystem::new_with_prefix(&folder)?), Env::system());
    let catalog = Arc::new(Catalog::from_files([("visit.toml".to_owned(), CONTRACT.to_owned())])?);

    let mut cleaner = RecordCleaner::new(catalog.clone(), SystemClock.now());
    for (line, record) in (1..).zip(RECORDS) {
        let origin = RecordOrigin { source: "example", position: Position::Line(line), record_id: None };
        cleaner.push(record.as_bytes(), None, &origin);
    }
    for cleaned in cleaner.drain() {
        let batches = [cleaned.rows];
        for attempt in 1..=2 {
            let summary = lake.insert(&catalog, &cleaned.contract, &batches).await?;
            println!("insert {attempt}: {summary:?}");
        }
        let pinned = lake.table(&cleaned.contract).pin().await?;
        println!("version {:?} has {} data files", pinned.version, pinned.files.len());
    }
    Ok(())
}
