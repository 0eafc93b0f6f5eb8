//! Runs one SQL query over a lake in a folder and prints the result as a table.
//!
//! ```sh
//! pinlake load --lake ./lake rows/
//! cargo run --workspace --example answer_a_query -- ./lake "SELECT COUNT(*) AS posts FROM pin"
//! ```

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use pinlake_analytics::lake::analyse;
use pinlake_analytics::{Dialect, QueryLimits, QuerySet};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_schema::Catalog;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(sql)) = (arguments.next(), arguments.next()) else {
        return Err("usage: answer_a_query LAKE SQL".into());
    };
    let lake = Lake::new(Arc::new(LocalFileSystem::new_with_prefix(folder)?), Env::system());
    let queries = QuerySet::from_files(Dialect::Shared, [("answer.sql".to_owned(), sql)])?;
    let run = analyse(&lake, &Catalog::embedded()?, &queries, &QueryLimits::default(), None).await?;
    let results = run.into_results()?;
    println!("{}", results.render_table());
    Ok(())
}
