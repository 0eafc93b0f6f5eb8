//! Columns that are computed from other columns of the row.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::{Date32Type, TimestampMicrosecondType};
use arrow::array::{ArrayRef, Date32Array, Int32Array, new_null_array};
use arrow::datatypes::DataType;
use chrono::{Datelike, NaiveDate};
use pinlake_schema::{Column, ColumnSource, Contract, DerivedPart};

use crate::row::Cell;
use crate::timestamp::MICROS_PER_DAY;

/// 1970-01-01 in days since the year 1.
const EPOCH_FROM_CE: i64 = 719_163;
const MICROS_PER_HOUR: i64 = MICROS_PER_DAY / 24;

/// A derived column of a contract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DerivedColumn {
    /// Its index, and that of the column from which it is derived.
    pub(crate) index: usize,
    pub(crate) source: usize,
    pub(crate) part: DerivedPart,
}

pub(crate) fn find_derived(contract: &Contract) -> Vec<DerivedColumn> {
    let find = |(index, column): (usize, &Column)| {
        let ColumnSource::Derived(derivation) = &column.source else { return None };
        let source = contract.columns.iter().position(|own| own.name == derivation.column)?;
        Some(DerivedColumn { index, source, part: derivation.part })
    };
    contract.columns.iter().enumerate().filter_map(find).collect()
}

/// The part of a timestamp or a date; null of anything else.
pub(crate) fn derive_cell(part: DerivedPart, cell: Cell) -> Cell {
    let value = match cell {
        Cell::Timestamp(micros) => derive(part, micros),
        Cell::Date(days) => days.checked_mul(MICROS_PER_DAY).and_then(|micros| derive(part, micros)),
        _ => None,
    };
    match (value, part) {
        (None, _) => Cell::Null,
        (Some(days), DerivedPart::Date) => Cell::Date(days.into()),
        (Some(number), _) => Cell::Int(number.into()),
    }
}

/// The values of a derived column from those of its source, as the cleaner computes them. Null if the source is neither a timestamp in
/// microseconds nor a date.
pub fn derive_values(part: DerivedPart, source: &ArrayRef) -> ArrayRef {
    let micros = source.as_primitive_opt::<TimestampMicrosecondType>();
    let days = source.as_primitive_opt::<Date32Type>();
    let values: Option<Vec<Option<i32>>> = match (micros, days) {
        (Some(micros), _) => {
            Some(micros.iter().map(|micros| micros.and_then(|micros| derive(part, micros))).collect())
        }
        (_, Some(days)) => {
            let derive_day =
                |days: i32| i64::from(days).checked_mul(MICROS_PER_DAY).and_then(|own| derive(part, own));
            Some(days.iter().map(|days| days.and_then(derive_day)).collect())
        }
        _ => None,
    };
    match (values, part) {
        (Some(values), DerivedPart::Date) => Arc::new(Date32Array::from(values)),
        (Some(values), _) => Arc::new(Int32Array::from(values)),
        (None, DerivedPart::Date) => new_null_array(&DataType::Date32, source.len()),
        (None, _) => new_null_array(&DataType::Int32, source.len()),
    }
}

/// The part of a point in time in UTC; a date is in days since 1970.
fn derive(part: DerivedPart, micros: i64) -> Option<i32> {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let date = || {
        let days = days.checked_add(EPOCH_FROM_CE).and_then(|days| i32::try_from(days).ok())?;
        NaiveDate::from_num_days_from_ce_opt(days)
    };
    match part {
        DerivedPart::Date => i32::try_from(days).ok(),
        DerivedPart::Year => Some(date()?.year()),
        DerivedPart::Month => i32::try_from(date()?.month()).ok(),
        DerivedPart::Hour => i32::try_from(micros.rem_euclid(MICROS_PER_DAY) / MICROS_PER_HOUR).ok(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;
    use chrono::DateTime;

    use super::*;

    #[test]
    fn parts_are_those_of_the_calendar_in_utc() {
        for (at, date, year, month, hour) in [
            ("2020-08-28T03:52:47Z", "2020-08-28", 2020, 8, 3),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31", 1969, 12, 23),
            ("1970-01-01T00:00:00Z", "1970-01-01", 1970, 1, 0),
            ("2024-02-29T23:30:00-05:00", "2024-03-01", 2024, 3, 4),
            ("0001-01-01T00:00:00Z", "0001-01-01", 1, 1, 0),
            ("9999-12-31T23:59:59Z", "9999-12-31", 9999, 12, 23),
        ] {
            let micros = DateTime::parse_from_rfc3339(at).unwrap().timestamp_micros();
            let date: NaiveDate = date.parse().unwrap();
            let days = date.num_days_from_ce() - EPOCH_FROM_CE as i32;
            let source: ArrayRef =
                Arc::new(TimestampMicrosecondArray::from(vec![Some(micros), None]).with_timezone("UTC"));
            for (part, expected) in [
                (DerivedPart::Date, days),
                (DerivedPart::Year, year),
                (DerivedPart::Month, month),
                (DerivedPart::Hour, hour),
            ] {
                assert_eq!(derive(part, micros), Some(expected), "{at} {part:?}");
                let values = derive_values(part, &source);
                let numbers = arrow::compute::cast(&values, &DataType::Int32).unwrap();
                let numbers: Vec<_> = numbers.as_primitive::<arrow::datatypes::Int32Type>().iter().collect();
                assert_eq!(numbers, [Some(expected), None]);
            }
            let of_date: ArrayRef = Arc::new(Date32Array::from(vec![days]));
            let months = derive_values(DerivedPart::Month, &of_date);
            assert_eq!(months.as_primitive::<arrow::datatypes::Int32Type>().value(0), month);
        }
    }
}
