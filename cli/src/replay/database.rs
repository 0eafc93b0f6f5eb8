//! Reads database tables as JSON rows.
//!
//! A table is read with one query, whose rows are fetched as they are posted; or with one query per row for the draws of the
//! stock client, as that client does. Only SELECT statements and session settings are sent. [`mysql`] and [`postgres`] are
//! the drivers; [`value`] converts values, [`address`] parses URLs, and [`tls`] checks certificates.

pub mod address;
mod mysql;
mod postgres;
mod tls;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use self::address::{Address, Engine, Tls};
use self::value::{Cells, Column, Columns};
use super::python_random;
use crate::error::CliError;

/// Timeout of a server. It may have to sort a large table before the first row.
const ANSWER_TIME: Duration = Duration::from_secs(600);

/// The types of key columns, in both engines.
const WHOLE_NUMBERS: [&str; 8] =
    ["tinyint", "smallint", "mediumint", "int", "bigint", "int2", "int4", "int8"];

/// A connection to either engine.
enum Session {
    MySql(mysql::Session),
    Postgres(postgres::Session),
}

/// A result of either engine.
enum Rows {
    MySql(mysql::Rows),
    Postgres(Box<postgres::Rows>),
}

/// A database that can be read.
#[derive(Clone)]
pub struct Database {
    address: Address,
    tables: BTreeMap<String, Vec<Field>>,
}

impl fmt::Debug for Database {
    /// The address without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("address", &self.shown()).finish_non_exhaustive()
    }
}

/// A candidate for a key column.
#[derive(Debug, Clone)]
struct Field {
    name: String,
    whole_number: bool,
    primary: bool,
}

/// How a table is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The table.
    pub table: String,
    /// The column whose order the rows are read in.
    pub key: Option<String>,
}

impl Database {
    /// Connects and lists the tables.
    pub async fn connect(address: Address) -> Result<Database, CliError> {
        let mut session = open(&address).await?;
        let sql = match address.engine {
            Engine::MySql => {
                "SELECT table_name, column_name, data_type, IF(column_key = 'PRI', 't', 'f') \
                 FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
            }
            Engine::Postgres => {
                "SELECT c.relname, a.attname, t.typname, i.indrelid IS NOT NULL FROM pg_class c \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 JOIN pg_type t ON t.oid = a.atttypid \
                 LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey) \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid) AND c.relnamespace \
                 NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY c.relname, a.attnum"
            }
        };
        let mut tables: BTreeMap<String, Vec<Field>> = BTreeMap::new();
        for row in texts(&mut session, &address, sql).await? {
            if let Ok([table, name, kind, primary]) = <[String; 4]>::try_from(row) {
                let whole_number = WHOLE_NUMBERS.contains(&kind.as_str());
                tables.entry(table).or_default().push(Field { name, whole_number, primary: primary == "t" });
            }
        }
        Ok(Database { address, tables })
    }

    /// The names of all tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// The address without credentials.
    pub fn shown(&self) -> String {
        self.address.shown()
    }

    /// The key of a table: the first of `wanted` that it has, else its primary key if that is one integer column.
    pub fn key(&self, table: &str, wanted: &[String]) -> Result<Option<String>, CliError> {
        let fields = self.tables.get(table).map(Vec::as_slice).unwrap_or_default();
        let found = wanted.iter().find_map(|name| fields.iter().find(|field| field.name == *name));
        if let Some(field) = found {
            return if field.whole_number {
                Ok(Some(field.name.clone()))
            } else {
                Err(CliError::usage(
                    format!(
                        "the column `{}` of {table} cannot be the key: it does not hold integers",
                        field.name
                    ),
                    "name a column of unique integers",
                ))
            };
        }
        let mut primary = fields.iter().filter(|field| field.primary);
        Ok(match (primary.next(), primary.next()) {
            (Some(field), None) if field.whole_number => Some(field.name.clone()),
            _ => None,
        })
    }

    fn select(&self, selection: &Selection, after: Option<i64>) -> String {
        let mut sql = format!("SELECT * FROM {}", self.quoted(&selection.table));
        if let Some(key) = &selection.key {
            let key = self.quoted(key);
            if let Some(after) = after {
                sql.push_str(&format!(" WHERE {key} > {after}"));
            }
            sql.push_str(&format!(" ORDER BY {key}"));
        }
        sql
    }

    fn quoted(&self, name: &str) -> String {
        let mark = match self.address.engine {
            Engine::MySql => "`",
            Engine::Postgres => "\"",
        };
        format!("{mark}{}{mark}", name.replace(mark, &mark.repeat(2)))
    }
}

/// A row of a table.
pub struct TableRow {
    /// The row as JSON, on one line.
    pub json: Vec<u8>,
    /// The value of its key.
    pub key: Option<i64>,
}

/// A table being read, by a thread that may block.
pub struct Table {
    name: String,
    key: Option<String>,
    last: Option<i64>,
    stop: watch::Receiver<bool>,
    runtime: Handle,
    reading: Reading,
}

enum Reading {
    InOrder(Rows),
    Drawn { session: Session, sql: String },
}

impl Table {
    /// Starts reading the rows of a table whose key is above `after`.
    pub async fn in_order(
        database: &Database,
        selection: &Selection,
        after: Option<i64>,
        stop: watch::Receiver<bool>,
    ) -> Result<Table, CliError> {
        let session = open(&database.address).await?;
        let sql = database.select(selection, after);
        let rows = async {
            Ok(match session {
                Session::MySql(session) => Rows::MySql(session.rows(sql).await?),
                Session::Postgres(session) => Rows::Postgres(Box::new(session.rows(sql).await?)),
            })
        };
        let reading = Reading::InOrder(
            await_answer(rows, &format!("read {} of", selection.table), &database.shown()).await?,
        );
        Ok(Table::new(database, selection, after, stop, reading))
    }

    /// Prepares reading rows by offset, and counts the rows to draw from.
    pub async fn drawn(
        database: &Database,
        selection: &Selection,
        stop: watch::Receiver<bool>,
    ) -> Result<(Table, u64), CliError> {
        let mut session = open(&database.address).await?;
        let table = database.quoted(&selection.table);
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {table} LIMIT {}) AS known",
            python_random::MAX_DRAWN_ROWS
        );
        let counted = texts(&mut session, &database.address, &sql).await?;
        let rows = counted.first().and_then(|row| row.first()).and_then(|count| count.parse().ok());
        let reading = Reading::Drawn { session, sql: database.select(selection, None) };
        Ok((Table::new(database, selection, None, stop, reading), rows.unwrap_or_default()))
    }

    fn new(
        database: &Database,
        selection: &Selection,
        last: Option<i64>,
        stop: watch::Receiver<bool>,
        reading: Reading,
    ) -> Table {
        Table {
            name: format!("{}/{}", database.shown(), selection.table),
            key: selection.key.clone(),
            last,
            stop,
            runtime: Handle::current(),
            reading,
        }
    }

    /// The next row, or the row at offset `place` for draws; `None` at the end, or after Ctrl-C. Blocks its thread, which must
    /// not belong to the runtime.
    pub fn next(&mut self, place: Option<u64>) -> Result<Option<TableRow>, CliError> {
        let found = async {
            let row = async {
                match &mut self.reading {
                    Reading::InOrder(rows) => rows.next().await,
                    Reading::Drawn { session, sql } => {
                        let sql = format!("{sql} LIMIT 1 OFFSET {}", place.unwrap_or_default());
                        match session {
                            Session::MySql(session) => Ok(session.row(&sql).await?),
                            Session::Postgres(session) => session.row(&sql).await,
                        }
                    }
                }
            };
            let stopped = async {
                // If the sender is dropped, the run cannot be stopped any more.
                if self.stop.wait_for(|stop| *stop).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = stopped => Ok(None),
                row = await_answer(row, "read the rows of", &self.name) => row,
            }
        };
        let Some((columns, cells)) = self.runtime.block_on(found)? else { return Ok(None) };
        let unusable = |error| {
            CliError::failed(
                format!("a row of {} cannot be posted", self.name),
                "fix the row, or post a view of the table without it: --table VIEW",
            )
            .caused_by(error)
        };
        let json = value::row(&columns, &cells).map_err(unusable)?;
        let key = match self.reading {
            Reading::InOrder(_) => self.key_of(&columns, &cells)?,
            Reading::Drawn { .. } => None,
        };
        Ok(Some(TableRow { json, key }))
    }

    /// The key of a row. It must be above the one before, because a restart skips all rows up to the last key.
    fn key_of(&mut self, columns: &[Column], cells: &Cells) -> Result<Option<i64>, CliError> {
        let Some(key) = &self.key else { return Ok(None) };
        let cell =
            columns.iter().position(|column| column.name == *key).and_then(|at| cells.get(at)?.as_deref());
        let value = cell.and_then(|cell| str::from_utf8(cell).ok()).and_then(|text| text.parse::<i64>().ok());
        let wrong = match (value, self.last) {
            (None, _) => "a row without a whole number of 64 bits",
            (Some(value), Some(last)) if value <= last => "the same number in two rows",
            _ => {
                self.last = value;
                return Ok(value);
            }
        };
        Err(CliError::failed(
            format!("the column `{key}` of {} cannot be its key: there is {wrong}", self.name),
            "name another column with --key, or remove --key and --state to read the whole table",
        ))
    }
}

impl Rows {
    async fn next(&mut self) -> Result<Option<(Columns, Cells)>, DriverError> {
        let (cells, columns) = match self {
            Rows::MySql(rows) => (rows.next().await?, &rows.columns),
            Rows::Postgres(rows) => (rows.next().await?, &rows.columns),
        };
        Ok(cells.map(|cells| (Columns::clone(columns), cells)))
    }
}

/// An error of a driver.
type DriverError = Box<dyn std::error::Error + Send + Sync>;

async fn open(address: &Address) -> Result<Session, CliError> {
    // Both drivers use the default provider. The build has two, so rustls does not select one itself.
    let _already_there = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let roots = match &address.tls {
        Tls::Off => None,
        Tls::Verified { ca } => Some(tls::authorities(ca.as_deref())?),
    };
    let session = async {
        Ok(match address.engine {
            Engine::MySql => Session::MySql(mysql::Session::open(address).await?),
            Engine::Postgres => Session::Postgres(postgres::Session::open(address, roots).await?),
        })
    };
    await_answer(session, "connect to", &address.shown()).await
}

async fn texts(session: &mut Session, address: &Address, sql: &str) -> Result<Vec<Vec<String>>, CliError> {
    let rows = async {
        match session {
            Session::MySql(session) => Ok(session.texts(sql).await?),
            Session::Postgres(session) => session.texts(sql).await,
        }
    };
    await_answer(rows, "read from", &address.shown()).await
}

/// Waits for a driver, with a timeout.
async fn await_answer<T>(
    answer: impl Future<Output = Result<T, DriverError>>,
    what: &str,
    whose: &str,
) -> Result<T, CliError> {
    let error = match timeout(ANSWER_TIME, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(late) => late.into(),
    };
    let advice = tls::advice(&*error).map_or_else(
        || {
            format!(
                "check that it is running, that {} may read it with the password in {}, and whether it wants TLS \
                 (--db-ca, --db-tls); with --state the same command continues where this one stopped",
                address::USER,
                address::PASSWORD
            )
        },
        str::to_owned,
    );
    Err(CliError::failed(format!("cannot {what} {whose}"), advice).caused_by(error))
}
