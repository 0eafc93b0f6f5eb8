//! The files that are compiled in.

use serde::de::DeserializeOwned;

use crate::error::CliError;

/// Parses a built-in TOML file.
pub fn parse_built_in<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, CliError> {
    toml::from_str(text).map_err(|error| {
        let message = format!("cannot read the built-in {what}");
        CliError::failed(message, "this is a bug in pinlake").caused_by(error)
    })
}
