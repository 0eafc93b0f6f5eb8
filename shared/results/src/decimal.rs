//! Decimals as JSON.

use serde_json::Value;

/// Converts the text of a decimal, such as `-12.50`, to a JSON number. A number with more digits than a JSON number holds here becomes its
/// text, because it would be another number.
///
/// ```
/// use pinlake_results::decimal_to_json;
///
/// assert_eq!(decimal_to_json("6918.20").to_string(), "6918.2");
/// assert_eq!(decimal_to_json("12").to_string(), "12");
/// assert_eq!(decimal_to_json("12345678901234567.89").to_string(), "\"12345678901234567.89\"");
/// ```
pub fn decimal_to_json(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    let number = text.parse::<f64>().unwrap_or(f64::NAN);
    // The shortest digits that are this float: the same as those of the decimal, or the float is another number.
    if significant_digits(&number.to_string()).eq(significant_digits(text)) {
        return Value::from(number);
    }
    Value::from(text)
}

/// The sign and the digits of a number without an exponent, without zeros that say nothing.
fn significant_digits(text: &str) -> impl Iterator<Item = char> + '_ {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text),
    };
    let (integral, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (integral, fraction) = (integral.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let is_zero = integral.is_empty() && fraction.is_empty();
    let sign = if is_zero { "" } else { sign };
    sign.chars().chain(integral.chars()).chain(['.']).chain(fraction.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_is_lost() {
        for (decimal, json) in [
            ("0.00", "0.0"),
            ("-0.05", "-0.05"),
            ("1.50", "1.5"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.0", "\"9007199254740993.0\""),
            ("9007199254740992.0", "9007199254740992.0"),
            ("99999999999999999999", "\"99999999999999999999\""),
            ("100000000000000000000", "1e+20"),
            ("0.12345678901234567890", "\"0.12345678901234567890\""),
            ("0.00000000000000000001", "1e-20"),
        ] {
            assert_eq!(decimal_to_json(decimal).to_string(), json, "{decimal}");
        }
    }
}
