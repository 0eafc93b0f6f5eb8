//! What the stack costs this month.

use maud::{Markup, html};
use serde_json::json;

use super::{command, state};
use crate::format::{format_time, group_digits};
use crate::header::{ChartKind, ChartSpec};
use crate::model::CostEstimate;

/// Renders the panel; nothing if the lake is not that of a stack.
pub(super) fn render(cost: Option<&CostEstimate>) -> Markup {
    let Some(cost) = cost else { return html! {} };
    let heading = "What does the stack cost this month?";
    let services = cost.services.iter().map(|(service, usd)| (service, (usd * 100.0).round() / 100.0));
    let rows = services.filter(|(_, usd)| *usd > 0.0).map(|(service, usd)| vec![json!(service), json!(usd)]);
    let spec = ChartSpec {
        kind: ChartKind::Bar,
        x: Some("service".to_owned()),
        y: vec!["USD".to_owned()],
        unit: Some("a month of this workload".to_owned()),
        ..ChartSpec::default()
    };
    html! {
        article.panel aria-labelledby="cost-h" {
            h3 id="cost-h" { (heading) }
            div.figures {
                div.figure {
                    p.value { (to_usd(cost.usd)) }
                    p.caption { "estimated since " (format_time(cost.since)) }
                }
                div.figure {
                    p.value { (to_usd(cost.usd_per_month)) }
                    p.caption { "estimated for a month of this workload" }
                }
            }
            (state::chart("cost", heading, &["service", "USD"], rows.collect(), &spec))
            p.muted.small {
                "An estimate by a model, not a bill. "
                (whole(cost.records as f64)) " records came since then"
                @if cost.is_projected { ", projected from the newest commits" }
                "; the workload is " (whole(cost.records_per_day)) " records a day of " (whole(cost.bytes_per_record))
                " bytes, by the size of the tables, and " (whole(cost.batch)) " records a request, which is assumed. Prices of "
                (cost.prices_of) " in " (cost.region) ", without free tiers. The same workload with other settings:"
            }
            (command::render(&[
                "pinlake", "cost",
                "--records-per-day", &cost.records_per_day.to_string(),
                "--bytes-per-record", &cost.bytes_per_record.to_string(),
                "--batch", &cost.batch.to_string(),
                "--datasets", &cost.datasets.to_string(),
                "--analysed-posts", &cost.analysed_posts.to_string(),
            ]))
        }
    }
}

/// An amount of money: `$1,234.50`.
fn to_usd(usd: f64) -> String {
    if usd > 0.0 && usd < 0.005 {
        return "under $0.01".to_owned();
    }
    format!("${}", group_digits(&format!("{usd:.2}")))
}

fn whole(number: f64) -> String {
    group_digits(&format!("{number:.0}"))
}
