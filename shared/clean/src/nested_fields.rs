//! Finds the fields of a record that are inside others: those that a contract reads by a path.
//!
//! The parser finds the object at the top level that they are in. It is lexed a second time, in one pass for all paths.

use std::borrow::Cow;
use std::ops::Range;

use pinlake_json::{Lexer, Malformed, RunEnd, ValueKind};
use pinlake_schema::field_name::{fold_case, normalize};
use pinlake_schema::field_path::{FieldPath, Selector};

use crate::field_table::FieldId;
use crate::parsed_record::{FieldValue, ParsedRecord, Span};
use crate::reason::{Reason, RecordError};
use crate::record_parser;
use crate::refused_value;

/// The fields that one contract reads by a path.
#[derive(Debug, Default)]
pub(crate) struct NestedFields {
    paths: Vec<NestedField>,
    roots: Vec<Root>,
    nodes: Vec<Node>,
}

/// One path.
#[derive(Debug)]
pub(crate) struct NestedField {
    /// The number of the field.
    pub(crate) id: FieldId,
    /// The fields at the top level whose name is the whole path. They take precedence.
    pub(crate) whole: Vec<FieldId>,
    pub(crate) path: FieldPath,
    /// The field at the top level, and those of similar names that other contracts read.
    pub(crate) roots: Vec<FieldId>,
}

/// A field at the top level, and the node of its value.
#[derive(Debug)]
struct Root {
    fields: Vec<FieldId>,
    node: usize,
}

/// A place that paths lead through or end at.
#[derive(Debug, Default)]
struct Node {
    /// The members that are read if the value is an object.
    members: Vec<Member>,
    /// The elements that are read if the value is an array.
    elements: Vec<Element>,
    /// The path that ends here.
    path: Option<usize>,
}

#[derive(Debug)]
struct Member {
    name: MemberName,
    node: usize,
}

#[derive(Debug)]
struct Element {
    member: MemberName,
    value: String,
    node: usize,
}

/// A name, and what similar names have in common with it.
#[derive(Debug)]
struct MemberName {
    name: String,
    normal: String,
    folded: String,
}

impl MemberName {
    fn new(name: &str) -> MemberName {
        let normal = normalize(name).into_owned();
        MemberName { name: name.to_owned(), folded: fold_case(&normal), normal }
    }
}

/// How a name in a record matches one of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    None,
    Similar,
    Exact,
}

/// Working memory, which is reused for each record.
#[derive(Debug, Default)]
pub(crate) struct NestedValues {
    /// For each path, where its value is in the text of the root.
    found: Vec<Option<(usize, usize)>>,
    /// For each node, how its value was found in the object or array that is being read.
    seen: Vec<Option<Match>>,
}

impl NestedFields {
    /// Adds a path.
    pub(crate) fn add(&mut self, field: NestedField) {
        if self.paths.iter().any(|own| own.id == field.id) {
            return;
        }
        let mut at = match self.roots.iter().find(|root| root.fields == field.roots) {
            Some(root) => root.node,
            None => {
                let node = self.new_node();
                self.roots.push(Root { fields: field.roots.clone(), node });
                node
            }
        };
        for (number, step) in field.path.steps.iter().enumerate() {
            if number > 0 {
                at = self.member_node(at, &step.name);
            }
            if let Some(selector) = &step.selector {
                at = self.element_node(at, selector);
            }
        }
        self.nodes[at].path = Some(self.paths.len());
        self.paths.push(field);
    }

    fn new_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn member_node(&mut self, at: usize, name: &str) -> usize {
        if let Some(member) = self.nodes[at].members.iter().find(|member| member.name.name == name) {
            return member.node;
        }
        let node = self.new_node();
        self.nodes[at].members.push(Member { name: MemberName::new(name), node });
        node
    }

    fn element_node(&mut self, at: usize, selector: &Selector) -> usize {
        let Selector { member, value } = selector;
        let mut elements = self.nodes[at].elements.iter();
        if let Some(own) = elements.find(|own| own.member.name == *member && own.value == *value) {
            return own.node;
        }
        let node = self.new_node();
        self.nodes[at].elements.push(Element { member: MemberName::new(member), value: value.clone(), node });
        node
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether a path leads into this field of the top level.
    pub(crate) fn has_root(&self, field: FieldId) -> bool {
        self.roots.iter().any(|root| root.fields.contains(&field))
    }

    pub(crate) fn paths(&self) -> &[NestedField] {
        &self.paths
    }

    /// Sets the fields of the record that are inside others. `text` is the text of the record. A field at the top level whose name is the
    /// whole path stays.
    ///
    /// # Errors
    /// If a value is no text, such as half a surrogate pair.
    pub(crate) fn find(
        &self,
        record: &mut ParsedRecord,
        text: &str,
        values: &mut NestedValues,
    ) -> Result<(), RecordError> {
        self.set_whole(record);
        values.found.clear();
        values.found.resize(self.paths.len(), None);
        for root in &self.roots {
            let mut roots = root.fields.iter().map(|field| record.value(*field));
            let value = roots.find(|value| !matches!(value, FieldValue::Missing | FieldValue::Null));
            // A text that is an object or array is that, as in a CSV cell.
            let (span, is_text) = match value {
                Some(FieldValue::Nested(span)) => (span, false),
                Some(FieldValue::Text(span)) => (span, true),
                Some(refused @ FieldValue::Refused(_)) => {
                    self.set_below(root.node, record, refused);
                    continue;
                }
                _ => continue,
            };
            let json = record.text(span, text);
            if is_text && !pinlake_payload::is_container(json.as_bytes()) {
                continue;
            }
            values.seen.clear();
            values.seen.resize(self.nodes.len(), None);
            let mut walk = Walk { fields: self, text: json, values };
            // The text has been checked.
            let _ = walk.read_value(&mut Lexer::new(json.as_bytes()), root.node);
            self.set_found(span, record, text, values)?;
        }
        Ok(())
    }

    /// Sets the fields of which the record has one at the top level whose name is the whole path.
    pub(crate) fn set_whole(&self, record: &mut ParsedRecord) {
        for field in &self.paths {
            let mut whole = field.whole.iter().map(|whole| record.value(*whole));
            if let Some(value) = whole.find(|value| *value != FieldValue::Missing) {
                record.set(field.id, value);
            }
        }
    }

    /// Sets the fields whose paths lead through a node to its value.
    fn set_below(&self, node: usize, record: &mut ParsedRecord, value: FieldValue) {
        for path in self.paths_below(node) {
            let field = self.paths[path].id;
            if !record.has(field) {
                record.set_nested(field, value);
            }
        }
    }

    /// The paths that end at a node or lead through it.
    fn paths_below(&self, node: usize) -> Vec<usize> {
        let Node { members, elements, path } = &self.nodes[node];
        let below = members.iter().map(|member| member.node);
        let below = below.chain(elements.iter().map(|element| element.node));
        path.iter().copied().chain(below.flat_map(|node| self.paths_below(node))).collect()
    }

    /// Sets the fields whose values were found in the text `root`.
    fn set_found(
        &self,
        root: Span,
        record: &mut ParsedRecord,
        text: &str,
        values: &mut NestedValues,
    ) -> Result<(), RecordError> {
        let base = root.range().start;
        for (field, found) in self.paths.iter().zip(&mut values.found) {
            let Some((start, end)) = found.take() else { continue };
            if record.has(field.id) {
                continue;
            }
            let range = base + start..base + end;
            let value = if root.is_in_scratch() {
                value_in_scratch(range, record)?
            } else {
                record_parser::parse_value(&text[range], text, record)?
            };
            record.set_nested(field.id, value);
        }
        Ok(())
    }
}

/// The value whose JSON is in the scratch buffer.
fn value_in_scratch(range: Range<usize>, record: &mut ParsedRecord) -> Result<FieldValue, RecordError> {
    let json = &record.scratch[range.clone()];
    let span = Span::in_scratch(range.start, range.end);
    Ok(match json.as_bytes().first() {
        Some(b'"') if memchr::memchr(b'\\', json.as_bytes()).is_some() => {
            let unescaped: String = serde_json::from_str(json)
                .map_err(|error| RecordError::new(Reason::MalformedJson, error.to_string()))?;
            FieldValue::Text(record.push_scratch(&unescaped))
        }
        Some(b'"') => FieldValue::Text(Span::in_scratch(range.start + 1, range.end - 1)),
        Some(b'{' | b'[') => FieldValue::Nested(span),
        Some(b't') => FieldValue::True,
        Some(b'f') => FieldValue::False,
        Some(b'n') => FieldValue::Null,
        _ => FieldValue::Number(span),
    })
}

/// Reads the text of one field at the top level.
struct Walk<'a> {
    fields: &'a NestedFields,
    text: &'a str,
    values: &'a mut NestedValues,
}

impl Walk<'_> {
    /// Passes the next value, which is that of the node. Recurses as deep as paths have steps.
    fn read_value(&mut self, lexer: &mut Lexer<'_>, node: usize) -> Result<(), Malformed> {
        let fields = self.fields;
        let own = &fields.nodes[node];
        let kind = lexer.value_kind()?;
        let start = lexer.offset();
        match kind {
            ValueKind::Object
                if !own.members.is_empty() && refused_value::is_refused(&self.text[start..]) =>
            {
                lexer.skip_value()?;
                for path in fields.paths_below(node) {
                    self.values.found[path] = Some((start, lexer.offset()));
                }
            }
            ValueKind::Object if !own.members.is_empty() => self.read_object(lexer, &own.members)?,
            ValueKind::Array if !own.elements.is_empty() => self.read_array(lexer, &own.elements)?,
            _ => lexer.skip_value()?,
        }
        if let Some(path) = own.path {
            self.values.found[path] = Some((start, lexer.offset()));
        }
        Ok(())
    }

    fn read_object(&mut self, lexer: &mut Lexer<'_>, members: &[Member]) -> Result<(), Malformed> {
        members.iter().for_each(|member| self.values.seen[member.node] = None);
        // Clients send members in one order, and contracts mostly read them in that order.
        let mut next = 0;
        let text = self.text;
        lexer.object(|lexer, _| {
            let name = read_name(lexer, text)?;
            lexer.colon()?;
            let is_next = members.get(next).is_some_and(|member| member.name.name == *name);
            let found = if is_next { Some((next, Match::Exact)) } else { find_member(members, &name) };
            let Some((at, matched)) = found else { return lexer.skip_value() };
            next = at + 1;
            let node = members[at].node;
            match self.values.seen[node] {
                // A similar name replaces nothing.
                Some(_) if matched == Match::Similar => return lexer.skip_value(),
                // Of two members of one name the last counts.
                Some(_) => self.forget(node),
                None => {}
            }
            self.values.seen[node] = Some(matched);
            self.read_value(lexer, node)
        })
    }

    fn read_array(&mut self, lexer: &mut Lexer<'_>, elements: &[Element]) -> Result<(), Malformed> {
        elements.iter().for_each(|element| self.values.seen[element.node] = None);
        let text = self.text;
        lexer.array(|lexer, _| {
            if lexer.value_kind()? != ValueKind::Object {
                return lexer.skip_value();
            }
            let begin = lexer.clone();
            lexer.skip_value()?;
            for element in elements {
                // The first one counts.
                if self.values.seen[element.node].is_none()
                    && has_text(&mut begin.clone(), text, &element.member, &element.value)?
                {
                    self.values.seen[element.node] = Some(Match::Exact);
                    self.read_value(&mut begin.clone(), element.node)?;
                }
            }
            Ok(())
        })
    }

    /// Forgets the values of the paths that lead through the node.
    fn forget(&mut self, node: usize) {
        for path in self.fields.paths_below(node) {
            self.values.found[path] = None;
        }
    }
}

/// Whether the object that comes next has a member with this name and text.
fn has_text(
    lexer: &mut Lexer<'_>,
    text: &str,
    member: &MemberName,
    expected: &str,
) -> Result<bool, Malformed> {
    let mut found: Option<(Match, bool)> = None;
    lexer.object(|lexer, _| {
        let name = read_name(lexer, text)?;
        lexer.colon()?;
        let matched = match_name(member, &name);
        if matched == Match::None || found.is_some_and(|(before, _)| before > matched) {
            return lexer.skip_value();
        }
        let kind = lexer.value_kind()?;
        let start = lexer.offset();
        lexer.skip_value()?;
        let value = &text[start..lexer.offset()];
        let is_equal = match kind {
            ValueKind::String => *unquote(value) == *expected,
            ValueKind::Number | ValueKind::True | ValueKind::False => value == expected,
            ValueKind::Null | ValueKind::Object | ValueKind::Array => false,
        };
        found = Some((matched, is_equal));
        Ok::<(), Malformed>(())
    })?;
    Ok(found.is_some_and(|(_, is_equal)| is_equal))
}

/// Passes a name and its closing quote.
pub(crate) fn read_name<'t>(lexer: &mut Lexer<'_>, text: &'t str) -> Result<Cow<'t, str>, Malformed> {
    lexer.open_name()?;
    let start = lexer.offset();
    if lexer.plain_run()? == RunEnd::Quote {
        return Ok(Cow::Borrowed(&text[start..lexer.offset() - 1]));
    }
    lexer.finish_string()?;
    Ok(unquote(&text[start - 1..lexer.offset()]))
}

/// The text of a JSON string. One that has none, because of half a surrogate pair, is empty.
fn unquote(json: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', json.as_bytes()).is_some() {
        Cow::Owned(serde_json::from_str(json).unwrap_or_default())
    } else {
        Cow::Borrowed(json.get(1..json.len() - 1).unwrap_or_default())
    }
}

/// The member of this name, or else the only one of a similar name.
fn find_member(members: &[Member], name: &str) -> Option<(usize, Match)> {
    if let Some(at) = members.iter().position(|member| member.name.name == name) {
        return Some((at, Match::Exact));
    }
    let mut similar = (0..members.len()).filter(|at| match_name(&members[*at].name, name) == Match::Similar);
    let first = similar.next()?;
    if similar.next().is_none() {
        return Some((first, Match::Similar));
    }
    let normal = normalize(name);
    let at = members.iter().position(|member| member.name.normal == *normal)?;
    Some((at, Match::Similar))
}

fn match_name(own: &MemberName, name: &str) -> Match {
    let is_similar = if name.is_ascii() {
        own.folded.eq_ignore_ascii_case(name)
    } else {
        own.folded == fold_case(&normalize(name))
    };
    match is_similar {
        _ if own.name == name => Match::Exact,
        true => Match::Similar,
        false => Match::None,
    }
}
