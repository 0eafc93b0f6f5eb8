use serde_json::{Value, json};

use crate::model::Answer;
use crate::plot::{Table, plot};
use crate::{ChartSpec, svg};

fn drawn(columns: &[&str], rows: Value, declared: &str) -> String {
    let answer = Answer {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: serde_json::from_value(rows).unwrap(),
        ..Answer::default()
    };
    let chart = plot(&Table::new(&answer), Some(&ChartSpec::parse(declared).unwrap()));
    svg::draw(&chart, "p1", "How many?").into_string()
}

#[test]
fn every_kind_is_drawn_in_two_widths_with_a_text() {
    let rows = json!([[2018, "a", 3], [2018, "b", -2.5], [2019, "a", null], [2020, "a", 7e300]]);
    for declared in [
        "bar x=year y=n label=kind",
        "grouped x=year y=n by=kind",
        "stacked x=year y=n by=kind",
        "line x=year y=n by=kind",
    ] {
        let svg = drawn(&["year", "kind", "n"], rows.clone(), declared);
        assert_eq!(svg.matches("role=\"img\"").count(), 2, "{declared}");
        for part in [
            "id=\"p1-narrow-t\"",
            "id=\"p1-wide-d\"",
            "aria-labelledby=\"p1-wide-t p1-wide-d\"",
            "How many?</title>",
        ] {
            assert!(svg.contains(part), "{declared}: {part}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{declared}: {svg}");
        assert!(!svg.contains("style="), "a hash-only policy forbids style attributes");
    }
}

#[test]
fn a_bar_is_as_long_as_its_value() {
    let svg = drawn(&["name", "n"], json!([["a", 50], ["b", 25], ["c", 0]]), "bar");
    let narrow = svg.split("wide").next().unwrap();
    let widths: Vec<&str> = narrow
        .split("class=\"s1\"")
        .skip(1)
        .map(|bar| bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert_eq!(widths, ["340", "170", "1.5"]);
}

#[test]
fn a_gap_interrupts_a_line() {
    let rows = json!([[2015, 1], [2016, 2], [2017, null], [2018, 4]]);
    let svg = drawn(&["year", "n"], rows, "line");
    assert_eq!(
        svg.matches("<polyline").count(),
        2,
        "one part in each width: the value after the gap is a point"
    );
    assert_eq!(svg.matches("<circle").count(), 6);
    assert!(svg.contains("2018: 4</title>"));
}

#[test]
fn hostile_names_are_escaped() {
    let svg =
        drawn(&["<b>", "n"], json!([["</svg><script>alert(1)</script>", 1], ["\"x\" onload='y'", 2]]), "bar");
    assert!(!svg.contains("<script") && !svg.contains("<b>") && !svg.contains("\"x\""), "{svg}");
    assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;"));
    let svg = drawn(&["x", "<i>y"], json!([["</title><script>", 1]]), "grouped");
    assert!(!svg.contains("<script") && !svg.contains("<i>"));
}
