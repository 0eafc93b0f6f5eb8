//! Random inputs for the invariants: nearly valid records of the contracts in the repository, and any bytes.

use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;

use super::cases::cases;
use super::invariants;

/// Valid and invalid JSON values.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => proptest::sample::select(vec![
            "null", "true", "0", "-0.0", "7", "7.50", "1e400", "-1e-400", "12345678901234567890123", "NaN", "01", "\"\"",
            "\"-\"", "\"x\"", "\"7\"", "\" 7 \"", "\"1.2k\"", "\"15M\"", "\"NaN\"", "\"inf\"", "\"\\ud83d\"", "\"\\u0000\"",
            "\"\\ud83d\\ude00\"", "\"2020-08-28 03:52:47\"", "\"08/28/2020, 03:52:47\"", "\"2020-02-30\"", "\"28 Aug 2020\"",
            "{\"$date\":1598586767000}", "{\"$date\":{\"$numberLong\":\"9\"}}", "\"aGk=\"", "\"Local save in /data/x\"",
            "1598586767", "[1,\"2\",null]", "[[]]",
        ]).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).expect("text")),
        1 => "\\PC{0,12}",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            vec(("[a-z$]{0,4}", inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// Objects with the fields that contracts read.
fn object() -> impl Strategy<Value = Vec<u8>> {
    vec((proptest::sample::select(&invariants::FIELDS[..]), value()), 0..10).prop_map(|fields| {
        let fields: Vec<String> =
            fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    })
}

/// A valid record.
fn valid_record() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(vec![
        &br#"{"index": 7528, "unique_id": "fbe5", "title": "caf\u00e9", "follower_count": "124k", "save_location": "Local save in /data/x"}"#[..],
        br#"{"ind":1,"timestamp":{"$date":"2020-08-28T03:52:47Z"},"latitude":-1.5e1,"longitude":2,"country":"\u00e9"}"#,
        br#"{"ind":1,"first_name":"A","last_name":"B","age":20,"date_joined":"2015-10-24 11:23:51"}"#,
        br#"{"s":"xyz","i":5,"f":"1.5k","b":"TRUE","d":"2020-02-29","y":"aGk=","j":{"a":[1,"]"]},"a":["x",null,"-",7],"t":1598586767000,"q":"3"}"#,
    ])
    .prop_map(<[u8]>::to_vec)
}

/// Any bytes, objects, valid records, and valid records with changed bytes.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let changed = (valid_record(), vec((any::<prop::sample::Index>(), replacement()), 1..4)).prop_map(
        |(mut record, changes)| {
            for (at, with) in changes {
                let at = at.index(record.len() + 1);
                let upto = (at + with.len() / 2).min(record.len());
                record.splice(at..upto, with);
            }
            record
        },
    );
    prop_oneof![1 => vec(any::<u8>(), 0..64), 1 => valid_record(), 4 => object(), 4 => changed]
}

fn replacement() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => proptest::sample::select(&b"{}[]\",:\\0e-+x.\xff\x00\n\r\t \xef"[..]).prop_map(|byte| vec![byte]),
        1 => vec(any::<u8>(), 0..8),
        1 => proptest::sample::select(vec![&b"\\u0000"[..], b"\\ud800", b"\xef\xbb\xbf", b"NaN", b"1e400", b"\"ind\":2,"])
            .prop_map(<[u8]>::to_vec),
    ]
}

/// Records in one of the file formats, some of them compressed.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let joined = (vec(record(), 0..8), 0..6_usize).prop_map(|(records, how)| match how {
        0 => records.join(&b'\n'),
        1 => records.join(&b"\r\n"[..]),
        2 => records.concat(),
        3 => [b"[", &records.join(&b","[..])[..], b"]"].concat(),
        4 => [b"\xef\xbb\xbf[", &records.join(&b" ,\n"[..])[..]].concat(),
        _ => [b",ind,s\n", &records.join(&b'\n')[..]].concat(),
    });
    let compressed =
        (joined, 0..10_u8, any::<prop::sample::Index>()).prop_map(|(file, how, cut)| match how {
            0 => gzip(&file),
            1 => zstd::encode_all(&file[..], 1).expect("memory"),
            2 => {
                let whole = gzip(&file);
                whole[..cut.index(whole.len())].to_vec()
            }
            3 => [gzip(&file), gzip(&file)].concat(),
            _ => file,
        });
    prop_oneof![1 => vec(any::<u8>(), 0..200), 9 => compressed]
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn any_bytes_become_one_row(record in record(), hint in proptest::sample::select(&invariants::HINTS[..])) {
        invariants::record(&record, hint);
    }

    #[test]
    fn any_file_has_the_same_records_however_it_is_read(
        name in proptest::sample::select(&invariants::FILE_NAMES[..]),
        file in file(),
    ) {
        invariants::file(name, &file);
    }

    #[test]
    fn any_document_has_the_same_records_in_a_file_and_in_a_message(
        tokens in vec(proptest::sample::select(&[
            "{", "}", "[", "]", ",", ":", " ", "\n", "\"r\"", "\"s\":", "{\"r\":[{\"s\":[", "]}", "}]}", "1", "null", "{}", "\"x\"", "nil", "\u{feff}",
        ][..]), 0..24),
    ) {
        invariants::document(tokens.concat().as_bytes());
    }

    #[test]
    fn any_path_is_routed_to_at_most_one_dataset(path in "\\PC{0,40}|topics/[a-z.]{0,8}/partition=0/[a-z.+]{0,12}[+]0[+]1.json") {
        invariants::path(&path);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_table_written_as_csv_is_read_back(
        tabs in any::<bool>(),
        (header, rows) in (1..6_usize).prop_flat_map(|width| {
            let cell = prop_oneof!["[0-9a-z\"',;\t\r\n]{0,8}", any::<String>()];
            (vec("[a-z \"']{0,5}", width), vec(vec(cell, width), 0..6))
        }),
    ) {
        invariants::table(if tabs { b'\t' } else { b',' }, &header, &rows);
    }
}
