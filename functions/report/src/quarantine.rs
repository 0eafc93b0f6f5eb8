//! Quarantined records, for those who may see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::SecondsFormat;
use pinlake_lake::QuarantinedRecord;
use pinlake_report::Answer;
use serde_json::{Value, json};

/// The most records of one answer. Each has at most 8 KiB of its bytes.
pub(crate) const MAX_RECORDS: usize = 200;

/// A record as JSON. `raw` is its text; bytes that are no UTF-8 are in `raw_base64`.
pub(crate) fn to_json(record: &QuarantinedRecord) -> Value {
    let (text, bytes) = match to_text(record) {
        Some(text) => (Some(text), None),
        None => (None, Some(BASE64.encode(&record.raw))),
    };
    json!({
        "dataset": record.dataset,
        "reason": record.reason,
        "detail": record.detail,
        "source": record.source,
        "position": record.position,
        "arrived_at": record.arrived_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        "size": record.size,
        "raw": text,
        "raw_base64": bytes,
    })
}

/// The records as rows of the page.
pub(crate) fn to_answer(records: &[QuarantinedRecord]) -> Answer {
    let columns = ["arrived_at", "dataset", "reason", "detail", "source", "position", "raw"];
    let row = |record: &QuarantinedRecord| {
        let json = to_json(record);
        let shown = match &json["raw"] {
            Value::Null => json!(String::from_utf8_lossy(&record.raw)),
            text => text.clone(),
        };
        columns.iter().map(|name| if *name == "raw" { shown.clone() } else { json[*name].clone() }).collect()
    };
    Answer {
        columns: columns.map(str::to_owned).to_vec(),
        rows: records.iter().map(row).collect(),
        ..Answer::default()
    }
}

/// The text of a record. One that was cut within a letter ends before it.
fn to_text(record: &QuarantinedRecord) -> Option<&str> {
    match std::str::from_utf8(&record.raw) {
        Ok(text) => Some(text),
        Err(error) if record.raw.len() < record.size && error.error_len().is_none() => {
            std::str::from_utf8(&record.raw[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}
