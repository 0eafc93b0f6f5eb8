//! The panel of one query.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use super::{encode, history};
use crate::format::{Kind, format_bytes, format_count, format_seconds, show_controls, to_words};
use crate::header::Header;
use crate::model::{Answer, Outcome, Panel, Report};
use crate::plot::{Plot, Table, plot};
use crate::svg;

/// Rows in the page itself; `page.js` renders the others from the data block, as many at a time.
const STATIC_ROWS: usize = 100;
/// Bytes of a data block. A result has at most 100,000 rows, but its texts can be long.
const MAX_BLOCK_BYTES: usize = 16 << 20;
/// Bytes of all data blocks of a page that a server answers with. A response of Lambda has at most 6 MB, in which quotes
/// are escaped (Lambda Developer Guide, "Lambda quotas"); people wait for more, too.
const MAX_SERVED_BYTES: usize = 2 << 20;
/// Bytes of all Parquet files in a page. They are base64, so the page grows by a third more.
const MAX_PARQUET_BYTES: usize = 4 << 20;
/// Rows up to which a table has its full height.
const SHORT_TABLE_ROWS: usize = 8;

/// Renders a panel. `number` is its place in the page.
pub(super) fn render(report: &Report, panel: &Panel, header: &Header, number: usize) -> Markup {
    let id = format!("p{number}");
    let (heading, question) = match (&header.title, &header.question) {
        (Some(title), question) => (title.clone(), question.clone()),
        (None, Some(question)) => (question.clone(), None),
        (None, None) => (to_heading(&panel.name), None),
    };
    let heading = show_controls(&heading);
    html! {
        article.panel id={ "result-" (panel.name) } data-result=(panel.name) aria-labelledby={ (id) "-h" } {
            h3 id={ (id) "-h" } { (heading) }
            @if let Some(question) = question { p.question { (show_controls(&question)) } }
            @match &panel.outcome {
                Outcome::Failed(problem) => {
                    div.error {
                        p { strong { "This query failed." } " The other results are not affected." }
                        pre { (show_controls(problem)) }
                    }
                    (notes(&header.problems))
                    div.folds { (about(panel, header)) }
                }
                Outcome::Answer(answer) => (answered(report, panel, header, answer, &id, &heading)),
            }
        }
    }
}

/// `posts_by_year` as a heading: `Posts by year`.
fn to_heading(name: &str) -> String {
    let words = to_words(name);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Renders quarantined records as a panel with a table.
pub(super) fn render_records(records: &Answer) -> Markup {
    let heading = "What do the newest of these records look like?";
    html! {
        article.panel.wide data-result="quarantine" aria-labelledby="records-h" {
            h3 id="records-h" { (heading) }
            @if records.rows.is_empty() {
                p.empty { "There is none that you may see." }
            } @else {
                (data_block(records, MAX_SERVED_BYTES))
                (rows_of(&Table::new(records), heading, true))
            }
        }
    }
}

/// Renders rows that are no result of a query as a table that can be opened.
pub(super) fn render_table(answer: &Answer, heading: &str) -> Markup {
    html! {
        (data_block(answer, MAX_SERVED_BYTES))
        div.folds { (rows_of(&Table::new(answer), heading, false)) }
    }
}

/// The rows for `page.js`, and a notice if they are not all there.
fn data_block(answer: &Answer, max_bytes: usize) -> Markup {
    let (block, kept) = to_block(answer, max_bytes);
    html! {
        @if kept < answer.rows.len() {
            p.notice {
                "This page has the first " (format_count(kept as u64, "row")) " of " (answer.rows.len()) ". "
                code { "pinlake analyse" } " prints all."
            }
        }
        script.data type="application/json" data-rows=(kept) { (PreEscaped(block)) }
    }
}

/// The rows as a Parquet file for `page.js`, or a notice that it is too large.
fn parquet_block(report: &Report, panel: &Panel) -> Markup {
    let limit = MAX_PARQUET_BYTES / report.panels.len().max(1);
    html! {
        @match &panel.parquet {
            None => {}
            Some(file) if file.len() > limit => {
                p.muted.small {
                    "The table has no download as Parquet: the file has " (format_bytes(file.len() as u64)) ", more than the "
                    (format_bytes(limit as u64)) " that each result of this page may have."
                }
            }
            Some(file) => script.parquet type="application/vnd.apache.parquet" { (PreEscaped(BASE64.encode(file))) },
        }
    }
}

/// All rows in files, from the server.
fn downloads(report: &Report, panel: &Panel) -> Markup {
    let run = report.served.as_ref().and_then(|served| served.run.as_deref());
    html! {
        @if let Some(run) = run {
            span {
                "all rows as"
                @for (format, ending) in [("CSV", "csv"), ("JSON", "json"), ("Parquet", "parquet")] {
                    a href={ "v1/results/" (encode(&panel.name)) "." (ending) "?run=" (encode(run)) } download={ (panel.name) "." (ending) } {
                        (format)
                    }
                }
            }
        }
    }
}

fn answered(
    report: &Report,
    panel: &Panel,
    header: &Header,
    answer: &Answer,
    id: &str,
    heading: &str,
) -> Markup {
    let table = Table::new(answer);
    let max_bytes = match &report.served {
        None => MAX_BLOCK_BYTES,
        Some(_) => MAX_SERVED_BYTES / report.panels.len().max(1),
    };
    let chart = plot(&table, header.chart.as_ref());
    let mut remarks = header.problems.clone();
    remarks.extend(chart.notes.iter().cloned());
    let rows = answer.rows.len();
    html! {
        @if rows == 0 {
            (empty(answer))
        } @else {
            (svg::draw(&chart, id, heading))
            (notes(&remarks))
            (data_block(answer, max_bytes))
            (parquet_block(report, panel))
        }
        div.folds {
            @if rows > 0 { (rows_of(&table, heading, chart.plot == Plot::None)) }
            (history::render(report, panel, &answer.columns, id))
            (about(panel, header))
        }
        (facts(report, panel, answer))
    }
}

/// How long the query ran, and which versions it read.
fn facts(report: &Report, panel: &Panel, answer: &Answer) -> Markup {
    html! {
        p.facts {
            @if let Some(seconds) = panel.seconds { span { (format_seconds(seconds)) } }
            @for (table, version) in &answer.versions {
                span {
                    (show_controls(table))
                    @match version {
                        Some(version) => { " version " (version) }
                        None => " has no rows yet",
                    }
                }
            }
            @for (table, (from, to)) in &answer.moved {
                span.warning { (show_controls(table)) " changed while it was read, from version " (from) " to " (to) }
            }
            (downloads(report, panel))
        }
    }
}

fn empty(answer: &Answer) -> Markup {
    let missing: Vec<&str> = answer
        .versions
        .iter()
        .filter(|(_, version)| version.is_none())
        .map(|(table, _)| table.as_str())
        .collect();
    html! {
        p.empty {
            "No rows. "
            @if missing.is_empty() {
                "The query ran, and nothing matched."
            } @else {
                "No rows were loaded yet into " (show_controls(&missing.join(", "))) "."
            }
        }
    }
}

fn notes(notes: &[String]) -> Markup {
    html! {
        @if !notes.is_empty() {
            ul.notes { @for note in notes { li { (show_controls(note)) } } }
        }
    }
}

/// The table, open if nothing else shows the result.
fn rows_of(table: &Table<'_>, heading: &str, is_open: bool) -> Markup {
    let rows = &table.answer.rows;
    let count = format_count(rows.len() as u64, "row");
    html! {
        details.table open[is_open] {
            summary { "Table, " (count) }
            div.tools {}
            div.rows.short[rows.len() <= SHORT_TABLE_ROWS] tabindex="0" role="region" aria-label={ "Table: " (heading) } {
                table {
                    thead {
                        tr {
                            @for (name, kind) in table.answer.columns.iter().zip(&table.kinds) {
                                th.n[kind.is_right_aligned()] scope="col" data-kind=(kind.word()) { (show_controls(name)) }
                            }
                        }
                    }
                    tbody {
                        @for row in rows.iter().take(STATIC_ROWS) {
                            tr { @for (cell, kind) in row.iter().zip(&table.kinds) { (cell_of(cell, *kind)) } }
                        }
                    }
                }
            }
            @if rows.len() > STATIC_ROWS { p.more { "The first " (STATIC_ROWS) " of " (count) "." } }
        }
    }
}

fn cell_of(cell: &Value, kind: Kind) -> Markup {
    let text = kind.format(cell);
    // The exact value of a number that is written with fewer digits.
    let exact =
        cell.as_f64().filter(|value| kind == Kind::Number && cell.is_f64() && !is_exact(&text, *value));
    html! {
        td.n[kind.is_right_aligned()].null[cell.is_null()] title=[exact.map(|_| cell.to_string())] { (text) }
    }
}

fn is_exact(text: &str, value: f64) -> bool {
    text.replace(',', "").replace('\u{2212}', "-").parse() == Ok(value)
}

/// The answer as JSON that may stand in a `script` element, and the number of its rows. In JSON, `<`, `>` and `&` occur
/// in strings only, where `\u003c` means the same.
fn to_block(answer: &Answer, max_bytes: usize) -> (String, usize) {
    let mut json = serde_json::to_string(answer).unwrap_or_default();
    let mut kept = answer.rows.len();
    while json.len() > max_bytes && kept > STATIC_ROWS {
        kept /= 2;
        let part = Answer { rows: answer.rows[..kept].to_vec(), ..answer.clone() };
        json = serde_json::to_string(&part).unwrap_or_default();
    }
    let mut block = String::with_capacity(json.len() + json.len() / 16);
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                // Writing to a string cannot fail.
                let _ = write!(block, "\\u{:04x}", u32::from(letter));
            }
            _ => block.push(letter),
        }
    }
    (block, kept)
}

/// What the columns mean, and the SQL.
fn about(panel: &Panel, header: &Header) -> Markup {
    html! {
        details {
            summary { "Definition and SQL" }
            @if !header.columns.is_empty() {
                dl.columns {
                    @for (name, note) in &header.columns {
                        div { dt { code { (show_controls(name)) } } dd { (show_controls(note)) } }
                    }
                }
            }
            @for remark in &header.remarks { p { (show_controls(remark)) } }
            @if panel.sql.is_empty() {
                p.muted { "The SQL of this run was not stored." }
            } @else {
                pre tabindex="0" aria-label={ "SQL of " (panel.name) } { code { (show_controls(panel.sql.trim_end())) } }
            }
        }
    }
}
