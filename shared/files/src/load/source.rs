//! The origin of the records of a file.

use std::sync::atomic::AtomicU64;

/// A file as the origin of records.
#[derive(Debug, Default)]
pub struct LoadSource {
    /// The source that quarantine shows: `file/` and the file's name.
    pub name: String,
    /// The identity of a record is this id and the record's number; without an id, the source's name and the line.
    pub id: Option<String>,
    /// The dataset of all its records, if it is known.
    pub dataset: Option<String>,
    /// How many of its records were cleaned so far, without those that are no data.
    pub read: AtomicU64,
    /// How many of them were quarantined.
    pub quarantined: AtomicU64,
}
