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
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePart {
    /// The character itself.
    Literal(char),
    /// `%Y`: four digits.
    Year,
    /// `%m`: one or two digits.
    Month,
    /// `%b`: an English month name of three letters.
    MonthName,
    /// `%d`: one or two digits.
    Day,
    /// `%H`: one or two digits, 0 to 23.
    Hour,
    /// `%M`: one or two digits.
    Minute,
    /// `%S`: one or two digits, and an optional fraction.
    Second,
}

/// The formats that are not patterns.
pub(crate) const WORDS: [&str; 3] = ["$date", "unix_seconds", "unix_millis"];

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
            _ => {}
        }
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '%' => match chars.next() {
                    Some('Y') => TimePart::Year,
                    Some('m') => TimePart::Month,
                    Some('b') => TimePart::MonthName,
                    Some('d') => TimePart::Day,
                    Some('H') => TimePart::Hour,
                    Some('M') => TimePart::Minute,
                    Some('S') => TimePart::Second,
                    Some('%') => TimePart::Literal('%'),
                    Some(other) => {
                        return Err(format!("`%{other}` is not known: use %Y %m %b %d %H %M %S or %%"));
                    }
                    None => return Err("ends in a lone `%`: write `%%` for the sign itself".into()),
                },
                other => TimePart::Literal(other),
            });
        }
        let has = |part: TimePart| parts.contains(&part);
        if !(has(TimePart::Year) && has(TimePart::Day) && (has(TimePart::Month) || has(TimePart::MonthName)))
        {
            return Err(format!(
                "a date needs %Y, %m (or %b) and %d; formats that are not patterns are {}",
                WORDS.map(|word| format!("`{word}`")).join(", ")
            ));
        }
        let mut seen: Vec<TimePart> = Vec::new();
        for part in parts.iter().filter(|part| !matches!(part, TimePart::Literal(_))) {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_checked() {
        assert!(TimeFormat::parse("%Y-%m-%d %H:%M:%S").is_ok());
        assert_eq!(TimeFormat::parse("$date"), Ok(TimeFormat::MongoDate));
        for (text, says) in [
            ("%Y-%m-%D", "`%D` is not known"),
            ("%H:%M", "needs %Y"),
            ("%Y-%m-%d %", "lone"),
            ("%Y %Y %m %d", "twice"),
            ("iso8601", "unix_millis"),
        ] {
            let error = TimeFormat::parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
