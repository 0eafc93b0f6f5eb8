//! A TOML file as a tree of values with positions, and the errors that are found in it.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::suggest::{find_similar, format_list};
use crate::contract_error::ContractError;

/// The largest contract file, in bytes. The time of some checks is quadratic.
pub(crate) const MAX_FILE_BYTES: usize = 256 << 10;

/// The most errors of one file that are reported.
const MAX_ERRORS: usize = 1000;

/// A value and its range of bytes in the file.
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// Collects the errors of one file.
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
        if self.found.len() < MAX_ERRORS {
            self.found.push(ContractError::at(self.file, self.text, span, problem, help));
        }
    }

    /// Like [`Self::add`], without the line of the file, which may contain a secret.
    pub(super) fn add_unquoted(
        &mut self,
        span: Range<usize>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.found.len() < MAX_ERRORS {
            let error = ContractError::at(self.file, self.text, span, problem, help);
            self.found.push(ContractError { excerpt: String::new(), ..error });
        }
    }

    /// Parses the file as TOML. If that fails, other errors are not looked for.
    pub(super) fn parse_document(&mut self) -> Option<Section<'a>> {
        if self.text.len() > MAX_FILE_BYTES {
            self.add(
                0..0,
                format!("the file has more than {MAX_FILE_BYTES} bytes, the most of a contract"),
                "check that the file is a contract",
            );
            return None;
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let message = error.message().replace('\n', " ");
            self.add(
                error.span().unwrap_or(0..0),
                message,
                "fix the TOML; other errors of this file are reported after that",
            );
        }
        if !errors.is_empty() {
            return None;
        }
        Some(Section::of_document(table.into_inner()))
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

    /// The text of a single value; a number or boolean as it is written in JSON.
    pub(super) fn as_text(&self) -> Option<String> {
        match self.0.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        self.0.get_ref().as_bool()
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        match self.0.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        }
    }

    /// A finite number. An integer is one too.
    pub(super) fn as_float(&self) -> Option<f64> {
        let number = match self.0.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok()?,
            _ => self.as_integer()? as f64,
        };
        number.is_finite().then_some(number)
    }

    /// The digits of a number, as they are written.
    pub(super) fn number_text(&self) -> Option<String> {
        match self.0.get_ref() {
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            _ => self.as_integer().map(|number| number.to_string()),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        self.0.get_ref().is_table()
    }

    pub(super) fn is_list(&self) -> bool {
        self.0.get_ref().is_array()
    }

    pub(super) fn describe(&self) -> String {
        describe(self.0.get_ref())
    }
}

/// Describes a value in a message.
fn describe(value: &DeValue<'_>) -> String {
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
    fn of_document(table: DeTable<'t>) -> Section<'t> {
        // Missing keys are reported at the first key of the file.
        let span = table.keys().map(toml::Spanned::span).min_by_key(|span| span.start).unwrap_or(0..0);
        Section { table, span }
    }

    /// What can be read of a file that is not TOML, or too large; `None` if that is nothing.
    pub(super) fn recover(text: &'t str) -> Option<Section<'t>> {
        let end = (0..=text.len().min(MAX_FILE_BYTES)).rev().find(|end| text.is_char_boundary(*end))?;
        let (table, _) = DeTable::parse_recoverable(&text[..end]);
        let table = table.into_inner();
        (!table.is_empty()).then(|| Section::of_document(table))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn get(&self, key: &str) -> Option<Item<'_>> {
        self.table.get(key).map(Item)
    }

    /// Its keys and values, in the order of the keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Item<'_>)> {
        self.table.iter().map(|(key, item)| (key.get_ref().as_ref(), Item(item)))
    }

    pub(super) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Reports every key that is not one of `known`.
    pub(super) fn reject_unknown_keys(&self, known: &[&str], diagnostics: &mut Diagnostics<'_>) {
        for (key, _) in self.table.iter() {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                let help = match find_similar(word, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("keys here are {}", format_list(known)),
                };
                diagnostics.add(key.span(), format!("unknown key `{word}`"), help);
            }
        }
    }

    pub(super) fn string(&self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Option<Spanned<String>> {
        let item = self.table.get(key)?;
        match item.get_ref() {
            DeValue::String(text) => Some(Spanned { value: text.clone().into_owned(), span: item.span() }),
            other => {
                diagnostics.add(
                    item.span(),
                    format!("`{key}` is {}, and has to be text", describe(other)),
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
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<Spanned<String>> {
        self.require_key(key, example, diagnostics);
        self.string(key, diagnostics)
    }

    pub(super) fn required_integer(
        &self,
        key: &str,
        example: &str,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Option<Spanned<i64>> {
        self.require_key(key, example, diagnostics);
        let item = self.table.get(key)?;
        let value = match item.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if value.is_none() {
            diagnostics.add(
                item.span(),
                format!("`{key}` is {}, and has to be a whole number", describe(item.get_ref())),
                format!("write {example}"),
            );
        }
        value.map(|value| Spanned { value, span: item.span() })
    }

    fn require_key(&self, key: &str, example: &str, diagnostics: &mut Diagnostics<'_>) {
        if !self.has(key) {
            diagnostics.add(
                self.span.clone(),
                format!("`{key}` is missing"),
                format!("add a line such as {example}"),
            );
        }
    }

    pub(super) fn boolean(&self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Option<bool> {
        let item = self.table.get(key)?;
        let value = item.get_ref().as_bool();
        if value.is_none() {
            diagnostics.add(
                item.span(),
                format!("`{key}` is {}, and has to be true or false", describe(item.get_ref())),
                format!("write {key} = true"),
            );
        }
        value
    }

    /// A list of texts; a single text is a list of one. Reports an empty list, an empty text and a repeated text.
    pub(super) fn strings(&self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Vec<Spanned<String>> {
        let Some(item) = self.table.get(key) else {
            return Vec::new();
        };
        // An empty text may mean null.
        text_list(item, key, key == "null", diagnostics)
    }

    /// A list of texts and lists of texts.
    pub(super) fn string_lists(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics<'_>,
    ) -> Vec<Vec<Spanned<String>>> {
        let Some(item) = self.table.get(key) else {
            return Vec::new();
        };
        match item.get_ref() {
            DeValue::Array(items) if !items.is_empty() => {
                items.iter().map(|item| text_list(item, key, false, diagnostics)).collect()
            }
            other => {
                diagnostics.add(
                    item.span(),
                    format!(
                        "`{key}` is {}, and has to be a list of fields",
                        if other.is_array() { "empty".to_owned() } else { describe(other) }
                    ),
                    format!("write {key} = [\"first\", \"second\"]"),
                );
                Vec::new()
            }
        }
    }

    pub(super) fn section(&self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Option<Section<'t>> {
        let (name, item) = self.table.get_key_value(key)?;
        match item.get_ref() {
            DeValue::Table(table) => Some(Section { table: table.clone(), span: name.span() }),
            other => {
                diagnostics.add(
                    name.span(),
                    format!("`{key}` is {}, and has to be a table", describe(other)),
                    format!("write [{key}] on a line of its own, its keys below"),
                );
                None
            }
        }
    }

    pub(super) fn sections(&self, key: &str, diagnostics: &mut Diagnostics<'_>) -> Vec<Section<'t>> {
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
            diagnostics.add(
                name.span(),
                format!("`{key}` is {}, and has to be a list of tables", describe(item.get_ref())),
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
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<Spanned<String>> {
    let items: Vec<&toml::Spanned<DeValue<'_>>> = match item.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![item],
    };
    if items.is_empty() {
        diagnostics.add(item.span(), format!("`{key}` is empty"), format!("add an item, or remove `{key}`"));
    }
    let mut texts: Vec<Spanned<String>> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for item in items {
        match item.get_ref() {
            DeValue::String(text) if text.is_empty() && !empty_text => {
                diagnostics.add(item.span(), format!("`{key}` has an empty text in it"), "remove it");
            }
            DeValue::String(text) if !seen.insert(text.as_ref()) => {
                diagnostics.add(
                    item.span(),
                    format!("`{key}` has `{text}` in it twice"),
                    "remove one of them",
                );
            }
            DeValue::String(text) => {
                texts.push(Spanned { value: text.clone().into_owned(), span: item.span() });
            }
            other => {
                diagnostics.add(
                    item.span(),
                    format!("`{key}` has {} in it, and takes texts only", describe(other)),
                    format!("write {key} = [\"...\", \"...\"]"),
                );
            }
        }
    }
    texts
}
