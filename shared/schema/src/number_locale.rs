//! How numbers are written in a language.

/// The signs in the text of a number.
///
/// ```
/// use pinlake_schema::NumberLocale;
///
/// assert_eq!(NumberLocale::parse("de").map(NumberLocale::decimal_sign), Some(','));
/// assert_eq!(NumberLocale::parse("tlh"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberLocale {
    /// `1,234,567.89`
    English,
    /// `1.234.567,89`
    German,
    /// `1 234 567,89`; the space may be one that does not break.
    French,
    /// `1'234'567.89`; the apostrophe may be typographic.
    Swiss,
    /// `12,34,567.89`
    Indian,
}

impl NumberLocale {
    /// The names in contracts. Of those with one meaning the first is the usual one.
    pub(crate) const NAMES: [(&str, NumberLocale); 16] = [
        ("en", NumberLocale::English),
        ("de", NumberLocale::German),
        ("fr", NumberLocale::French),
        ("de-CH", NumberLocale::Swiss),
        ("en-IN", NumberLocale::Indian),
        ("da", NumberLocale::German),
        ("es", NumberLocale::German),
        ("id", NumberLocale::German),
        ("it", NumberLocale::German),
        ("nl", NumberLocale::German),
        ("pt", NumberLocale::German),
        ("tr", NumberLocale::German),
        ("cs", NumberLocale::French),
        ("pl", NumberLocale::French),
        ("ru", NumberLocale::French),
        ("sv", NumberLocale::French),
    ];

    /// The locale of a name in contracts.
    pub fn parse(name: &str) -> Option<NumberLocale> {
        Self::NAMES.into_iter().find(|(own, _)| *own == name).map(|(_, locale)| locale)
    }

    /// The first name in contracts that has this meaning.
    pub fn as_str(self) -> &'static str {
        match self {
            NumberLocale::English => "en",
            NumberLocale::German => "de",
            NumberLocale::French => "fr",
            NumberLocale::Swiss => "de-CH",
            NumberLocale::Indian => "en-IN",
        }
    }

    /// The sign before the fraction.
    pub fn decimal_sign(self) -> char {
        match self {
            NumberLocale::English | NumberLocale::Swiss | NumberLocale::Indian => '.',
            NumberLocale::German | NumberLocale::French => ',',
        }
    }

    /// The signs between groups of digits. A number has only one of them.
    pub fn group_signs(self) -> &'static [char] {
        match self {
            NumberLocale::English | NumberLocale::Indian => &[','],
            NumberLocale::German => &['.'],
            NumberLocale::French => &[' ', '\u{a0}', '\u{202f}'],
            NumberLocale::Swiss => &['\'', '\u{2019}'],
        }
    }

    /// The number of digits in the groups between the first and the last. The last group has three, the first at most as many.
    pub fn group_digits(self) -> usize {
        if self == NumberLocale::Indian { 2 } else { 3 }
    }
}
