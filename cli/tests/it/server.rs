//! Database servers that a test starts and stops.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::endpoint::Endpoint;
use crate::program::{Ran, pinlake_with};

/// The password of the reader.
pub const PASSWORD: &str = "as safe as 'this'";

/// The user and group `nobody`. PostgreSQL does not run as root, so it runs as `nobody` if the test is root.
const NOBODY: u32 = 65534;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    MariaDb,
    Postgres,
}

/// A server with the database `pinterest` and the user `reader`, who can read it.
pub struct Server {
    pub engine: Engine,
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // PostgreSQL must stop its other processes and remove its shared memory.
        if self.engine == Engine::Postgres {
            let data = self.folder.path().join("data");
            let stop = ["stop", "--silent", "--mode=immediate", "--pgdata"];
            self.of_postgres("pg_ctl").args(stop).arg(data).status().unwrap();
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Server {
    /// Starts a server. `None`, with a message, if it is not installed.
    pub fn start(engine: Engine) -> Option<Server> {
        Server::begin(engine, None)
    }

    /// Starts a server with the certificate of a host. Its user can only connect with TLS.
    pub fn with_certificate(engine: Engine, certificates: &Certificates, host: &str) -> Option<Server> {
        Server::begin(engine, Some((certificates, host)))
    }

    fn begin(engine: Engine, certificate: Option<(&Certificates, &str)>) -> Option<Server> {
        let Some(programs) = engine.programs() else {
            eprintln!("skipped: {}", engine.missing());
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let certificate = certificate.map(|(certificates, host)| {
            let files = certificates.of_host(host);
            [("cert", files.certificate), ("key", files.key)].map(|(name, from)| {
                let to = folder.path().join(name);
                fs::copy(from, &to).unwrap();
                to
            })
        });
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = match engine {
            Engine::MariaDb => mariadb(&programs, folder.path(), port, certificate.as_ref()),
            Engine::Postgres => postgres(&programs, folder.path(), port, certificate.as_ref()),
        };
        let server = Server { engine, folder, programs, port, process };
        let begin = match engine {
            Engine::MariaDb => "mysql",
            Engine::Postgres => "postgres",
        };
        for tries in 0.. {
            let Err(error) = server.try_sql(begin, "SELECT 1") else { break };
            let log = || fs::read_to_string(server.folder.path().join("log")).unwrap();
            assert!(tries < 300, "{engine:?} does not answer: {error}\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        let password = PASSWORD.replace('\'', "''");
        match engine {
            Engine::MariaDb => {
                let encrypted = if certificate.is_some() { "REQUIRE SSL" } else { "" };
                server.sql_in(
                    begin,
                    &format!(
                        "CREATE DATABASE pinterest CHARACTER SET utf8mb4;
                         CREATE USER reader@'%' IDENTIFIED BY '{password}' {encrypted};
                         GRANT SELECT ON pinterest.* TO reader@'%'"
                    ),
                );
            }
            Engine::Postgres => {
                server.sql_in(begin, &format!("CREATE ROLE reader LOGIN PASSWORD '{password}'"));
                server.sql_in(begin, "CREATE DATABASE pinterest");
                server.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader");
            }
        }
        Some(server)
    }

    fn of_postgres(&self, program: &str) -> Command {
        of_postgres(&self.programs, program, self.folder.path())
    }

    /// Runs statements as the server's owner.
    pub fn sql(&self, sql: &str) {
        self.sql_in("pinterest", sql);
    }

    fn sql_in(&self, database: &str, sql: &str) {
        self.try_sql(database, sql).unwrap();
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<(), String> {
        let ran = match self.engine {
            Engine::MariaDb => {
                let socket = format!("--socket={}", self.folder.path().join("sock").display());
                let args = ["--no-defaults", "--user=root", "--default-character-set=utf8mb4", &socket];
                // Quotes enclose names, as in standard SQL.
                let sql = format!("SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES'); {sql}");
                Command::new("mariadb").args(args).args([database, "-e", &sql]).output()
            }
            Engine::Postgres => {
                let port = self.port.to_string();
                let args = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres"];
                let mut psql = self.of_postgres("psql");
                psql.args(args).args(["--port", &port, "--dbname", database, "--command", sql]);
                psql.arg("--host").arg(self.folder.path()).output()
            }
        };
        succeeded(ran.unwrap()).map(drop)
    }

    /// A table expression with one column `seq`: the integers from `first` to `last`.
    pub fn numbers(&self, first: i64, last: i64) -> String {
        match self.engine {
            Engine::MariaDb => format!("seq_{first}_to_{last}"),
            Engine::Postgres => format!("generate_series({first}, {last}) AS seq"),
        }
    }

    /// The URL of the database for `pinlake replay`.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// The URL with another host, which may be `user@host`.
    pub fn url_at(&self, host: &str) -> String {
        let scheme = match self.engine {
            Engine::MariaDb => "mysql",
            Engine::Postgres => "postgres",
        };
        format!("{scheme}://{host}:{}/pinterest", self.port)
    }

    /// The folder of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `pinlake replay` of this database as the user `reader`.
    pub async fn replay(&self, endpoint: &Endpoint, args: &[&str]) -> Ran {
        self.replay_at("127.0.0.1", endpoint, args).await
    }

    /// Like [`Server::replay`], with another host in the URL.
    pub async fn replay_at(&self, host: &str, endpoint: &Endpoint, args: &[&str]) -> Ran {
        let url = self.url_at(host);
        let all = [&["replay", "--to", &endpoint.url, "--from", &url], args].concat();
        let settings = [("PINLAKE_DB_USER", "reader"), ("PINLAKE_DB_PASSWORD", PASSWORD)];
        pinlake_with(self.folder.path(), &settings, &all).await
    }
}

impl Engine {
    /// The folder of the server programs, if they are installed.
    fn programs(self) -> Option<PathBuf> {
        match self {
            Engine::MariaDb => ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
                .map(PathBuf::from)
                .into_iter()
                .find(|folder| folder.join("mariadbd").exists()),
            Engine::Postgres => {
                // Debian has a folder for each version, which is not on PATH.
                let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
                let debian = versions.map(|version| version.unwrap().path().join("bin"));
                let mut folders: Vec<_> =
                    debian.chain(["/usr/local/bin".into(), "/usr/bin".into()]).collect();
                folders.sort();
                folders.into_iter().rev().find(|folder| {
                    ["initdb", "pg_ctl", "postgres", "psql"]
                        .iter()
                        .all(|program| folder.join(program).exists())
                })
            }
        }
    }

    fn missing(self) -> &'static str {
        match self {
            Engine::MariaDb => "MariaDB is not installed; on Debian: apt install mariadb-server",
            Engine::Postgres => "PostgreSQL is not installed; on Debian: apt install postgresql",
        }
    }
}

/// Whether the test runs as root, from the owner of a new file.
fn is_root() -> bool {
    tempfile::tempfile().unwrap().metadata().unwrap().uid() == 0
}

fn succeeded(ran: Output) -> Result<Output, String> {
    if ran.status.success() { Ok(ran) } else { Err(String::from_utf8_lossy(&ran.stderr).into_owned()) }
}

fn mariadb(programs: &Path, folder: &Path, port: u16, certificate: Option<&[PathBuf; 2]>) -> Child {
    let data = format!("--datadir={}", folder.join("data").display());
    // MariaDB runs as root only with this option.
    let user: &[&str] = if is_root() { &["--user=root"] } else { &[] };
    let install = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data];
    // A server removes temporary tables of other servers from a shared temporary folder when it starts.
    let install =
        Command::new("mariadb-install-db").args(install).args(user).env("TMPDIR", folder).output().unwrap();
    succeeded(install).unwrap();
    let mut server = Command::new(programs.join("mariadbd"));
    server
        .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-log-bin", &data])
        .arg(format!("--socket={}", folder.join("sock").display()))
        .arg(format!("--port={port}"))
        .arg("--innodb-buffer-pool-size=32M")
        .args(user)
        .env("TMPDIR", folder);
    if let Some([certificate, key]) = certificate {
        server.arg(format!("--ssl-cert={}", certificate.display()));
        server.arg(format!("--ssl-key={}", key.display()));
    }
    spawn(server, folder)
}

fn postgres(programs: &Path, folder: &Path, port: u16, certificate: Option<&[PathBuf; 2]>) -> Child {
    if is_root() {
        for path in [Some(folder), certificate.map(|files| &*files[1])].into_iter().flatten() {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let data = folder.join("data");
    let make = ["--username=postgres", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256"];
    let mut initdb = of_postgres(programs, "initdb", folder);
    let made = initdb.args(make).args(["--no-locale", "--no-sync", "--pgdata"]).arg(&data).output();
    succeeded(made.unwrap()).unwrap();
    let mut server = of_postgres(programs, "postgres", folder);
    server.arg("-D").arg(&data).args(["-F", "-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(folder);
    if let Some([certificate, key]) = certificate {
        let setting = |name: &str, value: &OsStr| format!("{name}={}", value.to_str().unwrap());
        server.args(["-c", "ssl=on", "-c", &setting("ssl_cert_file", certificate.as_ref())]);
        server.args(["-c", &setting("ssl_key_file", key.as_ref())]);
        let encrypted = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), encrypted).unwrap();
    }
    spawn(server, folder)
}

/// A command that runs a program of PostgreSQL as a user other than root.
fn of_postgres(programs: &Path, program: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs.join(program));
    command.current_dir(folder).env_remove("PGDATA").stdin(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn spawn(mut server: Command, folder: &Path) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    server.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}
