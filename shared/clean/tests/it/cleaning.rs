use serde_json::json;

use super::*;

const PIN: &str = r#"{"index": 7528, "unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf", "title": "No Title Data Available", "description": "No description available Story format", "poster_name": "User Info Error", "follower_count": "User Info Error", "tag_list": "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e", "is_image_or_video": "multi-video(story page format)", "image_src": "Image src error.", "downloaded": 0, "save_location": "Local save in /data/mens-fashion", "category": "mens-fashion"}"#;

#[test]
fn clean_rows_of_each_dataset() {
    let catalog = contracts();
    assert_eq!(
        single(&catalog, PIN.as_bytes(), Some("pin")),
        (
            "pin".into(),
            json!({
                "ind": 7528, "unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf", "title": null, "description": null,
                "follower_count": null, "poster_name": null, "tag_list": null,
                "is_image_or_video": "multi-video(story page format)", "image_src": null,
                "save_location": "/data/mens-fashion", "category": "mens-fashion"
            })
        )
    );
    let geo = json!({"ind": 7528, "country": "Albania", "coordinates": [-89.9787, -173.293], "timestamp": "2020-08-28T03:52:47Z"});
    for record in [
        r#"{"ind": 7528, "timestamp": "2020-08-28 03:52:47", "latitude": -89.9787, "longitude": -173.293, "country": "Albania"}"#,
        r#"{"index": "7528", "timestamp": "2020-08-28T03:52:47", "latitude": "-89.9787", "longitude": "-173.293", "country": "Albania"}"#,
        r#"{"country":"Albania","longitude":-1.73293e2,"ind":7528.0,"timestamp":"08/28/2020, 03:52:47","latitude":-89.9787}"#,
        r#"{"ind":7528,"timestamp":{"$date":1598586767000},"latitude":-89.9787,"longitude":-173.293,"country":"\u0041lbania"}"#,
    ] {
        assert_eq!(single(&catalog, record.as_bytes(), None), ("geo".into(), geo.clone()), "{record}");
    }
    let user = br#"{"ind": 7528, "first_name": "Abigail", "last_name": "Ali", "age": 20, "date_joined": "2015-10-24 11:23:51"}"#;
    assert_eq!(
        single(&catalog, user, None),
        (
            "user".into(),
            json!({"ind": 7528, "user_name": "Abigail Ali", "age": 20, "date_joined": "2015-10-24T11:23:51Z"})
        )
    );
}

#[test]
fn missing_and_null_fields_are_null() {
    let catalog = contracts();
    let row = |record: &str, hint| single(&catalog, record.as_bytes(), Some(hint)).1;
    assert_eq!(
        row(r#"{"ind":1,"first_name":null}"#, "user"),
        json!({"ind":1,"user_name":null,"age":null,"date_joined":null})
    );
    assert_eq!(row(r#"{"ind":1,"first_name":null,"last_name":"Ali"}"#, "user")["user_name"], "Ali");
    assert_eq!(row(r#"{"ind":1,"first_name":null,"last_name":null}"#, "user")["user_name"], json!(null));
    assert_eq!(row(r#"{"ind":1,"latitude":null,"longitude":5}"#, "geo")["coordinates"], json!([null, 5.0]));
    assert_eq!(row(r#"{"ind":1,"latitude":null,"longitude":null}"#, "geo")["coordinates"], json!(null));
    // The first alternative that is not null is used.
    assert_eq!(row(r#"{"ind":null,"index":2,"country":null}"#, "geo")["ind"], 2);
}

#[test]
fn text_is_not_changed() {
    let catalog = contracts();
    let title = |json: &str| {
        let record = format!(r#"{{"index":1,"unique_id":"u","title":{json}}}"#);
        single(&catalog, record.as_bytes(), None).1["title"].clone()
    };
    for text in [
        "",
        " ",
        "  both  ",
        "line\nbreak",
        "nul\0",
        "…\u{a0}",
        "🌌\u{fe0e}𝒍",
        "a \"quote\" \\ slash",
        "Untitled",
    ] {
        // Escaped, as Python's `json` writes it, and as UTF-8.
        let escaped: String =
            text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().join("");
        assert_eq!(title(&format!("\"{escaped}\"")), text);
        assert_eq!(title(&serde_json::to_string(text).expect("JSON")), text);
    }
    assert_eq!(title("7"), "7");
    assert_eq!(title("1.10"), "1.10", "the text of the number, not its value");
    assert_eq!(title("12345678901234567890123"), "12345678901234567890123");
    assert_eq!(title("true"), "true");
    // This text means null in a description, not in a title.
    assert_eq!(title("\"Untitled\""), "Untitled");
}

#[test]
fn counts() {
    let catalog = contracts();
    for (text, count) in [
        ("\"0\"", 0_i64),
        ("\"467\"", 467),
        ("\"124k\"", 124_000),
        ("\"124K\"", 124_000),
        ("\"1.2k\"", 1200),
        ("\"15M\"", 15_000_000),
        ("\"1.25B\"", 1_250_000_000),
        ("136", 136),
        ("136.0", 136),
        ("\" 5k \"", 5000),
    ] {
        let record = format!(r#"{{"index":1,"unique_id":"u","follower_count":{text}}}"#);
        assert_eq!(single(&catalog, record.as_bytes(), None).1["follower_count"], count, "{text}");
    }
    for (text, reason) in [
        ("\"\"", "bad_count"),
        ("\"k\"", "bad_count"),
        ("\"1.2345k\"", "bad_count"),
        ("\"12 k\"", "bad_count"),
        ("\"1,200\"", "bad_count"),
        ("\"99999999999999B\"", "out_of_range"),
        ("7.5", "bad_count"),
        ("true", "wrong_type"),
        ("[1]", "wrong_type"),
    ] {
        let record = format!(r#"{{"index":1,"unique_id":"u","follower_count":{text}}}"#);
        let outcome = evaluate(&catalog, record.as_bytes(), None);
        assert!(outcome.starts_with(&format!("pin: {reason}: follower_count: ")), "{text}: {outcome}");
    }
}

#[test]
fn invalid_records_are_quarantined_with_a_reason() {
    let catalog = contracts();
    let deep = format!(r#"{{"ind":1,"x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    for (record, hint, expected) in [
        (r#"{"ind": 1"#, Some("geo"), "geo: malformed_json: EOF while parsing an object at line 1 column 9"),
        (r#"{"ind": 1} x"#, Some("geo"), "geo: malformed_json: trailing characters at line 1 column 12"),
        (r#"{'ind': 1}"#, None, "null: malformed_json: "),
        ("", Some("geo"), "geo: malformed_json: EOF"),
        (r#"{"ind": 1, "country": "\ud800"}"#, Some("geo"), "geo: malformed_json: "),
        (r#"{"ind": NaN}"#, Some("geo"), "geo: malformed_json: "),
        (
            r#"[{"ind": 1}]"#,
            Some("geo"),
            "geo: not_an_object: a record is an object, this is [{\\\"ind\\\": 1}]",
        ),
        ("7", None, "null: not_an_object: "),
        ("nope", None, "null: malformed_json: "),
        (deep.as_str(), Some("geo"), "geo: too_deep: "),
        (
            r#"{"country": "Albania"}"#,
            Some("geo"),
            "geo: missing_required: ind: there is no `ind` or `index`",
        ),
        (r#"{"ind": null}"#, Some("geo"), "geo: missing_required: ind: null in `ind` or `index`"),
        (r#"{"ind": "abc"}"#, Some("geo"), "geo: wrong_type: ind: \"abc\" is not an int64"),
        (r#"{"index": "abc"}"#, Some("geo"), "geo: wrong_type: ind (from index): \"abc\" is not an int64"),
        (r#"{"ind": ""}"#, Some("geo"), "geo: wrong_type: ind: \"\" is not an int64"),
        (r#"{"ind": 7.5}"#, Some("geo"), "geo: wrong_type: ind: 7.5 is not an int64"),
        (r#"{"ind": true}"#, Some("geo"), "geo: wrong_type: ind: true is not an int64"),
        (r#"{"ind": {"a": 1}}"#, Some("geo"), "geo: wrong_type: ind: {\\\"a\\\": 1} is not an int64"),
        (
            r#"{"ind": 9223372036854775808}"#,
            Some("geo"),
            "geo: out_of_range: ind: 9223372036854775808 does not fit int64",
        ),
        (r#"{"ind": 1e400}"#, Some("geo"), "geo: out_of_range: ind: 1e400 does not fit int64"),
        (
            r#"{"ind":1,"latitude":1e400}"#,
            Some("geo"),
            "geo: out_of_range: coordinates (from latitude): 1e400",
        ),
        (
            r#"{"ind":1,"latitude":"NaN"}"#,
            Some("geo"),
            "geo: out_of_range: coordinates (from latitude): \"NaN\"",
        ),
        (
            r#"{"ind":1,"latitude":"north"}"#,
            Some("geo"),
            "geo: wrong_type: coordinates (from latitude): \"north\" is not an array<float64>",
        ),
        (
            r#"{"ind":1,"country":["Albania",7]}"#,
            Some("geo"),
            "geo: wrong_type: country: [\\\"Albania\\\",7] is not a string",
        ),
        (
            r#"{"ind":1,"timestamp":"yesterday"}"#,
            Some("geo"),
            "geo: bad_timestamp: timestamp: \"yesterday\" is in none",
        ),
        (r#"{"ind":1,"timestamp":"2021-02-29 00:00:00"}"#, Some("geo"), "geo: bad_timestamp: "),
        (r#"{"ind":1,"timestamp":true}"#, Some("geo"), "geo: bad_timestamp: "),
        (r#"{"ind": 1}"#, None, "null: unroutable: nothing named a dataset"),
        (r#"{"ind": 1}"#, Some("log"), "log: unroutable: there is no dataset `log`"),
        (r#"{"ind": 1}"#, Some("quarantine"), "quarantine: unroutable: there is no dataset `quarantine`"),
        (PIN, Some("user"), "user: misrouted: sent to user, has the shape of pin"),
        (
            r#"{"ind":1,"latitude":1,"longitude":2,"first_name":"a","last_name":"b"}"#,
            None,
            "null: unroutable: nothing named a dataset, and the record has the shapes of geo, user",
        ),
    ] {
        let found = evaluate(&catalog, record.as_bytes(), hint);
        assert!(found.starts_with(expected), "{record}\n  found    {found}\n  expected {expected}");
    }
    assert!(
        evaluate(&catalog, b"{\"ind\": 1, \"country\": \"\xff\"}", Some("geo"))
            .starts_with("geo: invalid_utf8: no UTF-8 at byte 23")
    );
    let long = format!(r#"{{"ind":1,"country":"{}"}}"#, "x".repeat(pinlake_clean::MAX_RECORD_BYTES));
    assert!(evaluate(&catalog, long.as_bytes(), Some("geo")).starts_with("geo: too_large: 1048598 bytes"));
    // The dataset that the sender named is used if the record has its shape.
    let both = br#"{"ind":1,"latitude":1,"longitude":2,"first_name":"a","last_name":"b"}"#;
    assert_eq!(single(&catalog, both, Some("user")).0, "user");
}

/// The record of the course that the old pipelines' clients come from, and records that have nothing in common with a
/// contract.
#[test]
fn a_record_in_which_nothing_is_found_is_quarantined() {
    let catalog = contracts();
    for dataset in ["pin", "geo", "user"] {
        for record in [
            r#"{"index":1,"name":"Dan","age":25,"role":"engineer"}"#,
            r#"{"index":1}"#,
            r#"{"foo":1}"#,
            "{}",
            r#"{"value":{"index":1,"name":"Dan"}}"#,
        ] {
            let found = evaluate(&catalog, record.as_bytes(), Some(dataset));
            let expected = format!("{dataset}: nothing_found: the record has none of `");
            assert!(found.starts_with(&expected), "{record}: {found}");
        }
    }
    let contract = "name = \"t\"\nversion = 1\n[[column]]\nname = \"id\"\ntype = \"int64\"\n[[column]]\nname = \"s\"\ntype = \"string\"";
    let catalog = contracts_of(&[contract]);
    assert_eq!(
        evaluate(&catalog, br#"{"foo":1}"#, Some("t")),
        "t: nothing_found: the record has none of `id`, `s`"
    );
    assert_eq!(single(&catalog, br#"{"id":null}"#, Some("t")).0, "t");
}

#[test]
fn the_record_inside_an_envelope_is_used() {
    let catalog = contracts();
    let geo = r#"{"ind":1,"country":"Peru","latitude":1,"longitude":2}"#;
    let expected = single(&catalog, geo.as_bytes(), Some("geo"));
    for (record, hint) in [
        (format!("{{\"value\":{geo}}}"), Some("geo")),
        (format!("{{\"value\": {geo} }}"), None),
        (format!("{{\"StreamName\":\"s\",\"Data\":{geo},\"PartitionKey\":\"p\"}}"), Some("geo")),
        (format!("{{\"payload\":{{\"value\":{geo}}}}}"), Some("geo")),
    ] {
        assert_eq!(single(&catalog, record.as_bytes(), hint), expected, "{record}");
    }
    // Envelopes of two records, and a record that breaks its contract.
    let two = format!("{{\"value\":{geo},\"data\":{geo}}}");
    assert!(evaluate(&catalog, two.as_bytes(), Some("geo")).starts_with("geo: nothing_found: "));
    let broken = br#"{"value":{"ind":"x","country":"Peru"}}"#;
    assert!(evaluate(&catalog, broken, Some("geo")).starts_with("geo: wrong_type: ind: \"x\""));
}

#[test]
fn arrays_of_text_are_joined_where_text_is_expected() {
    let catalog = contracts();
    let tags = |json: &str| {
        let record = format!(r#"{{"index":1,"unique_id":"u","tag_list":{json}}}"#);
        single(&catalog, record.as_bytes(), None).1["tag_list"].clone()
    };
    assert_eq!(tags(r#"["Beauty Kit", "Lips"]"#), tags(r#""Beauty Kit,Lips""#));
    assert_eq!(tags(r#"["caf\u00e9"]"#), "café");
    assert_eq!(tags("[]"), "");
    let letters: Vec<String> = "No Tags Available".chars().map(String::from).collect();
    assert_eq!(tags(&serde_json::to_string(&letters).unwrap()), json!(null));
}

#[test]
fn json_has_one_form_and_text_of_it_is_json() {
    let catalog = contracts_of(&[
        "name = \"t\"\nversion = 1\ncolumn = [{ name = \"id\", type = \"int64\" }, { name = \"meta\", type = \"json\" }, { name = \"tags\", type = \"array<string>\" }]",
    ]);
    let row = |record: &str| single(&catalog, record.as_bytes(), Some("t")).1;
    for record in [
        r#"{"id":1,"meta":{"a":1.5,"é":[]}}"#,
        r#"{"id":1,"meta":{ "\u00e9": [ ], "a" : 15e-1 }}"#,
        r#"{"id":1,"meta":"{\"a\": 1.50, \"é\": []}"}"#,
    ] {
        assert_eq!(row(record)["meta"], "{\"a\":1.5,\"é\":[]}", "{record}");
    }
    assert_eq!(row(r#"{"meta":"[1]"}"#)["meta"], "[1]");
    assert_eq!(row(r#"{"meta":"12"}"#)["meta"], "\"12\"");
    assert_eq!(row(r#"{"meta":"{broken"}"#)["meta"], "\"{broken\"");
    assert_eq!(row(r#"{"tags":"[\"x\", \"\u0041\", null, 7]"}"#)["tags"], json!(["x", "A", null, "7"]));
    assert_eq!(row(r#"{"tags":""}"#)["tags"], json!(null));
    assert!(evaluate(&catalog, br#"{"tags":"[\"x\""}"#, Some("t")).starts_with("t: wrong_type: tags"));
}

#[test]
fn columns_of_a_quarantine_row() {
    let mut cleaner = new_cleaner(contracts());
    let sequence = Position::Sequence { number: "4964", line: 3 };
    let origin = RecordOrigin { source: "kinesis/s/shard-0", position: sequence, record_id: None };
    cleaner.push(b"{\"ind\": \xff}", Some("geo"), &origin);
    let cleaned = cleaner.drain();
    let row = &rows(&cleaned[0].rows)[0];
    assert_eq!(
        *row,
        json!({
            "dataset": "geo", "raw": "7b22696e64223a20ff7d", "reason": "invalid_utf8", "detail": "no UTF-8 at byte 8",
            "source": "kinesis/s/shard-0", "position": "4964#3", "record": null, "contract": "geo@1",
            "arrived_at": "1970-01-01T00:00:00Z", "resolved_at": null
        })
    );
}

#[test]
fn the_last_of_repeated_fields_is_used() {
    let catalog = contracts();
    let ind = |record: &str| single(&catalog, record.as_bytes(), Some("geo")).1["ind"].clone();
    assert_eq!(ind(r#"{"ind":1,"country":"a","ind":2}"#), 2);
    assert_eq!(ind(r#"{"ind":"x","country":"a","ind":2}"#), 2);
    assert_eq!(ind(r#"{"ind":1,"country":"a","\u0069nd":"2"}"#), 2);
}

/// What the cleaner remembers of earlier records must not change the result of the next one.
#[test]
fn results_do_not_depend_on_earlier_records() {
    let forms = [
        r#"{"ind":1,"timestamp":"2020-08-28 03:52:47","latitude":1.5,"longitude":2,"country":"C"}"#,
        r#"{"country":"C","latitude":"1.5","ind":"1","longitude":"2","timestamp":{"$date":1598586767000}}"#,
        r#"{"index":1,"x":[{"y":"]"}],"timestamp":"2020-08-28T03:52:47Z","longitude":2.0,"latitude":1.5,"country":"\u0043"}"#,
        r#"{"ind":1,"timestamp":"bad","latitude":1.5,"longitude":2,"country":"C"}"#,
        r#"{"first_name":"a","last_name":"\n","ind":1}"#,
        PIN,
    ];
    let catalog = contracts();
    let mut cleaner = new_cleaner(Arc::clone(&catalog));
    let mut state = 1_u32;
    for _ in 0..500 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let record = forms[(state >> 16) as usize % forms.len()];
        cleaner.push(record.as_bytes(), None, &line(1));
        let cleaned = cleaner.drain();
        assert_eq!(
            (cleaned[0].contract.name.clone(), rows(&cleaned[0].rows).remove(0)),
            single(&catalog, record.as_bytes(), None)
        );
    }
}

/// Any record becomes one row, and a record that is not JSON is quarantined.
#[test]
fn every_record_is_one_row() {
    let catalog = contracts();
    let mut cleaner = new_cleaner(Arc::clone(&catalog));
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let seeds = [
        PIN,
        r#"{"ind":1,"timestamp":{"$date":"2020-08-28T03:52:47Z"},"latitude":-1.5e1,"longitude":2,"country":"\u00e9\ud83c\udf0c"}"#,
    ];
    let mut pushed = 0;
    for _ in 0..3000 {
        let mut bytes = seeds[next() % seeds.len()].as_bytes().to_vec();
        for _ in 0..=next() % 3 {
            let at = next() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = b"{}[]\",:\\0e-x\xff\x00"[next() % 14],
                1 => bytes.truncate(at.max(1)),
                _ => {
                    let slice = bytes[at..(at + next() % 20).min(bytes.len())].to_vec();
                    bytes.splice(at..at, slice);
                }
            }
        }
        let hint = [None, Some("pin"), Some("geo")][next() % 3];
        cleaner.push(&bytes, hint, &line(1));
        pushed += 1;
        if serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).is_err() {
            // Half a surrogate pair is accepted in strings of fields that no contract reads: they are skipped, not unescaped.
            let outcome = evaluate(&catalog, &bytes, hint);
            let lone = String::from_utf8_lossy(&bytes).contains("\\ud8")
                || String::from_utf8_lossy(&bytes).contains("\\udf");
            assert!(lone || !outcome.starts_with("clean"), "{}: {outcome}", String::from_utf8_lossy(&bytes));
        }
    }
    let counts: (u64, u64) =
        cleaner.counts().fold((0, 0), |sum, count| (sum.0 + count.read, sum.1 + count.quarantined));
    let cleaned = cleaner.drain();
    assert_eq!(counts.0, pushed);
    assert_eq!(cleaned.iter().map(|own| own.read).sum::<u64>(), pushed);
    assert_eq!(cleaned.iter().map(|own| own.rows.num_rows() as u64).sum::<u64>(), pushed);
    assert_eq!(of(&cleaned, "quarantine").read, counts.1);
}

#[test]
fn counts_add_up_and_a_cleaner_is_reused() {
    let mut cleaner = new_cleaner(contracts());
    cleaner.push(PIN.as_bytes(), None, &line(1));
    cleaner.push(PIN.as_bytes(), Some("user"), &line(2));
    cleaner.push(b"x", None, &line(3));
    let counts: Vec<_> =
        cleaner.counts().map(|own| (own.dataset.clone(), own.read, own.quarantined)).collect();
    assert_eq!(counts, [(Some("pin".into()), 1, 0), (Some("user".into()), 1, 1), (None, 1, 1)]);
    let buffered = cleaner.buffered_bytes();
    assert!(buffered > 2 * PIN.len() + 100, "a quarantine row is longer than its record");
    let cleaned = cleaner.drain();
    assert_eq!(cleaned.iter().map(|own| own.bytes).sum::<u64>(), buffered as u64);
    assert_eq!(of(&cleaned, "pin").bytes, PIN.len() as u64);
    assert_eq!(cleaned.iter().map(|own| own.read).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(cleaner.buffered_bytes(), 0);
    assert!(cleaner.drain().is_empty());
    cleaner.push(PIN.as_bytes(), None, &line(4));
    assert_eq!(of(&cleaner.drain(), "pin").bytes, PIN.len() as u64);
}

#[test]
fn rows_take_at_most_twice_the_estimated_memory() {
    let many = |text: &str, hint| {
        let mut cleaner = new_cleaner(contracts());
        for number in 0..1000 {
            cleaner.push(text.as_bytes(), hint, &line(number));
        }
        cleaner.drain().remove(0)
    };
    let geo = r#"{"ind": 1, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5, "country": "Peru"}"#;
    let long = format!("\"{}\"", "x".repeat(5000));
    for (text, hint) in [
        (PIN, None),
        (geo, None),
        (r#"{"ind":1}"#, Some("geo")),
        ("7", Some("geo")),
        ("{}", None),
        (&long, None),
    ] {
        let cleaned = many(text, hint);
        let size = |column: &arrow::array::ArrayRef| column.to_data().get_slice_memory_size().unwrap();
        let taken: usize = cleaned.rows.columns().iter().map(size).sum();
        let estimated = usize::try_from(cleaned.bytes).unwrap();
        assert!(estimated >= 1000 * text.len() && estimated * 2 >= taken, "{taken} of {estimated}: {text}");
    }
}

#[test]
fn csv_rows_are_records() {
    let mut cleaner = new_cleaner(contracts());
    let row = [
        ("", "0"),
        ("ind", "7"),
        ("first_name", "Adam"),
        ("last_name", ""),
        ("age", "20"),
        ("date_joined", "2015-10-21 21:26:45"),
    ];
    cleaner.push_fields(row.into_iter(), None, &line(2));
    cleaner.push_fields([("ind", "x \"y\"")].into_iter(), Some("user"), &line(3));
    let cleaned = cleaner.drain();
    assert_eq!(
        rows(&of(&cleaned, "user").rows)[0],
        json!({"ind":7,"user_name":"Adam","age":20,"date_joined":"2015-10-21T21:26:45Z"})
    );
    assert_eq!(rows(&of(&cleaned, "quarantine").rows)[0]["reason"], "wrong_type");
}

#[test]
fn a_contract_may_reroute() {
    let to =
        "name = \"a\"\nversion = 1\n[route]\nshape = [\"x\"]\n[[column]]\nname = \"x\"\ntype = \"string\"\n";
    let from = "name = \"b\"\nversion = 1\n[route]\nshape = [\"y\"]\nmisrouted = \"reroute\"\n[[column]]\nname = \"y\"\ntype = \"string\"\n";
    let narrow = "name = \"c\"\nversion = 1\n[route]\nshape = [\"x\", \"z\"]\n[[column]]\nname = \"z\"\ntype = \"string\"\n";
    let catalog = contracts_of(&[to, from, narrow]);
    assert_eq!(single(&catalog, br#"{"x":"1"}"#, Some("b")), ("a".into(), json!({"x":"1"})));
    assert!(evaluate(&catalog, br#"{"y":"1"}"#, Some("a")).starts_with("a: misrouted: "));
    // Of two shapes that match, the one with more fields is used.
    assert_eq!(single(&catalog, br#"{"x":"1","z":"2"}"#, None).0, "c");
}

#[test]
fn every_type() {
    let catalog = contracts_of(&[r#"
        name = "t"
        version = 1
        column = [
            { name = "s", type = "string" }, { name = "i", type = "int32" }, { name = "f", type = "float64", counts = true },
            { name = "b", type = "boolean" }, { name = "d", type = "date" }, { name = "y", type = "binary" },
            { name = "j", type = "json" }, { name = "a", type = "array<string>", null = ["-"] },
            { name = "u", type = "timestamp", formats = ["unix_millis"] },
            { name = "n", type = "array<int64>", array_of = ["i", ["q", "f"]] },
        ]
    "#]);
    let row = |record: &str| single(&catalog, record.as_bytes(), Some("t")).1;
    assert_eq!(
        row(
            r#"{"s":"x","i":-5,"f":"1.5k","b":"TRUE","d":"2020-02-29","y":"aGk=","j":{"a":[1,"]"]},"a":["x",null,"-","\u0041",7],"u":1598586767000,"q":"3"}"#
        ),
        json!({
            "s":"x","i":-5,"f":1500.0,"b":true,"d":"2020-02-29","y":"6869","j":"{\"a\":[1,\"]\"]}",
            "a":["x",null,null,"A","7"],"u":"2020-08-28T03:52:47Z","n":[-5,3]
        })
    );
    for (json, text) in
        [("\"x\"", "\"x\""), ("\"\\u0041\\n\"", "\"A\\n\""), ("1.50", "1.5"), ("true", "true")]
    {
        assert_eq!(row(&format!("{{\"j\":{json}}}"))["j"], text);
    }
    assert_eq!(row(r#"{"a":[]}"#)["a"], json!([]));
    for (record, expected) in [
        (r#"{"i":2147483648}"#, "t: out_of_range: i: 2147483648 does not fit int32"),
        (r#"{"b":"ja"}"#, "t: wrong_type: b: \"ja\" is not a boolean"),
        (r#"{"d":"2020-02-30"}"#, "t: bad_timestamp: "),
        (r#"{"y":"*"}"#, "t: wrong_type: y: "),
        (r#"{"a":"x"}"#, "t: wrong_type: a: \"x\" is not an array<string>"),
        (r#"{"a":[["x"]]}"#, "t: wrong_type: a: [\\\"x\\\"] is not an array<string>"),
        (r#"{"f":"1.5x"}"#, "t: bad_count: "),
    ] {
        let found = evaluate(&catalog, record.as_bytes(), Some("t"));
        assert!(found.starts_with(expected), "{record}: {found}");
    }
}
