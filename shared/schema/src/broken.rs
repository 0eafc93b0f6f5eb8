//! Contracts that cannot be used. A broken contract stops only its own dataset: its records are still recognised, and wait in quarantine.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broken_contract::BrokenContract;
use crate::contract::Contract;
use crate::contract_error::{ContractError, ContractErrors};
use crate::declaration::{FileFormat, Route};
use crate::pattern;
use crate::reader::toml_tree::MAX_FILE_BYTES;
use crate::reader::{self, ParsedContract, ParsedFiles};
use crate::reserved::{CANARY, QUARANTINE};
use crate::salvaged::Salvaged;

/// A contract file as it was found.
#[derive(Debug, Clone)]
pub struct ContractFile {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes, or why they cannot be read.
    pub content: Result<Vec<u8>, String>,
}

/// The contracts of some files, of which some are broken.
pub(crate) struct IsolatedFiles {
    /// By name, those of broken datasets among them.
    pub(crate) contracts: BTreeMap<String, Contract>,
    pub(crate) broken: Vec<Arc<BrokenContract>>,
    pub(crate) shared_streams: Vec<String>,
    /// The names and texts of the files. A file that is not text is replaced by one that is broken in the same way.
    pub(crate) files: Vec<(String, String)>,
}

/// Separates the contracts that can be used from those that cannot.
pub(crate) fn isolate(mut files: Vec<ContractFile>) -> IsolatedFiles {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let (mut texts, mut unreadable) = (Vec::new(), Vec::new());
    for ContractFile { name, content } in files {
        match content.map(String::from_utf8) {
            Ok(Ok(text)) if text.len() <= MAX_FILE_BYTES => texts.push((name, text)),
            Ok(Ok(text)) => {
                let problem =
                    format!("the file has more than {MAX_FILE_BYTES} bytes, the most of a contract");
                unreadable.push((name, text, 0, problem, "check that the file is a contract"));
            }
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let problem = format!("the file is not UTF-8 at byte {at}");
                unreadable.push((name, text, at, problem, "save it as UTF-8"));
            }
            Err(problem) => {
                unreadable.push((name, String::new(), 0, problem, "let the functions read the file"));
            }
        }
    }
    let mut parsed = reader::parse_files(&texts);
    for (file, text, at, problem, help) in &unreadable {
        parsed.errors.push(ContractError::at(file, text, *at..*at, problem.clone(), *help));
        parsed.salvaged.push(reader::salvage(file, text));
    }
    let mut files = texts.iter().map(|(file, _)| file).chain(unreadable.iter().map(|(file, ..)| file));
    let is_known = parsed.has_shared_streams || !files.any(|file| is_routes_file(file));
    let shared_streams = if is_known {
        std::mem::take(&mut parsed.shared_streams)
    } else {
        // It is unknown which streams are shared. Their records are routed by their keys and fields, or quarantined.
        vec!["*".to_owned()]
    };
    let (contracts, broken) = separate(parsed);
    for (file, ..) in unreadable {
        if is_routes_file(&file) {
            texts.push((file, "shared_streams = [\"*\"]\n".to_owned()));
            continue;
        }
        let dataset = broken.iter().find(|broken| broken.file == file).and_then(|own| own.dataset.as_deref());
        let contract = dataset.and_then(|dataset| contracts.get(dataset));
        texts.extend(contract.map(|contract| (file, describe_routes(contract))));
    }
    texts.sort();
    IsolatedFiles { contracts, broken, shared_streams, files: texts }
}

fn separate(parsed: ParsedFiles) -> (BTreeMap<String, Contract>, Vec<Arc<BrokenContract>>) {
    let mut errors: BTreeMap<String, Vec<ContractError>> = BTreeMap::new();
    for error in ContractErrors::from_vec(parsed.errors).errors {
        errors.entry(error.file.clone()).or_default().push(error);
    }
    let mut salvaged: BTreeMap<String, Salvaged> =
        parsed.salvaged.into_iter().map(|own| (own.file.clone(), own)).collect();
    let mut contracts: BTreeMap<String, Contract> = BTreeMap::new();
    for ParsedContract { file, contract } in parsed.contracts {
        if errors.contains_key(&file) {
            // It overlaps with another contract, or has the name of another.
            salvaged.insert(file.clone(), Salvaged::from_contract(file, contract));
        } else {
            contracts.insert(contract.name.clone(), contract);
        }
    }
    let mut stopped: BTreeMap<String, (Arc<BrokenContract>, Salvaged)> = BTreeMap::new();
    let mut broken: Vec<Arc<BrokenContract>> = Vec::new();
    let mut unnamed = Vec::new();
    for (file, errors) in errors {
        let own = salvaged.remove(&file).unwrap_or_default();
        let Some(name) = own.dataset.clone() else {
            unnamed.push((file, errors, own));
            continue;
        };
        // The built-in contracts take the place of these.
        let dataset = (!is_own(&name)).then_some(name);
        let found = Arc::new(BrokenContract { dataset: dataset.clone(), file, errors });
        broken.push(Arc::clone(&found));
        let Some(dataset) = dataset else { continue };
        // A name that two files claim is neither's.
        let twin = contracts.remove(&dataset).map(|twin| Salvaged::from_contract(String::new(), twin));
        let (_, kept) = stopped.entry(dataset).or_insert_with(|| (found, Salvaged::default()));
        kept.merge(own);
        twin.into_iter().for_each(|twin| kept.merge(twin));
    }
    for (file, errors, own) in unnamed {
        let base = file.rsplit(['/', '\\']).next().unwrap_or(&file);
        let guess = guess_dataset(base)
            .filter(|name| !is_own(name) && !contracts.contains_key(name) && !stopped.contains_key(name));
        let found = Arc::new(BrokenContract { dataset: guess.clone(), file, errors });
        broken.push(Arc::clone(&found));
        stopped.extend(guess.map(|guess| (guess, (found, own))));
    }
    broken.sort_by(|a, b| a.file.cmp(&b.file));
    let mut known: Vec<Route> = contracts.values().map(|contract| contract.route.clone()).collect();
    known.extend(stopped.values().filter_map(|(_, own)| own.route.clone()));
    for (name, (broken, mut own)) in stopped {
        let route = own.route.take().unwrap_or_else(|| guess_route(&name, &known));
        contracts.insert(name.clone(), Contract::new_broken(name, route, own, broken));
    }
    (contracts, broken)
}

impl Salvaged {
    fn from_contract(file: String, contract: Contract) -> Salvaged {
        let Contract { name, route, webhook, columns, file: FileFormat { records, .. }, .. } = contract;
        Salvaged { file, dataset: Some(name), route: Some(route), webhook, records, columns }
    }
}

/// Whether a dataset is the pipeline's own.
fn is_own(name: &str) -> bool {
    [QUARANTINE, CANARY].contains(&name)
}

fn is_routes_file(file: &str) -> bool {
    file.rsplit(['/', '\\']).next() == Some(reader::ROUTES_FILE)
}

/// The dataset that a file stops if it does not name one: the name of the file without its ending.
fn guess_dataset(base: &str) -> Option<String> {
    let stem = base.strip_suffix(".toml").unwrap_or(base).to_ascii_lowercase();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    (!stem.starts_with('_') && reader::is_dataset_name(&name)).then_some(name)
}

/// The routes of a dataset whose contract cannot tell them, in the manner of the built-in contracts. What another contract claims is left out.
fn guess_route(name: &str, known: &[Route]) -> Route {
    let free = |guesses: [String; 4], claims: fn(&Route) -> &Vec<String>| {
        let is_free =
            |guess: &String| !known.iter().flat_map(claims).any(|claim| pattern::overlap(claim, guess));
        guesses.into_iter().filter(is_free).collect::<Vec<_>>()
    };
    let names = || [format!("*.{name}"), format!("*-{name}"), format!("*_{name}"), name.to_owned()];
    let files = [format!("{name}.*"), format!("{name}-*"), format!("{name}_*"), name.to_owned()];
    let is_claimed = known.iter().any(|route| route.partition_keys.iter().any(|key| key == name));
    Route {
        topics: free(names(), |route| &route.topics),
        streams: free(names(), |route| &route.streams),
        partition_keys: if is_claimed { Vec::new() } else { vec![name.to_owned()] },
        files: free(files, |route| &route.files),
        ..Route::default()
    }
}

/// A text that is no valid contract, and has the name and the routes of this one.
fn describe_routes(contract: &Contract) -> String {
    let Route { topics, streams, partition_keys, files, shape, any_of: _, misrouted: _ } = &contract.route;
    let mut text = format!("# The file could not be read.\nname = {}\n[route]\n", quote(&contract.name));
    for (key, names) in [
        ("topics", topics),
        ("streams", streams),
        ("partition_keys", partition_keys),
        ("files", files),
        ("shape", shape),
    ] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| quote(name)).collect();
            text.push_str(&format!("{key} = [{}]\n", names.join(", ")));
        }
    }
    text
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
