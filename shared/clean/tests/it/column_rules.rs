//! Rules of columns: how values are written, and which are allowed.

use crate::{contracts_of, evaluate};

/// What becomes of the text `value` in a column `c` with these lines.
fn clean_text(column: &str, value: &str) -> String {
    clean_json(column, &serde_json::json!(value).to_string())
}

fn clean_json(column: &str, json: &str) -> String {
    clean_record(column, &format!("{{\"c\":{json}}}"))
}

fn clean_record(column: &str, record: &str) -> String {
    let contract = format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"c\"\n{column}\n");
    let found = evaluate(&contracts_of(&[&contract]), record.as_bytes(), Some("t"));
    match found.strip_prefix("clean t {\"c\":") {
        Some(value) => value.trim_end_matches('}').to_owned(),
        None => found,
    }
}

#[test]
fn numbers_are_read_as_the_contract_says() {
    const EURO: &str = "type = \"float64\"\nlocale = \"de\"\nremove_suffix = \"EUR\"";
    const DOLLAR: &str = "type = \"float64\"\nlocale = \"en\"\nremove_prefix = \"$\"";
    const COUNT: &str = "type = \"int64\"\nlocale = \"de\"\ncounts = true";
    for (column, value, expected) in [
        (EURO, "6.918,26 EUR", "6918.26"),
        (EURO, " 6.918,26EUR ", "6918.26"),
        (EURO, "12,50", "12.5"),
        (EURO, "-1.234", "-1234.0"),
        (EURO, "12.50", "t: wrong_type: c: \"12.50\" is not a float64 as `de` writes it"),
        (EURO, "1,234.56", "t: wrong_type: c: \"1,234.56\" is not a float64 as `de` writes it"),
        (DOLLAR, "$1,234.5", "1234.5"),
        (DOLLAR, "-$12.50", "-12.5"),
        (DOLLAR, "$ -12.50", "-12.5"),
        (DOLLAR, "1.234,5", "t: wrong_type: c: \"1.234,5\" is not a float64 as `en` writes it"),
        ("type = \"int32\"\nremove_suffix = \"%\"", "12 %", "12"),
        ("type = \"int32\"\nremove_suffix = \"%\"", "12", "12"),
        ("type = \"int32\"\nlocale = \"fr\"", "1\u{202f}234", "1234"),
        (
            "type = \"int32\"\nlocale = \"fr\"",
            "9 999 999 999",
            "t: out_of_range: c: \"9 999 999 999\" does not fit int32",
        ),
        (COUNT, "1,2k", "1200"),
        (COUNT, "1.234", "1234"),
        (COUNT, "1.2k", "t: bad_count: c: \"1.2k\" is not a count such as 12, 12k, 1.2M"),
        ("type = \"string\"\nremove_suffix = \"EUR\"", "x €EUR", "\"x €\""),
    ] {
        assert_eq!(clean_text(column, value), expected, "{column} {value}");
    }
    // A number of JSON is written as JSON does.
    assert_eq!(clean_json(EURO, "12.50"), "12.5");
}
