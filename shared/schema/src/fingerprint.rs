//! Hashes of what a contract means, not of how its file is written.

use crate::contract::{Column, Declared, FieldNames, Identity, Misrouted, Source};
use crate::timestamp::TimeFormat;

/// Everything that changes what cleaning a record gives.
pub(crate) fn of_output(contract: &Declared) -> String {
    let mut canonical = Canonical::new("pinlake-contract-1");
    canonical.text(&contract.name).number(u64::from(contract.version));
    canonical.names(&contract.route.shape);
    canonical.number(match contract.route.misrouted {
        Misrouted::Quarantine => 0,
        Misrouted::Reroute => 1,
    });
    canonical.identity(&contract.identity);
    canonical.number(contract.columns.len() as u64);
    for column in &contract.columns {
        canonical.column(column);
    }
    canonical.finish()
}

/// What determines a row's key: the form of keys, the kind of identity, and the rules of the columns in it.
/// The order of columns does not count, as it does not in keys.
pub(crate) fn of_identity(contract: &Declared) -> String {
    let mut canonical = Canonical::new("pinlake-identity-1");
    canonical.text(&contract.name).identity(&contract.identity);
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

/// What a set of contracts gives, whose hashes come in the order of their names.
pub(crate) fn of_catalog<'a>(hashes: impl Iterator<Item = &'a str>) -> String {
    let mut canonical = Canonical::new("pinlake-catalog-1");
    hashes.for_each(|hash| {
        canonical.text(hash);
    });
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

    fn identity(&mut self, identity: &Identity) -> &mut Canonical {
        match identity {
            Identity::Row => self.number(0),
            Identity::Record => self.number(1),
            Identity::Columns(names) => {
                let mut sorted = names.clone();
                sorted.sort();
                self.number(2).names(&sorted)
            }
        }
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
