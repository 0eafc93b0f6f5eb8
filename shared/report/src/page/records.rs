//! What became of the records: the share that breaks a contract, and what the commits did with the others.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{panel, state};
use crate::format::{format_count, format_time, group_digits, show_controls};
use crate::header::{ChartKind, ChartSpec};
use crate::model::{Activity, Answer, DatasetState, Period, State};

const SECONDS_PER_DAY: u32 = 86_400;
/// Gives one of the numbers of a period.
type Count = fn(&Period) -> u64;
/// What becomes of an accepted record, in the words of the page.
const OUTCOMES: [(&str, Count); 5] = [
    ("inserted", |period| period.inserted),
    ("duplicates", |period| period.duplicates),
    ("superseded", |period| period.superseded),
    ("outdated", |period| period.outdated),
    ("deleted", |period| period.deleted),
];

/// Renders the panels; nothing if no commit is known.
pub(super) fn render(lake: &State) -> Markup {
    let active: Vec<(&DatasetState, &Activity)> =
        lake.datasets.iter().filter_map(|dataset| Some((dataset, dataset.activity.as_ref()?))).collect();
    html! {
        @if !active.is_empty() {
            (checks(&active))
            (outcomes(&active))
        }
    }
}

/// The trend of the share that breaks a contract.
fn checks(active: &[(&DatasetState, &Activity)]) -> Markup {
    let heading = "Which share of the records breaks its contract?";
    let periods = || active.iter().flat_map(|(_, activity)| &activity.periods);
    let quarantined: u64 = periods().map(|period| period.quarantined).sum();
    html! {
        article.panel aria-labelledby="checks-h" {
            h3 id="checks-h" { (heading) }
            @if quarantined == 0 {
                p.empty { "None of the last 31 days, or all are resolved." }
            } @else {
                @for (length, unit) in [(SECONDS_PER_DAY, "day"), (3600, "hour")] {
                    (share_chart(active, length, unit, heading))
                }
                p.muted.small {
                    "Records in quarantine that are not resolved, of all that arrived in the same time. "
                    (format_count(quarantined, "record")) " of the last 31 days."
                }
            }
        }
    }
}

/// The shares of the datasets that are known by periods of this length.
fn share_chart(active: &[(&DatasetState, &Activity)], length: u32, unit: &str, heading: &str) -> Markup {
    let known = active.iter().filter(|(_, activity)| activity.period_seconds == length);
    let rows: Vec<Vec<Value>> = known
        .flat_map(|(dataset, activity)| {
            let complete = activity.periods.iter().filter(|period| activity.is_complete(period));
            complete.filter_map(|period| {
                Some(vec![
                    to_cell(period.from),
                    json!(dataset.dataset),
                    json!(to_percent(period.share_quarantined()?)),
                ])
            })
        })
        .collect();
    let columns = ["from", "dataset", "in quarantine"];
    let spec = ChartSpec {
        kind: ChartKind::Line,
        x: Some("from".to_owned()),
        y: vec!["in quarantine".to_owned()],
        by: Some("dataset".to_owned()),
        unit: Some(format!("% of each {unit}")),
        ..ChartSpec::default()
    };
    html! { @if !rows.is_empty() { (state::chart(&format!("checks-{unit}"), heading, &columns, rows, &spec)) } }
}

/// What became of the records that match their contract.
fn outcomes(active: &[(&DatasetState, &Activity)]) -> Markup {
    let heading = "What became of the records?";
    let sums = active.iter().map(|(dataset, activity)| {
        let mut sum = Period::default();
        activity.periods.iter().for_each(|period| sum.add(period));
        (*dataset, sum)
    });
    let drawn: Vec<Vec<Value>> = sums
        .flat_map(|(dataset, sum)| {
            let outcomes =
                OUTCOMES.into_iter().chain([("quarantined", (|period| period.quarantined) as Count)]);
            outcomes
                .map(move |(name, count)| (name, count(&sum)))
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| vec![json!(dataset.dataset), json!(name), json!(count)])
        })
        .collect();
    let spec = ChartSpec {
        kind: ChartKind::Stacked,
        x: Some("dataset".to_owned()),
        y: vec!["records".to_owned()],
        by: Some("outcome".to_owned()),
        order: OUTCOMES.map(|(name, _)| name.to_owned()).to_vec(),
        ..ChartSpec::default()
    };
    let truncated: Vec<String> = active
        .iter()
        .filter(|(_, activity)| activity.is_truncated)
        .map(|(dataset, activity)| {
            format!(
                "{}: the newest {} commits, since {}",
                dataset.dataset,
                group_digits(&activity.commits.to_string()),
                format_time(activity.since)
            )
        })
        .collect();
    html! {
        article.panel data-table="records" aria-labelledby="outcomes-h" {
            h3 id="outcomes-h" { (heading) }
            @if !drawn.is_empty() { (state::chart("outcomes", heading, &["dataset", "outcome", "records"], drawn, &spec)) }
            p.muted.small {
                "By the commits of the last 31 days, as " code { "pinlake history" } " lists them. A batch without a new row makes no commit, so its duplicates are not counted. "
                @if !truncated.is_empty() { (show_controls(&truncated.join("; "))) "." }
            }
            (panel::render_table(&to_answer(active), heading))
        }
    }
}

/// A row for each dataset and period, newest first.
fn to_answer(active: &[(&DatasetState, &Activity)]) -> Answer {
    let columns = ["dataset", "from", "accepted"].into_iter().chain(OUTCOMES.map(|(name, _)| name));
    let row = |dataset: &DatasetState, activity: &Activity, period: &Period| {
        let share = period.share_quarantined().filter(|_| activity.is_complete(period)).map(to_percent);
        let mut row = vec![json!(dataset.dataset), to_cell(period.from), json!(period.read)];
        row.extend(OUTCOMES.map(|(_, count)| json!(count(period))));
        row.extend([json!(period.quarantined), json!(share)]);
        row
    };
    let rows = active.iter().flat_map(|(dataset, activity)| {
        activity.periods.iter().rev().map(move |period| row(dataset, activity, period))
    });
    Answer {
        columns: columns.chain(["quarantined", "% quarantined"]).map(str::to_owned).collect(),
        rows: rows.collect(),
        ..Answer::default()
    }
}

/// Whole hundredths of a percent.
fn to_percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

fn to_cell(from: DateTime<Utc>) -> Value {
    json!(from.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
