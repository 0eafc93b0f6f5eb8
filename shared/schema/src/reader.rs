//! Parses contract files, and reports all errors in them.
//!
//! A file is read as a tree of values with positions, not through serde, which would stop at the first error and could not suggest a fix.

mod cluster_by;
mod column_rules;
mod derive;
mod field_rules;
mod file_format;
mod keep;
mod partition_by;
mod suggest;
pub(crate) mod toml_tree;
mod webhook;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use chrono_tz::{TZ_VARIANTS, Tz};

use crate::column::{Column, ColumnSource, FieldNames};
use crate::contract::Contract;
use crate::contract_error::ContractError;
use crate::data_type::{Scalar, Type};
use crate::decimal::{DecimalType, MAX_PRECISION};
use crate::declaration::{ContractDeclaration, FileFormat, Identity, MisroutedPolicy, Route};
use crate::field_path::FieldPath;
use crate::number_locale::NumberLocale;
use crate::pattern;
use crate::reserved::{
    DELETED_COLUMN, FORMER_KEY_COLUMN, HAS_MORE_PREFIX, KEY_COLUMN, OTHER_KEY_PREFIX, QUARANTINE,
    QUARANTINE_COLUMNS,
};
use crate::salvaged::Salvaged;
use crate::timestamp::{self, TimeFormat};
use suggest::{find_similar, format_list};
use toml_tree::{Diagnostics, Section, Spanned};

/// The file with the routes that belong to no single dataset.
pub(crate) const ROUTES_FILE: &str = "_routes.toml";

/// The content of all files.
#[derive(Default)]
pub(crate) struct ParsedFiles {
    pub(crate) contracts: Vec<ParsedContract>,
    pub(crate) shared_streams: Vec<String>,
    /// Whether the file with the routes of no single dataset says which streams are shared.
    pub(crate) has_shared_streams: bool,
    pub(crate) errors: Vec<ContractError>,
    /// What can be read of the files with errors.
    pub(crate) salvaged: Vec<Salvaged>,
}

/// A contract without errors of its own. It may overlap with another.
pub(crate) struct ParsedContract {
    pub(crate) file: String,
    pub(crate) contract: Contract,
}

/// A contract, and the places of the claims that must not overlap with those of others.
struct Located<'a> {
    /// Either the contract, or what can be read of it.
    content: Result<ContractDeclaration, Box<Salvaged>>,
    /// The dataset and where it is named. Nothing is checked for a file that names none.
    name: Option<Spanned<String>>,
    file: &'a str,
    text: &'a str,
    claims: Vec<Claim>,
}

struct Claim {
    kind: ClaimKind,
    value: String,
    span: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ClaimKind {
    Topic,
    Stream,
    PartitionKey,
    File,
    Shape,
}

impl ClaimKind {
    fn description(self) -> &'static str {
        match self {
            ClaimKind::Topic => "topics",
            ClaimKind::Stream => "streams",
            ClaimKind::PartitionKey => "the partition key",
            ClaimKind::File => "files",
            ClaimKind::Shape => "records with the fields",
        }
    }

    fn collides(self, left: &str, right: &str) -> bool {
        match self {
            ClaimKind::Topic | ClaimKind::Stream | ClaimKind::File => pattern::overlap(left, right),
            ClaimKind::PartitionKey | ClaimKind::Shape => left == right,
        }
    }
}

/// The most claims of one kind in a contract, and their length: each is compared with those of all other contracts.
const MAX_CLAIMS: usize = 100;
const MAX_CLAIM_CHARS: usize = 256;

/// Parses files, each given by its name, for messages, and its text.
pub(crate) fn parse_files(files: &[(String, String)]) -> ParsedFiles {
    let mut parsed = ParsedFiles::default();
    let mut located: Vec<Located<'_>> = Vec::new();
    for (file, text) in files {
        let mut diagnostics = Diagnostics::new(file, text);
        let document = diagnostics.parse_document();
        let is_complete = document.is_some();
        // What can be read beside a syntax error is read, but not reported.
        let document = document.or_else(|| Section::recover(text));
        let mut hidden = Diagnostics::new(file, text);
        let reported = if is_complete { &mut diagnostics } else { &mut hidden };
        let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
        if let Some(document) = document {
            if base == ROUTES_FILE {
                parsed.shared_streams.extend(parse_routes_file(&document, reported));
                parsed.has_shared_streams |= is_complete || !parsed.shared_streams.is_empty();
            } else if base.starts_with('_') {
                reported.add(
                    0..0,
                    format!("`{base}` is not a file of the catalog"),
                    format!("name it `{ROUTES_FILE}`, or without the underscore when it is a dataset"),
                );
            } else {
                let contract = parse_contract(&document, is_complete, reported);
                match contract.content {
                    Err(salvaged) if !is_complete => parsed.salvaged.push(*salvaged),
                    _ => located.push(contract),
                }
            }
        }
        parsed.errors.extend(diagnostics.found);
    }
    // Of two contracts that overlap, the one that has an error anyway is reported.
    located.sort_by_key(|own| own.content.is_err());
    check_overlaps(&located, &mut parsed.errors);
    for own in located {
        match own.content {
            Ok(declared) => parsed
                .contracts
                .push(ParsedContract { file: own.file.to_owned(), contract: Contract::new(declared) }),
            Err(salvaged) => parsed.salvaged.push(*salvaged),
        }
    }
    parsed
}

/// Reads what can be read of a contract file with errors that are known already.
pub(crate) fn salvage(file: &str, text: &str) -> Salvaged {
    let mut hidden = Diagnostics::new(file, text);
    let contract =
        Section::recover(text).map(|document| parse_contract(&document, false, &mut hidden).content);
    match contract {
        Some(Err(salvaged)) => *salvaged,
        _ => Salvaged { file: file.to_owned(), ..Salvaged::default() },
    }
}

/// Checks that no two contracts claim the same records.
fn check_overlaps(located: &[Located<'_>], diagnostics: &mut Vec<ContractError>) {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (at, own) in located.iter().enumerate() {
        let mut add = |span: &Range<usize>, problem: String, help: String| {
            diagnostics.push(ContractError::at(own.file, own.text, span.clone(), problem, help));
        };
        let Some(name) = &own.name else { continue };
        if let Some(other) = names.insert(&name.value, own.file) {
            add(
                &name.span,
                format!("dataset `{}` is already in {other}", name.value),
                "give it a name of its own, or remove one of the files".into(),
            );
        }
        for claim in &own.claims {
            for other in &located[..at] {
                let Some(their_name) = &other.name else { continue };
                let theirs = other.claims.iter().find(|theirs| {
                    theirs.kind == claim.kind && claim.kind.collides(&theirs.value, &claim.value)
                });
                if let Some(theirs) = theirs {
                    add(
                        &claim.span,
                        format!(
                            "{} `{}` overlap with `{}` of dataset `{}` ({})",
                            claim.kind.description(),
                            claim.value,
                            theirs.value,
                            their_name.value,
                            other.file
                        ),
                        "make one of them narrower: a record must have one dataset".into(),
                    );
                }
            }
        }
    }
}

fn parse_routes_file(document: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Vec<String> {
    document.reject_unknown_keys(&["shared_streams"], diagnostics);
    values(document.strings("shared_streams", diagnostics))
}

fn values(spanned: Vec<Spanned<String>>) -> Vec<String> {
    spanned.into_iter().map(|item| item.value).collect()
}

const CONTRACT_KEYS: [&str; 13] = [
    "name",
    "version",
    "description",
    "identity",
    "keep",
    "partition_by",
    "cluster_by",
    "null",
    "rest",
    "route",
    "file",
    "webhook",
    "column",
];
const ROUTE_KEYS: [&str; 7] =
    ["topics", "streams", "partition_keys", "files", "shape", "any_of", "misrouted"];
const COLUMN_KEYS: [&str; 25] = [
    "name",
    "type",
    "description",
    "from",
    "join",
    "separator",
    "array_of",
    "derive",
    "null",
    "required",
    "counts",
    "remove_prefix",
    "remove_suffix",
    "locale",
    "formats",
    "zone",
    "true",
    "false",
    "trim",
    "case",
    "default",
    "one_of",
    "matches",
    "min",
    "max",
];

/// `is_complete` says that the whole file could be read.
fn parse_contract<'a>(
    document: &Section<'_>,
    is_complete: bool,
    diagnostics: &mut Diagnostics<'a>,
) -> Located<'a> {
    document.reject_unknown_keys(&CONTRACT_KEYS, diagnostics);
    let name = document.required_string("name", "name = \"pin\"", diagnostics);
    if let Some(name) = &name
        && !is_dataset_name(&name.value)
    {
        diagnostics.add(
            name.span.clone(),
            format!("`{}` cannot be the name of a dataset", name.value),
            "write a lower-case letter, then at most 63 of a-z, 0-9 and _",
        );
    }
    let version = document.required_integer("version", "version = 1", diagnostics);
    if let Some(version) = &version
        && !(1..=i64::from(u32::MAX)).contains(&version.value)
    {
        diagnostics.add(
            version.span.clone(),
            format!("{} cannot be a version", version.value),
            "count the contract's versions from 1",
        );
    }
    let description = document.string("description", diagnostics).map(|text| text.value).unwrap_or_default();
    let is_quarantine = name.as_ref().is_some_and(|name| name.value == QUARANTINE);

    let mut claims = Vec::new();
    let route = match document.section("route", diagnostics) {
        Some(section) if is_quarantine => {
            diagnostics.add(
                section.span.clone(),
                "quarantine takes no records from outside",
                "remove [route]",
            );
            Route::default()
        }
        Some(section) => parse_route(&section, &mut claims, diagnostics),
        None => Route::default(),
    };
    let is_route_known = match document.get("route") {
        Some(item) => item.is_table(),
        None => is_complete,
    };

    let file_format = match document.section("file", diagnostics) {
        Some(section) if is_quarantine => {
            diagnostics.add(section.span.clone(), "quarantine has no files", "remove [file]");
            FileFormat::default()
        }
        Some(section) => file_format::parse(&section, diagnostics),
        None => FileFormat::default(),
    };
    let errors_before_webhook = diagnostics.found.len();
    let webhook = match document.section("webhook", diagnostics) {
        Some(section) if is_quarantine => {
            diagnostics.add(section.span.clone(), "quarantine takes no webhooks", "remove [webhook]");
            None
        }
        Some(section) => webhook::parse(&section, &route, diagnostics),
        None => None,
    };
    let is_webhook_checked = diagnostics.found.len() == errors_before_webhook;
    let null = values(document.strings("null", diagnostics));
    if let Some(span) = document.key_span("null").filter(|_| is_quarantine) {
        diagnostics.add(
            span,
            "`null` has no meaning in quarantine",
            "remove it: the cleaner fills these columns",
        );
    }

    let sections = document.sections("column", diagnostics);
    if sections.is_empty() && !document.has("column") {
        diagnostics.add(
            document.span.clone(),
            "the contract has no columns",
            "add a [[column]] with a name and a type",
        );
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut derive_spans = Vec::new();
    let mut complete = true;
    for section in &sections {
        match parse_column(section, is_quarantine, diagnostics) {
            Some((mut column, name_span)) => {
                if !matches!(column.source, ColumnSource::Derived(_)) {
                    column.null.extend(null.iter().cloned());
                }
                derive_spans.push(section.key_span("derive").unwrap_or_default());
                if let Some(twin) = columns.iter().find(|twin| twin.name.eq_ignore_ascii_case(&column.name)) {
                    let problem =
                        format!("column `{}` is there twice: `{}` came before", column.name, twin.name);
                    diagnostics.add(
                        name_span,
                        problem,
                        "remove one of them, or rename it; upper and lower case are the same",
                    );
                }
                columns.push(column);
            }
            None => complete = false,
        }
    }
    if complete {
        derive::check(&columns, &derive_spans, diagnostics);
    }
    if let Some(rest) = document.string("rest", diagnostics) {
        check_column_name(&rest, diagnostics);
        if is_quarantine {
            diagnostics.add(rest.span.clone(), "`rest` has no meaning in quarantine", "remove it");
        } else if let Some(twin) = columns.iter().find(|own| own.name.eq_ignore_ascii_case(&rest.value)) {
            diagnostics.add(
                rest.span.clone(),
                format!("column `{}` is there already, and `rest` adds one of this name", twin.name),
                "remove the column, or write another name",
            );
        }
        let rest = Column::rest(rest.value, &columns);
        columns.push(rest);
    }
    if is_quarantine && complete {
        check_quarantine_columns(&columns, document, diagnostics);
    }
    let identity = parse_identity(document, &columns, complete, diagnostics);
    let keep = match document.section("keep", diagnostics) {
        Some(section) if complete => keep::parse(&section, &identity, &columns, diagnostics),
        _ => None,
    };
    let partition_by = match complete {
        true => partition_by::parse(document, &columns, is_quarantine, diagnostics),
        false => Vec::new(),
    };
    let cluster_by = match complete {
        true => cluster_by::parse(document, &columns, &partition_by, is_quarantine, diagnostics),
        false => Vec::new(),
    };
    let version = version.and_then(|version| u32::try_from(version.value).ok()).filter(|_| complete);
    let (file, text) = (diagnostics.file, diagnostics.text);
    let content = match (&name, version) {
        (Some(name), Some(version)) if diagnostics.found.is_empty() && is_complete => {
            Ok(ContractDeclaration {
                name: name.value.clone(),
                version,
                description,
                route,
                file: file_format,
                webhook,
                identity,
                keep,
                partition_by,
                cluster_by,
                columns,
            })
        }
        _ => Err(Box::new(Salvaged {
            file: file.to_owned(),
            dataset: name.as_ref().map(|name| name.value.clone()).filter(|name| is_dataset_name(name)),
            route: is_route_known.then_some(route),
            webhook: webhook.filter(|_| is_webhook_checked),
            records: file_format.records,
            columns,
        })),
    };
    Located { content, name, file, text, claims }
}

pub(crate) fn is_dataset_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn parse_route(section: &Section<'_>, claims: &mut Vec<Claim>, diagnostics: &mut Diagnostics<'_>) -> Route {
    section.reject_unknown_keys(&ROUTE_KEYS, diagnostics);
    let mut claimed = |key: &str, kind: ClaimKind, diagnostics: &mut Diagnostics<'_>| {
        let items = section.strings(key, diagnostics);
        if let Some(item) = items.get(MAX_CLAIMS) {
            diagnostics.add(
                item.span.clone(),
                format!("`{key}` has {} items, and may have {MAX_CLAIMS}", items.len()),
                "let one pattern with `*` stand for several",
            );
        }
        for item in items.iter().filter(|item| item.value.chars().count() > MAX_CLAIM_CHARS) {
            diagnostics.add(
                item.span.clone(),
                format!("this item of `{key}` is longer than {MAX_CLAIM_CHARS} characters"),
                "no topic, stream, key or file has such a name: write a shorter one",
            );
        }
        let checked =
            items.iter().take(MAX_CLAIMS).filter(|item| item.value.chars().count() <= MAX_CLAIM_CHARS);
        claims.extend(checked.map(|item| Claim { kind, value: item.value.clone(), span: item.span.clone() }));
        values(items)
    };
    let topics = claimed("topics", ClaimKind::Topic, diagnostics);
    let streams = claimed("streams", ClaimKind::Stream, diagnostics);
    let partition_keys = claimed("partition_keys", ClaimKind::PartitionKey, diagnostics);
    let files = claimed("files", ClaimKind::File, diagnostics);

    let shape = section.strings("shape", diagnostics);
    check_paths(&shape, diagnostics);
    if let (Some(first), Some(last)) = (shape.first(), shape.last()) {
        let sorted: BTreeSet<&str> = shape.iter().map(|field| field.value.as_str()).collect();
        let value = sorted.into_iter().collect::<Vec<_>>().join(", ");
        claims.push(Claim { kind: ClaimKind::Shape, value, span: first.span.start..last.span.end });
    }
    let any_of = section.strings("any_of", diagnostics);
    check_paths(&any_of, diagnostics);
    let any_of = values(any_of);
    let misrouted = match section.string("misrouted", diagnostics) {
        None => MisroutedPolicy::default(),
        Some(word) => match word.value.as_str() {
            "quarantine" => MisroutedPolicy::Quarantine,
            "reroute" => MisroutedPolicy::Reroute,
            other => {
                diagnostics.add(
                    word.span,
                    format!("`{other}` is nothing that can be done with a misrouted record"),
                    "write \"quarantine\" or \"reroute\"",
                );
                MisroutedPolicy::default()
            }
        },
    };
    Route { topics, streams, partition_keys, files, shape: values(shape), any_of, misrouted }
}

fn parse_identity(
    document: &Section<'_>,
    columns: &[Column],
    complete: bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Identity {
    const HELP: &str = "write \"row\", \"record\", or a list of columns such as [\"ind\"]";
    match document.get("identity") {
        None => Identity::Row,
        Some(item) if item.as_str() == Some("row") => Identity::Row,
        Some(item) if item.as_str() == Some("record") => Identity::Record,
        Some(item) if item.is_list() => {
            let named = document.strings("identity", diagnostics);
            if named.is_empty() || !complete {
                return Identity::Row;
            }
            check_column_names("identity", &named, columns, diagnostics);
            let sure = columns
                .iter()
                .any(|column| column.required && named.iter().any(|own| own.value == column.name));
            if let Some(first) = named.first().filter(|_| !sure) {
                diagnostics.add(
                    first.span.clone(),
                    "every column of the identity may be null, and all rows without them would count as one",
                    format!("add `required = true` to the column `{}`", first.value),
                );
            }
            Identity::Columns(values(named))
        }
        Some(item) => {
            diagnostics.add(item.span(), format!("{} is not an identity", item.describe()), HELP);
            Identity::Row
        }
    }
}

/// Reports names in the list `key` that are not columns.
fn check_column_names(
    key: &str,
    named: &[Spanned<String>],
    columns: &[Column],
    diagnostics: &mut Diagnostics<'_>,
) {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    for own in named.iter().filter(|own| !names.contains(&own.value.as_str())) {
        let help = match find_similar(&own.value, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its columns are {}", format_list(&names)),
        };
        diagnostics.add(
            own.span.clone(),
            format!("{key} names `{}`, which is not a column", own.value),
            help,
        );
    }
}

fn check_quarantine_columns(columns: &[Column], document: &Section<'_>, diagnostics: &mut Diagnostics<'_>) {
    let right = columns.len() == QUARANTINE_COLUMNS.len()
        && QUARANTINE_COLUMNS.iter().all(|(name, scalar)| {
            columns.iter().any(|column| column.name == *name && column.data_type == Type::Scalar(*scalar))
        });
    if !right {
        let wanted: Vec<String> =
            QUARANTINE_COLUMNS.iter().map(|(name, scalar)| format!("{name} {scalar}")).collect();
        diagnostics.add(
            document.span.clone(),
            "the columns of quarantine are fixed, because the cleaner fills them",
            format!("write these columns: {}", wanted.join(", ")),
        );
    }
}

fn check_column_name(name: &Spanned<String>, diagnostics: &mut Diagnostics<'_>) {
    if name.value.is_empty()
        || name.value.len() > 128
        || name.value.contains(|char: char| " ,;{}()\n\t=".contains(char))
    {
        diagnostics.add(
            name.span.clone(),
            format!("`{}` cannot be the name of a column", name.value),
            "write 1 to 128 characters, none of them a blank or one of , ; { } ( ) =",
        );
    }
    let kept = [KEY_COLUMN, FORMER_KEY_COLUMN, DELETED_COLUMN];
    let lower = name.value.to_ascii_lowercase();
    if kept.contains(&lower.as_str())
        || [OTHER_KEY_PREFIX, HAS_MORE_PREFIX].iter().any(|own| lower.starts_with(own))
    {
        diagnostics.add(name.span.clone(), format!("`{lower}` is kept for pinlake"), "choose another name");
    }
}

fn parse_column(
    section: &Section<'_>,
    is_quarantine: bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<(Column, Range<usize>)> {
    section.reject_unknown_keys(&COLUMN_KEYS, diagnostics);
    let name = section.required_string("name", "name = \"ind\"", diagnostics);
    if let Some(name) = &name {
        check_column_name(name, diagnostics);
    }
    let data_type = section
        .required_string("type", "type = \"string\"", diagnostics)
        .and_then(|written| parse_type(&written, diagnostics).map(|data_type| (data_type, written.span)));
    let description = section.string("description", diagnostics).map(|text| text.value).unwrap_or_default();
    let required = section.boolean("required", diagnostics).unwrap_or(false);
    let counts = section.boolean("counts", diagnostics).unwrap_or(false);
    let null = values(section.strings("null", diagnostics));
    let remove_prefix = section.string("remove_prefix", diagnostics).map(|text| text.value);
    let remove_suffix = section.string("remove_suffix", diagnostics).map(|text| text.value);
    let locale = parse_locale(section, diagnostics);
    let mut formats = parse_formats(section, diagnostics);
    let zone = parse_zone(section, diagnostics);
    let true_texts = values(section.strings("true", diagnostics));
    let false_texts = values(section.strings("false", diagnostics));
    if let Some(both) = true_texts.iter().find(|text| false_texts.contains(text)) {
        let span = section.key_span("false").unwrap_or_default();
        diagnostics.add(span, format!("`{both}` is true and false"), "remove one of them");
    }
    let trim = section.boolean("trim", diagnostics).unwrap_or(false);
    let case = column_rules::parse_case(section, diagnostics);
    let source = parse_source(section, name.as_ref().map(|name| name.value.as_str()), diagnostics);
    let (name, (data_type, type_span), source) = (name?, data_type?, source?);
    let default = column_rules::parse_default(section, data_type, diagnostics);
    let checks = column_rules::parse_checks(section, data_type, default.as_ref(), diagnostics);

    let mut require_type = |key: &str, is_compatible: bool, wanted: &str| {
        if let Some(span) = section.key_span(key).filter(|_| !is_compatible) {
            diagnostics.add(
                span,
                format!("`{key}` does not go with the type {data_type}"),
                format!("{wanted}, or remove `{key}`"),
            );
        }
    };
    let scalar = data_type.scalar();
    let is_array = matches!(data_type, Type::Array(_));
    let is_number = scalar.is_number();
    let is_time = matches!(scalar, Scalar::Timestamp | Scalar::Date);
    require_type("counts", is_number && !is_array, "make it int64, int32, float64 or decimal");
    let is_text_or_number = !is_array && (is_number || scalar == Scalar::String);
    for key in ["remove_prefix", "remove_suffix"] {
        require_type(key, is_text_or_number, "make it string, int64, int32, float64 or decimal");
    }
    require_type("locale", is_number && !is_array, "make it int64, int32, float64 or decimal");
    require_type("formats", is_time, "make it timestamp or date");
    for key in ["true", "false"] {
        require_type(key, scalar == Scalar::Boolean, "make it boolean");
    }
    for key in ["trim", "case", "one_of", "matches"] {
        require_type(key, data_type == Type::Scalar(Scalar::String), "make it string");
    }
    require_type("zone", scalar == Scalar::Timestamp, "make it timestamp");
    let is_joinable = !is_array && (is_time || scalar == Scalar::String);
    require_type("join", is_joinable, "make it string, timestamp or date");
    require_type("array_of", is_array, "make it an array such as array<float64>");
    if data_type == Type::Array(Scalar::Json) {
        diagnostics.add(
            type_span,
            "an array of json is not a type",
            "write \"json\": it keeps an array whole",
        );
    }
    if section.has("separator") && !section.has("join") {
        let span = section.key_span("separator").unwrap_or_default();
        diagnostics.add(
            span,
            "`separator` stands between the fields of `join`, and there is no `join`",
            "add `join`, or remove `separator`",
        );
    }
    if is_quarantine {
        let allowed = ["name", "type", "description", "separator", "required"];
        for key in COLUMN_KEYS.iter().filter(|key| !allowed.contains(key)) {
            if let Some(span) = section.key_span(key) {
                diagnostics.add(
                    span,
                    format!("`{key}` has no meaning in quarantine"),
                    "remove it: the cleaner fills these columns",
                );
            }
        }
    }
    if is_time && formats.is_empty() && !is_quarantine && !section.has("derive") {
        formats = default_formats(scalar);
    }
    let source = if is_quarantine { ColumnSource::Cleaner } else { source };
    let span = name.span;
    Some((
        Column {
            name: name.value,
            data_type,
            description,
            source,
            null,
            required,
            counts,
            remove_prefix,
            remove_suffix,
            locale,
            formats,
            zone,
            true_texts,
            false_texts,
            trim,
            case,
            default,
            checks,
        },
        span,
    ))
}

fn default_formats(scalar: Scalar) -> Vec<TimeFormat> {
    let patterns: &[&str] = match scalar {
        Scalar::Date => &["%Y-%m-%d"],
        _ => &["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"],
    };
    patterns.iter().filter_map(|pattern| TimeFormat::parse(pattern).ok()).collect()
}

fn parse_locale(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<NumberLocale> {
    let written = section.string("locale", diagnostics)?;
    let locale = NumberLocale::parse(&written.value);
    if locale.is_none() {
        let names = NumberLocale::NAMES.map(|(name, _)| name);
        let help = match find_similar(&written.value, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("locales are {}", format_list(&names)),
        };
        diagnostics.add(written.span, format!("unknown locale `{}`", written.value), help);
    }
    locale
}

fn parse_zone(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<Tz> {
    let written = section.string("zone", diagnostics)?;
    let zone = written.value.parse::<Tz>().ok();
    if zone.is_none() {
        let names = TZ_VARIANTS.map(|zone| zone.name());
        let help = match find_similar(&written.value, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a name of the IANA database such as \"Europe/Berlin\" or \"America/New_York\""
                .to_owned(),
        };
        diagnostics.add(written.span, format!("unknown zone `{}`", written.value), help);
    }
    zone
}

fn parse_formats(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> Vec<TimeFormat> {
    let mut formats = Vec::new();
    for written in section.strings("formats", diagnostics) {
        match TimeFormat::parse(&written.value) {
            Ok(format) => formats.push(format),
            Err(why) => {
                let help = match find_similar(&written.value, &timestamp::WORDS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "write a pattern such as \"%Y-%m-%d %H:%M:%S\", or \"$date\", \"unix_seconds\", \"unix_millis\", \"unix_micros\", \"unix_nanos\", \"unix_days\"".to_owned(),
                };
                diagnostics.add(
                    written.span,
                    format!("`{}` is not a format of dates: {why}", written.value),
                    help,
                );
            }
        }
    }
    formats
}

fn parse_source(
    section: &Section<'_>,
    name: Option<&str>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<ColumnSource> {
    let given: Vec<&str> =
        ["from", "join", "array_of", "derive"].into_iter().filter(|key| section.has(key)).collect();
    if let [first, second, ..] = given[..] {
        let span = section.key_span(second).unwrap_or_default();
        diagnostics.add(
            span,
            format!("`{first}` and `{second}` both say where the value comes from"),
            "keep one of them",
        );
        return None;
    }
    Some(match given.first().copied() {
        None => ColumnSource::Field(vec![name?.to_owned()]),
        Some("from") => {
            let fields = section.strings("from", diagnostics);
            check_paths(&fields, diagnostics);
            ColumnSource::Field(values(fields))
        }
        Some("derive") => derive::parse(section, diagnostics)?,
        Some("join") => {
            let separator =
                section.string("separator", diagnostics).map(|text| text.value).unwrap_or_default();
            ColumnSource::Join { fields: parse_fields(section, "join", diagnostics), separator }
        }
        Some(key) => ColumnSource::ArrayOf(parse_fields(section, key, diagnostics)),
    })
}

/// A list of fields, each a name or a list of alternative names.
fn parse_fields(section: &Section<'_>, key: &str, diagnostics: &mut Diagnostics<'_>) -> Vec<FieldNames> {
    let fields = section.string_lists(key, diagnostics);
    fields.iter().for_each(|alternatives| check_paths(alternatives, diagnostics));
    fields.into_iter().map(values).collect()
}

/// Reports fields that begin as a path and are none.
fn check_paths(fields: &[Spanned<String>], diagnostics: &mut Diagnostics<'_>) {
    for field in fields {
        if let Err(why) = FieldPath::parse(&field.value) {
            diagnostics.add(
                field.span.clone(),
                format!("`{}` is neither a field nor a path: {why}", field.value),
                r"write a path such as after.id or params[key=session].value; a backslash makes a character literal",
            );
        }
    }
}

fn parse_type(written: &Spanned<String>, diagnostics: &mut Diagnostics<'_>) -> Option<Type> {
    let text = written.value.trim();
    let (inner, is_array) = match text.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
        Some(inner) => (inner.trim(), true),
        None => (text, false),
    };
    let named = Scalar::NAMED.into_iter().find(|scalar| scalar.name() == inner);
    let Some(scalar) = named.or_else(|| parse_decimal_type(inner).map(Scalar::Decimal)) else {
        if let Some(help) = find_decimal_mistake(inner) {
            diagnostics.add(written.span.clone(), format!("unknown type `{}`", written.value), help);
            return None;
        }
        let names: Vec<&str> = Scalar::NAMED.map(Scalar::name).into_iter().chain([DECIMAL_EXAMPLE]).collect();
        let other: BTreeMap<&str, &str> = OTHER_TYPE_NAMES.into_iter().collect();
        let lower = inner.to_ascii_lowercase();
        let near = other.get(lower.as_str()).copied().or_else(|| find_similar(&lower, &names));
        let wrap = |name: &str| {
            if is_array { format!("array<{name}>") } else { name.to_owned() }
        };
        let help = match near {
            Some(near) => format!("did you mean `{}`?", wrap(near)),
            None => format!("types are {}, and array<...> of one of them", format_list(&names)),
        };
        diagnostics.add(written.span.clone(), format!("unknown type `{}`", written.value), help);
        return None;
    };
    Some(if is_array { Type::Array(scalar) } else { Type::Scalar(scalar) })
}

/// A decimal type as contracts write it.
const DECIMAL_EXAMPLE: &str = "decimal(12,2)";

/// Parses `decimal(12,2)`.
fn parse_decimal_type(text: &str) -> Option<DecimalType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    DecimalType::new(precision.trim().parse().ok()?, scale.trim().parse().ok()?)
}

/// What to write in place of a type that is meant as a decimal and is none.
fn find_decimal_mistake(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (name, digits) =
        lower.split_once('(').map_or((lower.as_str(), None), |(name, rest)| (name, Some(rest)));
    if !["decimal", "numeric", "dec", "money", "decimal128", "bigdecimal", "bignumeric"]
        .contains(&name.trim())
    {
        return None;
    }
    let digits = digits.and_then(|rest| rest.strip_suffix(')'));
    let numbers: Option<Vec<u8>> =
        digits.map(|digits| digits.split(',').map_while(|number| number.trim().parse().ok()).collect());
    let meant = match numbers.as_deref() {
        Some([precision]) => DecimalType::new(*precision, 0),
        Some([precision, scale]) => DecimalType::new(*precision, *scale),
        _ => None,
    };
    Some(match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!(
            "write decimal(precision,scale), such as {DECIMAL_EXAMPLE}: all digits, 1 to {MAX_PRECISION}, and how many of them follow the point"
        ),
    })
}

/// Names of types in other systems, and what they are called here.
const OTHER_TYPE_NAMES: [(&str, &str); 19] = [
    ("str", "string"),
    ("text", "string"),
    ("varchar", "string"),
    ("utf8", "string"),
    ("uuid", "string"),
    ("int", "int64"),
    ("integer", "int64"),
    ("long", "int64"),
    ("bigint", "int64"),
    ("i64", "int64"),
    ("i32", "int32"),
    ("double", "float64"),
    ("float", "float64"),
    ("number", "float64"),
    ("f64", "float64"),
    ("bool", "boolean"),
    ("datetime", "timestamp"),
    ("bytes", "binary"),
    ("array", "array<float64>"),
];

#[cfg(test)]
mod tests;
