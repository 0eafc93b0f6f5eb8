//! Parses `derive`: columns that are computed from others.

use std::ops::Range;

use super::toml_tree::{Diagnostics, Section};
use super::{COLUMN_KEYS, check_column_names};
use crate::column::{Column, ColumnSource, Derivation, DerivedPart};
use crate::data_type::Type;

/// The keys that a derived column may have.
const DERIVED_KEYS: [&str; 5] = ["name", "type", "description", "derive", "required"];

const HELP: &str = "write derive = \"date(at)\", or year, month or hour in place of date";

pub(super) fn parse(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<ColumnSource> {
    let written = section.string("derive", diagnostics)?;
    let parts = written.value.trim().strip_suffix(')').and_then(|text| text.split_once('('));
    let derivation = parts.and_then(|(part, column)| {
        let part = DerivedPart::ALL.into_iter().find(|own| own.as_str() == part.trim())?;
        Some(Derivation { part, column: column.trim().to_owned() })
    });
    if derivation.is_none() {
        diagnostics.add(written.span, format!("`{}` is no part of a column", written.value), HELP);
    }
    for key in COLUMN_KEYS.iter().filter(|key| !DERIVED_KEYS.contains(key)) {
        if let Some(span) = section.key_span(key) {
            let problem = format!("`{key}` has no meaning in a derived column");
            diagnostics.add(span, problem, "remove it: the value is computed from one that is clean");
        }
    }
    derivation.map(ColumnSource::Derived)
}

/// Checks that the sources of derived columns are columns of the contract that have these parts. `spans` are the places of `derive`.
pub(super) fn check(columns: &[Column], spans: &[Range<usize>], diagnostics: &mut Diagnostics<'_>) {
    for (column, span) in columns.iter().zip(spans) {
        let ColumnSource::Derived(derivation) = &column.source else { continue };
        let wanted = Type::Scalar(derivation.part.scalar());
        if column.data_type != wanted {
            let problem =
                format!("{derivation} is {wanted}, and the column `{}` {}", column.name, column.data_type);
            diagnostics.add(span.clone(), problem, format!("write type = \"{wanted}\""));
        }
        let Some(source) = columns.iter().find(|own| own.name == derivation.column) else {
            let named = super::Spanned { value: derivation.column.clone(), span: span.clone() };
            check_column_names("derive", &[named], columns, diagnostics);
            continue;
        };
        if let ColumnSource::Derived(own) = &source.source {
            let problem = format!("`{}` is a derived column itself", source.name);
            diagnostics.add(
                span.clone(),
                problem,
                format!("name `{}`, from which it is derived", own.column),
            );
        } else if !derivation.part.is_part_of(source.data_type) {
            let problem = format!(
                "column `{}` is {}, which has no {}",
                source.name,
                source.data_type,
                derivation.part.as_str()
            );
            diagnostics.add(span.clone(), problem, "name a column of the type timestamp");
        }
    }
}
