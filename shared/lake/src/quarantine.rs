//! The rows of quarantine: judging the unresolved ones again, and marking them as resolved.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use pinlake_clean::{Disposition, Position, RecordCleaner, RecordOrigin};
use pinlake_schema::{Catalog, Contract, QUARANTINE, StreamRoute};

use crate::error::LakeError;
use crate::keys::{Key, key_at};

/// Column of quarantine that says when a record was resolved.
pub(crate) const RESOLVED_AT: &str = "resolved_at";

/// What an unresolved record is by the contracts that judged it now.
#[derive(Debug, Clone)]
pub(crate) struct EvaluatedRecord {
    /// Its key in quarantine.
    pub quarantined: Key,
    /// Whether it is quarantined under a dataset.
    has_dataset: bool,
    /// Where it would go now.
    pub verdict: Disposition,
    /// The contract there: its dataset's, or quarantine's.
    pub contract: Arc<Contract>,
    /// Its key there.
    pub key: Key,
    /// Its key there under the contract's former epoch, where there is one.
    pub former_key: Option<Key>,
    /// Whether its key there covers its record.
    key_has_record: bool,
}

impl EvaluatedRecord {
    /// Whether the record is resolved when the row that it would be now is there. That is so of its clean row. Of its row in
    /// quarantine under another key it is so in one direction only, or two rows would resolve each other: a row of no dataset yields to one of
    /// a dataset, and one that stands for all equal records to that of the very record.
    pub(crate) fn yields(&self) -> bool {
        match self.verdict {
            Disposition::Clean => true,
            Disposition::Quarantined => {
                self.key != self.quarantined && (self.key_has_record || !self.has_dataset)
            }
        }
    }
}

/// Has `intake` judge the unresolved ones of the rows of `batch` again, as far as they are `meant`. What becomes of them
/// is in the intake afterwards.
///
/// # Errors
/// When a column of quarantine is missing.
pub(crate) fn judge(
    catalog: &Catalog,
    batch: &RecordBatch,
    intake: &mut RecordCleaner,
    meant: impl Fn(&Rows<'_>, usize) -> bool,
) -> Result<Vec<EvaluatedRecord>, LakeError> {
    let keys = pinlake_clean::row_keys(catalog.quarantine(), batch)
        .map_err(|error| LakeError::encode(QUARANTINE)(error))?;
    let rows = Rows::of(batch)?;
    let unresolved = (0..batch.num_rows()).filter(|row| rows.is_unresolved(*row) && meant(&rows, *row));
    let judge = |row| {
        let quarantined = key_at(&keys, row);
        let verdict = rows.push(row, catalog, intake);
        EvaluatedRecord {
            quarantined,
            has_dataset: rows.dataset(row).is_some(),
            verdict,
            contract: Arc::clone(intake.last_contract()),
            // There is one: the record was pushed just now.
            key: intake.last_key().unwrap_or(quarantined),
            former_key: intake.last_former_key(),
            key_has_record: intake.last_key_has_record(),
        }
    };
    Ok(unresolved.map(judge).collect())
}

/// The columns of quarantine that judging again needs.
pub(crate) struct Rows<'a> {
    dataset: &'a ArrayRef,
    raw: &'a ArrayRef,
    source: &'a ArrayRef,
    position: &'a ArrayRef,
    record: &'a ArrayRef,
    resolved_at: &'a ArrayRef,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, LakeError> {
        let column = |name: &str| {
            let missing = || LakeError::encode(QUARANTINE)(format!("there is no column {name}"));
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

    pub(crate) fn is_of(&self, row: usize, dataset: Option<&str>) -> bool {
        dataset.is_none_or(|dataset| self.dataset(row) == Some(dataset))
    }

    /// A record of a dataset that has no contract any more stays as it is.
    pub(crate) fn is_known(&self, row: usize, catalog: &Catalog) -> bool {
        self.dataset(row).is_none_or(|dataset| catalog.contract(dataset).is_some())
    }

    /// The dataset that the record was sent to, or that the name of its stream, topic or file tells by now.
    fn hint<'b>(&self, row: usize, catalog: &'b Catalog) -> Option<&'b str>
    where
        'a: 'b,
    {
        let by_source = || {
            let (kind, name) = self.source.as_string::<i32>().value(row).split_once('/')?;
            // Behind the name stands the shard or the partition; of a file the name is all there is.
            let stream = || Some(name.rsplit_once('/')?.0);
            let contract = match kind {
                "file" => catalog.route_file(name)?,
                "kafka" => catalog.route_topic(stream()?)?,
                "kinesis" => match catalog.route_stream(stream()?) {
                    StreamRoute::Dataset(contract) => contract,
                    StreamRoute::Shared | StreamRoute::Unknown => return None,
                },
                _ => return None,
            };
            Some(contract.name.as_str())
        };
        self.dataset(row).or_else(by_source)
    }

    /// Has `intake` judge the record again.
    fn push(&self, row: usize, catalog: &Catalog, intake: &mut RecordCleaner) -> Disposition {
        let text = |column: &'a ArrayRef| {
            if column.is_valid(row) { column.as_string::<i32>().value(row) } else { "" }
        };
        // As it was when the record was quarantined: where the record is its own identity, its key is made of this.
        let position = match text(self.position).split_once('#') {
            Some((number, line)) => Position::Sequence { number, line: line.parse().unwrap_or(1) },
            None => Position::Line(text(self.position).parse().unwrap_or(1)),
        };
        let record_id = text(self.record)
            .rsplit_once('/')
            .and_then(|(request, index)| Some((request, index.parse().ok()?)));
        let origin = RecordOrigin { source: text(self.source), position, record_id };
        intake.push(self.raw.as_binary::<i32>().value(row), self.hint(row, catalog), &origin)
    }
}

/// Sets the time of resolution, in microseconds since 1970, of the rows that are meant and have none; nothing when
/// there is no such row.
pub(crate) fn mark_resolved(
    batch: &RecordBatch,
    meant: &BooleanArray,
    at: i64,
) -> Result<Option<RecordBatch>, ArrowError> {
    let index = batch.schema().index_of(RESOLVED_AT)?;
    let present = batch.column(index).as_primitive::<TimestampMicrosecondType>();
    let unresolved = arrow::compute::is_null(present)?;
    let mask = arrow::compute::and(&unresolved, meant)?;
    if mask.true_count() == 0 {
        return Ok(None);
    }
    let stamp = TimestampMicrosecondArray::new_scalar(at);
    let stamp = stamp.into_inner().with_timezone("UTC");
    let marked = zip(&mask, &arrow::array::Scalar::new(stamp), present)?;
    let mut columns = batch.columns().to_vec();
    columns[index] = marked;
    RecordBatch::try_new(batch.schema(), columns).map(Some)
}
