//! Reads numbers as a language writes them: `6.918,26`.

use pinlake_schema::NumberLocale;

/// The digits of the last group.
const LAST_GROUP_DIGITS: usize = 3;

/// Appends a number to `out` as JSON writes it: `6.918,26` as `6918.26`. `None` if it is not a number, or has the sign of a group at a wrong
/// place: it may be meant as another number.
pub(crate) fn write_plain(text: &str, locale: NumberLocale, out: &mut String) -> Option<()> {
    let unsigned = match text.chars().next()? {
        '-' | '\u{2212}' => {
            out.push('-');
            text.strip_prefix(['-', '\u{2212}'])?
        }
        '+' => &text[1..],
        _ => text,
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => unsigned.split_at(at),
        None => (unsigned, ""),
    };
    let (integral, fraction) = match mantissa.split_once(locale.decimal_sign()) {
        Some((integral, fraction)) => (integral, Some(fraction)),
        None => (mantissa, None),
    };
    write_groups(integral, locale, out)?;
    if let Some(fraction) = fraction {
        if !is_digits(fraction) {
            return None;
        }
        out.push('.');
        out.push_str(fraction);
    } else if integral.is_empty() {
        return None;
    }
    out.push_str(exponent);
    Some(())
}

fn write_groups(integral: &str, locale: NumberLocale, out: &mut String) -> Option<()> {
    let Some(sign) = integral.chars().find(|char| locale.group_signs().contains(char)) else {
        out.push_str(integral);
        return (integral.is_empty() || is_digits(integral)).then_some(());
    };
    let groups = integral.split(sign);
    let last = groups.clone().count() - 1;
    for (at, group) in groups.enumerate() {
        let is_right = match at {
            // A number with groups does not begin with 0: the sign of `0.125` is meant as a decimal point.
            0 => group.len() <= locale.group_digits() && !group.starts_with('0'),
            at if at == last => group.len() == LAST_GROUP_DIGITS,
            _ => group.len() == locale.group_digits(),
        };
        if !is_right || !is_digits(group) {
            return None;
        }
        out.push_str(group);
    }
    Some(())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn plain(text: &str, locale: &str) -> Option<String> {
        let mut out = String::new();
        write_plain(text, NumberLocale::parse(locale).expect(locale), &mut out).map(|()| out)
    }

    #[test]
    fn numbers_of_all_languages_are_read() {
        for (locale, text, expected) in [
            ("en", "1,234,567.89", Some("1234567.89")),
            ("en", "1234.5", Some("1234.5")),
            ("en", "1,23", None),
            ("en", "12,34,567", None),
            ("en", "1234,567", None),
            ("en", "1.234,5", None),
            ("de", "6.918,26", Some("6918.26")),
            ("de", "-6.918", Some("-6918")),
            ("de", "\u{2212}1,5", Some("-1.5")),
            ("de", "+1,5e3", Some("1.5e3")),
            ("de", ",5", Some(".5")),
            ("de", "12.50", None),
            ("de", "1.2.3", None),
            ("de", ".500", None),
            ("de", "1,", None),
            ("de", "1,2,3", None),
            ("de", "1,234.567", None),
            ("de", "0.125", None),
            ("de", "-00.500", None),
            ("en", "0,125", None),
            ("de", "0,125", Some("0.125")),
            ("de", "", None),
            ("de", "-", None),
            ("de", "e5", None),
            ("it", "1.000", Some("1000")),
            ("fr", "1 234 567,8", Some("1234567.8")),
            ("fr", "1\u{202f}234,5", Some("1234.5")),
            ("fr", "1\u{a0}234 567", None),
            ("fr", "1  234", None),
            ("pl", "12 345", Some("12345")),
            ("de-CH", "1'234.5", Some("1234.5")),
            ("de-CH", "1’234", Some("1234")),
            ("en-IN", "12,34,567.8", Some("1234567.8")),
            ("en-IN", "123,456", None),
            ("en-IN", "1,234", Some("1234")),
        ] {
            assert_eq!(plain(text, locale).as_deref(), expected, "{locale} {text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
        })]

        #[test]
        fn what_a_language_writes_is_read(number in any::<i64>(), cents in 0_u8..100) {
            let digits = number.unsigned_abs().to_string();
            let sign = if number < 0 { "-" } else { "" };
            for (name, locale) in
                ["en", "de", "fr", "de-CH", "en-IN"].map(|name| (name, NumberLocale::parse(name).unwrap()))
            {
                let mut grouped: Vec<char> = Vec::new();
                for (at, digit) in digits.chars().rev().enumerate() {
                    if at >= 3 && (at - 3) % locale.group_digits() == 0 {
                        grouped.push(locale.group_signs()[0]);
                    }
                    grouped.push(digit);
                }
                let grouped: String = grouped.into_iter().rev().collect();
                let text = format!("{sign}{grouped}{}{cents:02}", locale.decimal_sign());
                prop_assert_eq!(plain(&text, name), Some(format!("{sign}{digits}.{cents:02}")));
            }
        }
    }
}
