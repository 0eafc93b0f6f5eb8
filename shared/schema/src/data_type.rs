//! The types of columns.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::decimal::DecimalType;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// One value.
    Scalar(Scalar),
    /// A list of values, each of which may be null.
    Array(Scalar),
}

/// The type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Int64,
    /// 32-bit signed integer.
    Int32,
    /// Double-precision number; never infinite, never NaN.
    Float64,
    /// True or false.
    Boolean,
    /// Point in time, in microseconds since 1970-01-01 UTC.
    Timestamp,
    /// Calendar date.
    Date,
    /// Bytes, in base64 in a record.
    Binary,
    /// Any JSON value, stored as its text.
    Json,
    /// Number with a fixed number of digits after the point.
    Decimal(DecimalType),
}

impl Scalar {
    /// The types that have one name: all but decimals.
    pub(crate) const NAMED: [Scalar; 9] = [
        Scalar::String,
        Scalar::Int64,
        Scalar::Int32,
        Scalar::Float64,
        Scalar::Boolean,
        Scalar::Timestamp,
        Scalar::Date,
        Scalar::Binary,
        Scalar::Json,
    ];

    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Scalar::Int64 | Scalar::Int32 | Scalar::Float64 | Scalar::Decimal(_))
    }

    /// The name of the type in contracts, without its parameters.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::String => "string",
            Scalar::Int64 => "int64",
            Scalar::Int32 => "int32",
            Scalar::Float64 => "float64",
            Scalar::Boolean => "boolean",
            Scalar::Timestamp => "timestamp",
            Scalar::Date => "date",
            Scalar::Binary => "binary",
            Scalar::Json => "json",
            Scalar::Decimal(_) => "decimal",
        }
    }

    /// The Arrow type of values.
    pub fn arrow(self) -> DataType {
        match self {
            Scalar::String | Scalar::Json => DataType::Utf8,
            Scalar::Int64 => DataType::Int64,
            Scalar::Int32 => DataType::Int32,
            Scalar::Float64 => DataType::Float64,
            Scalar::Boolean => DataType::Boolean,
            Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Scalar::Date => DataType::Date32,
            Scalar::Binary => DataType::Binary,
            // Both are at most 38.
            Scalar::Decimal(own) => DataType::Decimal128(own.precision(), own.scale() as i8),
        }
    }

    fn from_arrow(data_type: &DataType) -> Option<Scalar> {
        if let DataType::Decimal128(precision, scale) = data_type {
            return DecimalType::new(*precision, u8::try_from(*scale).ok()?).map(Scalar::Decimal);
        }
        Scalar::NAMED.into_iter().find(|scalar| scalar.arrow() == *data_type)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Decimal(own) => own.fmt(f),
            other => f.write_str(other.name()),
        }
    }
}

/// The most digits of integers.
const INT32_DIGITS: u8 = 10;
const INT64_DIGITS: u8 = 19;

impl Type {
    /// The Arrow type of a column. The item of a list is called `element`, as readers of Delta tables expect.
    pub fn arrow(self) -> DataType {
        match self {
            Type::Scalar(scalar) => scalar.arrow(),
            Type::Array(scalar) => DataType::List(Arc::new(Field::new("element", scalar.arrow(), true))),
        }
    }

    /// The type whose columns have this Arrow type: `string` for `string` and `json`.
    pub fn from_arrow(data_type: &DataType) -> Option<Type> {
        match data_type {
            DataType::List(element) => Scalar::from_arrow(element.data_type()).map(Type::Array),
            scalar => Scalar::from_arrow(scalar).map(Type::Scalar),
        }
    }

    /// Whether a column of this type can become one of type `other`, with the same values: `int32` becomes `int64` or `float64`, and `int64`
    /// becomes `float64` if its values have at most 53 bits. Both become a decimal with room for all their values, and a decimal one with
    /// at least as many digits before and after the point. The same holds for arrays of them.
    pub fn widens_to(self, other: Type) -> bool {
        use Scalar::{Decimal, Float64, Int32, Int64};
        let is_same_shape = matches!(self, Type::Array(_)) == matches!(other, Type::Array(_));
        let is_wider = match (self.scalar(), other.scalar()) {
            (Int32, Int64 | Float64) | (Int64, Float64) => true,
            (Int32, Decimal(wide)) => wide.integral_digits() >= INT32_DIGITS,
            (Int64, Decimal(wide)) => wide.integral_digits() >= INT64_DIGITS,
            (Decimal(own), Decimal(wide)) => own != wide && own.fits(wide),
            _ => false,
        };
        is_same_shape && is_wider
    }

    /// Whether `pinlake rebuild` carries values of this type over to a column of type `other`. Those that do not fit stop it. Texts are cleaned
    /// again, by the rules of the column, and so are integers and dates that become times.
    pub fn converts_to(self, other: Type) -> bool {
        use Scalar::{Boolean, Date, Decimal, Float64, Int32, Int64, Json, String, Timestamp};
        match (self, other) {
            (own, other) if own == other => true,
            (Type::Scalar(own), Type::Scalar(other)) => match (own, other) {
                (String, _)
                | (Json | Int32 | Int64 | Decimal(_) | Boolean, String)
                | (Int32 | Int64 | Date, Timestamp)
                | (Int32 | Int64, Date) => true,
                (own, other) => own.is_number() && other.is_number(),
            },
            (Type::Array(Float64), Type::Array(Decimal(_))) => false,
            (Type::Array(own), Type::Array(other)) => own.is_number() && other.is_number(),
            _ => false,
        }
    }

    /// The type of the value, or of the elements of an array.
    pub fn scalar(self) -> Scalar {
        match self {
            Type::Scalar(scalar) | Type::Array(scalar) => scalar,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Scalar(scalar) => scalar.fmt(f),
            Type::Array(scalar) => write!(f, "array<{scalar}>"),
        }
    }
}
