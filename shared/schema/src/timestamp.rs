//! The formats of dates and times in contracts.

/// A format of dates or times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// A pattern such as `%m/%d/%Y, %H:%M:%S`. A fraction may follow the seconds, and a zone the time (`Z`, `+01:00`, `+0100`, `+01`). Without
    /// a zone the time is UTC.
    Pattern {
        /// The pattern in the contract.
        text: String,
        /// The parsed pattern.
        parts: Vec<TimePart>,
    },
    /// `{"$date": ...}` of MongoDB's extended JSON: an ISO 8601 time, milliseconds, or `{"$numberLong": "..."}`.
    MongoDate,
    /// Seconds since 1970-01-01 UTC, as a number or a string.
    UnixSeconds,
    /// Milliseconds since 1970-01-01 UTC, as a number or a string.
    UnixMillis,
    /// Microseconds since 1970-01-01 UTC, as a number or a string.
    UnixMicros,
    /// Nanoseconds since 1970-01-01 UTC, as a number or a string.
    UnixNanos,
    /// Days since 1970-01-01, as an integer or a string.
    UnixDays,
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePart {
    /// The character itself.
    Literal(char),
    /// A `-` or `/` of a date that begins with year and month in numbers: `-`, `/`, `:` or `.`. The order of year, month and day is the same
    /// with all of them.
    DateSeparator,
    /// `%Y`: four digits.
    Year,
    /// `%m`: one or two digits.
    Month,
    /// `%y`: two digits; 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068 (POSIX `strptime`).
    YearOfCentury,
    /// `%b`: an English month name of three letters.
    MonthName,
    /// `%B`: an English month name in full.
    FullMonthName,
    /// `%a`: an English day of the week, of three letters or in full. It is not compared with the date.
    Weekday,
    /// `%d`: one or two digits.
    Day,
    /// `%H`: one or two digits, 0 to 23.
    Hour,
    /// `%I`: one or two digits, 1 to 12.
    Hour12,
    /// `%p`: AM or PM.
    HalfDay,
    /// `%M`: one or two digits.
    Minute,
    /// `%S`: one or two digits, and an optional fraction.
    Second,
    /// `%z`: a zone, as it may follow a time.
    Zone,
}

/// The formats that are not patterns.
pub(crate) const WORDS: [&str; 6] =
    ["$date", "unix_seconds", "unix_millis", "unix_micros", "unix_nanos", "unix_days"];

impl TimeFormat {
    /// Parses a format of a contract.
    ///
    /// # Errors
    /// A message that says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<TimeFormat, String> {
        match text {
            "$date" => return Ok(TimeFormat::MongoDate),
            "unix_seconds" => return Ok(TimeFormat::UnixSeconds),
            "unix_millis" => return Ok(TimeFormat::UnixMillis),
            "unix_micros" => return Ok(TimeFormat::UnixMicros),
            "unix_nanos" => return Ok(TimeFormat::UnixNanos),
            "unix_days" => return Ok(TimeFormat::UnixDays),
            _ => {}
        }
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '%' => match chars.next() {
                    Some('Y') => TimePart::Year,
                    Some('y') => TimePart::YearOfCentury,
                    Some('B') => TimePart::FullMonthName,
                    Some('a' | 'A') => TimePart::Weekday,
                    Some('I') => TimePart::Hour12,
                    Some('p') => TimePart::HalfDay,
                    Some('z' | 'Z') => TimePart::Zone,
                    // %S reads the fraction, and the point before it.
                    Some('f') if ends_in_fraction_point(&parts) => {
                        parts.pop();
                        continue;
                    }
                    Some('m') => TimePart::Month,
                    Some('b') => TimePart::MonthName,
                    Some('d') => TimePart::Day,
                    Some('H') => TimePart::Hour,
                    Some('M') => TimePart::Minute,
                    Some('S') => TimePart::Second,
                    Some('%') => TimePart::Literal('%'),
                    Some(other) => {
                        return Err(format!(
                            "`%{other}` is not known: use %Y %y %m %b %B %d %a %H %I %p %M %S %z or %%, and %f only in \
                             `%S.%f`"
                        ));
                    }
                    None => return Err("ends in a lone `%`: write `%%` for the sign itself".into()),
                },
                other => TimePart::Literal(other),
            });
        }
        mark_date_separators(&mut parts);
        let has = |part: TimePart| parts.contains(&part);
        let has_year = has(TimePart::Year) != has(TimePart::YearOfCentury);
        let months = [TimePart::Month, TimePart::MonthName, TimePart::FullMonthName].map(has);
        if !(has_year && has(TimePart::Day) && months.into_iter().filter(|has| *has).count() == 1) {
            return Err(format!(
                "a date needs %Y (or %y), %m (or %b, %B) and %d; formats that are not patterns are {}",
                WORDS.map(|word| format!("`{word}`")).join(", ")
            ));
        }
        if has(TimePart::Hour12) != has(TimePart::HalfDay) || has(TimePart::Hour12) && has(TimePart::Hour) {
            return Err("%I and %p belong together, and exclude %H".into());
        }
        let mut seen: Vec<TimePart> = Vec::new();
        let is_sign = |part: &&TimePart| matches!(part, TimePart::Literal(_) | TimePart::DateSeparator);
        for part in parts.iter().filter(|part| !is_sign(part)) {
            if seen.contains(part) {
                return Err("names the same part of a date twice".into());
            }
            seen.push(*part);
        }
        Ok(TimeFormat::Pattern { text: text.to_owned(), parts })
    }

    /// The format as it appears in a contract.
    pub fn as_str(&self) -> &str {
        match self {
            TimeFormat::Pattern { text, .. } => text,
            TimeFormat::MongoDate => "$date",
            TimeFormat::UnixSeconds => "unix_seconds",
            TimeFormat::UnixMillis => "unix_millis",
            TimeFormat::UnixMicros => "unix_micros",
            TimeFormat::UnixNanos => "unix_nanos",
            TimeFormat::UnixDays => "unix_days",
        }
    }
}

fn mark_date_separators(parts: &mut [TimePart]) {
    use TimePart::{Day, Literal, Month, Year};
    if let [Year, Literal(first), Month, Literal(second), Day, ..] = *parts {
        for (at, char) in [(1, first), (3, second)] {
            if matches!(char, '-' | '/') {
                parts[at] = TimePart::DateSeparator;
            }
        }
    }
}

fn ends_in_fraction_point(parts: &[TimePart]) -> bool {
    matches!(parts, [.., TimePart::Second, TimePart::Literal('.' | ',')])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_checked() {
        assert!(TimeFormat::parse("%Y-%m-%d %H:%M:%S").is_ok());
        assert_eq!(TimeFormat::parse("$date"), Ok(TimeFormat::MongoDate));
        for text in
            ["%Y-%m-%d %H:%M:%S.%f", "%a, %d %b %y %I:%M:%S %p %z", "%B %d, %Y", "unix_micros", "unix_days"]
        {
            assert_eq!(TimeFormat::parse(text).expect(text).as_str(), text);
        }
        for (text, says) in [
            ("%Y-%m-%D", "`%D` is not known"),
            ("%H:%M", "needs %Y"),
            ("%Y-%m-%d %", "lone"),
            ("%Y %Y %m %d", "twice"),
            ("%Y %y %m %d", "needs %Y"),
            ("%Y %m %b %d", "needs %Y"),
            ("%Y-%m-%d %I:%M", "belong together"),
            ("%Y-%m-%d %H %I %p", "exclude"),
            ("%Y-%m-%d %f", "only in"),
            ("iso8601", "unix_millis"),
        ] {
            let error = TimeFormat::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
