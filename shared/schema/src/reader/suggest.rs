//! "Did you mean ...?"

/// The candidate that `word` is most likely a slip of, if it is near enough to be one.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = (length / 3).clamp(1, 3);
    candidates
        .iter()
        // The distance is at least the difference in length; a word may be as long as its file.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (strsim::osa_distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Names for a message: `a`, `b`, `c`.
pub(super) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        assert_eq!(nearest("int46", &["int64", "int32", "string"]), Some("int64"));
        assert_eq!(nearest("requierd", &["required", "name"]), Some("required"));
        assert_eq!(nearest("colour", &["required", "name"]), None);
    }
}
