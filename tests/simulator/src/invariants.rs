//! Watches everything that lands in the store, at the moment it lands: the invariants that are cheap to check at
//! every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{Array, RecordBatch};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_landing::name::LandingName;
use pinlake_landing::watermark;
use pinlake_schema::KEY_COLUMN;
use serde_json::Value;

use crate::contracts::{self, Release};
use crate::files;
use crate::ledger::Content;
use crate::store::place;
use crate::trace::Broken;
use crate::world::World;

type Key = [u8; 16];

/// Where what a content says is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// Rows of its table, and unresolved ones of quarantine under a contract.
    pub told: u64,
    /// Unresolved rows of quarantine under no contract.
    pub untold: u64,
}

impl Places {
    /// All of them.
    pub fn all(self) -> u64 {
        self.told + self.untold
    }

    /// One more.
    pub fn add(&mut self, is_told: bool) {
        *if is_told { &mut self.told } else { &mut self.untold } += 1;
    }

    fn remove(&mut self, is_told: bool) {
        let place = if is_told { &mut self.told } else { &mut self.untold };
        *place = place.saturating_sub(1);
    }
}

/// What a row says, and whether a contract told its dataset.
pub type Said = (Content, bool);

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct InvariantChecker {
    /// Keys in the log, by dataset.
    keys: BTreeMap<String, BTreeSet<Key>>,
    /// What the rows in the log say, and how often.
    rows: BTreeMap<Content, Places>,
    /// Rows inserted, by dataset, as commits count them.
    inserted: BTreeMap<String, u64>,
    /// Keys and rows of what lies in landing.
    landing: BTreeMap<Path, Vec<(Key, Content)>>,
    /// Every log entry there ever was, and when it landed.
    commits: BTreeMap<Path, (Bytes, Duration)>,
    /// Keys and rows of the data files in the log, by dataset and name.
    files: BTreeMap<(String, String), (Vec<Key>, Vec<Said>)>,
    /// The data files of each version, by dataset.
    versions: BTreeMap<String, BTreeMap<u64, BTreeSet<String>>>,
    /// What is wrong with the rows, each thing once.
    wrong: Vec<String>,
}

impl InvariantChecker {
    /// How often a row that says this is in the log.
    pub fn times(&self, content: &str) -> u64 {
        self.rows.get(content).map_or(0, |places| places.all())
    }

    /// What rows in the log say, or said.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        self.rows.keys()
    }

    /// Whether a row that says this is in the log.
    pub fn has(&self, content: &str) -> bool {
        self.times(content) > 0
    }

    /// The newest version of a table, and how many entries it has.
    pub fn newest(&self, dataset: &str) -> Option<u64> {
        self.versions.get(dataset)?.keys().next_back().copied()
    }

    /// The data files of a version of a table.
    pub fn files_of(&self, dataset: &str, version: u64) -> Option<&BTreeSet<String>> {
        self.versions.get(dataset)?.get(&version)
    }

    /// The bytes of a log entry, and when it landed.
    pub fn entry(&self, path: &Path) -> Option<&(Bytes, Duration)> {
        self.commits.get(path)
    }

    /// The tables that there are.
    pub fn tables(&self) -> Vec<String> {
        self.versions.keys().cloned().collect()
    }

    /// Rows inserted into a dataset's table, as its commits count them.
    pub fn inserted(&self, dataset: &str) -> u64 {
        self.inserted.get(dataset).copied().unwrap_or(0)
    }
}

/// Whose a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// A function's: it says what it did, and each data file has its key file.
    Pinlake,
    /// Another program's, which knows of neither.
    Other,
}

/// An object has landed.
pub(crate) async fn landed(world: &Arc<World>, path: &Path, bytes: &Bytes) {
    match place(path) {
        "landing" => match rows_of(bytes.clone()) {
            Ok(batches) => {
                let dataset = LandingName::parse(path).map(|name| name.dataset).unwrap_or_default();
                let rows = |batch| keys_of(batch).into_iter().zip(contents_of(&dataset, batch));
                let rows = batches.iter().flat_map(rows).collect();
                world.invariants().landing.insert(path.clone(), rows);
            }
            Err(why) => world.broke(Broken::Files, format!("{path} is no Parquet: {why}")),
        },
        "commit" => committed(world, path, bytes, Author::Pinlake).await,
        _ => {}
    }
}

/// An object is about to be removed.
pub(crate) fn removed(world: &World, path: &Path) {
    match place(path) {
        "landing" => {
            let mut invariants = world.invariants();
            // It may be gone already: deleting again changes nothing.
            let Some(rows) = invariants.landing.remove(path) else {
                return;
            };
            if world.move_to_failed(path) {
                return;
            }
            let Some(name) = LandingName::parse(path) else {
                return;
            };
            let none = BTreeSet::new();
            let table = invariants.keys.get(&name.dataset).unwrap_or(&none);
            let lies = |of: &dyn Fn(&(Key, Content)) -> bool| invariants.landing.values().flatten().any(of);
            // Under another identity the same row has another key, and so has a record that another release judges
            // otherwise: then only what it says can be compared.
            let rekeyed = world.plan.deploys.iter().any(|(_, release)| *release == Release::Rekeyed);
            let is_safe = |(key, content): &&(Key, Content)| {
                table.contains(key)
                    || lies(&|(other, _)| other == key)
                    || (rekeyed || contracts::is_wavering(content))
                        && (invariants.has(content) || lies(&|(_, other)| other == content))
            };
            let missing = rows.iter().filter(|row| !is_safe(row)).count();
            drop(invariants);
            if missing > 0 {
                world.broke(
                    Broken::RemovedEarly,
                    format!("{path} is removed, {missing} of its rows are nowhere"),
                );
            }
        }
        // Whether its records have landed is seen when the pipeline next says that it is drained of them, and at the end.
        "given up" => {}
        "failed" => world.forget(path),
        // They are in landing then, and a copy lies elsewhere.
        "inbox" | "file state" => {}
        kind => world
            .broke(Broken::RemovedEarly, format!("{path} ({kind}) is removed: only what was taken ever is")),
    }
}

/// A log entry has landed: what it names must be there, and what it counts must be so.
pub(crate) async fn committed(world: &Arc<World>, path: &Path, bytes: &Bytes, author: Author) {
    let dataset = path.parts().nth(1).map(|part| part.as_ref().to_owned()).unwrap_or_default();
    let version =
        path.filename().and_then(|name| name.strip_suffix(".json")).and_then(|name| name.parse().ok());
    let before = world.invariants().commits.insert(path.clone(), (bytes.clone(), world.time()));
    if before.is_some_and(|(before, _)| before != bytes) {
        world.broke(Broken::Overwritten, format!("{path} is written over"));
    }
    world.trace.reached("commits");
    let actions: Vec<Value> =
        String::from_utf8_lossy(bytes).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let note = actions.iter().find_map(|action| action.pointer("/commitInfo/pinlake"));
    let count = |name: &str| note.and_then(|note| note.get(name)).and_then(Value::as_u64).unwrap_or(0);
    let (read, mut inserted, duplicates) = (count("read"), count("inserted"), count("duplicates"));
    if author == Author::Pinlake && (note.is_none() || read != inserted + duplicates) {
        world.broke(
            Broken::Counts,
            format!("{path}: read {read}, inserted {inserted}, duplicates {duplicates}"),
        );
    }
    let removed =
        actions.iter().filter_map(|action| action.pointer("/remove/path")).filter_map(Value::as_str);
    let mut before = 0;
    for file in removed {
        match withdrawn(world, &dataset, file) {
            Some(count) => before += count,
            None => world.broke(Broken::Files, format!("{path} removes {file}, which is not in the log")),
        }
    }
    let mut rows = 0;
    for add in actions.iter().filter_map(|action| action.get("add")) {
        let file = add.get("path").and_then(Value::as_str).unwrap_or_default();
        match added(world, &dataset, file, author).await {
            Ok(count) => rows += count,
            Err(why) => world.broke(Broken::Files, format!("{path} names {file}: {why}")),
        }
    }
    if author == Author::Other {
        inserted = rows.saturating_sub(before);
        world.ledger.open().reported(&dataset, inserted);
    }
    if rows != before + inserted {
        let what = format!("{path} says {inserted} inserted, adds {rows} rows and removes {before}");
        world.broke(Broken::Counts, what);
    }
    let mut invariants = world.invariants();
    let of_dataset = invariants.files.keys().filter(|(of, _)| *of == dataset);
    let files = of_dataset.map(|(_, file)| file.clone()).collect();
    if let Some(version) = version {
        invariants.versions.entry(dataset.clone()).or_default().insert(version, files);
    }
    *invariants.inserted.entry(dataset).or_default() += inserted;
}

/// A data file is no longer in the log: its rows are to be in another one of the same commit.
fn withdrawn(world: &World, dataset: &str, file: &str) -> Option<u64> {
    let mut invariants = world.invariants();
    let (keys, rows) = invariants.files.remove(&(dataset.to_owned(), file.to_owned()))?;
    if let Some(known) = invariants.keys.get_mut(dataset) {
        keys.iter().for_each(|key| {
            known.remove(key);
        });
    }
    for (content, is_told) in &rows {
        if let Some(places) = invariants.rows.get_mut(content) {
            places.remove(*is_told);
        }
    }
    drop(invariants);
    world.trace.reached("files merged");
    Some(rows.len() as u64)
}

/// A data file is in the log now. Answers its rows.
async fn added(world: &Arc<World>, dataset: &str, file: &str, author: Author) -> Result<u64, String> {
    let table = Path::from_iter(["tables", dataset]);
    let data = read(world, &table.clone().join(file)).await?;
    let batches = rows_of(data)?;
    let mut keys = Vec::new();
    for batch in &batches {
        keys.extend(table_keys(dataset, batch)?);
    }
    if author == Author::Pinlake {
        let stem = file.strip_suffix(".parquet").ok_or("not a .parquet")?;
        let stored = read(world, &table.join("_pinlake_keys").join(format!("{stem}.keys"))).await?;
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        // Whatever stands before them, a key file ends with the keys.
        if !stored.ends_with(sorted.as_flattened()) {
            return Err("its key file has other keys than its rows".to_owned());
        }
    }
    let rows: Vec<Said> = batches.iter().flat_map(|batch| said(dataset, batch)).collect();
    let mut doubled = Vec::new();
    let mut invariants = world.invariants();
    let known = invariants.keys.entry(dataset.to_owned()).or_default();
    let fresh = keys.iter().filter(|key| known.insert(**key)).count();
    for (content, is_told) in &rows {
        let places = invariants.rows.entry(content.clone()).or_default();
        places.add(*is_told);
        // A wavering record may be in two places for as long as its landing objects are there.
        if !contracts::is_wavering(content.strip_prefix(RESOLVED).unwrap_or(content)) {
            doubled.push((content.clone(), *places));
        }
    }
    invariants.files.insert((dataset.to_owned(), file.to_owned()), (keys.clone(), rows.clone()));
    drop(invariants);
    if fresh < keys.len() {
        world.broke(
            Broken::Doubled,
            format!("{} keys of {file} were in {dataset} before", keys.len() - fresh),
        );
    }
    for (content, places) in doubled.into_iter().filter(|(content, _)| !content.starts_with(RESOLVED)) {
        if files::tells_of_file(&content) {
            continue;
        }
        let promise = world.ledger.open().promises.get(&content).cloned().unwrap_or_default();
        if promise.is_exceeded(&content, places) {
            world
                .broke(Broken::Doubled, format!("{content} is there {places:?}, sent as {:?}", promise.sent));
        }
    }
    for batch in &batches {
        if let Some(why) = wrong(dataset, batch) {
            let mut invariants = world.invariants();
            if !invariants.wrong.contains(&why) {
                invariants.wrong.push(why.clone());
                drop(invariants);
                world.broke(Broken::Invented, why);
            }
        }
    }
    if keys.len() != rows.len() {
        return Err(format!("{} keys for {} rows", keys.len(), rows.len()));
    }
    Ok(rows.len() as u64)
}

/// The keys of rows of a table.
pub(crate) fn table_keys(dataset: &str, batch: &RecordBatch) -> Result<Vec<Key>, String> {
    let catalog = contracts::catalog(Release::First);
    let contract = catalog.contract(dataset).ok_or("there is no such dataset")?;
    let keys = pinlake_clean::row_keys(contract, batch).map_err(|error| error.to_string())?;
    Ok(keys.iter().flatten().filter_map(|key| key.try_into().ok()).collect())
}

async fn read(world: &World, path: &Path) -> Result<Bytes, String> {
    let got = world.memory.get(path).await.map_err(|error| error.to_string())?;
    got.bytes().await.map_err(|error| error.to_string())
}

/// Decodes a Parquet file.
///
/// # Errors
/// With the reader's words.
pub fn rows_of(bytes: Bytes) -> Result<Vec<RecordBatch>, String> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(ParquetRecordBatchReaderBuilder::build);
    let batches = reader.map_err(|error| error.to_string())?.collect::<Result<Vec<_>, _>>();
    batches.map_err(|error| error.to_string())
}

fn keys_of(batch: &RecordBatch) -> Vec<Key> {
    let keys = batch.column_by_name(KEY_COLUMN).and_then(|column| column.as_fixed_size_binary_opt());
    keys.iter().flat_map(|keys| keys.iter().flatten()).filter_map(|key| key.try_into().ok()).collect()
}

/// What each row of a table says.
pub fn contents_of(dataset: &str, batch: &RecordBatch) -> Vec<Content> {
    said(dataset, batch).into_iter().map(|(content, _)| content).collect()
}

/// What each row of a table says, and whether a contract told its dataset.
pub fn said(dataset: &str, batch: &RecordBatch) -> Vec<Said> {
    if dataset == "quarantine" {
        let sent_to = batch.column_by_name("dataset").and_then(|column| column.as_string_opt::<i32>());
        let raw = batch.column_by_name("raw").and_then(|column| column.as_binary_opt::<i32>());
        let (resolved, contract) = (batch.column_by_name("resolved_at"), batch.column_by_name("contract"));
        let (Some(sent_to), Some(raw), Some(resolved), Some(contract)) = (sent_to, raw, resolved, contract)
        else {
            return Vec::new();
        };
        let rows = sent_to.iter().zip(raw).enumerate();
        let said = |(at, (sent_to, raw)): (usize, (Option<&str>, Option<&[u8]>))| {
            let content = quarantined(sent_to, raw.unwrap_or_default());
            let content = if resolved.is_valid(at) { format!("{RESOLVED}{content}") } else { content };
            (content, contract.is_valid(at))
        };
        return rows.map(said).collect();
    }
    let ids = batch.column_by_name("id").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let content = |id: Option<i64>| (format!("{dataset}/{}", id.unwrap_or(-1)), true);
    ids.iter().flat_map(|ids| ids.iter()).map(content).collect()
}

/// What stands before the content of a record that was resolved in quarantine.
pub const RESOLVED: &str = "resolved/";

/// What a quarantined record says. A record that one release takes says in quarantine what it would in its table.
pub fn quarantined(dataset: Option<&str>, raw: &[u8]) -> Content {
    if let Some(content) = contracts::content_of_wavering(raw) {
        return content;
    }
    let dataset = dataset.or(contracts::dataset_of_bad(raw));
    format!("quarantine/{}/{}", dataset.unwrap_or("-"), raw.escape_ascii())
}

/// Every row has a note that tells its number, or none.
fn wrong(dataset: &str, batch: &RecordBatch) -> Option<String> {
    let ids = batch.column_by_name("id")?.as_primitive_opt::<Int64Type>()?;
    let notes = batch.column_by_name("note")?.as_string_opt::<i32>()?;
    let differs = |at: &usize| !notes.is_null(*at) && notes.value(*at) != format!("note {}", ids.value(*at));
    let at = (0..batch.num_rows()).find(differs)?;
    Some(format!("{dataset}/{} has the note {:?}", ids.value(at), notes.value(at)))
}

/// Mutation: moves the watermark when the raw records land, before anything of them is in landing.
pub(crate) async fn watermark_first(world: &World, raw: &Path) {
    let parts: Vec<String> = raw.parts().map(|part| part.as_ref().to_owned()).collect();
    if let [_, _, stream, shard, file] = parts.as_slice()
        && let Some(Ok(last)) = file.split('-').nth(1).map(str::parse)
    {
        let store: &dyn ObjectStore = &world.memory;
        let _ = watermark::advance(store, stream, shard, &last).await;
    }
}
