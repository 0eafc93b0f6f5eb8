//! report as on Lambda: events of a function URL, over a lake in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of tests fails its test")]

mod access;
mod openapi;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatchReader as _;
use lambda_http::{Body, Request, Response};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_lake::Lake;
use pinlake_platform::access::Access;
use pinlake_results::{StoredRun, store};
use pinlake_schema::Catalog;
use report::app::{App, RequestSummary};
use serde_json::{Value, json};

const EARLIER: &str = "20221019T110000Z-a";
const LATEST: &str = "20221019T120000Z-b";
/// What a client may send.
const ATTACK: &str = "</script><script>alert(1)</script>";

/// A lake with a user, a quarantined record, one without a dataset, and results of two runs.
struct World {
    store: Arc<InMemory>,
    clock: Arc<ManualClock>,
    catalog: Arc<Catalog>,
}

impl World {
    fn empty() -> World {
        let clock = Arc::new(ManualClock::at("2022-10-19T12:30:00Z".parse().unwrap()));
        World { store: Arc::default(), clock, catalog: Arc::new(Catalog::embedded().unwrap()) }
    }

    async fn filled() -> World {
        let world = World::empty();
        let lake = world.lake();
        let mut cleaner = RecordCleaner::new(world.catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
        let user = r#"{"ind": 1, "first_name": "Ann", "age": "20", "date_joined": "2015-06-01 00:00:00"}"#;
        let hostile = format!(r#"{{"ind": 2, "age": "{ATTACK}"}}"#);
        for (line, record) in (1..).zip([user, &hostile, r#"{"run": 7}"#]) {
            let origin = RecordOrigin { source: "test", position: Position::Line(line), record_id: None };
            let hint = (!record.contains("run")).then_some("user");
            cleaner.push(record.as_bytes(), hint, &origin);
        }
        for cleaned in cleaner.drain() {
            lake.insert(&world.catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
        world.save(EARLIER, 11).await;
        world.save(LATEST, 12).await;
        world
    }

    async fn save(&self, run: &str, posts: i64) {
        let results = json!({
            "posts": {
                "columns": ["country", "posts", "share"],
                "rows": [["Peru", posts, 0.5], [ATTACK, 2, null], [null, 1, 1]],
                "versions": {"pin": 3},
                "sql": "-- Where do posts come from?\nSELECT country, posts, share FROM pin",
                "seconds": 0.02,
            },
            "users": {"columns": ["users"], "rows": [[1]], "versions": {"user": 0}},
        });
        let run_of = StoredRun::from_json(results).unwrap();
        store::save(&*self.store, run, &run_of).await.unwrap();
    }

    fn env(&self) -> Env {
        Env { clock: self.clock.clone(), rng: Arc::new(Rng::seeded(1)) }
    }

    fn lake(&self) -> Lake {
        Lake::new(self.store.clone(), self.env())
    }

    fn app(&self, access: Access) -> App {
        let (title, name) = ("Title <b>".to_owned(), "s3://lake".to_owned());
        App::new(self.lake(), self.catalog.clone(), access, title, name, self.env()).with_objective(Some(60))
    }
}

/// A request of a function URL, based on a sample event.
fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/report_page.json");
    let mut event: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    event["queryStringParameters"] = pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    event["requestContext"]["http"]["method"] = json!(method);
    event["requestContext"]["http"]["path"] = json!(path);
    event["headers"] = json!({ "host": "a1b2.lambda-url.us-east-1.on.aws" });
    for (name, value) in headers {
        // A function URL gives cookies apart from the headers.
        match *name {
            "cookie" => event["cookies"] = json!([value]),
            _ => event["headers"][*name] = json!(value),
        }
    }
    event["body"] = json!(body);
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

async fn get(app: &App, path: &str) -> Response<Body> {
    app.handle(request("GET", path, &[], "")).await
}

fn text(response: &Response<Body>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn body_json(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_page_has_the_results_their_history_and_the_state_and_is_safe() {
    let app = World::filled().await.app(Access::Anyone);
    let response = get(&app, "/").await;
    assert_eq!(response.status(), 200);
    let page = text(&response);
    for part in [
        "Where do posts come from?",
        "History, 2 runs",
        "v1/results/posts.parquet?run=20221019T120000Z-b",
        "Title &lt;b&gt;",
        "data-reload=\"300\"",
        "?run=20221019T110000Z-a",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains(ATTACK) && !page.contains("What do the newest of these records look like?"));
    let policy = header(&response, "content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&response, "cache-control"), Some("private, no-cache"));
    let summary = response.extensions().get::<RequestSummary>().unwrap();
    assert_eq!((summary.status, summary.bytes), (200, page.len() as u64));

    let earlier = get(&app, &format!("/?run={EARLIER}")).await;
    assert!(text(&earlier).contains("These are the results of an earlier run."));
    assert!(!text(&earlier).contains("data-reload"));
    assert_eq!(get(&app, "/?run=20200101T000000Z-x").await.status(), 404);
    assert_eq!(get(&app, "/?run=../../tables/user").await.status(), 404);
}

#[tokio::test]
async fn an_empty_lake_has_a_page_that_says_so() {
    let app = World::empty().app(Access::Anyone);
    let page = get(&app, "/").await;
    assert_eq!(page.status(), 200);
    assert!(text(&page).contains("There are no results yet.") && text(&page).contains("no rows yet"));
    let results = body_json(&get(&app, "/v1/results").await);
    assert_eq!(results, json!({ "run": null, "computed_at": null, "results": [] }));
    assert_eq!(get(&app, "/v1/results/posts").await.status(), 404);
}

#[tokio::test]
async fn unreadable_results_are_an_error_that_may_pass() {
    let world = World::filled().await;
    let path = store::results_path(LATEST);
    world.store.put(&path, "no JSON".into()).await.unwrap();
    let response = get(&world.app(Access::Anyone), "/v1/results").await;
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, Some("5")));
    assert!(!text(&response).contains("results/runs"), "what the operator needs is in the log only");
    assert_eq!(
        body_json(&get(&world.app(Access::Anyone), "/v1/state").await)["datasets"][0]["dataset"],
        "geo"
    );
}

#[tokio::test]
async fn a_result_has_the_same_rows_in_every_format() {
    let app = World::filled().await.app(Access::Anyone);
    let listed = body_json(&get(&app, "/v1/results").await);
    assert_eq!((&listed["run"], &listed["computed_at"]), (&json!(LATEST), &json!("2022-10-19T12:00:00Z")));
    assert_eq!(listed["results"][0]["question"], "Where do posts come from?");
    assert_eq!(listed["results"][1]["seconds"], Value::Null, "stored by an earlier version");

    let result = body_json(&get(&app, "/v1/results/posts").await);
    assert_eq!(result["rows"], json!([["Peru", 12, 0.5], [ATTACK, 2, null], [null, 1, 1]]));
    assert_eq!((&result["total_rows"], &result["versions"]), (&json!(3), &json!({ "pin": 3 })));
    let part = body_json(&get(&app, "/v1/results/posts.json?offset=1&limit=1").await);
    assert_eq!((&part["rows"], &part["offset"]), (&json!([[ATTACK, 2, null]]), &json!(1)));
    let earlier = get(&app, &format!("/v1/results/posts?run={EARLIER}")).await;
    assert_eq!(body_json(&earlier)["rows"][0][1], 11);
    assert_eq!(header(&earlier, "cache-control"), Some("private, max-age=86400"));

    let csv = format!("country,posts,share\nPeru,12,0.5\n{ATTACK},2,\n,1,1\n");
    let file = get(&app, "/v1/results/posts.csv").await;
    assert_eq!(text(&file), csv);
    assert_eq!(header(&file, "content-disposition"), Some("attachment; filename=\"posts.csv\""));
    let accepted = app.handle(request("GET", "/v1/results/posts", &[("accept", "text/csv, */*")], "")).await;
    assert_eq!(text(&accepted), csv);

    let parquet = get(&app, "/v1/results/posts.parquet").await;
    let bytes = bytes::Bytes::copy_from_slice(parquet.body());
    let reader = parquet_reader(bytes);
    let types: Vec<_> = reader.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Utf8", "Int64", "Float64"]);
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 3);

    for (path, status) in [
        ("/v1/results/nothing", 404),
        ("/v1/results/posts.xml", 404),
        ("/v1/results/posts?limit=0", 400),
        ("/v1/results/posts?offset=-1", 400),
        ("/v1/results/..%2F..%2Flatest", 404),
        ("/v1/results/%3Cscript%3E", 404),
        ("/v1", 404),
    ] {
        let response = get(&app, path).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header(&response, "content-type"), Some("application/json"), "{path}");
    }
}

fn parquet_reader(bytes: bytes::Bytes) -> parquet::arrow::arrow_reader::ParquetRecordBatchReader {
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap()
}

#[tokio::test]
async fn the_history_is_kept_of_each_run() {
    let app = World::filled().await.app(Access::Anyone);
    let history = body_json(&get(&app, "/v1/results/posts/history").await);
    let runs: Vec<_> =
        history["runs"].as_array().unwrap().iter().map(|past| &past["largest"]["posts"]).collect();
    assert_eq!(runs, [11, 12]);
    assert_ne!(history["runs"][0]["digest"], history["runs"][1]["digest"]);
    let users = body_json(&get(&app, "/v1/results/users/history").await);
    assert_eq!(users["runs"][0]["digest"], users["runs"][1]["digest"]);
    assert_eq!(get(&app, "/v1/results/nothing/history").await.status(), 404);
}

#[tokio::test]
async fn the_state_is_that_of_the_lake_and_is_read_again_after_seconds() {
    let world = World::filled().await;
    let app = world.app(Access::Anyone);
    let response = get(&app, "/v1/state").await;
    let state = body_json(&response);
    let user = state["datasets"].as_array().unwrap().iter().find(|found| found["dataset"] == "user").unwrap();
    assert_eq!((&user["rows"], &user["quarantined"]), (&json!(1), &json!({ "wrong_type": 1 })));
    assert_eq!(state["unrouted"].as_object().unwrap().len(), 1);
    let path = "landing/user/h/20221019T1200/stream/0/a.parquet";
    world.store.put(&path.into(), "rows".into()).await.unwrap();
    let waiting = |state: &Value| {
        state["datasets"].as_array().unwrap().iter().any(|found| found["waiting"]["objects"] == 1)
    };
    assert!(!waiting(&body_json(&get(&app, "/v1/state").await)), "within seconds it is not read again");

    world.clock.advance(Duration::from_secs(20));
    let later = get(&app, "/v1/state").await;
    assert!(waiting(&body_json(&later)));
    assert_ne!(header(&response, "etag"), header(&later, "etag"));
    world.clock.advance(Duration::from_secs(20));
    let same = get(&app, "/v1/state").await;
    assert_ne!(body_json(&same)["at"], body_json(&later)["at"]);
    assert_eq!(header(&same, "etag"), header(&later, "etag"), "another time is no other state");
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let world = World::filled().await;
    let app = world.app(Access::Anyone);
    for path in
        ["/", "/openapi.json", "/v1/results", "/v1/results/posts", "/v1/results/posts.parquet", "/v1/state"]
    {
        let tag = header(&get(&app, path).await, "etag").unwrap().to_owned();
        for sent in [tag.clone(), format!("\"x\", {}", tag.trim_start_matches("W/")), "*".to_owned()] {
            let again = app.handle(request("GET", path, &[("if-none-match", &sent)], "")).await;
            assert_eq!((again.status().as_u16(), again.body().len()), (304, 0), "{path} {sent}");
            assert_eq!(header(&again, "etag"), Some(tag.as_str()), "{path}");
        }
        let other = app.handle(request("GET", path, &[("if-none-match", "\"x\"")], "")).await;
        assert_eq!(other.status(), 200, "{path}");
    }
    let before = header(&get(&app, "/v1/results").await, "etag").unwrap().to_owned();
    world.save("20221019T130000Z-c", 12).await;
    world.clock.advance(Duration::from_secs(20));
    assert_ne!(header(&get(&app, "/v1/results").await, "etag"), Some(before.as_str()));
}

#[tokio::test]
async fn large_answers_are_compressed_and_bounded() {
    let world = World::filled().await;
    let rows: Vec<Value> = (0..40_000).map(|n| json!([n, format!("{n:0100}")])).collect();
    let large = json!({ "large": { "columns": ["n", "text"], "rows": rows, "versions": {} } });
    let run = StoredRun::from_json(large).unwrap();
    store::save(&*world.store, "20221019T140000Z-d", &run).await.unwrap();
    let app = world.app(Access::Anyone);
    let plain = get(&app, "/v1/results/large").await;
    assert_eq!((plain.status().as_u16(), &body_json(&plain)["error"]), (400, &json!("response_too_large")));
    let part = get(&app, "/v1/results/large?limit=1000").await;
    assert_eq!(body_json(&part)["rows"].as_array().unwrap().len(), 1000);

    for (accepted, is_compressed) in [("br;q=1, gzip", true), ("gzip;q=0", false), ("identity", false)] {
        let headers = [("accept-encoding", accepted)];
        let response = app.handle(request("GET", "/v1/results/large?limit=5000", &headers, "")).await;
        assert_eq!(header(&response, "content-encoding").is_some(), is_compressed, "{accepted}");
        let mut body = response.body().to_vec();
        if is_compressed {
            body.clear();
            flate2::read::GzDecoder::new(&response.body()[..]).read_to_end(&mut body).unwrap();
        }
        let rows: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(rows["rows"][4999][0], 4999, "{accepted}");
    }
    let page = app.handle(request("GET", "/", &[("accept-encoding", "gzip")], "")).await;
    assert!(page.status() == 200 && page.body().len() < 400_000, "{}", page.body().len());
}

#[tokio::test]
async fn only_reading_methods_are_allowed() {
    let world = World::filled().await;
    let app = world.app(Access::Anyone);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/", "/v1/results", "/v1/state", "/v1/quarantine", "/openapi.json"] {
            let response = app.handle(request(method, path, &[], "")).await;
            assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, Some("GET, HEAD")));
        }
    }
    let head = app.handle(request("HEAD", "/v1/results", &[], "")).await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    assert_eq!(header(&head, "etag"), header(&get(&app, "/v1/results").await, "etag"));
}

/// The paths and sizes of all objects.
async fn objects(world: &World) -> Vec<(String, u64)> {
    use futures::TryStreamExt as _;
    let listed: Vec<_> = world.store.list(None).try_collect().await.unwrap();
    listed.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect()
}

#[tokio::test]
async fn nothing_is_written() {
    let world = World::filled().await;
    let before = objects(&world).await;
    let app = world.app(Access::Anyone);
    for path in
        ["/", "/v1/results", "/v1/results/posts", "/v1/results/posts/history", "/v1/state", "/v1/quarantine"]
    {
        get(&app, path).await;
    }
    assert_eq!(objects(&world).await, before);
}

#[tokio::test]
async fn each_sample_event_is_answered() {
    let app = World::filled().await.app(Access::Anyone);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let mut answered = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("report_") {
            let event = std::fs::read_to_string(&path).unwrap();
            let response = app.handle(lambda_http::request::from_str(&event).unwrap()).await;
            assert_eq!(response.status(), 200, "{}", path.display());
            answered += 1;
        }
    }
    assert_eq!(answered, 3);
}
