//! Parses conditions on records: `{ op = "d" }`.

use super::toml_tree::{Diagnostics, Section};
use crate::declaration::FieldRule;
use crate::field_path::FieldPath;

/// The most conditions.
const MAX_RULES: usize = 16;

/// The conditions of `key`: fields or paths, each with the text of its value. `example` is a value of the key.
pub(super) fn parse_rules(
    section: &Section<'_>,
    key: &str,
    example: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<FieldRule> {
    let example = format!("write {key} = {example}");
    let Some(rules) = section.section(key, diagnostics) else { return Vec::new() };
    let mut found = Vec::new();
    for (field, item) in rules.entries() {
        if let Err(why) = FieldPath::parse(field) {
            diagnostics.add(item.span(), format!("`{field}` is not a field: {why}"), example.as_str());
        }
        match item.as_text() {
            Some(value) => found.push(FieldRule { field: field.to_owned(), value }),
            None => diagnostics.add(
                item.span(),
                format!(
                    "`{field}` is compared with {}, and has to be compared with one value",
                    item.describe()
                ),
                example.as_str(),
            ),
        }
    }
    if found.is_empty() || found.len() > MAX_RULES {
        diagnostics.add(
            rules.span.clone(),
            format!("`{key}` has {} conditions, and has 1 to {MAX_RULES}", found.len()),
            example.as_str(),
        );
    }
    found
}
