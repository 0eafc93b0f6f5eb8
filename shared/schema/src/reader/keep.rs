//! Parses `keep`: which record of several with one identity is the row.

use std::time::Duration;

use super::field_rules::parse_rules;
use super::toml_tree::{Diagnostics, Section};
use super::{check_column_names, values};
use crate::column::Column;
use crate::data_type::{Scalar, Type};
use crate::declaration::{Identity, KeepLatest};

const KEEP_KEYS: [&str; 3] = ["latest_by", "delete_when", "remember_deletes_days"];

/// How long the keys of deleted rows are kept if the contract does not say.
const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 3650;

/// The most columns of `latest_by`.
const MAX_ITEMS: usize = 16;

pub(super) fn parse(
    section: &Section<'_>,
    identity: &Identity,
    columns: &[Column],
    diagnostics: &mut Diagnostics<'_>,
) -> Option<KeepLatest> {
    section.reject_unknown_keys(&KEEP_KEYS, diagnostics);
    let Identity::Columns(names) = identity else {
        diagnostics.add(
            section.span.clone(),
            "`keep` needs an identity of columns: with any other, two records are never the same row",
            "write identity = [\"...\"] with the columns that stay the same when a row changes",
        );
        return None;
    };
    let json = columns
        .iter()
        .find(|column| column.data_type.scalar() == Scalar::Json && names.contains(&column.name));
    if let Some(json) = json {
        diagnostics.add(
            section.span.clone(),
            format!("`keep` does not go with the column `{}` of type json in the identity", json.name),
            "make it string, or take it out of the identity",
        );
    }
    let latest_by = section.strings("latest_by", diagnostics);
    if !section.has("latest_by") {
        diagnostics.add(
            section.span.clone(),
            "`latest_by` is missing",
            "name the columns that grow with each change, such as latest_by = [\"updated_at\"]",
        );
    }
    check_column_names("latest_by", &latest_by, columns, diagnostics);
    for own in &latest_by {
        let column = columns.iter().find(|column| column.name == own.value);
        if let Some(column) = column.filter(|column| !has_order(column.data_type)) {
            diagnostics.add(
                own.span.clone(),
                format!("column `{}` is {}, which has no order", own.value, column.data_type),
                "name a column of numbers, text, dates or times",
            );
        }
    }
    if let Some(item) = latest_by.get(MAX_ITEMS) {
        diagnostics.add(item.span.clone(), format!("`latest_by` may have {MAX_ITEMS} columns"), "name fewer");
    }
    Some(KeepLatest {
        latest_by: values(latest_by),
        delete_when: parse_rules(section, "delete_when", "{ op = \"d\" }", diagnostics),
        remember_deletes: parse_days(section, diagnostics),
    })
}

fn has_order(data_type: Type) -> bool {
    use Scalar::{Date, Decimal, Float64, Int32, Int64, String, Timestamp};
    matches!(data_type, Type::Scalar(String | Int64 | Int32 | Float64 | Decimal(_) | Timestamp | Date))
}

fn parse_days(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Duration {
    let mut days = DEFAULT_DAYS;
    if section.has("remember_deletes_days")
        && let Some(own) =
            section.required_integer("remember_deletes_days", "remember_deletes_days = 30", diagnostics)
    {
        if (1..=MAX_DAYS).contains(&own.value) {
            days = own.value;
        } else {
            diagnostics.add(
                own.span,
                format!("deletes cannot be remembered for {} days", own.value),
                format!("write 1 to {MAX_DAYS}"),
            );
        }
    }
    Duration::from_secs(days.unsigned_abs() * 24 * 60 * 60)
}
