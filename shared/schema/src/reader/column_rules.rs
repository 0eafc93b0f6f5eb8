//! Parses the rules of a column that are about its finished values.

use regex_lite::{Regex, RegexBuilder};

use super::toml_tree::{Diagnostics, Item, Section};
use crate::column_rules::{Bound, Checks, DefaultValue, LetterCase};
use crate::data_type::{Scalar, Type};
use crate::decimal::{Decimal, DecimalType};

/// The most bytes of a compiled pattern.
const MAX_PATTERN_BYTES: usize = 256 << 10;

pub(super) fn parse_case(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<LetterCase> {
    let written = section.string("case", diagnostics)?;
    match written.value.as_str() {
        "lower" => Some(LetterCase::Lower),
        "upper" => Some(LetterCase::Upper),
        other => {
            let problem = format!("`{other}` is not a case of letters");
            diagnostics.add(written.span, problem, "write \"lower\" or \"upper\"");
            None
        }
    }
}

pub(super) fn parse_default(
    section: &Section<'_>,
    data_type: Type,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<DefaultValue> {
    let item = section.get("default")?;
    let (value, example) = match data_type {
        Type::Scalar(Scalar::String) => {
            (item.as_str().map(|text| DefaultValue::Text(text.to_owned())), "\"new\"")
        }
        Type::Scalar(Scalar::Int64) => (item.as_integer().map(DefaultValue::Int), "0"),
        Type::Scalar(Scalar::Int32) => {
            let number = item.as_integer().and_then(|number| i32::try_from(number).ok());
            (number.map(|number| DefaultValue::Int(number.into())), "0")
        }
        Type::Scalar(Scalar::Float64) => (item.as_float().map(DefaultValue::Float), "0.5"),
        Type::Scalar(Scalar::Decimal(own)) => (parse_decimal(&item, own).map(DefaultValue::Decimal), "0"),
        Type::Scalar(Scalar::Boolean) => (item.as_bool().map(DefaultValue::Boolean), "false"),
        _ => {
            diagnostics.add(
                section.key_span("default").unwrap_or_default(),
                format!("`default` does not go with the type {data_type}"),
                "make it string, int64, int32, float64, decimal or boolean, or remove `default`",
            );
            return None;
        }
    };
    if value.is_none() {
        let problem =
            format!("`default` is {}, which is not a value of the type {data_type}", item.describe());
        diagnostics.add(item.span(), problem, write_value("default", data_type, example));
    }
    value
}

pub(super) fn parse_checks(
    section: &Section<'_>,
    data_type: Type,
    default: Option<&DefaultValue>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Box<Checks>> {
    let one_of = section.strings("one_of", diagnostics).into_iter().map(|text| text.value).collect();
    let checks = Checks {
        one_of,
        matches: parse_pattern(section, diagnostics),
        min: parse_bound(section, "min", data_type, diagnostics),
        max: parse_bound(section, "max", data_type, diagnostics),
    };
    let is_empty_range = match (checks.min, checks.max) {
        (Some(Bound::Int(min)), Some(Bound::Int(max))) => min > max,
        (Some(Bound::Float(min)), Some(Bound::Float(max))) => min > max,
        (Some(Bound::Decimal(min)), Some(Bound::Decimal(max))) => min.unscaled > max.unscaled,
        _ => false,
    };
    if is_empty_range {
        let span = section.key_span("max").unwrap_or_default();
        diagnostics.add(span, "`max` is less than `min`: no number is allowed", "exchange them");
    }
    let is_refused = match default {
        Some(DefaultValue::Text(text)) => !checks.allows_text(text),
        Some(DefaultValue::Int(number)) => checks.exceeded_by_int(*number).is_some(),
        Some(DefaultValue::Float(number)) => checks.exceeded_by_float(*number).is_some(),
        Some(DefaultValue::Decimal(number)) => checks.exceeded_by_decimal(number.unscaled).is_some(),
        Some(DefaultValue::Boolean(_)) | None => false,
    };
    if is_refused {
        let span = section.key_span("default").unwrap_or_default();
        diagnostics.add(span, "the default is not an allowed value", "allow it, or write another default");
    }
    (!checks.is_empty()).then(|| Box::new(checks))
}

/// Says which values a key of the type takes.
fn write_value(key: &str, data_type: Type, example: &str) -> String {
    match data_type {
        Type::Scalar(Scalar::Int64) => "write a whole number".to_owned(),
        Type::Scalar(Scalar::Int32) => format!("write a whole number from {} to {}", i32::MIN, i32::MAX),
        Type::Scalar(Scalar::Decimal(own)) => format!(
            "write a number with at most {} digits before the point and {} after it",
            own.integral_digits(),
            own.scale()
        ),
        _ => format!("write {key} = {example}"),
    }
}

/// Reads the digits as they are written, because a number of TOML with a fraction is one of binary floating point.
fn parse_decimal(item: &Item<'_>, data_type: DecimalType) -> Option<Decimal> {
    data_type.parse(&item.number_text()?, 0).ok()
}

fn parse_pattern(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<Regex> {
    let written = section.string("matches", diagnostics)?;
    match RegexBuilder::new(&written.value).size_limit(MAX_PATTERN_BYTES).build() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let why = error.to_string().replace('\n', " ");
            diagnostics.add(
                written.span,
                format!("`matches` is not a regular expression: {why}"),
                "write a pattern such as \"^[a-z]+$\"",
            );
            None
        }
    }
}

fn parse_bound(
    section: &Section<'_>,
    key: &str,
    data_type: Type,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Bound> {
    let item = section.get(key)?;
    let bound = match data_type {
        Type::Scalar(Scalar::Int64 | Scalar::Int32) => item.as_integer().map(Bound::Int),
        Type::Scalar(Scalar::Float64) => item.as_float().map(Bound::Float),
        Type::Scalar(Scalar::Decimal(own)) => parse_decimal(&item, own).map(Bound::Decimal),
        _ => {
            diagnostics.add(
                section.key_span(key).unwrap_or_default(),
                format!("`{key}` does not go with the type {data_type}"),
                format!("make it int64, int32, float64 or decimal, or remove `{key}`"),
            );
            return None;
        }
    };
    if bound.is_none() {
        let problem = format!("`{key}` is {}, which is not a value of the type {data_type}", item.describe());
        let example = if data_type == Type::Scalar(Scalar::Float64) { "0.5" } else { "0" };
        diagnostics.add(item.span(), problem, write_value(key, data_type, example));
    }
    bound
}
