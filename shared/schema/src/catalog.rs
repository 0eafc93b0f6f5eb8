//! All contracts of one deployment, and the routes to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::broken::{self, ContractFile, IsolatedFiles};
use crate::broken_contract::BrokenContract;
use crate::contract::Contract;
use crate::contract_error::{ContractError, ContractErrors};
use crate::fingerprint::{self, CatalogEntry};
use crate::reserved::{CANARY, QUARANTINE};
use crate::{pattern, reader};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../datasets");

/// All contracts of one deployment.
///
/// ```
/// use pinlake_schema::{Catalog, StreamRoute};
///
/// let catalog = Catalog::embedded().map_err(|errors| errors.to_string())?;
/// assert_eq!(catalog.route_topic("0a1b.geo").map(|contract| contract.name.as_str()), Some("geo"));
/// assert!(matches!(catalog.route_stream("another"), StreamRoute::Unknown));
///
/// // Errors say where they are and what to write instead.
/// let errors = Catalog::from_files([("x.toml".to_owned(), "name = \"x\"\nverison = 1".to_owned())]).unwrap_err();
/// assert_eq!((errors.errors[0].line, errors.errors[0].help.as_str()), (1, "add a line such as version = 1"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct Catalog {
    contracts: BTreeMap<String, Arc<Contract>>,
    quarantine: Arc<Contract>,
    shared_streams: Vec<String>,
    files: Vec<(String, String)>,
    hash: String,
    broken: Vec<Arc<BrokenContract>>,
}

/// What a Kinesis stream carries.
#[derive(Debug, Clone, Copy)]
pub enum StreamRoute<'a> {
    /// Records of this dataset.
    Dataset(&'a Arc<Contract>),
    /// Records of all datasets: the partition key decides, then the shape of the record.
    Shared,
    /// No contract names the stream.
    Unknown,
}

impl Catalog {
    /// The contracts of `datasets/` at build time.
    pub fn embedded() -> Result<Catalog, ContractErrors> {
        Catalog::from_files(EMBEDDED.files().filter_map(|file| {
            let name = file.path().file_name()?.to_str()?;
            let text = String::from_utf8_lossy(file.contents()).into_owned();
            is_contract_file(name).then(|| (format!("datasets/{name}"), text))
        }))
    }

    /// Reads the `.toml` files of a folder, without its subfolders.
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
            let empty = std::io::Error::other("it contains no contract");
            return Err(unreadable(dir, empty));
        }
        Catalog::from_files(files)
    }

    /// Parses contract files, each given by its name, for messages, and its text. Without contracts of [`QUARANTINE`] and [`CANARY`] the
    /// embedded ones are used.
    ///
    /// # Errors
    /// All errors of all files.
    pub fn from_files(files: impl IntoIterator<Item = (String, String)>) -> Result<Catalog, ContractErrors> {
        let mut files: Vec<(String, String)> = files.into_iter().collect();
        files.sort();
        let parsed = reader::parse_files(&files);
        if !parsed.errors.is_empty() {
            return Err(ContractErrors::from_vec(parsed.errors));
        }
        let contracts = parsed.contracts.into_iter().map(|own| own.contract);
        let contracts = contracts.map(|contract| (contract.name.clone(), contract)).collect();
        Catalog::new(IsolatedFiles {
            contracts,
            broken: Vec::new(),
            shared_streams: parsed.shared_streams,
            files,
        })
    }

    /// Like [`Self::from_files`], but a contract with errors stops only its own dataset: [`Contract::broken`] says why, its records are still
    /// recognised as far as its routes can be read, and [`Self::broken`] lists it. Of two contracts that overlap, the later one is broken,
    /// and what both claim is its. Of two files with one name, both are.
    ///
    /// ```
    /// use pinlake_schema::{Catalog, ContractFile};
    ///
    /// let file = |name: &str, text: &str| ContractFile { name: name.into(), content: Ok(text.into()) };
    /// let visit = "name = \"visit\"\nversion = 1\n[route]\ntopics = [\"visits\"]\n[[column]]\nname = \"page\"\ntype = \"text\"";
    /// let order = "name = \"order\"\nversion = 1\n[[column]]\nname = \"id\"\ntype = \"int64\"";
    /// let catalog = Catalog::isolate([file("visit.toml", visit), file("order.toml", order)]).map_err(|e| e.to_string())?;
    /// assert!(catalog.contract("order").is_some_and(|contract| contract.broken().is_none()));
    /// let broken = catalog.route_topic("visits").and_then(|contract| contract.broken()).ok_or("not broken")?;
    /// assert_eq!(broken.to_string(), "visit.toml:7: unknown type `text`; did you mean `string`?");
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// When the built-in contracts have errors.
    pub fn isolate(files: impl IntoIterator<Item = ContractFile>) -> Result<Catalog, ContractErrors> {
        Catalog::new(broken::isolate(files.into_iter().collect()))
    }

    /// Adds the pipeline's own contracts where they are missing.
    fn new(files: IsolatedFiles) -> Result<Catalog, ContractErrors> {
        let IsolatedFiles { mut contracts, broken, shared_streams, files } = files;
        let mut errors = Vec::new();
        for own in [QUARANTINE, CANARY] {
            if !contracts.contains_key(own) {
                // Parsed apart from the others, because a pattern such as `*` may overlap with the routes of a dataset of the pipeline.
                let file = format!("{own}.toml");
                let text = EMBEDDED.get_file(&file).and_then(|file| file.contents_utf8());
                let text = text.map(|text| (format!("datasets/{file}"), text.to_owned()));
                let own = reader::parse_files(text.as_slice());
                contracts
                    .extend(own.contracts.into_iter().map(|own| (own.contract.name.clone(), own.contract)));
                errors.extend(own.errors);
            }
        }
        let contracts: BTreeMap<String, Arc<Contract>> =
            contracts.into_iter().map(|(name, contract)| (name, Arc::new(contract))).collect();
        match contracts.get(QUARANTINE) {
            Some(quarantine) if errors.is_empty() => Ok(Catalog {
                quarantine: Arc::clone(quarantine),
                hash: fingerprint::hash_catalog(contracts.values().map(|own| to_entry(own)), &shared_streams),
                contracts,
                shared_streams,
                files,
                broken,
            }),
            _ => Err(ContractErrors::from_vec(errors)),
        }
    }

    /// All contracts, sorted by name, including those of [`QUARANTINE`] and [`CANARY`].
    pub fn contracts(&self) -> impl Iterator<Item = &Arc<Contract>> {
        self.contracts.values()
    }

    /// The contracts of the datasets for users' records, sorted by name.
    pub fn datasets(&self) -> impl Iterator<Item = &Arc<Contract>> {
        self.contracts().filter(|contract| ![QUARANTINE, CANARY].contains(&contract.name.as_str()))
    }

    /// The contract files that cannot be used, by file. Those of a catalog from [`Self::isolate`] only.
    pub fn broken(&self) -> &[Arc<BrokenContract>] {
        &self.broken
    }

    /// All contracts, those of the pipeline first. Then those of broken datasets: what another contract claims too must not be misrouted.
    fn in_order_of_routes(&self) -> impl Iterator<Item = &Arc<Contract>> {
        let of_datasets = |is_broken: bool| {
            self.datasets().filter(move |contract| contract.broken().is_some() == is_broken)
        };
        let broken = (!self.broken.is_empty()).then(|| of_datasets(true));
        self.contract(CANARY).into_iter().chain(broken.into_iter().flatten()).chain(of_datasets(false))
    }

    /// The contract of a dataset.
    pub fn contract(&self, dataset: &str) -> Option<&Arc<Contract>> {
        self.contracts.get(dataset)
    }

    /// The catalog with one dataset of this one, for cleaners of records that are known to be of it. It has no files and routes no streams.
    pub fn with_only(&self, dataset: &str) -> Option<Catalog> {
        let contracts = [self.contract(dataset)?, &self.quarantine];
        Some(Catalog {
            contracts: contracts.map(|contract| (contract.name.clone(), contract.clone())).into(),
            quarantine: self.quarantine.clone(),
            shared_streams: Vec::new(),
            files: Vec::new(),
            hash: self.hash.clone(),
            broken: Vec::new(),
        })
    }

    /// Whether a contract reads a field of this name at the top level of a record.
    pub fn reads_field(&self, name: &str) -> bool {
        self.contracts().any(|contract| contract.top_level_fields().iter().any(|field| field == name))
    }

    /// The contract of the quarantine dataset.
    pub fn quarantine(&self) -> &Arc<Contract> {
        &self.quarantine
    }

    /// The files of the catalog: their names and texts.
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// 16 hexadecimal digits over all contracts and routes. Catalogs with the same hash evaluate every record alike.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Finds the dataset of a Kafka topic.
    pub fn route_topic(&self, topic: &str) -> Option<&Arc<Contract>> {
        self.in_order_of_routes().find(|contract| matches_any(&contract.route.topics, topic))
    }

    /// Finds what a Kinesis stream carries. The patterns of datasets take precedence over those of shared streams.
    pub fn route_stream(&self, stream: &str) -> StreamRoute<'_> {
        match self.in_order_of_routes().find(|contract| matches_any(&contract.route.streams, stream)) {
            Some(contract) => StreamRoute::Dataset(contract),
            None if matches_any(&self.shared_streams, stream) => StreamRoute::Shared,
            None => StreamRoute::Unknown,
        }
    }

    /// The patterns of the streams that carry all datasets.
    pub fn shared_streams(&self) -> &[String] {
        &self.shared_streams
    }

    /// Finds the dataset of a partition key on a shared stream.
    pub fn route_partition_key(&self, key: &str) -> Option<&Arc<Contract>> {
        self.in_order_of_routes().find(|contract| contract.route.partition_keys.iter().any(|own| own == key))
    }

    /// Finds the dataset of a file by its path: by topic in the layout of Kafka Connect's S3 sink
    /// (`topics/<topic>/partition=<n>/<topic>+<n>+<offset>.json`), else by the name of the file.
    pub fn route_file(&self, path: &str) -> Option<&Arc<Contract>> {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let topic = name.split_once('+').map(|(topic, _)| topic);
        topic
            .and_then(|topic| self.route_topic(topic))
            .or_else(|| self.in_order_of_routes().find(|contract| matches_any(&contract.route.files, name)))
    }
}

fn to_entry(contract: &Contract) -> CatalogEntry<'_> {
    CatalogEntry { hash: contract.hash(), route: &contract.route, file: &contract.file }
}

fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern::matches(pattern, name))
}

fn is_contract_file(name: &str) -> bool {
    name.ends_with(".toml") && !name.starts_with('.')
}
