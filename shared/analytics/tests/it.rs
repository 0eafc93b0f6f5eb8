//! Query sets over Parquet files in a store, as the functions and the program run them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail by panicking, like the tests themselves"
)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::NaiveDate;
use object_store::{ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use pinlake_analytics::{
    AnalyticsError, Dialect, FailureKind, QueryLimits, QuerySet, Results, TableFile, TableInput,
    run_each_query, run_queries, run_queries_with_limits,
};
use serde_json::{Value, json};

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// A lake in memory. Each table has one file for each of its batches.
struct Lake {
    store: Arc<InMemory>,
    tables: Vec<TableInput>,
}

impl Lake {
    fn new() -> Lake {
        Lake { store: Arc::new(InMemory::new()), tables: Vec::new() }
    }

    async fn table(mut self, name: &str, schema: SchemaRef, batches: &[RecordBatch]) -> Lake {
        let mut files = Vec::new();
        for (n, batch) in batches.iter().enumerate() {
            // The space in the path must be encoded once, not twice.
            let path = Path::from(format!("tables/{name}/part {n}.parquet"));
            let bytes = parquet(batch);
            files.push(TableFile::new(path.clone(), bytes.len() as u64));
            self.store.put(&path, bytes.into()).await.unwrap();
        }
        let version = (!files.is_empty()).then_some(batches.len() as u64);
        let partition_columns = Vec::new();
        self.tables.push(TableInput { name: name.to_owned(), version, schema, partition_columns, files });
        self
    }

    async fn posts(pins: &[Pin<'_>], geos: &[Geo<'_>], users: &[User]) -> Lake {
        let half = pins.len() / 2;
        Lake::new()
            .table("pin", pin_schema(), &[pin_batch(&pins[..half]), pin_batch(&pins[half..])])
            .await
            .table("geo", geo_schema(), &[geo_batch(geos)])
            .await
            .table("user", user_schema(), &[user_batch(users)])
            .await
    }

    async fn answers(&self) -> Results {
        self.answers_in(Dialect::Shared).await
    }

    /// Runs the set in the dialect of another engine, which DataFusion understands too.
    async fn answers_in(&self, dialect: Dialect) -> Results {
        let set = QuerySet::embedded(dialect).unwrap();
        run_queries(self.store.clone(), self.tables.clone(), &set).await.unwrap()
    }

    async fn ask(&self, sql: &str) -> Result<Results, AnalyticsError> {
        run_queries(self.store.clone(), self.tables.clone(), &queries(&[("q.sql", sql)])).await
    }
}

fn queries(files: &[(&str, &str)]) -> QuerySet {
    let files = files.iter().map(|(file, sql)| ((*file).to_owned(), (*sql).to_owned()));
    QuerySet::from_files(Dialect::Shared, files).unwrap()
}

type Pin<'a> = (i64, Option<&'a str>, Option<i64>, Option<&'a str>);
type Geo<'a> = (i64, Option<&'a str>, Option<i32>);
type User = (i64, Option<i64>, Option<i32>);

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn pin_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ind", DataType::Int64, false),
        Field::new("poster_name", DataType::Utf8, true),
        Field::new("follower_count", DataType::Int64, true),
        Field::new("category", DataType::Utf8, true),
    ]))
}

fn geo_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ind", DataType::Int64, false),
        Field::new("country", DataType::Utf8, true),
        Field::new("timestamp", utc(), true),
    ]))
}

fn user_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ind", DataType::Int64, false),
        Field::new("age", DataType::Int64, true),
        Field::new("date_joined", utc(), true),
    ]))
}

fn pin_batch(rows: &[Pin<'_>]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2))),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.3))),
    ];
    RecordBatch::try_new(pin_schema(), columns).unwrap()
}

/// The last microsecond of a year in UTC. In a time zone east of UTC it belongs to the next year.
fn end_of(year: i32) -> i64 {
    let time = NaiveDate::from_ymd_opt(year, 12, 31).unwrap().and_hms_micro_opt(23, 59, 59, 999_999).unwrap();
    time.and_utc().timestamp_micros()
}

fn geo_batch(rows: &[Geo<'_>]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(
            TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.2.map(end_of))).with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(geo_schema(), columns).unwrap()
}

fn user_batch(rows: &[User]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(
            TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.2.map(end_of))).with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(user_schema(), columns).unwrap()
}

fn rows(results: &Results, name: &str) -> Value {
    json!(results.get(name).unwrap().rows)
}

#[tokio::test]
async fn the_ten_results_handle_ties_nulls_and_missing_rows() {
    let pins = [
        (1, Some("Ann"), Some(5_000), Some("art")),
        (2, Some("Ann"), Some(7_000), Some("travel")), // the larger of two counts of one poster
        (3, Some("Bob"), Some(7_000), Some("art")),    // ties with Ann
        (4, None, Some(1), None),                      // no name, no category: groups of their own
        (5, Some("Cy"), None, Some("art")),            // an unknown count
        (6, Some("Dee"), Some(9_000), Some("beauty")), // no geo row, no user row
        (7, Some("Eve"), Some(4_000), Some("Zoo")),
        (7, Some("Eve"), Some(6_001), Some("Zoo")), // the same post changed: both rows count
    ];
    let geos = [
        (1, Some("Peru"), Some(2018)),
        (2, Some("Peru"), Some(2018)),
        (3, Some("Peru"), Some(2022)),
        (4, None, Some(2017)),
        (5, Some("Chad"), Some(2023)),
        (7, Some("Åland"), None),
        (99, Some("Nowhere"), Some(2020)),
    ];
    let users = [
        (1, Some(17), Some(2015)),
        (2, Some(18), Some(2015)),
        (3, Some(24), Some(2020)),
        (4, Some(51), Some(2014)),
        (5, Some(50), Some(2016)),
        (7, Some(25), Some(2021)),
        (8, None, Some(2020)),
        (9, Some(36), None),
    ];
    let lake = Lake::posts(&pins, &geos, &users).await;
    let results = lake.answers().await;
    assert_eq!(lake.answers_in(Dialect::Athena).await, results);

    assert_eq!(
        rows(&results, "popular_category_by_country"),
        json!([["Chad", "art", 1], ["Peru", "art", 2], ["Åland", "Zoo", 2], [null, null, 1]])
    );
    assert_eq!(
        rows(&results, "posts_by_year_and_category"),
        json!([[2018, "art", 1], [2018, "travel", 1], [2022, "art", 1]])
    );
    assert_eq!(
        rows(&results, "popular_category_by_year"),
        json!([[2018, "art", 1], [2018, "travel", 1], [2022, "art", 1]])
    );
    assert_eq!(
        rows(&results, "top_user_by_country"),
        json!([["Peru", "Ann", 7000], ["Peru", "Bob", 7000], ["Åland", "Eve", 6001], [null, null, 1]])
    );
    assert_eq!(rows(&results, "country_of_top_user"), json!([["Peru", 7000]]));
    assert_eq!(
        rows(&results, "popular_category_by_age_group"),
        json!([
            ["+50", null, 1],
            ["18-24", "art", 1],
            ["18-24", "travel", 1],
            ["25-35", "Zoo", 2],
            ["36-50", "art", 1]
        ])
    );
    assert_eq!(
        rows(&results, "median_followers_by_age_group").to_string(),
        r#"[["+50",1.0],["18-24",7000.0],["25-35",5000.5],["36-50",null]]"#
    );
    assert_eq!(rows(&results, "users_joined_by_year"), json!([[2015, 2], [2016, 1], [2020, 2]]));
    assert_eq!(
        rows(&results, "median_followers_by_join_year").to_string(),
        "[[2015,6000.0],[2016,null],[2020,7000.0]]"
    );
    assert_eq!(
        rows(&results, "median_followers_by_join_year_and_age_group").to_string(),
        r#"[[2015,"18-24",7000.0],[2016,"36-50",null],[2020,"18-24",7000.0]]"#
    );
    let versions = &results.get("country_of_top_user").unwrap().versions;
    assert_eq!(json!(versions), json!({"geo": 1, "pin": 2}), "only the tables that the query read");
}

#[tokio::test]
async fn countries_of_equal_top_users_are_all_named_once() {
    let pins = [(1, Some("A"), Some(8), None), (2, Some("B"), Some(8), None), (3, Some("C"), Some(8), None)];
    let geos = [(1, Some("Peru"), None), (2, Some("Peru"), None), (3, Some("Chad"), None)];
    let results = Lake::posts(&pins, &geos, &[]).await.answers().await;
    assert_eq!(rows(&results, "country_of_top_user"), json!([["Chad", 8], ["Peru", 8]]));
}

#[tokio::test]
async fn the_dialect_without_a_median_function_gives_the_same_medians() {
    // Groups with odd and even numbers of known counts, with ties, and with counts that are far apart.
    let counts: [&[Option<i64>]; 8] = [
        &[None],
        &[None, None],
        &[Some(3)],
        &[Some(3), None],
        &[Some(7), Some(2), None],
        &[Some(5), Some(5), Some(1)],
        &[Some(0), Some(9), Some(9), Some(10)],
        &[Some(9_007_199_254_740_000), Some(1), Some(4), Some(2), Some(4), None],
    ];
    let (mut pins, mut users) = (Vec::new(), Vec::new());
    for (group, counts) in counts.iter().enumerate() {
        // Users of four age groups, and users who are too young for any.
        for (year, age) in [(2015 + group as i32 % 7, 20 + 10 * (group as i64 % 4)), (2016, 17)] {
            for count in *counts {
                let ind = pins.len() as i64;
                pins.push((ind, None, *count, None));
                users.push((ind, Some(age), Some(year)));
            }
        }
    }
    let lake = Lake::posts(&pins, &[], &users).await;
    let results = lake.answers().await;
    let others = lake.answers_in(Dialect::Athena).await;
    assert_eq!(others.to_json().to_string(), results.to_json().to_string());
    let medians = rows(&results, "median_followers_by_join_year_and_age_group");
    assert_eq!(medians.as_array().unwrap().len(), 7, "{medians}");
    assert!(medians.as_array().unwrap().iter().any(|row| row[2].is_null()), "{medians}");
}

#[tokio::test]
async fn tables_that_do_not_exist_yet_give_results_without_rows() {
    let lake = Lake::new()
        .table("pin", pin_schema(), &[])
        .await
        .table("geo", geo_schema(), &[])
        .await
        .table("user", user_schema(), &[])
        .await;
    let results = lake.answers().await;
    assert_eq!(lake.answers_in(Dialect::Athena).await, results);
    assert_eq!(results.len(), QuerySet::embedded(Dialect::Shared).unwrap().queries().len());
    for (name, result) in results.iter() {
        assert!(result.rows.is_empty(), "{name}");
        assert!(result.columns.len() > 1, "{name}");
        assert!(result.versions.values().all(Option::is_none), "{name}");
    }
}

#[tokio::test]
async fn a_file_from_before_a_column_was_added_has_nulls_in_it() {
    let old = RecordBatch::try_from_iter([("ind", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let new = pin_batch(&[(2, None, Some(5), Some("art"))]);
    let lake = Lake::new().table("pin", pin_schema(), &[old, new]).await;
    let results =
        lake.ask("SELECT ind, category FROM pin WHERE follower_count IS NULL OR ind = 2").await.unwrap();
    assert_eq!(rows(&results, "q"), json!([[1, null], [2, "art"]]));
}

/// Spark writes times as INT96.
#[tokio::test]
async fn times_outside_the_range_of_nanoseconds_are_read() {
    let schema = parquet::schema::parser::parse_message_type("message m { required int96 at; }").unwrap();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(WriterProperties::default()))
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // 1970-01-01 and 9999-12-31 in Julian days.
    let times = [2_440_588, 5_373_484].map(|day| Int96::from(vec![0, 0, day]));
    column.typed::<Int96Type>().write_batch(&times, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();

    let schema = Arc::new(Schema::new(vec![Field::new("at", utc(), true)]));
    let mut lake = Lake::new().table("t", schema, &[]).await;
    let path = Path::from("tables/t/spark.parquet");
    lake.tables[0].version = Some(1);
    lake.tables[0].files.push(TableFile::new(path.clone(), bytes.len() as u64));
    lake.store.put(&path, bytes.into()).await.unwrap();
    let results = lake.ask("SELECT at FROM t WHERE at > TIMESTAMP '1900-01-01'").await.unwrap();
    assert_eq!(rows(&results, "q"), json!([["1970-01-01T00:00:00Z"], ["9999-12-31T00:00:00Z"]]));
}

#[tokio::test]
async fn only_the_given_files_are_read() {
    let lake = Lake::new().table("pin", pin_schema(), &[pin_batch(&[(1, None, None, None)])]).await;
    let stray = Path::from("tables/pin/part 1.parquet");
    lake.store.put(&stray, parquet(&pin_batch(&[(2, None, None, None)])).into()).await.unwrap();
    let results = lake.ask("SELECT ind FROM pin").await.unwrap();
    assert_eq!(rows(&results, "q"), json!([[1]]));
}

#[tokio::test]
async fn rows_without_order_by_are_sorted_by_their_cells() {
    let lake = Lake::new()
        .table(
            "pin",
            pin_schema(),
            &[pin_batch(&[
                (10, Some("b"), None, None),
                (9, Some("b"), None, None),
                (2, Some("a"), None, None),
                (1, None, None, None),
            ])],
        )
        .await;
    let results = lake.ask("SELECT poster_name, ind FROM pin").await.unwrap();
    assert_eq!(rows(&results, "q"), json!([["a", 2], ["b", 9], ["b", 10], [null, 1]]));
    let results = lake.ask("SELECT ind FROM pin ORDER BY ind DESC;\n").await.unwrap();
    assert_eq!(rows(&results, "q"), json!([[10], [9], [2], [1]]));
}

fn failures(error: AnalyticsError) -> Vec<pinlake_analytics::QueryFailure> {
    match error {
        AnalyticsError::Queries(failures) => failures,
        other => panic!("not failed queries: {other}"),
    }
}

#[tokio::test]
async fn every_failed_query_is_named_with_its_line() {
    let lake = Lake::new().table("pin", pin_schema(), &[pin_batch(&[(1, None, None, None)])]).await;
    let set = queries(&[
        ("q/column.sql", "-- a comment\nSELECT\n    colour\nFROM pin"),
        ("q/fine.sql", "SELECT ind FROM pin"),
        ("q/syntax.sql", "SELECT ind\nFORM pin\nWHERE"),
        ("q/table.sql", "SELECT 1\nFROM pins"),
        ("q/two.sql", "SELECT 1; SELECT 2"),
        ("q/none.sql", "-- nothing but a comment"),
    ]);
    let error = run_queries(lake.store.clone(), lake.tables.clone(), &set).await.unwrap_err();
    assert!(!error.is_transient());
    let failures = failures(error);
    let places: Vec<_> = failures.iter().map(|f| (f.file.as_str(), f.line, f.kind)).collect();
    assert_eq!(
        places,
        [
            ("q/column.sql", Some(3), FailureKind::Query),
            ("q/none.sql", None, FailureKind::Query),
            ("q/syntax.sql", Some(2), FailureKind::Query),
            ("q/table.sql", Some(2), FailureKind::Query),
            ("q/two.sql", None, FailureKind::Query),
        ],
        "{failures:#?}"
    );
    assert!(failures[3].problem.contains("table 'pins' not found"), "{}", failures[3]);
    let text = failures[0].to_string();
    assert!(
        text.starts_with("q/column.sql:3: ") && text.contains("colour") && text.ends_with("; fix the query"),
        "{text}"
    );
}

#[tokio::test]
async fn a_query_can_only_read() {
    let lake = Lake::new().table("pin", pin_schema(), &[pin_batch(&[(1, None, None, None)])]).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out.csv");
    let copy = format!("COPY (SELECT 1) TO '{}' STORED AS CSV", target.display());
    for sql in [
        copy.as_str(),
        "CREATE TABLE t AS SELECT 1",
        "DROP TABLE pin",
        "INSERT INTO pin VALUES (1)",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    ] {
        let failures = failures(lake.ask(sql).await.unwrap_err());
        assert_eq!(failures[0].kind, FailureKind::Query, "{sql}: {}", failures[0]);
    }
    assert!(!target.exists());
}

#[tokio::test]
async fn a_query_that_exceeds_a_limit_fails_with_its_kind() {
    let lake = Lake::new()
        .table(
            "pin",
            pin_schema(),
            &[pin_batch(&(0..5_000).map(|n| (n, None, Some(n), None)).collect::<Vec<_>>())],
        )
        .await;
    let ask = async |sql: &str, limits: QueryLimits| {
        let set = queries(&[("q.sql", sql)]);
        failures(
            run_queries_with_limits(lake.store.clone(), lake.tables.clone(), &set, &limits)
                .await
                .unwrap_err(),
        )
        .remove(0)
    };
    let failure =
        ask("SELECT ind FROM pin", QueryLimits { result_rows: 4_999, ..QueryLimits::default() }).await;
    assert_eq!(failure.kind, FailureKind::Limit);
    assert!(failure.to_string().contains("more than 4999 rows"), "{failure}");

    let failure = ask(
        "SELECT MEDIAN(follower_count) FROM pin GROUP BY ind",
        QueryLimits { memory: 1_000, ..QueryLimits::default() },
    )
    .await;
    assert_eq!(failure.kind, FailureKind::Memory, "{failure}");

    let none = QueryLimits { query_time: std::time::Duration::ZERO, ..QueryLimits::default() };
    // Takes long for few rows, and the optimizer cannot know the result in advance.
    let sql = "SELECT SUM(a.ind * b.ind + c.ind) FROM pin AS a CROSS JOIN pin AS b CROSS JOIN pin AS c";
    let failure = ask(sql, none).await;
    assert!(failure.to_string().contains("not done after 0 seconds"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_that_is_enough_for_each_query_is_enough_for_all() {
    let rows: Vec<_> = (0..20_000).map(|n| (n, None, Some(n), None)).collect();
    let lake = Lake::new().table("pin", pin_schema(), &[pin_batch(&rows)]).await;
    // A median holds all values of its group, and cannot spill them.
    let sql = "SELECT MEDIAN(follower_count) AS middle FROM pin";
    let files = ["a.sql", "b.sql", "c.sql", "d.sql"].map(|file| (file, sql));
    let ask = async |files: &[(&str, &str)], limits: QueryLimits| {
        run_queries_with_limits(lake.store.clone(), lake.tables.clone(), &queries(files), &limits).await
    };
    let mut limits = QueryLimits { memory: 100_000, concurrent: 4, ..QueryLimits::default() };
    while ask(&files[..1], limits.clone()).await.is_err() {
        limits.memory += limits.memory / 8;
    }
    // Four concurrent queries need twice as much as this.
    limits.memory *= 2;
    for _ in 0..10 {
        let results = ask(&files, limits.clone()).await.unwrap();
        assert!(results.iter().all(|(_, result)| result.rows == [[json!(9_999.5)]]));
    }
}

#[tokio::test]
async fn columns_that_do_not_fit_in_memory_are_read_from_the_files() {
    let rows: Vec<_> = (0..5_000).map(|n| (n, Some("poster"), Some(n), None)).collect();
    let halves = [pin_batch(&rows[..2_500]), pin_batch(&rows[2_500..])];
    let lake = Lake::new().table("pin", pin_schema(), &halves).await;
    let set = queries(&[
        ("q1.sql", "SELECT SUM(follower_count) AS total, COUNT(poster_name) AS count FROM pin"),
        ("q2.sql", "SELECT SUM(ind + follower_count) AS total FROM pin WHERE poster_name = 'poster'"),
    ]);
    for memory in [QueryLimits::default().memory, 100_000] {
        let limits = QueryLimits { memory, ..QueryLimits::default() };
        let results =
            run_queries_with_limits(lake.store.clone(), lake.tables.clone(), &set, &limits).await.unwrap();
        assert_eq!(results.get("q1").unwrap().rows, [[json!(12_497_500), json!(5_000)]]);
        assert_eq!(results.get("q2").unwrap().rows, [[json!(24_995_000)]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn columns_cached_by_different_queries_belong_to_the_same_rows() {
    let mut files = Vec::new();
    for file in 0..40 {
        let rows: Vec<_> = (0..1 + file * 7 % 30)
            .map(|row| (file * 100 + row, None, Some(file * 100 + row), None))
            .collect();
        files.push(pin_batch(&rows));
    }
    let lake = Lake::new().table("pin", pin_schema(), &files).await;
    let set = queries(&[
        ("a.sql", "SELECT COUNT(*) AS count, MAX(ind) AS most FROM pin WHERE ind >= 0"),
        ("b.sql", "SELECT COUNT(*) AS count FROM pin WHERE ind = follower_count"),
    ]);
    let limits = QueryLimits { concurrent: 1, ..QueryLimits::default() };
    for _ in 0..20 {
        let results =
            run_queries_with_limits(lake.store.clone(), lake.tables.clone(), &set, &limits).await.unwrap();
        let all = files.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(results.get("a").unwrap().rows[0][0], json!(all));
        assert_eq!(results.get("b").unwrap().rows, [[json!(all)]]);
    }
}

#[tokio::test]
async fn a_missing_file_is_a_transient_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap());
    let files = vec![TableFile::new(Path::from("tables/pin/gone.parquet"), 1_000)];
    let (name, partition_columns) = ("pin".into(), vec![]);
    let pin = TableInput { name, version: Some(0), schema: pin_schema(), partition_columns, files };
    let error =
        run_queries(store, vec![pin], &queries(&[("q.sql", "SELECT ind FROM pin")])).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("gone.parquet"), "{error}");
}

#[tokio::test]
async fn two_tables_with_the_same_name_are_rejected() {
    let (name, partition_columns) = ("pin".into(), vec![]);
    let table = TableInput { name, version: None, schema: pin_schema(), partition_columns, files: vec![] };
    let set = queries(&[("q.sql", "SELECT 1")]);
    let error = run_queries(Arc::new(InMemory::new()), vec![table.clone(), table], &set).await.unwrap_err();
    assert!(matches!(error, AnalyticsError::Tables(_)), "{error}");
}

/// A file that a query does not have to read is not read: here it does not exist.
#[tokio::test]
async fn files_that_the_filters_exclude_are_not_read() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("day", DataType::Date32, true),
        Field::new("number", DataType::Int64, true),
        Field::new("at", utc(), true),
    ]));
    let batch = RecordBatch::try_from_iter([
        ("number", Arc::new(Int64Array::from(vec![10, 11])) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 1_500_999]).with_timezone("UTC"))),
    ]);
    let bytes = parquet(&batch.unwrap());
    let store = Arc::new(InMemory::new());
    let path = Path::from("tables/t/there.parquet");
    let there = TableFile {
        partition: [("day".to_owned(), Some("2024-01-02".to_owned()))].into(),
        statistics: Some(
            r#"{"numRecords":2,"minValues":{"number":10,"at":"1970-01-01T00:00:01.500Z"},
                "maxValues":{"number":11,"at":"1970-01-01T00:00:01.500Z"},"nullCount":{"number":0,"at":0}}"#
                .replace('\n', ""),
        ),
        ..TableFile::new(path.clone(), bytes.len() as u64)
    };
    store.put(&path, bytes.into()).await.unwrap();
    let gone = |day: Option<&str>, first: i64| TableFile {
        partition: [("day".to_owned(), day.map(str::to_owned))].into(),
        statistics: Some(format!(
            r#"{{"numRecords":3,"minValues":{{"number":{first}}},"maxValues":{{"number":{}}},"nullCount":{{"number":1}}}}"#,
            first + 5
        )),
        ..TableFile::new(Path::from(format!("tables/t/gone-{first}.parquet")), 1_000)
    };
    let files = vec![gone(Some("2024-01-01"), 0), there, gone(Some("2024-01-03"), 20), gone(None, 30)];
    let table = TableInput {
        name: "t".to_owned(),
        version: Some(1),
        schema,
        partition_columns: vec!["day".to_owned()],
        files,
    };
    let ask = async |filter: &str| {
        let sql =
            format!("SELECT day, COUNT(*) AS n, MAX(number) AS most FROM t WHERE {filter} GROUP BY day");
        run_queries(store.clone(), vec![table.clone()], &queries(&[("q.sql", &sql)])).await
    };
    for filter in [
        "day = DATE '2024-01-02'",
        "day BETWEEN DATE '2024-01-02' AND DATE '2024-01-02' AND number IS NOT NULL",
        "number BETWEEN 9 AND 12",
        // Statistics have milliseconds.
        "number < 13 AND number > 8 AND at > TIMESTAMP '1970-01-01T00:00:01.500900Z'",
    ] {
        let results = ask(filter).await.unwrap_or_else(|error| panic!("{filter}: {error}"));
        let rows = &results.get("q").unwrap().rows;
        assert_eq!((rows.len(), &rows[0][0], &rows[0][2]), (1, &json!("2024-01-02"), &json!(11)), "{filter}");
    }
    for filter in ["number = 22", "day IS NULL", "day > DATE '2024-01-01'", "TRUE"] {
        assert!(ask(filter).await.unwrap_err().to_string().contains("gone"), "{filter}");
    }
    assert_eq!(ask("day = DATE '2030-01-01'").await.unwrap().get("q").unwrap().rows.len(), 0);
}

/// What a run read of its files: one day of a hundred, and a column once for all queries.
#[tokio::test]
async fn a_run_says_how_much_it_read() {
    let store = Arc::new(InMemory::new());
    let mut files = Vec::new();
    for day in 0..100 {
        let numbers = Int64Array::from_iter_values((0..2_000).map(|row| (row * 7_919) ^ day));
        let bytes =
            parquet(&RecordBatch::try_from_iter([("number", Arc::new(numbers) as ArrayRef)]).unwrap());
        let path = Path::from(format!("tables/t/{day}.parquet"));
        let date = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(day as u64);
        let partition = [("day".to_owned(), Some(date.to_string()))].into();
        files.push(TableFile { partition, ..TableFile::new(path.clone(), bytes.len() as u64) });
        store.put(&path, bytes.into()).await.unwrap();
    }
    let available = files.iter().map(|file| file.size).sum::<u64>();
    let table = TableInput {
        name: "t".to_owned(),
        version: Some(1),
        schema: Arc::new(Schema::new(vec![
            Field::new("day", DataType::Date32, true),
            Field::new("number", DataType::Int64, true),
        ])),
        partition_columns: vec!["day".to_owned()],
        files,
    };
    let run = async |texts: &[(&str, &str)]| {
        let (set, limits) = (queries(texts), QueryLimits::default());
        let run = run_each_query(store.clone(), vec![table.clone()], &set, &limits).await;
        run.unwrap().read
    };
    let day = run(&[("q.sql", "SELECT SUM(number) AS n FROM t WHERE day = DATE '2024-02-01'")]).await;
    assert_eq!(day.available, available);
    assert!(day.read > 0 && day.read <= available / 100, "{day:?}");
    let (all, twice) = ("SELECT SUM(number) AS n FROM t", "SELECT MAX(number) AS n FROM t");
    let once = run(&[("a.sql", all)]).await;
    assert!(once.read > available / 2, "{once:?}");
    assert_eq!(run(&[("a.sql", all), ("b.sql", twice)]).await, once);
}
