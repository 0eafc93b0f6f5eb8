//! The page: its head, the panels and the state.

mod panel;
mod state;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::format::{format_count, format_time, group_digits, show_controls};
use crate::header::Header;
use crate::model::{Outcome, Panel, Report};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Heading of panels without a section.
const NO_SECTION: &str = "Results";

/// Renders the page.
pub fn render(report: &Report) -> String {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash_source(STYLE),
        hash_source(SCRIPT)
    );
    let sections = group_by_section(&report.panels);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content=(report.generator);
                title { (show_controls(&report.title)) }
                // Without it, browsers ask the server for /favicon.ico.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the results" }
                (masthead(report, &sections))
                main #content {
                    (problems(report))
                    @for (index, section) in sections.iter().enumerate() {
                        section aria-labelledby={ "section-" (index) } {
                            h2 id={ "section-" (index) } { (show_controls(&section.name)) }
                            div.panels {
                                @for (number, panel, header) in &section.panels {
                                    (panel::render(panel, header, *number))
                                }
                            }
                        }
                    }
                    (state::render(report))
                }
                footer.page {
                    "Written by " (report.generator) " at " (time(report.generated_at)) ". "
                    "This file is complete: it opens without a network."
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The source of a Content-Security-Policy that allows exactly this style or script.
fn hash_source(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text.as_bytes())))
}

/// Panels under one heading.
struct Section<'a> {
    name: String,
    /// The number of each panel in the page, the panel, and what its SQL declares.
    panels: Vec<(usize, &'a Panel, Header)>,
}

/// The panels by section, in declared order, then by name. A section is where its first panel is.
fn group_by_section(panels: &[Panel]) -> Vec<Section<'_>> {
    let mut sorted: Vec<(&Panel, Header)> =
        panels.iter().map(|panel| (panel, Header::parse(&panel.sql))).collect();
    sorted.sort_by(|(panel, header), (other, its)| {
        let order = |header: &Header| header.order.unwrap_or(f64::INFINITY);
        order(header).total_cmp(&order(its)).then_with(|| panel.name.cmp(&other.name))
    });
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (number, (panel, header)) in sorted.into_iter().enumerate() {
        let name = header.section.clone().unwrap_or_else(|| NO_SECTION.to_owned());
        match sections.iter_mut().find(|section| section.name == name) {
            Some(section) => section.panels.push((number, panel, header)),
            None => sections.push(Section { name, panels: vec![(number, panel, header)] }),
        }
    }
    sections
}

fn masthead(report: &Report, sections: &[Section<'_>]) -> Markup {
    let state = &report.state;
    let rows: u64 = state.datasets.iter().filter_map(|dataset| dataset.rows).sum();
    let tables = state.datasets.iter().filter(|dataset| dataset.version.is_some()).count() as u64;
    let failed = report.panels.iter().filter(|panel| matches!(panel.outcome, Outcome::Failed(_))).count();
    let answered = report.panels.len() - failed;
    let quarantined = state.quarantined();
    html! {
        header.page {
            div.title {
                h1 { (show_controls(&report.title)) }
                p.muted {
                    span.lake { (show_controls(&report.lake)) }
                    " · "
                    span #age { "as of " (time(report.generated_at)) }
                }
            }
            // page.js puts the switch of the colours here.
            div #switches {}
        }
        dl.overview {
            (overview("Rows", &group_digits(&rows.to_string()), &format!("in {}", format_count(tables, "table")), ""))
            (overview(
                "Quarantined",
                &group_digits(&quarantined.to_string()),
                if quarantined == 0 { "nothing to do" } else { "records, unresolved" },
                if quarantined == 0 { "" } else { "warning" },
            ))
            @match state.last_commit_at() {
                Some(at) => (overview_time("Last commit", at, report.generated_at)),
                None => (overview("Last commit", "none", "no table yet", "")),
            }
            (overview(
                "Results",
                &if failed == 0 { answered.to_string() } else { format!("{answered} of {}", report.panels.len()) },
                &if failed == 0 { "all queries succeeded".to_owned() } else { format!("{failed} failed") },
                if failed == 0 { "" } else { "bad" },
            ))
        }
        nav.sections aria-label="Sections" {
            ul {
                @for (index, section) in sections.iter().enumerate() {
                    li { a href={ "#section-" (index) } { (show_controls(&section.name)) } }
                }
                li { a href="#state" { "State of the lake" } }
            }
        }
    }
}

fn overview(name: &str, value: &str, detail: &str, class: &str) -> Markup {
    html! {
        div.(class) {
            dt { (name) }
            dd { span.value { (value) } " " span.muted { (detail) } }
        }
    }
}

fn overview_time(name: &str, at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd {
                span.value { (crate::format::format_age(now - at)) }
                " "
                span.muted { "before this page, " (time(at)) }
            }
        }
    }
}

/// What the reader must know before the results.
fn problems(report: &Report) -> Markup {
    let state = &report.state;
    let is_empty =
        state.datasets.iter().all(|dataset| dataset.version.is_none() && dataset.problem.is_none());
    html! {
        @if is_empty {
            p.notice {
                strong { "This lake has no rows yet. " }
                "The first load creates its tables: " code { "pinlake load --lake " (show_controls(&report.lake)) " FILE..." }
            }
        }
        @for dataset in &state.datasets {
            @if let Some(problem) = &dataset.problem {
                p.notice.bad {
                    strong { "The table " (show_controls(&dataset.dataset)) " cannot be read. " }
                    (show_controls(problem))
                }
            }
        }
        @if let Some(problem) = &state.quarantine_problem {
            p.notice.bad { strong { "The quarantine cannot be read. " } (show_controls(problem)) }
        }
    }
}

/// A time for people and programs.
fn time(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339_opts(SecondsFormat::Secs, true)) { (format_time(at)) } }
}
