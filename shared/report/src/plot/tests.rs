use serde_json::json;

use super::*;

fn answer(columns: &[&str], rows: Value) -> Answer {
    let rows = rows.as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect();
    Answer { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows, ..Answer::default() }
}

fn drawn(answer: &Answer, declared: &str) -> Chart {
    let spec = (!declared.is_empty()).then(|| ChartSpec::parse(declared).unwrap());
    plot(&Table::new(answer), spec.as_ref())
}

fn bars(chart: &Chart) -> Vec<(&str, f64, Option<&str>)> {
    let Plot::Bars(bars) = &chart.plot else { panic!("{chart:?}") };
    bars.iter().map(|bar| (bar.name.as_str(), bar.value, bar.label.as_deref())).collect()
}

fn series(chart: &Chart) -> (&SeriesChart, Vec<&str>) {
    let (Plot::Columns { chart, .. } | Plot::Lines(chart)) = &chart.plot else { panic!("{chart:?}") };
    (chart, chart.series.iter().map(|series| series.name.as_str()).collect())
}

#[test]
fn a_chart_is_inferred_from_the_columns() {
    let kind = |columns: &[&str], rows: Value| match drawn(&answer(columns, rows), "").plot {
        Plot::None => "none",
        Plot::Figures(_) => "figures",
        Plot::Bars(_) => "bars",
        Plot::Columns { is_stacked: true, .. } => "stacked",
        Plot::Columns { is_stacked: false, .. } => "columns",
        Plot::Lines(_) => "lines",
    };
    assert_eq!(kind(&["n"], json!([])), "none");
    assert_eq!(kind(&["n", "median"], json!([[3, 1.5]])), "figures");
    assert_eq!(kind(&["country", "n"], json!([["Peru", 3]])), "figures");
    let totals = drawn(&answer(&["n", "people", "first"], json!([[3, 2, "2024-01-01T10:00:00Z"]])), "");
    let Plot::Figures(figures) = &totals.plot else { panic!("{totals:?}") };
    assert_eq!(
        figures.iter().map(|figure| &*figure.value).collect::<Vec<_>>(),
        ["3", "2", "2024-01-01 10:00:00 UTC"]
    );
    assert_eq!(kind(&["country", "n"], json!([["Peru", 3], ["Chad", 2]])), "bars");
    assert_eq!(kind(&["name", "tag"], json!([["a", "b"]])), "none");
    assert_eq!(kind(&["year", "n"], json!([[2018, 3], [2019, 5]])), "columns");
    let days: Vec<Value> = (10..30).map(|day| json!([format!("2024-01-{day}"), day])).collect();
    assert_eq!(kind(&["day", "n"], json!(days)), "lines");
    let grid = json!([[2018, "a", 1], [2018, "b", 2], [2018, "c", 2], [2019, "a", 3]]);
    assert_eq!(kind(&["year", "kind", "n"], grid), "stacked");
    assert_eq!(
        kind(&["year", "kind", "mean"], json!([[2018, "a", 1.5], [2018, "b", 2.0], [2019, "a", 0.5]])),
        "columns"
    );
    assert_eq!(kind(&["year", "best", "n"], json!([[2018, "a", 1], [2019, "a", 3]])), "bars");
    assert_eq!(kind(&["shop", "kind", "n"], json!([["x", "a", 1], ["x", "b", 3], ["y", "a", 3]])), "columns");
    assert_eq!(kind(&["user_id", "n"], json!([[7, 1], [9, 3]])), "bars");
    assert_eq!(kind(&["n", "m"], json!([[null, null]])), "none");
}

#[test]
fn bars_are_ranked_and_ties_are_one_bar() {
    let rows = json!([
        ["Chad", "art", 2],
        ["Chad", "food", 2],
        ["Peru", "art", 9],
        [null, "art", 9],
        ["Fiji", "art", null],
        ["", "x", 1]
    ]);
    let answer = answer(&["country", "category", "n"], rows);
    let chart = drawn(&answer, "bar x=country y=n label=category");
    assert_eq!(
        bars(&chart),
        [
            ("Peru", 9.0, Some("art")),
            ("(null)", 9.0, Some("art")),
            ("Chad", 2.0, Some("art = food (tie)")),
            ("(empty)", 1.0, Some("x")),
        ]
    );
    assert_eq!(chart.notes, ["1 without a value is not drawn."]);
    assert_eq!(chart.summary, "Bars of n, 4 in all. Highest (tie): Peru 9 (art), (null) 9 (art).");
    let all = drawn(&answer, "bar x=country y=n label=category sort=none");
    assert_eq!(bars(&all)[0].0, "Chad");
}

#[test]
fn a_cut_within_a_tie_is_told() {
    let rows = |tied: usize| {
        let mut rows = vec![json!(["first", 9])];
        rows.extend((0..tied).map(|n| json!([format!("t{n}"), 5])));
        rows.push(json!(["last", 1]));
        answer(&["name", "n"], json!(rows))
    };
    let few = rows(4);
    let chart = drawn(&few, "bar top=2");
    assert_eq!(
        (bars(&chart).len(), &*chart.notes[0]),
        (5, "The 5 highest of 6 are drawn; the table has all.")
    );
    let many = rows(20);
    let chart = drawn(&many, "bar top=2");
    assert_eq!((bars(&chart).len(), &*chart.notes[0]), (2, "19 more tie with the last bar, at 5."));
}

#[test]
fn several_answers_stand_side_by_side() {
    let tied = answer(&["country", "followers"], json!([["Peru", 12_000], ["Chad", 12_000]]));
    let chart = drawn(&tied, "number x=country y=followers unit=people");
    let Plot::Figures(figures) = &chart.plot else { panic!("{chart:?}") };
    assert_eq!((&*figures[1].value, &*figures[1].caption), ("Chad", "followers 12,000 people"));
    assert_eq!(chart.notes, ["2 rows answer the question together."]);
    let many: Vec<Value> = (0..9).map(|n| json!([n])).collect();
    let chart = drawn(&answer(&["n"], json!(many)), "number");
    assert_eq!(chart.notes, ["6 of 9 values are shown; the table has all."]);
}

#[test]
fn series_are_ordered_and_gaps_stay_gaps() {
    let rows = json!([[2019, "+50", 4], [2018, "+50", 1], [2018, "18-24", 2.5], [2020, "18-24", null]]);
    let answer = answer(&["year", "age", "n"], rows);
    let chart = drawn(&answer, "line x=year y=n by=age order=18-24,+50");
    let (data, names) = series(&chart);
    assert_eq!((names, &data.places[..]), (vec!["18-24", "+50"], &[2018.0, 2019.0, 2020.0][..]));
    assert_eq!(data.series[0].values, [Some(2.5), None, None]);
    assert_eq!(chart.notes, ["1 without a value is not drawn."]);
    assert_eq!(chart.summary, "Lines of n from 2018 to 2020, for 18-24, +50. Highest: 4 of +50 in 2019.");
}

#[test]
fn times_on_an_axis_are_short() {
    let rows: Vec<Value> = (10..20).map(|hour| json!([format!("2024-01-05T{hour}:30:00Z"), hour])).collect();
    let chart = drawn(&answer(&["at", "n"], json!(rows)), "");
    assert_eq!(series(&chart).0.names[0], "2024-01-05 10:30");
}

#[test]
fn more_series_than_colours_are_added_only_in_a_stack() {
    let rows: Vec<Value> = (1..11).map(|n| json!([2018, format!("s{n}"), n])).collect();
    let answer = answer(&["year", "kind", "n"], json!(rows));
    let chart = drawn(&answer, "stacked x=year y=n by=kind");
    let (data, names) = series(&chart);
    assert_eq!((names.len(), names[0], names[7]), (8, "s10", "3 others"));
    assert_eq!(data.series[7].values, [Some(6.0)]);
    let chart = drawn(&answer, "grouped x=year y=n by=kind");
    assert_eq!(
        (series(&chart).1.len(), &*chart.notes[0]),
        (7, "The 7 largest series are drawn; 3 more are in the table.")
    );
}

#[test]
fn a_mistaken_declaration_is_told_and_replaced() {
    let answer = answer(&["country", "n"], json!([["Peru", 1], ["Chad", 2]]));
    for (declared, expected) in [
        ("bar x=land", "there is no column \"land\"; the columns are country, n"),
        ("bar x=n y=country", "\"country\" of y is not numeric"),
        ("line x=country y=n by=kind", "there is no column \"kind\""),
    ] {
        let chart = drawn(&answer, declared);
        assert!(chart.notes[0].contains(expected), "{declared}: {:?}", chart.notes);
        assert_eq!(bars(&chart)[0].0, "Chad");
    }
    assert_eq!(drawn(&answer, "table").plot, Plot::None);
    // NaN is null in results, and a column of nulls is no reason to fail.
    let nulls = self::answer(&["country", "n"], json!([["Peru", null], ["Chad", null]]));
    let chart = drawn(&nulls, "bar x=country y=n");
    assert_eq!((chart.plot, &*chart.notes[0]), (Plot::None, "2 without a value are not drawn."));
    assert_eq!(drawn(&self::answer(&["a", "b"], json!([])), "bar x=a y=b").notes, [""; 0]);
}
