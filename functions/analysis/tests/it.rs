//! The analysis' handler over a lake without tables: every query of the set runs, and its results are kept.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]

use std::sync::{Arc, Mutex};

use analysis::Analysis;
use analysis::results_table::{ResultsTable, TableError};
use async_trait::async_trait;
use object_store::memory::InMemory;
use pinlake_analytics::{QueryResult, QuerySet, stored};
use pinlake_effects::{Chance, Effects, ManualClock};
use pinlake_lake::Lake;
use pinlake_schema::Catalog;

/// Remembers what it was given: (run, result).
#[derive(Default)]
struct Kept(Mutex<Vec<(String, String)>>);

#[async_trait]
impl ResultsTable for Kept {
    async fn keep(
        &self,
        run: &str,
        name: &str,
        _result: &QueryResult,
        _path: &str,
    ) -> Result<(), TableError> {
        self.0.lock().unwrap().push((run.to_owned(), name.to_owned()));
        Ok(())
    }
}

#[tokio::test]
async fn the_sample_event_names_its_run_and_all_results_are_kept() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/analysis_schedule.json");
    let event = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    let effects = Effects { clock: Arc::new(clock), chance: Arc::new(Chance::seeded(1)) };
    let analysis = Analysis {
        lake: Lake::new(Arc::new(InMemory::new()), effects.clone()),
        catalog: Arc::new(Catalog::embedded().unwrap()),
        queries: QuerySet::embedded().unwrap(),
        table: Kept::default(),
        effects,
    };
    let answer = analysis.handle(&event).await.unwrap();
    assert!(answer.run.starts_with("20261122T220000Z-53dc4d37"), "{}", answer.run);
    assert_eq!(answer.rows.len(), 10);
    assert!(answer.rows.values().all(|rows| *rows == 0), "{answer:?}");
    assert_eq!(answer.versions["pin"], None, "there is no table yet");
    let (run, results) = stored::load(&**analysis.lake.store(), None).await.unwrap();
    assert_eq!((run.as_str(), results.len()), (answer.run.as_str(), 10));
    assert_eq!(analysis.table.0.lock().unwrap().len(), 10);
}
