//! Suggestions for misspelled words.

/// The candidate that `word` is most likely a misspelling of, if any is similar enough.
pub(super) fn find_similar<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = (length / 3).clamp(1, 3);
    candidates
        .iter()
        // The distance is at least the difference in length. A word can be as long as its file.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (strsim::osa_distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Formats names for a message: `a`, `b`, `c`.
pub(super) fn format_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_words_are_found() {
        assert_eq!(find_similar("int46", &["int64", "int32", "string"]), Some("int64"));
        assert_eq!(find_similar("requierd", &["required", "name"]), Some("required"));
        assert_eq!(find_similar("colour", &["required", "name"]), None);
    }
}
