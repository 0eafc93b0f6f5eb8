//! Clients: they post rows in the three formats, some of them dirty, some twice, and send again what they have no
//! good answer for, under the same Idempotency-Key. Some have an API key; some name their requests as others do, or as they
//! have named others before; some lose the header when they send again, or send a part of a request again. And a stranger who
//! writes to the stream what he likes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ingest::access::Access;
use ingest::app::App;
use ingest::writer::RetryPolicy;
use lambda_http::{Body, Context, Request, RequestExt as _, Response};
use pinlake_landing::drain::Acknowledged;
use serde_json::Value;
use tokio::time::sleep;

use crate::contracts::{self, DATASETS, Release};
use crate::fault::Fault;
use crate::invariants::quarantined;
use crate::kinesis::{Producer, STREAM, Stream};
use crate::ledger::{Content, Receipt, RecordId};
use crate::process::Process;
use crate::trace::Broken;
use crate::world::{Function, World, api_key};

/// The function's time limit.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How often a client sends a request in all.
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
struct Post {
    id: String,
    format: Format,
    path: String,
    rows: Vec<Row>,
    /// The request's Idempotency-Key.
    key: Option<String>,
    /// Whose API key it brings.
    caller: Option<u64>,
    malformed: bool,
}

/// A warm ingest.
struct Warm {
    release: Release,
    app: App<Producer>,
}

/// A client: posts one request after another.
pub async fn client(world: Arc<World>, stream: Arc<Stream>, number: u64) {
    let mut warm = None;
    let requests =
        if world.plan.long { world.plan.requests } else { world.rng.between(1, world.plan.requests) };
    for request in 0..requests {
        sleep(world.rng.millis(0, 8_000)).await;
        let post = draw(&world, &format!("c{number}-{request}"), number);
        for attempt in 0..ATTEMPTS {
            let mut again = post.clone();
            if attempt > 0 && again.key.is_some() && world.strikes(Fault::HeaderLost, "client") {
                again.key = None;
            } else if attempt > 0
                && again.key.is_some()
                && again.rows.len() > 1
                && !again.malformed
                && world.strikes(Fault::PartRepeated, "client")
            {
                again.rows.drain(..world.rng.index(again.rows.len()));
                // What it was content with stays; what it was not, it has in full the next time.
                send(&world, &stream, &again, ATTEMPTS + attempt, &mut warm).await;
                again = post.clone();
            }
            let done = send(&world, &stream, &again, attempt, &mut warm).await;
            if done && !world.strikes(Fault::ClientRepeats, "client") {
                break;
            }
            sleep(world.rng.millis(100, 5_000)).await;
        }
    }
}

fn draw(world: &World, id: &str, client: u64) -> Post {
    let rng = &world.rng;
    let format =
        [Format::Native, Format::NativeLines, Format::Kafka, Format::KinesisRecords, Format::KinesisRecord]
            [rng.index(5)];
    let kinesis = matches!(format, Format::KinesisRecord | Format::KinesisRecords);
    let dataset = if world.plan.long { DATASETS[0] } else { DATASETS[rng.index(DATASETS.len())] };
    let count = if format == Format::KinesisRecord { 1 } else { rng.between(1, world.plan.rows) };
    let rows =
        (0..count).map(|index| row(world, if kinesis { None } else { Some(dataset) }, id, index)).collect();
    let path = match format {
        Format::Native | Format::NativeLines => format!("/v1/{dataset}"),
        Format::Kafka => format!("/test/topics/0a1b.{dataset}"),
        Format::KinesisRecords => "/prod/streams/shared/records".to_owned(),
        Format::KinesisRecord => "/prod/streams/shared/record".to_owned(),
    };
    let caller = (world.plan.callers > 0).then(|| client % world.plan.callers);
    let key = match rng.chance(700) {
        // A name that is near at hand: a batch's number, say.
        true if rng.chance(world.plan.shared_keys) => {
            world.trace.reached("shared idempotency keys");
            Some(format!("batch-{}", rng.between(0, 1)))
        }
        named => named.then(|| id.to_owned()),
    };
    Post { id: id.to_owned(), format, path, rows, key, caller, malformed: rng.chance(60) }
}

/// A row for `dataset`; none: for any, and its shape will tell.
fn row(world: &World, dataset: Option<&'static str>, request: &str, index: u64) -> Row {
    let rng = &world.rng;
    let sent_to = dataset;
    let any = || if world.plan.long { DATASETS[0] } else { DATASETS[rng.index(DATASETS.len())] };
    let dataset = dataset.unwrap_or_else(any);
    let good = |id: u64, note: &str| Row {
        json: format!("{{\"{dataset}\":{id},\"note\":\"{note}\"}}"),
        content: format!("{dataset}/{id}"),
    };
    let bad = |json: String, judged_by: Option<&str>| Row {
        content: quarantined(judged_by, json.as_bytes()),
        json,
    };
    if matches!(dataset, "page" | "click") && rng.chance(world.plan.wavering) {
        let id = rng.between(*contracts::WAVERING.start(), *contracts::WAVERING.end());
        return Row { json: contracts::wavering(dataset, id), content: format!("{dataset}/{id}") };
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
    match if world.plan.long { 99 } else { rng.between(0, 99) } {
        // A small range: the same rows come again, in this request and in others.
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
            // Only this request has it: what becomes of a request can be told by it.
            let mut id = 1_000_u64;
            for byte in format!("{request}/{index}").bytes() {
                id = id * 131 % 1_000_000_007 + u64::from(byte) + 1_000;
            }
            good(id, &format!("note {id}"))
        }
    }
}

fn body(post: &Post) -> String {
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
        // Writing to a string does not fail.
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

/// Sends a request; whether the client is content with the answer.
async fn send(
    world: &Arc<World>,
    stream: &Arc<Stream>,
    post: &Post,
    attempt: u64,
    warm: &mut Option<Warm>,
) -> bool {
    let release = world.release(Function::Ingest);
    let Warm { app, .. } = warm.take().filter(|warm| warm.release == release).unwrap_or_else(|| Warm {
        release,
        app: App {
            stream: Producer { stream: stream.clone(), process: Process::new("ingest") },
            catalog: contracts::catalog(release),
            access: world.keys.clone().map_or(Access::Anyone, Access::Keys),
            reads_enabled: false,
            retry_policy: RetryPolicy::default(),
            env: world.effects(),
        },
    });
    let mut request: Request = http::Request::new(Body::from(body(post)));
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
    // Which record each row is: of whom, of which request, and the number in it.
    let request_name = post.key.clone().unwrap_or(request_id);
    let ids: Vec<RecordId> =
        (0..post.rows.len()).map(|at| format!("{:?}/{request_name}#{at}", post.caller)).collect();
    if !post.malformed {
        let mut book = world.ledger.open();
        for (row, id) in post.rows.iter().zip(&ids) {
            book.sent(&row.content, id.clone());
        }
    }
    world.tell(|| {
        let (rows, key) = (post.rows.len(), &post.key);
        format!("client sends {} as {key:?} to {}, {rows} rows, attempt {attempt}", post.id, post.path)
    });
    let process = app.stream.process.clone();
    let Some(response) = process.invoke(world, TIME_LIMIT, app.handle(request)).await else {
        return false;
    };
    *warm = Some(Warm { release, app });
    sleep(world.rng.millis(5, 50)).await;
    if world.strikes(Fault::HttpAnswerLost, "client") {
        return false;
    }
    read(world, post, &ids, &response)
}

/// Reads an answer and books what it acknowledges.
fn read(world: &World, post: &Post, ids: &[RecordId], response: &Response<Body>) -> bool {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    world.tell(|| format!("client has {status} for {}: {body}", post.id));
    if post.malformed {
        // Whether the dataset is there is asked first.
        if status != 400 && !(status == 404 && post.path.ends_with("draft")) {
            world.broke(Broken::Invented, format!("a malformed body of {} was answered {status}", post.id));
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
        // The dataset has no contract yet, or none any more.
        (_, 404) if post.path.ends_with("draft") => return false,
        _ => {
            world.broke(Broken::Lost, format!("{} was answered {status}: {body}", post.id));
            return true;
        }
    };
    if taken.len() != post.rows.len() {
        world.broke(Broken::Lost, format!("{}: {} rows, {} answers", post.id, post.rows.len(), taken.len()));
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
            world.broke(
                Broken::SaidDrained,
                format!("{} was acknowledged without {}", post.id, ingest::ack::HEADER),
            );
        }
        world.trace.reached("acknowledgements");
        world.ledger.open().acknowledged(Receipt { stream: STREAM, acknowledged, records });
    }
    taken.iter().all(|taken| *taken)
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Another producer on the same stream, whose records have any form.
pub async fn stranger(world: Arc<World>, stream: Arc<Stream>) {
    for _ in 0..world.rng.between(1, 4) {
        sleep(world.rng.millis(0, 10_000)).await;
        let id = world.rng.between(0, 30);
        let (key, data, content): (&str, Vec<u8>, Content) = match world.rng.between(0, 5) {
            0 => ("any", vec![0xff, 0, 0x80 | id as u8], quarantined(None, &[0xff, 0, 0x80 | id as u8])),
            1 => ("any", Vec::new(), quarantined(None, b"")),
            2 => ("visit", b"not json".to_vec(), quarantined(Some("visit"), b"not json")),
            3 => (
                "any/+1/01",
                format!("{{\"visit\": {}}}", 200 + id).into_bytes(),
                format!("visit/{}", 200 + id),
            ),
            4 => ("page", format!("{{\n  \"page\": {id}\n}}\n").into_bytes(), format!("page/{id}")),
            _ => ("nobody/r/0", b"[1, 2]".to_vec(), quarantined(Some("nobody"), b"[1, 2]")),
        };
        let stored = stream.store(key, &data);
        let Ok(sequence) = stored.sequence.parse() else { continue };
        // Nobody named its request: its place is its id.
        let id: RecordId = format!("{}/{}", stored.shard, stored.sequence);
        let acknowledged = Acknowledged::from([(stored.shard, sequence)]);
        let mut book = world.ledger.open();
        book.sent(&content, id.clone());
        book.acknowledged(Receipt { stream: STREAM, acknowledged, records: vec![(content, id)] });
    }
}
