//! What Lambda hands to a function, read without quoting it.
//!
//! The runtime logs why it cannot read an event, in the words of the JSON library, which quote the value it stumbled on. An
//! event holds what clients wrote. So a function takes an [`Event`], whose error says where and no more.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An event of the kind `T`.
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
        // Borrowed: an event has megabytes.
        let raw = <&RawValue>::deserialize(deserializer)?;
        let untold = |error: serde_json::Error| {
            let kind = match error.classify() {
                serde_json::error::Category::Data => "data",
                _ => "syntax",
            };
            let (line, column) = (error.line(), error.column());
            D::Error::custom(format!(
                "the event is not what the function takes ({kind}, line {line}, column {column})"
            ))
        };
        serde_json::from_str(raw.get()).map(Self).map_err(untold)
    }
}
