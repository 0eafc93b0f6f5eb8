//! Paths to fields inside nested objects: `after.order_id`, `event_params[key=session].value.int_value`.

/// The most steps of a path. A record may nest deeper.
pub const MAX_STEPS: usize = 32;

/// Where a value is in a record.
///
/// ```
/// use pinlake_schema::field_path::FieldPath;
///
/// let path = FieldPath::parse("params[key=session].value")?;
/// assert_eq!((path.steps.len(), path.steps[0].name.as_str()), (2, "params"));
/// // Not a path, but the name of a field.
/// assert_eq!(FieldPath::parse("No.")?.name(), Some("No."));
/// assert_eq!(FieldPath::parse(r"user\.name")?.name(), Some("user.name"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    /// At least one.
    pub steps: Vec<PathStep>,
}

/// One step of a path: a member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStep {
    /// The name of the member.
    pub name: String,
    /// Which element to take if the member is an array.
    pub selector: Option<Selector>,
}

/// Selects the first object of an array in which a member has a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The name of the member.
    pub member: String,
    /// Its text.
    pub value: String,
}

impl FieldPath {
    /// Parses a path. A text that is not one, such as `No.` or `Temp [C]`, is the name of a field.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(text: &str) -> Result<FieldPath, String> {
        let mut steps = Vec::new();
        let mut chars = text.chars().peekable();
        let mut step = PathStep { name: String::new(), selector: None };
        while let Some(char) = chars.next() {
            match char {
                '\\' => step.name.push(chars.next_if(|next| is_special(*next)).unwrap_or('\\')),
                '.' => steps.push(std::mem::replace(&mut step, PathStep::new())),
                '[' if chars.clone().find(|char| matches!(char, '=' | ']')) == Some('=') => {
                    step.selector = Some(parse_selector(&mut chars)?);
                    match chars.next() {
                        Some('.') => steps.push(std::mem::replace(&mut step, PathStep::new())),
                        Some(_) => return Err("a dot follows a selector such as [key=name]".to_owned()),
                        None => {
                            steps.push(step);
                            return FieldPath::of_steps(text, steps);
                        }
                    }
                }
                other => step.name.push(other),
            }
        }
        steps.push(step);
        FieldPath::of_steps(text, steps)
    }

    fn of_steps(text: &str, steps: Vec<PathStep>) -> Result<FieldPath, String> {
        if steps.iter().any(|step| step.name.is_empty()) {
            return Ok(FieldPath { steps: vec![PathStep { name: text.to_owned(), selector: None }] });
        }
        if steps.len() > MAX_STEPS {
            return Err(format!("a path has at most {MAX_STEPS} steps"));
        }
        Ok(FieldPath { steps })
    }

    /// The names of the fields at the top level that `text` reads: of a path its first step, and also its whole text, because a field of that
    /// name takes precedence.
    pub fn top_level_names(text: &str) -> Vec<String> {
        match FieldPath::parse(text) {
            Ok(path) if path.name().is_some() => path.steps.into_iter().map(|step| step.name).collect(),
            Ok(path) => {
                let root = path.steps.into_iter().next().map(|step| step.name);
                std::iter::once(text.to_owned()).chain(root).collect()
            }
            Err(_) => vec![text.to_owned()],
        }
    }

    /// The name of the field, if the value is not nested.
    pub fn name(&self) -> Option<&str> {
        match &self.steps[..] {
            [PathStep { name, selector: None }] => Some(name),
            _ => None,
        }
    }
}

impl PathStep {
    fn new() -> PathStep {
        PathStep { name: String::new(), selector: None }
    }
}

fn is_special(char: char) -> bool {
    matches!(char, '.' | '[' | ']' | '=' | '\\')
}

/// Parses a selector whose bracket has been read.
fn parse_selector(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Selector, String> {
    let mut member = String::new();
    let mut value: Option<String> = None;
    while let Some(char) = chars.next() {
        let literal = match char {
            '\\' => chars.next_if(|next| is_special(*next)).unwrap_or('\\'),
            ']' => {
                return match value {
                    Some(value) if !member.is_empty() => Ok(Selector { member, value }),
                    _ => Err("a selector has a name and a value: [key=name]".to_owned()),
                };
            }
            '=' if value.is_none() => {
                value = Some(String::new());
                continue;
            }
            other => other,
        };
        value.as_mut().unwrap_or(&mut member).push(literal);
    }
    Err(r"`[` begins a selector such as [key=name], which does not end; write `\[` for the character"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_are_told_apart() {
        let step = |name: &str| PathStep { name: name.to_owned(), selector: None };
        for (text, names) in [
            ("a", &["a"][..]),
            ("after.id", &["after", "id"]),
            (r"a\.b", &["a.b"]),
            (r"a\.b.c\\d", &["a.b", r"c\d"]),
            (r"C:\temp", &[r"C:\temp"]),
            ("No.", &["No."]),
            (".hidden", &[".hidden"]),
            ("Price..EUR.", &["Price..EUR."]),
            ("Temp [C]", &["Temp [C]"]),
            ("a[0]", &["a[0]"]),
            ("p[k].a=b", &["p[k]", "a=b"]),
            (r"a\[b=c]", &["a[b=c]"]),
        ] {
            let steps = names.iter().map(|name| step(name)).collect();
            assert_eq!(FieldPath::parse(text), Ok(FieldPath { steps }), "{text}");
        }
        let selected = FieldPath::parse(r"a.p[k=x.y\]=].v").unwrap();
        assert_eq!(selected.steps[0], step("a"));
        let selector = Some(Selector { member: "k".to_owned(), value: "x.y]=".to_owned() });
        assert_eq!(selected.steps[1], PathStep { name: "p".to_owned(), selector });
        assert_eq!(selected.steps[2], step("v"));
        for (text, says) in [
            ("p[k=x", "does not end"),
            ("p[k=x]v", "a dot"),
            ("p[=x]", "a name"),
            (&"a.".repeat(32)[..], ""),
            (&format!("{}a", "a.".repeat(32)), "at most 32"),
        ] {
            match FieldPath::parse(text) {
                Err(error) => assert!(!says.is_empty() && error.contains(says), "{text}: {error}"),
                Ok(path) => assert!(says.is_empty(), "{text}: {path:?}"),
            }
        }
    }
}
