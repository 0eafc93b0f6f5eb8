//! Invariants that hold for any text: the lexer agrees with `serde_json`. The property tests and the fuzz target `json` check them.

use pinlake_json::{Boundary, BoundaryScanner, Lexer, Malformed, RunEnd, ValueKind};
use serde_json::value::RawValue;

/// Checks the lexer and the boundary scanner with a text.
pub fn text(text: &str) {
    let ours = read(text);
    match serde_json::from_str::<&RawValue>(text) {
        Err(_) => assert!(ours.is_err(), "serde_json refuses {text:?}"),
        Ok(raw) if is_deeper_than_allowed(raw.get()) => {
            assert_eq!(ours.expect_err("too deep").problem, "nested deeper than 128 levels", "{text:?}");
        }
        Ok(raw) => {
            assert_eq!(ours, Ok(()), "serde_json accepts {text:?}");
            strings(raw.get());
            boundaries(raw.get());
        }
    }
}

fn read(text: &str) -> Result<(), Malformed> {
    let mut lexer = Lexer::new(text.as_bytes());
    lexer.skip_value()?;
    lexer.end()
}

/// Counts brackets outside strings, in text that is JSON.
fn is_deeper_than_allowed(json: &str) -> bool {
    let (mut depth, mut deepest, mut is_in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'{' | b'[' if !is_in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_in_string => depth -= 1,
            _ => {}
        }
    }
    deepest > pinlake_json::MAX_DEPTH
}

/// Compares all strings and numbers of a value with those that `serde_json` reads.
fn strings(json: &str) {
    let mut lexer = Lexer::new(json.as_bytes());
    walk(&mut lexer, json).expect("JSON");
}

fn walk(lexer: &mut Lexer<'_>, json: &str) -> Result<(), Malformed> {
    match lexer.value_kind()? {
        ValueKind::Object => lexer.object(|lexer, _| {
            lexer.open_name()?;
            string(lexer, json)?;
            lexer.colon()?;
            walk(lexer, json)
        }),
        ValueKind::Array => lexer.array(|lexer, _| walk(lexer, json)),
        ValueKind::String => {
            lexer.open_string();
            string(lexer, json)
        }
        ValueKind::Number => {
            let number = lexer.number()?;
            let theirs: &RawValue = serde_json::from_slice(number).expect("a number");
            assert_eq!(theirs.get().as_bytes(), number);
            Ok(())
        }
        ValueKind::True | ValueKind::False | ValueKind::Null => lexer.skip_value(),
    }
}

/// Decodes a string after its opening quote.
fn string(lexer: &mut Lexer<'_>, json: &str) -> Result<(), Malformed> {
    let start = lexer.offset();
    let (mut text, mut run) = (Some(String::new()), start);
    while lexer.plain_run()? == RunEnd::Escape {
        let plain = &json[run..lexer.offset()];
        let escape = lexer.escape()?;
        run = lexer.offset();
        text = text.zip(escape.character).map(|(mut text, character)| {
            text.push_str(plain);
            text.push(character);
            text
        });
    }
    let end = lexer.offset();
    if let Some(text) = &mut text {
        text.push_str(&json[run..end - 1]);
    }
    assert_eq!(text, serde_json::from_str::<String>(&json[start - 1..end]).ok(), "{json:?}");
    Ok(())
}

/// Checks that the end of a value is found wherever the text is split in two.
fn boundaries(json: &str) {
    let bytes = json.as_bytes();
    let followed = [bytes, b" ,"].concat();
    for split in (0..=bytes.len()).step_by(bytes.len() / 16 + 1) {
        let mut scanner = BoundaryScanner::new(bytes[0]);
        let first = scanner.scan(&followed[..split]);
        let end = match first {
            Boundary::NotReached => match scanner.scan(&followed[split..]) {
                Boundary::Reached { bytes } => split + bytes,
                other => panic!("{other:?} in {json:?}"),
            },
            Boundary::Reached { bytes } => bytes,
            Boundary::Broken { problem, .. } => panic!("{problem}: {json:?}"),
        };
        assert_eq!(end, bytes.len(), "{json:?} split at {split}");
    }
}
