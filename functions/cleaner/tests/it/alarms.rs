//! The failure that an alarm of `template.yaml` watches is caused here, and the program emits the alarm's metric.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::emitted_metrics::{emitted_metrics, value_of};
use crate::runtime_api::Function;

#[test]
fn cleaner_retries_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let settings = [("PINLAKE_LAKE", lake.to_str().unwrap())];
    let refuse = Arc::new(|_: &str| ("500 Internal Server Error", json!({})));
    let program = env!("CARGO_BIN_EXE_cleaner");
    let function = Function::start(program, folder.path().to_str().unwrap(), &settings, refuse);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/cleaner_kinesis.json");
    let event: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let landed = function.handle(event.clone()).unwrap();
    assert_eq!(landed["batchItemFailures"], json!([]));
    // From here on every put fails.
    std::fs::remove_dir_all(&lake).unwrap();
    std::fs::write(&lake, "").unwrap();
    let failed = function.handle(event).unwrap();
    assert_eq!(failed["batchItemFailures"].as_array().unwrap().len(), 1);
    assert_eq!(value_of(&emitted_metrics(&function.end()), "batches_failed", &["cleaner"]), Some(1.0));
}
