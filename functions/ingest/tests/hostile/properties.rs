//! Generated requests for the invariants.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases::cases;
use super::invariants;

/// JSON values, valid and nearly valid ones.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => proptest::sample::select(vec![
            "null", "true", "0", "-0", "01", "1.", "1e400", "1E-4", "NaN", "-", "\"\"", "\"\\ud83d\"", "\"\\ud83d\\ude00\"",
            "\"\\u0000\\u000a\"", "\"\\x\"", "\"{\\\"ind\\\": 1}\"", "\"eyJhIjogMX0=\"", "\"[1,\\n2]\"", "\"\u{2028}\"", "{}", "[ ]",
        ]).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        2 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => "\\PC{0,8}",
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,\t"))),
            vec(("[a-z]{0,3}|ind|records|value|Data", inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let lines = (vec(value(), 0..6), proptest::sample::select(vec!["\n", "\r\n", "\n\n", " ", ",", "\r"]))
        .prop_map(|(values, between)| values.join(between).into_bytes());
    let envelope = (vec(value(), 0..4), 0..5_usize).prop_map(|(values, how)| {
        let records = |name: &str| {
            values
                .iter()
                .map(|value| format!("{{\"{name}\":{value},\"key\":null}}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        match how {
            0 => format!("{{\"records\":[{}]}}", records("value")),
            1 => format!("{{\"Records\":[{}],\"StreamName\":\"s\"}}", records("Data")),
            2 => records("Data"),
            3 => format!("{{\"records\":{}}}", records("value")),
            _ => format!("[{}]", values.join(",")),
        }
        .into_bytes()
    });
    let text = prop_oneof![2 => lines, 3 => envelope, 1 => vec(any::<u8>(), 0..64)];
    let change = vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (text, change, 0..8_u8, any::<prop::sample::Index>()).prop_map(|(mut text, changes, how, at)| {
        for (at, byte) in changes {
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
        }
        match how {
            0 => gzip(&text),
            1 => zstd::encode_all(&text[..], 1).unwrap(),
            2 => {
                let mut compressed = gzip(&text);
                compressed.truncate(at.index(compressed.len()));
                compressed
            }
            3 => [b"\xef\xbb\xbf", &text[..]].concat(),
            _ => text,
        }
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_request_is_accepted_or_rejected_as_a_whole(
        endpoint in proptest::sample::select(&invariants::ENDPOINTS[..]),
        media_type in proptest::sample::select(&invariants::MEDIA_TYPES[..]),
        encoding in proptest::sample::select(&invariants::ENCODINGS[..]),
        body in body(),
    ) {
        invariants::check_request(endpoint, media_type, encoding, &body);
    }

    #[test]
    fn lines_are_accepted_if_serde_json_accepts_them(body in body()) {
        invariants::check_request(invariants::ENDPOINTS[0], "application/x-ndjson", "", &body);
    }
}

/// Data of a stream record, of pieces that its readers know.
fn data() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 22] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\"value\"",
        b"\"ind\"",
        b"\n",
        b" ",
        b"1",
        b"e30=",
        b"eyJpbmQiOjF9",
        b"{}",
        b"{\"ind\": 1}",
        b"[{\"ind\":1},\n {}]",
        b"\"{\\\"ind\\\":1}\"",
        b"{\n\"a\":\"\xff\"}",
        b"\xc3\xa9",
        b"\r",
        b"\x0c",
    ];
    let pieces = vec(proptest::sample::select(&PIECES[..]), 0..8).prop_map(|pieces| pieces.concat());
    (prop_oneof![2 => pieces, 1 => body()], 0..6_u8).prop_map(|(data, how)| match how {
        0 => gzip(&data),
        1 => zstd::encode_all(&data[..], 1).unwrap(),
        2 => STANDARD.encode(&data).into_bytes(),
        3 => STANDARD.encode(gzip(&data)).into_bytes(),
        _ => data,
    })
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn the_same_data_gives_the_same_records_over_http_and_on_the_stream(data in data()) {
        invariants::check_data(&data);
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn a_value_is_the_same_line_in_every_protocol(value in value()) {
        invariants::check_value(&value);
    }
}
