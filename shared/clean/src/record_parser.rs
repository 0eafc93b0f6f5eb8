//! Parses the text of a record into its fields.
//!
//! The fast path accepts nearly every valid record in one pass. What it does not accept is parsed again with `serde_json`, which
//! accepts the same records and explains what is wrong with the others.

mod fast_path;
mod serde_path;

use crate::field_table::FieldTable;
use crate::parsed_record::ParsedRecord;
use crate::reason::RecordError;

pub(crate) use serde_path::parse_value;

/// Parses a record. Afterwards `record` has the fields of this record, also after an error.
pub(crate) fn parse(
    text: &str,
    record: &mut ParsedRecord,
    fields: &mut FieldTable,
) -> Result<(), RecordError> {
    if fast_path::parse(text, record, fields) {
        return Ok(());
    }
    serde_path::parse(text, record, fields)
}
