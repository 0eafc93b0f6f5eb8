//! The model of a contract.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono_tz::Tz;

use crate::broken::BrokenContract;
use crate::column_rules::{Checks, DefaultValue, LetterCase};
use crate::decimal::DecimalType;
use crate::field_path::FieldPath;
use crate::number_locale::NumberLocale;
use crate::reader::Salvaged;
use crate::records_path::RecordsPath;
use crate::timestamp::TimeFormat;
use crate::webhook::Webhook;
use crate::{DELETED_COLUMN, FORMER_KEY_COLUMN, KEY_COLUMN, QUARANTINE, fingerprint};

/// The contract of one dataset.
///
/// ```
/// use pinlake_schema::{Catalog, Identity, Scalar, Type};
///
/// let catalog = Catalog::embedded().map_err(|errors| errors.to_string())?;
/// let contract = catalog.contract("geo").ok_or("no contract")?;
/// assert_eq!(contract.label(), "geo@1");
/// let column = contract.columns.iter().find(|column| column.name == "coordinates").ok_or("no column")?;
/// assert_eq!(column.data_type, Type::Array(Scalar::Float64));
/// assert_eq!(column.data_type.to_string(), "array<float64>");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct Contract {
    /// Name of the dataset and its table: lower-case letters, digits and underscores.
    pub name: String,
    /// Version of the contract, from 1.
    pub version: u32,
    /// What a row of the table represents.
    pub description: String,
    /// Which records belong to the dataset.
    pub route: Route,
    /// How its text files are written.
    pub file: FileFormat,
    /// How requests of a provider's webhook are verified; `None` if the dataset takes none.
    pub webhook: Option<Webhook>,
    /// What makes two rows equal.
    pub identity: Identity,
    /// Which of several records with one identity is the row; `None`: the first one.
    pub keep: Option<KeepLatest>,
    /// The columns by whose values a new table is partitioned.
    pub partition_by: Vec<String>,
    /// The columns by which the rows of a data file are sorted.
    pub cluster_by: Vec<String>,
    /// The table's columns, in order.
    pub columns: Vec<Column>,
    broken: Option<Arc<BrokenContract>>,
    top_level_fields: Vec<String>,
    pub(crate) hash: String,
    pub(crate) identity_hash: String,
    pub(crate) former_identity_hash: Option<String>,
    pub(crate) arrow_schema: SchemaRef,
    pub(crate) table_schema: SchemaRef,
    pub(crate) landing_schema: SchemaRef,
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
    /// Fields of which a record has at least one. If there are none, any field that a column reads.
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
    /// A record that meets all of these is no data. None: every record is.
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
    /// Whether keys cover the column. A derived column says nothing that its source does not, so a row as a whole is equal without it, and a
    /// table can gain one without a change to its keys.
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
    /// A record that meets all of these deletes the row. None: no record does.
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

/// A column of the table, and how its value is derived from a record.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    /// Type in the table.
    pub data_type: Type,
    /// Comment on the column in the table.
    pub description: String,
    /// Fields of the record that it is derived from.
    pub source: ColumnSource,
    /// Values of a source field that mean null. They are compared with the whole value.
    pub null: Vec<String>,
    /// Whether a record without a value is quarantined.
    pub required: bool,
    /// Whether numbers may be written as `12k`, `1.2M`, `3B`.
    pub counts: bool,
    /// Text that is removed from the beginning of values.
    pub remove_prefix: Option<String>,
    /// Text that is removed from the end of values.
    pub remove_suffix: Option<String>,
    /// How texts write numbers.
    pub locale: Option<NumberLocale>,
    /// Formats of dates and times, tried in order.
    pub formats: Vec<TimeFormat>,
    /// The zone of times that name none; `None` for UTC.
    pub zone: Option<Tz>,
    /// Texts that mean true, in addition to the usual ones and in either case.
    pub true_texts: Vec<String>,
    /// Texts that mean false, likewise.
    pub false_texts: Vec<String>,
    /// Whether white space around texts is removed.
    pub trim: bool,
    /// The case to which letters are changed.
    pub case: Option<LetterCase>,
    /// The value where a record has none.
    pub default: Option<DefaultValue>,
    /// Which values are allowed; `None` if all are.
    pub checks: Option<Box<Checks>>,
}

impl Column {
    /// The column with the fields that `others` do not read.
    pub(crate) fn rest(name: String, others: &[Column]) -> Column {
        let read = others.iter().flat_map(|column| column.source.fields()).flatten();
        let mut except: Vec<String> = read
            .map(|field| match FieldPath::parse(field) {
                Ok(path) => path.name().unwrap_or(field).to_owned(),
                Err(_) => field.clone(),
            })
            .collect();
        except.sort();
        except.dedup();
        Column {
            name,
            data_type: Type::Scalar(Scalar::Json),
            description: "Fields of the record that no other column reads.".to_owned(),
            source: ColumnSource::Rest { except },
            null: Vec::new(),
            required: false,
            counts: false,
            remove_prefix: None,
            remove_suffix: None,
            locale: None,
            formats: Vec::new(),
            zone: None,
            true_texts: Vec::new(),
            false_texts: Vec::new(),
            trim: false,
            case: None,
            default: None,
            checks: None,
        }
    }
}

/// Alternative names of one field, or [paths](crate::field_path) to it: the first that is present and not null is used.
pub type FieldNames = Vec<String>;

/// The fields that a column is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// One field.
    Field(FieldNames),
    /// The texts of several fields, joined with a separator; nulls are left out.
    Join {
        /// The fields, in order.
        fields: Vec<FieldNames>,
        /// The separator.
        separator: String,
    },
    /// An array of the values of several fields, including nulls.
    ArrayOf(Vec<FieldNames>),
    /// All fields at the top level but these, which columns read, as a JSON object.
    Rest {
        /// In order, each once.
        except: Vec<String>,
    },
    /// A part of another column, computed once that is clean.
    Derived(Derivation),
    /// None: the cleaner fills the columns of quarantine.
    Cleaner,
}

/// How a column is computed from another one: `date(at)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The part of its values.
    pub part: DerivedPart,
    /// The name of the other column, which is not derived itself.
    pub column: String,
}

/// A part of a point in time in UTC, or of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivedPart {
    /// The calendar day.
    Date,
    /// The year.
    Year,
    /// The month, from 1.
    Month,
    /// The hour of the day, from 0.
    Hour,
}

impl DerivedPart {
    pub(crate) const ALL: [DerivedPart; 4] =
        [DerivedPart::Date, DerivedPart::Year, DerivedPart::Month, DerivedPart::Hour];

    /// The name in contracts.
    pub fn as_str(self) -> &'static str {
        match self {
            DerivedPart::Date => "date",
            DerivedPart::Year => "year",
            DerivedPart::Month => "month",
            DerivedPart::Hour => "hour",
        }
    }

    /// The type of the part.
    pub fn scalar(self) -> Scalar {
        match self {
            DerivedPart::Date => Scalar::Date,
            DerivedPart::Year | DerivedPart::Month | DerivedPart::Hour => Scalar::Int32,
        }
    }

    /// Whether values of a type have the part.
    pub(crate) fn is_part_of(self, data_type: Type) -> bool {
        match data_type {
            Type::Scalar(Scalar::Timestamp) => true,
            Type::Scalar(Scalar::Date) => matches!(self, DerivedPart::Year | DerivedPart::Month),
            _ => false,
        }
    }
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.part.as_str(), self.column)
    }
}

impl ColumnSource {
    /// All fields that the column reads, each with its alternatives.
    pub fn fields(&self) -> &[FieldNames] {
        match self {
            ColumnSource::Field(names) => std::slice::from_ref(names),
            ColumnSource::Join { fields, .. } | ColumnSource::ArrayOf(fields) => fields,
            ColumnSource::Rest { .. } | ColumnSource::Derived(_) | ColumnSource::Cleaner => &[],
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
    /// Point in time, in microseconds since 1970-01-01 UTC.
    Timestamp,
    /// Calendar date.
    Date,
    /// Bytes, in base64 in a record.
    Binary,
    /// Any JSON value, stored as its text.
    Json,
    /// Number with a fixed number of digits after the point.
    Decimal(DecimalType),
}

impl Scalar {
    /// The types that have one name: all but decimals.
    pub(crate) const NAMED: [Scalar; 9] = [
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

    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Scalar::Int64 | Scalar::Int32 | Scalar::Float64 | Scalar::Decimal(_))
    }

    /// The name of the type in contracts, without its parameters.
    pub fn name(self) -> &'static str {
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
            Scalar::Decimal(_) => "decimal",
        }
    }

    /// The Arrow type of values.
    pub fn arrow(self) -> DataType {
        match self {
            Scalar::String | Scalar::Json => DataType::Utf8,
            Scalar::Int64 => DataType::Int64,
            Scalar::Int32 => DataType::Int32,
            Scalar::Float64 => DataType::Float64,
            Scalar::Boolean => DataType::Boolean,
            Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Scalar::Date => DataType::Date32,
            Scalar::Binary => DataType::Binary,
            // Both are at most 38.
            Scalar::Decimal(own) => DataType::Decimal128(own.precision(), own.scale() as i8),
        }
    }

    fn from_arrow(data_type: &DataType) -> Option<Scalar> {
        if let DataType::Decimal128(precision, scale) = data_type {
            return DecimalType::new(*precision, u8::try_from(*scale).ok()?).map(Scalar::Decimal);
        }
        Scalar::NAMED.into_iter().find(|scalar| scalar.arrow() == *data_type)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Decimal(own) => own.fmt(f),
            other => f.write_str(other.name()),
        }
    }
}

/// The most digits of integers.
const INT32_DIGITS: u8 = 10;
const INT64_DIGITS: u8 = 19;

impl Type {
    /// The Arrow type of a column. The item of a list is called `element`, as readers of Delta tables expect.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Scalar(scalar) => scalar.arrow(),
            Type::Array(scalar) => DataType::List(Arc::new(Field::new("element", scalar.arrow(), true))),
        }
    }

    /// The type whose columns have this Arrow type: `string` for `string` and `json`.
    pub fn from_arrow(data_type: &DataType) -> Option<Type> {
        match data_type {
            DataType::List(element) => Scalar::from_arrow(element.data_type()).map(Type::Array),
            scalar => Scalar::from_arrow(scalar).map(Type::Scalar),
        }
    }

    /// Whether a column of this type can become one of type `other`, with the same values: `int32` becomes `int64` or `float64`, and `int64`
    /// becomes `float64` if its values have at most 53 bits. Both become a decimal with room for all their values, and a decimal one with
    /// at least as many digits before and after the point. The same holds for arrays of them.
    pub fn widens_to(self, other: Type) -> bool {
        use Scalar::{Decimal, Float64, Int32, Int64};
        let is_same_shape = matches!(self, Type::Array(_)) == matches!(other, Type::Array(_));
        let is_wider = match (self.scalar(), other.scalar()) {
            (Int32, Int64 | Float64) | (Int64, Float64) => true,
            (Int32, Decimal(wide)) => wide.integral_digits() >= INT32_DIGITS,
            (Int64, Decimal(wide)) => wide.integral_digits() >= INT64_DIGITS,
            (Decimal(own), Decimal(wide)) => own != wide && own.fits(wide),
            _ => false,
        };
        is_same_shape && is_wider
    }

    /// The type of the value, or of the elements of an array.
    pub fn scalar(self) -> Scalar {
        match self {
            Type::Scalar(scalar) | Type::Array(scalar) => scalar,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Scalar(scalar) => scalar.fmt(f),
            Type::Array(scalar) => write!(f, "array<{scalar}>"),
        }
    }
}

/// The content of a contract file, from which a [`Contract`] is derived.
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

impl Contract {
    pub(crate) fn new(declared: ContractDeclaration) -> Contract {
        let hash = fingerprint::hash_output(&declared);
        let identity_hash = fingerprint::hash_identity(&declared);
        let former_identity_hash = fingerprint::hash_former_identity(&declared);
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
        let ContractDeclaration {
            name,
            version,
            description,
            route,
            file,
            webhook,
            identity,
            keep,
            partition_by,
            cluster_by,
            columns,
        } = declared;
        if keep.as_ref().is_some_and(|keep| !keep.delete_when.is_empty()) {
            landing.push(Field::new(DELETED_COLUMN, DataType::Boolean, false));
        }
        let rules =
            keep.iter().flat_map(|keep| &keep.delete_when).chain(&file.skip_when).map(|rule| &rule.field);
        let top_level_fields = find_top_level_fields(&columns, route.shape.iter().chain(rules));
        Contract {
            name,
            version,
            description,
            route,
            file,
            webhook,
            identity,
            keep,
            partition_by,
            cluster_by,
            broken: None,
            top_level_fields,
            columns,
            hash,
            identity_hash,
            former_identity_hash,
            arrow_schema: Arc::new(Schema::new(fields)),
            table_schema: Arc::new(Schema::new(table)),
            landing_schema: Arc::new(Schema::new(landing)),
        }
    }

    /// The contract of a dataset whose file has errors: it recognises records, and has no columns. `salvaged` is what could be read; the fields of
    /// its columns tell one record from an array of records.
    pub(crate) fn new_broken(
        name: String,
        route: Route,
        salvaged: Salvaged,
        broken: Arc<BrokenContract>,
    ) -> Contract {
        let Salvaged { webhook, records, columns, .. } = salvaged;
        let top_level_fields = find_top_level_fields(&columns, route.shape.iter());
        let declared = ContractDeclaration {
            name,
            // No valid contract has this version, so its hash is no other contract's.
            version: 0,
            description: String::new(),
            route: Route { any_of: Vec::new(), ..route },
            // The records of a document are quarantined one by one, so that a redrive can bring each into the table.
            file: FileFormat { records, ..FileFormat::default() },
            webhook,
            identity: Identity::Row,
            keep: None,
            partition_by: Vec::new(),
            cluster_by: Vec::new(),
            columns: Vec::new(),
        };
        Contract { broken: Some(broken), top_level_fields, ..Contract::new(declared) }
    }

    /// Why the contract cannot be used, if its file has errors. It then says only which records belong to its dataset.
    pub fn broken(&self) -> Option<&Arc<BrokenContract>> {
        self.broken.as_ref()
    }

    /// The fields at the top level of a record that columns or the shape read: of a path its first step, and also its whole text, because a
    /// field of that name takes precedence.
    pub fn top_level_fields(&self) -> &[String] {
        &self.top_level_fields
    }

    /// `name@version`: how tables and quarantine rows refer to a contract.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// 16 hexadecimal digits over everything that affects cleaned rows: columns and their rules, identity, shape. Descriptions and routes by
    /// name are not included.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether both contracts make the same rows of the same files and messages, and keep them in the same partitions. They may differ in
    /// descriptions and routes by name.
    pub fn has_same_meaning(&self, other: &Contract) -> bool {
        self.hash == other.hash && self.file == other.file && self.partition_by == other.partition_by
    }

    /// The key epoch: 16 hexadecimal digits over everything that determines the key of a row. A table accepts only its own.
    pub fn identity_hash(&self) -> &str {
        &self.identity_hash
    }

    /// The key epoch of older data files: with `identity = "record"`, keys did not cover the content of the record;
    /// keys of `json` columns covered the text as it was sent. `None` for other identities.
    pub fn former_identity_hash(&self) -> Option<&str> {
        self.former_identity_hash.as_deref()
    }

    /// All fields of a record that the contract names, by name or path, some of them repeatedly: those that columns read, those of its shape,
    /// those by which its records are recognised, and those that say whether a row is deleted or a record is data.
    pub fn fields(&self) -> impl Iterator<Item = &String> {
        let read = self.columns.iter().flat_map(|column| column.source.fields()).flatten();
        let rules = self.keep.iter().flat_map(|keep| &keep.delete_when).chain(&self.file.skip_when);
        let rules = rules.map(|rule| &rule.field);
        read.chain(&self.route.shape).chain(&self.route.any_of).chain(rules)
    }

    /// Whether records may delete rows.
    pub fn has_deletes(&self) -> bool {
        self.keep.as_ref().is_some_and(|keep| !keep.delete_when.is_empty())
    }

    /// Whether the table stores keys, because they cannot be computed from its columns, which do not contain the id of the record.
    pub fn stores_keys(&self) -> bool {
        stores_keys(&self.name, &self.identity)
    }

    /// The columns of the contract, in order, all nullable. Descriptions are in the metadata `comment`.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(&self.arrow_schema)
    }

    /// The columns of the table: those of [`Self::arrow_schema`], then [`KEY_COLUMN`] if the table stores keys.
    pub fn table_schema(&self) -> SchemaRef {
        Arc::clone(&self.table_schema)
    }

    /// The columns of a landing object: those of [`Self::arrow_schema`], then [`KEY_COLUMN`], and
    /// [`FORMER_KEY_COLUMN`] if the contract has a former key epoch, and [`DELETED_COLUMN`] if records may delete rows.
    pub fn landing_schema(&self) -> SchemaRef {
        Arc::clone(&self.landing_schema)
    }
}

/// In the order of the columns, each field once.
fn find_top_level_fields<'a>(columns: &'a [Column], others: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    let read = columns.iter().flat_map(|column| column.source.fields()).flatten();
    for text in read.chain(others) {
        let names = FieldPath::top_level_names(text);
        found.extend(names.into_iter().filter(|name| seen.insert(name.clone())));
    }
    found
}

/// The comment on [`KEY_COLUMN`] in tables.
const KEY_COMMENT: &str =
    "Key of the row, by which a record that comes again is known. Keep it when rows are rewritten.";

fn stores_keys(name: &str, identity: &Identity) -> bool {
    *identity == Identity::Record || name == QUARANTINE
}

fn table_field(column: &Column) -> Field {
    // Nullable even if a value is required: the cleaner enforces that, and the rule can be relaxed later without a change to the table.
    let field = Field::new(&column.name, column.data_type.arrow(), true);
    if column.description.is_empty() {
        return field;
    }
    field.with_metadata(HashMap::from([("comment".to_owned(), column.description.clone())]))
}
