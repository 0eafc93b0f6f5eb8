//! A diagram of the pipeline with the state of each part, as far as the lake itself tells it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::is_late;
use crate::format::{format_age, format_count, group_digits};
use crate::model::Report;

/// The state of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Ok,
    Late,
    Failed,
    /// The lake has nothing that tells it.
    Unknown,
}

impl Condition {
    fn word(self) -> &'static str {
        match self {
            Condition::Ok => "ok",
            Condition::Late => "late",
            Condition::Failed => "failed",
            Condition::Unknown => "unknown",
        }
    }
}

/// A part of the pipeline.
struct Part {
    name: &'static str,
    condition: Condition,
    /// What is known of it; may be empty.
    value: String,
    detail: String,
}

impl Part {
    fn new(name: &'static str, condition: Condition, value: String, detail: String) -> Part {
        Part { name, condition, value, detail }
    }

    fn unknown(name: &'static str, detail: &str) -> Part {
        Part::new(name, Condition::Unknown, String::new(), detail.to_owned())
    }
}

/// Renders the diagram.
pub(super) fn render(report: &Report) -> Markup {
    html! {
        ol.pipeline aria-label="The way of a record" {
            @for Part { name, condition, value, detail } in parts(report) {
                li.(condition.word()) {
                    span.head { strong { (name) } " " span.condition { (condition.word()) } }
                    @if !value.is_empty() { span.value { (value) } }
                    span.muted { (detail) }
                }
            }
        }
    }
}

/// The parts, in the order in which a record passes them.
fn parts(report: &Report) -> Vec<Part> {
    let state = &report.state;
    let ago = |at: DateTime<Utc>| format!("{} ago", format_age(report.generated_at - at));
    let is_streamed = state.landed_at.is_some();
    let late = state.waiting_since().filter(|since| is_late(report, *since));
    vec![
        Part::unknown("Ingest", "requests leave no trace in the lake"),
        match state.shards {
            0 => Part::unknown("Stream", "nothing landed from one"),
            shards => Part::new(
                "Stream",
                Condition::Unknown,
                format_count(shards, "shard"),
                "what waits in it is not in the lake".to_owned(),
            ),
        },
        match state.landed_at {
            Some(at) => Part::new("Cleaner", Condition::Ok, "landed a batch".to_owned(), ago(at)),
            None => Part::unknown("Cleaner", "it landed no batch"),
        },
        landing(report),
        match (late, state.last_commit_at()) {
            (Some(since), _) => {
                let age = format_age(report.generated_at - since);
                Part::new("Compactor", Condition::Late, "behind".to_owned(), format!("rows wait for {age}"))
            }
            (None, Some(at)) if is_streamed => Part::new(
                "Compactor",
                Condition::Ok,
                "nothing is late".to_owned(),
                format!("last commit {}", ago(at)),
            ),
            _ => Part::unknown("Compactor", "nothing landed for it"),
        },
        tables(report),
        analysis(report),
    ]
}

fn landing(report: &Report) -> Part {
    let state = &report.state;
    let objects = state.datasets.iter().filter_map(|dataset| dataset.waiting.as_ref());
    let objects: u64 = objects.map(|waiting| waiting.objects).sum();
    match state.waiting_since() {
        None => Part::new("Landing", Condition::Ok, "empty".to_owned(), "nothing waits".to_owned()),
        Some(since) => {
            let condition = if is_late(report, since) { Condition::Late } else { Condition::Ok };
            let age = format_age(report.generated_at - since);
            Part::new("Landing", condition, format_count(objects, "object"), format!("waiting for {age}"))
        }
    }
}

fn tables(report: &Report) -> Part {
    let state = &report.state;
    let rows: u64 = state.datasets.iter().filter_map(|dataset| dataset.rows).sum();
    let failed = state.datasets.iter().filter(|dataset| dataset.problem.is_some()).count() as u64;
    let quarantined = state.quarantined();
    let detail = match quarantined {
        0 => "none quarantined".to_owned(),
        count => format!("{} quarantined", group_digits(&count.to_string())),
    };
    if failed > 0 {
        let value = format!("{} cannot be read", format_count(failed, "table"));
        return Part::new("Tables", Condition::Failed, value, detail);
    }
    match state.last_commit_at() {
        Some(_) => Part::new("Tables", Condition::Ok, format_count(rows, "row"), detail),
        None => Part::new("Tables", Condition::Unknown, "no rows yet".to_owned(), detail),
    }
}

fn analysis(report: &Report) -> Part {
    let results = format_count(report.panels.len() as u64, "result");
    match &report.served {
        None => Part::new("Analysis", Condition::Ok, results, "computed for this page".to_owned()),
        Some(served) => match report.results_at.filter(|_| served.run.is_some()) {
            Some(at) => {
                let age = format_age(report.generated_at - at);
                Part::new("Analysis", Condition::Ok, results, format!("computed {age} ago"))
            }
            None => Part::unknown("Analysis", "no results yet"),
        },
    }
}
