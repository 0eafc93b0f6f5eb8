//! The canonical form of JSON values: equal values have equal texts, however they were written.
//!
//! - no white space; members in the order of their names, of equal names only the last;
//! - strings as UTF-8, with the shortest escape where JSON demands one;
//! - numbers as ECMAScript writes them, but with all their digits: `1.50`, `15e-1` and `1.5` are `1.5`.
//!
//! Text that is already canonical stays where it is. `docs/keys.md` specifies the form: it is part of keys.

use pinlake_json::{Lexer, Malformed, RunEnd, ValueKind};

/// A member that was written: the range of its name, and its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    start: usize,
    name_end: usize,
    end: usize,
}

/// The canonical form of a JSON text, as columns of the type `json` have it; `None` if it is not JSON.
pub fn canonicalize_json(json: &str) -> Option<String> {
    let mut canonical = String::with_capacity(json.len());
    write_canonical(json, &mut canonical, &mut Vec::new()).ok().map(|()| canonical)
}

/// Appends the canonical form of the JSON text `json` to `out`. `members` is working memory.
pub(crate) fn write_canonical(
    json: &str,
    out: &mut String,
    members: &mut Vec<Member>,
) -> Result<(), Malformed> {
    let mut writer = Writer { text: json, out, members };
    let mut lexer = Lexer::new(json.as_bytes());
    writer.write_value(&mut lexer)?;
    lexer.end()
}

/// Appends a text as a canonical JSON string.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    text.chars().for_each(|character| push_char(character, out));
    out.push('"');
}

fn push_char(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control @ ..'\u{20}' => {
            out.push_str(if control < '\u{10}' { "\\u000" } else { "\\u001" });
            out.push(char::from_digit(u32::from(control) % 16, 16).unwrap_or('0'));
        }
        other => out.push(other),
    }
}

struct Writer<'a> {
    text: &'a str,
    out: &'a mut String,
    members: &'a mut Vec<Member>,
}

impl Writer<'_> {
    fn write_value(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Malformed> {
        match lexer.value_kind()? {
            ValueKind::Object => self.write_object(lexer),
            ValueKind::Array => {
                self.out.push('[');
                lexer.array(|lexer, is_first| {
                    if !is_first {
                        self.out.push(',');
                    }
                    self.write_value(lexer)
                })?;
                self.out.push(']');
                Ok(())
            }
            ValueKind::String => {
                lexer.open_string();
                self.write_rest_of_string(lexer)
            }
            ValueKind::Number => {
                let number = lexer.number()?;
                write_number(std::str::from_utf8(number).unwrap_or_default(), self.out);
                Ok(())
            }
            ValueKind::True => self.write_literal(lexer, "true"),
            ValueKind::False => self.write_literal(lexer, "false"),
            ValueKind::Null => self.write_literal(lexer, "null"),
        }
    }

    fn write_literal(&mut self, lexer: &mut Lexer<'_>, word: &'static str) -> Result<(), Malformed> {
        lexer.literal(word)?;
        self.out.push_str(word);
        Ok(())
    }

    fn write_object(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Malformed> {
        self.out.push('{');
        let (first, body) = (self.members.len(), self.out.len());
        lexer.object(|lexer, is_first| {
            if !is_first {
                self.out.push(',');
            }
            let start = self.out.len();
            lexer.open_name()?;
            self.write_rest_of_string(lexer)?;
            let name_end = self.out.len();
            lexer.colon()?;
            self.out.push(':');
            self.write_value(lexer)?;
            self.members.push(Member { start, name_end, end: self.out.len() });
            Ok::<(), Malformed>(())
        })?;
        self.sort_members(first, body);
        self.members.truncate(first);
        self.out.push('}');
        Ok(())
    }

    /// Brings the members from number `first` on, whose text begins at `body`, into order.
    fn sort_members(&mut self, first: usize, body: usize) {
        let members = &mut self.members[first..];
        let compare = |out: &str, a: &Member, b: &Member| {
            out.as_bytes()[a.start..a.name_end].cmp(&out.as_bytes()[b.start..b.name_end])
        };
        if members.windows(2).all(|pair| compare(self.out, &pair[0], &pair[1]).is_lt()) {
            return;
        }
        members.sort_by(|a, b| compare(self.out, a, b));
        let end = self.out.len();
        for at in 0..members.len() {
            let is_repeated =
                members.get(at + 1).is_some_and(|next| compare(self.out, &members[at], next).is_eq());
            if !is_repeated {
                if self.out.len() > end {
                    self.out.push(',');
                }
                self.out.extend_from_within(members[at].start..members[at].end);
            }
        }
        self.out.drain(body..end);
    }

    /// Writes a string whose opening quote has been read.
    fn write_rest_of_string(&mut self, lexer: &mut Lexer<'_>) -> Result<(), Malformed> {
        self.out.push('"');
        let mut start = lexer.offset();
        loop {
            if lexer.plain_run()? == RunEnd::Quote {
                self.out.push_str(&self.text[start..lexer.offset()]);
                return Ok(());
            }
            let at = lexer.offset();
            self.out.push_str(&self.text[start..at]);
            match lexer.escape()?.character {
                Some(character) => push_char(character, self.out),
                // Half a surrogate pair has no other form.
                None => {
                    self.out.extend(self.text[at..lexer.offset()].chars().map(|c| c.to_ascii_lowercase()))
                }
            }
            start = lexer.offset();
        }
    }
}

/// The most digits before the decimal point without an exponent, and zeros behind it, as in ECMAScript
/// (`Number::toString`).
const MAX_INTEGER_DIGITS: i64 = 21;
const MAX_LEADING_ZEROS: i64 = 6;

/// Appends the shortest text of a number: no digit is lost.
fn write_number(text: &str, out: &mut String) {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (integral, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || integral.bytes().chain(fraction.bytes());
    let total = integral.len() + fraction.len();
    let leading = digits().take_while(|digit| *digit == b'0').count();
    if leading == total {
        out.push('0');
        return;
    }
    let trailing =
        fraction.bytes().rev().chain(integral.bytes().rev()).take_while(|digit| *digit == b'0').count();
    // An exponent beyond 64 bits stays as it is.
    let Ok(exponent) = exponent.parse::<i32>() else {
        out.push_str(text);
        return;
    };
    let significant = || digits().skip(leading).take(total - leading - trailing).map(char::from);
    let count = (total - leading - trailing) as i64;
    // The number is 0.<significant digits> times ten to the power of this.
    let point = integral.len() as i64 - leading as i64 + i64::from(exponent);
    out.push_str(sign);
    if (1..=MAX_INTEGER_DIGITS).contains(&point) {
        for (at, digit) in (0..).zip(significant()) {
            if at == point {
                out.push('.');
            }
            out.push(digit);
        }
        out.extend((count..point).map(|_| '0'));
    } else if (1 - MAX_LEADING_ZEROS..=0).contains(&point) {
        out.push_str("0.");
        out.extend((point..0).map(|_| '0'));
        out.extend(significant());
    } else {
        for (at, digit) in (0..).zip(significant()) {
            if at == 1 {
                out.push('.');
            }
            out.push(digit);
        }
        let exponent = point - 1;
        out.push_str(if exponent < 0 { "e-" } else { "e+" });
        out.push_str(&exponent.unsigned_abs().to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn canonical(json: &str) -> String {
        let mut out = "before".to_owned();
        write_canonical(json, &mut out, &mut Vec::new()).unwrap();
        out.strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn equal_values_have_one_text() {
        for (texts, expected) in [
            (
                &["{\"b\": [1, 2.0],\n \"a\":\"\\u00e9\\/\"}", "{\"a\":\"é/\",\"b\":[1e0,20e-1]}"][..],
                "{\"a\":\"é/\",\"b\":[1,2]}",
            ),
            (&["{\"a\":1,\"b\":{\"d\":1,\"c\":2},\"a\":3}"], "{\"a\":3,\"b\":{\"c\":2,\"d\":1}}"),
            (&["{\"\\u0061\":1,\"a\":2}"], "{\"a\":2}"),
            (&["\"\\u0000\\u001F\\n\\u000a\\ud83d\\ude00\\uD800\""], "\"\\u0000\\u001f\\n\\n😀\\ud800\""),
            (&["0", "-0", "0.00", "0e7", "-0E-9"], "0"),
            (&["1", "1.0", "10e-1", "0.01e+2"], "1"),
            (&["-1.5", "-1.50", "-15e-1", "-0.15E1"], "-1.5"),
            (&["100", "1e2", "1E+2", "100.0"], "100"),
            (&["0.000001", "1e-6"], "0.000001"),
            (&["1e-7", "0.0000001"], "1e-7"),
            (&["1e20", "100000000000000000000.0"], "100000000000000000000"),
            (&["1e21", "1000000000000000000000"], "1e+21"),
            (&["1.23e400", "123e398"], "1.23e+400"),
            (
                &["12345678901234567890.123456789", "12345678901234567890.1234567890"],
                "12345678901234567890.123456789",
            ),
            (&["[]", " [ ] "], "[]"),
            (&["{}", "{ }"], "{}"),
            (&["null"], "null"),
        ] {
            for text in texts {
                assert_eq!(canonical(text), expected, "{text}");
            }
            assert_eq!(canonical(expected), expected);
        }
        assert_eq!(canonical("1e99999999999999"), "1e99999999999999");
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            // serde_json does not read every float exactly.
            any::<i16>().prop_map(|number| (f64::from(number) / 8.0).into()),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
        })]

        #[test]
        fn the_value_stays_and_spelling_does_not_count(value in any_json()) {
            let (compact, pretty) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
            let text = canonical(&compact);
            prop_assert_eq!(&canonical(&pretty), &text);
            prop_assert_eq!(&canonical(&text), &text);
            let again: serde_json::Value = serde_json::from_str(&text).unwrap();
            // 1.0 is 1 in the canonical form, which serde_json distinguishes.
            let as_floats = |value: &serde_json::Value| canonical(&value.to_string());
            prop_assert_eq!(as_floats(&again), text);
        }
    }
}
