//! What maintains the tables: merges and checkpoints.

use maud::{Markup, html};

use super::time;
use crate::format::{format_age, format_count, group_digits, show_controls};
use crate::model::{Activity, DatasetState, Report};

/// Renders the panel; nothing without commits.
pub(super) fn render(report: &Report) -> Markup {
    let active: Vec<(&DatasetState, &Activity)> = report
        .state
        .datasets
        .iter()
        .filter_map(|dataset| {
            Some((dataset, dataset.activity.as_ref().filter(|activity| activity.commits > 0)?))
        })
        .collect();
    html! {
        @if !active.is_empty() {
            article.panel aria-labelledby="maintenance-h" {
                h3 id="maintenance-h" { "How are the tables maintained?" }
                div.rows.short tabindex="0" role="region" aria-label="Maintenance of the tables" {
                    table.state {
                        thead {
                            tr {
                                th scope="col" { "Dataset" }
                                th.n scope="col" { "Commits" }
                                th scope="col" { "Merges" }
                                th scope="col" { "Checkpoint" }
                            }
                        }
                        tbody { @for (dataset, activity) in active { (row(report, dataset, activity)) } }
                    }
                }
                p.muted.small {
                    "Of the last 31 days. A merge rewrites small data files as fewer ones; a checkpoint shortens the log that readers replay."
                }
            }
        }
    }
}

fn row(report: &Report, dataset: &DatasetState, activity: &Activity) -> Markup {
    let maintenance = &activity.maintenance;
    html! {
        tr {
            th scope="row" { (show_controls(&dataset.dataset)) }
            td.n data-name="Commits" {
                @if activity.is_truncated { "over " }
                (group_digits(&activity.commits.to_string()))
            }
            td data-name="Merges" {
                @match maintenance.last_merge_at {
                    None => span.muted { "none" },
                    Some(at) => div {
                        (format_count(maintenance.merges, "merge")) ": "
                        (format_count(maintenance.files_replaced, "file")) " became " (group_digits(&maintenance.files_written.to_string()))
                        div.muted { "last " (time(at)) ", " (format_age(report.generated_at - at)) " before this page" }
                    },
                }
            }
            td data-name="Checkpoint" {
                @match maintenance.checkpoint_version {
                    None => span.muted { "none yet" },
                    Some(checkpoint) => div {
                        "version " (group_digits(&checkpoint.to_string()))
                        div.muted {
                            @match dataset.version.map_or(0, |version| version.saturating_sub(checkpoint)) {
                                0 => "the newest version",
                                later => { (format_count(later, "later version")) }
                            }
                        }
                    },
                }
            }
        }
    }
}
