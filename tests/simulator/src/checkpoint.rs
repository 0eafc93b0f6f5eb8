//! Checkpoints as other programs write them, built from log entries without a Delta library.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::rng::SimRng;

/// The form of a checkpoint ("Checkpoints", Delta transaction log protocol).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointForm {
    /// One file, `<version>.checkpoint.parquet`.
    Classic,
    /// Several, `<version>.checkpoint.<part>.<parts>.parquet`.
    Parts,
    /// A name with a UUID (V2), which the protocol of the table does not include.
    Unknown,
    /// No file: only a hint, which points nowhere or cannot be read.
    Missing,
}

/// The files of a checkpoint and its hint.
pub struct Checkpoint {
    /// Name in the log, and bytes.
    pub files: Vec<(String, Bytes)>,
    /// The contents of `_last_checkpoint`.
    pub hint: String,
}

/// Builds the checkpoint of `version` from the log entries up to it.
pub fn build_checkpoint(
    version: u64,
    entries: &[Bytes],
    form: CheckpointForm,
    rng: &SimRng,
) -> Option<Checkpoint> {
    let actions = reconcile_actions(entries);
    let name = |rest: &str| format!("{version:020}.checkpoint.{rest}");
    let size = actions.len();
    let plain = json!({"version": version, "size": size});
    Some(match form {
        CheckpointForm::Classic => {
            let bytes = write_parquet(&actions, false)?;
            Checkpoint { files: vec![(name("parquet"), bytes)], hint: plain.to_string() }
        }
        CheckpointForm::Parts => {
            let parts = actions.len().clamp(1, 2 + rng.index(2));
            let length = actions.len().div_ceil(parts);
            let chunks: Vec<&[Value]> = actions.chunks(length).collect();
            let parts = chunks.len();
            let files = chunks.iter().enumerate().map(|(at, part)| {
                Some((name(&format!("{:010}.{parts:010}.parquet", at + 1)), write_parquet(part, false)?))
            });
            let hint = json!({"version": version, "size": size, "parts": parts});
            Checkpoint { files: files.collect::<Option<_>>()?, hint: hint.to_string() }
        }
        CheckpointForm::Unknown => {
            let file = name("80a083e8-7026-4e79-81be-64bd76c43a11.parquet");
            let hint =
                json!({"version": version, "size": size, "v2Checkpoint": {"path": file, "sizeInBytes": 1}});
            let mut actions = actions;
            actions.push(json!({"checkpointMetadata": {"version": version}}));
            Checkpoint { files: vec![(file, write_parquet(&actions, true)?)], hint: hint.to_string() }
        }
        CheckpointForm::Missing => {
            let beyond = json!({"version": version + 100, "size": 1});
            let hints = [plain.to_string(), beyond.to_string(), "{\"version\":".to_owned(), String::new()];
            Checkpoint { files: Vec::new(), hint: hints[rng.index(hints.len())].clone() }
        }
    })
}

/// The actions that are in effect ("Action Reconciliation", Delta transaction log protocol).
fn reconcile_actions(entries: &[Bytes]) -> Vec<Value> {
    let (mut protocol, mut metadata) = (None, None);
    let (mut transactions, mut files) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        for line in String::from_utf8_lossy(entry).lines() {
            let Ok(action) = serde_json::from_str::<Value>(line) else { continue };
            let text = |pointer: &str| action.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            if action.get("protocol").is_some() {
                protocol = Some(action);
            } else if action.get("metaData").is_some() {
                metadata = Some(action);
            } else if let Some(id) = text("/txn/appId") {
                transactions.insert(id, action);
            } else if let Some(path) = text("/add/path") {
                files.insert(path, action);
            } else if let Some(path) = text("/remove/path") {
                files.remove(&path);
            }
        }
    }
    let first = protocol.into_iter().chain(metadata);
    first.chain(transactions.into_values()).chain(files.into_values()).collect()
}

fn write_parquet(actions: &[Value], v2: bool) -> Option<Bytes> {
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    let schema = Arc::new(checkpoint_schema(v2));
    let decoder = arrow::json::ReaderBuilder::new(schema.clone()).build(lines.as_bytes()).ok()?;
    let batches: Vec<RecordBatch> = decoder.collect::<Result<_, _>>().ok()?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).ok()?;
    for batch in &batches {
        writer.write(batch).ok()?;
    }
    writer.close().ok()?;
    Some(bytes.into())
}

fn checkpoint_schema(v2: bool) -> Schema {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    let of = |fields: Vec<Field>| DataType::Struct(fields.into());
    let texts = || DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let map = || {
        let entries = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, true),
        ]);
        DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
    };
    let (text, long, int, truth) = (DataType::Utf8, DataType::Int64, DataType::Int32, DataType::Boolean);
    let mut fields = vec![
        field("txn", of(vec![field("appId", text.clone()), field("version", long.clone())])),
        field(
            "add",
            of(vec![
                field("path", text.clone()),
                field("partitionValues", map()),
                field("size", long.clone()),
                field("modificationTime", long.clone()),
                field("dataChange", truth.clone()),
                field("stats", text.clone()),
            ]),
        ),
        field(
            "remove",
            of(vec![
                field("path", text.clone()),
                field("deletionTimestamp", long.clone()),
                field("dataChange", truth),
            ]),
        ),
        field(
            "metaData",
            of(vec![
                field("id", text.clone()),
                field("name", text.clone()),
                field("description", text.clone()),
                field("format", of(vec![field("provider", text.clone()), field("options", map())])),
                field("schemaString", text),
                field("partitionColumns", texts()),
                field("configuration", map()),
                field("createdTime", long.clone()),
            ]),
        ),
        field(
            "protocol",
            of(vec![
                field("minReaderVersion", int.clone()),
                field("minWriterVersion", int),
                field("readerFeatures", texts()),
                field("writerFeatures", texts()),
            ]),
        ),
    ];
    if v2 {
        fields.push(field("checkpointMetadata", of(vec![field("version", long)])));
    }
    Schema::new(fields)
}
