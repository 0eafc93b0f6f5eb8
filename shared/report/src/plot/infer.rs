//! Chooses a chart from the columns of a result.

use std::collections::HashSet;

use super::{MAX_FIGURES, MAX_SERIES, Roles, Table};
use crate::format::Kind;
use crate::header::ChartKind;

/// Numeric columns that are drawn together if their sizes are similar.
const MAX_MEASURES: usize = 4;
/// Ratio of sizes up to which two columns fit on one axis.
const MAX_RATIO: f64 = 50.0;
/// Points from which a sequence is a line instead of columns.
const MIN_LINE_POINTS: usize = 8;

/// The chart that suits the columns: values of a single row large; one value over time or years as a line or columns,
/// with a second name as its series; one value by name as ranked bars, with a second name beside the bar. A result
/// without numbers is a table.
pub(super) fn infer(table: &Table<'_>) -> Roles {
    let columns = 0..table.kinds.len();
    let measures: Vec<usize> =
        columns.clone().filter(|column| table.kinds[*column] == Kind::Number).collect();
    let names: Vec<usize> = columns.filter(|column| table.kinds[*column] != Kind::Number).collect();
    let rows = table.answer.rows.len();
    let Some(measure) = measures.first().copied() else {
        return Roles::default();
    };
    if rows == 1 && names.len() + measures.len() <= MAX_FIGURES {
        // One name with its value is an answer; other columns are values beside each other.
        let answer =
            (names.len() == 1 && measures.len() == 1 && !table.is_ordered(names[0])).then(|| names[0]);
        let y = answer.map_or_else(|| (0..table.kinds.len()).collect(), |_| measures);
        return Roles { kind: ChartKind::Number, x: answer, y, ..Roles::default() };
    }
    let Some(first) = names.first().copied() else {
        // Numbers by numbers: the first column is the axis.
        let [x, y, ..] = measures[..] else { return Roles::default() };
        return match is_unique(table, &[x]) {
            true => Roles { kind: ChartKind::Line, x: Some(x), y: vec![y], ..Roles::default() },
            false => Roles::default(),
        };
    };
    let sequence = names.iter().copied().find(|column| table.is_ordered(*column));
    // Identifiers are names that happen to be numbers.
    let sequence = sequence.filter(|column| {
        let name = table.answer.columns[*column].to_lowercase();
        table.kinds[*column] != Kind::Plain || name.contains("year") || name == "jahr" || name == "yr"
    });
    let other = |not: usize| names.iter().copied().find(|column| *column != not);
    if let Some(x) = sequence {
        let points = count_distinct(table, x);
        let over_time = if points >= MIN_LINE_POINTS { ChartKind::Line } else { ChartKind::Grouped };
        return match other(x) {
            None => Roles { kind: over_time, x: Some(x), y: similar(table, &measures), ..Roles::default() },
            Some(label) if is_unique(table, &[x]) => Roles {
                kind: ChartKind::Bar,
                x: Some(x),
                y: vec![measure],
                label: Some(label),
                ..Roles::default()
            },
            Some(by) if is_unique(table, &[x, by]) => {
                // Counts can be added; averages and the like cannot.
                let is_count = !has_fraction(table, measure) && count_distinct(table, by) > 2;
                let kind = if points >= MIN_LINE_POINTS {
                    ChartKind::Line
                } else if is_count {
                    ChartKind::Stacked
                } else {
                    ChartKind::Grouped
                };
                Roles { kind, x: Some(x), y: vec![measure], by: Some(by), label: None }
            }
            Some(label) => Roles {
                kind: ChartKind::Bar,
                x: Some(x),
                y: vec![measure],
                label: Some(label),
                ..Roles::default()
            },
        };
    }
    let second = other(first);
    let is_grid = second.is_some_and(|by| {
        !is_unique(table, &[first])
            && is_unique(table, &[first, by])
            && count_distinct(table, by) <= MAX_SERIES
            && count_distinct(table, first) <= 12
    });
    match second {
        Some(by) if is_grid => {
            Roles { kind: ChartKind::Grouped, x: Some(first), y: vec![measure], by: Some(by), label: None }
        }
        label => Roles { kind: ChartKind::Bar, x: Some(first), y: vec![measure], label, ..Roles::default() },
    }
}

/// The first measure, and those that fit on its axis.
fn similar(table: &Table<'_>, measures: &[usize]) -> Vec<usize> {
    let size = |column: usize| {
        (0..table.answer.rows.len())
            .filter_map(|row| table.number(row, column))
            .fold(0.0, |max: f64, value| max.max(value.abs()))
    };
    let Some((first, others)) = measures.split_first() else { return Vec::new() };
    let reference = size(*first);
    let fits = |column: &usize| {
        let size = size(*column);
        size <= reference * MAX_RATIO && reference <= size * MAX_RATIO
    };
    let others = others.iter().copied().filter(fits).take(MAX_MEASURES - 1);
    std::iter::once(*first).chain(others).collect()
}

fn is_unique(table: &Table<'_>, columns: &[usize]) -> bool {
    let mut seen = HashSet::new();
    (0..table.answer.rows.len()).all(|row| {
        let names: Vec<String> = columns.iter().map(|column| table.name(row, *column)).collect();
        seen.insert(names)
    })
}

fn count_distinct(table: &Table<'_>, column: usize) -> usize {
    (0..table.answer.rows.len()).map(|row| table.name(row, column)).collect::<HashSet<_>>().len()
}

fn has_fraction(table: &Table<'_>, column: usize) -> bool {
    (0..table.answer.rows.len()).any(|row| table.cell(row, column).is_f64())
}
