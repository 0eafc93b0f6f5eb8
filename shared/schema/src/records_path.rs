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
    /// Parses a path as of a field, in which `[]` follows what is an array. It need not follow the last step.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(text: &str) -> Result<RecordsPath, String> {
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

    /// The path as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its steps: at least one. The last one is [`RecordsStep::Elements`].
    pub fn steps(&self) -> &[RecordsStep] {
        &self.steps
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
        assert!(parsed(&"a.".repeat(40)).is_err() || parsed(&format!("{}a", "a.".repeat(40))).is_err());
    }
}
