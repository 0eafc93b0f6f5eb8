//! A TOML file as a tree of values that know where they stand, and the mistakes found on the way through it.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::suggest::{list, nearest};
use crate::mistake::ContractError;

/// The largest contract file. Some checks compare everything in a file with everything else.
const MAX_FILE_BYTES: usize = 256 << 10;

/// The most mistakes of one file that are told at once: more than anybody reads.
const MAX_MISTAKES: usize = 1000;

/// A value and its place in the file, in bytes.
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The mistakes of one file.
pub(super) struct Diagnostics<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) found: Vec<ContractError>,
}

impl<'a> Diagnostics<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Diagnostics<'a> {
        Diagnostics { file, text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, span: Range<usize>, problem: impl Into<String>, help: impl Into<String>) {
        if self.found.len() < MAX_MISTAKES {
            self.found.push(ContractError::at(self.file, self.text, span, problem, help));
        }
    }

    /// The file as a tree; none when it is not TOML, which is then the only kind of mistake reported.
    pub(super) fn document(&mut self) -> Option<Section<'a>> {
        if self.text.len() > MAX_FILE_BYTES {
            self.add(
                0..0,
                format!("the file has {} bytes, and a contract at most {MAX_FILE_BYTES}", self.text.len()),
                "name a contract; or divide the dataset, if it really is one",
            );
            return None;
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let message = error.message().replace('\n', " ");
            self.add(
                error.span().unwrap_or(0..0),
                message,
                "mend the TOML; other mistakes of this file are looked for after that",
            );
        }
        if !errors.is_empty() {
            return None;
        }
        let table = table.into_inner();
        // What is missing in the file is shown at its first key.
        let span = table.keys().map(toml::Spanned::span).min_by_key(|span| span.start).unwrap_or(0..0);
        Some(Section { table, span })
    }
}

/// One table of the file.
pub(super) struct Section<'t> {
    table: DeTable<'t>,
    pub(super) span: Range<usize>,
}

/// One value of the file.
pub(super) struct Item<'t>(&'t toml::Spanned<DeValue<'t>>);

impl Item<'_> {
    pub(super) fn span(&self) -> Range<usize> {
        self.0.span()
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        self.0.get_ref().as_str()
    }

    pub(super) fn is_list(&self) -> bool {
        self.0.get_ref().is_array()
    }

    pub(super) fn shown(&self) -> String {
        shown(self.0.get_ref())
    }
}

/// What stands there, for a message.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("`{text}`"),
        DeValue::Integer(number) => format!("{number}"),
        DeValue::Float(number) => format!("{number}"),
        DeValue::Boolean(flag) => format!("{flag}"),
        DeValue::Datetime(time) => format!("{time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

impl<'t> Section<'t> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn get(&self, key: &str) -> Option<Item<'_>> {
        self.table.get(key).map(Item)
    }

    pub(super) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Refuses every key that is not one of these.
    pub(super) fn only(&self, known: &[&str], mistakes: &mut Diagnostics<'_>) {
        for (key, _) in self.table.iter() {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                let help = match nearest(word, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("keys here are {}", list(known)),
                };
                mistakes.add(key.span(), format!("unknown key `{word}`"), help);
            }
        }
    }

    pub(super) fn string(&self, key: &str, mistakes: &mut Diagnostics<'_>) -> Option<Spanned<String>> {
        let item = self.table.get(key)?;
        match item.get_ref() {
            DeValue::String(text) => Some(Spanned { value: text.clone().into_owned(), span: item.span() }),
            other => {
                mistakes.add(
                    item.span(),
                    format!("`{key}` is {}, and has to be text", shown(other)),
                    format!("write {key} = \"...\""),
                );
                None
            }
        }
    }

    pub(super) fn required_string(
        &self,
        key: &str,
        example: &str,
        mistakes: &mut Diagnostics<'_>,
    ) -> Option<Spanned<String>> {
        self.expect_key(key, example, mistakes);
        self.string(key, mistakes)
    }

    pub(super) fn required_integer(
        &self,
        key: &str,
        example: &str,
        mistakes: &mut Diagnostics<'_>,
    ) -> Option<Spanned<i64>> {
        self.expect_key(key, example, mistakes);
        let item = self.table.get(key)?;
        let value = match item.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if value.is_none() {
            mistakes.add(
                item.span(),
                format!("`{key}` is {}, and has to be a whole number", shown(item.get_ref())),
                format!("write {example}"),
            );
        }
        value.map(|value| Spanned { value, span: item.span() })
    }

    fn expect_key(&self, key: &str, example: &str, mistakes: &mut Diagnostics<'_>) {
        if !self.has(key) {
            mistakes.add(
                self.span.clone(),
                format!("`{key}` is missing"),
                format!("add a line such as {example}"),
            );
        }
    }

    pub(super) fn boolean(&self, key: &str, mistakes: &mut Diagnostics<'_>) -> Option<bool> {
        let item = self.table.get(key)?;
        let value = item.get_ref().as_bool();
        if value.is_none() {
            mistakes.add(
                item.span(),
                format!("`{key}` is {}, and has to be true or false", shown(item.get_ref())),
                format!("write {key} = true"),
            );
        }
        value
    }

    /// A list of texts; a single text is a list of one. An empty list, an empty text or a repeated one is refused.
    pub(super) fn strings(&self, key: &str, mistakes: &mut Diagnostics<'_>) -> Vec<Spanned<String>> {
        let Some(item) = self.table.get(key) else {
            return Vec::new();
        };
        // An empty text is a value that may well mean "not known".
        text_list(item, key, key == "null", mistakes)
    }

    /// A list whose items are texts or lists of texts.
    pub(super) fn string_lists(
        &self,
        key: &str,
        mistakes: &mut Diagnostics<'_>,
    ) -> Vec<Vec<Spanned<String>>> {
        let Some(item) = self.table.get(key) else {
            return Vec::new();
        };
        match item.get_ref() {
            DeValue::Array(items) if !items.is_empty() => {
                items.iter().map(|item| text_list(item, key, false, mistakes)).collect()
            }
            other => {
                mistakes.add(
                    item.span(),
                    format!(
                        "`{key}` is {}, and has to be a list of fields",
                        if other.is_array() { "empty".to_owned() } else { shown(other) }
                    ),
                    format!("write {key} = [\"first\", \"second\"]"),
                );
                Vec::new()
            }
        }
    }

    pub(super) fn section(&self, key: &str, mistakes: &mut Diagnostics<'_>) -> Option<Section<'t>> {
        let (name, item) = self.table.get_key_value(key)?;
        match item.get_ref() {
            DeValue::Table(table) => Some(Section { table: table.clone(), span: name.span() }),
            other => {
                mistakes.add(
                    name.span(),
                    format!("`{key}` is {}, and has to be a table", shown(other)),
                    format!("write [{key}] on a line of its own, its keys below"),
                );
                None
            }
        }
    }

    pub(super) fn sections(&self, key: &str, mistakes: &mut Diagnostics<'_>) -> Vec<Section<'t>> {
        let Some((name, item)) = self.table.get_key_value(key) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        let items = item.get_ref().as_array();
        for item in items.into_iter().flat_map(|items| items.iter()) {
            if let DeValue::Table(table) = item.get_ref() {
                sections.push(Section { table: table.clone(), span: item.span() });
            }
        }
        if sections.is_empty() || items.is_some_and(|items| items.len() != sections.len()) {
            mistakes.add(
                name.span(),
                format!("`{key}` is {}, and has to be a list of tables", shown(item.get_ref())),
                format!("write [[{key}]] above each one"),
            );
        }
        sections
    }
}

fn text_list(
    item: &toml::Spanned<DeValue<'_>>,
    key: &str,
    empty_text: bool,
    mistakes: &mut Diagnostics<'_>,
) -> Vec<Spanned<String>> {
    let items: Vec<&toml::Spanned<DeValue<'_>>> = match item.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![item],
    };
    if items.is_empty() {
        mistakes.add(
            item.span(),
            format!("`{key}` is empty"),
            format!("name something in it, or leave `{key}` out"),
        );
    }
    let mut texts: Vec<Spanned<String>> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for item in items {
        match item.get_ref() {
            DeValue::String(text) if text.is_empty() && !empty_text => {
                mistakes.add(item.span(), format!("`{key}` has an empty text in it"), "remove it");
            }
            DeValue::String(text) if !seen.insert(text.as_ref()) => {
                mistakes.add(item.span(), format!("`{key}` has `{text}` in it twice"), "remove one of them");
            }
            DeValue::String(text) => {
                texts.push(Spanned { value: text.clone().into_owned(), span: item.span() });
            }
            other => {
                mistakes.add(
                    item.span(),
                    format!("`{key}` has {} in it, and takes texts only", shown(other)),
                    format!("write {key} = [\"...\", \"...\"]"),
                );
            }
        }
    }
    texts
}
