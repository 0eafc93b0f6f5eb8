//! Estimates the width of text without a font.

/// The width of text in pixels, for common sans-serif fonts; rather too wide than too narrow.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// The width of bold text.
pub(super) fn bold_width(text: &str, size: f64) -> f64 {
    width(text, size) * 1.15
}

/// The part of the size by which a letter advances.
fn advance(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.3,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | ' ' | '-' | '"' => 0.38,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '&' => 0.88,
        'A'..='Z' => 0.68,
        '\u{1100}'.. => 1.05,
        '0'..='9' => 0.64,
        _ => 0.61,
    }
}

/// Shortens text to a width, with an ellipsis.
pub(super) fn fit(text: &str, size: f64, max: f64) -> String {
    if width(text, size) <= max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = max / size - advance('…');
    for letter in text.chars() {
        left -= advance(letter);
        if left < 0.0 {
            break;
        }
        kept.push(letter);
    }
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shortened_to_its_place() {
        assert_eq!(fit("Peru", 12.0, 100.0), "Peru");
        let short = fit("The Democratic Republic of the Congo", 12.0, 80.0);
        assert!(short.ends_with('…') && width(&short, 12.0) <= 80.0, "{short}");
        assert_eq!(fit("東京都新宿区", 12.0, 30.0), "東…");
        assert_eq!(fit("abc", 12.0, 0.0), "…");
    }
}
