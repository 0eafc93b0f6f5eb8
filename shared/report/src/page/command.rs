//! Commands that readers copy.

use maud::{Markup, html};

use crate::format::show_controls;

/// Renders a command. `page.js` adds a button that copies it.
pub(super) fn render(words: &[&str]) -> Markup {
    html! {
        p.command {
            code {
                // A line breaks between words only: it may not end with the hyphen of an option.
                @for (index, word) in words.iter().enumerate() {
                    @if index > 0 { " " }
                    span { (show_controls(&quote(word))) }
                }
            }
        }
    }
}

/// Quotes a word for a POSIX shell, if it needs quotes.
fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them() {
        let words = ["pinlake", "--lake", "s3://a/b", "a b", "$(rm -rf ~)", "it's", "", "é"];
        assert_eq!(
            words.map(quote).join(" "),
            r"pinlake --lake s3://a/b 'a b' '$(rm -rf ~)' 'it'\''s' '' 'é'"
        );
        assert!(render(&["<b>"]).into_string().contains("'&lt;b&gt;'"));
    }
}
