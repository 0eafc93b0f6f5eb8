use serde_json::{Value, json};

use super::*;
use crate::model::{
    Activity, Answer, CommitState, CostEstimate, DatasetState, Maintenance, PastAnswer, Period, Run, Served,
    State, Waiting,
};

fn answer(columns: &[&str], rows: Value) -> Answer {
    Answer {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: serde_json::from_value(rows).unwrap(),
        versions: [("pin".to_owned(), Some(3)), ("geo".to_owned(), None)].into(),
        ..Answer::default()
    }
}

fn panel(name: &str, sql: &str, outcome: Outcome) -> Panel {
    Panel {
        name: name.to_owned(),
        sql: sql.to_owned(),
        seconds: Some(0.0123),
        outcome,
        history: Vec::new(),
        parquet: None,
    }
}

fn page(panels: Vec<Panel>, state: State) -> String {
    render(&Report {
        title: "Lake <script>alert('title')</script>".to_owned(),
        lake: "/tmp/\u{202e}ekal".to_owned(),
        generated_at: "2022-10-19T12:00:00Z".parse().unwrap(),
        generator: "pinlake 0.1".to_owned(),
        panels,
        state,
        results_at: None,
        objective_seconds: Some(60),
        contracts: None,
        records: None,
        served: None,
    })
}

/// The texts of all scripts.
fn scripts(page: &str) -> Vec<&str> {
    page.split("<script")
        .skip(1)
        .map(|rest| rest.split_once('>').unwrap().1.split_once("</script>").unwrap().0)
        .collect()
}

#[test]
fn hostile_texts_stay_texts() {
    let attack = "</script><script>alert(1)</script><!--&\u{2028}\u{202e}\"'";
    let rows = answer(
        &["<img src=x onerror=alert(1)>", attack, "n"],
        json!([[attack, "x\u{0}\u{1b}[2J", 1], [null, ["<b>"], 2]]),
    );
    let sql = format!(
        "-- {attack}\n--\n-- <i>  <u>note</u>\n--\n-- <s>remark\n-- title: <h1>title\n-- section: <section>\n-- chart: <pie>\nSELECT '{attack}'"
    );
    let failed = panel("bad", "-- <q>?\nSELECT", Outcome::Failed(attack.to_owned()));
    let page = page(vec![panel("a", &sql, Outcome::Answer(rows.clone())), failed], State::default());
    assert_eq!(page.matches("<script").count(), 2, "one data block and the page's own script");
    for tag in
        ["<img", "<i>", "<u>", "<s>", "<b>", "<q>", "<h1>title", "<section>", "<pie>", "<!--", "\u{202e}"]
    {
        assert!(!page.replace(SCRIPT, "").replace("<!DOCTYPE", "").contains(tag), "{tag}");
    }
    let block: Value = serde_json::from_str(scripts(&page)[0]).unwrap();
    assert_eq!(block["rows"][0][0], json!(attack), "the data block has the value unchanged");
    assert_eq!(block["columns"], json!(rows.columns));
    assert_eq!(block["versions"], json!({"pin": 3, "geo": null}));
}

#[test]
fn the_policy_allows_the_style_and_the_script_and_nothing_else() {
    let page = page(Vec::new(), State::default());
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    for allowed in [style, scripts(&page).last().unwrap()] {
        assert!(page.contains(&format!("'{}'", hash_source(allowed))));
    }
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    let markup = page.replace(SCRIPT, "").replace(STYLE, "");
    for forbidden in [" style=", " onclick=", "http://", "https://", "unsafe"] {
        assert!(!markup.replace("http://www.w3.org/2000/svg", "").contains(forbidden), "{forbidden}");
    }
    // The script cannot end early, nor parse HTML.
    for forbidden in ["</script", "innerHTML", "insertAdjacentHTML", "eval(", "document.write"] {
        assert!(!SCRIPT.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn panels_are_in_the_declared_sections_and_order() {
    let answer = || Outcome::Answer(answer(&["n"], json!([[1]])));
    let page = page(
        vec![
            panel("c", "SELECT 1", answer()),
            panel("b", "-- order: 2\n-- section: First\nSELECT 1", answer()),
            panel("a", "-- order: 10\n-- section: First\nSELECT 1", answer()),
            panel("d", "-- order: 5\n-- title: Fifth\n-- section: Second\nSELECT 1", answer()),
        ],
        State::default(),
    );
    let places: Vec<usize> = [
        ">First</h2>",
        "result-b",
        "result-a",
        ">Second</h2>",
        "result-d",
        "Fifth</h3>",
        ">Results</h2>",
        "result-c",
    ]
    .map(|part| page.find(part).unwrap_or_else(|| panic!("{part}")))
    .into();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_first_rows_are_in_the_page_and_all_in_its_data() {
    let rows: Vec<Value> = (0..10_000).map(|n| json!([format!("name {n}"), n])).collect();
    let page = page(
        vec![panel("big", "SELECT 1", Outcome::Answer(answer(&["name", "n"], json!(rows))))],
        State::default(),
    );
    assert_eq!(page.matches("<tr>").count(), 101, "with the head of the table");
    let block: Value = serde_json::from_str(scripts(&page)[0]).unwrap();
    assert_eq!(block["rows"].as_array().unwrap().len(), 10_000);
    assert!(page.contains("The first 100 of 10,000 rows.") && page.contains("data-rows=\"10000\""));
}

#[test]
fn a_result_that_is_too_large_is_cut_and_says_so() {
    let rows: Vec<Value> = (0..200).map(|n| json!([n, "x".repeat(100_000)])).collect();
    let outcome = Outcome::Answer(answer(&["n", "text"], json!(rows)));
    let page = page(vec![panel("large", "SELECT 1", outcome)], State::default());
    let block: Value = serde_json::from_str(scripts(&page)[0]).unwrap();
    assert_eq!(block["rows"].as_array().unwrap().len(), 100);
    assert!(page.contains("the first 100 rows of 200.") && page.contains("data-rows=\"100\""));
}

#[test]
fn failed_and_empty_results_say_so() {
    let page = page(
        vec![
            panel(
                "failed",
                "SELECT nothing",
                Outcome::Failed("q.sql:1: no column nothing; fix the query".to_owned()),
            ),
            panel("empty", "SELECT n", Outcome::Answer(answer(&["n"], json!([])))),
            panel(
                "nulls",
                "-- chart: bar x=a y=b",
                Outcome::Answer(answer(&["a", "b"], json!([["x", null]]))),
            ),
            panel("mistaken", "-- chart: pie\nSELECT 1", Outcome::Answer(answer(&["n"], json!([[1]])))),
        ],
        State::default(),
    );
    for part in [
        "q.sql:1: no column nothing; fix the query",
        "3 of 4",
        "No rows were loaded yet into geo.",
        "1 without a value is not drawn.",
        "chart: unknown kind &quot;pie&quot;",
        "pin version 3",
        "12 ms",
        "This lake has no rows yet.",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn numbers_are_written_for_people_and_exactly() {
    let rows = answer(&["year", "mean"], json!([[2018, 1_234.567_891_2], [2019, 1_000_000.0]]));
    let page = page(vec![panel("a", "-- chart: table\nSELECT 1", Outcome::Answer(rows))], State::default());
    assert!(
        page.contains(r#"<td class="n">2018</td><td class="n" title="1234.5678912">1,234.5679</td>"#),
        "{page}"
    );
    assert!(page.contains(r#"<td class="n">1,000,000</td>"#));
}

#[test]
fn the_state_tells_figures_and_problems() {
    let at = "2022-10-19T11:55:00Z".parse().unwrap();
    let commit = CommitState { at, operation: None, inserted: Some(5), duplicates: Some(1) };
    let state = State {
        datasets: vec![
            DatasetState {
                dataset: "geo".to_owned(),
                version: Some(7),
                rows: Some(12_345),
                bytes: 486_772,
                files: 2,
                last_commit: Some(commit),
                waiting: Some(Waiting { objects: 2, bytes: 2048, since: at, is_lower_limit: true }),
                quarantined: [("wrong_type".to_owned(), 9)].into(),
                quarantined_by_day: ["2022-10-18", "2022-10-19"]
                    .map(|day| (day.to_owned(), [("wrong_type".to_owned(), 4)].into()))
                    .into(),
                activity: None,
                problem: None,
            },
            DatasetState {
                dataset: "pin".to_owned(),
                problem: Some("the log is <damaged>".to_owned()),
                ..DatasetState::default()
            },
            DatasetState { dataset: "user".to_owned(), ..DatasetState::default() },
        ],
        unrouted: [("no_route".to_owned(), 2)].into(),
        unrouted_by_day: [("2022-10-19".to_owned(), [("no_route".to_owned(), 2)].into())].into(),
        landed_at: Some(at),
        shards: 2,
        cost: None,
        quarantine_problem: None,
    };
    assert_eq!((state.quarantined(), state.last_commit_at()), (11, Some(at)));
    let page = page(Vec::new(), state);
    for part in [
        "12,345",
        "487 kB",
        "5 minutes before this page, 5 rows inserted, 1 duplicate",
        "geo: wrong_type",
        "no dataset: no_route",
        "11 records, without those",
        "the log is &lt;damaged&gt;",
        "no rows yet",
        "at least 2 objects",
        "for 5 minutes",
        "the objective is 1 minute",
        "landed a batch",
        "waiting for 5 minutes",
        "When did these records arrive?",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("This lake has no rows yet"));
}

fn period(day: u32, read: u64, quarantined: u64) -> Period {
    Period {
        from: format!("2022-10-{day:02}T00:00:00Z").parse().unwrap(),
        commits: 1,
        read,
        inserted: read.saturating_sub(1),
        duplicates: read.min(1),
        quarantined,
        ..Period::default()
    }
}

fn active(dataset: &str, is_truncated: bool, periods: Vec<Period>) -> DatasetState {
    let since = "2022-10-17T08:00:00Z".parse().unwrap();
    let maintenance = Maintenance {
        merges: 2,
        files_replaced: 70,
        files_written: 2,
        last_merge_at: Some("2022-10-19T11:00:00Z".parse().unwrap()),
        checkpoint_version: Some(1050),
    };
    DatasetState {
        dataset: dataset.to_owned(),
        version: Some(1057),
        rows: Some(5000),
        quarantined: [("wrong_type".to_owned(), 5)].into(),
        activity: Some(Activity {
            commits: 500,
            since,
            is_truncated,
            period_seconds: 86_400,
            periods,
            maintenance,
        }),
        ..DatasetState::default()
    }
}

#[test]
fn what_became_of_the_records_is_told_by_day() {
    let periods = vec![period(17, 5, 5), period(18, 995, 5), period(19, 12_345, 0)];
    let state = State {
        datasets: vec![active("geo", true, periods.clone()), active("pin", false, periods)],
        ..State::default()
    };
    let page = page(Vec::new(), state);
    for part in [
        "Which share of the records breaks its contract?",
        "20 records of the last 31 days.",
        "2022-10-18, geo: 0.5",
        "2022-10-17, pin: 50",
        "pin, inserted: 13,342",
        "geo: the newest 500 commits, since 2022-10-17 08:00 UTC",
        "over 500",
        "2 merges: 70 files became 2",
        "version 1,050",
        "7 later versions",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("2022-10-17, geo"), "an incomplete day has no share");
    let block: Value = serde_json::from_str(scripts(&page)[0]).unwrap();
    let columns =
        ["dataset", "from", "accepted", "inserted", "duplicates", "superseded", "outdated", "deleted"];
    assert_eq!(block["columns"], json!([&columns[..], &["quarantined", "% quarantined"]].concat()));
    assert_eq!(block["rows"][1], json!(["geo", "2022-10-18T00:00:00Z", 995, 994, 1, 0, 0, 0, 5, 0.5]));
    assert_eq!(block["rows"][2][9], Value::Null);
}

#[test]
fn the_cost_is_an_estimate_with_its_command() {
    let cost = CostEstimate {
        since: "2022-10-01T00:00:00Z".parse().unwrap(),
        records: 1_234_567,
        is_projected: true,
        records_per_day: 66_733.0,
        bytes_per_record: 812.0,
        batch: 500.0,
        datasets: 3.0,
        analysed_posts: 400_000.0,
        usd: 1018.2,
        usd_per_month: 2030.456,
        services: [("Kinesis".to_owned(), 25.551), ("Lambda".to_owned(), 2004.91)].into(),
        prices_of: "2026-11-28".to_owned(),
        region: "us-east-1".to_owned(),
    };
    let page = page(Vec::new(), State { cost: Some(cost), ..State::default() });
    for part in [
        "$1,018.20",
        "$2,030.46",
        "not a bill",
        "1,234,567 records came since then, projected from the newest commits",
        "2,004.91",
        "<span>--records-per-day</span> <span>66733</span>",
        "<span>--analysed-posts</span> <span>400000</span>",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_pipeline_tells_what_the_lake_knows() {
    let conditions = |page: &str| -> Vec<String> {
        let parts = page.split_once("class=\"pipeline\"").unwrap().1.split_once("</ol>").unwrap().0;
        parts.split("<li class=\"").skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    let unknown = ["unknown", "unknown", "unknown", "ok", "unknown", "unknown", "ok"];
    assert_eq!(conditions(&page(Vec::new(), State::default())), unknown);
    let at = "2022-10-19T11:58:00Z".parse().unwrap();
    let waiting = Some(Waiting { objects: 3, bytes: 1, since: at, is_lower_limit: false });
    let late = DatasetState { dataset: "geo".to_owned(), waiting, ..DatasetState::default() };
    let broken = DatasetState { problem: Some("broken".to_owned()), ..DatasetState::default() };
    let state = State { datasets: vec![late, broken], landed_at: Some(at), shards: 2, ..State::default() };
    let page = page(Vec::new(), state);
    assert_eq!(conditions(&page), ["unknown", "unknown", "ok", "late", "late", "failed", "ok"]);
    for part in ["2 shards", "rows wait for 2 minutes", "1 table cannot be read"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn commands_redrive_each_dataset() {
    let state = State {
        datasets: vec![active("geo", false, Vec::new())],
        unrouted: [("no_route".to_owned(), 1)].into(),
        ..State::default()
    };
    let page = page(Vec::new(), state);
    assert!(
        page.contains("<span>'/tmp/\\u{202e}ekal'</span> <span>--dataset</span> <span>geo</span></code>"),
        "{page}"
    );
    assert!(page.contains("All datasets, and records without one:"));
}

#[test]
fn a_small_parquet_file_is_in_the_page_and_a_large_one_is_named() {
    let with_file = |bytes: usize| {
        let outcome = Outcome::Answer(answer(&["n"], json!([[1]])));
        page(
            vec![Panel { parquet: Some(vec![7; bytes]), ..panel("a", "SELECT 1", outcome) }],
            State::default(),
        )
    };
    assert!(with_file(3).contains("type=\"application/vnd.apache.parquet\">BwcH</script>"));
    let large = with_file((4 << 20) + 1);
    assert!(!large.contains("application/vnd.apache.parquet") && large.len() < 200_000);
    assert!(large.contains("the file has 4.2 MB, more than the 4.2 MB"), "{large}");
}

fn past(hour: u32, value: i64, digest: &str) -> PastAnswer {
    let at = format!("2022-10-19T{hour:02}:00:00Z").parse().unwrap();
    PastAnswer {
        run: Run { id: format!("20221019T{hour:02}0000Z-<"), at: Some(at) },
        rows: 1,
        largest: [("n".to_owned(), value.into())].into(),
        digest: digest.to_owned(),
        versions: [("pin".to_owned(), Some(3))].into(),
    }
}

fn report_with(history: Vec<PastAnswer>, served: Option<Served>) -> String {
    let outcome = Outcome::Answer(answer(&["n"], json!([[7]])));
    render(&Report {
        title: "Lake".to_owned(),
        lake: "s3://lake".to_owned(),
        generated_at: "2022-10-19T12:00:00Z".parse().unwrap(),
        generator: "pinlake 0.1".to_owned(),
        panels: vec![Panel { history, ..panel("total", "SELECT 7 AS n", outcome) }],
        state: State::default(),
        results_at: None,
        objective_seconds: None,
        contracts: None,
        records: served.as_ref().map(|_| answer(&["raw"], json!([["<b>"]]))),
        served,
    })
}

#[test]
fn a_history_has_a_line_and_every_run() {
    let history = vec![past(9, 5, "a"), past(10, 5, "a"), past(11, 1234, "b")];
    let page = report_with(history.clone(), None);
    for part in [
        "History, 3 runs",
        "n in 3 runs, from 5 to 1,234",
        "The result changed once.",
        "class=\"spark\"",
        "pin 3",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("?run=") && !page.contains("v1/results/"), "a file has no server");
    assert!(!report_with(history[..1].to_vec(), None).contains("History, "));
    let unknown = PastAnswer { largest: Default::default(), ..past(12, 0, "c") };
    assert!(report_with([history, vec![unknown]].concat(), None).contains("rows in 4 runs, from 1 to 1"));
}

#[test]
fn a_served_page_links_to_other_runs_and_to_files() {
    let runs: Vec<Run> = [11, 10, 9].map(|hour| past(hour, 1, "a").run).into();
    let served = |run: &str| Some(Served { run: Some(run.to_owned()), runs: runs.clone() });
    let latest = report_with(vec![past(9, 5, "a"), past(10, 5, "a")], served(&runs[0].id));
    for part in [
        "data-reload=\"300\"",
        "href=\"?run=20221019T100000Z-%3C\">earlier run",
        "v1/results/total.parquet?run=20221019T110000Z-%3C",
        "href=\"?run=20221019T090000Z-%3C#result-total\"",
        "all 3 runs",
        "What do the newest of these records look like?",
        "&lt;b&gt;",
    ] {
        assert!(latest.contains(part), "{part}");
    }
    assert!(!latest.contains("results of an earlier run") && !latest.contains("later run"));
    let oldest = report_with(Vec::new(), served(&runs[2].id));
    assert!(
        oldest.contains("results of an earlier run")
            && oldest.contains(">later run")
            && oldest.contains("latest run")
    );
    assert!(!oldest.contains("data-reload") && !oldest.contains("earlier run</a>"));
    let none = report_with(Vec::new(), Some(Served::default()));
    assert!(none.contains("There are no results yet.") && !none.contains("id=\"age\""));
}

#[test]
fn the_sign_in_page_has_no_script() {
    let page = sign_in(true);
    assert!(
        page.contains("type=\"password\"") && page.contains("not valid here") && scripts(&page).is_empty()
    );
    assert!(!sign_in(false).contains("not valid here"));
}
