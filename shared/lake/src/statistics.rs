//! What the log says of a data file's columns (Delta protocol, "Per-file Statistics").
//!
//! The Delta library's accumulator makes it, a column at a time, so that a column's values are looked at while they are at hand
//! to be encoded. Of texts it would compare each with two others, which is a twentieth of a load's time: the least and the greatest
//! are found here, and the accumulator gets these two in the place of all.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use delta_kernel::KernelError;
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::StructType;
use delta_kernel_default_engine::stats::FileStatsAccumulator;

/// How much of what all texts of a column begin with is passed over when they are compared, in bytes.
const SHARED_BYTES: usize = 64;

/// Statistics of one column.
#[derive(Debug)]
pub(crate) struct ColumnStatistics {
    field: FieldRef,
    /// Of all values; of texts, when these are done, of the two ends.
    values: FileStatsAccumulator,
    texts: Option<Texts>,
}

/// What there was of texts.
#[derive(Debug, Default)]
struct Texts {
    rows: usize,
    nulls: usize,
    /// The least and the greatest.
    ends: Option<(String, String)>,
}

impl ColumnStatistics {
    /// Of the column `field`, if it is among `columns`, those that the table has statistics of.
    pub(crate) fn new(field: &FieldRef, columns: &[ColumnName], schema: &StructType) -> Self {
        let own = |column: &&ColumnName| column.path().first().is_some_and(|name| name == field.name());
        let own: Vec<ColumnName> = columns.iter().filter(own).cloned().collect();
        let is_text = field.data_type() == &DataType::Utf8 && !own.is_empty();
        let values = FileStatsAccumulator::new(&own, schema);
        Self { field: field.clone(), values, texts: is_text.then(Texts::default) }
    }

    /// Takes more of the column.
    ///
    /// # Errors
    /// When the Delta library refuses it.
    pub(crate) fn add(&mut self, column: &ArrayRef) -> Result<(), KernelError> {
        match &mut self.texts {
            Some(texts) => texts.add(column),
            None => self.values.merge(&alone(&self.field, column.clone())?)?,
        }
        Ok(())
    }

    /// One row: numRecords, and as far as they apply to it nullCount, minValues, maxValues of the column.
    fn finish(mut self) -> Result<StructArray, KernelError> {
        if let Some(texts) = &self.texts {
            self.values.merge(&alone(&self.field, texts.two())?)?;
        }
        let told = self.values.finish()?.ok_or_else(|| KernelError::generic("statistics of no rows"))?;
        match self.texts {
            Some(texts) => Ok(texts.counted(&told)?),
            None => Ok(told),
        }
    }
}

impl Texts {
    fn add(&mut self, column: &ArrayRef) {
        self.rows += column.len();
        self.nulls += column.null_count();
        let known = self.ends.as_ref().map(|(least, greatest)| Ends::new(least, greatest));
        let found = Ends::among(known, column.as_string::<i32>().iter().flatten());
        self.ends = found.map(|found| (found.least.to_owned(), found.greatest.to_owned()));
    }

    /// The least and the greatest as a column.
    fn two(&self) -> ArrayRef {
        let ends = self.ends.as_ref().map_or([None; 2], |(least, greatest)| [Some(least), Some(greatest)]);
        Arc::new(StringArray::from_iter(ends))
    }

    /// The statistics of the two ends, with the counts of all.
    fn counted(&self, ends: &StructArray) -> Result<StructArray, ArrowError> {
        let count = |count: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![count as i64])) };
        let sections = ends.fields().iter().zip(ends.columns()).map(|(field, section)| {
            Ok(match (field.name().as_str(), section.as_struct_opt()) {
                ("numRecords", _) => count(self.rows),
                ("nullCount", Some(of)) => {
                    Arc::new(StructArray::try_new(of.fields().clone(), vec![count(self.nulls)], None)?)
                }
                _ => section.clone(),
            })
        });
        StructArray::try_new(ends.fields().clone(), sections.collect::<Result<_, ArrowError>>()?, None)
    }
}

/// One row: numRecords, nullCount, minValues, maxValues of a file, each with what there is of its columns.
///
/// # Errors
/// When there are no columns, or no rows of one.
pub(crate) fn of_file(columns: Vec<ColumnStatistics>) -> Result<StructArray, KernelError> {
    let columns = columns.into_iter().map(ColumnStatistics::finish).collect::<Result<Vec<_>, _>>()?;
    // Of a column that cannot be ordered there are the fewest sections.
    let most = columns.iter().max_by_key(|column| column.num_columns());
    let most = most.ok_or_else(|| KernelError::generic("statistics of no columns"))?;
    let sections = most.fields().iter().zip(most.columns()).map(|(field, section)| {
        if section.as_struct_opt().is_none() {
            return Ok((field.clone(), section.clone()));
        }
        let parts = columns.iter().filter_map(|column| column.column_by_name(field.name())?.as_struct_opt());
        let (fields, values): (Vec<_>, Vec<_>) =
            parts.flat_map(|part| part.fields().iter().cloned().zip(part.columns().iter().cloned())).unzip();
        let section: ArrayRef = Arc::new(StructArray::try_new(fields.into(), values, None)?);
        let field = Field::new(field.name(), section.data_type().clone(), field.is_nullable());
        Ok((Arc::new(field), section))
    });
    let (fields, sections): (Vec<_>, Vec<_>) =
        sections.collect::<Result<Vec<_>, ArrowError>>()?.into_iter().unzip();
    Ok(StructArray::try_new(fields.into(), sections, None)?)
}

fn alone(field: &FieldRef, column: ArrayRef) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![column])
}

/// The least and the greatest of texts.
struct Ends<'a> {
    least: &'a str,
    greatest: &'a str,
    /// What both begin with, and then have as the next eight bytes: by this most texts are known to be between them.
    shared: &'a [u8],
    from: u64,
    to: u64,
}

impl<'a> Ends<'a> {
    fn new(least: &'a str, greatest: &'a str) -> Self {
        let same = least.bytes().zip(greatest.bytes()).take(SHARED_BYTES).take_while(|(a, b)| a == b);
        let (shared, rest) = least.as_bytes().split_at(same.count());
        Self { least, greatest, shared, from: head(rest), to: head(&greatest.as_bytes()[shared.len()..]) }
    }

    /// Of `texts` and those known before.
    fn among(known: Option<Self>, mut texts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut ends = match known {
            Some(ends) => ends,
            None => texts.next().map(|first| Self::new(first, first))?,
        };
        for text in texts {
            if !ends.are_around(text) {
                ends = Self::new(ends.least.min(text), ends.greatest.max(text));
            }
        }
        Some(ends)
    }

    fn are_around(&self, text: &str) -> bool {
        let is_between = text.as_bytes().strip_prefix(self.shared).is_some_and(|rest| {
            let next = head(rest);
            self.from < next && next < self.to
        });
        is_between || (self.least <= text && text <= self.greatest)
    }
}

/// The first eight bytes as a number, zeros where there are fewer: of two texts the one with the greater number is the greater.
fn head(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut first = [0; 8];
        first[..bytes.len()].copy_from_slice(bytes);
        first
    });
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{ListArray, TimestampMicrosecondArray};
    use arrow::datatypes::Int32Type;
    use delta_kernel::engine::arrow_conversion::TryIntoKernel;
    use proptest::prelude::*;

    /// Texts that are equal, begin alike, end early, or are longer than what the log keeps of one.
    fn text() -> impl Strategy<Value = Option<String>> {
        let word = prop_oneof![
            Just(String::new()),
            "[a-c]{0,3}",
            "same beginning[\0-\u{2}a-c]{0,12}",
            "long {80}[xyz]",
            "\\PC{0,40}",
            "\u{10FFFF}{30,34}[a\u{10FFFF}]{0,3}",
        ];
        proptest::option::weighted(0.9, word)
    }

    fn batch(rows: Vec<(Option<String>, Option<String>, Option<i64>)>) -> RecordBatch {
        let texts: StringArray = rows.iter().map(|row| row.0.clone()).collect();
        let more: StringArray = rows.iter().map(|row| row.1.clone()).collect();
        let numbers: Int64Array = rows.iter().map(|row| row.2).collect();
        let times: TimestampMicrosecondArray = rows.iter().map(|row| row.2).collect();
        let pairs = ListArray::from_iter_primitive::<Int32Type, _, _>(
            rows.iter().map(|row| row.2.map(|number| vec![Some(number as i32)])),
        );
        let columns: [(&str, ArrayRef); 5] = [
            ("pair", Arc::new(pairs)),
            ("text", Arc::new(texts)),
            ("number", Arc::new(numbers)),
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("more", Arc::new(more)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    proptest! {
        #[test]
        fn they_are_what_the_accumulator_says_of_all_rows(
            batches in prop::collection::vec(
                prop::collection::vec((text(), text(), any::<Option<i64>>()), 0..20),
                1..4,
            ),
            names in prop::sample::subsequence(vec!["text", "number", "time", "more", "pair"], 0..=5),
        ) {
            let batches: Vec<_> = batches.into_iter().map(batch).collect();
            let arrow = batches[0].schema();
            let schema: StructType = arrow.as_ref().try_into_kernel().unwrap();
            let names: Vec<_> = names.into_iter().map(|name| ColumnName::new([name])).collect();
            let mut whole = FileStatsAccumulator::new(&names, &schema);
            let mut columns: Vec<_> =
                arrow.fields().iter().map(|field| ColumnStatistics::new(field, &names, &schema)).collect();
            for batch in &batches {
                whole.merge(batch).unwrap();
                for (statistics, column) in columns.iter_mut().zip(batch.columns()) {
                    statistics.add(column).unwrap();
                }
            }
            prop_assert_eq!(of_file(columns).unwrap(), whole.finish().unwrap().unwrap());
        }

        #[test]
        fn ends_are_the_least_and_the_greatest(texts in prop::collection::vec(text(), 0..40)) {
            let texts: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
            let ends = Ends::among(None, texts.iter().copied()).map(|ends| (ends.least, ends.greatest));
            prop_assert_eq!(ends, texts.iter().min().copied().zip(texts.iter().max().copied()));
        }
    }
}
