//! What a change of a contract means for a table that exists.
//!
//! The functions and `pinlake check --against` use the same rules. `docs/schema-evolution.md` lists them with examples.

use std::fmt;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::column::{Column, ColumnSource};
use crate::contract::Contract;
use crate::data_type::{Scalar, Type};
use crate::declaration::Identity;
use crate::reserved::QUARANTINE;

/// What has to happen to a table before it takes rows of the changed contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeClass {
    /// Nothing: the functions apply the change with the next insert.
    Compatible,
    /// Rows that exist change only when the table is built again. If keys change, the table takes no rows until then.
    Rebuild,
    /// The table cannot take the change: neither an insert nor a rebuild makes the values that it has fit.
    Refused,
}

impl ChangeClass {
    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeClass::Compatible => "compatible",
            ChangeClass::Rebuild => "rebuild",
            ChangeClass::Refused => "refused",
        }
    }
}

/// One difference between two contracts of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The column that has changed; `None` for the dataset.
    pub column: Option<String>,
    /// What has to happen.
    pub class: ChangeClass,
    /// What has changed, and what readers see.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {column}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Lists what has changed from `old` to `new`, two contracts of one dataset. What affects neither rows nor columns, such as descriptions and
/// routes by name, is left out.
///
/// ```
/// use pinlake_schema::{Catalog, ChangeClass, compare_contracts};
///
/// let contract = |columns: &str| {
///     let text = format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"a\"\ntype = \"int64\"\n{columns}");
///     let catalog = Catalog::from_files([("t.toml".to_owned(), text)]).map_err(|errors| errors.to_string())?;
///     catalog.contract("t").cloned().ok_or("no contract".to_owned())
/// };
/// let (old, new) = (contract("")?, contract("[[column]]\nname = \"b\"\ntype = \"string\"\n")?);
/// let changes = compare_contracts(&old, &new);
/// assert_eq!(changes[0].to_string(), "column b: added; null in rows from before");
/// assert_eq!(changes[0].class, ChangeClass::Compatible);
/// # Ok::<(), String>(())
/// ```
pub fn compare_contracts(old: &Contract, new: &Contract) -> Vec<Change> {
    let mut changes = Vec::new();
    if !has_same_identity(old, new) {
        changes.push(Change {
            column: None,
            class: ChangeClass::Rebuild,
            what: "another identity: rows have to be compared by other columns".to_owned(),
        });
    }
    if old.keep != new.keep {
        let first =
            |contract: &Contract| contract.keep.as_ref().and_then(|keep| keep.latest_by.first().cloned());
        let is_ordered_anew = old.keep.is_some() && new.keep.is_some() && first(old) != first(new);
        let what = match (&old.keep, &new.keep) {
            (Some(_), Some(_)) if is_ordered_anew => {
                "another column orders records; earlier rows keep their place only if they have values in it"
            }
            (None, _) => {
                "keeps the latest record of an identity: rows of earlier records change when later ones arrive"
            }
            (_, None) => "keeps the first record of an identity: rows no longer change",
            _ => "other rules for the latest record, which apply to new records",
        };
        let class = if is_ordered_anew { ChangeClass::Rebuild } else { ChangeClass::Compatible };
        changes.push(Change { column: None, class, what: what.to_owned() });
    }
    let (before, after) = (&old.route, &new.route);
    let is_read_alike = old.file.records == new.file.records && old.file.skip_when == new.file.skip_when;
    let for_new_records = [
        (
            (&before.shape, &before.any_of, before.misrouted)
                != (&after.shape, &after.any_of, after.misrouted),
            "other fields decide whether a record belongs to the dataset",
        ),
        (
            old.file.records != new.file.records,
            "from now on, records are read from another path in files and messages",
        ),
        (old.file.skip_when != new.file.skip_when, "other records are skipped; rows from before stay"),
        (is_read_alike && old.file != new.file, "files are read in another way from now on"),
        (
            old.cluster_by != new.cluster_by,
            "rows are sorted by other columns in files that are written from now on",
        ),
        (
            order_of_columns(old, new) != order_of_columns(new, old),
            "columns are in another order; the table keeps its order",
        ),
    ];
    for (_, what) in for_new_records.into_iter().filter(|(has_changed, _)| *has_changed) {
        changes.push(Change { column: None, class: ChangeClass::Compatible, what: what.to_owned() });
    }
    // Their rows are found by the key under the present contract alone: see `has_key_of_its_own`.
    let keeps_latest = old.keep.is_some() || new.keep.is_some();
    for column in &new.columns {
        match old.columns.iter().find(|own| own.name == column.name) {
            None => changes.push(describe_added(column)),
            Some(before) => {
                let is_in_key = determines_keys(old, before) || determines_keys(new, column);
                changes.extend(describe_changed(before, column, is_in_key && keeps_latest));
            }
        }
    }
    let dropped = old.columns.iter().filter(|column| !has_column(new, &column.name));
    changes.extend(dropped.map(|column| describe_dropped(column, old.identity.covers(column))));
    changes
}

/// The columns of a contract that another has too, in order.
fn order_of_columns<'a>(contract: &'a Contract, other: &Contract) -> Vec<&'a str> {
    let names = contract.columns.iter().map(|column| column.name.as_str());
    names.filter(|name| has_column(other, name)).collect()
}

/// The columns that keys cover under `new` and not under `old`, if rows have the same keys under both contracts once these columns are null.
/// `None` if the keys of one contract cannot be computed from rows of the other.
pub fn columns_added_to_keys(old: &Contract, new: &Contract) -> Option<Vec<String>> {
    if old.name != new.name || !has_same_identity(old, new) {
        return None;
    }
    let keeps_key = |before: &Column| {
        let after = new.columns.iter().find(|column| column.name == before.name);
        match after {
            // A column that becomes derived, or stops being derived, does not change how rows are compared.
            Some(after) if !old.identity.covers(before) => {
                !new.identity.covers(after) && (!determines_keys(old, before) || has_same_keys(before, after))
            }
            after => after.is_some_and(|after| new.identity.covers(after) && has_same_keys(before, after)),
        }
    };
    let is_relevant = |before: &&Column| old.identity.covers(before) || has_column(new, &before.name);
    if !old.columns.iter().filter(is_relevant).all(keeps_key) {
        return None;
    }
    let added =
        new.columns.iter().filter(|column| new.identity.covers(column) && !has_column(old, &column.name));
    Some(added.map(|column| column.name.clone()).collect())
}

/// The number of contracts of [`select_contracts_with_own_keys`].
const MAX_CONTRACTS_WITH_OWN_KEYS: usize = 8;

/// The contracts of the dataset of `contract` under which a record has to be cleaned as well, because its key there cannot be computed from its
/// row: columns of the key have other rules, or are gone. The newest comes first, each with its catalog. `catalogs` are in the order of their use.
/// At most the newest eight: a table with rows of older ones takes no rows until it is rebuilt.
pub fn select_contracts_with_own_keys<'a>(
    contract: &Contract,
    catalogs: &'a [Arc<Catalog>],
) -> Vec<(&'a Arc<Catalog>, &'a Arc<Contract>)> {
    let mut selected: Vec<(&Arc<Catalog>, &Arc<Contract>)> = Vec::new();
    if contract.name == QUARANTINE {
        return selected;
    }
    for catalog in catalogs.iter().rev() {
        let Some(old) = catalog.contract(&contract.name) else { continue };
        let is_selected = selected.iter().any(|(_, own)| own.identity_hash() == old.identity_hash());
        if !is_selected && has_key_of_its_own(old, contract) {
            selected.push((catalog, old));
        }
        if selected.len() == MAX_CONTRACTS_WITH_OWN_KEYS {
            break;
        }
    }
    selected
}

/// Whether a record has to be cleaned under `old` as well for its key there, because that cannot be computed from its row under `new`: columns of
/// the key have other rules, or are gone.
///
/// False if the keys of both are the same or follow from the row, if rows are compared by other columns, or if one of the contracts keeps the
/// latest record.
fn has_key_of_its_own(old: &Contract, new: &Contract) -> bool {
    let own = [Some(new.identity_hash()), new.former_identity_hash()];
    old.name == new.name
        && !own.contains(&Some(old.identity_hash()))
        && has_same_identity(old, new)
        && old.keep.is_none()
        && new.keep.is_none()
        && old.broken().is_none()
        && columns_added_to_keys(old, new).is_none()
}

/// Whether rows are compared by the same columns, in whatever order they are written.
fn has_same_identity(old: &Contract, new: &Contract) -> bool {
    match (&old.identity, &new.identity) {
        (Identity::Columns(old), Identity::Columns(new)) => {
            old.len() == new.len() && old.iter().all(|name| new.contains(name))
        }
        (old, new) => old == new,
    }
}

fn has_column(contract: &Contract, name: &str) -> bool {
    contract.columns.iter().any(|column| column.name == name)
}

/// Whether keys cover the column, or one that is derived from it.
fn determines_keys(contract: &Contract, column: &Column) -> bool {
    let is_derived_from_it = |own: &Column| match &own.source {
        ColumnSource::Derived(derivation) => {
            derivation.column == column.name && contract.identity.covers(own)
        }
        _ => false,
    };
    contract.identity.covers(column) || contract.columns.iter().any(is_derived_from_it)
}

fn describe_added(column: &Column) -> Change {
    let is_needed = column.required && column.default.is_none();
    let required = if is_needed { "; records without it are quarantined" } else { "" };
    let until = match &column.source {
        ColumnSource::Derived(derivation) => format!(", until a rebuild computes {derivation}"),
        _ => String::new(),
    };
    Change {
        column: Some(column.name.clone()),
        class: ChangeClass::Compatible,
        what: format!("added; null in rows from before{until}{required}"),
    }
}

fn describe_dropped(column: &Column, is_in_key: bool) -> Change {
    let (class, what) = if is_in_key {
        (ChangeClass::Rebuild, "dropped, and keys cover it")
    } else {
        (ChangeClass::Rebuild, "dropped; until a rebuild it stays in the table, and is null in new rows")
    };
    Change { column: Some(column.name.clone()), class, what: what.to_owned() }
}

fn describe_changed(before: &Column, after: &Column, is_in_key: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |class, what: String| {
        changes.push(Change { column: Some(after.name.clone()), class, what });
    };
    if before.data_type != after.data_type {
        let types = format!("type {} in place of {}", after.data_type, before.data_type);
        if !before.data_type.converts_to(after.data_type) {
            let what = format!(
                "{types}, and a rebuild does not convert one into the other: give the new column another name, and drop this one"
            );
            add(ChangeClass::Refused, what);
        } else if !before.data_type.widens_to(after.data_type) {
            add(ChangeClass::Rebuild, format!("{types}{}", describe_lost_digits(before, after)));
        } else if is_in_key && !has_same_key_bytes(before.data_type, after.data_type) {
            add(ChangeClass::Rebuild, format!("{types}, and keys cover it"));
        } else {
            add(
                ChangeClass::Compatible,
                format!("{types}: the data files are rewritten{}", describe_limit(before, after)),
            );
        }
    }
    if before.required != after.required {
        let what = if after.required {
            "required: new records without it are quarantined"
        } else {
            "no longer required: it may be null in new rows"
        };
        add(ChangeClass::Compatible, what.to_owned());
    }
    let checks = |column: &Column| column.checks.as_ref().map(|checks| checks.describe());
    if checks(before) != checks(after) {
        let what = "other values are allowed: new records with another one are quarantined";
        add(ChangeClass::Compatible, what.to_owned());
    }
    if !has_same_rules(before, after) {
        let (class, what) = if is_in_key {
            (ChangeClass::Rebuild, "other rules, and keys cover it: a record sent again might be another row")
        } else {
            (ChangeClass::Compatible, "other rules, which apply to new rows")
        };
        add(class, what.to_owned());
    }
    changes
}

/// Whether a value of the column gives the same bytes of a key under both contracts: docs/keys.md, "Canonical form".
fn has_same_keys(before: &Column, after: &Column) -> bool {
    has_same_rules(before, after) && has_same_key_bytes(before.data_type, after.data_type)
}

/// Whether values of both types have the same bytes in a key.
fn has_same_key_bytes(before: Type, after: Type) -> bool {
    let keeps_form = match (before.scalar(), after.scalar()) {
        (_, Scalar::Int64) => true,
        // Keys do not depend on the number of digits.
        (Scalar::Decimal(_), Scalar::Decimal(_)) => true,
        _ => false,
    };
    before == after || (before.widens_to(after) && keeps_form)
}

fn describe_limit(before: &Column, after: &Column) -> &'static str {
    match (before.data_type.scalar(), after.data_type.scalar()) {
        (Scalar::Int64, Scalar::Float64) => ", unless a value has more than 53 bits",
        _ => "",
    }
}

/// Why a change between types of numbers is not one to a wider type.
fn describe_lost_digits(before: &Column, after: &Column) -> String {
    let (own, wanted) = (before.data_type.scalar(), after.data_type.scalar());
    let Scalar::Decimal(wanted) = wanted else { return String::new() };
    let digits = match own {
        Scalar::Decimal(own) => (own.integral_digits(), own.scale()),
        Scalar::Int32 => (10, 0),
        Scalar::Int64 => (19, 0),
        _ => return String::new(),
    };
    let describe = |place: &str, before: u8, after: u8| match before <= after {
        true => None,
        false => Some(format!("{after} digits {place} the point in place of {before}")),
    };
    let lost =
        [describe("before", digits.0, wanted.integral_digits()), describe("after", digits.1, wanted.scale())];
    let lost: Vec<String> = lost.into_iter().flatten().collect();
    match lost.is_empty() {
        true => String::new(),
        false => format!(": {}; a rebuild refuses values that do not fit", lost.join(", ")),
    }
}

/// Whether both columns make the same value of each record that both accept.
fn has_same_rules(before: &Column, after: &Column) -> bool {
    // Destructured, so that a new rule cannot be forgotten.
    let Column {
        name: _,
        data_type: _,
        description: _,
        source,
        null,
        required: _,
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
        // They decide which records are accepted.
        checks: _,
    } = before;
    let same_texts = |before: &[String], after: &[String]| {
        before.len() == after.len() && before.iter().all(|text| after.contains(text))
    };
    let texts = |formats: &[crate::TimeFormat]| {
        formats.iter().map(|format| format.as_str().to_owned()).collect::<Vec<_>>()
    };
    *source == after.source
        && same_texts(null, &after.null)
        && *counts == after.counts
        && *remove_prefix == after.remove_prefix
        && *remove_suffix == after.remove_suffix
        && *locale == after.locale
        && *zone == after.zone
        && same_texts(true_texts, &after.true_texts)
        && same_texts(false_texts, &after.false_texts)
        && *trim == after.trim
        && *case == after.case
        && *default == after.default
        && texts(formats) == texts(&after.formats)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIT: &str = "[[column]]\nname = \"visitor\"\ntype = \"int32\"\nrequired = true\n\
                         [[column]]\nname = \"page\"\ntype = \"string\"\n";

    fn contract(identity: &str, columns: &str) -> Arc<Contract> {
        let text = format!("name = \"visit\"\nversion = 1\n{identity}\n{columns}");
        let catalog = Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap();
        catalog.contract("visit").unwrap().clone()
    }

    #[test]
    fn each_change_has_a_class() {
        use ChangeClass::{Compatible, Rebuild, Refused};
        const ROW: &str = "";
        const BY_VISITOR: &str = "identity = [\"visitor\"]";
        const BY_RECORD: &str = "identity = \"record\"";
        let added = format!("{VISIT}[[column]]\nname = \"at\"\ntype = \"timestamp\"\n");
        let reordered = "[[column]]\nname = \"page\"\ntype = \"string\"\n\
                         [[column]]\nname = \"visitor\"\ntype = \"int32\"\nrequired = true\n";
        let widened = VISIT.replace("int32", "int64");
        let relaxed = VISIT.replace("required = true\n", "");
        let marker = format!("{VISIT}null = [\"NA\"]\n");
        let alternative = format!("{VISIT}from = [\"page\", \"url\"]\n");
        let dropped = VISIT.split("[[column]]\nname = \"page\"").next().unwrap();
        let tightened = format!("{VISIT}required = true\n");
        let renamed = VISIT.replace("page", "url");
        let localized = VISIT.replace("required", "locale = \"de\"\nremove_suffix = \"%\"\nrequired");
        let bounded = VISIT.replace("required", "min = 1\nrequired");
        let with_default = format!("{VISIT}default = \"/\"\n");
        let narrowed = VISIT.replace("string", "date");
        for (identity, columns, class, keys) in [
            (ROW, VISIT, None, Some(&[][..])),
            (ROW, &added, Some(Compatible), Some(&["at"])),
            (ROW, reordered, Some(Compatible), Some(&[])),
            (ROW, &widened, Some(Compatible), Some(&[])),
            (ROW, &VISIT.replace("int32", "float64"), Some(Compatible), None),
            (BY_RECORD, &VISIT.replace("int32", "float64"), Some(Compatible), Some(&[])),
            (BY_RECORD, &VISIT.replace("int32", "array<int32>"), Some(Refused), Some(&[])),
            (BY_VISITOR, &VISIT.replace("string", "timestamp"), Some(Rebuild), Some(&[])),
            (BY_VISITOR, &VISIT.replace("string", "array<string>"), Some(Refused), Some(&[])),
            (BY_RECORD, &VISIT.replace("int32", "boolean"), Some(Refused), Some(&[])),
            (ROW, &relaxed, Some(Compatible), Some(&[])),
            (ROW, &marker, Some(Compatible), None),
            (ROW, &alternative, Some(Compatible), None),
            (ROW, dropped, Some(Rebuild), None),
            (BY_VISITOR, &added, Some(Compatible), Some(&[])),
            (BY_VISITOR, &marker, Some(Compatible), Some(&[])),
            (BY_VISITOR, dropped, Some(Rebuild), Some(&[])),
            (ROW, &tightened, Some(Compatible), Some(&[])),
            (ROW, &renamed, Some(Rebuild), None),
            (BY_VISITOR, &renamed, Some(Rebuild), Some(&[])),
            (BY_VISITOR, &narrowed, Some(Rebuild), Some(&[])),
            (BY_RECORD, &alternative, Some(Compatible), Some(&[])),
            (BY_RECORD, dropped, Some(Rebuild), Some(&[])),
            (ROW, &localized, Some(Compatible), None),
            (BY_RECORD, &localized, Some(Compatible), Some(&[])),
            (ROW, &bounded, Some(Compatible), Some(&[])),
            (ROW, &with_default, Some(Compatible), None),
        ] {
            let (old, new) = (contract(identity, VISIT), contract(identity, columns));
            let changes = compare_contracts(&old, &new);
            assert_eq!(changes.iter().map(|change| change.class).max(), class, "{identity} {columns}");
            let keys = keys.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            assert_eq!(columns_added_to_keys(&old, &new), keys, "{identity} {columns}");
        }
        let decimal = |precision, scale| VISIT.replace("int32", &format!("decimal({precision},{scale})"));
        let by_page = "identity = [\"page\"]";
        let named =
            |columns: &str| columns.replace("type = \"string\"", "type = \"string\"\nrequired = true");
        for (identity, before, after, class, keys) in [
            (ROW, decimal(12, 2), decimal(14, 4), Compatible, Some(0)),
            (ROW, decimal(12, 2), decimal(38, 2), Compatible, Some(0)),
            (ROW, decimal(12, 2), decimal(12, 4), Rebuild, None),
            (by_page, decimal(12, 2), decimal(12, 4), Rebuild, Some(0)),
            (ROW, VISIT.to_owned(), decimal(12, 2), Compatible, None),
            (by_page, VISIT.to_owned(), decimal(12, 2), Compatible, Some(0)),
            (by_page, VISIT.to_owned(), decimal(11, 2), Rebuild, Some(0)),
            (by_page, widened.clone(), decimal(20, 2), Rebuild, Some(0)),
            (by_page, widened.clone(), decimal(21, 2), Compatible, Some(0)),
            (by_page, decimal(12, 2), widened.clone(), Rebuild, Some(0)),
        ] {
            let (old, new) = (contract(identity, &named(&before)), contract(identity, &named(&after)));
            let changes = compare_contracts(&old, &new);
            assert_eq!(changes.iter().map(|change| change.class).max(), Some(class), "{changes:?}");
            assert_eq!(columns_added_to_keys(&old, &new).map(|added| added.len()), keys, "{changes:?}");
        }
        let words = compare_contracts(&contract(ROW, &decimal(12, 2)), &contract(ROW, &decimal(12, 4)));
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "column visitor: type decimal(12,4) in place of decimal(12,2): 8 digits before the point in place of 10; a \
              rebuild refuses values that do not fit"
            ]
        );
        // Derived columns are not in the keys of whole rows.
        let timed = format!("{VISIT}[[column]]\nname = \"at\"\ntype = \"timestamp\"\n");
        let day = |derive: &str| format!("{timed}[[column]]\nname = \"day\"\ntype = \"int32\"\n{derive}");
        let (by_year, by_month, plain) =
            (day("derive = \"year(at)\"\n"), day("derive = \"month(at)\"\n"), day(""));
        for (identity, before, after, class, keys) in [
            (ROW, &timed, &by_year, Compatible, Some(0)),
            (BY_VISITOR, &timed, &by_year, Compatible, Some(0)),
            (ROW, &by_year, &timed, Rebuild, Some(0)),
            (ROW, &by_year, &by_month, Compatible, Some(0)),
            (ROW, &by_year, &plain, Compatible, None),
            (ROW, &plain, &by_year, Compatible, None),
            (BY_VISITOR, &plain, &by_year, Compatible, Some(0)),
        ] {
            let (old, new) = (contract(identity, before), contract(identity, after));
            let changes = compare_contracts(&old, &new);
            assert_eq!(changes.iter().map(|change| change.class).max(), Some(class), "{changes:?}");
            assert_eq!(columns_added_to_keys(&old, &new).map(|added| added.len()), keys, "{changes:?}");
        }
        // Nor does the rule of a time change keys, unless they cover what is derived from it.
        let zoned = by_year.replace("type = \"timestamp\"", "type = \"timestamp\"\nzone = \"Asia/Tokyo\"");
        for (identity, class, keys) in [
            (BY_VISITOR, Compatible, Some(0)),
            ("identity = [\"visitor\", \"day\"]", Compatible, None),
            (ROW, Compatible, None),
        ] {
            let (old, new) = (contract(identity, &by_year), contract(identity, &zoned));
            let changes = compare_contracts(&old, &new);
            assert_eq!(changes.iter().map(|change| change.class).max(), Some(class), "{changes:?}");
            assert_eq!(columns_added_to_keys(&old, &new).map(|added| added.len()), keys, "{identity}");
            assert_eq!(old.identity_hash() == new.identity_hash(), keys.is_some(), "{identity}");
        }
        let words = compare_contracts(&contract(ROW, &timed), &contract(ROW, &by_year));
        assert_eq!(
            words[0].to_string(),
            "column day: added; null in rows from before, until a rebuild computes year(at)"
        );
        // A field that a new column reads is no longer among the others.
        let (old, new) = (contract("rest = \"others\"", VISIT), contract("rest = \"others\"", &added));
        assert_eq!(compare_contracts(&old, &new).iter().map(|change| change.class).max(), Some(Compatible));
        assert_eq!(columns_added_to_keys(&old, &new), None);
        // The latest record is found by the identity that the present contract computes.
        let latest = |zone: &str| {
            let latest = "identity = [\"visitor\", \"at\"]\nkeep = { latest_by = [\"page\"] }";
            contract(latest, &format!("{timed}{zone}\n"))
        };
        let changes = compare_contracts(&latest(""), &latest("zone = \"Asia/Tokyo\""));
        assert_eq!(changes.iter().map(|change| change.class).max(), Some(Rebuild), "{changes:?}");
        let (old, new) = (contract(ROW, VISIT), contract(BY_VISITOR, VISIT));
        assert_eq!(compare_contracts(&old, &new)[0].class, Rebuild);
        assert_eq!(columns_added_to_keys(&old, &new), None);
    }
}
