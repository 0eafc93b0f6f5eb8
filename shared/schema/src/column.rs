//! The columns of a contract.

use std::fmt;

use chrono_tz::Tz;

use crate::column_rules::{Checks, DefaultValue, LetterCase};
use crate::data_type::{Scalar, Type};
use crate::field_path::FieldPath;
use crate::number_locale::NumberLocale;
use crate::timestamp::TimeFormat;

/// A column of the table, and how its value is derived from a record.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    /// Type in the table.
    pub data_type: Type,
    /// Comment on the column in the table.
    pub description: String,
    /// Fields of the record that it is derived from.
    pub source: ColumnSource,
    /// Values of a source field that mean null. They are compared with the whole value.
    pub null: Vec<String>,
    /// Whether a record without a value is quarantined.
    pub required: bool,
    /// Whether numbers may be written as `12k`, `1.2M`, `3B`.
    pub counts: bool,
    /// Text that is removed from the beginning of values.
    pub remove_prefix: Option<String>,
    /// Text that is removed from the end of values.
    pub remove_suffix: Option<String>,
    /// How texts write numbers.
    pub locale: Option<NumberLocale>,
    /// Formats of dates and times, tried in order.
    pub formats: Vec<TimeFormat>,
    /// The zone of times that name none; `None` for UTC.
    pub zone: Option<Tz>,
    /// Texts that mean true, in addition to the usual ones and in either case.
    pub true_texts: Vec<String>,
    /// Texts that mean false, likewise.
    pub false_texts: Vec<String>,
    /// Whether white space around texts is removed.
    pub trim: bool,
    /// The case to which letters are changed.
    pub case: Option<LetterCase>,
    /// The value where a record has none.
    pub default: Option<DefaultValue>,
    /// Which values are allowed; `None` if all are.
    pub checks: Option<Box<Checks>>,
}

impl Column {
    /// The column with the fields that `others` do not read.
    pub(crate) fn rest(name: String, others: &[Column]) -> Column {
        let read = others.iter().flat_map(|column| column.source.fields()).flatten();
        let mut except: Vec<String> = read
            .map(|field| match FieldPath::parse(field) {
                Ok(path) => path.name().unwrap_or(field).to_owned(),
                Err(_) => field.clone(),
            })
            .collect();
        except.sort();
        except.dedup();
        Column {
            name,
            data_type: Type::Scalar(Scalar::Json),
            description: "Fields of the record that no other column reads.".to_owned(),
            source: ColumnSource::Rest { except },
            null: Vec::new(),
            required: false,
            counts: false,
            remove_prefix: None,
            remove_suffix: None,
            locale: None,
            formats: Vec::new(),
            zone: None,
            true_texts: Vec::new(),
            false_texts: Vec::new(),
            trim: false,
            case: None,
            default: None,
            checks: None,
        }
    }

    /// Whether a text in the record is stored as it is, unless it means null.
    pub fn stores_text_as_it_is(&self) -> bool {
        // All fields are named, so that a new rule is not forgotten here.
        let Column {
            name: _,
            data_type,
            description: _,
            source,
            null: _,
            required: _,
            counts: _,
            remove_prefix,
            remove_suffix,
            locale: _,
            formats: _,
            zone: _,
            true_texts: _,
            false_texts: _,
            trim,
            case,
            default: _,
            checks,
        } = self;
        matches!((data_type, source), (Type::Scalar(Scalar::String), ColumnSource::Field(_)))
            && remove_prefix.is_none()
            && remove_suffix.is_none()
            && !trim
            && case.is_none()
            && checks.is_none()
    }
}

/// Alternative names of one field, or [paths](crate::field_path) to it: the first that is present and not null is used.
pub type FieldNames = Vec<String>;

/// The fields that a column is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// One field.
    Field(FieldNames),
    /// The texts of several fields, joined with a separator; nulls are left out.
    Join {
        /// The fields, in order.
        fields: Vec<FieldNames>,
        /// The separator.
        separator: String,
    },
    /// An array of the values of several fields, including nulls.
    ArrayOf(Vec<FieldNames>),
    /// All fields at the top level but these, which columns read, as a JSON object.
    Rest {
        /// In order, each once.
        except: Vec<String>,
    },
    /// A part of another column, computed once that is clean.
    Derived(Derivation),
    /// None: the cleaner fills the columns of quarantine.
    Cleaner,
}

impl ColumnSource {
    /// All fields that the column reads, each with its alternatives.
    pub fn fields(&self) -> &[FieldNames] {
        match self {
            ColumnSource::Field(names) => std::slice::from_ref(names),
            ColumnSource::Join { fields, .. } | ColumnSource::ArrayOf(fields) => fields,
            ColumnSource::Rest { .. } | ColumnSource::Derived(_) | ColumnSource::Cleaner => &[],
        }
    }
}

/// How a column is computed from another one: `date(at)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The part of its values.
    pub part: DerivedPart,
    /// The name of the other column, which is not derived itself.
    pub column: String,
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.part.as_str(), self.column)
    }
}

/// A part of a point in time in UTC, or of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivedPart {
    /// The calendar day.
    Date,
    /// The year.
    Year,
    /// The month, from 1.
    Month,
    /// The hour of the day, from 0.
    Hour,
}

impl DerivedPart {
    pub(crate) const ALL: [DerivedPart; 4] =
        [DerivedPart::Date, DerivedPart::Year, DerivedPart::Month, DerivedPart::Hour];

    /// The name in contracts.
    pub fn as_str(self) -> &'static str {
        match self {
            DerivedPart::Date => "date",
            DerivedPart::Year => "year",
            DerivedPart::Month => "month",
            DerivedPart::Hour => "hour",
        }
    }

    /// The type of the part.
    pub fn scalar(self) -> Scalar {
        match self {
            DerivedPart::Date => Scalar::Date,
            DerivedPart::Year | DerivedPart::Month | DerivedPart::Hour => Scalar::Int32,
        }
    }

    /// Whether values of a type have the part.
    pub(crate) fn is_part_of(self, data_type: Type) -> bool {
        match data_type {
            Type::Scalar(Scalar::Timestamp) => true,
            Type::Scalar(Scalar::Date) => matches!(self, DerivedPart::Year | DerivedPart::Month),
            _ => false,
        }
    }
}
