//! What a contract says, once its file has been read and found right.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::timestamp::TimeFormat;
use crate::{FORMER_KEY_COLUMN, KEY_COLUMN, QUARANTINE, fingerprint};

/// One dataset: what its records look like, and what becomes of them.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Name of the dataset and of its table: lower-case letters, digits, underscores.
    pub name: String,
    /// Counts the contract's changes, from 1.
    pub version: u32,
    /// What one row of the table is.
    pub description: String,
    /// Which records belong to it.
    pub route: Route,
    /// What makes two rows the same row.
    pub identity: Identity,
    /// The table's columns, in order.
    pub columns: Vec<Column>,
    pub(crate) hash: String,
    pub(crate) identity_hash: String,
    pub(crate) former_identity_hash: Option<String>,
    pub(crate) arrow_schema: SchemaRef,
    pub(crate) table_schema: SchemaRef,
    pub(crate) landing_schema: SchemaRef,
}

/// Which records belong to a dataset. Patterns know one wildcard, `*`.
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
    /// A record that has all these fields is of this dataset, unless it fits another's longer list.
    pub shape: Vec<String>,
    /// What becomes of a record that was sent here and has another dataset's shape.
    pub misrouted: MisroutedPolicy,
}

/// What becomes of a record that was sent to one dataset and has the shape of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MisroutedPolicy {
    /// It goes to quarantine; the detail names the right dataset.
    #[default]
    Quarantine,
    /// It goes into the dataset whose shape it has.
    Reroute,
}

/// What makes two rows the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// All columns of the clean row.
    Row,
    /// These columns.
    Columns(Vec<String>),
    /// The record itself: its request and its number within it. Sent twice is there twice.
    Record,
}

/// A column of the table, and how its value comes out of a record.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    /// Type in the table.
    pub data_type: Type,
    /// Comment on the column in the table.
    pub description: String,
    /// Fields of the record that it is made of.
    pub source: Source,
    /// Values of a source field that mean "not known"; compared with the whole value.
    pub null: Vec<String>,
    /// Whether a record without a value is refused.
    pub required: bool,
    /// Whether numbers may be written as `12k`, `1.2M`, `3B`.
    pub counts: bool,
    /// What is taken off the front of a value that begins with it.
    pub remove_prefix: Option<String>,
    /// How dates and times are written; tried in order.
    pub formats: Vec<TimeFormat>,
}

/// Alternative names of one field: the first that is present and not null counts.
pub type FieldNames = Vec<String>;

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One field.
    Field(FieldNames),
    /// The texts of several fields, nulls left out, with a separator between.
    Join {
        /// The fields, in order.
        fields: Vec<FieldNames>,
        /// What stands between two of them.
        separator: String,
    },
    /// An array of several fields' values, nulls kept.
    ArrayOf(Vec<FieldNames>),
    /// Filled by the cleaner: the columns of quarantine.
    Cleaner,
}

impl Source {
    /// Every field that the column reads, with its alternatives.
    pub fn fields(&self) -> &[FieldNames] {
        match self {
            Source::Field(names) => std::slice::from_ref(names),
            Source::Join { fields, .. } | Source::ArrayOf(fields) => fields,
            Source::Cleaner => &[],
        }
    }
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// One value.
    Scalar(Scalar),
    /// A list of values, each of which may be null.
    Array(Scalar),
}

/// The type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Int64,
    /// 32-bit signed integer.
    Int32,
    /// Double-precision number; never infinite, never NaN.
    Float64,
    /// True or false.
    Boolean,
    /// Moment in UTC, to the microsecond.
    Timestamp,
    /// Day of the calendar.
    Date,
    /// Bytes, written as base64 in a record.
    Binary,
    /// Any JSON value, kept as its text.
    Json,
}

impl Scalar {
    pub(crate) const ALL: [Scalar; 9] = [
        Scalar::String,
        Scalar::Int64,
        Scalar::Int32,
        Scalar::Float64,
        Scalar::Boolean,
        Scalar::Timestamp,
        Scalar::Date,
        Scalar::Binary,
        Scalar::Json,
    ];

    /// The name that contracts use.
    pub fn as_str(self) -> &'static str {
        match self {
            Scalar::String => "string",
            Scalar::Int64 => "int64",
            Scalar::Int32 => "int32",
            Scalar::Float64 => "float64",
            Scalar::Boolean => "boolean",
            Scalar::Timestamp => "timestamp",
            Scalar::Date => "date",
            Scalar::Binary => "binary",
            Scalar::Json => "json",
        }
    }

    fn arrow(self) -> DataType {
        match self {
            Scalar::String | Scalar::Json => DataType::Utf8,
            Scalar::Int64 => DataType::Int64,
            Scalar::Int32 => DataType::Int32,
            Scalar::Float64 => DataType::Float64,
            Scalar::Boolean => DataType::Boolean,
            Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Scalar::Date => DataType::Date32,
            Scalar::Binary => DataType::Binary,
        }
    }
}

impl Type {
    /// The Arrow type of a table's column. A list's item is called `element`, as Delta's readers expect.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Scalar(scalar) => scalar.arrow(),
            Type::Array(scalar) => DataType::List(Arc::new(Field::new("element", scalar.arrow(), true))),
        }
    }

    /// The type of the value, or of an array's elements.
    pub fn scalar(self) -> Scalar {
        match self {
            Type::Scalar(scalar) | Type::Array(scalar) => scalar,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Scalar(scalar) => f.write_str(scalar.as_str()),
            Type::Array(scalar) => write!(f, "array<{}>", scalar.as_str()),
        }
    }
}

/// What a contract file says, before anything is derived from it.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) description: String,
    pub(crate) route: Route,
    pub(crate) identity: Identity,
    pub(crate) columns: Vec<Column>,
}

impl Contract {
    pub(crate) fn new(declared: Declared) -> Contract {
        let hash = fingerprint::of_output(&declared);
        let identity_hash = fingerprint::of_identity(&declared);
        let former_identity_hash = fingerprint::of_former_identity(&declared);
        let fields: Vec<Field> = declared.columns.iter().map(table_field).collect();
        let mut table = fields.clone();
        if stores_keys(&declared.name, &declared.identity) {
            let comment = HashMap::from([("comment".to_owned(), KEY_COMMENT.to_owned())]);
            table.push(Field::new(KEY_COLUMN, DataType::Binary, true).with_metadata(comment));
        }
        let key_column = |name| Field::new(name, DataType::FixedSizeBinary(16), false);
        let mut landing = fields.clone();
        landing.push(key_column(KEY_COLUMN));
        landing.extend(former_identity_hash.is_some().then(|| key_column(FORMER_KEY_COLUMN)));
        let Declared { name, version, description, route, identity, columns } = declared;
        Contract {
            name,
            version,
            description,
            route,
            identity,
            columns,
            hash,
            identity_hash,
            former_identity_hash,
            arrow_schema: Arc::new(Schema::new(fields)),
            table_schema: Arc::new(Schema::new(table)),
            landing_schema: Arc::new(Schema::new(landing)),
        }
    }

    /// `name@version`, as tables and quarantine name a contract.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// 16 hex digits over everything that changes what cleaning gives: columns and their rules, identity, shape.
    /// Comments, layout, descriptions and the routes by name do not count.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The identity epoch: 16 hex digits over what determines a row's key. Tables pin it.
    pub fn identity_hash(&self) -> &str {
        &self.identity_hash
    }

    /// The identity hash of the first form of `identity = "record"`, whose keys did not cover the record's content: data files
    /// that were written under it keep it. `None` for every other identity.
    pub fn former_identity_hash(&self) -> Option<&str> {
        self.former_identity_hash.as_deref()
    }

    /// Whether the table stores its rows' keys, because its columns do not tell them: the id of a record is in none of them.
    pub fn stores_keys(&self) -> bool {
        stores_keys(&self.name, &self.identity)
    }

    /// The columns of the contract, in order, all nullable; the metadata `comment` of a field is its description.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(&self.arrow_schema)
    }

    /// The table's columns: those of [`Self::arrow_schema`], then [`KEY_COLUMN`] if the table stores its keys.
    pub fn table_schema(&self) -> SchemaRef {
        Arc::clone(&self.table_schema)
    }

    /// The contract's columns, then [`KEY_COLUMN`], and for `identity = "record"` [`FORMER_KEY_COLUMN`]: what the cleaner
    /// writes for the compactor.
    pub fn landing_schema(&self) -> SchemaRef {
        Arc::clone(&self.landing_schema)
    }
}

/// What tables say of [`KEY_COLUMN`].
const KEY_COMMENT: &str =
    "Key of the row, by which a record that comes again is known. Keep it when rows are rewritten.";

fn stores_keys(name: &str, identity: &Identity) -> bool {
    *identity == Identity::Record || name == QUARANTINE
}

fn table_field(column: &Column) -> Field {
    // Nullable even where a value is required: the cleaner enforces that, and a rule can be loosened later
    // without a change to the table.
    let field = Field::new(&column.name, column.data_type.arrow(), true);
    if column.description.is_empty() {
        return field;
    }
    field.with_metadata(HashMap::from([("comment".to_owned(), column.description.clone())]))
}
