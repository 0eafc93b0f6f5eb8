//! Analysis with Athena as its engine, on the stand-in's Athena: client, pages, types and results.
//!
//! The stand-in runs the SQL on DuckDB and reads all Parquet files in the folder of a table. The tests therefore cover neither
//! Trino's dialect nor how Athena reads a Delta log. Each test has a lake of its own in which no file was replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    api_keys::Deployment,
    program::output,
    requests::{HttpRequest, geo, pin, user},
    runtime_api::Function,
    stack::{DATASETS, Stack, assert_same_answers, count_results},
};

/// A lake of the test in the bucket of the stack, with a Glue database and a workgroup.
struct Named {
    lake: String,
    /// The name of the database and of the workgroup.
    name: String,
}

impl Named {
    async fn of(stack: &mut Stack) -> Named {
        let name = format!("athena_{}", stack.number());
        let bucket = stack.described("bucket");
        let lake = format!("s3://{bucket}/{name}");
        for (seed, rows) in [("1", "400"), ("2", "200")] {
            let rows_of = stack.folder(&format!("rows-{seed}"));
            let mut generate = stack.pinlake("generate");
            generate.args(["--rows", rows, "--duplicates", "0.2", "--seed", seed, "--out"]);
            output(generate.arg(&rows_of));
            output(stack.pinlake("load").args(["--lake", &lake]).arg(&rows_of));
        }
        stack.aws("AWSGlue.CreateDatabase", json!({ "DatabaseInput": { "Name": name } })).await;
        for dataset in DATASETS {
            let table = json!({
                "Name": dataset,
                "TableType": "EXTERNAL_TABLE",
                // Like template.yaml, but with a classification that makes the stand-in, which cannot read a Delta log, read
                // the Parquet files. For Athena it would be wrong.
                "Parameters": {
                    "EXTERNAL": "TRUE",
                    "spark.sql.sources.provider": "delta",
                    "classification": "parquet",
                },
                "StorageDescriptor": { "Location": format!("{lake}/tables/{dataset}/") },
            });
            stack.aws("AWSGlue.CreateTable", json!({ "DatabaseName": name, "TableInput": table })).await;
        }
        let kept = json!({ "OutputLocation": format!("s3://{bucket}/results/athena/") });
        let group = json!({ "Name": name, "Configuration": { "ResultConfiguration": kept } });
        stack.aws("AmazonAthena.CreateWorkGroup", group).await;
        Named { lake, name }
    }

    /// Runs the function as `AnalysisEngine=athena` deploys it and returns its response to an event.
    fn analyse(&self, stack: &Stack, queries: Option<&Path>) -> Value {
        let queries = queries.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
        let settings = [
            ("AWS_ENDPOINT_URL", stack.described("endpoint")),
            ("AWS_REGION", stack.described("region")),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("NO_PROXY", "127.0.0.1,localhost"),
            ("PINLAKE_LAKE", &self.lake),
            ("PINLAKE_RESULTS_TABLE", stack.described("results_table")),
            ("PINLAKE_ATHENA_DATABASE", &self.name),
            ("PINLAKE_ATHENA_WORKGROUP", &self.name),
            ("PINLAKE_QUERIES", &queries),
            ("RUST_LOG", "info"),
        ];
        let logs = stack.folder("logs");
        let aws = Arc::new(|line: &str| ("500 Internal Server Error", json!({ "unheard": line })));
        let program = stack.deployed("Analysis");
        let function = Function::start(&program.to_string_lossy(), &logs.to_string_lossy(), &settings, aws);
        let answer = function.handle(json!({}));
        let said = function.end();
        answer.unwrap_or_else(|| panic!("no answer: {said}"))
    }

    /// Runs `pinlake` over this lake and returns its JSON.
    fn ask(&self, stack: &Stack, subcommand: &str, options: &[&str]) -> Value {
        let mut command = stack.pinlake(subcommand);
        command.args(["--format", "json", "--lake", &self.lake]).args(options);
        serde_json::from_str(&output(&mut command)).unwrap()
    }
}

fn folder_of(stack: &Stack, name: &str, queries: &[(&str, &str)]) -> PathBuf {
    let folder = stack.folder(name);
    for (file, sql) in queries {
        fs::write(folder.join(file), sql).unwrap();
    }
    folder
}

#[tokio::test]
async fn athena_returns_the_results_of_the_function() {
    let Some(mut stack) = Stack::up().await else { return };
    let named = Named::of(&mut stack).await;

    let answer = named.analyse(&stack, None);
    let ours = named.ask(&stack, "analyse", &[]);
    let kept = named.ask(&stack, "results", &[]);
    // Except for the versions of the tables that each query reads.
    assert_eq!(kept, ours);
    assert_eq!(answer["rows"].as_object().unwrap().len(), count_results(), "{answer}");
    for (table, version) in answer["versions"].as_object().unwrap() {
        let known = ours.as_object().unwrap().values().find_map(|result| result["versions"].get(table));
        assert_eq!(known, Some(version), "{table}: {answer}");
    }
    let item = stack.result_item("top_user_by_country", answer["run"].as_str().unwrap()).await;
    let rows: Value = serde_json::from_str(item["rows"]["S"].as_str().unwrap()).unwrap();
    assert_eq!(rows, ours["top_user_by_country"]["rows"]);
    assert!(!rows.as_array().unwrap().is_empty());

    // More rows than a page, all types of cells, and a query with a file for Athena.
    let pages = "SELECT a.ind, a.age, a.age / 2.0 AS half, a.age > 40 AS older, a.user_name, b.number FROM user AS a \
                 CROSS JOIN (VALUES (1), (2), (3), (4), (5)) AS b (number) ORDER BY a.ind, a.user_name, a.age, b.number";
    let queries = folder_of(
        &stack,
        "queries",
        &[
            ("pages.sql", pages),
            ("other.sql", "SELECT MEDIAN(age) AS age FROM user"),
            ("other.athena.sql", "SELECT 1 AS age"),
        ],
    );
    named.analyse(&stack, Some(&queries));
    let kept = named.ask(&stack, "results", &[]);
    let ours = named.ask(&stack, "analyse", &["--queries", queries.to_str().unwrap()]);
    assert!(kept["pages"]["rows"].as_array().unwrap().len() > 2_000);
    assert_same_answers(&json!({ "pages": kept["pages"] }), &json!({ "pages": ours["pages"] }));
    assert_eq!(kept["other"], json!({ "columns": ["age"], "rows": [[1]], "versions": {} }));
}

#[tokio::test]
async fn the_errors_of_athena_are_reported() {
    let Some(mut stack) = Stack::up().await else { return };
    let named = Named::of(&mut stack).await;
    let queries = folder_of(
        &stack,
        "queries",
        &[
            ("colour.sql", "SELECT colour FROM user"),
            ("fine.sql", "SELECT 1"),
            ("drop.sql", "DROP TABLE user"),
        ],
    );
    let answer = named.analyse(&stack, Some(&queries));
    let error = answer["errorMessage"].as_str().unwrap_or_else(|| panic!("no error: {answer}"));
    for part in [
        "2 of the queries failed",
        "drop.sql: it does not begin with SELECT or WITH",
        "colour.sql",
        "Athena failed: ",
        "\"colour\"",
        "fix the query",
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    let results = stack.pinlake("results").args(["--lake", &named.lake]).output().unwrap();
    assert!(!results.status.success(), "a failed run stores no results");
}

/// The number of executions in a workgroup.
async fn executions(stack: &Stack, group: &str) -> usize {
    let asked = stack.aws("AmazonAthena.ListQueryExecutions", json!({ "WorkGroup": group })).await;
    asked["QueryExecutionIds"].as_array().unwrap().len()
}

/// Checks a deployment with `AnalysisEngine=athena`. All tests share the lake, so only the number of results is
/// checked.
async fn check_athena(stack: Stack, database: String) -> Stack {
    let name = stack.described("stream").strip_suffix("-records").unwrap();
    // The schedule does it within an hour. Every table of the lake is registered, and none twice.
    let register = format!("{name}-register-tables");
    let registered = stack.invoke_named(&register, json!({})).await;
    let registered: Vec<&str> = registered.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(DATASETS.iter().all(|dataset| registered.contains(dataset)), "{registered:?}");
    assert_eq!(stack.invoke_named(&register, json!({})).await, json!([]));
    for dataset in DATASETS {
        let name = json!({ "DatabaseName": database, "Name": dataset });
        let table = stack.aws("AWSGlue.GetTable", name).await["Table"].clone();
        let place = format!("s3://{}/tables/{dataset}/", stack.described("bucket"));
        assert_eq!(table["StorageDescriptor"]["Location"], place, "{table}");
        assert_eq!(table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["path"], place, "{table}");
        assert_eq!(table["Parameters"]["spark.sql.sources.provider"], "delta", "{table}");
        assert_eq!(
            table["Parameters"]["classification"],
            Value::Null,
            "the template must not classify the table as Parquet"
        );
        // Only for the stand-in, see above.
        let mut parameters = table["Parameters"].clone();
        parameters["classification"] = json!("parquet");
        let table = json!({ "Name": dataset, "Parameters": parameters });
        stack.aws("AWSGlue.UpdateTable", json!({ "DatabaseName": database, "TableInput": table })).await;
    }
    let group = format!("{}-analysis", stack.described("stream").strip_suffix("-records").unwrap());
    let before = executions(&stack, &group).await;
    let answer = stack.invoke("analysis", json!({})).await;
    assert_eq!(answer["rows"].as_object().unwrap().len(), count_results(), "{answer}");
    assert_eq!(executions(&stack, &group).await, before + 10);
    let ours = stack.analyse(&[]);
    assert_eq!(stack.results()["top_user_by_country"]["versions"], ours["top_user_by_country"]["versions"]);

    let described = stack.aws("AmazonAthena.GetWorkGroup", json!({ "WorkGroup": group })).await;
    let set = &described["WorkGroup"]["Configuration"];
    let place = format!("s3://{}/results/athena/", stack.described("bucket"));
    assert_eq!(set["ResultConfiguration"]["OutputLocation"], place, "{set}");
    assert_eq!(set["EnforceWorkGroupConfiguration"].to_string().trim_matches('"'), "true", "{set}");
    stack
}

#[tokio::test]
async fn the_parameter_deploys_an_analysis_with_athena() {
    let Some(mut stack) = Stack::up().await else { return };
    let ind = stack.number();
    // A post, so that the tables exist.
    for (dataset, row) in [("pin", pin(ind)), ("geo", geo(ind)), ("user", user(ind))] {
        assert_eq!(stack.send(&HttpRequest::native(dataset, row)).await.status, 200);
    }
    stack.drain();
    let deployment = Deployment::of(&stack);
    let database = format!("athena_{ind}");
    deployment.deploy(&[("AnalysisEngine", "athena"), ("GlueDatabase", &database)]).await;
    let used = tokio::spawn(check_athena(stack, database)).await;
    // Restores the stack for the other tests, also after a failure.
    deployment.deploy(&[]).await;
    drop(used.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
}
