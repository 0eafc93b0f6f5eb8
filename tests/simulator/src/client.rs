//! Clients. They post valid and invalid rows in three formats, and repeat a request without a good response under the
//! same Idempotency-Key. Some have an API key, share an Idempotency-Key with other requests, lose the header on a retry, or
//! repeat a part of a request. Another producer writes arbitrary bytes to the stream.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ingest::access::Access;
use ingest::app::App;
use ingest::writer::WriteRetryPolicy;
use lambda_http::{Body, Context, Request, RequestExt as _, Response};
use pinlake_landing::drain::Acknowledged;
use serde_json::Value;
use tokio::time::sleep;

use crate::contracts::{self, CatalogVersion, DATASETS};
use crate::fault::Fault;
use crate::invariants::quarantine_content;
use crate::kinesis::{Producer, STREAM, Stream};
use crate::ledger::{Content, Receipt, RecordId};
use crate::process::Process;
use crate::trace::Violation;
use crate::world::{Function, World, api_key};

/// The function's time limit.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Attempts of a request.
const ATTEMPTS: u64 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Native,
    NativeLines,
    Kafka,
    KinesisRecords,
    KinesisRecord,
}

#[derive(Clone)]
struct Row {
    json: String,
    content: Content,
}

#[derive(Clone)]
struct ClientRequest {
    id: String,
    format: Format,
    path: String,
    rows: Vec<Row>,
    /// The request's Idempotency-Key.
    key: Option<String>,
    /// The caller whose API key it has.
    caller: Option<u64>,
    malformed: bool,
}

/// A running ingest process.
struct Warm {
    catalog_version: CatalogVersion,
    app: App<Producer>,
}

/// Posts one request after another.
pub async fn client(world: Arc<World>, stream: Arc<Stream>, number: u64) {
    let mut warm = None;
    let requests = if world.scenario.has_many_commits {
        world.scenario.requests
    } else {
        world.rng.between(1, world.scenario.requests)
    };
    for request in 0..requests {
        sleep(world.rng.millis(0, 8_000)).await;
        let post = random_input(&world, &format!("c{number}-{request}"), number);
        for attempt in 0..ATTEMPTS {
            let mut again = post.clone();
            if attempt > 0 && again.key.is_some() && world.draw_fault(Fault::HeaderLost, "client") {
                again.key = None;
            } else if attempt > 0
                && again.key.is_some()
                && again.rows.len() > 1
                && !again.malformed
                && world.draw_fault(Fault::PartRepeated, "client")
            {
                again.rows.drain(..world.rng.index(again.rows.len()));
                // The whole request follows.
                send(&world, &stream, &again, ATTEMPTS + attempt, &mut warm).await;
                again = post.clone();
            }
            let done = send(&world, &stream, &again, attempt, &mut warm).await;
            if done && !world.draw_fault(Fault::ClientRepeats, "client") {
                break;
            }
            sleep(world.rng.millis(100, 5_000)).await;
        }
    }
}

fn random_input(world: &World, id: &str, client: u64) -> ClientRequest {
    let rng = &world.rng;
    let format =
        [Format::Native, Format::NativeLines, Format::Kafka, Format::KinesisRecords, Format::KinesisRecord]
            [rng.index(5)];
    let kinesis = matches!(format, Format::KinesisRecord | Format::KinesisRecords);
    let dataset =
        if world.scenario.has_many_commits { DATASETS[0] } else { DATASETS[rng.index(DATASETS.len())] };
    let count = if format == Format::KinesisRecord { 1 } else { rng.between(1, world.scenario.rows) };
    let rows = (0..count)
        .map(|index| random_row(world, if kinesis { None } else { Some(dataset) }, id, index))
        .collect();
    let path = match format {
        Format::Native | Format::NativeLines => format!("/v1/{dataset}"),
        Format::Kafka => format!("/test/topics/0a1b.{dataset}"),
        Format::KinesisRecords => "/prod/streams/shared/records".to_owned(),
        Format::KinesisRecord => "/prod/streams/shared/record".to_owned(),
    };
    let caller = (world.scenario.callers > 0).then(|| client % world.scenario.callers);
    let key = match rng.chance(700) {
        // A key that other clients are likely to use too, such as a batch number.
        true if rng.chance(world.scenario.shared_keys) => {
            world.trace.count("shared idempotency keys");
            Some(format!("batch-{}", rng.between(0, 1)))
        }
        named => named.then(|| id.to_owned()),
    };
    ClientRequest { id: id.to_owned(), format, path, rows, key, caller, malformed: rng.chance(60) }
}

/// Draws a row of `dataset`, or of any dataset that its shape identifies.
fn random_row(world: &World, dataset: Option<&'static str>, request: &str, index: u64) -> Row {
    let rng = &world.rng;
    let sent_to = dataset;
    let any =
        || if world.scenario.has_many_commits { DATASETS[0] } else { DATASETS[rng.index(DATASETS.len())] };
    let dataset = dataset.unwrap_or_else(any);
    let good = |id: u64, note: &str| Row {
        json: contracts::record(dataset, id, note),
        content: format!("{dataset}/{id}"),
    };
    let bad = |json: String, judged_by: Option<&str>| Row {
        content: quarantine_content(judged_by, json.as_bytes()),
        json,
    };
    if matches!(dataset, "page" | "click") && rng.chance(world.scenario.borderline) {
        let id = rng.between(*contracts::BORDERLINE.start(), *contracts::BORDERLINE.end());
        return Row { json: contracts::borderline(dataset, id), content: format!("{dataset}/{id}") };
    }
    if dataset == "draft" {
        let is_named = sent_to.is_some();
        let ids = if is_named { contracts::NAMED_DRAFTS } else { contracts::NAMELESS_DRAFTS };
        if rng.chance(300) {
            return bad(contracts::bad_draft(rng.between(0, 9), is_named), Some(dataset));
        }
        if !is_named && rng.chance(400) {
            let id = rng.between(*contracts::SKETCHES.start(), *contracts::SKETCHES.end());
            return Row { json: contracts::sketch(id), content: format!("draft/{id}") };
        }
        let id = rng.between(*ids.start(), *ids.end());
        return Row { json: contracts::draft(id), content: format!("draft/{id}") };
    }
    match if world.scenario.has_many_commits { 99 } else { rng.between(0, 99) } {
        // A small range, so that equal rows occur in this request and in others.
        0..=54 => {
            let id = rng.between(0, 30);
            good(id, &format!("note {id}"))
        }
        55..=61 => {
            let id = rng.between(100, 130);
            good(id, "-")
        }
        62..=64 => {
            let id = rng.between(*contracts::FOREIGN.start(), *contracts::FOREIGN.end());
            good(id, &format!("note {id}"))
        }
        65..=74 => {
            bad(format!("{{\"{dataset}\":\"seven {}\",\"note\":\"x\"}}", rng.between(0, 9)), Some(dataset))
        }
        75..=84 => bad(format!("{{\"{dataset}\":\"\",\"note\":\"{}\"}}", rng.between(0, 9)), Some(dataset)),
        85..=92 => bad(format!("{{\"what\":{}}}", rng.between(0, 9)), sent_to),
        _ => {
            // Unique to this request, so that its rows can be traced.
            let mut id = 1_000_u64;
            for byte in format!("{request}/{index}").bytes() {
                id = id * 131 % 1_000_000_007 + u64::from(byte) + 1_000;
            }
            good(id, &format!("note {id}"))
        }
    }
}

fn encode_body(post: &ClientRequest) -> String {
    let mut text = String::new();
    let (open, close, between) = match post.format {
        Format::Native => ("[", "]", ","),
        Format::NativeLines => ("", "", "\n"),
        Format::Kafka | Format::KinesisRecords => ("{\"records\":[", "]}", ","),
        Format::KinesisRecord => ("", "", ""),
    };
    text.push_str(open);
    for (at, row) in post.rows.iter().enumerate() {
        if at > 0 {
            text.push_str(between);
        }
        let json = &row.json;
        // Writing to a string cannot fail.
        let _ = match post.format {
            Format::Native | Format::NativeLines => write!(text, "{json}"),
            Format::Kafka => write!(text, "{{\"value\":{json}}}"),
            Format::KinesisRecords => write!(text, "{{\"data\":{json},\"partition-key\":\"p{at}\"}}"),
            Format::KinesisRecord => write!(text, "{{\"Data\":{json},\"PartitionKey\":\"partition-1\"}}"),
        };
    }
    text.push_str(close);
    if post.malformed {
        text.push_str("\n{\"broken\":");
    }
    text
}

/// Sends a request. `true`: all rows were acknowledged or rejected for good.
async fn send(
    world: &Arc<World>,
    stream: &Arc<Stream>,
    post: &ClientRequest,
    attempt: u64,
    warm: &mut Option<Warm>,
) -> bool {
    let catalog_version = world.catalog_version(Function::Ingest);
    let Warm { app, .. } =
        warm.take().filter(|warm| warm.catalog_version == catalog_version).unwrap_or_else(|| Warm {
            catalog_version,
            app: App {
                stream: Producer { stream: stream.clone(), process: Process::new("ingest") },
                catalog: contracts::catalog(catalog_version),
                access: world.keys.clone().map_or(Access::Anyone, Access::Keys),
                reads_enabled: false,
                is_paused: false,
                cors: ingest::cors::Cors::default(),
                webhooks: ingest::webhook::Webhooks::default(),
                retry_policy: WriteRetryPolicy::default(),
                env: world.env(),
            },
        });
    let mut request: Request = http::Request::new(Body::from(encode_body(post)));
    *request.method_mut() = http::Method::POST;
    if let Ok(uri) = format!("https://example.org{}", post.path).parse() {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    if post.format == Format::NativeLines {
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    }
    if let Some(Ok(key)) = post.key.as_ref().map(http::HeaderValue::try_from) {
        headers.insert("idempotency-key", key);
    }
    if let Some(Ok(key)) = post.caller.map(|caller| http::HeaderValue::try_from(api_key(caller))) {
        headers.insert("x-api-key", key);
    }
    let mut context = Context::default();
    context.request_id = format!("{}-{attempt}", post.id);
    let request_id = context.request_id.clone();
    let request = request.with_lambda_context(context);
    // The identity of each record: caller, request and number.
    let request_name = post.key.clone().unwrap_or(request_id);
    let ids: Vec<RecordId> =
        (0..post.rows.len()).map(|at| format!("{:?}/{request_name}#{at}", post.caller)).collect();
    if !post.malformed {
        let mut book = world.ledger.lock();
        for (row, id) in post.rows.iter().zip(&ids) {
            book.record_sent(&row.content, id.clone());
        }
    }
    world.log(|| {
        let (rows, key) = (post.rows.len(), &post.key);
        format!("client sends {} as {key:?} to {}, {rows} rows, attempt {attempt}", post.id, post.path)
    });
    let process = app.stream.process.clone();
    let Some(response) = process.invoke(world, TIME_LIMIT, app.handle(request)).await else {
        return false;
    };
    *warm = Some(Warm { catalog_version, app });
    sleep(world.rng.millis(5, 50)).await;
    if world.draw_fault(Fault::HttpAnswerLost, "client") {
        return false;
    }
    read_response(world, post, &ids, &response)
}

/// Reads a response and records what it acknowledges.
fn read_response(world: &World, post: &ClientRequest, ids: &[RecordId], response: &Response<Body>) -> bool {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    world.log(|| format!("client has {status} for {}: {body}", post.id));
    if post.malformed {
        // Ingest checks the dataset first.
        if status != 400 && !(status == 404 && post.path.ends_with("draft")) {
            world.report_violation(
                Violation::Unexpected,
                format!("a malformed body of {} was answered {status}", post.id),
            );
        }
        return true;
    }
    let taken: Vec<bool> = match (post.format, status) {
        (Format::Kafka, 200) => {
            list(&body, "offsets").iter().map(|entry| entry["error_code"].is_null()).collect()
        }
        (Format::KinesisRecords, 200) => {
            list(&body, "Records").iter().map(|entry| entry["ErrorCode"].is_null()).collect()
        }
        (Format::KinesisRecord | Format::Native | Format::NativeLines, 200) => vec![true; post.rows.len()],
        (Format::Native | Format::NativeLines, 503) if body["error"] == "partly_stored" => {
            let ranges = list(&body, "accepted");
            let inside = |at: usize, range: &Value| {
                range[0].as_u64().is_some_and(|first| first <= at as u64)
                    && range[1].as_u64().is_some_and(|last| at as u64 <= last)
            };
            (0..post.rows.len()).map(|at| ranges.iter().any(|range| inside(at, range))).collect()
        }
        (_, 429 | 500 | 503) => return false,
        // The dataset has no contract at the moment.
        (_, 404) if post.path.ends_with("draft") => return false,
        _ => {
            world.report_violation(Violation::Lost, format!("{} was answered {status}: {body}", post.id));
            return true;
        }
    };
    if taken.len() != post.rows.len() {
        world.report_violation(
            Violation::Lost,
            format!("{}: {} rows, {} answers", post.id, post.rows.len(), taken.len()),
        );
        return true;
    }
    let acknowledged = response.headers().get(ingest::ack::HEADER).and_then(|ack| ack.to_str().ok());
    let acknowledged: Acknowledged = acknowledged
        .unwrap_or_default()
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(shard, sequence)| Some((shard.to_owned(), sequence.parse().ok()?)))
        .collect();
    let records: Vec<(Content, RecordId)> = post
        .rows
        .iter()
        .zip(ids)
        .zip(&taken)
        .filter(|(_, taken)| **taken)
        .map(|((row, id), _)| (row.content.clone(), id.clone()))
        .collect();
    if !records.is_empty() {
        if acknowledged.is_empty() {
            world.report_violation(
                Violation::FalselyDrained,
                format!("{} was acknowledged without {}", post.id, ingest::ack::HEADER),
            );
        }
        world.trace.count("acknowledgements");
        world.ledger.lock().record_acknowledged(Receipt { stream: STREAM, acknowledged, records });
    }
    taken.iter().all(|taken| *taken)
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Another producer, whose records are arbitrary bytes.
pub async fn produce_foreign_records(world: Arc<World>, stream: Arc<Stream>) {
    for _ in 0..world.rng.between(1, 4) {
        sleep(world.rng.millis(0, 10_000)).await;
        let id = world.rng.between(0, 30);
        let (key, data, content): (&str, Vec<u8>, Content) = match world.rng.between(0, 5) {
            0 => {
                ("any", vec![0xff, 0, 0x80 | id as u8], quarantine_content(None, &[0xff, 0, 0x80 | id as u8]))
            }
            1 => ("any", Vec::new(), quarantine_content(None, b"")),
            2 => ("visit", b"not json".to_vec(), quarantine_content(Some("visit"), b"not json")),
            3 => (
                "any/+1/01",
                format!("{{\"visit\": {}}}", 200 + id).into_bytes(),
                format!("visit/{}", 200 + id),
            ),
            4 => ("page", format!("{{\n  \"page\": {id}\n}}\n").into_bytes(), format!("page/{id}")),
            _ => ("nobody/r/0", b"[1, 2]".to_vec(), quarantine_content(Some("nobody"), b"[1, 2]")),
        };
        let stored = stream.store(key, &data);
        let Ok(sequence) = stored.sequence.parse() else { continue };
        // Without a request, its place on the stream is its id.
        let id: RecordId = format!("{}/{}", stored.shard, stored.sequence);
        let acknowledged = Acknowledged::from([(stored.shard, sequence)]);
        let mut book = world.ledger.lock();
        book.record_sent(&content, id.clone());
        book.record_acknowledged(Receipt { stream: STREAM, acknowledged, records: vec![(content, id)] });
    }
}
