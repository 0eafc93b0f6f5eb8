//! The comments at the beginning of an SQL file: the question in words, notes about its columns, and the declaration of
//! its panel. `docs/report.md` documents them.

use std::fmt;

/// What the comments of an SQL file declare.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Header {
    /// `-- title: TEXT`
    pub title: Option<String>,
    /// `-- section: TEXT`
    pub section: Option<String>,
    /// `-- order: NUMBER`
    pub order: Option<f64>,
    /// The first paragraph.
    pub question: Option<String>,
    /// Names of columns and what they mean.
    pub columns: Vec<(String, String)>,
    /// The other paragraphs.
    pub remarks: Vec<String>,
    /// `-- chart: ...`
    pub chart: Option<ChartSpec>,
    /// Declarations that are not understood, each with what to write instead.
    pub problems: Vec<String>,
}

/// A declared chart: which column is drawn how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChartSpec {
    /// The kind of chart.
    pub kind: ChartKind,
    /// Column of the axis that names what is measured.
    pub x: Option<String>,
    /// Columns with the values.
    pub y: Vec<String>,
    /// Column whose values are the series.
    pub by: Option<String>,
    /// Column written beside a bar.
    pub label: Option<String>,
    /// Number of bars.
    pub top: Option<usize>,
    /// Whether bars keep the order of the rows.
    pub keeps_order: Option<bool>,
    /// Values of `x` or `by` that come first, in this order.
    pub order: Vec<String>,
    /// Unit of the values.
    pub unit: Option<String>,
}

/// The kinds of charts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChartKind {
    /// Horizontal bars, the longest first.
    Bar,
    /// Columns beside each other.
    Grouped,
    /// Columns on top of each other.
    Stacked,
    /// Lines.
    Line,
    /// The values themselves, large.
    Number,
    /// No chart.
    #[default]
    Table,
}

/// The words of the grammar.
const KINDS: [(&str, ChartKind); 6] = [
    ("bar", ChartKind::Bar),
    ("grouped", ChartKind::Grouped),
    ("stacked", ChartKind::Stacked),
    ("line", ChartKind::Line),
    ("number", ChartKind::Number),
    ("table", ChartKind::Table),
];
const OPTIONS: &str = "x, y, by, label, top, sort, order or unit";
/// The length of a file bounds the header; these bound what a page shows of it.
const MAX_NOTES: usize = 100;
const MAX_BARS: usize = 60;

impl fmt::Display for ChartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS.iter().find(|(_, kind)| kind == self).map_or("table", |(word, _)| word))
    }
}

impl Header {
    /// Reads the comments before the first line of SQL. Never fails: what it does not understand is in
    /// [`Header::problems`].
    ///
    /// ```
    /// let header = pinlake_report::Header::parse("-- How many orders a day?\n-- chart: line x=day y=orders\nSELECT 1");
    /// assert_eq!(header.question.as_deref(), Some("How many orders a day?"));
    /// assert_eq!(header.chart.unwrap().x.as_deref(), Some("day"));
    /// ```
    pub fn parse(sql: &str) -> Header {
        let mut header = Header::default();
        let mut paragraph: Vec<&str> = Vec::new();
        let lines = sql.trim_start_matches('\u{feff}').lines().map(str::trim_end);
        for line in lines.skip_while(|line| line.is_empty()) {
            let Some(comment) = line.trim_start().strip_prefix("--") else {
                if line.is_empty() {
                    header.close_paragraph(&mut paragraph);
                    continue;
                }
                break;
            };
            let text = comment.strip_prefix(' ').unwrap_or(comment);
            if text.trim().is_empty() {
                header.close_paragraph(&mut paragraph);
            } else if let Some((key, value)) = parse_declaration(text) {
                header.close_paragraph(&mut paragraph);
                header.declare(key, value);
            } else {
                paragraph.push(text);
            }
        }
        header.close_paragraph(&mut paragraph);
        header
    }

    fn declare(&mut self, key: &str, value: &str) {
        let set = |slot: &mut Option<String>| *slot = Some(value.to_owned()).filter(|text| !text.is_empty());
        match key {
            "title" => set(&mut self.title),
            "section" => set(&mut self.section),
            "order" => match value.parse::<f64>() {
                Ok(order) if order.is_finite() => self.order = Some(order),
                _ => self.problems.push(format!("order: \"{value}\" is no number")),
            },
            _ => match ChartSpec::parse(value) {
                Ok(chart) => self.chart = Some(chart),
                Err(problem) => self.problems.push(format!("chart: {problem}")),
            },
        }
    }

    fn close_paragraph(&mut self, lines: &mut Vec<&str>) {
        let Some(first) = lines.first() else { return };
        if split_note(first).is_some() {
            for line in lines.drain(..) {
                if let Some((name, note)) = split_note(line) {
                    self.columns.push((name.to_owned(), note.to_owned()));
                } else if let Some((_, note)) = self.columns.last_mut() {
                    note.push(' ');
                    note.push_str(line.trim());
                }
            }
            self.columns.truncate(MAX_NOTES);
            return;
        }
        let text = lines.drain(..).map(str::trim).collect::<Vec<_>>().join(" ");
        if self.question.is_none() {
            self.question = Some(text);
        } else if self.remarks.len() < MAX_NOTES {
            self.remarks.push(text);
        }
    }
}

/// Splits `chart: bar x=a` into its key and its value.
fn parse_declaration(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(':')?;
    ["title", "section", "order", "chart"].contains(&key).then(|| (key, value.trim()))
}

/// Splits the name of a column, at least two spaces, and what it means.
fn split_note(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once("  ")?;
    let is_note = !name.is_empty() && !name.contains(char::is_whitespace) && !rest.trim().is_empty();
    is_note.then(|| (name, rest.trim()))
}

impl ChartSpec {
    /// Parses `KIND OPTION=VALUE ...`.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<ChartSpec, String> {
        let words = split_words(text)?;
        let mut words = words.iter();
        let kinds = KINDS.map(|(word, _)| word).join(", ");
        let kind = words.next().ok_or_else(|| format!("no kind; write one of {kinds}"))?;
        let known = KINDS.iter().find(|(word, _)| word == kind);
        let (_, kind) = known.ok_or_else(|| format!("unknown kind \"{kind}\"; write one of {kinds}"))?;
        let mut spec = ChartSpec { kind: *kind, ..ChartSpec::default() };
        for word in words {
            let (option, value) = word
                .split_once('=')
                .filter(|(_, value)| !value.is_empty())
                .ok_or_else(|| format!("\"{word}\" has no value; write OPTION=VALUE, with {OPTIONS}"))?;
            let list = || value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
            match option {
                "x" => spec.x = Some(value.to_owned()),
                "y" => spec.y = list(),
                "by" => spec.by = Some(value.to_owned()),
                "label" => spec.label = Some(value.to_owned()),
                "unit" => spec.unit = Some(value.to_owned()),
                "order" => spec.order = list(),
                "top" => {
                    let top = value.parse().ok().filter(|top| (1..=MAX_BARS).contains(top));
                    spec.top = Some(top.ok_or_else(|| format!("top={value}: write 1 to {MAX_BARS}"))?);
                }
                "sort" => {
                    spec.keeps_order = Some(match value {
                        "value" => false,
                        "none" => true,
                        _ => return Err(format!("sort={value}: write value or none")),
                    });
                }
                _ => return Err(format!("unknown option \"{option}\"; write {OPTIONS}")),
            }
        }
        Ok(spec)
    }
}

/// Splits at spaces outside of double quotes, and removes the quotes.
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            letter if letter.is_whitespace() && !is_quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    if is_quoted {
        return Err("a double quote is not closed".to_owned());
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_question_notes_and_declarations() {
        let header = Header::parse(
            "\u{feff}\n-- Which category is posted most often\n-- in each country?\n--\n\
             -- country   its name; posts without\n--           one are null\n-- n         posts\n--\n\
             -- A post is a row of pin.\n--\n-- title: Countries\n-- section: Posts\n-- order: 2.5\n\
             -- chart: bar x=country y=n label=\"the category\" top=9 sort=none order=B,A\n\
             SELECT 1 -- title: not this\n-- chart: nor this",
        );
        assert_eq!(header.question.as_deref(), Some("Which category is posted most often in each country?"));
        let notes = [("country", "its name; posts without one are null"), ("n", "posts")];
        assert_eq!(header.columns, notes.map(|(name, note)| (name.to_owned(), note.to_owned())));
        assert_eq!(header.remarks, ["A post is a row of pin."]);
        assert_eq!((header.title.as_deref(), header.section.as_deref()), (Some("Countries"), Some("Posts")));
        assert_eq!((header.order, header.problems.len()), (Some(2.5), 0));
        let chart = header.chart.unwrap();
        assert_eq!((chart.kind, chart.label.as_deref()), (ChartKind::Bar, Some("the category")));
        assert_eq!((chart.top, chart.keeps_order), (Some(9), Some(true)));
        assert_eq!(chart.order, ["B", "A"]);
    }

    #[test]
    fn a_file_without_comments_declares_nothing() {
        assert_eq!(Header::parse("SELECT 1\n-- chart: bar"), Header::default());
        assert_eq!(Header::parse(""), Header::default());
        // A word before a colon is no declaration.
        let header = Header::parse("-- Note: chart: bar is good\nSELECT 1");
        assert_eq!((header.chart, header.question.as_deref()), (None, Some("Note: chart: bar is good")));
    }

    #[test]
    fn a_mistake_says_what_to_write_instead() {
        for (text, expected) in [
            ("", "write one of bar"),
            ("pie x=a", "unknown kind \"pie\"; write one of bar, grouped, stacked, line, number, table"),
            ("bar a", "write OPTION=VALUE"),
            ("bar x=", "write OPTION=VALUE"),
            ("bar colour=red", "unknown option \"colour\"; write x, y, by"),
            ("bar top=0", "write 1 to 60"),
            ("bar sort=up", "value or none"),
            ("bar x=\"a", "not closed"),
        ] {
            let problem = ChartSpec::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        let header = Header::parse("-- chart: pie\n-- order: first\nSELECT 1");
        assert_eq!((header.chart, header.problems.len()), (None, 2));
    }
}
