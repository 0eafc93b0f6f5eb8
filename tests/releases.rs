//! Contracts that change while a stack runs: the functions take a release over, and records that come again are the same rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    program::{output, repository},
    requests::HttpRequest,
    stack::Stack,
};

/// Functions look for a release every 30 seconds, and a client asks several of them.
const SECONDS_OF_SWITCH: u64 = 60;

/// The built-in contracts and one of orders. `columns` are those behind the number and the quantity.
fn write_contracts(folder: PathBuf, dataset: &str, version: u32, quantity: &str, columns: &str) -> PathBuf {
    for entry in fs::read_dir(repository("datasets")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let contract = format!(
        "name = \"{dataset}\"\nversion = {version}\n[route]\ntopics = [\"*.{dataset}\"]\n\
         [[column]]\nname = \"number\"\ntype = \"int64\"\nrequired = true\n\
         [[column]]\nname = \"quantity\"\ntype = \"{quantity}\"\n{columns}"
    );
    fs::write(folder.join(format!("{dataset}.toml")), contract).unwrap();
    folder
}

fn release(stack: &Stack, arguments: &[&str], contracts: Option<&Path>) {
    let mut release = stack.pinlake("release");
    release.args(arguments).args(["--lake", stack.described("lake")]);
    if let Some(contracts) = contracts {
        release.arg("--datasets").arg(contracts);
    }
    output(&mut release);
}

fn rows(stack: &Stack, dataset: &str, contracts: &Path) -> Vec<Value> {
    let queries = contracts.join("queries");
    fs::create_dir_all(&queries).unwrap();
    fs::write(queries.join("all.sql"), format!("SELECT * FROM {dataset} ORDER BY number")).unwrap();
    let options = ["--queries".as_ref(), queries.as_os_str(), "--datasets".as_ref(), contracts.as_os_str()];
    stack.analyse(&options)["all"]["rows"].as_array().unwrap().clone()
}

/// Sends the orders until `is_done` holds of the rows, and returns these.
async fn send_until(
    stack: &mut Stack,
    dataset: &str,
    contracts: &Path,
    orders: &[Value],
    is_done: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let body = json!({ "records": orders.iter().map(|order| json!({ "value": order })).collect::<Vec<_>>() });
    for _ in 0..SECONDS_OF_SWITCH / 3 {
        let answer = stack.send(&HttpRequest::kafka(&format!("0a1b.{dataset}"), &body)).await;
        if answer.status == 200 {
            stack.drain();
            let rows = rows(stack, dataset, contracts);
            if is_done(&rows) {
                return rows;
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    panic!("the functions have not taken the release over after {SECONDS_OF_SWITCH} s");
}

#[tokio::test]
async fn orders_gain_a_column_and_fractions_while_they_are_sent_again() {
    let Some(mut stack) = Stack::up().await else { return };
    let dataset = format!("order_{}", stack.number());
    let before = write_contracts(stack.folder("before"), &dataset, 1, "int64", "");
    let coupon = "[[column]]\nname = \"coupon\"\ntype = \"string\"\n";
    let after = write_contracts(stack.folder("after"), &dataset, 2, "float64", coupon);
    let order = |number: i64, quantity: f64| match number % 2 {
        0 => json!({ "number": number, "quantity": quantity, "coupon": format!("c{number}") }),
        _ => json!({ "number": number, "quantity": quantity as i64 }),
    };
    let old: Vec<Value> = (0..6).map(|number| order(number, 2.0)).collect();

    release(&stack, &["create"], Some(&before));
    let found = send_until(&mut stack, &dataset, &before, &old, |rows| rows.len() == 6).await;
    assert_eq!(found[4], json!([4, 2]));

    release(&stack, &["create"], Some(&after));
    let mut all: Vec<Value> = old.iter().rev().cloned().collect();
    all.extend([json!({ "number": 7, "quantity": 1.5 }), order(4, 2.0)]);
    let has_gained =
        |rows: &[Value]| rows.iter().any(|row| row[1] == json!(1.5)) && rows[4][2] == json!("c4");
    let found = send_until(&mut stack, &dataset, &after, &all, has_gained).await;
    let expected = (0..6).map(|number| match number % 2 {
        0 => json!([number, 2.0, format!("c{number}")]),
        _ => json!([number, 2.0, null]),
    });
    assert_eq!(found, expected.chain([json!([7, 1.5, null])]).collect::<Vec<_>>());

    // Some functions have the former contracts soon, others still the later ones: no row is doubled.
    release(&stack, &["rollback"], None);
    for _ in 0..2 {
        assert_eq!(send_until(&mut stack, &dataset, &after, &old, |_| true).await, found);
    }
    release(&stack, &["use", "built-in"], None);
}
