//! Hashes of what a contract means, not of how its file is written.

use crate::QUARANTINE;
use crate::contract::{Column, Contract, Declared, FieldNames, Identity, MisroutedPolicy, Route, Source};
use crate::timestamp::TimeFormat;

/// Everything that changes what cleaning a record gives.
pub(crate) fn of_output(contract: &Declared) -> String {
    let mut canonical = Canonical::new("pinlake-contract-1");
    canonical.text(&contract.name).number(u64::from(contract.version));
    canonical.names(&contract.route.shape);
    canonical.number(match contract.route.misrouted {
        MisroutedPolicy::Quarantine => 0,
        MisroutedPolicy::Reroute => 1,
    });
    canonical.identity(kind(&contract.identity), &contract.identity);
    canonical.number(contract.columns.len() as u64);
    for column in &contract.columns {
        canonical.column(column);
    }
    if contract.name == QUARANTINE {
        // Its keys cover the record where equal records may be two. What landed before they did is cleaned again.
        canonical.number(QUARANTINE_KEYS);
    }
    canonical.finish()
}

/// The form of quarantine's keys.
const QUARANTINE_KEYS: u64 = 2;

/// What determines a row's key: the form of keys, the kind of identity, and the rules of the columns in it.
/// The order of columns does not count, as it does not in keys.
pub(crate) fn of_identity(contract: &Declared) -> String {
    of_key(contract, kind(&contract.identity))
}

/// As [`of_identity`] was before the keys of `identity = "record"` covered the record's content; `None` for the others,
/// whose keys are as they were.
pub(crate) fn of_former_identity(contract: &Declared) -> Option<String> {
    (contract.identity == Identity::Record).then(|| of_key(contract, FORMER_RECORD))
}

/// Kinds of identity as they are hashed. The first form of `identity = "record"` has a number of its own.
const ROW: u64 = 0;
const FORMER_RECORD: u64 = 1;
const COLUMNS: u64 = 2;
const RECORD: u64 = 3;

fn kind(identity: &Identity) -> u64 {
    match identity {
        Identity::Row => ROW,
        Identity::Columns(_) => COLUMNS,
        Identity::Record => RECORD,
    }
}

fn of_key(contract: &Declared, kind: u64) -> String {
    let mut canonical = Canonical::new("pinlake-identity-1");
    canonical.text(&contract.name).identity(kind, &contract.identity);
    let mut columns: Vec<&Column> = contract
        .columns
        .iter()
        .filter(|column| match &contract.identity {
            Identity::Row => true,
            Identity::Columns(names) => names.contains(&column.name),
            Identity::Record => false,
        })
        .collect();
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    canonical.number(columns.len() as u64);
    for column in columns {
        canonical.column(column);
    }
    canonical.finish()
}

/// Everything of a set of contracts that decides what becomes of a record: what each contract gives, and which dataset the
/// names of topics, streams, partition keys and files tell. The contracts come in the order of their names.
pub(crate) fn of_catalog<'a>(
    contracts: impl Iterator<Item = &'a Contract>,
    shared_streams: &[String],
) -> String {
    let mut canonical = Canonical::new("pinlake-catalog-2");
    for contract in contracts {
        // Destructured, so that a new route cannot be left out. The contract's own hash has the shape and what it decides.
        let Route { topics, streams, partition_keys, files, shape: _, misrouted: _ } = &contract.route;
        canonical.text(contract.hash());
        [topics, streams, partition_keys, files].into_iter().for_each(|names| {
            canonical.names(names);
        });
    }
    canonical.names(shared_streams);
    canonical.finish()
}

/// A byte string in which every part says how long it is, so that no two contracts share one.
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
        // The description is left out: it changes no value.
        self.text(&column.name).text(&column.data_type.to_string());
        match &column.source {
            Source::Field(names) => self.number(0).names(names),
            Source::Join { fields, separator } => self.number(1).fields(fields).text(separator),
            Source::ArrayOf(fields) => self.number(2).fields(fields),
            Source::Cleaner => self.number(3),
        };
        // The order of null markers means nothing.
        let mut null = column.null.clone();
        null.sort();
        self.names(&null).number(u64::from(column.required)).number(u64::from(column.counts));
        match &column.remove_prefix {
            None => self.number(0),
            Some(prefix) => self.number(1).text(prefix),
        };
        let formats: Vec<String> = column.formats.iter().map(TimeFormat::as_str).map(str::to_owned).collect();
        self.names(&formats)
    }

    fn finish(&self) -> String {
        blake3::hash(&self.0).to_hex()[..16].to_owned()
    }
}
