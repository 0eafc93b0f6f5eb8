//! Parses integers and decimals from decimal text without floating point.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalError {
    /// Not a decimal number.
    Malformed,
    /// A number with a fraction.
    Fraction,
    /// An integer that does not fit its type.
    TooLarge,
}

/// The most digits of a decimal, as in Delta and Arrow.
pub const MAX_PRECISION: u8 = 38;

/// The type of decimals with at most `precision` digits, of which `scale` follow the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecimalType {
    precision: u8,
    scale: u8,
}

impl DecimalType {
    /// `None` unless 1 <= precision <= [`MAX_PRECISION`] and scale <= precision.
    pub fn new(precision: u8, scale: u8) -> Option<DecimalType> {
        let is_type = (1..=MAX_PRECISION).contains(&precision) && scale <= precision;
        is_type.then_some(DecimalType { precision, scale })
    }

    /// The most digits.
    pub fn precision(self) -> u8 {
        self.precision
    }

    /// The digits after the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The most digits before the point.
    pub fn integral_digits(self) -> u8 {
        self.precision - self.scale
    }

    /// Whether each value of `self` is one of `other`.
    pub fn fits(self, other: DecimalType) -> bool {
        self.scale <= other.scale && self.integral_digits() <= other.integral_digits()
    }

    /// Parses a number and multiplies it by 10 to the power of `exponent`: all notations of JSON. No digit is lost, so a number with more
    /// digits is none of the type; zeros at the end of a fraction do not count.
    ///
    /// # Errors
    /// [`DecimalError::Malformed`] if it is no number, [`DecimalError::Fraction`] if its fraction has more digits, and
    /// [`DecimalError::TooLarge`] if the number has.
    ///
    /// ```
    /// use pinlake_schema::decimal::{DecimalError, DecimalType};
    ///
    /// let price = DecimalType::new(5, 2).ok_or("no type")?;
    /// assert_eq!(price.parse("1.500", 0).map(|number| number.to_string()), Ok("1.50".to_owned()));
    /// assert_eq!(price.parse("1.505", 0), Err(DecimalError::Fraction));
    /// assert_eq!(price.parse("1000", 0), Err(DecimalError::TooLarge));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn parse(self, text: &str, exponent: i32) -> Result<Decimal, DecimalError> {
        let exponent = exponent + i32::from(self.scale);
        // Arithmetic with 128 bits is slow, and few numbers need it.
        let unscaled = match parse_scaled::<i64>(text, exponent) {
            Err(DecimalError::TooLarge) => parse_scaled::<i128>(text, exponent)?,
            other => other?.into(),
        };
        if unscaled.unsigned_abs() >= 10_u128.pow(self.precision.into()) {
            return Err(DecimalError::TooLarge);
        }
        Ok(Decimal { unscaled, scale: self.scale })
    }
}

impl fmt::Display for DecimalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decimal({},{})", self.precision, self.scale)
    }
}

/// A number with a fixed number of digits after the point. 1.5 and 1.50 are equal.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    /// The number without its point: 150 for 1.50.
    pub unscaled: i128,
    /// The digits after the point.
    pub scale: u8,
}

impl Decimal {
    /// The number without its point if it has `scale` digits after it, of which there are at least as many as now; `None` if it is too large.
    pub fn rescale(self, scale: u8) -> Option<i128> {
        10_i128.checked_pow(scale.checked_sub(self.scale)?.into())?.checked_mul(self.unscaled)
    }

    /// The same number without zeros at the end of its fraction: 1.5 for 1.50, and 0 for 0.00.
    pub fn normalize(self) -> Decimal {
        let Decimal { mut unscaled, mut scale } = self;
        // Division of 128 bits is slow, and few numbers need it.
        if let Ok(mut short) = i64::try_from(unscaled) {
            while scale > 0 && short % 10 == 0 {
                (short, scale) = (short / 10, scale - 1);
            }
            return Decimal { unscaled: short.into(), scale };
        }
        while scale > 0 && unscaled % 10 == 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        Decimal { unscaled, scale }
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        let parts = |own: &Decimal| {
            let Decimal { unscaled, scale } = own.normalize();
            (unscaled, scale)
        };
        parts(self) == parts(other)
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let scale = usize::from(self.scale);
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (integral, fraction) = digits.split_at(digits.len() - scale);
        write!(f, "{sign}{integral}{}{fraction}", if scale > 0 { "." } else { "" })
    }
}

/// A type of integers.
pub trait Integer: Copy + Default + PartialEq + FromStr {
    /// Appends a digit to the number, which is negative or is going to be; `None` if the result does not fit.
    fn push_digit(self, digit: u8, negative: bool) -> Option<Self>;
    /// One less; `None` if the result does not fit.
    fn decrement(self) -> Option<Self>;
}

macro_rules! implement_integer {
    ($type:ty) => {
        impl Integer for $type {
            fn push_digit(self, digit: u8, negative: bool) -> Option<Self> {
                let (value, digit) = (self.checked_mul(10)?, <$type>::from(digit));
                if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
            }

            fn decrement(self) -> Option<Self> {
                self.checked_sub(1)
            }
        }
    };
}

implement_integer!(i64);
implement_integer!(i128);

/// Parses a decimal number and multiplies it by 10 to the power of `exponent`. The result must be an integer: `7`, `-7.0`, `1e3`,
/// and with an exponent of 3 also `1.2`.
///
/// # Errors
/// See [`DecimalError`].
pub fn parse_scaled<T: Integer>(text: &str, exponent: i32) -> Result<T, DecimalError> {
    match parse_floor(text, exponent)? {
        (value, true) => Ok(value),
        (_, false) => Err(DecimalError::Fraction),
    }
}

/// Like [`parse_scaled`], but returns the greatest integer that is not above the result, and whether it is the result.
///
/// # Errors
/// See [`DecimalError`].
pub fn parse_floor<T: Integer>(text: &str, exponent: i32) -> Result<(T, bool), DecimalError> {
    if exponent == 0
        && let Ok(number) = text.parse::<T>()
    {
        return Ok((number, true));
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
    let mut value = T::default();
    let mut is_exact = true;
    for (at, digit) in digits().enumerate() {
        if at as i64 >= point {
            is_exact &= digit == b'0';
            continue;
        }
        value = value.push_digit(digit - b'0', negative).ok_or(DecimalError::TooLarge)?;
    }
    let written = (integral.len() + fraction.len()) as i64;
    for _ in written..point {
        if value == T::default() {
            break;
        }
        value = value.push_digit(0, negative).ok_or(DecimalError::TooLarge)?;
    }
    if negative && !is_exact {
        value = value.decrement().ok_or(DecimalError::TooLarge)?;
    }
    Ok((value, is_exact))
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
pub fn split_count(text: &str) -> (&str, i32) {
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
            assert_eq!(parse_scaled::<i64>(text, exponent), value, "{text} {exponent}");
        }
    }

    #[test]
    fn decimals_keep_all_their_digits() {
        use DecimalError::{Fraction, Malformed, TooLarge};
        let most = "9".repeat(38);
        let whole = format!("{most}.000");
        let small = format!("0.{most}");
        let beyond = format!("1{}", "0".repeat(38));
        for (precision, scale, text, exponent, expected) in [
            (12, 2, "1.5", 0, Ok("1.50")),
            (12, 2, "1.500", 0, Ok("1.50")),
            (12, 2, "-0.0", 0, Ok("0.00")),
            (12, 2, "-.05", 0, Ok("-0.05")),
            (12, 2, "15e-1", 0, Ok("1.50")),
            (12, 2, "1.505", 0, Err(Fraction)),
            (12, 2, "0.001", 0, Err(Fraction)),
            (12, 2, "1e-400", 0, Err(Fraction)),
            (12, 2, "9999999999.99", 0, Ok("9999999999.99")),
            (12, 2, "10000000000", 0, Err(TooLarge)),
            (12, 2, "1e400", 0, Err(TooLarge)),
            (12, 2, "1.2345", 3, Ok("1234.50")),
            (12, 2, "1.23456", 3, Ok("1234.56")),
            (12, 2, "1.234567", 3, Err(Fraction)),
            (12, 2, "NaN", 0, Err(Malformed)),
            (12, 2, "", 0, Err(Malformed)),
            (3, 3, "0.125", 0, Ok("0.125")),
            (3, 3, "1", 0, Err(TooLarge)),
            (38, 0, &most, 0, Ok(most.as_str())),
            (38, 0, &whole, 0, Ok(most.as_str())),
            (38, 38, &small, 0, Ok(small.as_str())),
            (38, 0, &beyond, 0, Err(TooLarge)),
        ] {
            let parsed = DecimalType::new(precision, scale).unwrap().parse(text, exponent);
            let parsed = parsed.map(|number| number.to_string());
            assert_eq!(parsed.as_deref().map_err(|error| *error), expected, "{text} {exponent}");
        }
        assert_eq!(DecimalType::new(0, 0), None);
        assert_eq!(DecimalType::new(39, 0), None);
        assert_eq!(DecimalType::new(5, 6), None);
    }

    #[test]
    fn equal_numbers_have_one_normal_form() {
        let normal = |text: &str, precision, scale| {
            DecimalType::new(precision, scale).unwrap().parse(text, 0).unwrap().normalize()
        };
        for (text, unscaled, scale) in
            [("1.5", 15, 1), ("1.50", 15, 1), ("100", 100, 0), ("0.00", 0, 0), ("-2.0", -2, 0)]
        {
            for number in [normal(text, 12, 2), normal(text, 38, 20)] {
                assert_eq!((number.unscaled, number.scale), (unscaled, scale), "{text}");
                assert_eq!(number.rescale(3), Some(unscaled * 10_i128.pow(3 - u32::from(scale))));
            }
        }
    }
}
