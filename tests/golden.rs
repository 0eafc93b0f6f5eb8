//! Reproduces the published figures of two notebooks, cell by cell, from their rows.
//!
//! If a notebook interprets a question differently, `examples/notebook-queries/` has the query, or else
//! `golden/<owner>/queries/`, and ours is compared with what follows from the published table. The figures are not part
//! of the repository; without them the tests are skipped.

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    /// Our query of the same question.
    Ours,
    /// The owner's query in `golden/<owner>/queries/`.
    Theirs,
    /// The query in this folder of `examples/notebook-queries/`.
    Variant(&'static str),
}
use Asked::{Ours, Theirs, Variant};

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

/// This owner's name of the year of joining.
const YEAR: &[(&str, &str)] = &[("join_year", "year_joined")];

/// In the order of the file.
const ADAM_BREEZE: [Published; 9] = [
    table(4, Variant("all-categories"), "popular_category_by_country"),
    renamed_table(5, Ours, "posts_by_year_and_category", &[("post_year", "year_joined")]),
    table(6, Theirs, "top_user_by_country"),
    table(6, Theirs, "country_of_top_user"),
    table(7, Ours, "popular_category_by_age_group"),
    table(8, Variant("lower-median"), "median_followers_by_age_group"),
    renamed_table(9, Ours, "users_joined_by_year", YEAR),
    renamed_table(10, Variant("lower-median"), "median_followers_by_join_year", YEAR),
    table(11, Theirs, "median_followers_by_join_year_and_age_group"),
];

const WILSON_REDMAN: [Published; 9] = [
    table(4, Ours, "popular_category_by_country"),
    renamed_table(5, Variant("all-years"), "popular_category_by_year", &[("post_year", "year")]),
    table(6, Ours, "top_user_by_country"),
    table(7, Ours, "country_of_top_user"),
    table(8, Variant("label-50-plus"), "popular_category_by_age_group"),
    table(9, Variant("label-50-plus"), "median_followers_by_age_group"),
    table(10, Ours, "users_joined_by_year"),
    table(11, Ours, "median_followers_by_join_year"),
    table(12, Variant("label-50-plus"), "median_followers_by_join_year_and_age_group"),
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

/// A lake with an owner's rows, and the results of our queries.
struct Golden {
    lake: TempDir,
    owner: &'static str,
    contracts: Option<PathBuf>,
    published: Vec<Value>,
    ours: Value,
}

impl Golden {
    fn load(owner: &'static str, folder: &Path, contracts: Option<PathBuf>, kind: &str) -> Golden {
        let text = fs::read_to_string(folder.join("published_results.json")).unwrap();
        let published = serde_json::from_str::<Vec<Value>>(&text).unwrap();
        let lake = tempfile::tempdir().unwrap();
        let mut golden = Golden { lake, owner, contracts, published, ours: Value::Null };
        let files = DATASETS.map(|dataset| folder.join(format!("{dataset}_{kind}.ndjson")));
        let counts = load(golden.lake.path(), &golden.options(), &files);
        for (dataset, file) in DATASETS.iter().zip(&files) {
            let lines = fs::read_to_string(file).unwrap().lines().count();
            assert_eq!(counts[*dataset]["inserted"], lines, "every row of {} is clean", file.display());
        }
        golden.ours = analyse(golden.lake.path(), &golden.options());
        golden
    }

    fn options(&self) -> Vec<&OsStr> {
        match &self.contracts {
            Some(contracts) => vec!["--datasets".as_ref(), contracts.as_os_str()],
            None => vec![],
        }
    }

    fn run(&self, asked: Asked) -> Value {
        let folder = match asked {
            Ours => return self.ours.clone(),
            Theirs => repository("tests/golden").join(self.owner).join("queries"),
            Variant(name) => repository("examples/notebook-queries").join(name),
        };
        let options = [&self.options()[..], &["--queries".as_ref(), folder.as_os_str()]].concat();
        analyse(self.lake.path(), &options)
    }

    /// Compares published tables with our results and returns the number of equal cells.
    fn agrees(&self, tables: &[Published]) -> usize {
        assert_eq!(self.published.len(), tables.len());
        let mut agreed = 0;
        let mut answers = BTreeMap::new();
        for (published, table) in self.published.iter().zip(tables) {
            let Published { cell, result, asked, renamed } = *table;
            assert_eq!(published["cell"], cell);
            let answer = &answers.entry(asked).or_insert_with(|| self.run(asked))[result];
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
