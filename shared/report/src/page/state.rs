//! The state of the lake: its tables and its quarantine.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::{command, cost, is_late, maintenance, panel, pipeline, records, time};
use crate::format::{format_age, format_bytes, format_count, group_digits, show_controls};
use crate::header::{ChartKind, ChartSpec};
use crate::model::{Answer, DatasetState, Report, State, Waiting};
use crate::plot::{Table, plot};
use crate::svg;

/// Renders the section.
pub(super) fn render(report: &Report) -> Markup {
    let state = &report.state;
    html! {
        section #state aria-labelledby="state-h" {
            h2 id="state-h" { "State of the lake" }
            (pipeline::render(report))
            div.panels {
                article.panel.wide aria-labelledby="tables-h" {
                    h3 id="tables-h" { "What is in each table?" }
                    @if state.datasets.is_empty() {
                        p.empty { "There is no dataset." }
                    } @else {
                        (tables(report))
                    }
                }
                (maintenance::render(report))
                article.panel aria-labelledby="quarantine-h" {
                    h3 id="quarantine-h" { "Which records break their contract?" }
                    (quarantine(report))
                }
                (quarantine_by_day(state))
                (records::render(state))
                (cost::render(state.cost.as_ref()))
                @if let Some(records) = &report.records { (panel::render_records(records)) }
            }
        }
    }
}

/// The days on which the unresolved records arrived.
fn quarantine_by_day(state: &State) -> Markup {
    let days = state.quarantined_by_day();
    if days.len() < 2 {
        return html! {};
    }
    let rows = days.iter().flat_map(|(day, reasons)| {
        reasons.iter().map(move |(reason, count)| vec![json!(day), json!(reason), json!(count)])
    });
    let spec = ChartSpec {
        kind: ChartKind::Stacked,
        x: Some("day".to_owned()),
        y: vec!["records".to_owned()],
        by: Some("reason".to_owned()),
        ..ChartSpec::default()
    };
    let heading = "When did these records arrive?";
    html! {
        article.panel aria-labelledby="arrival-h" {
            h3 id="arrival-h" { (heading) }
            (chart("arrival", heading, &["day", "reason", "records"], rows.collect(), &spec))
        }
    }
}

/// A chart of rows that are no result of a query. `id` is unique in the page.
pub(super) fn chart(
    id: &str,
    heading: &str,
    columns: &[&str],
    rows: Vec<Vec<Value>>,
    spec: &ChartSpec,
) -> Markup {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    let answer = Answer { columns, rows, ..Answer::default() };
    let chart = plot(&Table::new(&answer), Some(spec));
    html! {
        (svg::draw(&chart, id, heading))
        @for note in &chart.notes { p.muted.small { (show_controls(note)) } }
    }
}

fn tables(report: &Report) -> Markup {
    html! {
        div.rows.short tabindex="0" role="region" aria-label="Tables of the lake" {
            table.state {
                thead {
                    tr {
                        th scope="col" { "Dataset" }
                        th.n scope="col" { "Rows" }
                        th.n scope="col" { "Size" }
                        th.n scope="col" { "Files" }
                        th.n scope="col" { "Version" }
                        th scope="col" { "Last commit" }
                        th scope="col" { "Waiting" }
                        th.n scope="col" { "Quarantined" }
                    }
                }
                tbody { @for dataset in &report.state.datasets { (row(dataset, report)) } }
            }
        }
    }
}

fn row(dataset: &DatasetState, report: &Report) -> Markup {
    let quarantined: u64 = dataset.quarantined.values().sum();
    let exists = dataset.version.is_some();
    let known = |text: String| if exists { text } else { "–".to_owned() };
    html! {
        tr.missing[!exists] {
            th scope="row" { (show_controls(&dataset.dataset)) }
            @if dataset.problem.is_some() {
                td.bad colspan="6" data-name="Problem" { "cannot be read" }
            } @else {
                td.n data-name="Rows" {
                    (known(dataset.rows.map_or_else(|| "unknown".to_owned(), |rows| group_digits(&rows.to_string()))))
                }
                td.n data-name="Size" { (known(format_bytes(dataset.bytes))) }
                td.n data-name="Files" { (known(group_digits(&dataset.files.to_string()))) }
                td.n data-name="Version" { @match dataset.version { Some(version) => (group_digits(&version.to_string())), None => "–" } }
                td data-name="Last commit" {
                    @match &dataset.last_commit {
                        Some(commit) => {
                            div {
                                (time(commit.at))
                                div.muted {
                                    (format_age(report.generated_at - commit.at)) " before this page"
                                    @if let Some(inserted) = commit.inserted {
                                        ", " (format_count(inserted, "row")) " inserted"
                                    }
                                    @if let Some(duplicates) = commit.duplicates.filter(|count| *count > 0) {
                                        ", " (format_count(duplicates, "duplicate"))
                                    }
                                }
                            }
                        }
                        None if exists => "unknown",
                        None => "no rows yet",
                    }
                }
                td data-name="Waiting" { (waiting(dataset.waiting.as_ref(), report)) }
            }
            td.n.warning[quarantined > 0] data-name="Quarantined" { (group_digits(&quarantined.to_string())) }
        }
    }
}

/// Landing objects that are not inserted yet, and since when.
fn waiting(waiting: Option<&Waiting>, report: &Report) -> Markup {
    html! {
        @match waiting {
            None => span.muted { "nothing" },
            Some(waiting) => {
                div {
                    @if waiting.is_lower_limit { "at least " }
                    (format_count(waiting.objects, "object")) ", " (format_bytes(waiting.bytes))
                    div.muted.warning[is_late(report, waiting.since)] { "for " (format_age(report.generated_at - waiting.since)) }
                }
            }
        }
    }
}

fn quarantine(report: &Report) -> Markup {
    let state = &report.state;
    let of_datasets = state.datasets.iter().flat_map(|dataset| {
        dataset.quarantined.iter().map(|(reason, count)| (dataset.dataset.as_str(), reason.as_str(), *count))
    });
    let unrouted = state.unrouted.iter().map(|(reason, count)| ("no dataset", reason.as_str(), *count));
    let rows: Vec<_> = of_datasets.chain(unrouted).filter(|(_, _, count)| *count > 0).collect();
    if rows.is_empty() {
        return html! {
            p.empty {
                @if state.quarantine_problem.is_some() { "Unknown: the quarantine cannot be read." }
                @else { "None. Every record is in its table." }
            }
        };
    }
    let names =
        rows.iter().map(|(dataset, reason, count)| vec![json!(format!("{dataset}: {reason}")), json!(count)]);
    let spec = ChartSpec { kind: ChartKind::Bar, top: Some(20), ..ChartSpec::default() };
    let title = "Quarantined records by dataset and reason";
    html! {
        (chart("quarantine", title, &["reason", "records"], names.collect(), &spec))
        p.muted.small {
            (format_count(state.quarantined(), "record")) ", without those that a redrive resolved. "
            @if report.records.is_none() { code { "pinlake quarantine show" } " prints them." }
        }
        (redrive(report))
    }
}

/// The commands that redrive the quarantined records. The page cannot: `docs/decisions/report-redrive.md`.
fn redrive(report: &Report) -> Markup {
    let of_datasets = report.state.datasets.iter().filter(|dataset| !dataset.quarantined.is_empty());
    let names: Vec<&str> = of_datasets.map(|dataset| dataset.dataset.as_str()).collect();
    let contracts: Vec<&str> =
        report.contracts.iter().flat_map(|folder| ["--datasets", folder.as_str()]).collect();
    html! {
        details.redrive {
            summary { "Redrive these records" }
            p {
                "Fix the contract first, and release it. The command then cleans the records again, and inserts those that match. "
                "It needs access to the lake, which this page does not have."
            }
            @for name in &names {
                (command::render(&[&["pinlake", "redrive", "--lake", &report.lake, "--dataset", name], &contracts[..]].concat()))
            }
            @if names.len() != 1 || !report.state.unrouted.is_empty() {
                p { "All datasets, and records without one:" }
                (command::render(&[&["pinlake", "redrive", "--lake", &report.lake], &contracts[..]].concat()))
            }
        }
    }
}
