//! A function's settings: environment variables, read once per cold start.

use std::str::FromStr;

use crate::location::Location;

/// A setting is missing or cannot be read: the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A required variable is not set.
    #[error("setting {0} is missing: set it in the function's environment (template.yaml does)")]
    Missing(&'static str),
    /// The value does not parse.
    #[error("setting {name}={value:?}: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The text of a required setting.
///
/// # Errors
/// When it is not set, or empty.
pub fn required(name: &'static str) -> Result<String, SettingError> {
    optional(name).ok_or(SettingError::Missing(name))
}

/// The text of a setting that may be left out; empty counts as left out.
pub fn optional(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A setting of type `T`, or `default` when it is left out.
///
/// # Errors
/// When it is set and does not parse.
pub fn parsed<T>(name: &'static str, default: T) -> Result<T, SettingError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let Some(value) = optional(name) else {
        return Ok(default);
    };
    value.parse().map_err(|why: T::Err| SettingError::Invalid { name, why: why.to_string(), value })
}

/// The place named by a required setting.
///
/// # Errors
/// When it is missing or names no place.
pub fn location(name: &'static str) -> Result<Location, SettingError> {
    place(name)?.ok_or(SettingError::Missing(name))
}

/// The place named by a setting that may be left out.
///
/// # Errors
/// When it is set and names no place.
pub fn place(name: &'static str) -> Result<Option<Location>, SettingError> {
    let Some(value) = optional(name) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(location) => Ok(Some(location)),
        Err(why) => Err(SettingError::Invalid { name, why: format!("{why}"), value }),
    }
}
