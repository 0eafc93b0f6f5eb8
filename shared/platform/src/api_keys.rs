//! API keys: who may write to which datasets.
//!
//! A deployment knows its keys by an entry each, `<name>:<SHA-256 of the key, 64 hex digits>[:<dataset>+<dataset>...]`,
//! divided by commas; without datasets a key is good for all of them. The keys themselves are nowhere: they are 256
//! random bits, which no dictionary has, so a plain hash keeps them as well as a slow one would, and costs a request
//! next to nothing.
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

/// The most keys of a deployment: enough for many clients in the midst of a rotation.
pub const MOST_KEYS: usize = 64;
/// The most bytes that are looked at as a key.
pub const LONGEST_KEY: usize = 256;
/// What keys that pinlake makes begin with, so that scanners for leaked secrets know them.
pub const PREFIX: &str = "plk_";

/// The keys of a deployment.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys(Vec<ApiKey>);

/// A key, as far as it is known.
#[derive(Clone)]
pub struct ApiKey {
    /// Whose it is: for logs.
    pub name: String,
    hash: [u8; 32],
    /// None: all datasets.
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

/// An entry is wrong: the function does not start. What stands there is not repeated, it could be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {number} of the API keys: {problem}; `pinlake key new` prints an entry")]
pub struct BadEntry {
    /// Which one, from 1.
    pub number: usize,
    /// What is wrong.
    pub problem: String,
}

impl ApiKeys {
    /// Reads the entries of a deployment with the contracts of `catalog`.
    ///
    /// # Errors
    /// When an entry has another form, or names a dataset that there is not, or one from which records may get into
    /// others.
    pub fn parse(text: &str, catalog: &Catalog) -> Result<Self, BadEntry> {
        let mut keys: Vec<ApiKey> = Vec::new();
        for (at, entry) in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate() {
            let bad = |problem: String| BadEntry { number: at + 1, problem };
            if at == MOST_KEYS {
                return Err(bad(format!("there are more than {MOST_KEYS}")));
            }
            let key = ApiKey::parse(entry, catalog).map_err(bad)?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(bad("its name is taken: give each key one of its own".to_owned()));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key this is. Takes the same time whichever it is and whether it is one.
    pub fn find(&self, presented: &[u8]) -> Option<&ApiKey> {
        if presented.len() > LONGEST_KEY {
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
        let hash =
            from_hex(hash).ok_or("after the name stand : and 64 hexadecimal digits, the key's SHA-256")?;
        let datasets = match parts.next() {
            None => None,
            Some(list) => Some(list.split('+').map(|name| scope(name, catalog)).collect::<Result<_, _>>()?),
        };
        Ok(Self { name: name.to_owned(), hash, datasets })
    }

    /// Whether the key is good for records of `dataset`; none: for records of which only the cleaner will tell.
    pub fn covers(&self, dataset: Option<&str>) -> bool {
        match (&self.datasets, dataset) {
            (None, _) => true,
            (Some(datasets), Some(dataset)) => datasets.contains(dataset),
            (Some(_), None) => false,
        }
    }
}

/// A dataset that a key may be limited to.
fn scope(name: &str, catalog: &Catalog) -> Result<String, String> {
    let contract = catalog.contract(name).filter(|contract| contract.name != QUARANTINE);
    match contract.map(|contract| contract.route.misrouted) {
        None => Err("there is no contract for a dataset that it names".to_owned()),
        // The cleaner would put such a record into a dataset that the key is not good for.
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

/// The entry of a key that is good for `datasets`, or for all when none is named.
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

    fn parse(text: &str) -> Result<ApiKeys, BadEntry> {
        ApiKeys::parse(text, &Catalog::embedded().unwrap())
    }

    #[test]
    fn an_entry_is_the_sha_256_that_other_programs_give() {
        // printf %s abc | sha256sum
        assert_eq!(
            entry("a", "abc", &["pin".to_owned(), "geo".to_owned()]),
            "a:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad:pin+geo"
        );
    }

    #[test]
    fn wrong_entries_are_named_by_their_number_and_never_repeated() {
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
    fn several_keys_serve_at_once_and_nothing_near_them_does() {
        let keys = parse(&format!("{},{}", entry("old", "k1", &[]), entry("new", "k2", &[]))).unwrap();
        assert_eq!(keys.find(b"k1").unwrap().name, "old");
        assert_eq!(keys.find(b"k2").unwrap().name, "new");
        for presented in [&b""[..], b"k", b"k1 ", b"K1", b"k1\0", b"k3", &[b'k'; 300]] {
            assert!(keys.find(presented).is_none());
        }
        assert!(!format!("{keys:?}").contains(&entry("old", "k1", &[])[4..]), "hashes stay out of logs, too");
    }
}
