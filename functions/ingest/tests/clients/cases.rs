//! Requests that others made, as far as they are beside the repository: one file with a request for each kind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use pinlake_clean::{Disposition, Position, RecordCleaner, RecordOrigin};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;

use crate::{app, body_json, request, stored_records};

/// What has to become of the request of a file.
struct Case {
    file: &'static str,
    status: u16,
    /// A text in the response.
    says: &'static str,
    /// The rows: their dataset, a column and its text.
    rows: &'static [(&'static str, &'static str, &'static str)],
}

const fn accepted(file: &'static str, rows: &'static [(&'static str, &'static str, &'static str)]) -> Case {
    Case { file, status: 200, says: "", rows }
}

const CASES: [Case; 11] = [
    accepted("a1_array_data_kinesis.http", &[("pin", "ind", "20207453")]),
    accepted("a1_array_value_kafka.http", &[("pin", "ind", "20207453")]),
    accepted("a2_colon_dates_geo.http", &[("geo", "timestamp", "2019-02-22T20:21:06Z")]),
    accepted("a3_data_value_wrapper.http", &[("pin", "ind", "3907528")]),
    accepted(
        "a4_tag_list_array.http",
        &[(
            "pin",
            "tag_list",
            "Investment Portfolio,Investment Advice,Investing In Stocks,Investing Money,Saving Money,Trading Quotes,Savings \
             Planner,Financial Instrument,Budgeting Finances",
        )],
    ),
    Case { file: "b1_list_streams.http", status: 200, says: "\"pin\"", rows: &[] },
    // No stream is named, and nothing but the client knows which it is.
    Case { file: "b1_put_without_stream.http", status: 404, says: "accepted names", rows: &[] },
    accepted("b2_stream_in_query.http", &[("pin", "ind", "8207528")]),
    accepted("b3_stream_singular.http", &[("pin", "ind", "1507528")]),
    accepted("b4_topic_name.http", &[("pin", "ind", "4007528")]),
    accepted("c4_topics_put_record.http", &[("pin", "ind", "7307528")]),
];

/// The folder `shared/cases/http` beside the repository, or above it.
fn find_cases() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/cases/http")).find(|folder| folder.is_dir())
}

#[tokio::test]
async fn requests_of_others_give_what_they_mean() {
    let Some(folder) = find_cases() else {
        println!("skipped: there is no folder shared/cases/http beside the repository");
        return;
    };
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(CASES.iter().any(|case| case.file == name), "{name} has no expectation here");
    }
    for case in &CASES {
        match std::fs::read_to_string(folder.join(case.file)) {
            Ok(text) => check_case(case, &text).await,
            Err(_) => println!("skipped: there is no file shared/cases/http/{}", case.file),
        }
    }
}

async fn check_case(case: &Case, text: &str) {
    let app = app();
    let response = app.handle(parse_request(text)).await;
    let answer = body_json(&response).to_string();
    assert_eq!(response.status(), case.status, "{}: {answer}", case.file);
    assert!(answer.contains(case.says), "{}: {answer}", case.file);
    let rows: Vec<_> = case.rows.iter().map(|(dataset, _, text)| format!("{dataset}: {text}")).collect();
    let columns = case.rows.iter().map(|(_, column, _)| *column);
    assert_eq!(rows, clean(&stored_records(&app), columns), "{}", case.file);
}

/// Parses a request: comments, the request line, headers, an empty line and the body, up to the answer that was seen.
fn parse_request(text: &str) -> lambda_http::Request {
    let (sent, _) = text.split_once("\n=== answer").unwrap();
    let sent = sent.trim_start_matches('#').split_once('\n').unwrap().1;
    let (head, body) = sent.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    request(method, path, &headers, body.trim_end())
}

/// The rows that records on the stream become, in one column each.
fn clean<'a>(records: &[(String, String)], mut columns: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut rows = Vec::new();
    for (key, data) in records {
        let dataset = StreamKey::parse(key).unwrap().dataset;
        for line in data.lines() {
            let mut cleaner = RecordCleaner::new(
                Arc::new(Catalog::embedded().unwrap()),
                "2026-11-22T21:00:00Z".parse().unwrap(),
            );
            let origin = RecordOrigin { source: "kinesis/s/0", position: Position::Line(1), record_id: None };
            assert_eq!(cleaner.push(line.as_bytes(), dataset, &origin), Disposition::Clean, "{line}");
            let cleaned = cleaner.drain().remove(0);
            let column = cleaned.rows.column_by_name(columns.next().unwrap()).unwrap();
            rows.push(format!("{}: {}", cleaned.contract.name, array_value_to_string(column, 0).unwrap()));
        }
    }
    rows
}
