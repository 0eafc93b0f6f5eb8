//! Rows of quarantine: evaluates the unresolved ones again, and marks them as resolved.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use pinlake_clean::{Disposition, Position, RecordCleaner, RecordOrigin};
use pinlake_landing::source::RecordSource;
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

/// The columns of quarantine that an evaluation needs.
pub(crate) struct QuarantineColumns<'a> {
    dataset: &'a ArrayRef,
    raw: &'a ArrayRef,
    source: &'a ArrayRef,
    position: &'a ArrayRef,
    record: &'a ArrayRef,
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

    /// Pushes the record into `cleaner` again.
    fn push(&self, row: usize, catalog: &Catalog, cleaner: &mut RecordCleaner) -> Disposition {
        let text = |column: &'a ArrayRef| {
            if column.is_valid(row) { column.as_string::<i32>().value(row) } else { "" }
        };
        // The position of the first delivery: under `identity = "record"` it is part of the key.
        let position = match text(self.position).split_once('#') {
            Some((number, line)) => Position::Sequence { number, line: line.parse().unwrap_or(1) },
            None => Position::Line(text(self.position).parse().unwrap_or(1)),
        };
        let record_id = text(self.record)
            .rsplit_once('/')
            .and_then(|(request, index)| Some((request, index.parse().ok()?)));
        let origin = RecordOrigin { source: text(self.source), position, record_id };
        cleaner.push(self.raw.as_binary::<i32>().value(row), self.hint(row, catalog), &origin)
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
