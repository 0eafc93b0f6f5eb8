//! Access to the local stack: its HTTP API, the AWS APIs of the stand-in, and the `pinlake` program over its lake.
//!
//! All tests and earlier users share the lake. The rows of a test therefore have unique numbers ([`Stack::number`]), and one test
//! at a time uses the stack.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinlake_env::{Clock, SystemClock};
use reqwest::{Client, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    program::{self, Counts, load, output, pinlake, repository},
    requests::HttpRequest,
};

/// The built-in datasets.
pub const DATASETS: [&str; 3] = ["pin", "geo", "user"];

/// Numbers of a test; the sample data uses those up to 11,153.
const NUMBERS: i64 = 20_000;

/// Maximum seconds from ingest to the tables.
const DRAIN_SECONDS: &str = "60";

/// Maximum time for a file of the inbox.
const FILE_SECONDS: u64 = 60;

static ALONE: Mutex<()> = Mutex::const_new(());

/// The stack that `make up` started.
pub struct Stack {
    described: Value,
    /// The output of `sam build`.
    built: PathBuf,
    http: Client,
    /// The highest acknowledged sequence number of each shard.
    acks: BTreeMap<String, String>,
    first: i64,
    next: i64,
    scratch: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// An HTTP response.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The acknowledged shards and sequence numbers.
    pub fn acks(&self) -> impl Iterator<Item = (&str, &str)> {
        acks(self.headers.get("pinlake-ack").map_or("", |header| header.to_str().unwrap()))
    }
}

impl Stack {
    /// The stack that PINLAKE_STACK names. `None`, with a message, if it is not set.
    pub async fn up() -> Option<Stack> {
        let Some(file) = env::var_os("PINLAKE_STACK") else {
            eprintln!(
                "skipped: PINLAKE_STACK is not set; `make up`, then PINLAKE_STACK=$PWD/target/demo/stack.json cargo test"
            );
            return None;
        };
        let file = Path::new(&file);
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let alone = ALONE.lock().await;
        // Far from the numbers of any demo and of earlier tests, which started in another millisecond.
        let first = SystemClock.now().timestamp_millis() * NUMBERS;
        tokio::time::sleep(Duration::from_millis(2)).await;
        Some(Stack {
            described: serde_json::from_str(&text).unwrap(),
            built: file.with_file_name("build"),
            http: Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap(),
            acks: BTreeMap::new(),
            first,
            next: first,
            scratch: tempfile::tempdir().unwrap(),
            _alone: alone,
        })
    }

    /// A value of `stack.json`.
    pub fn described(&self, name: &str) -> &str {
        self.described[name].as_str().unwrap_or_else(|| panic!("stack.json has no {name}"))
    }

    /// A number that no other post in the lake has.
    pub fn number(&mut self) -> i64 {
        self.next += 1;
        assert!(self.numbers().contains(&(self.next - 1)), "a test has {NUMBERS} numbers");
        self.next - 1
    }

    /// All numbers of this test.
    pub fn numbers(&self) -> Range<i64> {
        self.first..self.first + NUMBERS
    }

    /// A folder that is removed at the end of the test.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.scratch.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Sends a request to ingest.
    pub async fn send(&mut self, request: &HttpRequest) -> Answer {
        let url = format!("{}{}", self.described("ingest_url"), request.path);
        let mut builder = self.http.request(request.method.clone(), url).body(request.body.clone());
        for (name, value) in &request.headers {
            builder = builder.header(*name, *value);
        }
        let answer = answer(builder).await;
        if let Some(acks) = answer.headers.get("pinlake-ack") {
            self.acknowledge(acks.to_str().unwrap());
        }
        answer
    }

    /// Records an acknowledgement, to wait for it.
    pub fn acknowledge(&mut self, header: &str) {
        // A test waits for each response, so later ones have higher numbers.
        self.acks.extend(acks(header).map(|(shard, sequence)| (shard.to_owned(), sequence.to_owned())));
    }

    /// Runs `pinlake replay` over a folder and returns its output.
    pub fn replay(&mut self, rows: &Path, options: &[&str]) -> Value {
        let acks = self.acks_file();
        let mut replay = self.pinlake("replay");
        replay.args(["--to", self.described("ingest_url"), "--from"]).arg(rows).arg("--acks").arg(&acks);
        let printed = serde_json::from_str(&output(replay.args(options))).unwrap();
        self.acknowledge_file();
        printed
    }

    /// Waits until all acknowledged records of this test are in their tables or in quarantine.
    pub fn drain(&self) {
        let mut wait = self.pinlake("wait");
        wait.args(["--lake", self.described("lake"), "--stream", self.described("stream")]);
        wait.args(["--timeout", DRAIN_SECONDS, "--acks"]).arg(self.acks_file());
        output(&mut wait);
    }

    /// Reads the acknowledgements that a client wrote to [`Stack::acks_file`].
    pub fn acknowledge_file(&mut self) {
        let file = self.scratch.path().join("acks.json");
        self.acks = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    }

    /// The file of this test's acknowledgements.
    pub fn acks_file(&self) -> PathBuf {
        let file = self.scratch.path().join("acks.json");
        fs::write(&file, json!(self.acks).to_string()).unwrap();
        file
    }

    /// `pinlake results` as JSON.
    pub fn results(&self) -> Value {
        let mut results = self.pinlake("results");
        results.args(["--format", "json", "--lake", self.described("lake")]);
        serde_json::from_str(&output(&mut results)).unwrap()
    }

    /// `pinlake analyse` as JSON.
    pub fn analyse(&self, options: &[&OsStr]) -> Value {
        let mut analyse = self.pinlake("analyse");
        analyse.args(["--format", "json", "--lake", self.described("lake")]);
        serde_json::from_str(&output(analyse.args(options))).unwrap()
    }

    /// Runs queries of the test: (result, SQL).
    fn ask(&self, queries: &[(String, String)]) -> Value {
        let folder = folder_of(queries);
        self.analyse(&["--queries".as_ref(), folder.path().as_os_str()])
    }

    /// All columns of this test's rows, by dataset, with the versions of the tables.
    pub fn tables(&self) -> Value {
        self.rows(self.numbers())
    }

    /// All columns of the rows with these numbers, by dataset, with the versions of the tables.
    pub fn rows(&self, numbers: Range<i64>) -> Value {
        sorted(self.ask(&selections(&number_condition(numbers))))
    }

    /// The rows of quarantine with the bytes `raws`, as JSON objects, by their bytes.
    pub fn quarantined(&self, raws: &[&str]) -> BTreeMap<String, Vec<Value>> {
        let asked = self.ask(&[("quarantine".to_owned(), "SELECT * FROM quarantine".to_owned())]);
        let columns = asked["quarantine"]["columns"].as_array().unwrap();
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for cells in asked["quarantine"]["rows"].as_array().unwrap() {
            let named = columns.iter().map(|column| column.as_str().unwrap().to_owned());
            let row: Value = named.zip(cells.as_array().unwrap().iter().cloned()).collect();
            let raw = STANDARD.decode(row["raw"].as_str().unwrap()).unwrap();
            if let Some(raw) = raws.iter().find(|known| known.as_bytes() == raw) {
                found.entry((*raw).to_owned()).or_default().push(row);
            }
        }
        found
    }

    /// Runs the ten queries over this test's rows only.
    pub fn answers_over_own_rows(&self) -> Value {
        let own = number_condition(self.numbers());
        let own = DATASETS.map(|dataset| format!("{dataset} AS (SELECT * FROM {dataset} {own})")).join(", ");
        let mut queries = Vec::new();
        for entry in fs::read_dir(repository("queries")).unwrap() {
            let path = entry.unwrap().path();
            let result = path.file_stem().unwrap().to_str().unwrap().to_owned();
            // `<result>.<engine>.sql` is for another engine.
            if result.contains('.') {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let sql = text.lines().skip_while(|line| line.starts_with("--")).collect::<Vec<_>>().join("\n");
            let sql = match sql.strip_prefix("WITH ") {
                Some(rest) => format!("WITH {own}, {rest}"),
                None => format!("WITH {own} {sql}"),
            };
            queries.push((result, sql));
        }
        self.ask(&queries)
    }

    /// Invokes a function by its name in `stack.json`.
    pub async fn invoke(&self, function: &str, event: Value) -> Value {
        self.invoke_named(self.functions()[function].as_str().unwrap(), event).await
    }

    /// Invokes a function by its name on the stand-in.
    pub async fn invoke_named(&self, name: &str, event: Value) -> Value {
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.described("endpoint"));
        let answer = answer(self.http.post(url).body(event.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(!answer.headers.contains_key("x-amz-function-error"), "{}", answer.body);
        answer.body
    }

    /// An item of the results table; its attributes are strings and numbers.
    pub async fn result_item(&self, result: &str, run: &str) -> Value {
        let key = json!({ "result": { "S": result }, "run": { "S": run } });
        let request = json!({ "TableName": self.described("results_table"), "Key": key });
        self.aws("DynamoDB_20120810.GetItem", request).await["Item"].clone()
    }

    /// Calls a JSON API by its target.
    pub async fn aws(&self, target: &str, request: Value) -> Value {
        let request = self
            .http
            .post(self.described("endpoint"))
            .header("X-Amz-Target", target)
            .header("Content-Type", "application/x-amz-json-1.1")
            .body(request.to_string());
        let answer = answer(request).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        answer.body
    }

    /// Asks the report, with `If-None-Match` if there is a tag.
    pub async fn report(&self, path: &str, tag: Option<&str>) -> Answer {
        let mut request = self.http.get(format!("{}{path}", self.described("report_url")));
        if let Some(tag) = tag {
            request = request.header("If-None-Match", tag);
        }
        answer(request).await
    }

    /// Reads a JSON object of the lake's bucket.
    pub async fn object(&self, key: &str) -> Value {
        let url = format!("{}/{}/{key}", self.described("endpoint"), self.described("bucket"));
        let answer = answer(self.http.get(url)).await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.body);
        answer.body
    }

    /// Puts an object into the lake's bucket. The key is URL-encoded.
    pub async fn put_object(&self, key: &str, body: String) {
        let url = format!("{}/{}/{key}", self.described("endpoint"), self.described("bucket"));
        let answer = answer(self.http.put(url).body(body)).await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.body);
    }

    /// Puts a file with one user into the inbox and waits for its row.
    pub async fn takes_file(&mut self, key: &str, contents: impl Fn(i64) -> String) {
        let number = self.number();
        self.put_object(&key.replace("{}", &number.to_string()), contents(number)).await;
        for _ in 0..FILE_SECONDS {
            if self.rows(number..number + 1)["user"]["rows"].as_array().unwrap().len() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{key} is not taken after {FILE_SECONDS} s");
    }

    /// Removes an object of the lake's bucket.
    pub async fn delete_object(&self, key: &str) {
        let url = format!("{}/{}/{key}", self.described("endpoint"), self.described("bucket"));
        let answer = answer(self.http.delete(url)).await;
        assert!(answer.status < 300, "{key}: {}", answer.body);
    }

    /// The keys of the lake's bucket below a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let (endpoint, bucket) = (self.described("endpoint"), self.described("bucket"));
        let url = format!("{endpoint}/{bucket}?list-type=2&prefix={prefix}");
        let answer = answer(self.http.get(url)).await;
        let listed = answer.body.as_str().unwrap_or_else(|| panic!("{prefix}: {}", answer.status));
        assert!(!listed.contains("<IsTruncated>true"), "{prefix} has more keys than one page");
        let keys = listed.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        keys.collect()
    }

    /// The deployed program of a function, beside `stack.json`.
    pub fn deployed(&self, function: &str) -> PathBuf {
        self.built.join(function).join("bootstrap")
    }

    /// The names of the functions.
    pub fn functions(&self) -> &Value {
        &self.described["functions"]
    }

    /// The program, connected to the stand-in only.
    pub fn pinlake(&self, subcommand: &str) -> Command {
        let mut command = pinlake();
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .env("AWS_ENDPOINT_URL", self.described("endpoint"))
            .env("AWS_REGION", self.described("region"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost")
            .arg(subcommand);
        command
    }
}

/// A lake in a folder, loaded from files with the same rows.
pub struct FolderLake {
    folder: TempDir,
    pub counts: Counts,
}

impl FolderLake {
    pub fn load(rows: &Path) -> FolderLake {
        let folder = tempfile::tempdir().unwrap();
        let counts = load(folder.path(), &[], &[rows.to_owned()]);
        FolderLake { folder, counts }
    }

    pub fn analyse(&self) -> Value {
        program::analyse(self.folder.path(), &[])
    }

    /// Like [`Stack::tables`].
    pub fn tables(&self) -> Value {
        let queries = folder_of(&selections(""));
        sorted(program::analyse(self.folder.path(), &["--queries".as_ref(), queries.path().as_os_str()]))
    }
}

/// The number of results of the analyses: the files of `queries/`, without those that replace another for one engine.
pub fn count_results() -> usize {
    let names = fs::read_dir(repository("queries")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.matches('.').count() == 1).count()
}

/// The rows of one result.
pub fn rows_of<'a>(results: &'a Value, name: &str) -> &'a [Value] {
    results[name]["rows"].as_array().unwrap()
}

/// Compares columns and rows of every result, but not versions.
pub fn assert_same_answers(ours: &Value, theirs: &Value) {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, our) in ours {
        assert_eq!(our["columns"], theirs[name]["columns"], "{name}");
        assert_eq!(our["rows"], theirs[name]["rows"], "{name}");
    }
}

/// Sorts the rows of the results.
fn sorted(mut results: Value) -> Value {
    for (_, result) in results.as_object_mut().unwrap() {
        result["rows"].as_array_mut().unwrap().sort_by_cached_key(Value::to_string);
    }
    results
}

fn number_condition(numbers: Range<i64>) -> String {
    format!("WHERE ind >= {} AND ind < {}", numbers.start, numbers.end)
}

fn selections(condition: &str) -> [(String, String); 3] {
    DATASETS.map(|dataset| (dataset.to_owned(), format!("SELECT * FROM {dataset} {condition}")))
}

/// A folder with a file for each query.
fn folder_of(queries: &[(String, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in queries {
        fs::write(folder.path().join(name).with_extension("sql"), sql).unwrap();
    }
    folder
}

fn acks(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(',').filter_map(|ack| ack.split_once('='))
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}
