//! CSV text is the text of the file, or malformed.

use pinlake_schema::Catalog;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::{FileContract, ReadError, ReadLimits, ReadOptions, RecordReader};
use super::{all, read_rest};

/// Reads a file by the contract of a dataset `t` with the fields `id` and `name`.
fn read_by_contract(name: &str, bytes: &[u8], file_section: &str) -> Result<Vec<String>, ReadError> {
    let contract = format!(
        "name = \"t\"\nversion = 1\n{file_section}\n[[column]]\nname = \"id\"\ntype = \"int64\"\n\
         [[column]]\nname = \"größe\"\ntype = \"string\"\n"
    );
    let catalog = Catalog::from_files([("t.toml".to_owned(), contract)]).expect("a contract");
    let contract = FileContract::new(&catalog, Some("t"), name);
    let options = ReadOptions::from(ReadLimits::default()).with_contract(contract);
    read_rest(RecordReader::from_bytes(name, bytes.to_vec().into(), options)?)
}

#[test]
fn a_quote_that_ends_nowhere_takes_one_line() {
    assert_eq!(
        all("x.csv", "a,b\n1,\"x\" y\n2,\"open\n3,\"ok\nok\"\n4,5\" pipe\n5,\"\"\"q\"\"\"\n6,\"open\n"),
        [
            "2:1,\"x\" y!malformed_csv",
            "3:2,\"open!malformed_csv",
            "4:{\"a\":\"3\",\"b\":\"ok\\nok\"}",
            "6:{\"a\":\"4\",\"b\":\"5\\\" pipe\"}",
            "7:{\"a\":\"5\",\"b\":\"\\\"q\\\"\"}",
            "8:6,\"open!malformed_csv",
        ]
    );
}

/// The byte order mark of UTF-8 is stronger than what the contract says.
#[test]
fn a_marked_file_is_utf8() {
    let file = "\u{feff}id,größe\n1,é\n";
    let rows = read_by_contract("x.csv", file.as_bytes(), "[file]\nencoding = \"windows-1252\"");
    assert_eq!(rows.unwrap(), ["2:{\"id\":\"1\",\"größe\":\"é\"}"]);
}

#[test]
fn rows_end_with_any_line_end() {
    let rows = ["2:{\"a\":\"1\",\"b\":\"x\"}", "3:{\"a\":\"2\",\"b\":null}"];
    for end in ["\n", "\r\n", "\r"] {
        for last in [end, ""] {
            let text = format!("a,b{end}1,x{end}2,{last}");
            assert_eq!(all("x.csv", text.clone()), rows, "{text:?}");
        }
    }
    assert_eq!(all("x.csv", "a\n\n1\n\r\n2\n"), ["3:{\"a\":\"1\"}", "5:{\"a\":\"2\"}"]);
}

#[test]
fn a_header_that_comes_again_is_no_row() {
    let rows = ["2:{\"name\":\"Ana\",\"city\":\"Rome\"}", "4:{\"name\":\"Bo\",\"city\":\"Oslo\"}"];
    assert_eq!(all("x.csv", "name,city\nAna,Rome\nname,city\nBo,Oslo\n"), rows);
    // One column may have its name as a value.
    assert_eq!(all("x.csv", "word\nword\n"), ["2:{\"word\":\"word\"}"]);
    let kept = read_by_contract("x.csv", b"id,b\nid,b\n", "[file]\nrepeated_headers = \"keep\"");
    assert_eq!(kept.expect("readable"), ["2:{\"id\":\"id\",\"b\":\"b\"}"]);
}

#[test]
fn a_file_states_how_it_is_written() {
    assert_eq!(all("x.csv", "sep=;\nid;b\n1;x,y\n"), ["3:{\"id\":\"1\",\"b\":\"x,y\"}"]);
    for (section, text, row) in [
        ("delimiter = \";\"", "id;b\n1;x,y\n", "2:{\"id\":\"1\",\"b\":\"x,y\"}"),
        ("delimiter = \"\\t\"", "id\tb\n1\tx\n", "2:{\"id\":\"1\",\"b\":\"x\"}"),
        ("quote = \"'\"", "id,b\n1,'x,\"'\n", "2:{\"id\":\"1\",\"b\":\"x,\\\"\"}"),
        ("quote = \"\"", "id,b\n1,\"x\n", "2:{\"id\":\"1\",\"b\":\"\\\"x\"}"),
        ("escape = \"\\\\\"", "id,b\n1,\"x\\\"y\"\n", "2:{\"id\":\"1\",\"b\":\"x\\\"y\"}"),
        ("comment = \"#\"", "# of today\nid,b\n#1,x\n2,y\n", "4:{\"id\":\"2\",\"b\":\"y\"}"),
        ("delimiter = \";\"", "sep=|\nid|b\n1|x\n", "3:{\"id\":\"1\",\"b\":\"x\"}"),
    ] {
        let found = read_by_contract("x.csv", text.as_bytes(), &format!("[file]\n{section}"));
        assert_eq!(found.expect("readable"), [row], "{section}");
    }
}

#[test]
fn cells_are_decoded_and_raw_bytes_are_those_of_the_file() {
    let section = "[file]\nencoding = \"windows-1252\"";
    let text = b"id,gr\xf6\xdfe\n1,\x80 5\n2,\xe9,x\n";
    let catalog_rows = read_by_contract("x.csv", text, section).expect("readable");
    assert_eq!(catalog_rows[0], "2:{\"id\":\"1\",\"größe\":\"€ 5\"}");
    assert_eq!(catalog_rows[1], "3:2,\u{fffd},x!malformed_csv", "the byte of the file, which is not UTF-8");
    for (encoding, marked) in [("utf-16le", true), ("utf-16be", true), ("utf-16le", false)] {
        let units = "\u{feff}id,größe\r\n1,x\r\n".encode_utf16().skip(usize::from(!marked));
        let bytes: Vec<u8> = match encoding {
            "utf-16le" => units.flat_map(u16::to_le_bytes).collect(),
            _ => units.flat_map(u16::to_be_bytes).collect(),
        };
        let section = if marked { String::new() } else { format!("[file]\nencoding = \"{encoding}\"") };
        let found = read_by_contract("x.csv", &bytes, &section).expect("readable");
        assert_eq!(found, ["2:{\"id\":\"1\",\"größe\":\"x\"}"], "{encoding}");
    }
    let unmarked: Vec<u8> = "id,größe\n1,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = read_by_contract("x.csv", &unmarked, "").expect_err("no mark").to_string();
    assert!(error.contains("UTF-16") && error.contains("datasets/t.toml"), "{error}");
}

#[test]
fn a_header_without_any_column_is_refused_with_a_hint() {
    for (name, text, hint) in [
        ("x.csv", &b"id;name\n1;x\n"[..], "delimiter = \";\""),
        ("x.csv", b"id\tname\n1\tx\n", "delimiter = \"\\t\""),
        ("x.txt", b"id|name\n1|x\n", "delimiter = \"|\""),
        ("x.csv", b"#Fields: a b\n", "comment = \"#\""),
        ("x.csv", b"1,2,3\n4,5,6\n", "begins with a header"),
        ("x.csv", b"id,gr\xf6\xdfe\n1,x\n", "encoding = \"windows-1252\""),
    ] {
        let error = read_by_contract(name, text, "").expect_err("no column");
        assert!(matches!(error, ReadError::Content { .. }), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    // Letter case and the normal form of Unicode are no difference.
    for header in ["ID,b", "x,GRÖSSE", "x,gro\u{308}ße"] {
        let found = read_by_contract("x.csv", format!("{header}\n1,2\n").as_bytes(), "");
        assert_eq!(found.is_ok(), !header.contains("SS"), "{header}");
    }
}

#[test]
fn folders_are_fields() {
    let path = "out/id=7/gr%C3%B6%C3%9Fe=a%20b/größe=__HIVE_DEFAULT_PARTITION__/other=1/x.csv";
    let found = read_by_contract(path, b"id,x\n1,2\n", "").expect("readable");
    assert_eq!(found, ["2:{\"id\":\"7\",\"größe\":null,\"id\":\"1\",\"x\":\"2\"}"]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    /// Every byte of the rows is in a record or between records, and a line that is good by itself is never lost.
    #[test]
    fn no_row_swallows_the_next_one_silently(
        rows in proptest::collection::vec(proptest::sample::select(vec![
            "1,2", "\"a\",\"b\"", "x,\"y", "\"q\"z,1", "a\"b,c", "\"\"\"\",1", "one", "a,b,c", "\"1\n2\",3", ",",
        ]), 0..12),
    ) {
        let text = format!("h,i\n{}\n", rows.join("\n"));
        let found = all("x.csv", text.clone());
        let mut lines: u64 = 1;
        for record in &found {
            let position: u64 = record.split(':').next().unwrap().parse().unwrap();
            prop_assert!(position > lines, "{found:?}");
            lines = position;
        }
        // As many good rows `1,2` as the file has outside of open quotes are records.
        if !rows.iter().any(|row| row.matches('"').count() % 2 == 1) {
            let good = rows.iter().filter(|row| **row == "1,2").count();
            prop_assert_eq!(found.iter().filter(|record| record.ends_with("{\"h\":\"1\",\"i\":\"2\"}")).count(), good);
        }
    }
}
