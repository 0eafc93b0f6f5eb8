//! The history of a result: a sparkline, its chart, and a row for each run.

use chrono::SecondsFormat;
use maud::{Markup, html};
use serde_json::json;

use super::{encode, run_link, state, time};
use crate::format::{format_count, format_number, group_digits, show_controls};
use crate::header::{ChartKind, ChartSpec};
use crate::model::{Panel, PastAnswer, Report};

/// Width of a sparkline, in CSS pixels.
const WIDTH: f64 = 100.0;
/// Its height.
const HEIGHT: f64 = 20.0;
/// Place for the point at its end.
const MARGIN: f64 = 3.0;

/// What a history is drawn of.
struct Measure<'a> {
    /// Its name.
    name: String,
    /// The column whose largest value it is; none for the number of rows.
    column: Option<&'a str>,
}

impl<'a> Measure<'a> {
    /// The first column with numbers in all runs, or the number of rows.
    fn choose(columns: &'a [String], history: &[PastAnswer]) -> Self {
        let is_known = |name: &&String| history.iter().all(|past| past.largest.contains_key(*name));
        let is_one = history.iter().all(|past| past.rows == 1);
        match columns.iter().find(is_known) {
            Some(column) if is_one => Self { name: column.clone(), column: Some(column) },
            Some(column) => Self { name: format!("largest {column}"), column: Some(column) },
            None => Self { name: "rows".to_owned(), column: None },
        }
    }

    fn value(&self, past: &PastAnswer) -> f64 {
        let number = self.column.and_then(|column| past.largest.get(column));
        self.column.map_or(past.rows as f64, |_| number.and_then(|number| number.as_f64()).unwrap_or(0.0))
    }

    fn text(&self, past: &PastAnswer) -> String {
        match self.column.and_then(|column| past.largest.get(column)) {
            Some(number) => format_number(number),
            None => group_digits(&past.rows.to_string()),
        }
    }
}

/// Renders the history of a result with these columns; nothing if it has one run. `page.js` adds a slider over the runs.
/// `id` is that of the panel.
pub(super) fn render(report: &Report, panel: &Panel, columns: &[String], id: &str) -> Markup {
    let history = &panel.history;
    let (Some(first), Some(last)) = (history.first(), history.last()) else { return html! {} };
    if history.len() < 2 {
        return html! {};
    }
    let measure = Measure::choose(columns, history);
    let runs = format_count(history.len() as u64, "run");
    let changes = history.windows(2).filter(|pair| pair[0].digest != pair[1].digest).count();
    let name = show_controls(&measure.name).into_owned();
    let label = format!("{name} in {runs}, from {} to {}", measure.text(first), measure.text(last));
    html! {
        details.history {
            summary {
                "History, " (runs) " "
                (sparkline(&history.iter().map(|past| measure.value(past)).collect::<Vec<_>>(), &label))
            }
            p.muted.small {
                (name) ": " (measure.text(first)) " → " (measure.text(last)) ". "
                @match changes {
                    0 => "The result is the same in all runs.",
                    1 => "The result changed once.",
                    _ => { "The result changed " (changes) " times." }
                }
            }
            (chart(&measure, history, &format!("{id}-history"), &label))
            div.rows.short tabindex="0" role="region" aria-label={ "History of " (name) } {
                table {
                    thead {
                        tr {
                            th scope="col" { "Run" }
                            th.n scope="col" { (name) }
                            @if measure.column.is_some() { th.n scope="col" { "rows" } }
                            th scope="col" { "table versions" }
                            th scope="col" { "result" }
                        }
                    }
                    tbody {
                        @for (index, past) in history.iter().enumerate().rev() {
                            tr aria-current=[is_shown(report, past).then_some("true")] {
                                td { (run_of(report, panel, past)) }
                                td.n { (measure.text(past)) }
                                @if measure.column.is_some() { td.n { (group_digits(&past.rows.to_string())) } }
                                td { (show_controls(&versions(past))) }
                                td {
                                    @match index.checked_sub(1).and_then(|before| history.get(before)) {
                                        None => "oldest kept",
                                        Some(before) if before.digest == past.digest => span.muted { "unchanged" },
                                        Some(_) => "changed",
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The line of the runs. Several runs of one second are one point.
fn chart(measure: &Measure<'_>, history: &[PastAnswer], id: &str, label: &str) -> Markup {
    let rows = history.iter().map(|past| {
        let run = past
            .run
            .at
            .map_or_else(|| json!(past.run.id), |at| json!(at.to_rfc3339_opts(SecondsFormat::Secs, true)));
        vec![run, json!(measure.value(past))]
    });
    let spec = ChartSpec {
        kind: ChartKind::Line,
        x: Some("run".to_owned()),
        y: vec![measure.name.clone()],
        ..ChartSpec::default()
    };
    state::chart(id, label, &["run", &measure.name], rows.collect(), &spec)
}

/// Whether the page shows the result of this run.
fn is_shown(report: &Report, past: &PastAnswer) -> bool {
    report.served.as_ref().is_some_and(|served| served.run.as_ref() == Some(&past.run.id))
}

fn run_of(report: &Report, panel: &Panel, past: &PastAnswer) -> Markup {
    let shown = html! {
        @match past.run.at {
            Some(at) => (time(at)),
            None => (show_controls(&past.run.id)),
        }
    };
    match &report.served {
        Some(_) => html! { a href={ (run_link(&past.run.id)) "#result-" (encode(&panel.name)) } { (shown) } },
        None => shown,
    }
}

fn versions(past: &PastAnswer) -> String {
    let versions = past.versions.iter().map(|(table, version)| match version {
        Some(version) => format!("{table} {version}"),
        None => format!("{table} –"),
    });
    versions.collect::<Vec<_>>().join(", ")
}

fn sparkline(values: &[f64], label: &str) -> Markup {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    let step = (WIDTH - 2.0 * MARGIN) / (values.len().max(2) - 1) as f64;
    let place = |(index, value): (usize, &f64)| {
        // A value that never changes is a line in the middle.
        let part = if high > low { (value - low) / (high - low) } else { 0.5 };
        (MARGIN + index as f64 * step, HEIGHT - MARGIN - part * (HEIGHT - 2.0 * MARGIN))
    };
    let points: Vec<(f64, f64)> = values.iter().enumerate().map(place).collect();
    let line = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
    let (x, y) = points.last().copied().unwrap_or((0.0, 0.0));
    html! {
        svg.spark role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) {
            polyline.line.s1 points=(line) {}
            circle.s1 cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.5" {}
        }
    }
}
