//! Reproduces the published figures of two notebooks, cell by cell, from their rows.
//!
//! If a notebook interprets a question differently, `golden/<owner>/queries/` has its query, and ours is compared with
//! what follows from the published table. The figures are not part of the repository; without them the tests are
//! skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{analyse, beside, load, repository};

const DATASETS: [&str; 3] = ["pin", "geo", "user"];

/// The query that a published table is compared with.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    /// Our query of the same question.
    Ours,
    /// The owner's query in `golden/<owner>/queries/`.
    Theirs,
}
use Asked::{Ours, Theirs};

/// One published table. `renamed` maps our names of columns and labels to the owner's.
struct Published {
    cell: u64,
    result: &'static str,
    asked: Asked,
    renamed: &'static [(&'static str, &'static str)],
}

const fn table(cell: u64, asked: Asked, result: &'static str) -> Published {
    renamed_table(cell, asked, result, &[])
}

const fn renamed_table(
    cell: u64,
    asked: Asked,
    result: &'static str,
    renamed: &'static [(&'static str, &'static str)],
) -> Published {
    Published { cell, result, asked, renamed }
}

/// In the order of the file.
const ADAM_BREEZE: [Published; 9] = [
    table(4, Theirs, "posts_by_country_and_category"),
    renamed_table(5, Ours, "posts_by_year_and_category", &[("post_year", "year_joined")]),
    table(6, Theirs, "top_user_by_country"),
    table(6, Theirs, "country_of_top_user"),
    table(7, Ours, "popular_category_by_age_group"),
    table(8, Theirs, "median_followers_by_age_group"),
    renamed_table(9, Ours, "users_joined_by_year", &[("join_year", "year_joined")]),
    table(10, Theirs, "median_followers_by_join_year"),
    table(11, Theirs, "median_followers_by_join_year_and_age_group"),
];

/// The owner's name of the oldest group is 50+.
const OLDEST: &[(&str, &str)] = &[("+50", "50+")];

const WILSON_REDMAN: [Published; 9] = [
    table(4, Ours, "popular_category_by_country"),
    table(5, Theirs, "popular_category_by_year"),
    table(6, Ours, "top_user_by_country"),
    table(7, Ours, "country_of_top_user"),
    renamed_table(8, Ours, "popular_category_by_age_group", OLDEST),
    renamed_table(9, Ours, "median_followers_by_age_group", OLDEST),
    table(10, Ours, "users_joined_by_year"),
    table(11, Ours, "median_followers_by_join_year"),
    renamed_table(12, Ours, "median_followers_by_join_year_and_age_group", OLDEST),
];

/// Rows as notebooks show them: all cells are text, null is the word null. Their order is not published.
type Cells = BTreeSet<Vec<String>>;

fn shown(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn row(cells: &Value, renamed: &[(&str, &str)]) -> Vec<String> {
    let rename = |cell: String| match renamed.iter().find(|(ours, _)| *ours == cell) {
        Some((_, theirs)) => (*theirs).to_owned(),
        None => cell,
    };
    cells.as_array().unwrap().iter().map(|cell| rename(shown(cell))).collect()
}

fn cells_renamed(rows: &Value, renamed: &[(&str, &str)]) -> Cells {
    let rows = rows.as_array().unwrap();
    let cells: Cells = rows.iter().map(|cells| row(cells, renamed)).collect();
    assert_eq!(cells.len(), rows.len(), "there are duplicate rows");
    cells
}

fn cells(rows: &Value) -> Cells {
    cells_renamed(rows, &[])
}

/// A lake with an owner's rows and the results of our queries and theirs.
struct Golden {
    lake: TempDir,
    published: Vec<Value>,
    ours: Value,
    theirs: Value,
}

impl Golden {
    fn load(owner: &str, folder: &Path, contracts: Option<PathBuf>, kind: &str) -> Golden {
        let lake = tempfile::tempdir().unwrap();
        let files = DATASETS.map(|dataset| folder.join(format!("{dataset}_{kind}.ndjson")));
        let options: Vec<&OsStr> = match &contracts {
            Some(contracts) => vec!["--datasets".as_ref(), contracts.as_os_str()],
            None => vec![],
        };
        let counts = load(lake.path(), &options, &files);
        for (dataset, file) in DATASETS.iter().zip(&files) {
            let lines = fs::read_to_string(file).unwrap().lines().count();
            assert_eq!(counts[*dataset]["inserted"], lines, "every row of {} is clean", file.display());
        }

        let text = fs::read_to_string(folder.join("published_results.json")).unwrap();
        let published = serde_json::from_str::<Vec<Value>>(&text).unwrap();
        let own_queries = repository("tests/golden").join(owner).join("queries");
        let mut golden = Golden { lake, published, ours: Value::Null, theirs: Value::Null };
        golden.ours = analyse(golden.lake.path(), &options);
        let own = [&options[..], &["--queries".as_ref(), own_queries.as_os_str()]].concat();
        golden.theirs = analyse(golden.lake.path(), &own);
        golden
    }

    /// Compares published tables with our results and returns the number of equal cells.
    fn agrees(&self, tables: &[Published]) -> usize {
        assert_eq!(self.published.len(), tables.len());
        let mut agreed = 0;
        for (published, table) in self.published.iter().zip(tables) {
            let Published { cell, result, asked, renamed } = *table;
            assert_eq!(published["cell"], cell);
            let answer = if asked == Ours { &self.ours[result] } else { &self.theirs[result] };
            let columns = row(&answer["columns"], renamed);
            assert_eq!(columns, row(&published["columns"], &[]), "{result} against cell {cell}");
            let ours = cells_renamed(&answer["rows"], renamed);
            assert_eq!(ours, cells(&published["rows"]), "{result} against cell {cell}");
            agreed += ours.len() * columns.len();
        }
        agreed
    }
}

/// The rows whose last cell is the largest of those with the same first cell.
fn first_places(counted: &Cells) -> Cells {
    let count = |row: &Vec<String>| row.last().unwrap().parse::<u64>().unwrap();
    let mut largest = BTreeMap::new();
    for row in counted {
        let most = largest.entry(&row[0]).or_insert(0);
        *most = count(row).max(*most);
    }
    counted.iter().filter(|row| count(row) == largest[&row[0]]).cloned().collect()
}

#[test]
fn the_tables_of_wilson_redman_follow_from_its_own_contracts() {
    let Some(folder) = beside("golden/WilsonRedman") else {
        return;
    };
    let contracts = repository("tests/golden/WilsonRedman/datasets");
    let golden = Golden::load("WilsonRedman", &folder, Some(contracts), "clean");
    let agreed = golden.agrees(&WILSON_REDMAN);
    assert_eq!(agreed, 372 + 21 + 285 + 2 + 15 + 8 + 6 + 6 + 36, "cells");

    // Our query is limited to 2018-2022. The rows of these years are the same.
    let published = cells(&golden.published[1]["rows"]);
    let in_our_years: Cells = published.into_iter().filter(|row| row[0] != "2017").collect();
    assert_eq!(cells(&golden.ours["popular_category_by_year"]["rows"]), in_our_years);
}

#[test]
fn the_tables_of_adam_breeze_follow_from_our_contracts() {
    let Some(folder) = beside("golden/AdamBreeze1") else {
        return;
    };
    let golden = Golden::load("AdamBreeze1", &folder, None, "raw");
    let agreed = golden.agrees(&ADAM_BREEZE);
    assert_eq!(agreed, 597 + 186 + 354 + 3 + 24 + 8 + 6 + 6 + 36, "cells");

    // Cell 4 counts every category of every country; our query returns only the largest count of each country.
    let counted = cells(&golden.published[0]["rows"]);
    assert_eq!(cells(&golden.ours["popular_category_by_country"]["rows"]), first_places(&counted));

    // A country's largest count is the same whether the user or the poster is named.
    let count_of = |rows: &Value| -> Cells {
        cells(rows).into_iter().map(|row| vec![row[0].clone(), row[row.len() - 1].clone()]).collect()
    };
    let published_top = count_of(&golden.published[2]["rows"]);
    assert_eq!(count_of(&golden.ours["top_user_by_country"]["rows"]), published_top);
    // The notebook shows one of the tied countries.
    let ours = cells(&golden.ours["country_of_top_user"]["rows"]);
    assert!(count_of(&golden.published[3]["rows"]).is_subset(&ours), "{ours:?}");
    assert_eq!(ours.len(), 2, "{ours:?}");
}

#[test]
fn our_cleaning_differs_from_adam_breeze_in_five_descriptions() {
    let Some(folder) = beside("golden/AdamBreeze1") else { return };
    let golden = Golden::load("AdamBreeze1", &folder, None, "raw");
    let queries = tempfile::tempdir().unwrap();
    for dataset in DATASETS {
        fs::write(queries.path().join(format!("{dataset}.sql")), format!("SELECT * FROM {dataset}")).unwrap();
    }
    let tables = analyse(golden.lake.path(), &["--queries".as_ref(), queries.path().as_os_str()]);

    let mut compared = 0;
    let mut different: BTreeMap<[String; 3], usize> = BTreeMap::new();
    for dataset in DATASETS {
        let columns = row(&tables[dataset]["columns"], &[]);
        assert_eq!(columns[0], "ind");
        let rows = tables[dataset]["rows"].as_array().unwrap();
        let ours: BTreeMap<String, Vec<String>> =
            rows.iter().map(|cells| row(cells, &[])).map(|cells| (cells[0].clone(), cells)).collect();
        let clean = fs::read_to_string(folder.join(format!("{dataset}_clean.ndjson"))).unwrap();
        assert_eq!(clean.lines().count(), rows.len());
        for line in clean.lines() {
            let theirs: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            assert_eq!(theirs.len(), columns.len());
            for (column, our_cell) in columns.iter().zip(&ours[&shown(&theirs["ind"])]) {
                let their_cell = as_we_write(column, shown(&theirs[column]));
                compared += 1;
                if *our_cell != their_cell {
                    *different.entry([column.clone(), their_cell, our_cell.clone()]).or_default() += 1;
                }
            }
        }
    }
    assert_eq!(compared, 224 * (11 + 4 + 4), "cells");
    // The notebook replaces only one of the three sentinels of a missing description by null.
    let kept = |description: &str| ["description", description, "null"].map(str::to_owned);
    assert_eq!(different, BTreeMap::from([(kept("No description available"), 4), (kept("Untitled"), 1)]));
}

/// Converts a cell of the notebook's clean tables to our format of times and pairs.
fn as_we_write(column: &str, cell: String) -> String {
    match column {
        "timestamp" | "date_joined" => cell.replace(".000+0000", "Z"),
        "coordinates" => {
            let pair = cell.strip_prefix("List(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let pair: Vec<f64> = pair.split(", ").map(|degrees| degrees.parse().unwrap()).collect();
            serde_json::json!(pair).to_string()
        }
        _ => cell,
    }
}
