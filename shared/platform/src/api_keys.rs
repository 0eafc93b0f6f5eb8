//! API keys: which client can write to which datasets.
//!
//! A deployment has one entry for each key, `<name>:<SHA-256 of the key, 64 hex digits>[:<dataset>+<dataset>...]`,
//! separated by commas. A key without datasets grants access to all of them. The keys themselves are not stored. A key
//! is 256 random bits, so a dictionary attack is impossible and a plain hash protects it as well as a slow one.
//!
//! ```
//! use pinlake_platform::api_keys::{ApiKeys, entry};
//! use pinlake_schema::Catalog;
//!
//! let catalog = Catalog::embedded().unwrap();
//! let text = format!("{},{}", entry("phones", "plk_1", &["pin".to_owned()]), entry("ops", "plk_2", &[]));
//! let keys = ApiKeys::parse(&text, &catalog).unwrap();
//! let phones = keys.find(b"plk_1").unwrap();
//! assert!(phones.name == "phones" && phones.covers(Some("pin")) && !phones.covers(Some("geo")));
//! assert!(keys.find(b"plk_3").is_none());
//! ```

use std::collections::BTreeSet;
use std::fmt;

use pinlake_schema::{Catalog, MisroutedPolicy, QUARANTINE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Limit of keys in a deployment: enough for many clients during a rotation.
pub const MAX_KEYS: usize = 64;
/// Limit of a key, in bytes. Longer keys are rejected without hashing.
pub const MAX_KEY_BYTES: usize = 256;
/// Prefix of the keys that pinlake generates, by which secret scanners recognise them.
pub const PREFIX: &str = "plk_";

/// The keys of a deployment.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys(Vec<ApiKey>);

/// A key, known by its hash.
#[derive(Clone)]
pub struct ApiKey {
    /// Name of the key, for logs.
    pub name: String,
    hash: [u8; 32],
    /// Datasets that the key grants access to; `None` for all.
    datasets: Option<BTreeSet<String>>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("datasets", &self.datasets)
            .finish_non_exhaustive()
    }
}

/// An entry is invalid. The function does not start. The error does not quote the entry, which could be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {number} of the API keys: {problem}; `pinlake key new` prints an entry")]
pub struct EntryError {
    /// Number of the entry, from 1.
    pub number: usize,
    /// Reason.
    pub problem: String,
}

impl ApiKeys {
    /// Parses the entries of a deployment.
    ///
    /// # Errors
    /// When an entry is malformed, or names a dataset that `catalog` does not have or that reroutes records to others.
    pub fn parse(text: &str, catalog: &Catalog) -> Result<Self, EntryError> {
        let mut keys: Vec<ApiKey> = Vec::new();
        for (at, entry) in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate() {
            let bad = |problem: String| EntryError { number: at + 1, problem };
            if at == MAX_KEYS {
                return Err(bad(format!("there are more than {MAX_KEYS}")));
            }
            let key = ApiKey::parse(entry, catalog).map_err(bad)?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(bad("its name is taken: give each key one of its own".to_owned()));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the entry of a key in constant time: the same for every key, known or not.
    pub fn find(&self, presented: &[u8]) -> Option<&ApiKey> {
        if presented.len() > MAX_KEY_BYTES {
            return None;
        }
        let hash = Sha256::digest(presented);
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.hash.ct_eq(hash.as_slice())) {
                found = Some(key);
            }
        }
        found
    }
}

impl ApiKey {
    fn parse(entry: &str, catalog: &Catalog) -> Result<Self, String> {
        let mut parts = entry.splitn(3, ':');
        let (name, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !is_name(name) {
            return Err("a name has 1 to 64 letters, digits, - and _".to_owned());
        }
        let hash = from_hex(hash)
            .ok_or("after the name, : and 64 hexadecimal digits are expected, the key's SHA-256")?;
        let datasets = match parts.next() {
            None => None,
            Some(list) => {
                Some(list.split('+').map(|name| parse_dataset(name, catalog)).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { name: name.to_owned(), hash, datasets })
    }

    /// Returns whether the key grants access to `dataset`. Without a dataset: to records that only the cleaner can
    /// route.
    pub fn covers(&self, dataset: Option<&str>) -> bool {
        match (&self.datasets, dataset) {
            (None, _) => true,
            (Some(datasets), Some(dataset)) => datasets.contains(dataset),
            (Some(_), None) => false,
        }
    }
}

/// Parses a dataset that a key can be limited to.
fn parse_dataset(name: &str, catalog: &Catalog) -> Result<String, String> {
    let contract = catalog.contract(name).filter(|contract| contract.name != QUARANTINE);
    match contract.map(|contract| contract.route.misrouted) {
        // Its contract may be a file that cannot be read. The key stays valid for its other datasets.
        None if !catalog.broken().is_empty() && !name.is_empty() && name != QUARANTINE => Ok(name.to_owned()),
        None => Err("there is no contract for a dataset that it names".to_owned()),
        // The cleaner would route records to datasets that the key does not grant access to.
        Some(MisroutedPolicy::Reroute) => Err(format!(
            "the contract of {name} reroutes records into other datasets, so a key cannot be limited to it: \
             write misrouted = \"quarantine\" there"
        )),
        Some(MisroutedPolicy::Quarantine) => Ok(name.to_owned()),
    }
}

/// Whether a key may have this name.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The entry of a key for `datasets`, or for all datasets if none is named.
pub fn entry(name: &str, key: &str, datasets: &[String]) -> String {
    let hash = hex::encode(Sha256::digest(key));
    let scope = if datasets.is_empty() { String::new() } else { format!(":{}", datasets.join("+")) };
    format!("{name}:{hash}{scope}")
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApiKeys, EntryError> {
        ApiKeys::parse(text, &Catalog::embedded().unwrap())
    }

    #[test]
    fn an_entry_has_the_sha_256_that_other_programs_compute() {
        // printf %s abc | sha256sum
        assert_eq!(
            entry("a", "abc", &["pin".to_owned(), "geo".to_owned()]),
            "a:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad:pin+geo"
        );
    }

    #[test]
    fn an_error_names_an_entry_by_its_number_and_never_quotes_it() {
        let good = entry("a", "secret", &[]);
        for (text, problem) in [
            ("plk_secret", "after the name"),
            ("a b:00", "a name has"),
            ("b:plk_secret", "after the name"),
            ("b:plk_secret:pin", "after the name"),
        ] {
            let error = parse(&format!("{good},{text}")).unwrap_err();
            assert!(error.number == 2 && error.problem.contains(problem), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(parse(&format!("{good},{good}")).unwrap_err().problem.contains("taken"));
        for datasets in ["nosuch", "", "quarantine", "pin+"] {
            assert!(parse(&format!("{good}:{datasets}")).unwrap_err().problem.contains("no contract"));
        }
        assert!(parse("").unwrap().is_empty() && parse(" , ").unwrap().is_empty());
    }

    #[test]
    fn a_key_is_not_limited_to_a_dataset_that_reroutes() {
        let contract = |misrouted: &str| {
            let text = format!(
                "name = \"visit\"\nversion = 1\ndescription = \"x\"\n[route]\nshape = [\"v\"]\nmisrouted = \"{misrouted}\"\n\
                 [[column]]\nname = \"v\"\ntype = \"int64\"\n"
            );
            Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap()
        };
        let text = entry("a", "k", &["visit".to_owned()]);
        assert!(ApiKeys::parse(&text, &contract("quarantine")).is_ok());
        assert!(ApiKeys::parse(&text, &contract("reroute")).unwrap_err().problem.contains("reroutes"));
    }

    #[test]
    fn several_keys_are_valid_at_once_and_similar_ones_are_not() {
        let keys = parse(&format!("{},{}", entry("old", "k1", &[]), entry("new", "k2", &[]))).unwrap();
        assert_eq!(keys.find(b"k1").unwrap().name, "old");
        assert_eq!(keys.find(b"k2").unwrap().name, "new");
        for presented in [&b""[..], b"k", b"k1 ", b"K1", b"k1\0", b"k3", &[b'k'; 300]] {
            assert!(keys.find(presented).is_none());
        }
        assert!(!format!("{keys:?}").contains(&entry("old", "k1", &[])[4..]), "hashes stay out of logs, too");
    }
}
