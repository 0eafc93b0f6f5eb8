//! Settings of a function: environment variables, read once per cold start.

use std::str::FromStr;

/// A setting is missing or invalid. The function does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A required variable is not set.
    #[error("setting {0} is missing: set it in the function's environment, as template.yaml does")]
    Missing(&'static str),
    /// The value does not parse.
    #[error("setting {name}={value:?}: {why}")]
    Invalid {
        /// Name of the variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// Reason.
        why: String,
    },
}

/// Returns the text of a required setting.
///
/// # Errors
/// When it is unset or empty.
pub fn required(name: &'static str) -> Result<String, SettingError> {
    optional(name).ok_or(SettingError::Missing(name))
}

/// Returns the text of an optional setting; an empty value counts as unset.
pub fn optional(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the memory of the function in bytes; `default_mb` outside Lambda.
///
/// # Errors
/// When the setting is invalid.
pub fn function_memory(default_mb: usize) -> Result<usize, SettingError> {
    // Lambda sets it in MB (Lambda Developer Guide, "Using Lambda environment variables").
    parse_or("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", default_mb).map(|megabytes| megabytes << 20)
}

/// Parses an optional setting; returns `default` if it is unset.
///
/// # Errors
/// When the value is invalid.
pub fn parse_or<T>(name: &'static str, default: T) -> Result<T, SettingError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let Some(value) = optional(name) else {
        return Ok(default);
    };
    value.parse().map_err(|why: T::Err| SettingError::Invalid { name, why: why.to_string(), value })
}
