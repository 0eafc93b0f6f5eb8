//! PostgreSQL, by `tokio-postgres`, in the simple query protocol, whose values are texts.

use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::value::{Cells, Column, Columns, Kind};

/// Session settings. Times are UTC, as in the contracts, in the format of the clients.
const SETUP: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'";

/// An error of the driver.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// A connection.
pub struct Session(Client);

/// A result, read row by row.
pub struct Rows {
    stream: Pin<Box<SimpleQueryStream>>,
    /// The connection closes when its client is dropped.
    _client: Client,
    /// Its columns.
    pub columns: Columns,
}

impl Session {
    /// Connects with TLS to a server with a certificate of one of the authorities; without authorities, unencrypted.
    pub async fn open(address: &Address, authorities: Option<RootCertStore>) -> Result<Session, Error> {
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(&address.user)
            .dbname(&address.database)
            .application_name("pinlake")
            .connect_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(60));
        if let Some(password) = &address.password {
            config.password(password);
        }
        let client = match authorities {
            None => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
                tokio::spawn(connection);
                client
            }
            Some(roots) => {
                let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
                let tls = MakeRustlsConnect::new(tls);
                let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
                tokio::spawn(connection);
                client
            }
        };
        client.batch_execute(SETUP).await?;
        Ok(Session(client))
    }

    /// The rows of a small result as text; null is an empty string.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Error> {
        let rows = self.0.simple_query(sql).await?.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |row: &SimpleQueryRow, at| row.get(at).unwrap_or_default().to_owned();
        Ok(rows.map(|row| (0..row.len()).map(|at| text(&row, at)).collect()).collect())
    }

    /// The first row of a result.
    pub async fn row(&mut self, sql: &str) -> Result<Option<(Columns, Cells)>, Error> {
        let columns = self.columns(sql).await?;
        let found = self.0.simple_query(sql).await?.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        match found {
            None => Ok(None),
            Some(row) => {
                let cells = cells(&columns, &row)?;
                Ok(Some((columns, cells)))
            }
        }
    }

    /// A result of any size.
    pub async fn rows(self, sql: String) -> Result<Rows, Error> {
        let columns = self.columns(&sql).await?;
        let stream = Box::pin(self.0.simple_query_raw(&sql).await?);
        Ok(Rows { stream, _client: self.0, columns })
    }

    /// The columns of a query. The simple protocol does not return their types.
    async fn columns(&self, sql: &str) -> Result<Columns, Error> {
        let statement = self.0.prepare(sql).await?;
        let columns = statement.columns().iter();
        Ok(columns
            .map(|column| Column { name: column.name().to_owned(), kind: kind(column.type_()) })
            .collect())
    }
}

impl Rows {
    /// The next row.
    pub async fn next(&mut self) -> Result<Option<Cells>, Error> {
        while let Some(message) = self.stream.next().await {
            if let SimpleQueryMessage::Row(row) = message? {
                return cells(&self.columns, &row).map(Some);
            }
        }
        Ok(None)
    }
}

fn cells(columns: &[Column], row: &SimpleQueryRow) -> Result<Cells, Error> {
    let cell = |(at, column): (usize, &Column)| match (row.try_get(at)?, column.kind) {
        (None, _) => Ok(None),
        (Some(text), Kind::Bytes) => bytes(text).map(Some),
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
    };
    columns.iter().enumerate().map(cell).collect()
}

/// The bytes of `\x0aff`.
fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    let digits = text.strip_prefix("\\x").ok_or("bytea value is not in hexadecimal format")?;
    Ok(hex::decode(digits)?)
}

fn kind(column: &Type) -> Kind {
    match *column {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 => Kind::Number,
        Type::BOOL => Kind::Bool,
        Type::JSON | Type::JSONB => Kind::Json,
        Type::BYTEA => Kind::Bytes,
        Type::TIMESTAMPTZ => Kind::ZonedTime,
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_from_hex() {
        assert_eq!(bytes("\\x00ff0A").unwrap(), [0, 255, 10]);
        assert!(bytes("\\x").unwrap().is_empty());
        assert!(bytes("00").is_err());
        assert!(bytes("\\xzz").is_err());
    }
}
