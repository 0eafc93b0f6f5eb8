//! What the contracts say about a file before it is read.

use std::collections::HashSet;

use pinlake_schema::field_name::{fold_case, normalize};
use pinlake_schema::{CANARY, Catalog, Contract, FileFormat, QUARANTINE};

/// The folder value that means null, in the layout of Hive.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// The most names that a message lists.
const MAX_LISTED: usize = 12;
/// The most characters of a name that a message shows.
const MAX_NAME_CHARS: usize = 60;

/// The fields that a file may have, how its text is written, and what its folders say.
#[derive(Debug, Clone)]
pub struct FileContract {
    /// The dataset of its records, if it is known.
    dataset: Option<String>,
    /// The fields that the contracts read, in their order.
    fields: Vec<String>,
    /// The same without regard to case and normal form.
    folded: HashSet<String>,
    pub(super) format: FileFormat,
    /// The fields that are in the names of folders, as members of a JSON object.
    pub(super) folder_members: Vec<u8>,
}

impl FileContract {
    /// The contract of a file of `dataset`; without one, all contracts of the catalog together. A folder of `path` that is called
    /// `country=Chile` is the field `country` of all records, if a contract reads a field of this name.
    pub fn new(catalog: &Catalog, dataset: Option<&str>, path: &str) -> Self {
        let contract = dataset.and_then(|dataset| catalog.contract(dataset));
        let all =
            catalog.contracts().filter(|contract| ![QUARANTINE, CANARY].contains(&contract.name.as_str()));
        let contracts: Vec<&Contract> = match contract {
            Some(contract) => vec![contract],
            None => all.map(|contract| &**contract).collect(),
        };
        let mut fields: Vec<String> = Vec::new();
        let mut folded = HashSet::new();
        for contract in &contracts {
            for field in contract.top_level_fields() {
                if folded.insert(fold(field)) {
                    fields.push(field.clone());
                }
            }
        }
        let format = contract.map(|contract| contract.file.clone()).unwrap_or_default();
        let mut own =
            Self { dataset: dataset.map(str::to_owned), fields, folded, format, folder_members: Vec::new() };
        own.folder_members = own.read_folders(path);
        own
    }

    fn read_folders(&self, path: &str) -> Vec<u8> {
        let mut members = Vec::new();
        let Some((folders, _)) = path.rsplit_once('/') else { return members };
        let read = folders.split('/').filter_map(|folder| folder.split_once('='));
        for (name, value) in read.filter(|(name, _)| self.has_field(name)) {
            if !members.is_empty() {
                members.push(b',');
            }
            let value = (value != HIVE_NULL && !value.is_empty()).then(|| decode_percent(value));
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut members, name);
            members.push(b':');
            let _ = serde_json::to_writer(&mut members, &value);
        }
        members
    }

    /// Whether a contract reads a field of this name, or of a similar one.
    pub(super) fn has_field(&self, name: &str) -> bool {
        self.folded.contains(&fold(name))
    }

    /// What the file is for, in a message: `dataset visit`.
    pub(super) fn describe(&self) -> String {
        match &self.dataset {
            Some(dataset) => format!("dataset {dataset}"),
            None => "any dataset".to_owned(),
        }
    }

    /// Says that none of the names that were found is a field.
    pub(super) fn no_field(&self, found: &[String], what: &str) -> String {
        format!(
            "{what} has no column of {}: it has {}, and the contract reads {}",
            self.describe(),
            list(found),
            list(&self.fields)
        )
    }

    /// Where the keys of `[file]` are written, in a message.
    pub(super) fn place(contract: Option<&Self>) -> String {
        match contract.map(|contract| &contract.dataset) {
            Some(Some(dataset)) => format!("in [file] of datasets/{dataset}.toml"),
            Some(None) => "in [file] of the contract, and name its dataset with --dataset".to_owned(),
            None => "in [file] of its contract".to_owned(),
        }
    }
}

fn fold(name: &str) -> String {
    fold_case(&normalize(name))
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(MAX_LISTED).map(|name| {
        let shown: String = name.chars().take(MAX_NAME_CHARS).flat_map(char::escape_debug).collect();
        let rest = if name.chars().nth(MAX_NAME_CHARS).is_some() { "…" } else { "" };
        format!("`{shown}{rest}`")
    });
    let mut list = shown.collect::<Vec<_>>().join(", ");
    if names.len() > MAX_LISTED {
        list.push_str(&format!(" and {} more", names.len() - MAX_LISTED));
    }
    if list.is_empty() { "no name".to_owned() } else { list }
}

/// Decodes `%20` and the like, as in names of folders. What is not such a code stays.
fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}
