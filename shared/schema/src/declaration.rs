//! What a contract file declares, from which a [`Contract`](crate::Contract) is derived.

use std::time::Duration;

use crate::column::{Column, ColumnSource};
use crate::records_path::RecordsPath;
use crate::webhook::Webhook;

/// The content of a contract file.
pub(crate) struct ContractDeclaration {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) description: String,
    pub(crate) route: Route,
    pub(crate) file: FileFormat,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) identity: Identity,
    pub(crate) keep: Option<KeepLatest>,
    pub(crate) partition_by: Vec<String>,
    pub(crate) cluster_by: Vec<String>,
    pub(crate) columns: Vec<Column>,
}

/// Which records belong to a dataset. Patterns have one wildcard, `*`.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Patterns of Kafka topic names.
    pub topics: Vec<String>,
    /// Patterns of Kinesis stream names.
    pub streams: Vec<String>,
    /// Partition keys that name this dataset on a shared stream.
    pub partition_keys: Vec<String>,
    /// Patterns of file names.
    pub files: Vec<String>,
    /// Fields that identify records of this dataset: a record has its shape if it has all of them.
    pub shape: Vec<String>,
    /// Fields of which a record has at least one. If empty: any field that a column reads.
    pub any_of: Vec<String>,
    /// What happens to a record that was sent to this dataset and has the shape of another.
    pub misrouted: MisroutedPolicy,
}

/// How the text files of a dataset are written. The default is a comma, quotes that are doubled, and UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileFormat {
    /// The byte between two cells of CSV.
    pub delimiter: Option<u8>,
    /// The byte around a cell of CSV; `Some(None)`: quotes mean nothing.
    pub quote: Option<Option<u8>>,
    /// The byte that makes the next one literal. Without it a quote in a quoted cell is doubled.
    pub escape: Option<u8>,
    /// Lines of CSV that begin with this text are ignored.
    pub comment: Option<String>,
    /// The WHATWG name of the encoding.
    pub encoding: Option<&'static str>,
    /// A row that equals the header is a row.
    pub keeps_repeated_headers: bool,
    /// Where the records are inside a JSON document.
    pub records: Option<RecordsPath>,
    /// Records that meet all of these conditions are not data and are skipped. Without conditions no record is.
    pub skip_when: Vec<FieldRule>,
}

/// What happens to a record that was sent to one dataset and has the shape of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MisroutedPolicy {
    /// It is quarantined; the detail names the other dataset.
    #[default]
    Quarantine,
    /// It becomes a row of the other dataset.
    Reroute,
}

/// What makes two rows equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// All columns.
    Row,
    /// These columns.
    Columns(Vec<String>),
    /// The record itself, by its request and its index there: equal records of two requests are two rows.
    Record,
}

impl Identity {
    /// Whether keys cover the column. A derived column adds nothing to its source, so keys of whole rows leave it out, and a table can
    /// gain one without a change to its keys.
    pub fn covers(&self, column: &Column) -> bool {
        match self {
            Identity::Row => !matches!(column.source, ColumnSource::Derived(_)),
            Identity::Columns(names) => names.contains(&column.name),
            Identity::Record => false,
        }
    }
}

/// The row of an identity is the latest of its records, in whatever order they arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepLatest {
    /// The columns whose values grow with each change, the most significant one first. Null is the least value.
    pub latest_by: Vec<String>,
    /// A record that meets all of these conditions deletes the row. Without conditions no record does.
    pub delete_when: Vec<FieldRule>,
    /// How long a deleted row's key is kept, so that an older record does not bring the row back.
    pub remember_deletes: Duration,
}

/// A condition on a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRule {
    /// The field.
    pub field: String,
    /// Its text. A number or a boolean of the record is compared by its text.
    pub value: String,
}
