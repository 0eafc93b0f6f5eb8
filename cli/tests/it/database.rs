//! `pinlake replay` from MariaDB and PostgreSQL, which each test starts. The tests of a server that is not installed
//! are skipped with a message.

use std::fs;

use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::endpoint::{Endpoint, Reply};
use crate::program::pinlake_with;
use crate::server::{Engine, Server};

/// Defines a test for each engine.
macro_rules! with_either_engine {
    ($($law:ident)*) => {
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $law() {
                super::$law(super::Engine::MariaDb).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $law() {
                super::$law(super::Engine::Postgres).await;
            })*
        }
    };
}

with_either_engine! {
    tables_are_read_by_key_and_later_runs_post_new_rows_only
    seed_100_draws_what_the_stock_client_draws
    a_user_without_permission_gets_advice
    only_a_server_with_a_valid_certificate_is_read
}

fn names(row: &Value) -> Vec<&str> {
    row.as_object().unwrap().keys().map(String::as_str).collect()
}

fn numbers(rows: &[Value], name: &str) -> Vec<i64> {
    rows.iter().map(|row| row[name].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_columns_become_what_the_clients_send() {
    let Some(database) = Server::start(Engine::MariaDb) else { return };
    database.sql(
        "CREATE TABLE pin_types (`index` INT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(20, 4), latitude DOUBLE,
             single FLOAT, at DATETIME, exact DATETIME(3), stamp TIMESTAMP NULL, day DATE, year YEAR, text TEXT, name VARCHAR(9),
             bytes BLOB, few VARBINARY(9), downloaded TINYINT(1), sure BOOL, doc JSON, filled INT(6) ZEROFILL, kind ENUM('a', 'b'), none TEXT);
         SET time_zone = '+05:00';
         INSERT INTO pin_types VALUES (1, 18446744073709551615, 12.5, -88.7253, 0.5, '2020-08-28 03:52:47', '2020-08-28 03:52:47.25',
             '2020-08-28 08:52:47', '2020-08-28', 2022, 'a \"b\"\\n🎄 …', 'é', x'00ff0a', 'abc', 1, FALSE, '{\"a\": [1, null]}', 12, 'b', NULL);",
    );
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let ran = database.replay(&endpoint, &["--format", "kafka"]).await;
    ran.assert_code(0);
    let row = &endpoint.stored()["pin"][0];
    let expected = json!({
        "index": 1, "big": 18_446_744_073_709_551_615_u64, "price": "12.5000", "latitude": -88.7253, "single": 0.5,
        "at": "2020-08-28 03:52:47", "exact": "2020-08-28 03:52:47.250", "stamp": "2020-08-28 03:52:47",
        "day": "2020-08-28", "year": 2022, "text": "a \"b\"\n🎄 …", "name": "é", "bytes": "AP8K", "few": "YWJj",
        "downloaded": 1, "sure": 0, "doc": "{\"a\": [1, null]}", "filled": 12, "kind": "b", "none": null,
    });
    // JSON is a text type in MariaDB.
    assert_eq!(*row, expected);
    assert_eq!(names(row), names(&expected), "columns stay in the table's order");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_columns_become_what_the_clients_send() {
    let Some(database) = Server::start(Engine::Postgres) else { return };
    database.sql(
        r#"CREATE TYPE kind AS ENUM ('a', 'b');
         CREATE TABLE pin_types ("index" INT PRIMARY KEY, small SMALLINT, big BIGINT, price NUMERIC(20, 4), latitude DOUBLE PRECISION,
             single REAL, odd DOUBLE PRECISION, at TIMESTAMP, exact TIMESTAMP(3), stamp TIMESTAMPTZ, day DATE, hour TIME, text TEXT,
             name VARCHAR(9), width CHAR(3), bytes BYTEA, sure BOOLEAN, doc JSON, docb JSONB, kind kind, id UUID, list INT[], none TEXT);
         SET TimeZone = 'Asia/Karachi';
         INSERT INTO pin_types VALUES (1, -7, 9223372036854775807, 12.5, -88.7253, 0.5, 'NaN', '2020-08-28 03:52:47',
             '2020-08-28 03:52:47.25', '2020-08-28 08:52:47', '2020-08-28', '03:52', E'a "b"\n🎄 …', 'é', 'é', '\x00ff0a', TRUE,
             E'{"b": [1.50,\n null]}', '{"b": [1.50, null], "a": 1}', 'b', '55ABCD28-bda1-4453-bbcd-1427fb3aa49b', '{1,NULL}', NULL)"#,
    );
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let ran = database.replay(&endpoint, &["--format", "kafka"]).await;
    ran.assert_code(0);
    let row = &endpoint.stored()["pin"][0];
    let expected = json!({
        "index": 1, "small": -7, "big": 9_223_372_036_854_775_807_i64, "price": "12.5000", "latitude": -88.7253, "single": 0.5,
        "odd": "NaN", "at": "2020-08-28 03:52:47", "exact": "2020-08-28 03:52:47.25", "stamp": "2020-08-28 03:52:47+00:00",
        "day": "2020-08-28", "hour": "03:52:00", "text": "a \"b\"\n🎄 …", "name": "é", "width": "é  ", "bytes": "AP8K",
        "sure": true, "doc": {"b": [1.5, null]}, "docb": {"a": 1, "b": [1.5, null]}, "kind": "b",
        "id": "55abcd28-bda1-4453-bbcd-1427fb3aa49b", "list": "{1,NULL}", "none": null,
    });
    assert_eq!(*row, expected);
    assert_eq!(names(row), names(&expected), "columns stay in the table's order");
}

async fn tables_are_read_by_key_and_later_runs_post_new_rows_only(engine: Engine) {
    let Some(database) = Server::start(engine) else { return };
    let to_500 = database.numbers(1, 500);
    database.sql(&format!(
        r#"CREATE TABLE pinterest_data ("index" INT, title TEXT); CREATE TABLE geolocation_data (ind INT PRIMARY KEY);
         CREATE TABLE other (n INT);
         INSERT INTO pinterest_data SELECT seq * 3, CONCAT('post ', seq) FROM {to_500} ORDER BY seq DESC;
         INSERT INTO geolocation_data SELECT seq FROM {to_500}"#
    ));
    let endpoint =
        Endpoint::start(|_, number| if number == 7 { Reply::status(403) } else { Reply::Stored }).await;
    let state = ["--state", "state.json", "--batch", "20"];
    let ran = database.replay(&endpoint, &state).await;
    ran.assert_code(2);
    assert!(
        ran.stderr.contains("pinterest_data has no primary key") && ran.stderr.contains("--key"),
        "{}",
        ran.stderr
    );

    let keyed = [&state[..], &["--key", "index", "--key", "ind"]].concat();
    let ran = database.replay(&endpoint, &keyed).await;
    ran.assert_code(1);
    let ran = database.replay(&endpoint, &keyed).await;
    ran.assert_code(0);
    let all: Vec<i64> = (1..=500).map(|row| row * 3).collect();
    let stored = endpoint.stored();
    let mut once = numbers(&stored["pin"], "index");
    once.sort_unstable();
    // The requests that were open when the first run failed may be stored twice.
    assert!(once.len() < 700, "{}", once.len());
    once.dedup();
    assert_eq!(once, all);

    database.sql(
        r#"INSERT INTO pinterest_data VALUES (1600, 'new'), (1501, 'new'); DELETE FROM pinterest_data WHERE "index" < 900"#,
    );
    let ran = database.replay(&endpoint, &keyed).await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["sent"], 2, "only new rows are sent");
    let stored = endpoint.stored();
    assert_eq!(numbers(&stored["pin"], "index")[stored["pin"].len() - 2..], [1501, 1600]);
    let kept: Value =
        serde_json::from_slice(&fs::read(database.folder().join("state.json")).unwrap()).unwrap();
    let name = format!("{}/pinterest_data", database.url());
    assert_eq!(kept["keys"][&name], json!({"column": "index", "reached": 1600}));
    assert!(!stored.contains_key("other"), "a table whose name matches no dataset is not read");

    database.sql("INSERT INTO pinterest_data VALUES (1700, 'x'), (1700, 'y')");
    let ran = database.replay(&endpoint, &keyed).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("cannot be its key: there is the same number"), "{}", ran.stderr);
}

async fn seed_100_draws_what_the_stock_client_draws(engine: Engine) {
    let Some(database) = Server::start(engine) else { return };
    for (table, key) in [("pinterest_data", "index"), ("geolocation_data", "ind"), ("user_data", "ind")] {
        let all = database.numbers(0, 11_153);
        database.sql(&format!(
            r#"CREATE TABLE {table} ("{key}" INT PRIMARY KEY); INSERT INTO {table} SELECT seq FROM {all}"#
        ));
    }
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let args = [
        "--seed",
        "100",
        "--batch",
        "1",
        "--concurrency",
        "1",
        "--format",
        "kinesis",
        "--state",
        "state.json",
    ];
    for count in ["4", "10"] {
        database.replay(&endpoint, &[&args[..], &["--count", count]].concat()).await.assert_code(0);
    }
    let known = [7528, 2863, 5730, 8304, 8731, 1313, 4315, 10_794, 5494, 5069];
    let stored = endpoint.stored();
    assert_eq!(numbers(&stored["pin"], "index"), known);
    assert_eq!(numbers(&stored["geo"], "ind"), known);
    assert_eq!(numbers(&stored["user"], "ind"), known);
}

async fn a_user_without_permission_gets_advice(engine: Engine) {
    let Some(database) = Server::start(engine) else { return };
    database.sql("CREATE TABLE pinterest_data (ind INT); CREATE TABLE secret (ind INT)");
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let args = ["replay", "--to", &endpoint.url, "--from", &database.url()];
    let settings = [("PINLAKE_DB_USER", "reader"), ("PINLAKE_DB_PASSWORD", "wrong")];
    let ran = pinlake_with(database.folder(), &settings, &args).await;
    ran.assert_code(1);
    assert!(
        ran.stderr.contains(match engine {
            Engine::MariaDb => "Access denied",
            Engine::Postgres => "password authentication failed",
        }) && ran.stderr.contains("PINLAKE_DB_PASSWORD"),
        "{}",
        ran.stderr
    );
    let ran = pinlake_with(database.folder(), &[], &args).await;
    ran.assert_code(2);
    assert!(ran.stderr.contains("PINLAKE_DB_USER"), "{}", ran.stderr);
    // The server has no certificate, so a connection that requires TLS fails.
    let ran = database.replay(&endpoint, &["--db-tls", "verify"]).await;
    ran.assert_code(1);
    let ran = database.replay(&endpoint, &["--table", "nowhere"]).await;
    ran.assert_code(2);
    assert!(
        ran.stderr.contains("there is no table nowhere") && ran.stderr.contains("secret"),
        "{}",
        ran.stderr
    );
    let ran = database.replay(&endpoint, &["--table", "secret"]).await;
    ran.assert_code(2);
    assert!(ran.stderr.contains("--table secret=DATASET"), "{}", ran.stderr);
    // A table that is visible to the user, but that the user cannot read.
    if engine == Engine::Postgres {
        database.sql("REVOKE SELECT ON pinterest_data FROM reader");
        let ran = database.replay(&endpoint, &["--table", "pinterest_data"]).await;
        ran.assert_code(1);
        assert!(ran.stderr.contains("permission denied for table pinterest_data"), "{}", ran.stderr);
    }
    let secret = database.url_at("reader:s3cret@127.0.0.1");
    let ran =
        pinlake_with(database.folder(), &settings, &["replay", "--to", &endpoint.url, "--from", &secret])
            .await;
    ran.assert_code(2);
    assert!(ran.stderr.contains("PINLAKE_DB_PASSWORD") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    assert!(endpoint.requests().is_empty());
}

async fn only_a_server_with_a_valid_certificate_is_read(engine: Engine) {
    let (Some(certificates), Some(other)) = (Certificates::new(), Certificates::new()) else { return };
    let Some(database) = Server::with_certificate(engine, &certificates, "localhost") else { return };
    database.sql("CREATE TABLE pinterest_data (ind INT); INSERT INTO pinterest_data VALUES (1)");
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let [known, unknown] =
        [&certificates, &other].map(|by| by.authority().into_os_string().into_string().unwrap());
    let no_file = "no-such-file.pem";
    let no_certificate = database.folder().join("log").into_os_string().into_string().unwrap();
    for (host, args, code, said) in [
        (
            "127.0.0.1",
            &["--db-ca", &known][..],
            1,
            ["not valid for name \"127.0.0.1\"", "host name of the certificate"],
        ),
        ("localhost", &["--db-ca", &unknown], 1, ["UnknownIssuer", "not signed by a trusted authority"]),
        // The authority of a test is not a public one.
        ("localhost", &["--db-tls", "verify"], 1, ["UnknownIssuer", "--db-ca"]),
        ("localhost", &["--db-ca", no_file], 2, [no_file, "cannot be read"]),
        ("localhost", &["--db-ca", &no_certificate], 2, [&no_certificate, "has no certificate"]),
    ] {
        let ran = database.replay_at(host, &endpoint, args).await;
        ran.assert_code(code);
        assert!(said.iter().all(|said| ran.stderr.contains(said)), "{args:?}: {}", ran.stderr);
    }
    // The server requires TLS, so the rows below were read encrypted.
    let ran = database.replay_at("localhost", &endpoint, &["--db-tls", "off"]).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("whether it wants TLS"), "{}", ran.stderr);
    assert!(endpoint.requests().is_empty());

    database.replay_at("localhost", &endpoint, &["--db-ca", &known]).await.assert_code(0);
    assert_eq!(numbers(&endpoint.stored()["pin"], "ind"), [1]);
}
