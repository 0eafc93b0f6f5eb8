//! All contracts of one deployment, and which of them a record's address names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::contract::Contract;
use crate::mistake::{ContractError, ContractErrors};
use crate::{QUARANTINE, fingerprint, pattern, reader};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../datasets");

/// The file of routes that belong to no single dataset.
pub(crate) const ROUTES_FILE: &str = "_routes.toml";

/// All contracts of one deployment.
#[derive(Debug, Clone)]
pub struct Catalog {
    contracts: BTreeMap<String, Arc<Contract>>,
    quarantine: Arc<Contract>,
    shared_streams: Vec<String>,
    files: Vec<(String, String)>,
    hash: String,
}

/// What a stream's name tells about its records.
#[derive(Debug, Clone, Copy)]
pub enum StreamRoute<'a> {
    /// All its records are sent to this dataset.
    Dataset(&'a Arc<Contract>),
    /// It carries all datasets: the partition key, then the record's own fields decide.
    Shared,
    /// No contract names it.
    Unknown,
}

impl Catalog {
    /// The contracts of `datasets/`, as they were when the program was built.
    pub fn embedded() -> Result<Catalog, ContractErrors> {
        Catalog::from_files(EMBEDDED.files().filter_map(|file| {
            let name = file.path().file_name()?.to_str()?;
            let text = String::from_utf8_lossy(file.contents()).into_owned();
            is_contract_file(name).then(|| (format!("datasets/{name}"), text))
        }))
    }

    /// The contracts of the `.toml` files of a folder, not of its subfolders.
    pub fn from_dir(dir: &Path) -> Result<Catalog, ContractErrors> {
        let unreadable = |path: &Path, error: std::io::Error| {
            ContractErrors::from_vec(vec![ContractError::at(
                &path.display().to_string(),
                "",
                0..0,
                format!("cannot be read: {error}"),
                "name a folder of contract files (*.toml) that this program may read",
            )])
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|error| unreadable(dir, error))? {
            let path = entry.map_err(|error| unreadable(dir, error))?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(is_contract_file) {
                let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
                files.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        if files.is_empty() {
            let empty = std::io::Error::other("there is no contract in it");
            return Err(unreadable(dir, empty));
        }
        Catalog::from_files(files)
    }

    /// The contracts of these files, each a name for messages and its text. Refuses all of them with every
    /// mistake of every file. A set without a `quarantine` contract gets the embedded one.
    pub fn from_files(files: impl IntoIterator<Item = (String, String)>) -> Result<Catalog, ContractErrors> {
        let mut files: Vec<(String, String)> = files.into_iter().collect();
        files.sort();
        let mut read = reader::read_files(&files);
        if read.mistakes.is_empty() && !read.contracts.iter().any(|contract| contract.name == QUARANTINE) {
            let own = EMBEDDED.get_file("quarantine.toml").and_then(|file| file.contents_utf8());
            let own = own.map(|text| ("datasets/quarantine.toml".to_owned(), text.to_owned()));
            let own = reader::read_files(own.as_slice());
            read.contracts.extend(own.contracts);
            read.mistakes.extend(own.mistakes);
        }
        let contracts: BTreeMap<String, Arc<Contract>> =
            read.contracts.into_iter().map(|contract| (contract.name.clone(), Arc::new(contract))).collect();
        match contracts.get(QUARANTINE) {
            Some(quarantine) if read.mistakes.is_empty() => Ok(Catalog {
                quarantine: Arc::clone(quarantine),
                hash: fingerprint::of_catalog(
                    contracts.values().map(|contract| &**contract),
                    &read.shared_streams,
                ),
                contracts,
                shared_streams: read.shared_streams,
                files,
            }),
            _ => Err(ContractErrors::from_vec(read.mistakes)),
        }
    }

    /// All contracts in the order of their names, quarantine included.
    pub fn contracts(&self) -> impl Iterator<Item = &Arc<Contract>> {
        self.contracts.values()
    }

    /// The contract of a dataset.
    pub fn contract(&self, dataset: &str) -> Option<&Arc<Contract>> {
        self.contracts.get(dataset)
    }

    /// The contract of the dataset that takes the records which broke another.
    pub fn quarantine(&self) -> &Arc<Contract> {
        &self.quarantine
    }

    /// The files that it was made from, each a name for messages and its text.
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// 16 hex digits over what all contracts give and all routes: two catalogs that share it evaluate every record alike.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The dataset that a Kafka topic carries.
    pub fn route_topic(&self, topic: &str) -> Option<&Arc<Contract>> {
        self.contracts.values().find(|contract| fits(&contract.route.topics, topic))
    }

    /// What a Kinesis stream carries. The name of one dataset goes before the list of shared streams.
    pub fn route_stream(&self, stream: &str) -> StreamRoute<'_> {
        match self.contracts.values().find(|contract| fits(&contract.route.streams, stream)) {
            Some(contract) => StreamRoute::Dataset(contract),
            None if fits(&self.shared_streams, stream) => StreamRoute::Shared,
            None => StreamRoute::Unknown,
        }
    }

    /// The patterns of the streams that carry all datasets.
    pub fn shared_streams(&self) -> &[String] {
        &self.shared_streams
    }

    /// The dataset that a client's partition key names on a shared stream.
    pub fn route_partition_key(&self, key: &str) -> Option<&Arc<Contract>> {
        self.contracts.values().find(|contract| contract.route.partition_keys.iter().any(|own| own == key))
    }

    /// The dataset that a file's path names: by topic in the layout of Kafka Connect's S3 sink
    /// (`topics/<topic>/partition=<n>/<topic>+<n>+<offset>.json`), else by the name of the file.
    pub fn route_file(&self, path: &str) -> Option<&Arc<Contract>> {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let topic = name.split_once('+').map(|(topic, _)| topic);
        topic
            .and_then(|topic| self.route_topic(topic))
            .or_else(|| self.contracts.values().find(|contract| fits(&contract.route.files, name)))
    }
}

fn fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern::matches(pattern, name))
}

fn is_contract_file(name: &str) -> bool {
    name.ends_with(".toml") && !name.starts_with('.')
}
