//! Cleans values of a table again, by the rules of one column of a changed contract.

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type};
use chrono::NaiveDate;
use pinlake_schema::{Column, Scalar, Type};

use crate::column_builder::ColumnBuilder;
use crate::column_cleaner::clean_value;
use crate::parsed_record::{FieldValue, ParsedRecord, Span};
use crate::row::{Cell, Row, RowView};
use crate::timestamp::MICROS_PER_DAY;

/// The values of a column of the given type and rules, from texts, integers or dates that a table has. They are cleaned as the fields of a
/// record would be, but not checked (`required`, `one_of`, `min` and the like). Null where there is no value, where it breaks a rule, and where
/// something would be lost: digits of a `float64`, or the time of day of a date. `None` if the values are of another type, or the column is an
/// array.
pub fn clean_stored_values(column: &Column, stored: &dyn Array) -> Option<ArrayRef> {
    let mut values = Values::new(column)?;
    if let Some(texts) = stored.as_string_opt::<i32>() {
        texts.iter().for_each(|text| values.push(text, FieldValue::Text));
    } else if let Some(numbers) = stored.as_primitive_opt::<Int64Type>() {
        numbers.iter().for_each(|number| values.push_displayed(number, FieldValue::Number));
    } else if let Some(numbers) = stored.as_primitive_opt::<Int32Type>() {
        numbers.iter().for_each(|number| values.push_displayed(number, FieldValue::Number));
    } else if let Some(days) = stored.as_primitive_opt::<Date32Type>() {
        let date = |days| Some(NaiveDate::from_epoch_days(days)?.format("%Y-%m-%d"));
        days.iter().for_each(|days| values.push_displayed(days.and_then(date), FieldValue::Time));
    } else {
        return None;
    }
    Some(values.builder.finish())
}

struct Values<'a> {
    column: &'a Column,
    builder: ColumnBuilder,
    record: ParsedRecord,
    row: Row,
    text: String,
}

impl<'a> Values<'a> {
    fn new(column: &'a Column) -> Option<Self> {
        matches!(column.data_type, Type::Scalar(_)).then(|| Self {
            column,
            builder: ColumnBuilder::new(column),
            record: ParsedRecord::new(0),
            row: Row::default(),
            text: String::new(),
        })
    }

    fn push_displayed(&mut self, value: Option<impl std::fmt::Display>, kind: fn(Span) -> FieldValue) {
        let text = value.map(|value| value.to_string());
        self.push(text.as_deref(), kind);
    }

    fn push(&mut self, text: Option<&str>, kind: fn(Span) -> FieldValue) {
        self.record.clear();
        self.row.clear();
        self.text.clear();
        self.text.push_str(text.unwrap_or_default());
        let value = match text {
            Some(text) => kind(Span::new(0, text.len())),
            None => FieldValue::Null,
        };
        let scalar = self.column.data_type.scalar();
        let cell = match (scalar, self.clean(scalar, value)) {
            (Scalar::Float64, Cell::Float(bits)) if !has_same_digits(&self.text, f64::from_bits(bits)) => {
                Cell::Null
            }
            (Scalar::Date, Cell::Date(_)) if matches!(self.clean(Scalar::Timestamp, value), Cell::Timestamp(at) if at % MICROS_PER_DAY != 0) => {
                Cell::Null
            }
            (_, cell) => cell,
        };
        self.builder.push(cell, RowView { row: &self.row, record: &self.record, text: &self.text });
    }

    fn clean(&mut self, scalar: Scalar, value: FieldValue) -> Cell {
        let Self { column, record, row, text, .. } = self;
        clean_value(column, scalar, value, record, text, row).unwrap_or(Cell::Null)
    }
}

/// Whether a number has the significant digits of a text: with more than 15, not every text is a number of 64 bits.
fn has_same_digits(text: &str, number: f64) -> bool {
    let significant = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    let written = format!("{number:e}");
    let mantissa = written.split('e').next().unwrap_or_default();
    let digits = significant(text.split(['e', 'E']).next().unwrap_or_default());
    digits == significant(mantissa)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, StringArray};
    use arrow::util::display::array_value_to_string;
    use pinlake_schema::Catalog;

    use super::*;

    fn cleaned(rules: &str, stored: &dyn Array) -> Vec<String> {
        let text = format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"a\"\n{rules}\n");
        let catalog = Catalog::from_files([("t.toml".to_owned(), text)]).unwrap();
        let column = &catalog.contract("t").unwrap().columns[0];
        let values = clean_stored_values(column, stored).unwrap();
        assert_eq!(*values.data_type(), column.data_type.arrow());
        (0..values.len()).map(|row| array_value_to_string(&values, row).unwrap()).collect()
    }

    #[test]
    fn texts_are_cleaned_as_those_of_records() {
        let texts: Arc<dyn Array> = Arc::new(StringArray::from(vec![Some("007"), Some("x"), None]));
        assert_eq!(cleaned("type = \"int64\"", &texts), ["7", "", ""]);
        let texts = StringArray::from(vec!["28.08.20 03:52:47", "2020-08-28"]);
        let rules = "type = \"timestamp\"\nformats = [\"%d.%m.%y %H:%M:%S\"]\nzone = \"Europe/Berlin\"";
        assert_eq!(cleaned(rules, &texts), ["2020-08-28T01:52:47Z", ""]);
        let texts = StringArray::from(vec!["6.918,26 EUR", "ja"]);
        assert_eq!(
            cleaned("type = \"decimal(9,2)\"\nlocale = \"de\"\nremove_suffix = \" EUR\"", &texts),
            ["6918.26", ""]
        );
        let texts = StringArray::from(vec!["1.50", "9007199254740993", "1e3", "1200"]);
        assert_eq!(cleaned("type = \"float64\"", &texts), ["1.5", "", "1000.0", "1200.0"]);
        let texts = StringArray::from(vec!["2020-01-02", "2020-01-02T23:30:00Z", "2020-01-02 00:00:00"]);
        let rules = "type = \"date\"\nformats = [\"%Y-%m-%d\", \"%Y-%m-%d %H:%M:%S\", \"%Y-%m-%dT%H:%M:%S\"]";
        assert_eq!(cleaned(rules, &texts), ["2020-01-02", "", "2020-01-02"]);
        let texts = StringArray::from(vec!["6.918,26 EUR", "ja"]);
        assert_eq!(cleaned("type = \"boolean\"\ntrue = [\"ja\"]", &texts), ["", "true"]);
    }

    #[test]
    fn numbers_and_dates_become_times() {
        let numbers = Int64Array::from(vec![1_598_586_767_000]);
        assert_eq!(
            cleaned("type = \"timestamp\"\nformats = [\"unix_millis\"]", &numbers),
            ["2020-08-28T03:52:47Z"]
        );
        assert_eq!(cleaned("type = \"timestamp\"", &numbers), [""]);
        assert_eq!(
            cleaned("type = \"timestamp\"", &Date32Array::from(vec![18_502])),
            ["2020-08-28T00:00:00Z"]
        );
    }
}
