//! Results for people: tables for a terminal, CSV for a spreadsheet.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;

use crate::{QueryResult, Results};

/// How a cell without a value looks in a table.
const NULL: &str = "∅";

impl Results {
    /// Every result as a table under its name.
    pub fn render_table(&self) -> String {
        let mut out = String::new();
        for (name, result) in self.iter() {
            let rows = result.rows.len();
            let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name} ({rows})\n{}\n", result.render_table());
        }
        out
    }

    /// Every result as CSV under a line `# <name>`, with an empty line between results.
    pub fn render_csv(&self) -> String {
        let blocks: Vec<_> =
            self.iter().map(|(name, result)| format!("# {name}\n{}", result.render_csv())).collect();
        blocks.join("\n")
    }
}

impl QueryResult {
    /// A table with borders. Numbers stand to the right, a missing value is `∅`, control characters are escaped.
    pub fn render_table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|name| printable(name)));
        for row in &self.rows {
            table.add_row(row.iter().map(|value| {
                let alignment = if value.is_number() { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(table_text(value)).set_alignment(alignment)
            }));
        }
        table.to_string()
    }

    /// Header and rows after RFC 4180, lines ending in `\n`. A missing value is an empty field, an empty string `""`;
    /// lists and objects are their JSON.
    pub fn render_csv(&self) -> String {
        let header = self.columns.iter().map(|name| csv_text(&Value::from(name.as_str())));
        let mut out = header.collect::<Vec<_>>().join(",");
        out.push('\n');
        for row in &self.rows {
            out.push_str(&row.iter().map(csv_text).collect::<Vec<_>>().join(","));
            out.push('\n');
        }
        out
    }
}

fn table_text(value: &Value) -> String {
    match value {
        Value::Null => NULL.to_owned(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// What clients send goes to terminals: a control character must not act there, nor break the table.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn csv_text(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Results {
        Results::from_json(json!({
            "empty": {"columns": ["n"], "rows": []},
            "top": {"columns": ["name", "n"], "rows": [["a\u{1b}[31m\nb", 7], [null, 124000.0], ["", null], ["x,\"y\"", 1]]},
        }))
        .unwrap()
    }

    #[test]
    fn a_table_shows_what_is_missing_and_lets_nothing_act() {
        let expected = "\
empty (0 rows)
┌───┐
│ n │
╞═══╡
└───┘

top (4 rows)
┌────────────────┬──────────┐
│ name           ┆ n        │
╞════════════════╪══════════╡
│ a\\u{1b}[31m\\nb ┆        7 │
│ ∅              ┆ 124000.0 │
│                ┆ ∅        │
│ x,\"y\"          ┆        1 │
└────────────────┴──────────┘

";
        assert_eq!(results().render_table(), expected);
    }

    #[test]
    fn csv_tells_missing_from_empty() {
        assert_eq!(
            results().render_csv(),
            "# empty\nn\n\n# top\nname,n\n\"a\u{1b}[31m\nb\",7\n,124000.0\n\"\",\n\"x,\"\"y\"\"\",1\n"
        );
    }
}
