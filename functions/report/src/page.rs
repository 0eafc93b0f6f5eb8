//! The page: the results of a run and the state of the lake, as far as the reader may see them.

use chrono::{DateTime, Utc};
use pinlake_lake::QuarantinedRecord;
use pinlake_report::{Answer, Outcome, Panel, PastAnswer, Report, Run, Served, State};
use pinlake_results::{PastResult, QueryResult, store};

use crate::quarantine;
use crate::reader::Reader;
use crate::results::Loaded;

/// What a page shows.
pub(crate) struct Content<'a> {
    pub title: &'a str,
    pub lake: &'a str,
    /// The results to show.
    pub loaded: &'a Loaded,
    /// The ids of all runs, newest first.
    pub runs: &'a [&'a str],
    pub state: State,
    /// When the state was read.
    pub at: DateTime<Utc>,
    /// The freshness objective, in seconds.
    pub objective: Option<u32>,
    /// Quarantined records, if the reader may see some.
    pub records: Option<&'a [QuarantinedRecord]>,
}

pub(crate) fn render(content: Content<'_>, reader: Reader<'_>) -> String {
    let Content { title, lake, loaded, runs, state, at, objective, records } = content;
    let visible = loaded.results.iter().filter(|(_, stored)| reader.may_see_result(stored));
    let panels = visible.map(|(name, stored)| {
        let QueryResult { columns, rows, versions, moved } = stored.result.clone();
        Panel {
            name: name.to_owned(),
            sql: stored.sql.clone().unwrap_or_default(),
            seconds: stored.seconds,
            outcome: Outcome::Answer(Answer { columns, rows, versions, moved }),
            history: loaded.history.get(name).map(|history| to_past(history)).unwrap_or_default(),
            parquet: None,
        }
    });
    pinlake_report::render(&Report {
        title: title.to_owned(),
        lake: lake.to_owned(),
        generated_at: at,
        results_at: loaded.run.as_deref().and_then(store::run_time),
        generator: concat!("pinlake ", env!("CARGO_PKG_VERSION")).to_owned(),
        panels: panels.collect(),
        state,
        objective_seconds: objective,
        contracts: None,
        records: records.map(quarantine::to_answer),
        served: Some(Served { run: loaded.run.clone(), runs: runs.iter().map(|run| to_run(run)).collect() }),
    })
}

fn to_run(id: &str) -> Run {
    Run { id: id.to_owned(), at: store::run_time(id) }
}

fn to_past(history: &[PastResult]) -> Vec<PastAnswer> {
    let past = history.iter().map(|past| PastAnswer {
        run: to_run(&past.run),
        rows: past.rows,
        largest: past.largest.clone(),
        digest: past.digest.clone(),
        versions: past.versions.clone(),
    });
    past.collect()
}
