//! Feeds of other teams: rows that change, and contracts that change while they do.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use pinlake_env::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{analyse, beside, load, output, pinlake};

fn read_lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A lake and its contracts in a folder.
struct Trial {
    folder: TempDir,
}

impl Trial {
    fn new(query: &str) -> Trial {
        let trial = Trial { folder: TempDir::new().unwrap() };
        for name in ["datasets", "queries"] {
            fs::create_dir(trial.path(name)).unwrap();
        }
        fs::write(trial.path("queries/all.sql"), query).unwrap();
        trial
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn deploy(&self, contract: &str) {
        fs::write(self.path("datasets/orders.toml"), contract).unwrap();
    }

    /// Loads records and returns the counts.
    fn load(&self, records: &[String]) -> Value {
        let file = self.path("records.ndjson");
        fs::write(&file, records.join("\n")).unwrap();
        let datasets = self.path("datasets");
        let options = ["--dataset".as_ref(), "orders".as_ref(), "--datasets".as_ref(), datasets.as_os_str()];
        load(&self.path("lake"), &options, &[file])["orders"].clone()
    }

    fn rows(&self) -> Vec<Value> {
        let (datasets, queries) = (self.path("datasets"), self.path("queries"));
        let options: [&OsStr; 4] =
            ["--datasets".as_ref(), datasets.as_os_str(), "--queries".as_ref(), queries.as_os_str()];
        analyse(&self.path("lake"), &options)["all"]["rows"].as_array().unwrap().clone()
    }
}

fn shuffle(records: &mut [String], rng: &Rng) {
    for at in (1..records.len()).rev() {
        records.swap(at, rng.below(at + 1));
    }
}

const ORDERS: &str = r#"
name = "orders"
version = 1
description = "The orders of a shop as they are now, from its change data capture."
identity = ["order_id"]
keep = { latest_by = ["ts_ms", "pos"], delete_when = { op = "d" } }

[[column]]
name = "order_id"
type = "int64"
from = ["after.order_id", "before.order_id"]
required = true

[[column]]
name = "ts_ms"
type = "int64"

[[column]]
name = "pos"
type = "int64"
from = "source.pos"

[[column]]
name = "status"
type = "string"
from = "after.status"

[[column]]
name = "total"
type = "string"
from = "after.total"

[[column]]
name = "order_date"
type = "date"
from = "after.order_date"
formats = ["unix_days"]

[[column]]
name = "updated_at"
type = "timestamp"
from = "after.updated_at"
formats = ["unix_micros"]
"#;

#[test]
fn orders_reach_their_true_state_in_any_sequence() {
    let Some(feeds) = beside("feeds") else { return };
    let truth: BTreeMap<String, Value> =
        serde_json::from_str(&read_lines(&feeds.join("orders_truth.json.gz")).join("\n")).unwrap();
    let mut expected: Vec<Value> = truth
        .values()
        .map(|order| {
            let micros = order["updated_at"].as_i64().unwrap();
            json!([order["order_id"], order["status"], order["total"], order["order_date"], micros])
        })
        .collect();
    expected.sort_by_key(|row| row[0].as_i64());
    let records = read_lines(&feeds.join("orders_debezium.ndjson.gz"));
    let said = records.iter().filter(|record| record.as_str() != "null").count();
    for seed in 0..3 {
        let rng = Rng::seeded(seed);
        let trial = Trial::new(
            "SELECT order_id, status, total, arrow_cast(order_date, 'Int32') AS days, \
             CAST(updated_at AS BIGINT) AS micros FROM orders ORDER BY order_id",
        );
        trial.deploy(ORDERS);
        // Each record twice, in a sequence of its own, in four loads.
        let mut sent: Vec<String> = records.iter().chain(&records).cloned().collect();
        if seed > 0 {
            shuffle(&mut sent, &rng);
        }
        let mut read = 0;
        for part in sent.chunks(sent.len() / 4 + 1) {
            let counts = trial.load(part);
            assert_eq!(counts["quarantined"], 0, "{counts}");
            read += counts["read"].as_u64().unwrap();
        }
        assert_eq!(read, 2 * said as u64);
        assert_eq!(trial.rows(), expected, "seed {seed}");
    }
}

#[test]
fn orders_of_two_contracts_are_in_one_table() {
    let Some(feeds) = beside("feeds") else { return };
    let before = "name = \"orders\"\nversion = 1\nidentity = [\"order\"]\n\
                  [[column]]\nname = \"order\"\ntype = \"string\"\nfrom = \"orderNo\"\nrequired = true\n\
                  [[column]]\nname = \"state\"\ntype = \"string\"\n\
                  [[column]]\nname = \"quantity\"\ntype = \"int64\"\n";
    let after = before
        .replace("version = 1", "version = 2")
        .replace(
            "name = \"state\"\ntype = \"string\"",
            "name = \"state\"\ntype = \"string\"\nfrom = [\"state\", \"status\"]",
        )
        .replace("\"quantity\"\ntype = \"int64\"", "\"quantity\"\ntype = \"float64\"")
        + "[[column]]\nname = \"coupon\"\ntype = \"string\"\n";
    let trial = Trial::new("SELECT \"order\", state, quantity, coupon FROM orders ORDER BY \"order\"");
    let early = read_lines(&feeds.join("shop_orders.ndjson.gz"));
    let late = read_lines(&feeds.join("shop_orders_later.ndjson.gz"));
    trial.deploy(before);
    trial.load(&early);
    trial.deploy(&after);
    let datasets = trial.path("datasets");
    let check = output(
        pinlake()
            .arg("check")
            .arg(&datasets)
            .arg("--against")
            .arg(trial.path("lake"))
            .args(["--format", "json"]),
    );
    let report = check.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let report = report.into_iter().find(|line| line["dataset"] == "orders").unwrap();
    assert_eq!(report["class"], "compatible", "{report}");
    let mut all: Vec<String> = early.iter().chain(&late).chain(&early).cloned().collect();
    shuffle(&mut all, &Rng::seeded(1));
    let counts = trial.load(&all);
    assert_eq!(counts["quarantined"], 0, "{counts}");
    let mut expected: BTreeMap<String, Value> = BTreeMap::new();
    for record in early.iter().chain(&late) {
        let record: Value = serde_json::from_str(record).unwrap();
        let state = if record["state"].is_null() { &record["status"] } else { &record["state"] };
        let row = json!([record["orderNo"], state, record["quantity"].as_f64(), record["coupon"]]);
        expected.entry(record["orderNo"].as_str().unwrap().to_owned()).or_insert(row);
    }
    assert_eq!(trial.rows(), expected.into_values().collect::<Vec<_>>());
}
