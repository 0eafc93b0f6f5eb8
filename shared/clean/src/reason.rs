//! Why a record is quarantined.

use std::fmt;

/// The rule that a record broke. The codes stand in tables and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bytes are not JSON.
    MalformedJson,
    /// The line of a CSV file has not as many cells as its header.
    MalformedCsv,
    /// JSON, but not an object.
    NotAnObject,
    /// More bytes than a record may have.
    TooLarge,
    /// A value is nested deeper than it may be.
    TooDeep,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// A file, or a compressed record, that cannot be unpacked or read to its end.
    Unreadable,
    /// Nothing tells which dataset the record is of.
    Unroutable,
    /// Sent to one dataset, of the shape of another.
    MisroutedPolicy,
    /// A required column has no value.
    MissingRequired,
    /// A value cannot take the type of its column.
    WrongType,
    /// A number of the right kind that its type cannot hold.
    OutOfRange,
    /// A date or time in none of the column's formats, or one that the calendar does not have.
    BadTimestamp,
    /// A count that is not written as `12`, `12k`, `1.2M` or `3B`.
    BadCount,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Reason; 14] = [
        Reason::MalformedJson,
        Reason::MalformedCsv,
        Reason::NotAnObject,
        Reason::TooLarge,
        Reason::TooDeep,
        Reason::InvalidUtf8,
        Reason::Unreadable,
        Reason::Unroutable,
        Reason::MisroutedPolicy,
        Reason::MissingRequired,
        Reason::WrongType,
        Reason::OutOfRange,
        Reason::BadTimestamp,
        Reason::BadCount,
    ];

    /// Whether other contracts could take the record. None ever takes what cannot be read.
    pub(crate) fn depends_on_contracts(self) -> bool {
        match self {
            Reason::MalformedJson
            | Reason::MalformedCsv
            | Reason::TooLarge
            | Reason::TooDeep
            | Reason::InvalidUtf8
            | Reason::Unreadable => false,
            Reason::NotAnObject
            | Reason::Unroutable
            | Reason::MisroutedPolicy
            | Reason::MissingRequired
            | Reason::WrongType
            | Reason::OutOfRange
            | Reason::BadTimestamp
            | Reason::BadCount => true,
        }
    }

    /// The code, as the table has it.
    pub fn code(self) -> &'static str {
        match self {
            Reason::MalformedJson => "malformed_json",
            Reason::MalformedCsv => "malformed_csv",
            Reason::NotAnObject => "not_an_object",
            Reason::TooLarge => "too_large",
            Reason::TooDeep => "too_deep",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::Unreadable => "unreadable",
            Reason::Unroutable => "unroutable",
            Reason::MisroutedPolicy => "misrouted",
            Reason::MissingRequired => "missing_required",
            Reason::WrongType => "wrong_type",
            Reason::OutOfRange => "out_of_range",
            Reason::BadTimestamp => "bad_timestamp",
            Reason::BadCount => "bad_count",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A reason and what was found.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Fault {
        Fault { reason, detail: detail.into() }
    }
}

/// How many characters of a found value a detail shows.
const SHOWN_CHARS: usize = 60;

/// A value found in a record, fit for a message: cut short, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        out.push('…');
    }
    out
}
