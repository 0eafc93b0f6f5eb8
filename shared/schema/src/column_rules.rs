//! Rules of a column that are about its finished values.

use std::fmt;

use regex_lite::Regex;

use crate::decimal::Decimal;

/// The case of letters in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterCase {
    /// `straße`
    Lower,
    /// `STRASSE`
    Upper,
}

impl LetterCase {
    /// The name in contracts.
    pub fn as_str(self) -> &'static str {
        match self {
            LetterCase::Lower => "lower",
            LetterCase::Upper => "upper",
        }
    }
}

/// The value of a column where a record has none.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// Of a column of text.
    Text(String),
    /// Of a column of integers.
    Int(i64),
    /// Of a column of numbers.
    Float(f64),
    /// Of a column of decimals.
    Decimal(Decimal),
    /// Of a column of booleans.
    Boolean(bool),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DefaultValue::Text(text) => f.write_str(text),
            DefaultValue::Int(number) => write!(f, "{number}"),
            DefaultValue::Float(number) => write!(f, "{number}"),
            DefaultValue::Decimal(number) => number.normalize().fmt(f),
            DefaultValue::Boolean(value) => write!(f, "{value}"),
        }
    }
}

/// The least or greatest number of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Of a column of integers.
    Int(i64),
    /// Of a column of numbers.
    Float(f64),
    /// Of a column of decimals.
    Decimal(Decimal),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Int(number) => write!(f, "{number}"),
            Bound::Float(number) => write!(f, "{number}"),
            Bound::Decimal(number) => number.normalize().fmt(f),
        }
    }
}

/// Which values are allowed. They change no value, so keys do not depend on them.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// The allowed texts; empty if all are.
    pub one_of: Vec<String>,
    /// A pattern that is found in every text.
    pub matches: Option<Regex>,
    /// The least number.
    pub min: Option<Bound>,
    /// The greatest number.
    pub max: Option<Bound>,
}

const LESS: &str = "less than";
const MORE: &str = "more than";

impl Checks {
    pub(crate) fn is_empty(&self) -> bool {
        let Checks { one_of, matches, min, max } = self;
        one_of.is_empty() && matches.is_none() && min.is_none() && max.is_none()
    }

    /// Whether a text is allowed.
    pub fn allows_text(&self, text: &str) -> bool {
        (self.one_of.is_empty() || self.one_of.iter().any(|own| own == text))
            && self.matches.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }

    /// The bound that an integer exceeds, and how: `less than` or `more than`.
    pub fn exceeded_by_int(&self, number: i64) -> Option<(&'static str, Bound)> {
        let min = self.min.filter(|min| matches!(min, Bound::Int(limit) if number < *limit));
        let max = self.max.filter(|max| matches!(max, Bound::Int(limit) if number > *limit));
        min.map(|min| (LESS, min)).or(max.map(|max| (MORE, max)))
    }

    /// As [`Self::exceeded_by_int`].
    pub fn exceeded_by_float(&self, number: f64) -> Option<(&'static str, Bound)> {
        let min = self.min.filter(|min| matches!(min, Bound::Float(limit) if number < *limit));
        let max = self.max.filter(|max| matches!(max, Bound::Float(limit) if number > *limit));
        min.map(|min| (LESS, min)).or(max.map(|max| (MORE, max)))
    }

    /// As [`Self::exceeded_by_int`]. `number` has the scale of the column, as the bounds have.
    pub fn exceeded_by_decimal(&self, number: i128) -> Option<(&'static str, Bound)> {
        let min = self.min.filter(|min| matches!(min, Bound::Decimal(limit) if number < limit.unscaled));
        let max = self.max.filter(|max| matches!(max, Bound::Decimal(limit) if number > limit.unscaled));
        min.map(|min| (LESS, min)).or(max.map(|max| (MORE, max)))
    }

    /// The rules and their values, in a fixed order.
    pub(crate) fn describe(&self) -> Vec<(&'static str, String)> {
        let mut one_of = self.one_of.clone();
        one_of.sort();
        let one_of = one_of.iter().map(|text| ("one_of", text.clone()));
        let matches = self.matches.iter().map(|pattern| ("matches", pattern.as_str().to_owned()));
        let min = self.min.iter().map(|bound| ("min", bound.to_string()));
        let max = self.max.iter().map(|bound| ("max", bound.to_string()));
        one_of.chain(matches).chain(min).chain(max).collect()
    }
}
