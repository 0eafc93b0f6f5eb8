//! What the log says of a data file's columns (Delta protocol, "Per-file Statistics").
//!
//! The Delta library's accumulator makes it, a column at a time, so that a column's values are looked at while they are at hand
//! to be encoded. Of texts it would compare each with two others, which is a twentieth of a load's time: the least and the greatest
//! are found here, and the accumulator gets these two in the place of all.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::BooleanBuffer;
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
    /// Of the values; of texts, in the place of which there are booleans, no more than how many are null.
    values: FileStatsAccumulator,
    texts: Option<Texts>,
}

/// The least and the greatest text so far.
#[derive(Debug)]
struct Texts {
    ends: Option<(String, String)>,
    /// Of these two.
    values: FileStatsAccumulator,
}

impl ColumnStatistics {
    /// Of the column `field`, if it is among `columns`, those that the table has statistics of.
    pub(crate) fn new(field: &FieldRef, columns: &[ColumnName], schema: &StructType) -> Self {
        let own = |column: &&ColumnName| column.path().first().is_some_and(|name| name == field.name());
        let own: Vec<ColumnName> = columns.iter().filter(own).cloned().collect();
        let accumulator = || FileStatsAccumulator::new(&own, schema);
        let is_text = field.data_type() == &DataType::Utf8 && !own.is_empty();
        let texts = is_text.then(|| Texts { ends: None, values: accumulator() });
        Self { field: field.clone(), values: accumulator(), texts }
    }

    /// Takes more of the column.
    ///
    /// # Errors
    /// When the Delta library refuses it.
    pub(crate) fn add(&mut self, column: &ArrayRef) -> Result<(), KernelError> {
        let Some(Texts { ends, .. }) = &mut self.texts else {
            return self.values.merge(&alone(&self.field, column.clone())?);
        };
        let known = ends.as_ref().map(|(least, greatest)| Ends::new(least, greatest));
        let found = Ends::among(known, column.as_string::<i32>().iter().flatten());
        *ends = found.map(|found| (found.least.to_owned(), found.greatest.to_owned()));
        let field = Arc::new(Field::new(self.field.name(), DataType::Boolean, true));
        let flags = BooleanArray::new(BooleanBuffer::new_unset(column.len()), column.nulls().cloned());
        self.values.merge(&alone(&field, Arc::new(flags))?)
    }

    /// One row: numRecords, and as far as they apply to it nullCount, minValues, maxValues of the column.
    fn finish(self) -> Result<StructArray, KernelError> {
        let nothing = || KernelError::generic("statistics of no rows");
        let all = self.values.finish()?.ok_or_else(nothing)?;
        let Some(Texts { ends, mut values }) = self.texts else { return Ok(all) };
        let ends = ends.map_or([None, None], |(least, greatest)| [Some(least), Some(greatest)]);
        values.merge(&alone(&self.field, Arc::new(StringArray::from_iter(ends)))?)?;
        let ends = values.finish()?.ok_or_else(nothing)?;
        let sections = ends.fields().iter().zip(ends.columns()).map(|(field, section)| {
            let section = match field.name().as_str() {
                "minValues" | "maxValues" => Some(section),
                _ => all.column_by_name(field.name()),
            };
            section.cloned().ok_or_else(nothing)
        });
        let sections = sections.collect::<Result<_, _>>()?;
        Ok(StructArray::try_new(ends.fields().clone(), sections, None)?)
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

    use arrow::array::{Int64Array, ListArray, TimestampMicrosecondArray};
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
