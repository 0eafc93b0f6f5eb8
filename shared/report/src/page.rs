//! The page: its head, the panels and the state.

mod command;
mod cost;
mod history;
mod maintenance;
mod panel;
mod pipeline;
mod records;
mod state;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::format::{format_count, format_time, group_digits, show_controls};
use crate::header::Header;
use crate::model::{Outcome, Panel, Report, Served};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Heading of panels without a section.
const NO_SECTION: &str = "Results";

/// Seconds after which a page of a server loads itself again, unless somebody uses it.
const RELOAD_SECONDS: u32 = 300;
/// Runs that a page links to.
const MAX_RUNS: usize = 100;

/// The Content-Security-Policy of every page: it allows the style and the script of this crate by their hashes. A server
/// sends it as a header too, with `frame-ancestors`, which a page cannot set.
pub fn content_security_policy() -> String {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash_source(STYLE),
        hash_source(SCRIPT)
    )
}

/// Renders the page of a server that asks for an API key and sends it to `sign-in`. Its policy is
/// [`content_security_policy`] with `form-action 'self'`.
pub fn sign_in(is_rejected: bool) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Sign in" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                main.sign-in {
                    h1 { "Sign in" }
                    @if is_rejected { p.notice.bad role="alert" { "This key is not valid here." } }
                    form method="post" action="sign-in" {
                        label for="key" { "API key of this report" }
                        input #key name="key" type="password" autocomplete="current-password" required maxlength="256" autofocus;
                        button type="submit" { "Show the report" }
                    }
                    p.muted.small {
                        "The key is kept in a cookie of this site that scripts cannot read. Programs send it in the header "
                        code { "x-api-key" } "."
                    }
                }
            }
        }
    };
    page.into_string()
}

/// Renders the page.
pub fn render(report: &Report) -> String {
    let policy = content_security_policy();
    let reload = report.served.as_ref().filter(|served| served.is_latest()).map(|_| RELOAD_SECONDS);
    let sections = group_by_section(&report.panels);
    let page = html! {
        (DOCTYPE)
        html lang="en" data-reload=[reload] {
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
                                    (panel::render(report, panel, header, *number))
                                }
                            }
                        }
                    }
                    (state::render(report))
                }
                footer.page {
                    @match &report.served {
                        None => {
                            "Written by " (report.generator) " at " (time(report.generated_at)) ". "
                            "This file is complete: it opens without a network."
                        }
                        Some(_) => {
                            (report.generator) ". For programs: "
                            a href="v1/results" { "results" } ", " a href="v1/state" { "state" } ", "
                            a href="openapi.json" { "OpenAPI" } "."
                        }
                    }
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
                    @if results_are_known(report) {
                        span #age { "results of " (time(report.results_at.unwrap_or(report.generated_at))) }
                    }
                    @if let Some(served) = &report.served { (links_to_runs(served)) }
                }
                @if let Some(served) = &report.served { (list_runs(served)) }
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
            @if let Some(since) = state.waiting_since() {
                @let age = report.generated_at - since;
                @let is_late = is_late(report, since);
                (overview(
                    "Waiting",
                    &crate::format::format_age(age),
                    &match report.objective_seconds {
                        Some(seconds) if is_late => {
                            format!("the objective is {}", crate::format::format_age(TimeDelta::seconds(seconds.into())))
                        }
                        _ => "the oldest rows that are not in their table".to_owned(),
                    },
                    if is_late { "warning" } else { "" },
                ))
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

/// Whether rows that wait since then are later than the objective.
fn is_late(report: &Report, since: DateTime<Utc>) -> bool {
    let objective = report.objective_seconds.map(|seconds| TimeDelta::seconds(seconds.into()));
    objective.is_some_and(|objective| report.generated_at - since > objective)
}

/// Whether the page has results: a server may not have any yet.
fn results_are_known(report: &Report) -> bool {
    report.served.as_ref().is_none_or(|served| served.run.is_some())
}

/// The address of the page with the results of a run.
fn run_link(run: &str) -> String {
    format!("?run={}", encode(run))
}

/// Encodes a text for a query string or a path.
fn encode(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// Links to the runs before and after, and to the latest.
fn links_to_runs(served: &Served) -> Markup {
    let shown = served.runs.iter().position(|run| Some(&run.id) == served.run.as_ref());
    let link = |index: Option<usize>, text: &str| {
        let run = index.and_then(|index| served.runs.get(index));
        html! { @if let Some(run) = run { " · " a href=(run_link(&run.id)) { (text) } } }
    };
    html! {
        @if served.runs.len() > 1 {
            (link(shown.map(|index| index + 1), "earlier run"))
            (link(shown.and_then(|index| index.checked_sub(1)).filter(|index| *index > 0), "later run"))
            @if !served.is_latest() { " · " a href="?" { "latest run" } }
        }
    }
}

/// Links to all runs.
fn list_runs(served: &Served) -> Markup {
    html! {
        @if served.runs.len() > 1 {
            details.runs {
                summary { "all " (served.runs.len().min(MAX_RUNS)) " runs" }
                ol {
                    @for run in served.runs.iter().take(MAX_RUNS) {
                        li {
                            a href=(run_link(&run.id)) aria-current=[(Some(&run.id) == served.run.as_ref()).then_some("true")] {
                                @match run.at { Some(at) => (time(at)), None => (show_controls(&run.id)) }
                            }
                        }
                    }
                }
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
        @if !results_are_known(report) {
            p.notice {
                strong { "There are no results yet. " }
                "The function " code { "analysis" } " stores them, on its schedule or when it is invoked."
            }
        }
        @if report.served.as_ref().is_some_and(|served| !served.is_latest()) {
            p.notice {
                strong { "These are the results of an earlier run. " }
                "The state of the lake is that of now. " a href="?" { "Show the latest results" }
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
