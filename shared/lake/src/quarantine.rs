//! Rows of quarantine: evaluates the unresolved ones again, and marks them as resolved.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use pinlake_clean::{Disposition, Position, RecordCleaner, RecordOrigin, find_nested_records};
use pinlake_landing::source::RecordSource;
use pinlake_schema::records_path::RecordsPath;
use pinlake_schema::{Catalog, Contract, QUARANTINE};

use crate::error::LakeError;
use crate::keys::{Key, key_at};

/// Column of quarantine: when the record was resolved.
pub(crate) const RESOLVED_AT: &str = "resolved_at";

/// An unresolved record, evaluated under a catalog.
#[derive(Debug, Clone)]
pub(crate) struct EvaluatedRecord {
    /// Its key in quarantine.
    pub quarantined: Key,
    /// Whether its row in quarantine names a dataset.
    has_dataset: bool,
    /// Its disposition under the catalog.
    pub disposition: Disposition,
    /// The contract of the resulting row: its dataset's, or quarantine's.
    pub contract: Arc<Contract>,
    /// The key of the resulting row.
    pub key: Key,
    /// The same row's key of the contract's former epoch, if it has one.
    pub former_key: Option<Key>,
    /// Whether that key covers the record itself.
    key_has_record: bool,
}

impl EvaluatedRecord {
    /// Whether the record is resolved once the resulting row exists. A clean row always resolves it. A row in
    /// quarantine under another key does so in one direction only, or two rows would resolve each other: a row without
    /// a dataset yields to one with a dataset, and a row for all equal records yields to the row of one record.
    pub(crate) fn yields(&self) -> bool {
        match self.disposition {
            Disposition::Clean => true,
            Disposition::Skipped => false,
            Disposition::Quarantined => {
                self.key != self.quarantined && (self.key_has_record || !self.has_dataset)
            }
        }
    }
}

/// A quarantined document whose records are inside of it: their dataset has declared `[file] records` since.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    /// Its key in quarantine.
    pub quarantined: Key,
    /// Its dataset.
    pub dataset: &'a str,
    /// Its bytes.
    pub raw: &'a [u8],
    /// The records inside.
    pub records: Vec<&'a [u8]>,
    /// Where it came from.
    pub origin: RecordOrigin<'a>,
}

/// Evaluates the unresolved rows of `batch` that `is_selected` accepts. `cleaner` has the resulting rows afterwards.
///
/// # Errors
/// If a column of quarantine is missing.
pub(crate) fn evaluate_unresolved(
    catalog: &Catalog,
    batch: &RecordBatch,
    cleaner: &mut RecordCleaner,
    is_selected: impl Fn(&QuarantineColumns<'_>, usize) -> bool,
) -> Result<Vec<EvaluatedRecord>, LakeError> {
    let keys = pinlake_clean::row_keys(catalog.quarantine(), batch)
        .map_err(|error| LakeError::encode(QUARANTINE)(error))?;
    let columns = QuarantineColumns::new(batch)?;
    let unresolved =
        (0..batch.num_rows()).filter(|row| columns.is_unresolved(*row) && is_selected(&columns, *row));
    let evaluate = |row| {
        let quarantined = key_at(&keys, row);
        let disposition = columns.push(row, catalog, cleaner);
        EvaluatedRecord {
            quarantined,
            has_dataset: columns.dataset(row).is_some(),
            disposition,
            contract: Arc::clone(cleaner.last_contract()),
            // The record was pushed just now, so there is one.
            key: cleaner.last_key().unwrap_or(quarantined),
            former_key: cleaner.last_former_key(),
            key_has_record: cleaner.last_key_has_record(),
        }
    };
    Ok(unresolved.map(evaluate).collect())
}

/// Finds the unresolved documents of `batch` that `is_selected` accepts.
///
/// # Errors
/// If a column of quarantine is missing.
pub(crate) fn find_documents<'a>(
    catalog: &'a Catalog,
    batch: &'a RecordBatch,
    is_selected: impl Fn(&QuarantineColumns<'_>, usize) -> bool,
) -> Result<Vec<Document<'a>>, LakeError> {
    let keys = pinlake_clean::row_keys(catalog.quarantine(), batch)
        .map_err(|error| LakeError::encode(QUARANTINE)(error))?;
    let columns = QuarantineColumns::new(batch)?;
    let unresolved =
        (0..batch.num_rows()).filter(|row| columns.is_unresolved(*row) && is_selected(&columns, *row));
    let document = |row| {
        Some(Document {
            quarantined: key_at(&keys, row),
            dataset: columns.hint(row, catalog)?,
            raw: columns.raw(row),
            records: columns.find_records_inside(row, catalog)?,
            origin: columns.origin(row),
        })
    };
    Ok(unresolved.filter_map(document).collect())
}

/// The columns of quarantine that an evaluation needs.
pub(crate) struct QuarantineColumns<'a> {
    dataset: &'a ArrayRef,
    raw: &'a ArrayRef,
    source: &'a ArrayRef,
    position: &'a ArrayRef,
    record: &'a ArrayRef,
    contract: &'a ArrayRef,
    resolved_at: &'a ArrayRef,
}

impl<'a> QuarantineColumns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self, LakeError> {
        let column = |name: &str| {
            let missing = || LakeError::encode(QUARANTINE)(format!("no column {name}"));
            batch.column_by_name(name).ok_or_else(missing)
        };
        Ok(Self {
            dataset: column("dataset")?,
            raw: column("raw")?,
            source: column("source")?,
            position: column("position")?,
            record: column("record")?,
            contract: column("contract")?,
            resolved_at: column(RESOLVED_AT)?,
        })
    }

    fn is_unresolved(&self, row: usize) -> bool {
        self.resolved_at.is_null(row)
    }

    fn dataset(&self, row: usize) -> Option<&'a str> {
        self.dataset.is_valid(row).then(|| self.dataset.as_string::<i32>().value(row))
    }

    /// Whether the row is of `dataset`; every row is if that is `None`.
    pub(crate) fn is_of_dataset(&self, row: usize, dataset: Option<&str>) -> bool {
        dataset.is_none_or(|dataset| self.dataset(row) == Some(dataset))
    }

    /// Whether the row's dataset has a contract that can be used, or the row has no dataset. Other rows stay as they are.
    pub(crate) fn has_contract(&self, row: usize, catalog: &Catalog) -> bool {
        self.dataset(row).is_none_or(|dataset| {
            catalog.contract(dataset).is_some_and(|contract| contract.broken().is_none())
        })
    }

    /// The dataset that the record was sent to, or that the catalog assigns to its stream, topic or file.
    fn hint<'b>(&self, row: usize, catalog: &'b Catalog) -> Option<&'b str>
    where
        'a: 'b,
    {
        let from_source = || {
            let source: RecordSource = self.source.as_string::<i32>().value(row).parse().ok()?;
            source.route(catalog).map(|contract| contract.name.as_str())
        };
        self.dataset(row).or_else(from_source)
    }

    /// The path to the records inside documents of the row's dataset.
    fn records_path<'b>(&self, row: usize, catalog: &'b Catalog) -> Option<&'b RecordsPath>
    where
        'a: 'b,
    {
        catalog.contract(self.hint(row, catalog)?)?.file.records.as_ref()
    }

    /// The records inside the row's document, if its dataset declares where they are.
    fn find_records_inside(&self, row: usize, catalog: &Catalog) -> Option<Vec<&'a [u8]>> {
        find_nested_records(self.raw(row), self.records_path(row, catalog)?)
    }

    /// Whether the row has records inside.
    pub(crate) fn has_records_inside(&self, row: usize, catalog: &Catalog) -> bool {
        self.find_records_inside(row, catalog).is_some()
    }

    /// Whether the row was found inside a document: it was quarantined under a contract with the present path. Then it is a record, also if
    /// it has the path once more. `catalogs` are those of the history.
    pub(crate) fn was_inside(&self, row: usize, catalog: &Catalog, catalogs: &[Arc<Catalog>]) -> bool {
        let path = self.records_path(row, catalog);
        if path.is_none() || self.contract.is_null(row) {
            return false;
        }
        let label = self.contract.as_string::<i32>().value(row);
        let contracts = || catalogs.iter().flat_map(|catalog| catalog.contracts());
        let mut applied = contracts().filter(|contract| contract.label() == label).peekable();
        applied.peek().is_some() && applied.all(|contract| contract.file.records.as_ref() == path)
    }

    fn raw(&self, row: usize) -> &'a [u8] {
        self.raw.as_binary::<i32>().value(row)
    }

    /// The origin of the first delivery: under `identity = "record"` it is part of the key.
    fn origin(&self, row: usize) -> RecordOrigin<'a> {
        let text = |column: &'a ArrayRef| {
            if column.is_valid(row) { column.as_string::<i32>().value(row) } else { "" }
        };
        let position = match text(self.position).split_once('#') {
            Some((number, line)) => Position::Sequence { number, line: line.parse().unwrap_or(1) },
            None => Position::Line(text(self.position).parse().unwrap_or(1)),
        };
        let record_id = text(self.record)
            .rsplit_once('/')
            .and_then(|(request, index)| Some((request, index.parse().ok()?)));
        RecordOrigin { source: text(self.source), position, record_id }
    }

    /// Pushes the record into `cleaner` again.
    fn push(&self, row: usize, catalog: &Catalog, cleaner: &mut RecordCleaner) -> Disposition {
        cleaner.push(self.raw(row), self.hint(row, catalog), &self.origin(row))
    }
}

/// Sets the time of resolution, in microseconds since 1970, in those selected rows that have none; `None` if there is
/// no such row.
pub(crate) fn mark_resolved(
    batch: &RecordBatch,
    selected: &BooleanArray,
    at: i64,
) -> Result<Option<RecordBatch>, ArrowError> {
    let index = batch.schema().index_of(RESOLVED_AT)?;
    let resolved_at = batch.column(index).as_primitive::<TimestampMicrosecondType>();
    let unresolved = arrow::compute::is_null(resolved_at)?;
    let mask = arrow::compute::and(&unresolved, selected)?;
    if mask.true_count() == 0 {
        return Ok(None);
    }
    let stamp = TimestampMicrosecondArray::new_scalar(at);
    let stamp = stamp.into_inner().with_timezone("UTC");
    let marked = zip(&mask, &arrow::array::Scalar::new(stamp), resolved_at)?;
    let mut columns = batch.columns().to_vec();
    columns[index] = marked;
    RecordBatch::try_new(batch.schema(), columns).map(Some)
}
