//! How the names of fields are compared: a name in another normal form of Unicode or in other case is similar.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The name in the normal form NFC, in which an accent is part of its letter.
///
/// ```
/// use pinlake_schema::field_name::{fold_case, normalize};
///
/// assert_eq!(normalize("cafe\u{301}"), "café");
/// assert_eq!(fold_case("ID"), "id");
/// ```
pub fn normalize(name: &str) -> Cow<'_, str> {
    if name.is_ascii() || is_nfc(name) { Cow::Borrowed(name) } else { Cow::Owned(name.nfc().collect()) }
}

/// The name in lower case.
pub fn fold_case(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_lowercase().nfc().collect() }
}
