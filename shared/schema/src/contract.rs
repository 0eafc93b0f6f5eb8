//! The model of a contract.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::broken_contract::BrokenContract;
use crate::column::Column;
use crate::declaration::{ContractDeclaration, FileFormat, Identity, KeepLatest, Route};
use crate::field_path::FieldPath;
use crate::fingerprint;
use crate::reserved::{DELETED_COLUMN, FORMER_KEY_COLUMN, KEY_COLUMN, QUARANTINE};
use crate::salvaged::Salvaged;
use crate::webhook::Webhook;

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
        self.hash == other.hash
            && self.file == other.file
            && self.partition_by == other.partition_by
            && self.cluster_by == other.cluster_by
            && self.keep == other.keep
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
