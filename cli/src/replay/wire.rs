//! The three wire formats: builds requests and interprets responses.
//!
//! Rows are copied byte for byte, one per line, so that a line number in a response identifies a row. A row that is not
//! JSON makes a whole Kafka or Kinesis body invalid, and the parser may report the line after it. After a rejected request,
//! rows that do not parse are therefore rejected first, and the reported line only if all rows parse.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::batch::{Format, Row};

/// A request without its host.
#[derive(Debug)]
pub struct Request {
    /// POST or PUT.
    pub method: reqwest::Method,
    /// Path, to be appended to that of the target.
    pub path: String,
    /// Content type.
    pub content_type: &'static str,
    /// Body.
    pub body: Vec<u8>,
    /// The line of the body, from 1, of the first row; each row has a line.
    pub first_line: u64,
}

/// Builds the request for some rows.
pub fn build_request(format: Format, uid: &str, dataset: &str, rows: &[Row]) -> Request {
    let stream = format!("streaming-{uid}-{dataset}");
    let mut body = Vec::with_capacity(rows.iter().map(|row| row.bytes.len() + 48).sum::<usize>() + 64);
    match format {
        Format::Kafka => {
            body.extend_from_slice(b"{\"records\":[\n");
            append_rows(&mut body, rows, b"{\"value\":", b"}");
            body.extend_from_slice(b"]}");
            Request {
                method: reqwest::Method::POST,
                path: format!("/topics/{uid}.{dataset}"),
                content_type: "application/vnd.kafka.json.v2+json",
                body,
                first_line: 2,
            }
        }
        Format::Kinesis => {
            let (last, before, after): (&str, &[u8], &[u8]) = match rows.len() {
                1 => ("record", b"\"Data\":", b",\"PartitionKey\":\"partition-1\""),
                _ => ("records", b"{\"data\":", b",\"partition-key\":\"partition-1\"}"),
            };
            body.extend_from_slice(b"{\"StreamName\":");
            body.extend_from_slice(Value::from(stream.as_str()).to_string().as_bytes());
            body.extend_from_slice(if rows.len() == 1 { b",\n" } else { b",\"records\":[\n" });
            append_rows(&mut body, rows, before, after);
            body.extend_from_slice(if rows.len() == 1 { b"}" } else { b"]}" });
            Request {
                method: reqwest::Method::PUT,
                path: format!("/streams/{stream}/{last}"),
                content_type: "application/json",
                body,
                first_line: 2,
            }
        }
        Format::Native => {
            for row in rows {
                body.extend_from_slice(&row.bytes);
                body.push(b'\n');
            }
            Request {
                method: reqwest::Method::POST,
                path: format!("/v1/{dataset}"),
                content_type: "application/x-ndjson",
                body,
                first_line: 1,
            }
        }
    }
}

fn append_rows(body: &mut Vec<u8>, rows: &[Row], before: &[u8], after: &[u8]) {
    for (at, row) in rows.iter().enumerate() {
        body.extend_from_slice(before);
        body.extend_from_slice(&row.bytes);
        body.extend_from_slice(after);
        body.extend_from_slice(if at + 1 < rows.len() { b",\n" } else { b"\n" });
    }
}

/// The indices of the rows that a 2xx response reports as not stored.
pub fn find_failed(format: Format, answer: &[u8]) -> Vec<usize> {
    let (list, mark) = match format {
        Format::Kafka => ("offsets", "error_code"),
        Format::Kinesis => ("Records", "ErrorCode"),
        Format::Native => return Vec::new(),
    };
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let records = answer.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let failed = |record: &Value| record.get(mark).is_some_and(|mark| !mark.is_null());
    records.iter().enumerate().filter(|(_, record)| failed(record)).map(|(at, _)| at).collect()
}

/// The indices of the rows that caused a request to be rejected; empty if the response does not say.
pub fn find_rejected(request: &Request, rows: &[Row], answer: &[u8]) -> Vec<usize> {
    let broken: Vec<usize> =
        rows.iter().enumerate().filter(|(_, row)| !is_json(&row.bytes)).map(|(at, _)| at).collect();
    if !broken.is_empty() {
        return broken;
    }
    let lines: Range<u64> = request.first_line..request.first_line + rows.len() as u64;
    let named = named_line(answer).filter(|line| lines.contains(line));
    named.map(|line| (line - request.first_line) as usize).into_iter().collect()
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The line named by an error response: a member `line` anywhere, else the first `line <number>` in the text.
fn named_line(answer: &[u8]) -> Option<u64> {
    fn member(value: &Value) -> Option<u64> {
        match value {
            Value::Object(members) => {
                let own = members.get("line").and_then(Value::as_u64);
                own.or_else(|| members.values().find_map(member))
            }
            Value::Array(items) => items.iter().find_map(member),
            _ => None,
        }
    }
    let in_text = || {
        let text = String::from_utf8_lossy(answer);
        let words =
            text.match_indices("line ").filter(|(at, _)| !text[..*at].ends_with(char::is_alphanumeric));
        words.map(|(at, word)| &text[at + word.len()..]).find_map(|rest| {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse().ok()
        })
    };
    serde_json::from_slice(answer).ok().as_ref().and_then(member).or_else(in_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[&str]) -> Vec<Row> {
        let row = |(at, text): (usize, &&str)| Row {
            ordinal: at as u64,
            line: at as u64 + 1,
            key: None,
            bytes: text.as_bytes().to_vec(),
        };
        texts.iter().enumerate().map(row).collect()
    }

    fn body(format: Format, texts: &[&str]) -> (String, String) {
        let request = build_request(format, "me", "pin", &rows(texts));
        (request.path, String::from_utf8(request.body).unwrap())
    }

    #[test]
    fn bodies_are_those_of_the_clients_with_one_row_per_line() {
        let two = ["{\"a\": 1}", "{\"a\": \"\\u00e9\"}"];
        assert_eq!(
            body(Format::Kafka, &two),
            (
                "/topics/me.pin".to_owned(),
                "{\"records\":[\n{\"value\":{\"a\": 1}},\n{\"value\":{\"a\": \"\\u00e9\"}}\n]}".to_owned()
            )
        );
        assert_eq!(
            body(Format::Kinesis, &two[..1]),
            (
                "/streams/streaming-me-pin/record".to_owned(),
                "{\"StreamName\":\"streaming-me-pin\",\n\"Data\":{\"a\": 1},\"PartitionKey\":\"partition-1\"\n}".to_owned()
            )
        );
        assert_eq!(
            body(Format::Kinesis, &two),
            (
                "/streams/streaming-me-pin/records".to_owned(),
                concat!(
                    "{\"StreamName\":\"streaming-me-pin\",\"records\":[\n",
                    "{\"data\":{\"a\": 1},\"partition-key\":\"partition-1\"},\n",
                    "{\"data\":{\"a\": \"\\u00e9\"},\"partition-key\":\"partition-1\"}\n]}"
                )
                .to_owned()
            )
        );
        assert_eq!(body(Format::Native, &two), ("/v1/pin".to_owned(), format!("{}\n{}\n", two[0], two[1])));
        for format in [Format::Kafka, Format::Kinesis] {
            for texts in [&two[..1], &two[..]] {
                let request = build_request(format, "me", "pin", &rows(texts));
                serde_json::from_slice::<Value>(&request.body).unwrap();
                let lines: Vec<&[u8]> = request.body.split(|&byte| byte == b'\n').collect();
                for (at, text) in texts.iter().enumerate() {
                    let line = String::from_utf8_lossy(lines[request.first_line as usize - 1 + at]);
                    assert!(line.contains(text), "{format:?} {line}");
                }
            }
        }
    }

    #[test]
    fn failed_records_are_read_from_responses() {
        let kafka = br#"{"offsets":[{"partition":0,"offset":1,"error_code":null,"error":null},{"partition":null,"offset":null,"error_code":50003,"error":"throttled"}]}"#;
        assert_eq!(find_failed(Format::Kafka, kafka), [1]);
        let kinesis = br#"{"FailedRecordCount":1,"Records":[{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"slow"},{"SequenceNumber":"1","ShardId":"s"}]}"#;
        assert_eq!(find_failed(Format::Kinesis, kinesis), [0]);
        assert!(find_failed(Format::Kinesis, br#"{"SequenceNumber":"1","ShardId":"s"}"#).is_empty());
        assert!(find_failed(Format::Native, b"").is_empty());
    }

    #[test]
    fn a_row_that_is_not_json_is_rejected_whatever_line_is_named() {
        let texts = ["{\"a\":1}", "{\"a\":1", "{\"a\":3}"];
        for format in [Format::Kafka, Format::Kinesis, Format::Native] {
            let rows = rows(&texts);
            let request = build_request(format, "me", "pin", &rows);
            let error = serde_json::from_slice::<Value>(&request.body).unwrap_err().to_string();
            assert_eq!(find_rejected(&request, &rows, error.as_bytes()), [1], "{format:?}: {error}");
        }
    }

    #[test]
    fn if_all_rows_are_json_the_named_line_is_rejected() {
        let rows = rows(&["1", "2", "3"]);
        let kafka = build_request(Format::Kafka, "me", "pin", &rows);
        for answer in [
            r#"{"error_code":400,"message":"expected an object at line 3 column 12"}"#,
            r#"{"error_code":400,"message":"online 9","at":{"line":3,"column":12}}"#,
            "newline 77 on line 3",
        ] {
            assert_eq!(find_rejected(&kafka, &rows, answer.as_bytes()), [1], "{answer}");
        }
        let native = build_request(Format::Native, "me", "pin", &rows);
        assert_eq!(find_rejected(&native, &rows, b"line 3, column 1"), [2]);
        assert!(find_rejected(&native, &rows, b"line 4").is_empty());
        assert!(find_rejected(&native, &rows, b"no").is_empty());
    }
}
