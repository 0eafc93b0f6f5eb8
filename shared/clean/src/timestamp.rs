//! Parses dates and times.
//!
//! The parser is our own: it is several times as fast as the `strptime` of chrono (`docs/decisions/dates-by-hand.md`). A property test
//! compares the two.

use chrono::{DateTime, LocalResult, NaiveDate, Offset as _, TimeZone as _};
use pinlake_schema::{TimeFormat, TimePart, Tz, decimal};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
pub(crate) const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;

/// The value of a record that is to be parsed as a date or time.
#[derive(Clone, Copy)]
pub(crate) enum TimeValue<'a> {
    /// A string, without white space around it.
    Text(&'a str),
    /// The text of a number.
    Number(&'a str),
    /// The JSON text of an object or array.
    Nested(&'a str),
}

/// Parses a value by the first format that matches it; returns microseconds since 1970-01-01 UTC. `zone` is that of times that name none;
/// `None` for UTC.
pub(crate) fn parse(value: TimeValue<'_>, formats: &[TimeFormat], zone: Option<Tz>) -> Option<i64> {
    formats.iter().find_map(|format| match (format, value) {
        (TimeFormat::Pattern { parts, .. }, TimeValue::Text(text)) => parse_pattern(text, parts, zone),
        (TimeFormat::MongoDate, TimeValue::Nested(json)) => parse_mongo_date(json, zone),
        (TimeFormat::UnixSeconds, TimeValue::Text(text) | TimeValue::Number(text)) => {
            check_range(parse_unix(text, 6)?)
        }
        (TimeFormat::UnixMillis, TimeValue::Text(text) | TimeValue::Number(text)) => {
            check_range(parse_unix(text, 3)?)
        }
        (TimeFormat::UnixMicros, TimeValue::Text(text) | TimeValue::Number(text)) => {
            check_range(parse_unix(text, 0)?)
        }
        (TimeFormat::UnixNanos, TimeValue::Text(text) | TimeValue::Number(text)) => {
            check_range(parse_unix(text, -3)?)
        }
        (TimeFormat::UnixDays, TimeValue::Text(text) | TimeValue::Number(text)) => {
            check_range(decimal::parse_scaled::<i64>(text, 0).ok()?.checked_mul(MICROS_PER_DAY)?)
        }
        _ => None,
    })
}

/// Microseconds of a number of seconds times ten to the power of `exponent` minus six. Digits beyond the microsecond
/// are cut, as behind %S.
fn parse_unix(text: &str, exponent: i32) -> Option<i64> {
    decimal::parse_floor(text, exponent).ok().map(|(micros, _)| micros)
}

/// Accepts the years 1 to 9999, which every reader of a table supports.
fn check_range(micros: i64) -> Option<i64> {
    (FIRST_DAY * MICROS_PER_DAY..=LAST_DAY * MICROS_PER_DAY + (MICROS_PER_DAY - 1))
        .contains(&micros)
        .then_some(micros)
}

/// 0001-01-01 and 9999-12-31 in days since 1970-01-01.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// Days from 1970-01-01 to a date; `None` if the date does not exist.
fn days_from_epoch(year: i32, month: u32, day: u32) -> Option<i64> {
    const EPOCH_FROM_CE: i64 = 719_163;
    use chrono::Datelike;
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    Some(i64::from(date.num_days_from_ce()) - EPOCH_FROM_CE)
}

/// The text that is still to be parsed.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Passes a number of one or two digits.
    fn short_number(&mut self) -> Option<u32> {
        let (number, rest) = match self.0 {
            [tens @ b'0'..=b'9', units @ b'0'..=b'9', rest @ ..] => (to_number(&[*tens, *units]), rest),
            [units @ b'0'..=b'9', rest @ ..] => (to_number(&[*units]), rest),
            _ => return None,
        };
        self.0 = rest;
        Some(number)
    }

    /// Passes a number of `N` digits.
    fn number<const N: usize>(&mut self) -> Option<u32> {
        let (digits, rest) = self.0.split_first_chunk::<N>()?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        self.0 = rest;
        Some(to_number(digits))
    }

    fn literal(&mut self, expected: char) -> Option<()> {
        match (u8::try_from(expected), self.0.split_first()) {
            // Nearly all literals are one byte long.
            (Ok(byte @ ..0x80), Some((first, rest))) if *first == byte => self.0 = rest,
            (Ok(..0x80), _) => return None,
            _ => self.pass(expected.encode_utf8(&mut [0; 4]).as_bytes())?,
        }
        Some(())
    }

    fn pass(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn date_separator(&mut self) -> Option<()> {
        let [b'-' | b'/' | b':' | b'.', rest @ ..] = self.0 else { return None };
        self.0 = rest;
        Some(())
    }

    /// Passes one of the names, given as their first three letters, or in full if `rest` has what follows.
    fn name(&mut self, names: &[(&[u8; 3], &[u8])], form: NameForm) -> Option<u32> {
        let (begin, after) = self.0.split_at_checked(3)?;
        let at = names.iter().position(|(own, _)| own.eq_ignore_ascii_case(begin))?;
        let rest = names[at].1;
        let full = after.split_at_checked(rest.len()).filter(|(own, _)| own.eq_ignore_ascii_case(rest));
        self.0 = match (form, full) {
            (NameForm::Short, _) => after,
            (NameForm::Full | NameForm::Either, Some((_, after))) => after,
            (NameForm::Full, None) => return None,
            (NameForm::Either, None) => after,
        };
        Some(at as u32 + 1)
    }

    /// Passes a fraction of a second, if there is one; returns microseconds, and ignores further digits.
    fn fraction(&mut self) -> Option<i64> {
        self.0 = match self.0 {
            [b'.', rest @ ..] => rest,
            // ISO 8601 has it too, and Python's `logging`.
            [b',', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => rest,
            _ => return Some(0),
        };
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let micros = digits.iter().chain(b"00000").take(6);
        Some(micros.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Passes AM or PM; returns the hours that it adds.
    fn half_day(&mut self) -> Option<u32> {
        let (name, rest) = self.0.split_at_checked(2)?;
        self.0 = rest;
        match name {
            [b'A' | b'a', b'M' | b'm'] => Some(0),
            [b'P' | b'p', b'M' | b'm'] => Some(12),
            _ => None,
        }
    }

    /// Passes a zone; returns seconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        let _ = self.pass(b" ");
        let letters = self.0.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters > 0 {
            let (name, rest) = self.0.split_at(letters);
            let hours = ZONES.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name))?.1;
            self.0 = rest;
            return Some(i64::from(hours) * 3600);
        }
        let sign = match self.0.split_first()? {
            (b'+', rest) => {
                self.0 = rest;
                1
            }
            (b'-', rest) => {
                self.0 = rest;
                -1
            }
            _ => return None,
        };
        let hours = self.number::<2>()?;
        let has_minutes = self.pass(b":").is_some() || self.0.first().is_some_and(u8::is_ascii_digit);
        let minutes = if has_minutes { self.number::<2>()? } else { 0 };
        (hours <= 18 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
    }

    /// Passes the name of a region behind a zone, as Java's `ZonedDateTime` writes it: `[Europe/Berlin]`. The offset
    /// before it decides.
    fn region(&mut self) -> Option<()> {
        if let [b'[', name @ .., b']'] = self.0 {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(byte);
            (!name.is_empty() && name.iter().all(is_name)).then_some(())?;
            self.0 = &[];
        }
        Some(())
    }
}

fn to_number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

/// How a name is written.
#[derive(Clone, Copy)]
enum NameForm {
    Short,
    Full,
    Either,
}

const MONTHS: [(&[u8; 3], &[u8]); 12] = [
    (b"Jan", b"uary"),
    (b"Feb", b"ruary"),
    (b"Mar", b"ch"),
    (b"Apr", b"il"),
    (b"May", b""),
    (b"Jun", b"e"),
    (b"Jul", b"y"),
    (b"Aug", b"ust"),
    (b"Sep", b"tember"),
    (b"Oct", b"ober"),
    (b"Nov", b"ember"),
    (b"Dec", b"ember"),
];

const WEEKDAYS: [(&[u8; 3], &[u8]); 7] = [
    (b"Mon", b"day"),
    (b"Tue", b"sday"),
    (b"Wed", b"nesday"),
    (b"Thu", b"rsday"),
    (b"Fri", b"day"),
    (b"Sat", b"urday"),
    (b"Sun", b"day"),
];

/// Names of zones with one meaning in mail headers (RFC 5322, section 4.3) and in Europe, and their hours east of UTC.
/// Others, such as IST and BST, have several meanings.
const ZONES: [(&str, i8); 20] = [
    ("Z", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("WET", 0),
    ("WEST", 1),
    ("CET", 1),
    ("CEST", 2),
    ("MEZ", 1),
    ("MESZ", 2),
    ("EET", 2),
    ("EEST", 3),
    ("EST", -5),
    ("EDT", -4),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
    ("MSK", 3),
];

/// Seconds east of UTC in a zone at a local time, given in seconds. Where clocks are set back, so that a time comes twice, it is the
/// first. `None` if clocks are set forward over it.
fn find_offset(zone: Tz, local: i64) -> Option<i64> {
    let local = DateTime::from_timestamp(local, 0)?.naive_utc();
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
            Some(offset.fix().local_minus_utc().into())
        }
        LocalResult::None => None,
    }
}

fn parse_pattern(text: &str, parts: &[TimePart], default_zone: Option<Tz>) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
    let (mut has_time, mut half_day, mut zone) = (false, None, None);
    for part in parts {
        match part {
            TimePart::Literal(char) => cursor.literal(*char)?,
            TimePart::DateSeparator => cursor.date_separator()?,
            TimePart::Year => year = cursor.number::<4>()?,
            TimePart::YearOfCentury => {
                let number = cursor.number::<2>()?;
                year = if number < 69 { 2000 + number } else { 1900 + number };
            }
            TimePart::Month => month = cursor.short_number()?,
            TimePart::MonthName => month = cursor.name(&MONTHS, NameForm::Short)?,
            TimePart::FullMonthName => month = cursor.name(&MONTHS, NameForm::Full)?,
            TimePart::Weekday => {
                cursor.name(&WEEKDAYS, NameForm::Either)?;
            }
            TimePart::Hour12 => {
                hour = cursor.short_number().filter(|hour| (1..=12).contains(hour))? % 12;
                has_time = true;
            }
            TimePart::HalfDay => half_day = Some(cursor.half_day()?),
            TimePart::Zone => zone = Some(cursor.zone()?),
            TimePart::Day => day = cursor.short_number()?,
            TimePart::Hour => {
                hour = cursor.short_number()?;
                has_time = true;
            }
            TimePart::Minute => minute = cursor.short_number()?,
            TimePart::Second => {
                second = cursor.short_number()?;
                micros = cursor.fraction()?;
            }
        }
    }
    if zone.is_none() && has_time && !cursor.0.is_empty() {
        zone = Some(cursor.zone()?);
    }
    if zone.is_some() {
        cursor.region()?;
    }
    hour += half_day.unwrap_or(0);
    if !cursor.0.is_empty() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let day = days_from_epoch(i32::try_from(year).ok()?, month, day)?;
    let local = day * SECONDS_PER_DAY + i64::from(hour * 3600 + minute * 60 + second);
    let zone = match (zone, default_zone) {
        (Some(zone), _) => zone,
        (None, Some(default)) => find_offset(default, local)?,
        (None, None) => 0,
    };
    check_range((local - zone) * MICROS_PER_SECOND + micros)
}

const ISO: [TimePart; 11] = {
    use TimePart::{DateSeparator, Day, Hour, Literal, Minute, Month, Second, Year};
    [
        Year,
        DateSeparator,
        Month,
        DateSeparator,
        Day,
        Literal('T'),
        Hour,
        Literal(':'),
        Minute,
        Literal(':'),
        Second,
    ]
};

/// Parses a point in time or a date as a typed file has it: `2020-08-28T03:52:47.5Z`, `2020-08-28`.
pub(crate) fn parse_iso(text: &str, zone: Option<Tz>) -> Option<i64> {
    let date_parts = &ISO[..5];
    parse_pattern(text, if text.contains('T') { &ISO } else { date_parts }, zone)
}

/// `{"$date": "2020-08-28T03:52:47Z"}`, `{"$date": 1598586767000}`, `{"$date": {"$numberLong": "1598586767000"}}`.
fn parse_mongo_date(json: &str, zone: Option<Tz>) -> Option<i64> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let date = object.get("$date")?;
    let millis = match date {
        serde_json::Value::String(text) => {
            return parse_pattern(text, &ISO, zone)
                .or_else(|| parse_pattern(&text.replacen(' ', "T", 1), &ISO, zone));
        }
        serde_json::Value::Number(number) => number.as_i64()?,
        serde_json::Value::Object(wrapped) => wrapped.get("$numberLong")?.as_str()?.parse().ok()?,
        _ => return None,
    };
    check_range(millis.checked_mul(1000)?)
}

#[cfg(test)]
mod tests {
    use chrono::format::{Parsed, StrftimeItems};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn formats(texts: &[&str]) -> Vec<TimeFormat> {
        texts.iter().map(|text| TimeFormat::parse(text).expect(text)).collect()
    }

    #[test]
    fn the_first_and_the_last_timestamp() {
        assert_eq!(
            (days_from_epoch(1, 1, 1), days_from_epoch(9999, 12, 31)),
            (Some(FIRST_DAY), Some(LAST_DAY))
        );
        let all = formats(&["%Y-%m-%dT%H:%M:%S"]);
        let last = (LAST_DAY + 1) * MICROS_PER_DAY - 1;
        for (text, micros) in [
            ("0001-01-01T00:00:00Z", Some(FIRST_DAY * MICROS_PER_DAY)),
            ("0001-01-01T00:00:00+01:00", None),
            ("9999-12-31T23:59:59.999999Z", Some(last)),
            ("9999-12-31T23:59:59-01:00", None),
        ] {
            assert_eq!(parse(TimeValue::Text(text), &all, None), micros, "{text}");
        }
    }

    #[test]
    fn values_in_all_formats_are_parsed() {
        let all =
            formats(&["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y, %H:%M:%S", "%d %b %Y", "$date"]);
        let at = 1_598_586_767_000_000;
        for (text, micros) in [
            ("2020-08-28 03:52:47", Some(at)),
            ("2020-08-28T03:52:47", Some(at)),
            ("2020-08-28T03:52:47Z", Some(at)),
            ("2020-08-28T03:52:47.5Z", Some(at + 500_000)),
            ("2020-08-28T03:52:47.123456789", Some(at + 123_456)),
            ("2020-08-28 05:52:47+02:00", Some(at)),
            ("2020-08-28 05:52:47 +0200", Some(at)),
            ("2020-08-27T22:52:47.000-05", Some(at)),
            ("2021-03-28T14:54:07.000+0000", Some(1_616_943_247_000_000)),
            ("08/28/2020, 03:52:47", Some(at)),
            ("28 Aug 2020", Some(at / MICROS_PER_DAY * MICROS_PER_DAY)),
            ("2020-02-29 00:00:00", Some(1_582_934_400_000_000)),
            ("1969-12-31 23:59:59", Some(-1_000_000)),
            ("2021-02-29 00:00:00", None),
            ("2020-08-28 24:00:00", None),
            ("2020-08-28 03:52:60", None),
            ("2020-08-28", None),
            ("20-08-28 03:52:47", None),
            ("2020-08-28 03:52:47x", None),
            ("2020-08-28 03:52:47.", None),
            ("2020-08-28 03:52:47+99:00", None),
            ("0000-01-01 00:00:00", None),
            ("", None),
        ] {
            assert_eq!(parse(TimeValue::Text(text), &all, None), micros, "{text}");
        }
        for (json, micros) in [
            (r#"{"$date": "2020-08-28T03:52:47Z"}"#, Some(at)),
            (r#"{"$date": "2020-08-28 03:52:47"}"#, Some(at)),
            (r#"{"$date": 1598586767000}"#, Some(at)),
            (r#"{"$date": {"$numberLong": "1598586767000"}}"#, Some(at)),
            (r#"{"$date": 1598586767000, "x": 1}"#, None),
            (r#"{"date": 1598586767000}"#, None),
            (r#"[1]"#, None),
        ] {
            assert_eq!(parse(TimeValue::Nested(json), &all, None), micros, "{json}");
        }
        for (text, pattern, micros) in [
            ("2019:02:22 20:21:06", "%Y-%m-%d %H:%M:%S", 1_550_866_866_000_000),
            ("2019/02/22 20:21:06", "%Y-%m-%d %H:%M:%S", 1_550_866_866_000_000),
            ("2019.02.22T20:21:06", "%Y-%m-%dT%H:%M:%S", 1_550_866_866_000_000),
            ("2020-08-28 03:52:47,5", "%Y-%m-%d %H:%M:%S", at + 500_000),
            ("2020-08-28T03:52:47.1234567890Z", "%Y-%m-%dT%H:%M:%S", at + 123_456),
            ("2020-08-28T05:52:47+02:00[Europe/Berlin]", "%Y-%m-%dT%H:%M:%S", at),
            ("2020-08-28T03:52:47Z[UTC]", "%Y-%m-%dT%H:%M:%S", at),
            ("2020-08-28 05:52:47 CEST", "%Y-%m-%d %H:%M:%S", at),
            ("2020-08-28T03:52Z", "%Y-%m-%dT%H:%M", at - 47_000_000),
            ("2020-08-28 03:52:47.25", "%Y-%m-%d %H:%M:%S.%f", at + 250_000),
            ("Fri Aug 28 05:52:47 +0200 2020", "%a %b %d %H:%M:%S %z %Y", at),
            ("Friday, August 28, 2020 3:52:47 am", "%A, %B %d, %Y %I:%M:%S %p", at),
            ("8/28/20 12:00:00 AM", "%m/%d/%y %I:%M:%S %p", at / MICROS_PER_DAY * MICROS_PER_DAY),
            ("8/28/20 03:52:47 PM", "%m/%d/%y %I:%M:%S %p", at + 12 * 3600 * MICROS_PER_SECOND),
            ("28-May-69", "%d-%b-%y", -18_835_200_000_000),
        ] {
            assert_eq!(parse(TimeValue::Text(text), &formats(&[pattern]), None), Some(micros), "{text}");
        }
        for (text, pattern) in [
            ("2019:02:22", "%Y%m%d"),
            ("22:02:2019", "%d-%m-%Y"),
            ("2020-08-28 13:00:00 PM", "%Y-%m-%d %I:%M:%S %p"),
            ("2020-08-28 00:00:00 AM", "%Y-%m-%d %I:%M:%S %p"),
            ("2020-08-28 03:52:47 IST", "%Y-%m-%d %H:%M:%S"),
            ("2020-08-28 03:52:47[Europe/Berlin]", "%Y-%m-%d %H:%M:%S"),
            ("2020-08-28 03:52:47,", "%Y-%m-%d %H:%M:%S"),
            ("2016-12-31 23:59:60", "%Y-%m-%d %H:%M:%S"),
            ("Xyz, 28 Aug 2020", "%a, %d %b %Y"),
            ("Aug 28, 2020", "%B %d, %Y"),
        ] {
            assert_eq!(parse(TimeValue::Text(text), &formats(&[pattern]), None), None, "{text}");
        }
        for (number, format, micros) in [
            ("1764286891.7329066", "unix_seconds", 1_764_286_891_732_906),
            ("1598586767.123456789", "unix_seconds", 1_598_586_767_123_456),
            ("-0.0000001", "unix_seconds", -1),
            ("1598586767000.0004", "unix_millis", at),
            ("1598586767000000", "unix_micros", at),
            ("1598586767000000999", "unix_nanos", at),
        ] {
            assert_eq!(parse(TimeValue::Number(number), &formats(&[format]), None), Some(micros), "{number}");
        }
        assert_eq!(parse(TimeValue::Number("1598586767"), &all, None), None);
        assert_eq!(
            parse(TimeValue::Number("1598586767.25"), &formats(&["unix_seconds"]), None),
            Some(at + 250_000)
        );
        assert_eq!(parse(TimeValue::Text("1598586767000"), &formats(&["unix_millis"]), None), Some(at));
        assert_eq!(parse(TimeValue::Number("99999999999999999"), &formats(&["unix_millis"]), None), None);
    }

    /// Parses a date and time with chrono's `strptime`, which reads a fraction as `%.f`, and no zone.
    fn parse_with_chrono(text: &str, pattern: &str) -> Option<i64> {
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, StrftimeItems::new(&pattern.replace("%S", "%S%.f"))).ok()?;
        let date = parsed.to_naive_date().ok()?;
        let time = if pattern.contains("%H") { parsed.to_naive_time().ok()? } else { chrono::NaiveTime::MIN };
        Some(date.and_time(time).and_utc().timestamp_micros())
    }

    /// The text with the separators of its pattern, if that begins with a year.
    fn with_separators(text: &str, pattern: &str) -> String {
        let Some(separator) = pattern.strip_prefix("%Y").and_then(|rest| rest.chars().next()) else {
            return text.to_owned();
        };
        let mut passed = 0;
        let replaced = text.chars().map(|char| match char {
            '-' | '/' | ':' | '.' if passed < 2 && separator == '-' => {
                passed += 1;
                separator
            }
            // A comma begins a fraction too.
            ',' => '.',
            other => other,
        });
        replaced.collect()
    }

    /// Checks that chrono accepts what we accept, with the same value. Chrono accepts more: signs, white space, leap seconds,
    /// years of fewer digits, and names of months that are written in full.
    fn compare_with_chrono(text: &str, pattern: &str) -> Result<bool, TestCaseError> {
        let ours = parse(TimeValue::Text(text), &formats(&[pattern]), None);
        if ours.is_some() {
            // Chrono has no other separators, and a point only before a fraction.
            let theirs = parse_with_chrono(&with_separators(text, pattern), pattern);
            prop_assert_eq!(ours, theirs, "{} as {}", text, pattern);
        }
        Ok(ours.is_some())
    }

    const PATTERNS: [&str; 5] =
        ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y, %H:%M:%S", "%d %b %Y", "%Y%m%d"];

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 5000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
        })]

        #[test]
        fn every_timestamp_that_chrono_writes_is_parsed(
            micros in FIRST_DAY * MICROS_PER_DAY..(LAST_DAY + 1) * MICROS_PER_DAY,
            pattern in proptest::sample::select(&PATTERNS[..]),
        ) {
            let at = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            let text = at.format(&pattern.replace("%S", "%S%.6f")).to_string();
            prop_assert!(compare_with_chrono(&text, pattern)?, "{} as {}", text, pattern);
        }

        #[test]
        fn numbers_out_of_range_are_rejected_as_by_chrono(
            (year, month, day) in (0..10_000_u32, 0..14_u32, 0..33_u32),
            (hour, minute, second) in (0..26_u32, 0..62_u32, 0..60_u32),
            pattern in proptest::sample::select(&PATTERNS[..3]),
        ) {
            let numbers = [("%Y", format!("{year:04}")), ("%m", month.to_string()), ("%d", format!("{day:02}")),
                ("%H", format!("{hour:02}")), ("%M", minute.to_string()), ("%S", second.to_string())];
            let text = numbers.iter().fold(pattern.to_owned(), |text, (part, number)| text.replace(part, number));
            let is_accepted = compare_with_chrono(&text, pattern)?;
            // Only chrono accepts the year 0.
            prop_assert_eq!(is_accepted, year > 0 && parse_with_chrono(&text, pattern).is_some(), "{}", text);
        }

        #[test]
        fn changed_texts_have_the_same_value_in_chrono(
            at in any::<prop::sample::Index>(),
            removed in 0..3_usize,
            inserted in "[0-9:T. ,/a-yA-Y-]{0,2}",
            pattern in proptest::sample::select(&PATTERNS[..]),
        ) {
            let at_noon = chrono::DateTime::from_timestamp(1_598_586_767, 0).unwrap();
            let mut text = at_noon.format(pattern).to_string();
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.replace_range(start..end, &inserted);
            // Chrono has no optional zone: the examples above cover zones.
            let minuses = |text: &str| text.matches('-').count();
            if minuses(&text) <= minuses(pattern) {
                compare_with_chrono(text.trim_ascii(), pattern)?;
            }
        }
    }
}
