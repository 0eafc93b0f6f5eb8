//! Finds the records inside a JSON document: `{"Records": [{...}, {...}]}`.

use pinlake_json::{Lexer, Malformed, ValueKind};
use pinlake_schema::records_path::{RecordsPath, RecordsStep};

use crate::nested_fields::read_name;

/// The most records of a document. One of 1 MiB cannot have more.
const MAX_RECORDS: usize = 1 << 20;

/// The records at `path` in a document, in their order. An element of an outer array that does not have the rest of the path is a record
/// itself. `None` if the document is not JSON, does not have the path, or has more than a million records: then it is a record itself. So
/// nothing is lost.
pub fn find_nested_records<'a>(document: &'a [u8], path: &RecordsPath) -> Option<Vec<&'a [u8]>> {
    let text = simdutf8::basic::from_utf8(document).ok()?;
    let mut walk = Walk { text, found: Vec::new() };
    let mut lexer = Lexer::new(document);
    let has_path = walk.value(&mut lexer, path.steps()).ok()?;
    lexer.end().ok()?;
    has_path.then_some(walk.found)
}

struct Walk<'a> {
    text: &'a str,
    found: Vec<&'a [u8]>,
}

impl<'a> Walk<'a> {
    /// Passes the value to which `steps` belong, and returns whether it has the path up to the next array. Recurses as deep as the path,
    /// which is bounded.
    fn value(&mut self, lexer: &mut Lexer<'a>, steps: &[RecordsStep]) -> Result<bool, Malformed> {
        let kind = lexer.value_kind()?;
        match (steps.split_first(), kind) {
            (Some((RecordsStep::Member(wanted), rest)), ValueKind::Object) => {
                let mut has_path = false;
                lexer.object(|lexer, _| {
                    let is_wanted = read_name(lexer, self.text)? == wanted.as_str();
                    lexer.colon()?;
                    if !is_wanted {
                        return lexer.skip_value();
                    }
                    has_path |= self.value(lexer, rest)?;
                    Ok(())
                })?;
                Ok(has_path)
            }
            (Some((RecordsStep::Elements, rest)), ValueKind::Array) => {
                lexer.array(|lexer, _| self.element(lexer, rest))?;
                Ok(true)
            }
            // One element without an array around it, or none.
            (Some((RecordsStep::Elements, rest)), ValueKind::Object) => {
                self.element(lexer, rest)?;
                Ok(true)
            }
            (Some((RecordsStep::Elements, _)), ValueKind::Null) => {
                lexer.skip_value()?;
                Ok(true)
            }
            _ => {
                lexer.skip_value()?;
                Ok(false)
            }
        }
    }

    /// Passes an element of an array, to which `steps` belong. It is a record if no steps are left, and if it does not have their path.
    fn element(&mut self, lexer: &mut Lexer<'a>, steps: &[RecordsStep]) -> Result<(), Malformed> {
        lexer.value_kind()?;
        let start = lexer.offset();
        if self.value(lexer, steps)? {
            return Ok(());
        }
        if self.found.len() == MAX_RECORDS {
            return Err(lexer.malformed("too many records"));
        }
        self.found.push(&self.text.as_bytes()[start..lexer.offset()]);
        Ok(())
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
                Some(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"x":1}"#]),
            ),
            (r#"{"r":[]}"#, "r[].s[]", Some(&[])),
            (r#"{"r":[{"x":1}]}"#, "r[].s[]", Some(&[r#"{"x":1}"#])),
            (r#"{"r":null}"#, "r[].s[]", Some(&[])),
            (r#"{"r":{"s":{"x":1}}}"#, "r[].s[]", Some(&[r#"{"x":1}"#])),
            (
                r#"{"r":[{"s":[{"n":[1]},{"x":2}]}, {"x":3}, 4, null,{"s":[]},{"s":null}]}"#,
                "r[].s[].n[]",
                Some(&["1", r#"{"x":2}"#, r#"{"x":3}"#, "4", "null"]),
            ),
            (r#"{"r":[{"s":7}],"r":8}"#, "r[].s[]", Some(&[r#"{"s":7}"#])),
            (r#"{"r":7}"#, "r[].s[]", None),
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
