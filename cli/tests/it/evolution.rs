//! Contracts that change: `pinlake check --against`, `load`, `history` and `analyse --as-of`.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Ran, pinlake};

const VISITOR: &str = "[[column]]\nname = \"visitor\"\ntype = \"int64\"\n";
const PAGE: &str = "[[column]]\nname = \"page\"\ntype = \"string\"\n";
const COUPON: &str = "[[column]]\nname = \"coupon\"\ntype = \"string\"\n";

/// Writes the contract of the dataset `t`.
fn deploy(folder: &Path, version: u32, columns: &[&str]) {
    let contracts = folder.join("datasets");
    std::fs::create_dir_all(&contracts).unwrap();
    let text = format!("name = \"t\"\nversion = {version}\n{}", columns.concat());
    std::fs::write(contracts.join("t.toml"), text).unwrap();
}

async fn run(folder: &Path, args: &str) -> Ran {
    pinlake(folder, &args.split(' ').collect::<Vec<_>>()).await
}

async fn load(folder: &Path, file: &str) -> Value {
    let ran = run(folder, &format!("load --lake lake --datasets datasets --dataset t {file}")).await;
    ran.assert_code(0);
    let mut line: Value = serde_json::from_str(&ran.stdout).unwrap();
    let fields = line.as_object_mut().unwrap();
    fields.retain(|name, _| !["bytes", "seconds", "dataset"].contains(&name.as_str()));
    line
}

/// The class of the dataset `t`, and the exit code.
async fn check(folder: &Path) -> (String, Option<i32>, String) {
    let ran = run(folder, "check datasets --against lake --format json").await;
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let report = lines.into_iter().find(|line| line["dataset"] == "t").unwrap();
    (report["class"].as_str().unwrap().to_owned(), ran.code, report["changes"].to_string())
}

async fn analyse(folder: &Path, more: &str) -> Value {
    let args = format!("analyse --lake lake --datasets datasets --queries queries --format json{more}");
    let ran = run(folder, &args).await;
    ran.assert_code(0);
    let results: Value = serde_json::from_str(&ran.stdout).unwrap();
    results["coupons"]["rows"].clone()
}

#[tokio::test]
async fn a_contract_is_checked_deployed_and_traced() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let row = |visitor: u32, more: &str| format!("{{\"visitor\":{visitor},\"page\":\"p\"{more}}}\n");
    std::fs::write(folder.join("a.ndjson"), row(1, ",\"coupon\":\"x\"") + &row(2, "")).unwrap();
    std::fs::write(folder.join("b.ndjson"), row(3, ",\"coupon\":\"y\"")).unwrap();
    std::fs::create_dir(folder.join("queries")).unwrap();
    let sql = "SELECT count(*) AS n, count(coupon) AS coupons FROM t";
    std::fs::write(folder.join("queries/coupons.sql"), sql).unwrap();
    std::fs::create_dir(folder.join("lake")).unwrap();

    deploy(folder, 1, &[VISITOR, PAGE]);
    assert_eq!(check(folder).await.0, "new");
    assert_eq!(load(folder, "a.ndjson").await, json!({"read":2,"inserted":2,"duplicates":0,"quarantined":0}));
    assert_eq!(check(folder).await, ("unchanged".to_owned(), Some(0), "[]".to_owned()));

    deploy(folder, 1, &[PAGE, VISITOR, COUPON]);
    let (class, code, why) = check(folder).await;
    assert_eq!((class.as_str(), code), ("refused", Some(1)));
    assert!(why.contains("write version = 2"), "{why}");
    deploy(folder, 2, &[PAGE, VISITOR, COUPON]);
    let (class, code, why) = check(folder).await;
    assert_eq!((class.as_str(), code), ("compatible", Some(0)));
    assert!(why.contains("added; null in rows from before"), "{why}");

    let again = json!({"read":2,"inserted":0,"superseded":1,"duplicates":1,"quarantined":0});
    assert_eq!(load(folder, "a.ndjson").await, again);
    assert_eq!(load(folder, "b.ndjson").await, json!({"read":1,"inserted":1,"duplicates":0,"quarantined":0}));
    assert_eq!(analyse(folder, "").await, json!([[3, 2]]));
    assert_eq!(analyse(folder, " --as-of 3").await, json!([[2, 1]]));
    assert_eq!(analyse(folder, " --as-of 2").await, json!([[2, 0]]), "the column is there, without values");
    assert_eq!(analyse(folder, " --as-of 2099-01-01T00:00:00Z").await, json!([[3, 2]]));

    deploy(folder, 3, &[PAGE, COUPON]);
    assert_eq!(check(folder).await.0, "rebuild");
    // Records are known until then, too.
    let known = json!({"read":1,"inserted":0,"duplicates":1,"quarantined":0});
    assert_eq!(load(folder, "b.ndjson").await, known);

    deploy(folder, 2, &[PAGE, VISITOR, COUPON]);
    let ran = run(folder, "history --lake lake --datasets datasets --dataset t --format json").await;
    ran.assert_code(0);
    let history: Value = serde_json::from_str(&ran.stdout).unwrap();
    let column =
        |name: &str| history["t"]["columns"].as_array().unwrap().iter().position(|own| own == name).unwrap();
    let read = |name: &str| -> Vec<Value> {
        history["t"]["rows"].as_array().unwrap().iter().map(|row| row[column(name)].clone()).collect()
    };
    assert_eq!(read("version"), [json!(4), json!(3), json!(2), json!(1), json!(0)]);
    assert_eq!(read("inserted"), [json!(1), json!(0), json!(0), json!(2), json!(0)]);
    assert_eq!(read("superseded"), [json!(0), json!(1), json!(0), json!(0), json!(0)]);
    assert_eq!(read("changes_table"), [json!(false), json!(false), json!(true), json!(false), json!(true)]);
    assert_eq!(read("contract"), ["t@2", "t@2", "t@2", "t@1", "t@1"].map(Value::from));
    assert_eq!(read("files_removed")[1], 1);

    // Built again without the column, after the contract is deployed.
    deploy(folder, 3, &[PAGE, COUPON]);
    let (class, code, changes) = check(folder).await;
    assert_eq!((class.as_str(), code), ("rebuild", Some(0)), "{changes}");
    // Also after rows of the contract.
    std::fs::write(folder.join("c.ndjson"), "{\"page\":\"q\"}\n").unwrap();
    assert_eq!(load(folder, "c.ndjson").await, json!({"read":1,"inserted":1,"duplicates":0,"quarantined":0}));
    let (class, code, changes) = check(folder).await;
    assert_eq!((class.as_str(), code), ("rebuild", Some(0)), "{changes}");
    assert!(changes.contains("the table has it until a rebuild"), "{changes}");
    let ran = run(folder, "rebuild --lake lake --datasets datasets --dataset t").await;
    ran.assert_code(0);
    let mut done: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(done.as_object_mut().unwrap().remove("seconds").is_some());
    let expected =
        json!({"dataset":"t","read":4,"rows":4,"duplicates":0,"files_removed":4,"files_added":1,"version":6});
    assert_eq!(done, expected);
    assert_eq!(check(folder).await.0, "unchanged");
    assert_eq!(analyse(folder, "").await, json!([[4, 2]]));
    let again = json!({"read":1,"inserted":0,"duplicates":1,"quarantined":0});
    assert_eq!(load(folder, "b.ndjson").await, again);
    let ran = run(folder, "rebuild --lake lake --datasets datasets --dataset nosuch").await;
    ran.assert_code(2);
}

/// A contract that cleaned records and whose rows the table refused is not the one to compare with.
#[tokio::test]
async fn a_contract_is_compared_with_the_one_of_the_rows() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("a.ndjson"), "{\"visitor\":1,\"page\":\"p\"}\n").unwrap();
    deploy(folder, 1, &[VISITOR, PAGE]);
    load(folder, "a.ndjson").await;
    deploy(folder, 2, &[&VISITOR.replace("int64", "string"), PAGE]);
    run(folder, "load --lake lake --datasets datasets --dataset t a.ndjson").await.assert_code(1);
    assert_eq!(check(folder).await.0, "rebuild");
    deploy(folder, 3, &[VISITOR, PAGE]);
    assert_eq!(check(folder).await, ("unchanged".to_owned(), Some(0), "[]".to_owned()));
    deploy(folder, 3, &[PAGE, VISITOR]);
    let (class, code, changes) = check(folder).await;
    assert_eq!((class.as_str(), code), ("compatible", Some(0)), "{changes}");
    assert!(changes.contains("columns are in another order"), "{changes}");
}

/// Changes of rows, in any sequence, and the true state in the end.
#[tokio::test]
async fn the_latest_change_of_each_row_is_loaded() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let contracts = folder.join("datasets");
    std::fs::create_dir_all(&contracts).unwrap();
    let contract = "name = \"t\"\nversion = 1\nidentity = [\"id\"]\n\
                    keep = { latest_by = [\"at\"], delete_when = { __deleted = true } }\n\
                    [[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n\
                    [[column]]\nname = \"at\"\ntype = \"int64\"\n\
                    [[column]]\nname = \"coupon\"\ntype = \"string\"\n";
    std::fs::write(contracts.join("t.toml"), contract).unwrap();
    std::fs::create_dir(folder.join("queries")).unwrap();
    std::fs::write(folder.join("queries/coupons.sql"), "SELECT id, coupon FROM t ORDER BY id").unwrap();
    let changes = [
        "{\"id\":1,\"at\":2,\"coupon\":\"b\",\"__deleted\":\"false\"}",
        "{\"id\":2,\"at\":5,\"__deleted\":\"true\"}",
        "null",
        "{\"id\":1,\"at\":1,\"coupon\":\"a\"}",
        "{\"id\":2,\"at\":4,\"coupon\":\"late\"}",
        "{\"id\":3,\"at\":1,\"coupon\":\"c\"}",
    ];
    std::fs::write(folder.join("a.ndjson"), changes.join("\n")).unwrap();
    std::fs::write(
        folder.join("b.ndjson"),
        "{\"id\":3,\"at\":2,\"__deleted\":true}\n{\"id\":1,\"at\":3,\"coupon\":\"d\"}",
    )
    .unwrap();
    let first =
        json!({"read":5,"inserted":2,"superseded":0,"duplicates":0,"outdated":2,"deleted":1,"quarantined":0});
    assert_eq!(load(folder, "a.ndjson").await, first);
    assert_eq!(analyse(folder, "").await, json!([[1, "b"], [3, "c"]]));
    let second =
        json!({"read":2,"inserted":0,"superseded":1,"duplicates":0,"outdated":0,"deleted":1,"quarantined":0});
    assert_eq!(load(folder, "b.ndjson").await, second);
    assert_eq!(analyse(folder, "").await, json!([[1, "d"]]));
    let again =
        json!({"read":5,"inserted":0,"superseded":0,"duplicates":1,"outdated":4,"deleted":0,"quarantined":0});
    assert_eq!(load(folder, "a.ndjson").await, again);
}

#[tokio::test]
async fn a_table_that_refuses_rows_stops_no_other() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("t.ndjson"), "{\"visitor\":1,\"page\":\"1\"}\n").unwrap();
    deploy(folder, 1, &[VISITOR, PAGE]);
    load(folder, "t.ndjson").await;
    // A narrower type needs a rebuild.
    let route = "[route]\nshape = [\"visitor\"]\n";
    deploy(folder, 2, &[route, VISITOR, "[[column]]\nname = \"page\"\ntype = \"int64\"\n"]);
    let other =
        "name = \"u\"\nversion = 1\n[route]\nshape = [\"n\"]\n[[column]]\nname = \"n\"\ntype = \"int64\"\n";
    std::fs::write(folder.join("datasets/u.toml"), other).unwrap();
    std::fs::write(folder.join("u.ndjson"), "{\"n\":1}\n{\"n\":2}\n").unwrap();
    let ran = run(folder, "load --lake lake --datasets datasets t.ndjson u.ndjson").await;
    ran.assert_code(1);
    let line: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&line["dataset"], &line["read"], &line["inserted"]), (&json!("u"), &json!(2), &json!(2)));
    assert!(
        ran.stderr.contains("the rows of t were not all inserted") && ran.stderr.contains("page"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_change_of_type_is_refused_where_values_would_be_lost() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("a.ndjson"), "{\"visitor\":9007199254740993,\"page\":\"p\"}\n").unwrap();
    deploy(folder, 1, &[VISITOR, PAGE]);
    load(folder, "a.ndjson").await;
    for (column, words) in [
        (VISITOR.replace("int64", "float64"), "9007199254740993 would lose digits"),
        (VISITOR.replace("int64", "boolean"), "a rebuild does not convert"),
    ] {
        deploy(folder, 2, &[&column, PAGE]);
        let (class, code, changes) = check(folder).await;
        assert_eq!((class.as_str(), code), ("refused", Some(1)), "{changes}");
        assert!(changes.contains(words), "{changes}");
    }
    deploy(folder, 2, &[&VISITOR.replace("int64", "decimal(19,0)"), PAGE]);
    assert_eq!(check(folder).await.0, "compatible");
}

/// Texts of a table are cleaned again, as those of records, so a record that is sent again is known.
#[tokio::test]
async fn texts_become_times_numbers_and_booleans() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let rows =
        "{\"at\":\"28.08.20\",\"n\":\"007\",\"paid\":\"ja\"}\n{\"at\":null,\"n\":\"-\",\"paid\":\"nein\"}\n";
    std::fs::write(folder.join("a.ndjson"), rows).unwrap();
    let texts = ["at", "n", "paid"].map(|name| format!("[[column]]\nname = \"{name}\"\ntype = \"string\"\n"));
    deploy(folder, 1, &texts.each_ref().map(String::as_str));
    load(folder, "a.ndjson").await;
    let typed = [
        "[[column]]\nname = \"at\"\ntype = \"timestamp\"\nformats = [\"%d.%m.%y\"]\n",
        "[[column]]\nname = \"n\"\ntype = \"int64\"\nnull = [\"-\"]\n",
        "[[column]]\nname = \"paid\"\ntype = \"boolean\"\ntrue = [\"ja\"]\nfalse = [\"nein\"]\n",
    ];
    deploy(folder, 2, &typed);
    assert_eq!(check(folder).await.0, "rebuild");
    run(folder, "rebuild --lake lake --dataset t --datasets datasets").await.assert_code(0);
    let again = load(folder, "a.ndjson").await;
    assert_eq!(again, json!({"read": 2, "inserted": 0, "duplicates": 2, "quarantined": 0}));
}
