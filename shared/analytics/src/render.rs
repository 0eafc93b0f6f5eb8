//! Renders results as text tables and as CSV.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;

use crate::{QueryResult, Results};

/// Null in a text table.
const NULL: &str = "∅";

impl Results {
    /// Renders every result as a text table under its name.
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

    /// Renders every result as CSV after a line `# <name>`, with an empty line between results.
    pub fn render_csv(&self) -> String {
        let blocks: Vec<_> =
            self.iter().map(|(name, result)| format!("# {name}\n{}", result.render_csv())).collect();
        blocks.join("\n")
    }
}

impl QueryResult {
    /// Renders a table with borders. Numbers are right-aligned, null is `∅`, control characters are escaped.
    pub fn render_table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns.iter().map(|name| escape_control(name)));
        for row in &self.rows {
            table.add_row(row.iter().map(|value| {
                let alignment = if value.is_number() { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(to_table_cell(value)).set_alignment(alignment)
            }));
        }
        table.to_string()
    }

    /// Renders the header and the rows as CSV (RFC 4180) with lines ending in `\n`. Null is an empty field, an empty
    /// string is `""`; lists and objects are JSON.
    pub fn render_csv(&self) -> String {
        let header = self.columns.iter().map(|name| to_csv_field(&Value::from(name.as_str())));
        let mut out = header.collect::<Vec<_>>().join(",");
        out.push('\n');
        for row in &self.rows {
            out.push_str(&row.iter().map(to_csv_field).collect::<Vec<_>>().join(","));
            out.push('\n');
        }
        out
    }
}

fn to_table_cell(value: &Value) -> String {
    match value {
        Value::Null => NULL.to_owned(),
        Value::String(text) => escape_control(text),
        other => escape_control(&other.to_string()),
    }
}

/// Escapes control characters, because cells contain what clients sent and are printed to terminals.
fn escape_control(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn to_csv_field(value: &Value) -> String {
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
    fn a_table_marks_nulls_and_escapes_control_characters() {
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
    fn csv_distinguishes_null_from_the_empty_string() {
        assert_eq!(
            results().render_csv(),
            "# empty\nn\n\n# top\nname,n\n\"a\u{1b}[31m\nb\",7\n,124000.0\n\"\",\n\"x,\"\"y\"\"\",1\n"
        );
    }
}
