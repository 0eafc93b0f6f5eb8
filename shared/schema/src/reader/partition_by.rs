//! Parses `partition_by`: the columns by whose values the table is partitioned.

use super::toml_tree::{Diagnostics, Section};
use super::{check_column_names, values};
use crate::column::{Column, ColumnSource};
use crate::column_rules::DefaultValue;
use crate::data_type::{Scalar, Type};

/// The most partition columns.
const MAX_COLUMNS: usize = 4;

pub(super) fn parse(
    document: &Section<'_>,
    columns: &[Column],
    is_quarantine: bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<String> {
    let names = document.strings("partition_by", diagnostics);
    let Some(first) = names.first() else { return Vec::new() };
    if is_quarantine {
        diagnostics.add(first.span.clone(), "quarantine has no partitions", "remove `partition_by`");
        return Vec::new();
    }
    check_column_names("partition_by", &names, columns, diagnostics);
    if let Some(item) = names.get(MAX_COLUMNS) {
        diagnostics.add(
            item.span.clone(),
            format!("`partition_by` may have {MAX_COLUMNS} columns"),
            "name fewer: each combination of values has files of its own",
        );
    }
    if names.len() == columns.len() {
        diagnostics.add(
            first.span.clone(),
            "all columns are partition columns, and data files would have none",
            "name fewer",
        );
    }
    for name in &names {
        let Some(column) = columns.iter().find(|column| column.name == name.value) else { continue };
        if !can_partition(column.data_type) {
            diagnostics.add(
                name.span.clone(),
                format!(
                    "column `{}` is {}, by which a table is not partitioned",
                    name.value, column.data_type
                ),
                "name a column of dates, texts, integers or booleans with few values",
            );
        } else if let Some(rule) = find_emptying_rule(column) {
            diagnostics.add(
                name.span.clone(),
                format!("`{rule}` may leave an empty text in column `{}`, which Delta makes null in a partition column", name.value),
                format!("remove `{rule}`, or partition by another column"),
            );
        } else if column.data_type.scalar() == Scalar::String && !column.null.iter().any(String::is_empty) {
            diagnostics.add(
                name.span.clone(),
                format!(
                    "column `{}` may have an empty text, which Delta makes null in a partition column",
                    name.value
                ),
                "write null = [\"\"] in the column, so that an empty text is null from the start",
            );
        }
    }
    values(names)
}

/// The rule by which a text may become empty after it was compared with `null`.
fn find_emptying_rule(column: &Column) -> Option<&'static str> {
    let is_empty = |value: &DefaultValue| matches!(value, DefaultValue::Text(text) if text.is_empty());
    let rules = [
        ("trim", column.trim),
        ("remove_prefix", column.remove_prefix.is_some()),
        ("remove_suffix", column.remove_suffix.is_some()),
        ("join", matches!(column.source, ColumnSource::Join { .. })),
        ("default", column.default.as_ref().is_some_and(is_empty)),
    ];
    let is_text = column.data_type.scalar() == Scalar::String;
    rules.into_iter().find(|(_, applies)| is_text && *applies).map(|(rule, _)| rule)
}

fn can_partition(data_type: Type) -> bool {
    use Scalar::{Boolean, Date, Int32, Int64, String};
    matches!(data_type, Type::Scalar(String | Int64 | Int32 | Boolean | Date))
}
