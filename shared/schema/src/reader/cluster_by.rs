//! Parses `cluster_by`: the columns by which the rows of a data file are sorted.

use super::toml_tree::{Diagnostics, Section};
use super::{check_column_names, values};
use crate::column::Column;
use crate::data_type::{Scalar, Type};

/// The most columns.
const MAX_COLUMNS: usize = 4;

pub(super) fn parse(
    document: &Section<'_>,
    columns: &[Column],
    partition_by: &[String],
    is_quarantine: bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<String> {
    let names = document.strings("cluster_by", diagnostics);
    let Some(first) = names.first() else { return Vec::new() };
    if is_quarantine {
        diagnostics.add(first.span.clone(), "quarantine is not clustered", "remove `cluster_by`");
        return Vec::new();
    }
    check_column_names("cluster_by", &names, columns, diagnostics);
    if let Some(item) = names.get(MAX_COLUMNS) {
        let what = format!("`cluster_by` may have {MAX_COLUMNS} columns");
        diagnostics.add(item.span.clone(), what, "name the columns that queries filter by most");
    }
    for name in &names {
        let Some(column) = columns.iter().find(|column| column.name == name.value) else { continue };
        if partition_by.contains(&column.name) {
            let what = format!(
                "column `{}` is in `partition_by`, so all rows of a file have one value of it",
                name.value
            );
            diagnostics.add(name.span.clone(), what, "remove it here");
        } else if !can_sort(column.data_type) {
            let what =
                format!("column `{}` is {}, by which rows are not sorted", name.value, column.data_type);
            diagnostics.add(
                name.span.clone(),
                what,
                "name a column of times, dates, texts, numbers or booleans",
            );
        }
    }
    values(names)
}

fn can_sort(data_type: Type) -> bool {
    !matches!(data_type, Type::Array(_) | Type::Scalar(Scalar::Json | Scalar::Binary))
}
