//! The address of a database: a URL without password, and credentials from the environment.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::error::CliError;

/// The environment variable of the user, for URLs without one.
pub const USER: &str = "PINLAKE_DB_USER";

/// The environment variable of the password.
pub const PASSWORD: &str = "PINLAKE_DB_PASSWORD";

/// The kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// MySQL, MariaDB, Aurora's MySQL.
    MySql,
    /// PostgreSQL, Aurora's PostgreSQL.
    Postgres,
}

/// The encryption of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// None.
    Off,
    /// TLS. The certificate of the server must be valid for the host, and signed by an authority of this file or a public one.
    Verified {
        /// Certificates of authorities, PEM.
        ca: Option<PathBuf>,
    },
}

/// A database.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Its kind.
    pub engine: Engine,
    /// Host name or IP address of the server.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password, if one is needed.
    pub password: Option<String>,
    /// Name of the database on the server.
    pub database: String,
    /// Encryption.
    pub tls: Tls,
}

/// The choices of `--db-tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsChoice {
    /// TLS with a verified certificate
    Verify,
    /// No encryption of password and rows; for private networks and tunnels
    Off,
}

impl Engine {
    /// The engine of a URL scheme.
    pub fn from_scheme(scheme: &str) -> Option<Engine> {
        match scheme {
            "mysql" | "mariadb" => Some(Engine::MySql),
            "postgres" | "postgresql" => Some(Engine::Postgres),
            _ => None,
        }
    }
}

impl Address {
    /// Parses `mysql://[user@]host[:port]/database` or `postgres://...`. `setting` reads the environment.
    pub fn parse(
        text: &str,
        tls: Option<TlsChoice>,
        ca: Option<&Path>,
        setting: impl Fn(&str) -> Option<String>,
    ) -> Result<Address, CliError> {
        let form =
            "give --from an address such as mysql://admin@host:3306/database or postgres://host/database";
        let wrong = |what: &str| CliError::usage(what, form);
        let url = Url::parse(text).map_err(|error| wrong("--from is no URL").caused_by(error))?;
        if url.password().is_some() {
            // The password is not repeated here, because stderr often ends up in logs.
            return Err(CliError::usage(
                "the URL in --from has a password, which all users of this machine can read in the process list",
                format!(
                    "remove it, change it if others may have seen it, and set {PASSWORD} in the environment"
                ),
            ));
        }
        let engine =
            Engine::from_scheme(url.scheme()).ok_or_else(|| wrong("--from names no kind of database"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(CliError::usage(
                "the URL in --from has parameters, which are not supported",
                "remove everything from `?` or `#` on; use --db-tls and --db-ca for TLS",
            ));
        }
        let plain = |part: &str| percent_decode_str(part).decode_utf8().ok().map(|part| part.into_owned());
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("--from names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let database = plain(url.path().trim_start_matches('/').trim_end_matches('/'))
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .ok_or_else(|| wrong("--from names no database"))?;
        let user = Some(plain(url.username()).unwrap_or_default())
            .filter(|user| !user.is_empty())
            .or_else(|| setting(USER))
            .ok_or_else(|| {
                CliError::usage(
                    "there is no database user",
                    format!("set {USER} (and {PASSWORD}) in the environment, or write mysql://user@host/..."),
                )
            })?;
        let tls = match tls.unwrap_or(if is_local(&host) { TlsChoice::Off } else { TlsChoice::Verify }) {
            // With --db-ca, TLS is the default on this machine too.
            TlsChoice::Off if ca.is_none() => Tls::Off,
            TlsChoice::Off if tls.is_some() => {
                return Err(CliError::usage("--db-ca has no effect with --db-tls off", "remove one of them"));
            }
            _ => Tls::Verified { ca: ca.map(Path::to_owned) },
        };
        let port = url.port().unwrap_or(match engine {
            Engine::MySql => 3306,
            Engine::Postgres => 5432,
        });
        Ok(Address { engine, host, port, user, password: setting(PASSWORD), database, tls })
    }

    /// The address for messages and the state file, without credentials.
    pub fn shown(&self) -> String {
        let scheme = match self.engine {
            Engine::MySql => "mysql",
            Engine::Postgres => "postgres",
        };
        format!("{scheme}://{}:{}/{}", self.host, self.port, self.database)
    }
}

/// Whether a host is this machine.
fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, tls: Option<TlsChoice>, ca: Option<&str>) -> Result<Address, CliError> {
        Address::parse(text, tls, ca.map(Path::new), |name| match name {
            USER => Some("reader".to_owned()),
            PASSWORD => Some("hush".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn addresses_are_read() {
        let read = parse("mysql://db.example.com/pinterest", None, None).unwrap();
        let expected = Address {
            engine: Engine::MySql,
            host: "db.example.com".to_owned(),
            port: 3306,
            user: "reader".to_owned(),
            password: Some("hush".to_owned()),
            database: "pinterest".to_owned(),
            tls: Tls::Verified { ca: None },
        };
        assert!(read == expected, "{}", read.shown());
        assert_eq!(read.shown(), "mysql://db.example.com:3306/pinterest");
        let read = parse("postgresql://an%40other@[::1]:99/two%20words", None, None).unwrap();
        assert_eq!((read.engine, read.port, read.host.as_str()), (Engine::Postgres, 99, "::1"));
        assert_eq!((read.user.as_str(), read.database.as_str()), ("an@other", "two words"));
    }

    #[test]
    fn only_local_connections_are_unencrypted_by_default() {
        let tls = |host: &str, choice, ca| {
            parse(&format!("mysql://{host}/d"), choice, ca).map(|address| address.tls).ok()
        };
        let verified = |ca: Option<&str>| Some(Tls::Verified { ca: ca.map(PathBuf::from) });
        for local in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "db.localhost"] {
            assert_eq!(tls(local, None, None), Some(Tls::Off), "{local}");
            assert_eq!(tls(local, None, Some("ca.pem")), verified(Some("ca.pem")), "{local}");
            assert_eq!(tls(local, Some(TlsChoice::Verify), None), verified(None), "{local}");
        }
        for far in ["10.0.0.1", "localhost.example.com", "db.abc.eu-west-1.rds.amazonaws.com"] {
            assert_eq!(tls(far, None, None), verified(None), "{far}");
            assert_eq!(tls(far, None, Some("ca.pem")), verified(Some("ca.pem")), "{far}");
            assert_eq!(tls(far, Some(TlsChoice::Off), None), Some(Tls::Off), "{far}");
            assert_eq!(tls(far, Some(TlsChoice::Off), Some("ca.pem")), None, "{far}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_rejected_and_not_repeated() {
        let error = parse("mysql://admin:s3cret@host/d", None, None).err().unwrap();
        let text = format!("{} {}", error.with_causes(), error.advice());
        assert!(text.contains(PASSWORD) && !text.contains("s3cret"), "{text}");
        for wrong in
            ["mysql://host", "mysql://host/", "mysql://host/a/b", "mysql:///d", "mysql://host/d?ssl=1"]
        {
            assert!(parse(wrong, None, None).is_err(), "{wrong}");
        }
        assert!(Address::parse("mysql://host/d", None, None, |_| None).is_err(), "no user");
    }
}
