//! MySQL and MariaDB, with the text protocol of `mysql_async`.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::consts::ColumnType;
use mysql_async::prelude::{Query, Queryable};
use mysql_async::{Conn, Error, OptsBuilder, QueryResult, SslOpts, TextProtocol, Value};

use super::address::{Address, Tls};
use super::value::{Cells, Column, Columns, Kind};

/// Session settings. A server closes the connection if a client reads no row for a minute, which a low --rate can exceed.
/// Times are UTC, as in the contracts.
const SETUP: [&str; 2] = ["SET SESSION net_write_timeout = 86400", "SET SESSION time_zone = '+00:00'"];

/// MySQL's number for "no character set": bytes.
const BINARY: u16 = 63;

/// A connection.
pub struct Session(Conn);

/// A result, read row by row.
pub struct Rows {
    result: QueryResult<'static, 'static, TextProtocol>,
    /// Its columns.
    pub columns: Columns,
}

impl Session {
    /// Connects.
    pub async fn open(address: &Address) -> Result<Session, Error> {
        let options = OptsBuilder::default()
            .ip_or_hostname(address.host.clone())
            .tcp_port(address.port)
            .user(Some(address.user.clone()))
            .pass(address.password.clone())
            .db_name(Some(address.database.clone()))
            // If the address is a tunnel, a local socket would belong to another server.
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .setup(SETUP.to_vec())
            .ssl_opts(match &address.tls {
                Tls::Off => None,
                Tls::Verified { ca: None } => Some(SslOpts::default()),
                Tls::Verified { ca: Some(ca) } => Some(
                    SslOpts::default()
                        .with_disable_built_in_roots(true)
                        .with_root_certs(vec![ca.clone().into()]),
                ),
            });
        Conn::new(options).await.map(Session)
    }

    /// The rows of a small result as text; null is an empty string.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Error> {
        let rows: Vec<mysql_async::Row> = self.0.query(sql).await?;
        let text = |cell: Vec<u8>| String::from_utf8_lossy(&cell).into_owned();
        Ok(rows
            .into_iter()
            .map(|row| cells(row).into_iter().map(|cell| cell.map(text).unwrap_or_default()).collect())
            .collect())
    }

    /// The first row of a result.
    pub async fn row(&mut self, sql: &str) -> Result<Option<(Columns, Cells)>, Error> {
        let mut result = self.0.query_iter(sql).await?;
        let columns = columns(result.columns());
        let row = result.next().await?;
        result.drop_result().await?;
        Ok(row.map(|row| (columns, cells(row))))
    }

    /// A result of any size.
    pub async fn rows(self, sql: String) -> Result<Rows, Error> {
        let result = sql.run(self.0).await?;
        Ok(Rows { columns: columns(result.columns()), result })
    }
}

impl Rows {
    /// The next row.
    pub async fn next(&mut self) -> Result<Option<Cells>, Error> {
        Ok(self.result.next().await?.map(cells))
    }
}

fn cells(row: mysql_async::Row) -> Cells {
    let texts = row.unwrap().into_iter().map(|value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        // Only the binary protocol has these.
        other => Some(other.as_sql(true).into_bytes()),
    });
    texts.collect()
}

fn columns(columns: Option<Arc<[mysql_async::Column]>>) -> Columns {
    let columns = columns.as_deref().unwrap_or_default().iter();
    columns
        .map(|column| Column {
            name: column.name_str().into_owned(),
            kind: kind(column.column_type(), column.character_set()),
        })
        .collect()
}

fn kind(column: ColumnType, character_set: u16) -> Kind {
    match column {
        ColumnType::MYSQL_TYPE_TINY
        | ColumnType::MYSQL_TYPE_SHORT
        | ColumnType::MYSQL_TYPE_INT24
        | ColumnType::MYSQL_TYPE_LONG
        | ColumnType::MYSQL_TYPE_LONGLONG
        | ColumnType::MYSQL_TYPE_YEAR
        | ColumnType::MYSQL_TYPE_FLOAT
        | ColumnType::MYSQL_TYPE_DOUBLE => Kind::Number,
        ColumnType::MYSQL_TYPE_JSON => Kind::Json,
        ColumnType::MYSQL_TYPE_BIT | ColumnType::MYSQL_TYPE_GEOMETRY => Kind::Bytes,
        ColumnType::MYSQL_TYPE_STRING
        | ColumnType::MYSQL_TYPE_VAR_STRING
        | ColumnType::MYSQL_TYPE_VARCHAR
        | ColumnType::MYSQL_TYPE_TINY_BLOB
        | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
        | ColumnType::MYSQL_TYPE_LONG_BLOB
        | ColumnType::MYSQL_TYPE_BLOB
            if character_set == BINARY =>
        {
            Kind::Bytes
        }
        _ => Kind::Text,
    }
}
