//! Finds the records inside a JSON document: `{"Records": [{...}, {...}]}`.

use pinlake_json::{Lexer, Malformed, ValueKind};
use pinlake_schema::records_path::{RecordsPath, RecordsStep};

use crate::nested_fields::read_name;

/// The most records of a document. One of 1 MiB cannot have more.
const MAX_RECORDS: usize = 1 << 20;

/// The records at `path` in a document, in their order. `None` if it is not JSON, does not have the path, or has more than a million
/// records: then it is a record itself, so that nothing is lost.
pub fn find_nested_records<'a>(document: &'a [u8], path: &RecordsPath) -> Option<Vec<&'a [u8]>> {
    let text = simdutf8::basic::from_utf8(document).ok()?;
    let mut walk = Walk { text, found: Vec::new(), has_path: false };
    let mut lexer = Lexer::new(document);
    walk.value(&mut lexer, path.steps()).ok()?;
    lexer.end().ok()?;
    walk.has_path.then_some(walk.found)
}

struct Walk<'a> {
    text: &'a str,
    found: Vec<&'a [u8]>,
    has_path: bool,
}

impl<'a> Walk<'a> {
    /// Passes the value to which `steps` belong. Recurses as deep as the path, which is bounded.
    fn value(&mut self, lexer: &mut Lexer<'a>, steps: &[RecordsStep]) -> Result<(), Malformed> {
        let kind = lexer.value_kind()?;
        let Some((step, rest)) = steps.split_first() else {
            let start = lexer.offset();
            lexer.skip_value()?;
            if self.found.len() == MAX_RECORDS {
                return Err(lexer.malformed("too many records"));
            }
            self.found.push(&self.text.as_bytes()[start..lexer.offset()]);
            return Ok(());
        };
        match (step, kind) {
            (RecordsStep::Member(wanted), ValueKind::Object) => lexer.object(|lexer, _| {
                let is_wanted = read_name(lexer, self.text)? == wanted.as_str();
                lexer.colon()?;
                if is_wanted { self.value(lexer, rest) } else { lexer.skip_value() }
            }),
            (RecordsStep::Elements, ValueKind::Array) => {
                let mut is_empty = true;
                lexer.array(|lexer, _| {
                    is_empty = false;
                    self.value(lexer, rest)
                })?;
                self.has_path |= is_empty || rest.is_empty();
                Ok(())
            }
            // One record without an array around it, or none.
            (RecordsStep::Elements, ValueKind::Object) if rest.is_empty() => {
                self.has_path = true;
                self.value(lexer, rest)
            }
            (RecordsStep::Elements, ValueKind::Null) if rest.is_empty() => {
                self.has_path = true;
                lexer.skip_value()
            }
            _ => lexer.skip_value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(document: &str, path: &str) -> Option<Vec<String>> {
        let path = RecordsPath::parse(path).unwrap();
        let found = find_nested_records(document.as_bytes(), &path)?;
        Some(found.into_iter().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect())
    }

    #[test]
    fn the_number_of_records_is_bounded() {
        let document = |count: usize| format!("{{\"r\":[{}1]}}", "1,".repeat(count - 1));
        assert_eq!(records(&document(MAX_RECORDS), "r[]").map(|found| found.len()), Some(MAX_RECORDS));
        assert_eq!(records(&document(MAX_RECORDS + 1), "r[]"), None);
    }

    #[test]
    fn records_are_found_at_their_path() {
        for (document, path, expected) in [
            (
                r#"{"a":[1],"Records":[{"x":1}, {"x":[2]} ]}"#,
                "Records[]",
                Some(&[r#"{"x":1}"#, r#"{"x":[2]}"#][..]),
            ),
            (r#"{"Rec\u006frds":[7,null]}"#, "Records", Some(&["7", "null"])),
            (r#"{"Records":{"x":1}}"#, "Records[]", Some(&[r#"{"x":1}"#])),
            (r#"{"Records":[]}"#, "Records[]", Some(&[])),
            (r#"{"Records":null}"#, "Records[]", Some(&[])),
            (
                r#"{"r":[{"s":[{"n":[{"a":1}]},{"n":[{"a":2}]}]},{"x":1}]}"#,
                "r[].s[].n[]",
                Some(&[r#"{"a":1}"#, r#"{"a":2}"#]),
            ),
            (r#"{"r":[]}"#, "r[].s[]", Some(&[])),
            (r#"{"r":[{"x":1}]}"#, "r[].s[]", None),
            (r#"{"Records":7}"#, "Records[]", None),
            (r#"{"records":[]}"#, "Records[]", None),
            (r#"{"x":1}"#, "Records[]", None),
            (r#"{"Records":[{}]"#, "Records[]", None),
            (r#"{"Records":[{}]} x"#, "Records[]", None),
            ("nope", "Records[]", None),
        ] {
            let expected = expected.map(|own| own.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
            assert_eq!(records(document, path), expected, "{document} {path}");
        }
    }
}
