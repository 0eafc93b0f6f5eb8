//! Dates and times out of their written forms.

use chrono::NaiveDate;
use pinlake_schema::{TimeFormat, TimePart};

use crate::decimal;

const MICROS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// What a record holds where a date or time is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Written<'a> {
    Text(&'a str),
    Number(&'a str),
    Nested(&'a str),
}

/// Microseconds since 1970-01-01 UTC, by the first format that fits.
pub(crate) fn parse(written: Written<'_>, formats: &[TimeFormat]) -> Option<i64> {
    formats.iter().find_map(|format| match (format, written) {
        (TimeFormat::Pattern { parts, .. }, Written::Text(text)) => by_pattern(text, parts),
        (TimeFormat::MongoDate, Written::Nested(json)) => mongo_date(json),
        (TimeFormat::UnixSeconds, Written::Text(text) | Written::Number(text)) => {
            in_range(decimal::whole(text, 6).ok()?)
        }
        (TimeFormat::UnixMillis, Written::Text(text) | Written::Number(text)) => {
            in_range(decimal::whole(text, 3).ok()?)
        }
        _ => None,
    })
}

/// Moments of the years 1 to 9999: what every reader of a table can show.
fn in_range(micros: i64) -> Option<i64> {
    (FIRST_DAY * MICROS_PER_DAY..=LAST_DAY * MICROS_PER_DAY + (MICROS_PER_DAY - 1))
        .contains(&micros)
        .then_some(micros)
}

/// 0001-01-01 and 9999-12-31 in days since 1970-01-01.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// Days since 1970-01-01.
fn days(year: i32, month: u32, day: u32) -> Option<i64> {
    const EPOCH_FROM_CE: i64 = 719_163;
    use chrono::Datelike;
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    Some(i64::from(date.num_days_from_ce()) - EPOCH_FROM_CE)
}

/// What is left of the text to read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// A number of at least `least` and at most `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    fn literal(&mut self, expected: char) -> Option<()> {
        match (u8::try_from(expected), self.0.split_first()) {
            // Nearly all of them are one byte.
            (Ok(byte @ ..0x80), Some((first, rest))) if *first == byte => self.0 = rest,
            (Ok(..0x80), _) => return None,
            _ => self.take(expected.encode_utf8(&mut [0; 4]).as_bytes())?,
        }
        Some(())
    }

    fn take(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn month_name(&mut self) -> Option<u32> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = self.0.get(..3)?;
        let at = NAMES.chunks(3).position(|own| own.eq_ignore_ascii_case(name))?;
        self.0 = &self.0[3..];
        Some(at as u32 + 1)
    }

    /// A fraction of a second in microseconds; digits beyond them are cut off.
    fn fraction(&mut self) -> Option<i64> {
        if self.take(b".").is_none() {
            return Some(0);
        }
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let micros = digits.iter().chain(b"00000").take(6);
        Some(micros.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Seconds east of UTC; without a zone there are none.
    fn zone(&mut self) -> Option<i64> {
        let _ = self.take(b" ");
        match self.0 {
            [] => Some(0),
            b"Z" | b"z" | b"UTC" | b"GMT" => {
                self.0 = &[];
                Some(0)
            }
            [sign @ (b'+' | b'-'), ..] => {
                let sign = if *sign == b'-' { -1 } else { 1 };
                self.0 = &self.0[1..];
                let hours = self.digits(2, 2)?;
                let _ = self.take(b":");
                let minutes = if self.0.is_empty() { 0 } else { self.digits(2, 2)? };
                (hours <= 18 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
            }
            _ => None,
        }
    }
}

fn by_pattern(text: &str, parts: &[TimePart]) -> Option<i64> {
    let mut cursor = Cursor(text.as_bytes());
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
    let mut has_time = false;
    for part in parts {
        match part {
            TimePart::Literal(char) => cursor.literal(*char)?,
            TimePart::Year => year = cursor.digits(4, 4)?,
            TimePart::Month => month = cursor.digits(1, 2)?,
            TimePart::MonthName => month = cursor.month_name()?,
            TimePart::Day => day = cursor.digits(1, 2)?,
            TimePart::Hour => {
                hour = cursor.digits(1, 2)?;
                has_time = true;
            }
            TimePart::Minute => minute = cursor.digits(1, 2)?,
            TimePart::Second => {
                second = cursor.digits(1, 2)?;
                micros = cursor.fraction()?;
            }
        }
    }
    let zone = if has_time && !cursor.0.is_empty() { cursor.zone()? } else { 0 };
    if !cursor.0.is_empty() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second) - zone;
    let day = days(i32::try_from(year).ok()?, month, day)?;
    in_range(day * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros)
}

/// `{"$date": "2020-08-28T03:52:47Z"}`, `{"$date": 1598586767000}`, `{"$date": {"$numberLong": "1598586767000"}}`.
fn mongo_date(json: &str) -> Option<i64> {
    use TimePart::{Day, Hour, Literal, Minute, Month, Second, Year};
    const ISO: [TimePart; 11] = [
        Year,
        Literal('-'),
        Month,
        Literal('-'),
        Day,
        Literal('T'),
        Hour,
        Literal(':'),
        Minute,
        Literal(':'),
        Second,
    ];
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let date = object.get("$date")?;
    let millis = match date {
        serde_json::Value::String(text) => {
            return by_pattern(text, &ISO).or_else(|| by_pattern(&text.replacen(' ', "T", 1), &ISO));
        }
        serde_json::Value::Number(number) => number.as_i64()?,
        serde_json::Value::Object(wrapped) => wrapped.get("$numberLong")?.as_str()?.parse().ok()?,
        _ => return None,
    };
    in_range(millis.checked_mul(1000)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(texts: &[&str]) -> Vec<TimeFormat> {
        texts.iter().map(|text| TimeFormat::parse(text).expect(text)).collect()
    }

    #[test]
    fn the_first_moment_and_the_last() {
        assert_eq!((days(1, 1, 1), days(9999, 12, 31)), (Some(FIRST_DAY), Some(LAST_DAY)));
        let all = formats(&["%Y-%m-%dT%H:%M:%S"]);
        let last = (LAST_DAY + 1) * MICROS_PER_DAY - 1;
        for (text, micros) in [
            ("0001-01-01T00:00:00Z", Some(FIRST_DAY * MICROS_PER_DAY)),
            ("0001-01-01T00:00:00+01:00", None),
            ("9999-12-31T23:59:59.999999Z", Some(last)),
            ("9999-12-31T23:59:59-01:00", None),
        ] {
            assert_eq!(parse(Written::Text(text), &all), micros, "{text}");
        }
    }

    #[test]
    fn written_forms() {
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
            assert_eq!(parse(Written::Text(text), &all), micros, "{text}");
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
            assert_eq!(parse(Written::Nested(json), &all), micros, "{json}");
        }
        assert_eq!(parse(Written::Number("1598586767"), &all), None);
        assert_eq!(parse(Written::Number("1598586767.25"), &formats(&["unix_seconds"])), Some(at + 250_000));
        assert_eq!(parse(Written::Text("1598586767000"), &formats(&["unix_millis"])), Some(at));
        assert_eq!(parse(Written::Number("99999999999999999"), &formats(&["unix_millis"])), None);
    }
}
