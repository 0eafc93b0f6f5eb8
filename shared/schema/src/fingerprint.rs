//! Hashes of what contracts mean, not of how their files are written.

use crate::column::{Column, ColumnSource, FieldNames};
use crate::column_rules::{DefaultValue, LetterCase};
use crate::data_type::Scalar;
use crate::declaration::{
    ContractDeclaration, FieldRule, FileFormat, Identity, KeepLatest, MisroutedPolicy, Route,
};
use crate::number_locale::NumberLocale;
use crate::records_path::RecordsPath;
use crate::reserved::QUARANTINE;
use crate::timestamp::TimeFormat;

/// Hashes everything that affects cleaned rows.
pub(crate) fn hash_output(contract: &ContractDeclaration) -> String {
    let mut canonical = Canonical::new("pinlake-contract-1");
    canonical.text(&contract.name).number(u64::from(contract.version));
    canonical.names(&contract.route.shape);
    canonical.number(match contract.route.misrouted {
        MisroutedPolicy::Quarantine => 0,
        MisroutedPolicy::Reroute => 1,
    });
    canonical.identity(identity_kind(&contract.identity), &contract.identity);
    canonical.number(contract.columns.len() as u64);
    for column in &contract.columns {
        canonical.column(column);
    }
    if contract.name == QUARANTINE {
        // The keys of quarantine rows cover the record if equal records may be two rows. Landing objects with keys of the earlier rules are
        // cleaned again.
        canonical.number(QUARANTINE_KEY_EPOCH);
    }
    if !contract.route.any_of.is_empty() {
        canonical.names(&contract.route.any_of);
    }
    if contract.columns.iter().any(is_json) {
        canonical.number(JSON_FORM);
    }
    if !contract.file.skip_when.is_empty() {
        canonical.text("skip_when").rules(&contract.file.skip_when);
    }
    if let Some(KeepLatest { latest_by, delete_when, remember_deletes: _ }) = &contract.keep {
        canonical.text("keep").names(latest_by).rules(delete_when);
    }
    canonical.finish()
}

/// The rules for the keys of quarantine rows.
const QUARANTINE_KEY_EPOCH: u64 = 2;

/// The form of JSON values in rows and keys: canonical. The first form was the text as sent.
const JSON_FORM: u64 = 2;

fn is_json(column: &Column) -> bool {
    column.data_type.scalar() == Scalar::Json
}

/// Hashes what determines keys: the kind of identity, and the rules of its columns. Keys do not depend on the order of columns.
pub(crate) fn hash_identity(contract: &ContractDeclaration) -> String {
    hash_key_rules(contract, identity_kind(&contract.identity), Some(JSON_FORM))
}

/// Like [`hash_identity`], for the former epoch: keys of `identity = "record"` did not cover the content of the record,
/// and keys of JSON values covered them as they were sent. `None` for other identities, which have only one epoch.
pub(crate) fn hash_former_identity(contract: &ContractDeclaration) -> Option<String> {
    if contract.identity == Identity::Record {
        return Some(hash_key_rules(contract, FORMER_RECORD, None));
    }
    let has_json = key_columns(contract).any(is_json);
    has_json.then(|| hash_key_rules(contract, identity_kind(&contract.identity), None))
}

/// Kinds of identity. The former epoch of `identity = "record"` has its own number.
const ROW: u64 = 0;
const FORMER_RECORD: u64 = 1;
const COLUMNS: u64 = 2;
const RECORD: u64 = 3;

fn identity_kind(identity: &Identity) -> u64 {
    match identity {
        Identity::Row => ROW,
        Identity::Columns(_) => COLUMNS,
        Identity::Record => RECORD,
    }
}

/// The columns that keys cover.
fn key_columns(contract: &ContractDeclaration) -> impl Iterator<Item = &Column> {
    contract.columns.iter().filter(|column| contract.identity.covers(column))
}

/// `json_form` counts if a column of the key is JSON.
fn hash_key_rules(contract: &ContractDeclaration, kind: u64, json_form: Option<u64>) -> String {
    let mut canonical = Canonical::new("pinlake-identity-1");
    canonical.text(&contract.name).identity(kind, &contract.identity);
    let mut columns: Vec<&Column> = key_columns(contract).collect();
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    canonical.number(columns.len() as u64);
    let has_json = columns.iter().any(|column| is_json(column));
    for column in columns {
        canonical.column(column);
        // The rules of its source determine its values.
        if let ColumnSource::Derived(derivation) = &column.source {
            contract.columns.iter().filter(|own| own.name == derivation.column).for_each(|source| {
                canonical.column(source);
            });
        }
    }
    if let Some(form) = json_form.filter(|_| has_json) {
        canonical.number(form);
    }
    canonical.finish()
}

/// The parts of a contract on which the hash of a catalog depends.
pub(crate) struct CatalogEntry<'a> {
    pub(crate) hash: &'a str,
    pub(crate) route: &'a Route,
    pub(crate) file: &'a FileFormat,
}

/// Hashes everything that decides what happens to a record: the hash of each contract, and the routes by name. The contracts must be sorted by
/// name.
pub(crate) fn hash_catalog<'a>(
    contracts: impl Iterator<Item = CatalogEntry<'a>>,
    shared_streams: &[String],
) -> String {
    let mut canonical = Canonical::new("pinlake-catalog-2");
    for CatalogEntry { hash, route, file } in contracts {
        // Destructured, so that a new route cannot be forgotten. The hash of the contract covers the shape and the policy.
        let Route { topics, streams, partition_keys, files, shape: _, any_of: _, misrouted: _ } = route;
        canonical.text(hash);
        [topics, streams, partition_keys, files].into_iter().for_each(|names| {
            canonical.names(names);
        });
        canonical.file_format(file);
    }
    canonical.names(shared_streams);
    canonical.finish()
}

/// A byte string in which every part is preceded by its length, so that different contracts never have the same one.
struct Canonical(Vec<u8>);

impl Canonical {
    fn new(domain: &str) -> Canonical {
        let mut canonical = Canonical(Vec::with_capacity(1024));
        canonical.text(domain);
        canonical
    }

    fn number(&mut self, number: u64) -> &mut Canonical {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Canonical {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// The default adds nothing, so that a catalog without file formats keeps its hash.
    fn file_format(&mut self, file: &FileFormat) {
        if *file == FileFormat::default() {
            return;
        }
        // The hash of the contract covers `skip_when`.
        let FileFormat {
            delimiter,
            quote,
            escape,
            comment,
            encoding,
            keeps_repeated_headers,
            records,
            skip_when: _,
        } = file;
        let byte = |byte: &Option<u8>| byte.map_or(256, u64::from);
        self.text("file")
            .number(byte(delimiter))
            .number(quote.as_ref().map_or(257, byte))
            .number(byte(escape));
        self.text(comment.as_deref().unwrap_or_default()).text(encoding.unwrap_or_default());
        self.number(u64::from(*keeps_repeated_headers));
        self.rule("records", records.as_ref().map(RecordsPath::as_str));
    }

    fn rules(&mut self, rules: &[FieldRule]) -> &mut Canonical {
        self.number(rules.len() as u64);
        for rule in rules {
            self.text(&rule.field).text(&rule.value);
        }
        self
    }

    fn names(&mut self, names: &[String]) -> &mut Canonical {
        self.number(names.len() as u64);
        for name in names {
            self.text(name);
        }
        self
    }

    fn fields(&mut self, fields: &[FieldNames]) -> &mut Canonical {
        self.number(fields.len() as u64);
        for names in fields {
            self.names(names);
        }
        self
    }

    fn identity(&mut self, kind: u64, identity: &Identity) -> &mut Canonical {
        self.number(kind);
        if let Identity::Columns(names) = identity {
            let mut sorted = names.clone();
            sorted.sort();
            self.names(&sorted);
        }
        self
    }

    fn column(&mut self, column: &Column) -> &mut Canonical {
        // The description is left out because it does not affect values.
        self.text(&column.name).text(&column.data_type.to_string());
        match &column.source {
            ColumnSource::Field(names) => self.number(0).names(names),
            ColumnSource::Join { fields, separator } => self.number(1).fields(fields).text(separator),
            ColumnSource::ArrayOf(fields) => self.number(2).fields(fields),
            ColumnSource::Cleaner => self.number(3),
            ColumnSource::Rest { except } => self.number(4).names(except),
            ColumnSource::Derived(derivation) => self.number(5).text(&derivation.to_string()),
        };
        // The order of null markers has no meaning.
        let mut null = column.null.clone();
        null.sort();
        self.names(&null).number(u64::from(column.required)).number(u64::from(column.counts));
        match &column.remove_prefix {
            None => self.number(0),
            Some(prefix) => self.number(1).text(prefix),
        };
        let formats: Vec<String> = column.formats.iter().map(TimeFormat::as_str).map(str::to_owned).collect();
        self.names(&formats);
        self.rule("remove_suffix", column.remove_suffix.as_deref());
        self.rule("locale", column.locale.map(NumberLocale::as_str));
        self.rule("zone", column.zone.map(|zone| zone.name()));
        for (key, texts) in [("true", &column.true_texts), ("false", &column.false_texts)] {
            let mut sorted: Vec<&String> = texts.iter().collect();
            sorted.sort();
            sorted.into_iter().for_each(|text| self.rule(key, Some(text)));
        }
        self.rule("trim", column.trim.then_some(""));
        self.rule("case", column.case.map(LetterCase::as_str));
        self.rule("default", column.default.as_ref().map(DefaultValue::to_string).as_deref());
        for (key, value) in column.checks.iter().flat_map(|checks| checks.describe()) {
            self.rule(key, Some(&value));
        }
        self
    }

    /// Rules that a column does not have add nothing, so that contracts from before they existed keep their hashes. The next column cannot
    /// be taken for a rule, because no name has a `=`.
    fn rule(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(&format!("={key}")).text(value);
        }
    }

    fn finish(&self) -> String {
        blake3::hash(&self.0).to_hex()[..16].to_owned()
    }
}
