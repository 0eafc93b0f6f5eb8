//! `pinlake replay` from a real MariaDB, which each test starts for itself. Where it is not installed the tests say
//! that they skip.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::{Endpoint, Reply};
use crate::program::{Ran, pinlake_with};

const PASSWORD: &str = "as safe as 'this'";

/// A server with one database, `pinterest`, and one user, `reader`, who may read it.
struct MariaDb {
    folder: TempDir,
    port: u16,
    server: Child,
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl MariaDb {
    /// `None` after saying that a test skips.
    fn start() -> Option<MariaDb> {
        let program = ["/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd", "/usr/bin/mariadbd"];
        let Some(program) = program.into_iter().find(|program| Path::new(program).exists()) else {
            eprintln!("skipped: MariaDB is not installed; on Debian: apt install mariadb-server");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let data = format!("--datadir={}", folder.path().join("data").display());
        // Root has to be told that it is meant to be root.
        let root = fs::metadata(folder.path()).unwrap().uid() == 0;
        let user: &[&str] = if root { &["--user=root"] } else { &[] };
        let install = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data];
        let installed = Command::new("mariadb-install-db").args(install).args(user).output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let socket = format!("--socket={}", folder.path().join("sock").display());
        let server = Command::new(program)
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-log-bin", &data, &socket])
            .arg(format!("--port={port}"))
            .arg("--innodb-buffer-pool-size=32M")
            .args(user)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let database = MariaDb { folder, port, server };
        let begin = "CREATE DATABASE pinterest CHARACTER SET utf8mb4; CREATE USER reader@'%' IDENTIFIED BY 'as safe as ''this''';
                     GRANT SELECT ON pinterest.* TO reader@'%';";
        for tries in 0.. {
            if database.try_sql("mysql", "SELECT 1").is_ok() {
                break;
            }
            let log = || fs::read_to_string(database.folder.path().join("log")).unwrap();
            assert!(tries < 300, "MariaDB does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        database.try_sql("mysql", begin).unwrap();
        Some(database)
    }

    fn try_sql(&self, name: &str, sql: &str) -> Result<(), String> {
        let socket = format!("--socket={}", self.folder.path().join("sock").display());
        let args =
            ["--no-defaults", "--user=root", "--default-character-set=utf8mb4", &socket, name, "-e", sql];
        let ran = Command::new("mariadb").args(args).output().unwrap();
        if ran.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ran.stderr).into_owned()) }
    }

    fn sql(&self, sql: &str) {
        self.try_sql("pinterest", sql).unwrap();
    }

    fn url(&self) -> String {
        format!("mysql://127.0.0.1:{}/pinterest", self.port)
    }

    /// `pinlake replay` of this database, as its reader.
    async fn replay(&self, endpoint: &Endpoint, args: &[&str]) -> Ran {
        let url = self.url();
        let all = [&["replay", "--to", &endpoint.url, "--from", &url], args].concat();
        let settings = [("PINLAKE_DB_USER", "reader"), ("PINLAKE_DB_PASSWORD", PASSWORD)];
        pinlake_with(self.folder.path(), &settings, &all).await
    }
}

fn numbers(rows: &[Value], name: &str) -> Vec<i64> {
    rows.iter().map(|row| row[name].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_become_what_the_clients_send() {
    let Some(database) = MariaDb::start() else { return };
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
    // MariaDB's JSON is a text under another name, as it is to the clients.
    assert_eq!(*row, expected);
    let names = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(row), names(&expected), "columns stay in the table's order");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_read_by_their_keys_and_later_runs_post_what_is_new() {
    let Some(database) = MariaDb::start() else { return };
    database.sql(
        "CREATE TABLE pinterest_data (`index` INT, title TEXT); CREATE TABLE geolocation_data (ind INT PRIMARY KEY);
         CREATE TABLE other (n INT);
         INSERT INTO pinterest_data SELECT seq * 3, CONCAT('post ', seq) FROM seq_1_to_500 ORDER BY seq DESC;
         INSERT INTO geolocation_data SELECT seq FROM seq_1_to_500;",
    );
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
    // What was under way when the first run failed may be there twice.
    assert!(once.len() < 700, "{}", once.len());
    once.dedup();
    assert_eq!(once, all);

    database.sql("INSERT INTO pinterest_data VALUES (1600, 'new'), (1501, 'new'); DELETE FROM pinterest_data WHERE `index` < 900");
    let ran = database.replay(&endpoint, &keyed).await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["sent"], 2, "only what is new");
    let stored = endpoint.stored();
    assert_eq!(numbers(&stored["pin"], "index")[stored["pin"].len() - 2..], [1501, 1600]);
    let kept: Value =
        serde_json::from_slice(&fs::read(database.folder.path().join("state.json")).unwrap()).unwrap();
    let name = format!("{}/pinterest_data", database.url());
    assert_eq!(kept["keys"][&name], json!({"column": "index", "reached": 1600}));
    assert!(!stored.contains_key("other"), "a table whose name tells no dataset is left alone");

    database.sql("INSERT INTO pinterest_data VALUES (1700, 'x'), (1700, 'y')");
    let ran = database.replay(&endpoint, &keyed).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("cannot be its key: there is the same number"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_100_draws_what_the_stock_client_draws() {
    let Some(database) = MariaDb::start() else { return };
    for (table, key) in [("pinterest_data", "index"), ("geolocation_data", "ind"), ("user_data", "ind")] {
        database.sql(&format!(
            "CREATE TABLE {table} (`{key}` INT PRIMARY KEY); INSERT INTO {table} SELECT seq FROM seq_0_to_11153"
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

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_is_told_what_to_do() {
    let Some(database) = MariaDb::start() else { return };
    database.sql("CREATE TABLE pinterest_data (ind INT); CREATE TABLE secret (ind INT)");
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let args = ["replay", "--to", &endpoint.url, "--from", &database.url()];
    let settings = [("PINLAKE_DB_USER", "reader"), ("PINLAKE_DB_PASSWORD", "wrong")];
    let ran = pinlake_with(database.folder.path(), &settings, &args).await;
    ran.assert_code(1);
    assert!(
        ran.stderr.contains("Access denied") && ran.stderr.contains("PINLAKE_DB_PASSWORD"),
        "{}",
        ran.stderr
    );
    let ran = pinlake_with(database.folder.path(), &[], &args).await;
    ran.assert_code(2);
    assert!(ran.stderr.contains("PINLAKE_DB_USER"), "{}", ran.stderr);
    // This server has no certificate: what was to be encrypted is not sent in the clear.
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
    assert!(endpoint.requests().is_empty());
}
