//! Statistics of a data file's columns for the log (Delta protocol, "Per-file Statistics").
//!
//! `delta_kernel`'s accumulator computes them, one column at a time, while the column's values are in the processor's
//! cache to be encoded. It would compare each text with two others, which takes a twentieth of a load's time. So the
//! minimum and the maximum of texts are found here, and the accumulator gets only these two.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use delta_kernel::KernelError;
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::StructType;
use delta_kernel_default_engine::stats::FileStatsAccumulator;

/// Comparisons of texts skip a common prefix of up to this many bytes.
const MAX_PREFIX_BYTES: usize = 64;

/// Statistics of one column.
#[derive(Debug)]
pub(crate) struct ColumnStatistics {
    field: FieldRef,
    /// All values. Of texts, only the minimum and the maximum, at the end.
    accumulator: FileStatsAccumulator,
    texts: Option<TextStatistics>,
}

/// Statistics of a column of texts.
#[derive(Debug, Default)]
struct TextStatistics {
    rows: usize,
    nulls: usize,
    /// The minimum and the maximum.
    range: Option<(String, String)>,
}

impl ColumnStatistics {
    /// Statistics of the column `field`; none if it is not among `columns`, for which the table has statistics.
    pub(crate) fn new(field: &FieldRef, columns: &[ColumnName], schema: &StructType) -> Self {
        let own = |column: &&ColumnName| column.path().first().is_some_and(|name| name == field.name());
        let own: Vec<ColumnName> = columns.iter().filter(own).cloned().collect();
        let is_text = field.data_type() == &DataType::Utf8 && !own.is_empty();
        let accumulator = FileStatsAccumulator::new(&own, schema);
        Self { field: field.clone(), accumulator, texts: is_text.then(TextStatistics::default) }
    }

    /// Adds values of the column.
    ///
    /// # Errors
    /// If the kernel does not accept them.
    pub(crate) fn add(&mut self, column: &ArrayRef) -> Result<(), KernelError> {
        match &mut self.texts {
            Some(texts) => texts.add(column),
            None => self.accumulator.merge(&single_column_batch(&self.field, column.clone())?)?,
        }
        Ok(())
    }

    /// One row: numRecords, and those of nullCount, minValues and maxValues that the column has.
    fn finish(mut self) -> Result<StructArray, KernelError> {
        if let Some(texts) = &self.texts {
            self.accumulator.merge(&single_column_batch(&self.field, texts.range_column())?)?;
        }
        let statistics =
            self.accumulator.finish()?.ok_or_else(|| KernelError::generic("no rows for statistics"))?;
        match self.texts {
            Some(texts) => Ok(texts.replace_counts(&statistics)?),
            None => Ok(statistics),
        }
    }
}

impl TextStatistics {
    fn add(&mut self, column: &ArrayRef) {
        self.rows += column.len();
        self.nulls += column.null_count();
        let known = self.range.as_ref().map(|(min, max)| TextRange::new(min, max));
        let found = TextRange::extend(known, column.as_string::<i32>().iter().flatten());
        self.range = found.map(|found| (found.min.to_owned(), found.max.to_owned()));
    }

    /// The minimum and the maximum, as a column.
    fn range_column(&self) -> ArrayRef {
        let range = self.range.as_ref().map_or([None; 2], |(min, max)| [Some(min), Some(max)]);
        Arc::new(StringArray::from_iter(range))
    }

    /// The statistics of the minimum and the maximum, with the counts of all values.
    fn replace_counts(&self, statistics: &StructArray) -> Result<StructArray, ArrowError> {
        let count = |count: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![count as i64])) };
        let sections = statistics.fields().iter().zip(statistics.columns()).map(|(field, section)| {
            Ok(match (field.name().as_str(), section.as_struct_opt()) {
                ("numRecords", _) => count(self.rows),
                ("nullCount", Some(counts)) => {
                    Arc::new(StructArray::try_new(counts.fields().clone(), vec![count(self.nulls)], None)?)
                }
                _ => section.clone(),
            })
        });
        StructArray::try_new(statistics.fields().clone(), sections.collect::<Result<_, ArrowError>>()?, None)
    }
}

/// The statistics of a file, one row: numRecords, nullCount, minValues, maxValues.
///
/// # Errors
/// If there are no columns, or a column has no rows.
pub(crate) fn finish_file(columns: Vec<ColumnStatistics>) -> Result<StructArray, KernelError> {
    let columns = columns.into_iter().map(ColumnStatistics::finish).collect::<Result<Vec<_>, _>>()?;
    // A column without an order has fewer sections.
    let most = columns.iter().max_by_key(|column| column.num_columns());
    let most = most.ok_or_else(|| KernelError::generic("no columns for statistics"))?;
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

fn single_column_batch(field: &FieldRef, column: ArrayRef) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![column])
}

/// The minimum and the maximum of texts.
struct TextRange<'a> {
    min: &'a str,
    max: &'a str,
    /// Their common prefix, and the eight bytes after it. These prove that most texts are in the range.
    prefix: &'a [u8],
    from: u64,
    to: u64,
}

impl<'a> TextRange<'a> {
    fn new(min: &'a str, max: &'a str) -> Self {
        let same = min.bytes().zip(max.bytes()).take(MAX_PREFIX_BYTES).take_while(|(a, b)| a == b);
        let (prefix, rest) = min.as_bytes().split_at(same.count());
        Self { min, max, prefix, from: first_bytes(rest), to: first_bytes(&max.as_bytes()[prefix.len()..]) }
    }

    /// Extends the range by `texts`.
    fn extend(known: Option<Self>, mut texts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut range = match known {
            Some(range) => range,
            None => texts.next().map(|first| Self::new(first, first))?,
        };
        for text in texts {
            if !range.contains(text) {
                range = Self::new(range.min.min(text), range.max.max(text));
            }
        }
        Some(range)
    }

    fn contains(&self, text: &str) -> bool {
        let is_between = text.as_bytes().strip_prefix(self.prefix).is_some_and(|rest| {
            let next = first_bytes(rest);
            self.from < next && next < self.to
        });
        is_between || (self.min <= text && text <= self.max)
    }
}

/// The first eight bytes as a number, padded with zeros. A text with a greater number is greater.
fn first_bytes(bytes: &[u8]) -> u64 {
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

    /// Texts that are equal, share a prefix, are short, or are longer than the log's limit.
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
        fn statistics_equal_those_of_the_accumulator_alone(
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
            prop_assert_eq!(finish_file(columns).unwrap(), whole.finish().unwrap().unwrap());
        }

        #[test]
        fn a_text_range_is_the_minimum_and_the_maximum(texts in prop::collection::vec(text(), 0..40)) {
            let texts: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
            let range = TextRange::extend(None, texts.iter().copied()).map(|range| (range.min, range.max));
            prop_assert_eq!(range, texts.iter().min().copied().zip(texts.iter().max().copied()));
        }
    }
}
