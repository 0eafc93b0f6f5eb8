//! Where the records are inside a JSON document: `Records[]`, `resourceLogs[].scopeLogs[].logRecords[]`.

use crate::field_path::{FieldPath, MAX_STEPS};

/// What stands for each element of an array.
const ELEMENTS: &str = "[]";

/// A path to records.
///
/// ```
/// use pinlake_schema::records_path::{RecordsPath, RecordsStep};
///
/// let path = RecordsPath::parse("data.items[]")?;
/// let member = |name: &str| RecordsStep::Member(name.to_owned());
/// assert_eq!(path.steps(), [member("data"), member("items"), RecordsStep::Elements]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsPath {
    text: String,
    steps: Vec<RecordsStep>,
}

/// One step of a path to records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordsStep {
    /// Leads into a member of an object.
    Member(String),
    /// Leads into each element of an array.
    Elements,
}

impl RecordsPath {
    /// Parses a path as of a field, in which `[]` follows what is an array. It need not follow the last step. Notations of other languages,
    /// such as `$.Records[*]`, would be names that no document has, and are refused.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(text: &str) -> Result<RecordsPath, String> {
        if let Some(foreign) = find_foreign_notation(text) {
            return Err(foreign.to_owned());
        }
        let mut steps = Vec::new();
        let mut parts = text.split(ELEMENTS).peekable();
        let mut is_first = true;
        while let Some(part) = parts.next() {
            let names = match part.strip_prefix('.') {
                Some(names) if !is_first => names,
                None if is_first || part.is_empty() => part,
                _ => return Err("a dot follows `[]`".to_owned()),
            };
            if !names.is_empty() {
                for step in FieldPath::parse(names)?.steps {
                    if step.selector.is_some() {
                        return Err("a path to records has no selector such as [key=name]".to_owned());
                    }
                    steps.push(RecordsStep::Member(step.name));
                }
            }
            if parts.peek().is_some() {
                steps.push(RecordsStep::Elements);
            }
            is_first = false;
        }
        // An array at its end has the records.
        if steps.last().is_some_and(|last| *last != RecordsStep::Elements) {
            steps.push(RecordsStep::Elements);
        }
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(format!("a path to records has 1 to {MAX_STEPS} steps"));
        }
        Ok(RecordsPath { text: text.to_owned(), steps })
    }

    /// The path that a text in the notation of another language means, if that can be told: `Records[]` for `$.Records[*]`.
    pub fn suggest(text: &str) -> Option<String> {
        let path = text.trim().trim_start_matches(['$', '@', '.', '/']).trim_end_matches(['.', '/']);
        let mut suggestion = String::new();
        let mut rest = path.replace('/', ".");
        while let Some((before, selector)) = rest.split_once('[') {
            let (inside, after) = selector.split_once(']')?;
            let inside = inside.trim();
            suggestion.push_str(before);
            match inside.trim_matches(['\'', '"']) {
                "" | "*" => suggestion.push_str("[]"),
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => suggestion.push_str("[]"),
                // A name in brackets.
                name if name.len() < inside.len() => {
                    suggestion.push_str(if suggestion.is_empty() { "" } else { "." });
                    suggestion.push_str(&name.replace('.', "\\."));
                }
                _ => return None,
            }
            rest = after.to_owned();
        }
        suggestion.push_str(&rest);
        let suggestion = suggestion.replace(".*", "[]").replace(".[]", "[]");
        RecordsPath::parse(&suggestion).is_ok().then_some(suggestion)
    }

    /// The path as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its steps: at least one. The last one is [`RecordsStep::Elements`].
    pub fn steps(&self) -> &[RecordsStep] {
        &self.steps
    }
}

/// Why a text is no path, if it is written as in JSONPath, JSON Pointer or jq.
fn find_foreign_notation(text: &str) -> Option<&'static str> {
    // A character behind a backslash is meant as it is.
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => plain.extend(chars.next().map(|_| 'x')),
            other => plain.push(other),
        }
    }
    let has_selector =
        plain.split('[').skip(1).any(|selector| !selector.starts_with(']') && !selector.contains('='));
    let first = plain.split(['.', '[']).next().unwrap_or_default();
    let steps = || plain.split(['.', '[', ']']);
    if first == "$" || first == "@" {
        Some("it begins at the document, without a sign for it such as `$`")
    } else if plain.starts_with(['.', '/']) {
        Some("it begins with a name or `[]`")
    } else if has_selector {
        Some("`[]` stands for each element of an array, and there is nothing between the brackets")
    } else if steps().any(|step| step == "*") {
        Some("`[]`, and not `*`, stands for each element of an array")
    } else if plain.ends_with('.') || plain.contains("..") {
        Some("a name is missing beside a dot")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_records_are_parsed() {
        let parsed = |text: &str| {
            RecordsPath::parse(text).map(|path| {
                let step = |step: &RecordsStep| match step {
                    RecordsStep::Member(name) => name.clone(),
                    RecordsStep::Elements => "*".to_owned(),
                };
                path.steps().iter().map(step).collect::<Vec<_>>().join(" ")
            })
        };
        for (text, steps) in [
            ("Records[]", "Records *"),
            ("Records", "Records *"),
            ("a.b", "a b *"),
            ("a[].b.c[]", "a * b c *"),
            ("[]", "*"),
            ("[].items[]", "* items *"),
            (r"a\.b[]", "a.b *"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(steps), "{text}");
        }
        for (text, says) in
            [("", "1 to 32"), ("a[]b", "a dot"), ("a[k=v].b[]", "no selector"), ("a[k=", "does not end")]
        {
            assert!(parsed(text).is_err_and(|why| why.contains(says)), "{text}");
        }
        for (text, meant) in [
            ("$.Records[]", Some("Records[]")),
            ("$", None),
            ("[*]", Some("[]")),
            ("$[*]", Some("[]")),
            ("$[*].items[*]", Some("[].items[]")),
            ("Records[*]", Some("Records[]")),
            ("Records[0].x", Some("Records[].x")),
            ("$['Records'][*]", Some("Records[]")),
            ("$.a['b.c'][*]", Some(r"a.b\.c[]")),
            ("@.Records", Some("Records")),
            (".Records[]", Some("Records[]")),
            (".[]", Some("[]")),
            (".[].items", Some("[].items")),
            ("/data/items", Some("data.items")),
            ("Records.*", Some("Records[]")),
            ("$..items", Some("items")),
            ("a..items", None),
            ("data.", Some("data")),
            ("Records[1:]", None),
            ("Records[?(@.x)]", None),
        ] {
            assert!(parsed(text).is_err(), "{text}");
            assert_eq!(RecordsPath::suggest(text).as_deref(), meant, "{text}");
        }
        // Names of their own.
        for (text, step) in [(r"a\[0\]", "a[0] *"), ("$schema.x", "$schema x *"), (r"No\.", "No. *")] {
            assert_eq!(parsed(text).as_deref(), Ok(step), "{text}");
        }
        assert!(parsed(&"a.".repeat(40)).is_err() || parsed(&format!("{}a", "a.".repeat(40))).is_err());
    }
}
