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

#[test]
fn times_are_local_in_a_zone() {
    const BERLIN: &str = "type = \"timestamp\"\nzone = \"Europe/Berlin\"";
    const NEW_YORK: &str =
        "type = \"timestamp\"\nzone = \"America/New_York\"\nformats = [\"%m/%d/%y %I:%M %p\", \"%Y-%m-%d\"]";
    for (column, value, expected) in [
        (BERLIN, "2024-01-15 12:00:00", "\"2024-01-15T11:00:00Z\""),
        (BERLIN, "2024-07-15 12:00:00.5", "\"2024-07-15T10:00:00.500Z\""),
        // The offset in the text decides.
        (BERLIN, "2024-07-15T12:00:00Z", "\"2024-07-15T12:00:00Z\""),
        (BERLIN, "2024-07-15T12:00:00-03:00", "\"2024-07-15T15:00:00Z\""),
        // Clocks are set forward from 2 to 3, and back from 3 to 2.
        (BERLIN, "2024-03-31 01:59:59", "\"2024-03-31T00:59:59Z\""),
        (
            BERLIN,
            "2024-03-31 02:30:00",
            "t: bad_timestamp: c: \"2024-03-31 02:30:00\" is in none of the formats, or no date there is, or no time of \
             Europe/Berlin",
        ),
        (BERLIN, "2024-03-31 03:00:00", "\"2024-03-31T01:00:00Z\""),
        (BERLIN, "2024-10-27 02:30:00", "\"2024-10-27T00:30:00Z\""),
        (BERLIN, "2024-10-27 03:00:00", "\"2024-10-27T02:00:00Z\""),
        (NEW_YORK, "7/4/26 09:30 PM", "\"2026-07-05T01:30:00Z\""),
        (NEW_YORK, "2026-07-04", "\"2026-07-04T04:00:00Z\""),
    ] {
        assert_eq!(clean_text(column, value), expected, "{column} {value}");
    }
    let typed = r#"{"c":"2024-07-15T12:00:00","$parquet":{"c":"timestamp"}}"#;
    assert_eq!(clean_record(BERLIN, typed), "\"2024-07-15T10:00:00Z\"");
    assert_eq!(clean_record(BERLIN, &typed.replace("00\"", "00Z\"")), "\"2024-07-15T12:00:00Z\"");
}

#[test]
fn dates_and_times_of_day_are_joined() {
    const JOINED: &str = "type = \"timestamp\"\njoin = [\"d\", \"t\"]\nseparator = \" \"\nzone = \"Europe/Berlin\"\n\
                          formats = [\"%d.%m.%y %H:%M:%S\", \"%Y-%m-%d %H:%M:%S\"]";
    const DAY: &str = "type = \"date\"\njoin = [\"y\", \"m\", \"d\"]\nseparator = \"-\"";
    for (column, record, expected) in [
        (JOINED, r#"{"d":"15.07.24","t":"12:00:00"}"#, "\"2024-07-15T10:00:00Z\""),
        (JOINED, r#"{"d":"2024-07-15","t":"12:00:00","$parquet":{"d":"date"}}"#, "\"2024-07-15T10:00:00Z\""),
        (JOINED, r#"{"d":null,"t":null}"#, "null"),
        (
            JOINED,
            r#"{"d":"15.07.24","t":null}"#,
            "t: bad_timestamp: c: \"15.07.24\" is in none of the formats, or no date there is, or no time of Europe/Berlin",
        ),
        (DAY, r#"{"y":2024,"m":7,"d":"5"}"#, "\"2024-07-05\""),
    ] {
        assert_eq!(clean_record(column, record), expected, "{record}");
    }
}

#[test]
fn days_since_1970_are_dates() {
    const DAYS: &str = "type = \"date\"\nformats = [\"unix_days\", \"%Y-%m-%d\"]";
    for (value, expected) in [
        ("18502", "\"2020-08-28\""),
        ("\"-1\"", "\"1969-12-31\""),
        ("\"2020-08-28\"", "\"2020-08-28\""),
        ("18502.5", "t: bad_timestamp: c: 18502.5 is in none of the formats, or no date there is"),
        ("9999999", "t: bad_timestamp: c: 9999999 is in none of the formats, or no date there is"),
    ] {
        assert_eq!(clean_json(DAYS, value), expected, "{value}");
    }
    let timestamp = "type = \"timestamp\"\nformats = [\"unix_days\"]\nzone = \"Asia/Tokyo\"";
    assert_eq!(clean_json(timestamp, "1"), "\"1970-01-02T00:00:00Z\"");
}

#[test]
fn booleans_have_the_words_of_the_contract() {
    const GERMAN: &str = "type = \"boolean\"\ntrue = [\"ja\", \"Ä\", \"no\"]\nfalse = [\"nein\", \"2\"]";
    for (value, expected) in [
        ("\"ja\"", "true"),
        ("\" JA \"", "true"),
        ("\"ä\"", "true"),
        ("\"nein\"", "false"),
        ("2", "false"),
        ("\"yes\"", "true"),
        // The contract takes precedence over the usual words.
        ("\"no\"", "true"),
        ("true", "true"),
        ("\"jein\"", "t: wrong_type: c: \"jein\" is not a boolean"),
    ] {
        assert_eq!(clean_json(GERMAN, value), expected, "{value}");
    }
}

#[test]
fn texts_are_trimmed_and_have_one_case() {
    const STATUS: &str = "type = \"string\"\ntrim = true\ncase = \"lower\"\ndefault = \"new\"\nnull = [\"-\"]\n\
                          one_of = [\"new\", \"paid\", \"größe\"]\nmatches = \"^[^0-9]+$\"";
    for (value, expected) in [
        ("\" PAID\\u00a0\"", "\"paid\""),
        ("\"paid\"", "\"paid\""),
        ("\"GRÖSSE\"", "t: not_allowed: c: \"grösse\" is not one of the allowed values"),
        ("\"GRÖẞE\"", "\"größe\""),
        ("null", "\"new\""),
        ("\"-\"", "\"new\""),
        ("\"done\"", "t: not_allowed: c: \"done\" is not one of the allowed values"),
        ("7", "t: not_allowed: c: \"7\" does not match `^[^0-9]+$`"),
    ] {
        assert_eq!(clean_json(STATUS, value), expected, "{value}");
    }
    const UPPER: &str =
        "type = \"string\"\ncase = \"upper\"\ntrim = true\nremove_prefix = \"id:\"\nremove_suffix = \";\"";
    assert_eq!(clean_text(UPPER, " id: straße ; "), "\"STRASSE\"");
    assert_eq!(clean_text(UPPER, "   "), "\"\"");
    // A field that is not there is no value, and a record without a field is not data.
    let record = r#"{"other":1}"#;
    assert_eq!(clean_record(STATUS, record), "t: nothing_found: the record has none of `c`");
}

#[test]
fn numbers_are_in_their_range() {
    const INT: &str = "type = \"int64\"\nmin = -5\nmax = 10\ndefault = 0";
    const FLOAT: &str = "type = \"float64\"\nmin = 0\nmax = 0.5";
    for (column, value, expected) in [
        (INT, "-5", "-5"),
        (INT, "10", "10"),
        (INT, "null", "0"),
        (INT, "-6", "t: out_of_range: c: -6 is less than -5"),
        (INT, "\"11\"", "t: out_of_range: c: 11 is more than 10"),
        ("type = \"int64\"\nmin = 5\nmax = 5", "7", "t: out_of_range: c: 7 is more than 5"),
        (FLOAT, "0.5", "0.5"),
        (FLOAT, "null", "null"),
        (FLOAT, "-0.1", "t: out_of_range: c: -0.1 is less than 0"),
        (FLOAT, "0.51", "t: out_of_range: c: 0.51 is more than 0.5"),
        ("type = \"boolean\"\ndefault = false\nrequired = true", "null", "false"),
        ("type = \"float64\"\ndefault = 1", "null", "1.0"),
    ] {
        assert_eq!(clean_json(column, value), expected, "{column} {value}");
    }
}

/// As [`clean_json`], with all the digits of the value in the column.
fn clean_decimal(column: &str, json: &str) -> String {
    let contract = format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"c\"\n{column}\n");
    let mut cleaner = crate::new_cleaner(contracts_of(&[&contract]));
    cleaner.push(format!("{{\"c\":{json}}}").as_bytes(), Some("t"), &crate::line(1));
    let cleaned = cleaner.drain();
    if cleaned[0].contract.name == "t" {
        return arrow::util::display::array_value_to_string(cleaned[0].rows.column(0), 0).expect("a value");
    }
    clean_json(column, json)
}

#[test]
fn decimals_are_exact() {
    const PLAIN: &str = "type = \"decimal(12,2)\"";
    const EURO: &str =
        "type = \"decimal(12,2)\"\nlocale = \"de\"\nremove_suffix = \" EUR\"\nmin = 0\ndefault = 0.50";
    const COUNT: &str = "type = \"decimal(12,2)\"\ncounts = true";
    for (column, value, expected) in [
        (PLAIN, "1.5", "1.50"),
        (PLAIN, "\" 1.500 \"", "1.50"),
        (PLAIN, "15e-1", "1.50"),
        (PLAIN, "-0.0", "0.00"),
        (PLAIN, "9999999999.99", "9999999999.99"),
        (PLAIN, "null", ""),
        (PLAIN, "1.505", "t: out_of_range: c: 1.505 does not fit decimal(12,2)"),
        (PLAIN, "0.30000000000000004", "t: out_of_range: c: 0.30000000000000004 does not fit decimal(12,2)"),
        (PLAIN, "10000000000", "t: out_of_range: c: 10000000000 does not fit decimal(12,2)"),
        (PLAIN, "\"abc\"", "t: wrong_type: c: \"abc\" is not a decimal(12,2)"),
        (PLAIN, "true", "t: wrong_type: c: true is not a decimal(12,2)"),
        (EURO, "\"6.918,26 EUR\"", "6918.26"),
        (EURO, "6918.26", "6918.26"),
        (EURO, "null", "0.50"),
        (EURO, "\"-0,01 EUR\"", "t: out_of_range: c: -0.01 is less than 0"),
        (EURO, "\"1.50\"", "t: wrong_type: c: \"1.50\" is not a decimal(12,2) as `de` writes it"),
        (COUNT, "\"1.23456k\"", "1234.56"),
        (COUNT, "\"1.234567k\"", "t: out_of_range: c: \"1.234567k\" does not fit decimal(12,2)"),
        (COUNT, "\"many\"", "t: bad_count: c: \"many\" is not a count such as 12, 12k, 1.2M"),
        (
            "type = \"decimal(12,2)\"\nnull = [\"NA\"]\nrequired = true",
            "\"NA\"",
            "t: missing_required: c: null in `c`",
        ),
        (
            "type = \"decimal(38,0)\"",
            "99999999999999999999999999999999999999",
            "99999999999999999999999999999999999999",
        ),
        ("type = \"array<decimal(5,1)>\"", "[1, \"2.5\", null, 3.00]", "[1.0, 2.5, , 3.0]"),
        (
            "type = \"array<decimal(5,1)>\"",
            "[1.25]",
            "t: out_of_range: c: 1.25 does not fit array<decimal(5,1)>",
        ),
    ] {
        assert_eq!(clean_decimal(column, value), expected, "{column} {value}");
    }
}

#[test]
fn parts_of_a_time_are_derived() {
    let column = |name: &str, data_type: &str, more: &str| {
        format!("[[column]]\nname = \"{name}\"\ntype = \"{data_type}\"\n{more}\n")
    };
    let contract = |more: &str| {
        [
            "name = \"t\"\nversion = 1\nidentity = [\"id\", \"day\"]\nrest = \"others\"\n",
            "keep = { latest_by = [\"n\"], delete_when = { op = \"d\" } }\n",
            &column("id", "int64", "required = true"),
            // Before the column that it is derived from.
            &column("day", "date", &format!("derive = \"date(at)\"\n{more}")),
            &column("year", "int32", "derive = \"year(born)\""),
            &column("n", "int64", ""),
            &column("at", "timestamp", "zone = \"Europe/Berlin\""),
            &column("born", "date", ""),
        ]
        .concat()
    };
    let catalog = contracts_of(&[&contract("")]);
    for (record, expected) in [
        (
            r#"{"id":1,"n":1,"at":"2024-07-15 01:30:00","born":"1999-12-31","day":"2000-01-01"}"#,
            r#"{"id":1,"day":"2024-07-14","year":1999,"n":1,"at":"2024-07-14T23:30:00Z","born":"1999-12-31","others":"{\"day\":\"2000-01-01\"}","_deleted":false}"#,
        ),
        (
            r#"{"id":1}"#,
            r#"{"id":1,"day":null,"year":null,"n":null,"at":null,"born":null,"others":null,"_deleted":false}"#,
        ),
        // The key of a deleted row needs the day, and the day the time.
        (
            r#"{"id":1,"n":2,"at":"2024-07-15 12:00:00","born":"1999-12-31","op":"d"}"#,
            r#"{"id":1,"day":"2024-07-15","year":null,"n":2,"at":"2024-07-15T10:00:00Z","born":null,"others":null,"_deleted":true}"#,
        ),
    ] {
        assert_eq!(
            evaluate(&catalog, record.as_bytes(), Some("t")),
            format!("clean t {expected}"),
            "{record}"
        );
    }
    let required = contracts_of(&[&contract("required = true")]);
    assert_eq!(
        evaluate(&required, br#"{"id":1}"#, Some("t")),
        "t: missing_required: day: `at`, from which it is derived, is null"
    );
}

#[test]
fn records_that_are_no_data_are_skipped() {
    use pinlake_clean::Disposition::{Clean, Quarantined, Skipped};
    let contract = "name = \"t\"\nversion = 1\n[file]\nskip_when = { kind = \"total\", \"meta.final\" = true }\n\
                    [[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n";
    let mut cleaner = crate::new_cleaner(contracts_of(&[contract]));
    for (record, expected) in [
        (r#"{"kind":"total","meta":{"final":true}}"#, Skipped),
        // Even if it breaks the contract otherwise.
        (r#"{"kind":"total","meta":{"final":"true"},"id":"sum"}"#, Skipped),
        (r#"{"kind":"total","id":1}"#, Clean),
        (r#"{"kind":"Total","meta":{"final":true}}"#, Quarantined),
        (r#"{"kind":"total","meta":{"final":true}"#, Quarantined),
        (r#"{"id":2}"#, Clean),
    ] {
        assert_eq!(cleaner.push(record.as_bytes(), Some("t"), &crate::line(1)), expected, "{record}");
    }
    let counts: Vec<_> =
        cleaner.counts().map(|count| (count.read, count.quarantined, count.skipped)).collect();
    assert_eq!(counts, [(4, 2, 2)]);
    let rows: Vec<_> = cleaner.drain().iter().map(|rows| (rows.contract.name.clone(), rows.read)).collect();
    assert_eq!(rows, [("quarantine".to_owned(), 2), ("t".to_owned(), 2)]);
}

#[test]
fn fields_that_no_column_reads_are_kept() {
    let contract = "name = \"t\"\nversion = 1\nrest = \"others\"\n[[column]]\nname = \"id\"\ntype = \"int64\"\n\
                    [[column]]\nname = \"x\"\ntype = \"int64\"\nfrom = [\"a.x\", \"b\"]\n";
    let catalog = contracts_of(&[contract]);
    for (record, expected) in [
        (r#"{"id":1}"#, r#"{"id":1,"x":null,"others":null}"#),
        (
            r#"{ "z" : [1.0, {"k":"\u00e9"}], "id":1, "\u0062":2, "y": null }"#,
            r#"{"id":1,"x":2,"others":"{\"y\":null,\"z\":[1,{\"k\":\"é\"}]}"}"#,
        ),
        // A path reads a part: the object stays whole.
        (r#"{"a":{"x":3,"y":4}}"#, r#"{"id":null,"x":3,"others":"{\"a\":{\"x\":3,\"y\":4}}"}"#),
        // Similar names are read, unless the name itself is there.
        (r#"{"ID":1}"#, r#"{"id":1,"x":null,"others":null}"#),
        (r#"{"ID":1,"id":2}"#, r#"{"id":2,"x":null,"others":"{\"ID\":1}"}"#),
        (
            r#"{"id":1,"at":"2020-01-01","$parquet":{"at":"date"}}"#,
            r#"{"id":1,"x":null,"others":"{\"at\":\"2020-01-01\"}"}"#,
        ),
    ] {
        assert_eq!(
            evaluate(&catalog, record.as_bytes(), Some("t")),
            format!("clean t {expected}"),
            "{record}"
        );
    }
    let nothing = evaluate(&catalog, br#"{"y":1}"#, Some("t"));
    assert!(nothing.starts_with("t: nothing_found"), "{nothing}");
}
