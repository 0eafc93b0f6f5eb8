//! Parses integers from decimal text without floating point.

/// Why a text is not an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// Not a decimal number.
    Malformed,
    /// A number with a fraction.
    Fraction,
    /// An integer that does not fit 64 bits.
    TooLarge,
}

/// Parses a decimal number and multiplies it by 10 to the power of `exponent`. The result must be an integer: `7`, `-7.0`, `1e3`,
/// and with an exponent of 3 also `1.2`.
pub(crate) fn parse_scaled(text: &str, exponent: i32) -> Result<i64, DecimalError> {
    parse(text, exponent, Err(DecimalError::Fraction))
}

/// Like [`parse_scaled`], but digits behind the decimal point of the result are ignored.
pub(crate) fn parse_truncated(text: &str, exponent: i32) -> Result<i64, DecimalError> {
    parse(text, exponent, Ok(()))
}

fn parse(text: &str, exponent: i32, on_fraction: Result<(), DecimalError>) -> Result<i64, DecimalError> {
    if exponent == 0
        && let Ok(number) = text.parse::<i64>()
    {
        return Ok(number);
    }
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, written_exponent) = match unsigned.split_once(['e', 'E']) {
        None => (unsigned, 0),
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
    };
    let (integral, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if integral.len() + fraction.len() == 0 || !is_digits(integral) || !is_digits(fraction) {
        return Err(DecimalError::Malformed);
    }
    // Where the decimal point belongs among the digits of both parts.
    let point = integral.len() as i64 + i64::from(written_exponent) + i64::from(exponent);
    let digits = || integral.bytes().chain(fraction.bytes());
    let mut value: i64 = 0;
    for (at, digit) in digits().enumerate() {
        if at as i64 >= point {
            if digit != b'0' {
                on_fraction?;
            }
            continue;
        }
        value = push_digit(value, digit - b'0', negative)?;
    }
    let written = (integral.len() + fraction.len()) as i64;
    for _ in written..point {
        if value == 0 {
            break;
        }
        value = push_digit(value, 0, negative)?;
    }
    Ok(value)
}

fn push_digit(value: i64, digit: u8, negative: bool) -> Result<i64, DecimalError> {
    let digit = i64::from(digit);
    value
        .checked_mul(10)
        .and_then(|value| if negative { value.checked_sub(digit) } else { value.checked_add(digit) })
        .ok_or(DecimalError::TooLarge)
}

/// Parses an exponent. Exponents beyond 1,000,000,000 are capped: no result that fits has one.
fn parse_exponent(text: &str) -> Result<i32, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::Malformed);
    }
    let size = digits.parse::<i32>().unwrap_or(i32::MAX).min(1_000_000_000);
    Ok(if text.starts_with('-') { -size } else { size })
}

/// Splits a count into its number and the power of ten of its suffix: k for thousands, M for millions, B for billions, in either case.
pub(crate) fn split_count(text: &str) -> (&str, i32) {
    let shift = match text.as_bytes().last() {
        Some(b'k' | b'K') => 3,
        Some(b'm' | b'M') => 6,
        Some(b'b' | b'B') => 9,
        _ => return (text, 0),
    };
    (&text[..text.len() - 1], shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_all_notations_are_parsed() {
        use DecimalError::{Fraction, Malformed, TooLarge};
        for (text, exponent, value) in [
            ("2418", 0, Ok(2418)),
            ("-0", 0, Ok(0)),
            ("-0.0", 0, Ok(0)),
            ("7.0", 0, Ok(7)),
            ("7.5", 0, Err(Fraction)),
            ("1e3", 0, Ok(1000)),
            ("1.5e1", 0, Ok(15)),
            ("1500e-2", 0, Ok(15)),
            ("15e-2", 0, Err(Fraction)),
            ("0e999999999999", 0, Ok(0)),
            ("1e400", 0, Err(TooLarge)),
            ("1e-999999999999", 0, Err(Fraction)),
            ("9223372036854775807", 0, Ok(i64::MAX)),
            ("-9223372036854775808.0", 0, Ok(i64::MIN)),
            ("9223372036854775808", 0, Err(TooLarge)),
            ("9007199254740993.0", 0, Ok(9_007_199_254_740_993)),
            ("1.2", 3, Ok(1200)),
            ("1.2345", 3, Err(Fraction)),
            ("15", 6, Ok(15_000_000)),
            ("", 0, Err(Malformed)),
            (".", 0, Err(Malformed)),
            ("-", 0, Err(Malformed)),
            ("abc", 0, Err(Malformed)),
            ("1_000", 0, Err(Malformed)),
            ("0x10", 0, Err(Malformed)),
            ("1e", 0, Err(Malformed)),
            ("٣", 0, Err(Malformed)),
        ] {
            assert_eq!(parse_scaled(text, exponent), value, "{text} {exponent}");
        }
    }
}
