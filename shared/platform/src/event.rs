//! Events of Lambda, deserialized without quoting their contents in errors.
//!
//! When an event cannot be deserialized, the runtime logs the error of the JSON library, which quotes the offending
//! value. Events hold data of clients, so functions take an [`Event`], whose error names the position only.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An event of type `T`.
///
/// ```
/// use pinlake_platform::event::Event;
///
/// let error = serde_json::from_str::<Event<u8>>("\"secret\"").unwrap_err().to_string();
/// assert!(error.starts_with("the event is not what the function takes (data, line 1, column 8)"), "{error}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<T>(pub T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Event<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed, because an event can have megabytes.
        let raw = <&RawValue>::deserialize(deserializer)?;
        let without_value = |error: serde_json::Error| {
            let kind = match error.classify() {
                serde_json::error::Category::Data => "data",
                _ => "syntax",
            };
            let (line, column) = (error.line(), error.column());
            D::Error::custom(format!(
                "the event is not what the function takes ({kind}, line {line}, column {column})"
            ))
        };
        serde_json::from_str(raw.get()).map(Self).map_err(without_value)
    }
}
