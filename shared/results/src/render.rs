//! Renders results as text tables and as CSV.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;

use crate::{QueryResult, Results};

/// Null in a text table.
const NULL: &str = "∅";
/// Width of the longest bar.
const BAR_CELLS: usize = 16;

impl Results {
    /// Renders every result as a text table under its name.
    pub fn render_table(&self) -> String {
        self.render_table_with(|_| None)
    }

    /// Like [`Results::render_table`], with bars of the column that `measure` names for a result.
    pub fn render_table_with(&self, measure: impl Fn(&str) -> Option<usize>) -> String {
        let mut out = String::new();
        for (name, result) in self.iter() {
            let rows = result.rows.len();
            let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name} ({rows})\n{}\n", result.render_table_with(measure(name)));
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
        self.render_table_with(None)
    }

    /// Like [`QueryResult::render_table`], with a bar for each number of a column, which has no negative ones.
    pub fn render_table_with(&self, measure: Option<usize>) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        let names = self.columns.iter().map(|name| escape_control(name));
        table.set_header(names.chain(measure.map(|_| String::new())));
        let size = |row: &[Value]| row.get(measure?)?.as_f64();
        let largest = self.rows.iter().filter_map(|row| size(row)).fold(0.0, f64::max);
        for row in &self.rows {
            let cells = row.iter().map(|value| {
                let alignment = if value.is_number() { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(to_table_cell(value)).set_alignment(alignment)
            });
            table.add_row(cells.chain(measure.map(|_| Cell::new(to_bar(size(row), largest)))));
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

/// A bar of up to [`BAR_CELLS`] cells, in eighths of a cell. The smallest number that is not 0 has one eighth.
fn to_bar(size: Option<f64>, largest: f64) -> String {
    let Some(size) = size.filter(|size| *size > 0.0 && largest > 0.0) else { return String::new() };
    let eighths = ((size / largest * (8 * BAR_CELLS) as f64).round() as usize).clamp(1, 8 * BAR_CELLS);
    let part = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8];
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(part);
    }
    bar
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
    fn bars_show_the_sizes_of_a_column() {
        let result = QueryResult {
            columns: vec!["n".to_owned()],
            rows: [json!(32), json!(8), json!(0.01), json!(0), json!(null)].map(|cell| vec![cell]).to_vec(),
            versions: Default::default(),
            moved: Default::default(),
        };
        let expected = "\
┌──────┬──────────────────┐
│ n    ┆                  │
╞══════╪══════════════════╡
│   32 ┆ ████████████████ │
│    8 ┆ ████             │
│ 0.01 ┆ ▏                │
│    0 ┆                  │
│ ∅    ┆                  │
└──────┴──────────────────┘";
        assert_eq!(result.render_table_with(Some(0)), expected);
        assert!(!result.render_table().contains('█'));
    }

    #[test]
    fn csv_distinguishes_null_from_the_empty_string() {
        assert_eq!(
            results().render_csv(),
            "# empty\nn\n\n# top\nname,n\n\"a\u{1b}[31m\nb\",7\n,124000.0\n\"\",\n\"x,\"\"y\"\"\",1\n"
        );
    }
}
