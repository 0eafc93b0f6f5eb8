//! The quick way through a record: what most records are, in one pass over their bytes, without a copy.
//!
//! It takes nothing that is not right: where a record is not plainly what it should be, it gives up, and the record is
//! read again by serde_json, which finds out what is the matter and says so. So only what it accepts has to be right,
//! and a property test holds that against the other reader.

use pinlake_json::{Unicode, plain_run, unicode};
use serde::Deserialize as _;
use serde_json::value::RawValue;

use crate::fields::{FieldId, FieldTable};
use crate::record::{Record, Slot, Span};

/// Reads the object that `text` is into the slots of `record`; false when it gives up.
pub(crate) fn read(text: &str, record: &mut Record, fields: &mut FieldTable) -> bool {
    record.reset();
    // Places in a record are counted in 31 bits.
    i32::try_from(text.len()).is_ok() && Quick { text, at: 0, record }.object(fields).is_some()
}

struct Quick<'a> {
    text: &'a str,
    at: usize,
    record: &'a mut Record,
}

impl<'a> Quick<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is not blank, left where it is.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, fields: &mut FieldTable) -> Option<()> {
        self.expect(b'{')?;
        let mut before = None;
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                self.expect(b'"')?;
                let field = self.name(before, fields)?;
                self.expect(b':')?;
                self.value(field)?;
                before = field.or(before);
                match self.peek()? {
                    b',' => self.at += 1,
                    b'}' => {
                        self.at += 1;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        self.peek().is_none().then_some(())
    }

    /// The field whose name comes next, behind its opening quote; none inside for one that nobody reads.
    fn name(&mut self, before: Option<FieldId>, fields: &mut FieldTable) -> Option<Option<FieldId>> {
        if let Some((field, length)) = fields.guess(before, self.rest()) {
            self.at += length;
            return Some(field);
        }
        let end = plain_run(self.rest());
        if self.rest().get(end) != Some(&b'"') {
            return None;
        }
        let name = &self.text[self.at..self.at + end];
        self.at += end + 1;
        Some(fields.find(before, name))
    }

    fn value(&mut self, field: Option<FieldId>) -> Option<()> {
        let slot = match self.peek()? {
            b'"' => return self.string(field),
            b'-' | b'0'..=b'9' => Slot::Number(self.number()?),
            b't' => self.word("true", Slot::True)?,
            b'f' => self.word("false", Slot::False)?,
            b'n' => self.word("null", Slot::Null)?,
            b'{' | b'[' => {
                let mut json = serde_json::Deserializer::from_str(&self.text[self.at..]);
                let raw = <&RawValue>::deserialize(&mut json).ok()?.get();
                self.at += raw.len();
                self.record.slot_of(raw, self.text).ok()?
            }
            _ => return None,
        };
        if let Some(field) = field {
            self.record.set(field, slot);
        }
        Some(())
    }

    fn word(&mut self, word: &str, slot: Slot) -> Option<Slot> {
        self.rest().starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            slot
        })
    }

    fn string(&mut self, field: Option<FieldId>) -> Option<()> {
        let Some(field) = field else {
            return self.unread_string();
        };
        self.at += 1;
        let start = self.at;
        // What is escaped goes to the scratch, and with it the plain runs before and behind.
        let (mut run, mut in_scratch) = (start, None);
        loop {
            self.at += plain_run(self.rest());
            match self.rest().first()? {
                b'"' => break,
                b'\\' => {
                    in_scratch.get_or_insert(self.record.scratch.len());
                    self.record.scratch.push_str(self.text.get(run..self.at)?);
                    let escaped = self.escaped()?;
                    self.record.scratch.push(escaped);
                    run = self.at;
                }
                _ => return None,
            }
        }
        let span = match in_scratch {
            None => Span::of(start, self.at),
            Some(start) => {
                self.record.scratch.push_str(self.text.get(run..self.at)?);
                Span::in_scratch(start, self.record.scratch.len())
            }
        };
        self.at += 1;
        self.record.set(field, Slot::Text(span));
        Some(())
    }

    /// A string that nobody reads must be a string all the same.
    fn unread_string(&mut self) -> Option<()> {
        let quote = self.at;
        let mut is_escaped = false;
        self.at += 1;
        loop {
            self.at += plain_run(self.rest());
            match self.rest() {
                [b'"', ..] => break,
                [b'\\', _, ..] => {
                    is_escaped = true;
                    self.at += 2;
                }
                _ => return None,
            }
        }
        self.at += 1;
        if is_escaped {
            serde_json::from_str::<serde::de::IgnoredAny>(self.text.get(quote..self.at)?).ok()?;
        }
        Some(())
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        let [b'\\', kind, ..] = self.rest() else {
            return None;
        };
        if *kind == b'u' {
            let Unicode { code, bytes } = unicode(self.rest())?;
            self.at += bytes;
            return char::from_u32(code);
        }
        self.at += 2;
        Some(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return None,
        })
    }

    fn number(&mut self) -> Option<Span> {
        let start = self.at;
        if self.rest().first() == Some(&b'-') {
            self.at += 1;
        }
        match self.rest().first()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.rest().first() == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.rest().first() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.rest().first() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Span::of(start, self.at))
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use pinlake_schema::Catalog;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// The fields of a record as text, by either way.
    fn seen(text: &str, quickly: bool, fields: &mut FieldTable) -> Option<Vec<String>> {
        let mut record = Record::new(fields.len());
        let is_read = match quickly {
            true => read(text, &mut record, fields),
            false => record.parse_with_serde(text, fields).is_ok(),
        };
        let shown = |field: usize| match record.slot(field as FieldId) {
            Slot::Text(span) => format!("text {}", record.text(span, text)),
            Slot::Number(span) | Slot::Nested(span) => format!("raw {}", record.text(span, text)),
            other => format!("{other:?}"),
        };
        is_read.then(|| (0..fields.len()).map(shown).collect())
    }

    fn fields() -> FieldTable {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());
        FieldTable::new(&CATALOG)
    }

    #[test]
    fn most_records_go_the_quick_way() {
        let mut fields = fields();
        for text in [
            r#"{"ind": 7528, "timestamp": "2020-08-28 03:52:47", "latitude": -89.9787, "longitude": -1.7e+2, "country": "Albania"}"#,
            r#" { "ind" : 0 , "title":"caf\u00e9 \" \ud83d\ude00","other":"\ud800","downloaded":{"a":[1]},"age":null,"x":true} "#,
            "{}",
        ] {
            let quick = seen(text, true, &mut fields).expect(text);
            assert_eq!(Some(quick), seen(text, false, &mut fields), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_taken_quickly_is_what_the_other_reader_takes(
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
            if let Some(quick) = seen(&text, true, &mut fields) {
                prop_assert_eq!(Some(quick), seen(&text, false, &mut fields));
            }
        }
    }
}
