//! From a declared or inferred chart and the rows of a result to what is drawn, independent of how it is drawn.

mod infer;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::format::{EMPTY, Kind, format_float, format_number, parse_time, to_words};
use crate::header::{ChartKind, ChartSpec, Header};
use crate::model::Answer;

/// Bars that are drawn unless `top` says otherwise.
const DEFAULT_BARS: usize = 12;
/// Bars beyond `top` that are drawn because they tie with the last one.
const MAX_TIED_BARS: usize = 5;
/// Columns of a chart with columns.
const MAX_COLUMNS: usize = 40;
/// Points of a line.
const MAX_POINTS: usize = 2_000;
/// Series that have a colour of their own.
pub(crate) const MAX_SERIES: usize = 7;
/// Large values beside each other.
const MAX_FIGURES: usize = 6;
/// Names that a bar lists when several rows tie.
const MAX_TIED_LABELS: usize = 3;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plot {
    /// Nothing.
    None,
    /// Large values.
    Figures(Vec<Figure>),
    /// Horizontal bars.
    Bars(Vec<Bar>),
    /// Columns, beside each other or on top of each other.
    Columns { is_stacked: bool, chart: SeriesChart },
    /// Lines.
    Lines(SeriesChart),
}

/// A plot, and what to say about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    pub plot: Plot,
    /// What is measured, such as `follower count (EUR)`.
    pub measure: String,
    /// The chart in a sentence, for those who do not see it.
    pub summary: String,
    /// What the chart leaves out, and errors in its declaration.
    pub notes: Vec<String>,
}

/// A large value with its caption.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub value: String,
    pub caption: String,
}

/// A horizontal bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub name: String,
    pub value: f64,
    /// Written beside the bar.
    pub label: Option<String>,
}

/// Values by position and series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeriesChart {
    /// Names of the positions on the x axis.
    pub names: Vec<String>,
    /// Places of the positions, ascending.
    pub places: Vec<f64>,
    pub series: Vec<Series>,
}

/// The values of one colour, one for each position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub name: String,
    pub values: Vec<Option<f64>>,
    /// Whether it is the sum of series that have no colour of their own.
    pub is_rest: bool,
}

/// The result with the kinds of its columns.
pub(crate) struct Table<'a> {
    pub answer: &'a Answer,
    pub kinds: Vec<Kind>,
}

/// The column with the numbers that a bar beside each row can show: the one that the SQL declares, or the first. None if
/// there are fewer than two rows, or a number is negative.
pub fn measure_column(sql: &str, answer: &Answer) -> Option<usize> {
    let table = Table::new(answer);
    let declared = Header::parse(sql).chart.and_then(|chart| chart.y.first().cloned());
    let column = match declared {
        Some(name) => answer.columns.iter().position(|column| *column == name)?,
        None => table.kinds.iter().position(|kind| *kind == Kind::Number)?,
    };
    let is_drawn = |row: usize| {
        let cell = table.cell(row, column);
        cell.is_null() || cell.as_f64().is_some_and(|value| value >= 0.0)
    };
    (answer.rows.len() > 1 && (0..answer.rows.len()).all(is_drawn)).then_some(column)
}

impl<'a> Table<'a> {
    pub(crate) fn new(answer: &'a Answer) -> Table<'a> {
        let cells =
            |column: usize| answer.rows.iter().map(move |row| row.get(column).unwrap_or(&Value::Null));
        let kinds = answer.columns.iter().enumerate().map(|(index, name)| Kind::of(name, cells(index)));
        Table { answer, kinds: kinds.collect() }
    }

    fn cell(&self, row: usize, column: usize) -> &'a Value {
        self.answer.rows.get(row).and_then(|row| row.get(column)).unwrap_or(&Value::Null)
    }

    fn number(&self, row: usize, column: usize) -> Option<f64> {
        self.cell(row, column).as_f64().filter(|value| value.is_finite())
    }

    /// A cell as the name of a position, a bar or a series.
    fn name(&self, row: usize, column: usize) -> String {
        match self.cell(row, column) {
            Value::String(text) if text.trim().is_empty() => EMPTY.to_owned(),
            cell => self.kinds[column].format(cell),
        }
    }

    /// Whether the values of a column have an order of their own.
    fn is_ordered(&self, column: usize) -> bool {
        matches!(self.kinds[column], Kind::Plain | Kind::Number | Kind::Date | Kind::Time)
    }

    fn place(&self, row: usize, column: usize) -> Option<f64> {
        match self.cell(row, column) {
            Value::String(text) => parse_time(text),
            cell => cell.as_f64(),
        }
    }

    fn find(&self, name: &str) -> Result<usize, String> {
        let columns = &self.answer.columns;
        let found = columns.iter().position(|column| column == name);
        found
            .or_else(|| columns.iter().position(|column| column.eq_ignore_ascii_case(name)))
            .ok_or_else(|| format!("there is no column \"{name}\"; the columns are {}", columns.join(", ")))
    }
}

/// The columns of a chart.
#[derive(Debug, Clone, PartialEq, Default)]
struct Roles {
    kind: ChartKind,
    x: Option<usize>,
    y: Vec<usize>,
    by: Option<usize>,
    label: Option<usize>,
}

/// Draws the declared chart, or the one that suits the columns.
pub(crate) fn plot(table: &Table<'_>, spec: Option<&ChartSpec>) -> Chart {
    let mut notes = Vec::new();
    let inferred = || infer::infer(table);
    let inferred_spec = ChartSpec::default();
    let (roles, spec) = match spec.map(|spec| (resolve(table, spec), spec)) {
        Some((Ok(roles), spec)) => (roles, spec),
        Some((Err(problem), _)) => {
            notes.push(format!("The declared chart cannot be drawn: {problem}"));
            (inferred(), &inferred_spec)
        }
        None => (inferred(), &inferred_spec),
    };
    let words = roles.y.iter().map(|column| to_words(&table.answer.columns[*column]));
    let mut measure = words.collect::<Vec<_>>().join(", ");
    if let Some(unit) = &spec.unit {
        measure = format!("{measure} ({})", to_words(unit));
    }
    let mut chart = Chart { plot: Plot::None, measure, summary: String::new(), notes };
    if table.answer.rows.is_empty() {
        return chart;
    }
    match roles.kind {
        ChartKind::Table => {}
        ChartKind::Number => plot_figures(table, &roles, spec, &mut chart),
        ChartKind::Bar => plot_bars(table, &roles, spec, &mut chart),
        ChartKind::Grouped | ChartKind::Stacked | ChartKind::Line => {
            plot_series(table, &roles, spec, &mut chart);
        }
    }
    chart
}

/// Finds the columns that a declaration names, and chooses those that it leaves open.
fn resolve(table: &Table<'_>, spec: &ChartSpec) -> Result<Roles, String> {
    let find = |name: &Option<String>| name.as_deref().map(|name| table.find(name)).transpose();
    let mut roles = Roles {
        kind: spec.kind,
        x: find(&spec.x)?,
        y: spec.y.iter().map(|name| table.find(name)).collect::<Result<_, _>>()?,
        by: find(&spec.by)?,
        label: find(&spec.label)?,
    };
    if roles.kind == ChartKind::Table || table.answer.rows.is_empty() {
        return Ok(roles);
    }
    let used = |roles: &Roles, column: usize| {
        [roles.x, roles.by, roles.label].contains(&Some(column)) || roles.y.contains(&column)
    };
    let columns = 0..table.kinds.len();
    if roles.y.is_empty() {
        let measure =
            columns.clone().find(|column| !used(&roles, *column) && table.kinds[*column] == Kind::Number);
        let any = || {
            columns.clone().find(|column| !used(&roles, *column) && table.kinds[*column].is_right_aligned())
        };
        let all_null = || (roles.kind == ChartKind::Number && roles.x.is_none()).then_some(0);
        roles.y.extend(measure.or_else(any).or_else(all_null));
    }
    if roles.x.is_none() && roles.kind != ChartKind::Number {
        roles.x = columns.clone().find(|column| !used(&roles, *column));
        if roles.x.is_none() {
            return Err("no column is left for x; write x=COLUMN".to_owned());
        }
    }
    if roles.kind == ChartKind::Number {
        return Ok(roles);
    }
    if roles.y.is_empty() {
        return Err("no column with numbers is left for y; write y=COLUMN".to_owned());
    }
    for column in &roles.y {
        let has_text = (0..table.answer.rows.len())
            .any(|row| !table.cell(row, *column).is_null() && table.number(row, *column).is_none());
        if has_text {
            return Err(format!("the column \"{}\" of y is not numeric", table.answer.columns[*column]));
        }
    }
    Ok(roles)
}

fn plot_figures(table: &Table<'_>, roles: &Roles, spec: &ChartSpec, chart: &mut Chart) {
    let rows = table.answer.rows.len();
    let write = |row: usize, column: usize| match (table.cell(row, column), &spec.unit) {
        (Value::Number(number), Some(unit)) => format!("{} {}", format_number(number), to_words(unit)),
        _ => table.name(row, column),
    };
    let mut figures = Vec::new();
    for row in 0..rows {
        let details =
            roles.y.iter().map(|column| (write(row, *column), to_words(&table.answer.columns[*column])));
        match roles.x {
            Some(x) => {
                let details = details.map(|(value, name)| format!("{name} {value}")).collect::<Vec<_>>();
                let caption = details.join(", ");
                figures.push(Figure { value: write(row, x), caption });
            }
            None => figures.extend(details.map(|(value, caption)| Figure { value, caption })),
        }
    }
    let total = figures.len();
    figures.truncate(MAX_FIGURES);
    let listed: Vec<String> =
        figures.iter().map(|figure| format!("{}, {}", figure.value, figure.caption)).collect();
    chart.summary = listed.join("; ");
    if roles.x.is_some() && rows > 1 {
        chart.notes.push(format!("{rows} rows answer the question together."));
    }
    if total > figures.len() {
        chart.notes.push(format!("{} of {total} values are shown; the table has all.", figures.len()));
    }
    chart.plot = Plot::Figures(figures);
}

fn plot_bars(table: &Table<'_>, roles: &Roles, spec: &ChartSpec, chart: &mut Chart) {
    let (Some(x), Some(y)) = (roles.x, roles.y.first().copied()) else { return };
    let label = roles.label.or(roles.by);
    // Rows of one name and value are a tie: one bar that names them all.
    let mut found: HashMap<(String, u64), usize> = HashMap::new();
    let mut bars: Vec<(Bar, Vec<String>)> = Vec::new();
    let mut missing = 0;
    for row in 0..table.answer.rows.len() {
        let Some(value) = table.number(row, y) else {
            missing += 1;
            continue;
        };
        let name = table.name(row, x);
        let labels = label.map(|column| table.name(row, column));
        let key = (name.clone(), value.to_bits());
        match (found.get(&key), labels) {
            (Some(index), Some(label)) => bars[*index].1.push(label),
            (_, labels) => {
                found.insert(key, bars.len());
                bars.push((Bar { name, value, label: None }, labels.into_iter().collect()));
            }
        }
    }
    let keeps_order = spec.keeps_order.unwrap_or_else(|| table.is_ordered(x) || !spec.order.is_empty());
    if keeps_order {
        let rank = |bar: &Bar| spec.order.iter().position(|name| *name == bar.name).unwrap_or(usize::MAX);
        bars.sort_by_key(|(bar, _)| rank(bar));
    } else {
        bars.sort_by(|(a, _), (b, _)| b.value.total_cmp(&a.value));
    }
    let total = bars.len();
    let mut drawn = spec.top.unwrap_or(DEFAULT_BARS).min(total);
    if !keeps_order && drawn > 0 && drawn < total {
        let last = bars[drawn - 1].0.value;
        let tied = bars[drawn..].iter().take_while(|(bar, _)| bar.value == last).count();
        let is_cut_in_tie = tied > MAX_TIED_BARS;
        drawn += if is_cut_in_tie { 0 } else { tied };
        if is_cut_in_tie {
            let value = format_float(last);
            chart.notes.push(format!("{tied} more tie with the last bar, at {value}."));
        }
    }
    bars.truncate(drawn);
    let bars: Vec<Bar> = bars
        .into_iter()
        .map(|(mut bar, labels)| {
            bar.label = join_tied(labels);
            bar
        })
        .collect();
    if total > drawn {
        let which = if keeps_order { "first" } else { "highest" };
        chart.notes.push(format!("The {drawn} {which} of {total} are drawn; the table has all."));
    }
    if missing > 0 {
        chart.notes.push(format!(
            "{missing} without a value {} not drawn.",
            if missing == 1 { "is" } else { "are" }
        ));
    }
    chart.summary = summarize_bars(&bars, total, &chart.measure);
    if !bars.is_empty() {
        chart.plot = Plot::Bars(bars);
    }
}

/// The text beside a bar: one name, or those that tie.
fn join_tied(labels: Vec<String>) -> Option<String> {
    match labels.len() {
        0 => None,
        1 => labels.into_iter().next(),
        count => {
            let mut text = labels.iter().take(MAX_TIED_LABELS).cloned().collect::<Vec<_>>().join(" = ");
            if count > MAX_TIED_LABELS {
                text.push_str(&format!(" = {} more", count - MAX_TIED_LABELS));
            }
            Some(format!("{text} (tie)"))
        }
    }
}

fn summarize_bars(bars: &[Bar], total: usize, measure: &str) -> String {
    let write = |bar: &Bar| match &bar.label {
        Some(label) => format!("{} {} ({label})", bar.name, format_float(bar.value)),
        None => format!("{} {}", bar.name, format_float(bar.value)),
    };
    let Some(greatest) = bars.iter().max_by(|a, b| a.value.total_cmp(&b.value)) else {
        return String::new();
    };
    let tied: Vec<String> =
        bars.iter().filter(|bar| bar.value == greatest.value).take(3).map(write).collect();
    let tie = if tied.len() > 1 { " (tie)" } else { "" };
    format!("Bars of {measure}, {total} in all. Highest{tie}: {}.", tied.join(", "))
}

fn plot_series(table: &Table<'_>, roles: &Roles, spec: &ChartSpec, chart: &mut Chart) {
    let Some(x) = roles.x else { return };
    let is_line = roles.kind == ChartKind::Line;
    let is_stacked = roles.kind == ChartKind::Stacked;
    // Positions by name, in the order of the rows, and their places.
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut names: Vec<(String, Option<f64>)> = Vec::new();
    let mut series: Vec<(String, HashMap<usize, f64>)> = Vec::new();
    let mut series_by_name: BTreeMap<String, usize> = BTreeMap::new();
    let (mut repeated, mut missing) = (0, 0);
    for row in 0..table.answer.rows.len() {
        let name = table.name(row, x);
        let position = *positions.entry(name.clone()).or_insert_with(|| {
            names.push((name, table.place(row, x)));
            names.len() - 1
        });
        for column in &roles.y {
            let name = match roles.by {
                Some(by) if roles.y.len() > 1 => {
                    format!("{}, {}", table.name(row, by), to_words(&table.answer.columns[*column]))
                }
                Some(by) => table.name(row, by),
                None => to_words(&table.answer.columns[*column]),
            };
            let index = *series_by_name.entry(name.clone()).or_insert_with(|| {
                series.push((name, HashMap::new()));
                series.len() - 1
            });
            match table.number(row, *column) {
                None => missing += 1,
                Some(value) => {
                    if series[index].1.insert(position, value).is_some() {
                        repeated += 1;
                    }
                }
            }
        }
    }
    if repeated > 0 {
        let x = &table.answer.columns[x];
        chart.notes.push(format!(
            "Several rows have the same {x} and series; the chart has the last of each. Declare by=COLUMN."
        ));
    }

    // The order of the positions: that of time or numbers, else the declared one, else that of the rows.
    let mut order: Vec<usize> = (0..names.len()).collect();
    let has_places = table.is_ordered(x) && names.iter().all(|(_, place)| place.is_some());
    let rank = |name: &str| spec.order.iter().position(|known| known == name).unwrap_or(usize::MAX);
    if has_places {
        let place = |position: &usize| names[*position].1.unwrap_or(f64::MAX);
        order.sort_by(|a, b| place(a).total_cmp(&place(b)));
    } else {
        order.sort_by_key(|position| rank(&names[*position].0));
    }
    let limit = if is_line { MAX_POINTS } else { MAX_COLUMNS };
    if order.len() > limit {
        let which = if has_places { "last" } else { "first" };
        chart
            .notes
            .push(format!("The {which} {limit} of {} positions are drawn; the table has all.", order.len()));
        order = if has_places { order.split_off(order.len() - limit) } else { order[..limit].to_vec() };
    }

    let mut series: Vec<Series> = series
        .into_iter()
        .map(|(name, values)| {
            let values = order.iter().map(|position| values.get(position).copied()).collect();
            Series { name, values, is_rest: false }
        })
        .collect();
    if table.kinds[x] == Kind::Time {
        shorten_times(&mut names);
    }
    limit_series(&mut series, is_stacked, chart);
    series.sort_by_key(|series| (series.is_rest, rank(&series.name)));
    if missing > 0 {
        chart.notes.push(format!(
            "{missing} without a value {} not drawn.",
            if missing == 1 { "is" } else { "are" }
        ));
    }
    let places = order.iter().enumerate().map(|(index, position)| match names[*position].1 {
        Some(place) if has_places && is_line => place,
        _ => index as f64,
    });
    let data = SeriesChart {
        places: places.collect(),
        names: order.iter().map(|position| names[*position].0.clone()).collect(),
        series,
    };
    if data.series.iter().all(|series| series.values.iter().all(Option::is_none)) {
        return;
    }
    chart.summary = summarize_series(&data, roles.kind, &chart.measure);
    // A line needs two points.
    chart.plot = if is_line && data.names.len() > 1 {
        Plot::Lines(data)
    } else {
        Plot::Columns { is_stacked, chart: data }
    };
}

/// Leaves out what all times have in common: the zone, and seconds that are 0.
fn shorten_times(names: &mut [(String, Option<f64>)]) {
    for common in [" UTC", ":00"] {
        if names.iter().all(|(name, _)| name.ends_with(common)) {
            names.iter_mut().for_each(|(name, _)| name.truncate(name.len() - common.len()));
        }
    }
}

/// Keeps the largest series. The rest become one series if they can be added, and are left out otherwise.
fn limit_series(series: &mut Vec<Series>, is_stacked: bool, chart: &mut Chart) {
    if series.len() <= MAX_SERIES {
        return;
    }
    let size = |series: &Series| series.values.iter().flatten().map(|value| value.abs()).sum::<f64>();
    series.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let rest = series.split_off(MAX_SERIES);
    if !is_stacked {
        let count = rest.len();
        chart
            .notes
            .push(format!("The {MAX_SERIES} largest series are drawn; {count} more are in the table."));
        return;
    }
    let positions = rest.first().map_or(0, |series| series.values.len());
    let sum = |position: usize| {
        let values = rest.iter().filter_map(|series| series.values.get(position).copied().flatten());
        values.reduce(|a, b| a + b)
    };
    let values = (0..positions).map(sum).collect();
    series.push(Series { name: format!("{} others", rest.len()), values, is_rest: true });
}

fn summarize_series(chart: &SeriesChart, kind: ChartKind, measure: &str) -> String {
    let what = match kind {
        ChartKind::Line => "Lines",
        ChartKind::Stacked => "Stacked columns",
        _ => "Columns",
    };
    let mut text = format!("{what} of {measure}");
    if let (Some(first), Some(last)) = (chart.names.first(), chart.names.last()) {
        text.push_str(&format!(" from {first} to {last}"));
    }
    if chart.series.len() > 1 {
        let names = chart.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>();
        text.push_str(&format!(", for {}", names.join(", ")));
    }
    let values = chart.series.iter().flat_map(|series| {
        series
            .values
            .iter()
            .enumerate()
            .filter_map(move |(index, value)| Some((index, &series.name, (*value)?)))
    });
    if let Some((index, series, value)) = values.max_by(|a, b| a.2.total_cmp(&b.2)) {
        let of = if chart.series.len() > 1 { format!(" of {series}") } else { String::new() };
        text.push_str(&format!(". Highest: {}{of} in {}", format_float(value), chart.names[index]));
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests;
