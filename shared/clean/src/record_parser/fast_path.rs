//! The fast path of the parser: one pass over the bytes of a record, without a copy.
//!
//! It rejects every record that is not plainly valid, which `serde_path` then parses. A property test compares the records that it accepts
//! with `serde_path`.

use pinlake_json::{Lexer, Malformed, RunEnd, ValueKind};

use crate::field_table::{FieldId, FieldTable};
use crate::parsed_record::{FieldValue, ParsedRecord, Span};
use crate::refused_value;

/// Parses the object `text` into `record`. Returns false if the record must be parsed by `serde_path`.
pub(super) fn parse(text: &str, record: &mut ParsedRecord, fields: &mut FieldTable) -> bool {
    record.clear();
    // Offsets in a record are 31 bits wide.
    if i32::try_from(text.len()).is_err() {
        return false;
    }
    FastParser { text, record }.parse_object(fields).is_ok()
}

/// The record is not plainly valid.
struct GiveUp;

impl From<Malformed> for GiveUp {
    #[inline]
    fn from(_: Malformed) -> GiveUp {
        GiveUp
    }
}

struct FastParser<'a> {
    text: &'a str,
    record: &'a mut ParsedRecord,
}

impl FastParser<'_> {
    fn parse_object(&mut self, fields: &mut FieldTable) -> Result<(), GiveUp> {
        let mut lexer = Lexer::new(self.text.as_bytes());
        if lexer.peek() != Some(b'{') {
            return Err(GiveUp);
        }
        let mut previous = None;
        lexer.object(|lexer, _| {
            lexer.open_name()?;
            let field = self.parse_name(lexer, previous, fields)?;
            lexer.colon()?;
            self.parse_value(lexer, field)?;
            previous = field.or(previous);
            Ok::<(), GiveUp>(())
        })?;
        Ok(lexer.end()?)
    }

    /// Passes a name and its closing quote. Returns the field that it names, or `None` if no contract reads it.
    #[inline]
    fn parse_name(
        &mut self,
        lexer: &mut Lexer<'_>,
        previous: Option<FieldId>,
        fields: &mut FieldTable,
    ) -> Result<Option<FieldId>, GiveUp> {
        if let Some((field, length)) = fields.guess(previous, lexer.rest()) {
            lexer.advance(length);
            return Ok(field);
        }
        let start = lexer.offset();
        match lexer.plain_run()? {
            RunEnd::Quote => Ok(fields.find(previous, &self.text[start..lexer.offset() - 1])),
            RunEnd::Escape => Err(GiveUp),
        }
    }

    #[inline]
    fn parse_value(&mut self, lexer: &mut Lexer<'_>, field: Option<FieldId>) -> Result<(), GiveUp> {
        let kind = lexer.value_kind()?;
        let Some(field) = field else {
            return skip_value(lexer, kind);
        };
        let start = lexer.offset();
        let value = match kind {
            ValueKind::String => {
                lexer.open_string();
                FieldValue::Text(self.parse_string(lexer)?)
            }
            ValueKind::Number => {
                lexer.number()?;
                FieldValue::Number(Span::new(start, lexer.offset()))
            }
            ValueKind::True => {
                lexer.literal("true")?;
                FieldValue::True
            }
            ValueKind::False => {
                lexer.literal("false")?;
                FieldValue::False
            }
            ValueKind::Null => {
                lexer.literal("null")?;
                FieldValue::Null
            }
            ValueKind::Object | ValueKind::Array => {
                skip_value(lexer, kind)?;
                let span = Span::new(start, lexer.offset());
                refused_value::nested_value(&self.text[span.range()], span)
            }
        };
        self.record.set(field, value);
        Ok(())
    }

    /// Passes what is left of a string. Unescapes it into the scratch buffer if it has escapes.
    #[inline]
    fn parse_string(&mut self, lexer: &mut Lexer<'_>) -> Result<Span, GiveUp> {
        let start = lexer.offset();
        if lexer.plain_run()? == RunEnd::Quote {
            return Ok(Span::new(start, lexer.offset() - 1));
        }
        let scratch_start = self.record.scratch.len();
        let mut run = start;
        loop {
            self.record.scratch.push_str(&self.text[run..lexer.offset()]);
            // Half a surrogate pair is not a character.
            self.record.scratch.push(lexer.escape()?.character.ok_or(GiveUp)?);
            run = lexer.offset();
            if lexer.plain_run()? == RunEnd::Quote {
                self.record.scratch.push_str(&self.text[run..lexer.offset() - 1]);
                return Ok(Span::in_scratch(scratch_start, self.record.scratch.len()));
            }
        }
    }
}

fn skip_value(lexer: &mut Lexer<'_>, kind: ValueKind) -> Result<(), GiveUp> {
    if matches!(kind, ValueKind::Object | ValueKind::Array) {
        // The depth is limited for each value: the record itself does not count.
        let mut nested = Lexer::new(lexer.rest());
        nested.skip_value()?;
        lexer.advance(nested.offset());
        return Ok(());
    }
    Ok(lexer.skip_value()?)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use pinlake_schema::Catalog;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::record_parser::serde_path;

    /// The fields of a record as text, parsed by either path.
    fn parse_fields(text: &str, is_fast: bool, fields: &mut FieldTable) -> Option<Vec<String>> {
        let mut record = ParsedRecord::new(fields.len());
        let is_read = match is_fast {
            true => parse(text, &mut record, fields),
            false => serde_path::parse(text, &mut record, fields).is_ok(),
        };
        let shown = |field: usize| match record.value(field as FieldId) {
            FieldValue::Text(span) => format!("text {}", record.text(span, text)),
            FieldValue::Number(span) | FieldValue::Nested(span) => format!("raw {}", record.text(span, text)),
            other => format!("{other:?}"),
        };
        is_read.then(|| (0..fields.len()).map(shown).collect())
    }

    fn fields() -> FieldTable {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());
        FieldTable::new(&CATALOG)
    }

    #[test]
    fn the_fast_path_accepts_valid_records() {
        let mut fields = fields();
        for text in [
            r#"{"ind": 7528, "timestamp": "2020-08-28 03:52:47", "latitude": -89.9787, "longitude": -1.7e+2, "country": "Albania"}"#,
            r#" { "ind" : 0 , "title":"caf\u00e9 \" \ud83d\ude00","other":"\ud800","downloaded":{"a":[1]},"age":null,"x":true} "#,
            "{}",
        ] {
            let fast = parse_fields(text, true, &mut fields).expect(text);
            assert_eq!(Some(fast), parse_fields(text, false, &mut fields), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
        })]

        #[test]
        fn both_paths_agree_on_what_the_fast_path_accepts(
            tokens in proptest::collection::vec(proptest::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"ind\"", "\"title\"", "\"other\"", "\"\\u0069nd\"", "\"a\\", "\\u12", "\"\\ud83d\"", "\"",
                "\"é\"", "\\ud83d\\ude00", "\\ud83d\\u0041", "\\ude00", "\\u00E9", "\\/\\b\\f\\r\\t", "\"title\":\"", "1", "-", "0", "01", ".5", "1.5", "e", "E+7", "1e400", "true", "tru", "false", "null", "nan", " ", "\n", "\u{0}",
                "\"ind\":1", "\"title\":\"x\\n\"", "\"ind\":1,", "{\"ind\":", "\"country\":[1,{\"a\":2}]", "\u{feff}",
            ]), 0..9),
            wrapped in any::<bool>(),
        ) {
            let text = tokens.concat();
            let text = if wrapped { format!("{{{text}}}") } else { text };
            let mut fields = fields();
            if let Some(fast) = parse_fields(&text, true, &mut fields) {
                prop_assert_eq!(Some(fast), parse_fields(&text, false, &mut fields));
            }
        }
    }
}
