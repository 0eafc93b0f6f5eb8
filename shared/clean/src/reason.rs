//! Why a record is quarantined.

use std::fmt;

/// Whether another contract could accept a record that was quarantined for a reason.
enum Scope {
    /// The bytes are wrong: no contract accepts the record.
    Bytes,
    /// The record does not match its contract, or has none: another contract may accept it.
    Contract,
}

/// The catalogue of reasons: a variant, its code and its scope. Everything else about reasons follows from this table, except the
/// line in `docs/contracts.md`, which a test compares with it.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $scope:ident;)+) => {
        /// The rule that a record broke. Tables contain the codes, so a code never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All reasons, in the order in which the documentation lists them.
            pub const ALL: &[Reason] = &[$(Reason::$variant),+];

            /// The code in the column `reason` of the quarantine table.
            pub fn code(self) -> &'static str {
                match self {
                    $(Reason::$variant => $code,)+
                }
            }

            fn scope(self) -> Scope {
                match self {
                    $(Reason::$variant => Scope::$scope,)+
                }
            }
        }
    };
}

reasons! {
    /// The bytes are not JSON.
    MalformedJson = "malformed_json", Bytes;
    /// A row of a CSV file has more or fewer cells than the header.
    MalformedCsv = "malformed_csv", Bytes;
    /// JSON, but not an object.
    NotAnObject = "not_an_object", Contract;
    /// Longer than a record may be.
    TooLarge = "too_large", Bytes;
    /// A value is nested deeper than allowed.
    TooDeep = "too_deep", Bytes;
    /// The bytes are not UTF-8.
    InvalidUtf8 = "invalid_utf8", Bytes;
    /// A file or a compressed record that cannot be decompressed, or cannot be read to its end.
    Unreadable = "unreadable", Bytes;
    /// Nothing identifies the dataset of the record.
    Unroutable = "unroutable", Contract;
    /// The contract of its dataset has errors, so it cannot be cleaned.
    BrokenContract = "broken_contract", Contract;
    /// Sent to one dataset, and has the shape of another.
    Misrouted = "misrouted", Contract;
    /// The record has none of the fields by which the contract recognises its records.
    NothingFound = "nothing_found", Contract;
    /// A required column has no value.
    MissingRequired = "missing_required", Contract;
    /// A value cannot be converted to the type of its column.
    WrongType = "wrong_type", Contract;
    /// A number outside the range of its type.
    OutOfRange = "out_of_range", Contract;
    /// A date or time in none of the formats of its column, or one that does not exist.
    BadTimestamp = "bad_timestamp", Contract;
    /// A count that is not written like `12`, `12k`, `1.2M` or `3B`.
    BadCount = "bad_count", Contract;
    /// A text that the rules of its column do not allow.
    NotAllowed = "not_allowed", Contract;
}

impl Reason {
    /// Whether another contract could accept the record.
    pub(crate) fn depends_on_contracts(self) -> bool {
        matches!(self.scope(), Scope::Contract)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a record cannot become a row of its dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The rule that the record broke.
    pub reason: Reason,
    /// Where in the record, and what was found there: for the person who fixes the record or the contract.
    pub detail: String,
}

impl RecordError {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<pinlake_json::Malformed> for RecordError {
    fn from(error: pinlake_json::Malformed) -> Self {
        Self::new(Reason::MalformedJson, format!("{} at byte {}", error.problem, error.at))
    }
}

/// The most characters of a value that a detail quotes.
const MAX_EXCERPT_CHARS: usize = 60;

/// The beginning of a value, with control characters escaped, to be quoted in a detail.
pub(crate) fn excerpt(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_EXCERPT_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_EXCERPT_CHARS).is_some() {
        out.push('…');
    }
    out
}
