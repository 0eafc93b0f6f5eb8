//! Checks every object when it is stored or removed: the invariants that are cheap enough to check at
//! every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_landing::name::LandingName;
use pinlake_landing::source::RecordSource;
use pinlake_landing::watermark;
use pinlake_schema::KEY_COLUMN;
use serde_json::Value;

use crate::contracts::{self, CatalogVersion, ORDER};
use crate::files;
use crate::ledger::Content;
use crate::store::classify_path;
use crate::trace::Violation;
use crate::world::World;

type Key = [u8; 16];

/// The number of rows with one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copies {
    /// Rows of the table, and unresolved rows of quarantine with a contract.
    pub with_contract: u64,
    /// Unresolved rows of quarantine without a contract.
    pub without_contract: u64,
}

impl Copies {
    /// All of them.
    pub fn all(self) -> u64 {
        self.with_contract + self.without_contract
    }

    /// Adds a row.
    pub fn add(&mut self, has_contract: bool) {
        *if has_contract { &mut self.with_contract } else { &mut self.without_contract } += 1;
    }

    fn remove(&mut self, has_contract: bool) {
        let place = if has_contract { &mut self.with_contract } else { &mut self.without_contract };
        *place = place.saturating_sub(1);
    }
}

/// The content of a row, and whether a contract named its dataset.
pub type RowContent = (Content, bool);

/// The state that the checks need: everything stored so far.
#[derive(Debug, Default)]
pub struct InvariantChecker {
    /// Keys in the log, by dataset.
    keys: BTreeMap<String, BTreeSet<Key>>,
    /// The rows in the log, by content.
    rows: BTreeMap<Content, Copies>,
    /// Rows inserted, by dataset, as commits count them.
    inserted: BTreeMap<String, u64>,
    /// Keys and rows of landing objects.
    landing: BTreeMap<Path, Vec<(Key, Content)>>,
    /// All log entries ever stored, with their times.
    commits: BTreeMap<Path, (Bytes, Duration)>,
    /// Keys and rows of the data files in the log, by dataset and name.
    files: BTreeMap<(String, String), (Vec<Key>, Vec<RowContent>)>,
    /// The data files of each version, by dataset.
    versions: BTreeMap<String, BTreeMap<u64, BTreeSet<String>>>,
    /// Wrong rows that were reported.
    wrong: Vec<String>,
}

impl InvariantChecker {
    /// The number of rows with this content in the log.
    pub fn times(&self, content: &str) -> u64 {
        self.rows.get(content).map_or(0, |places| places.all())
    }

    /// All contents that are or were in the log.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        self.rows.keys()
    }

    /// Whether a row with this content is in the log.
    pub fn has(&self, content: &str) -> bool {
        self.times(content) > 0
    }

    /// The newest version of a table.
    pub fn newest(&self, dataset: &str) -> Option<u64> {
        self.versions.get(dataset)?.keys().next_back().copied()
    }

    /// The data files of a version of a table.
    pub fn files_of(&self, dataset: &str, version: u64) -> Option<&BTreeSet<String>> {
        self.versions.get(dataset)?.get(&version)
    }

    /// The bytes of a log entry and the time at which it was stored.
    pub fn entry(&self, path: &Path) -> Option<&(Bytes, Duration)> {
        self.commits.get(path)
    }

    /// The names of all tables.
    pub fn tables(&self) -> Vec<String> {
        self.versions.keys().cloned().collect()
    }

    /// Rows inserted into a table, as its commits count them.
    pub fn inserted(&self, dataset: &str) -> u64 {
        self.inserted.get(dataset).copied().unwrap_or(0)
    }
}

/// The author of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// pinlake: the commit has counts, and each data file has a key file.
    Pinlake,
    /// Another program, which writes neither.
    Other,
}

/// Checks an object that was stored.
pub(crate) async fn check_landed(world: &Arc<World>, path: &Path, bytes: &Bytes) {
    match classify_path(path) {
        "landing" => match read_rows(bytes.clone()) {
            Ok(batches) => {
                let dataset = LandingName::parse(path).map(|name| name.dataset).unwrap_or_default();
                let rows = |batch| landing_keys(batch).into_iter().zip(contents_of(&dataset, batch));
                let rows = batches.iter().flat_map(rows).collect();
                world.invariants().landing.insert(path.clone(), rows);
            }
            Err(why) => {
                world.report_violation(Violation::WrongFiles, format!("{path} is not Parquet: {why}"))
            }
        },
        "commit" => check_commit(world, path, bytes, Author::Pinlake).await,
        _ => {}
    }
}

/// Checks an object that is about to be removed.
pub(crate) fn check_removed(world: &World, path: &Path) {
    match classify_path(path) {
        "landing" => {
            let mut invariants = world.invariants();
            // It may already be removed; deleting it again has no effect.
            let Some(rows) = invariants.landing.remove(path) else {
                return;
            };
            if world.is_in_failed(path) {
                return;
            }
            let Some(name) = LandingName::parse(path) else {
                return;
            };
            // Records that are not the latest leave no row: `orders::check_latest`.
            if name.dataset == ORDER {
                return;
            }
            let none = BTreeSet::new();
            let table = invariants.keys.get(&name.dataset).unwrap_or(&none);
            let is_in_landing =
                |of: &dyn Fn(&(Key, Content)) -> bool| invariants.landing.values().flatten().any(of);
            // Under another identity or with another column the same row has another key, and a borderline record has another key in
            // quarantine. Then only contents can be compared.
            let rekeyed = world.scenario.deploys.iter().any(|(_, catalog_version)| {
                use CatalogVersion::{Extended, Rekeyed, Reruled};
                matches!(catalog_version, Rekeyed | Extended | Reruled)
            });
            let is_safe = |(key, content): &&(Key, Content)| {
                table.contains(key)
                    || is_in_landing(&|(other, _)| other == key)
                    || (rekeyed || contracts::is_borderline(content))
                        && (invariants.has(content) || is_in_landing(&|(_, other)| other == content))
            };
            let missing = rows.iter().filter(|row| !is_safe(row)).count();
            drop(invariants);
            if missing > 0 {
                world.report_violation(
                    Violation::RemovedEarly,
                    format!("{path} is removed, but {missing} of its rows are in no other place"),
                );
            }
        }
        // Later checks of "drained", and the check at the end, show whether its records have landed.
        "discarded" => {}
        "failed" => world.forget(path),
        // They are still in landing, and a copy is elsewhere.
        "inbox" | "file state" => {}
        // The copy of a rebuild.
        "copy" => {}
        kind => {
            world.report_violation(Violation::RemovedEarly, format!("{path} ({kind}) must never be removed"))
        }
    }
}

/// Checks a log entry: its files must exist and its counts must be right.
pub(crate) async fn check_commit(world: &Arc<World>, path: &Path, bytes: &Bytes, author: Author) {
    let dataset = path.parts().nth(1).map(|part| part.as_ref().to_owned()).unwrap_or_default();
    let version =
        path.filename().and_then(|name| name.strip_suffix(".json")).and_then(|name| name.parse().ok());
    let before = world.invariants().commits.insert(path.clone(), (bytes.clone(), world.time()));
    if before.is_some_and(|(before, _)| before != bytes) {
        world.report_violation(Violation::Overwritten, format!("{path} is overwritten"));
    }
    world.trace.count("commits");
    let actions: Vec<Value> =
        String::from_utf8_lossy(bytes).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let note = actions.iter().find_map(|action| action.pointer("/commitInfo/pinlake"));
    let count = |name: &str| note.and_then(|note| note.get(name)).and_then(Value::as_u64).unwrap_or(0);
    let (read, mut inserted, duplicates) = (count("read"), count("inserted"), count("duplicates"));
    let (superseded, deleted) = (count("superseded"), count("deleted"));
    let is_complete = read == inserted + superseded + duplicates + count("outdated") + deleted;
    if author == Author::Pinlake && (note.is_none() || !is_complete) {
        world.report_violation(Violation::WrongCounts, format!("{path}: the counts do not add up: {note:?}"));
    }
    let removed =
        actions.iter().filter_map(|action| action.pointer("/remove/path")).filter_map(Value::as_str);
    let mut before = 0;
    for file in removed {
        match remove_file(world, &dataset, file) {
            Some(count) => before += count,
            None => world.report_violation(
                Violation::WrongFiles,
                format!("{path} removes {file}, which is not in the log"),
            ),
        }
    }
    let mut rows = 0;
    for add in actions.iter().filter_map(|action| action.get("add")) {
        let file = add.get("path").and_then(Value::as_str).unwrap_or_default();
        match check_added_file(world, &dataset, file, author).await {
            Ok(count) => rows += count,
            Err(why) => world.report_violation(Violation::WrongFiles, format!("{path} names {file}: {why}")),
        }
    }
    if author == Author::Other {
        inserted = rows.saturating_sub(before);
        world.ledger.lock().record_reported(&dataset, inserted);
    }
    // A record may delete a row that does not exist.
    if !((before + inserted).saturating_sub(deleted)..=before + inserted).contains(&rows) {
        let what = format!("{path} says {inserted} inserted, adds {rows} rows and removes {before}");
        world.report_violation(Violation::WrongCounts, what);
    }
    let mut invariants = world.invariants();
    let of_dataset = invariants.files.keys().filter(|(of, _)| *of == dataset);
    let files = of_dataset.map(|(_, file)| file.clone()).collect();
    if let Some(version) = version {
        invariants.versions.entry(dataset.clone()).or_default().insert(version, files);
    }
    *invariants.inserted.entry(dataset).or_default() += inserted;
}

/// Removes a data file from the state. Returns the number of its rows, which must be in another file of the same commit.
fn remove_file(world: &World, dataset: &str, file: &str) -> Option<u64> {
    let mut invariants = world.invariants();
    let (keys, rows) = invariants.files.remove(&(dataset.to_owned(), file.to_owned()))?;
    if let Some(known) = invariants.keys.get_mut(dataset) {
        keys.iter().for_each(|key| {
            known.remove(key);
        });
    }
    for (content, has_contract) in &rows {
        if let Some(places) = invariants.rows.get_mut(content) {
            places.remove(*has_contract);
        }
    }
    drop(invariants);
    world.trace.count("files merged");
    Some(rows.len() as u64)
}

/// Adds the column that the folder of a data file has, such as `version=2/`.
fn add_partition(batch: RecordBatch, file: &str) -> Result<RecordBatch, ArrowError> {
    let column = file.split_once('/').and_then(|(folder, _)| folder.split_once('='));
    let Some((name, value)) = column.and_then(|(name, value)| Some((name, value.parse::<i64>().ok()?)))
    else {
        return Ok(batch);
    };
    let values: ArrayRef = Arc::new(Int64Array::from(vec![value; batch.num_rows()]));
    let fields = batch.schema_ref().fields().iter().cloned();
    let fields: Vec<FieldRef> = fields.chain([Arc::new(Field::new(name, DataType::Int64, true))]).collect();
    let columns = batch.columns().iter().cloned().chain([values]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The path of the key file of a data file.
pub fn key_path(table: &Path, file: &str) -> Path {
    let name = file.rsplit('/').next().unwrap_or(file);
    let stem = name.strip_suffix(".parquet").unwrap_or(name);
    table.clone().join("_pinlake_keys").join(format!("{stem}.keys"))
}

/// The path of a data file, which the log has relative to the table's folder.
pub fn below(table: &Path, file: &str) -> Path {
    Path::from_iter(table.parts().chain(Path::from(file).parts()))
}

/// Checks a data file that was added to the log. Returns the number of its rows.
async fn check_added_file(
    world: &Arc<World>,
    dataset: &str,
    file: &str,
    author: Author,
) -> Result<u64, String> {
    let table = Path::from_iter(["tables", dataset]);
    let data = read(world, &below(&table, file)).await?;
    let batches = read_rows(data)?.into_iter().map(|batch| add_partition(batch, file));
    let batches = batches.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let mut keys = Vec::new();
    for batch in &batches {
        keys.extend(table_keys(dataset, batch)?);
    }
    if author == Author::Pinlake {
        if !file.ends_with(".parquet") {
            return Err("not a .parquet".to_owned());
        }
        let stored = read(world, &key_path(&table, file)).await?;
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        // A key file ends with the keys.
        if !stored.ends_with(sorted.as_flattened()) {
            return Err("its key file has other keys than its rows".to_owned());
        }
    }
    let rows: Vec<RowContent> = batches.iter().flat_map(|batch| row_contents(dataset, batch)).collect();
    let mut doubled = Vec::new();
    let mut invariants = world.invariants();
    let known = invariants.keys.entry(dataset.to_owned()).or_default();
    let fresh = keys.iter().filter(|key| known.insert(**key)).count();
    for (content, has_contract) in &rows {
        let places = invariants.rows.entry(content.clone()).or_default();
        places.add(*has_contract);
        // A borderline record may be in two places for as long as its landing objects are there.
        if !contracts::is_borderline(content.strip_prefix(RESOLVED).unwrap_or(content)) {
            doubled.push((content.clone(), *places));
        }
    }
    invariants.files.insert((dataset.to_owned(), file.to_owned()), (keys.clone(), rows.clone()));
    drop(invariants);
    if fresh < keys.len() {
        world.report_violation(
            Violation::Duplicated,
            format!("{} keys of {file} were in {dataset} before", keys.len() - fresh),
        );
    }
    for (content, places) in doubled.into_iter().filter(|(content, _)| !content.starts_with(RESOLVED)) {
        if files::is_file_row(&content) || content.starts_with(&format!("{ORDER}/")) {
            continue;
        }
        let promise = world.ledger.lock().promises.get(&content).cloned().unwrap_or_default();
        if promise.is_exceeded(&content, places) {
            world.report_violation(
                Violation::Duplicated,
                format!("{content} has the rows {places:?}, sent as {:?}", promise.sent),
            );
        }
    }
    for batch in &batches {
        if let Some(why) = find_wrong_row(dataset, batch) {
            let mut invariants = world.invariants();
            if !invariants.wrong.contains(&why) {
                invariants.wrong.push(why.clone());
                drop(invariants);
                world.report_violation(Violation::Unexpected, why);
            }
        }
    }
    if keys.len() != rows.len() {
        return Err(format!("{} keys for {} rows", keys.len(), rows.len()));
    }
    Ok(rows.len() as u64)
}

/// The keys of the rows of a table.
pub(crate) fn table_keys(dataset: &str, batch: &RecordBatch) -> Result<Vec<Key>, String> {
    let is_extended = batch.column_by_name("more").is_some();
    let catalog = contracts::catalog(match dataset {
        ORDER => CatalogVersion::Latest,
        _ if is_extended => CatalogVersion::Extended,
        _ => CatalogVersion::First,
    });
    let contract = catalog.contract(dataset).ok_or("there is no such dataset")?;
    // A file of the earlier contract that was written again with a wider type keeps its keys.
    let columns = contract.table_schema();
    let own = batch.schema_ref().fields().iter().zip(batch.columns());
    let own = own.map(|(field, column)| {
        let wanted = columns.field_with_name(field.name()).map_or(field.data_type(), |own| own.data_type());
        Ok((field.name(), cast(column, wanted)?))
    });
    let own = own.collect::<Result<Vec<_>, ArrowError>>().and_then(RecordBatch::try_from_iter);
    let batch = own.map_err(|error| error.to_string())?;
    let keys = pinlake_clean::row_keys(contract, &batch).map_err(|error| error.to_string())?;
    Ok(keys.iter().flatten().filter_map(|key| key.try_into().ok()).collect())
}

async fn read(world: &World, path: &Path) -> Result<Bytes, String> {
    let got = world.memory.get(path).await.map_err(|error| error.to_string())?;
    got.bytes().await.map_err(|error| error.to_string())
}

/// Decodes a Parquet file.
///
/// # Errors
/// With the message of the reader.
pub fn read_rows(bytes: Bytes) -> Result<Vec<RecordBatch>, String> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(ParquetRecordBatchReaderBuilder::build);
    let batches = reader.map_err(|error| error.to_string())?.collect::<Result<Vec<_>, _>>();
    batches.map_err(|error| error.to_string())
}

fn landing_keys(batch: &RecordBatch) -> Vec<Key> {
    let keys = batch.column_by_name(KEY_COLUMN).and_then(|column| column.as_fixed_size_binary_opt());
    keys.iter().flat_map(|keys| keys.iter().flatten()).filter_map(|key| key.try_into().ok()).collect()
}

/// The content of each row.
pub fn contents_of(dataset: &str, batch: &RecordBatch) -> Vec<Content> {
    row_contents(dataset, batch).into_iter().map(|(content, _)| content).collect()
}

/// The content of each row, and whether a contract named its dataset.
pub fn row_contents(dataset: &str, batch: &RecordBatch) -> Vec<RowContent> {
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
            let content = quarantine_content(sent_to, raw.unwrap_or_default());
            let content = if resolved.is_valid(at) { format!("{RESOLVED}{content}") } else { content };
            (content, contract.is_valid(at))
        };
        return rows.map(said).collect();
    }
    let ids = read_ids(batch);
    let content = |id: Option<i64>| (format!("{dataset}/{}", id.unwrap_or(-1)), true);
    ids.iter().flat_map(|ids| ids.iter()).map(content).collect()
}

/// The ids of rows, which are int32 in a table that was not widened.
fn read_ids(batch: &RecordBatch) -> Option<Int64Array> {
    let ids = cast(batch.column_by_name("id")?, &DataType::Int64).ok()?;
    ids.as_primitive_opt::<Int64Type>().cloned()
}

/// The prefix of the content of a resolved record in quarantine.
pub const RESOLVED: &str = "resolved/";

/// The content of a quarantined record. A borderline record has the same content in quarantine as in its table.
pub fn quarantine_content(dataset: Option<&str>, raw: &[u8]) -> Content {
    if let Some(content) = contracts::content_of_borderline(raw) {
        return content;
    }
    let dataset = dataset.or(contracts::dataset_of_bad(raw));
    format!("quarantine/{}/{}", dataset.unwrap_or("-"), raw.escape_ascii())
}

/// Finds a row whose note does not match its id.
fn find_wrong_row(dataset: &str, batch: &RecordBatch) -> Option<String> {
    let ids = read_ids(batch)?;
    let notes = batch.column_by_name("note")?.as_string_opt::<i32>()?;
    // `CatalogVersion::Reruled` has them in capital letters.
    let has_note = |at: usize| notes.value(at).eq_ignore_ascii_case(&format!("note {}", ids.value(at)));
    let differs = |at: &usize| !notes.is_null(*at) && !has_note(*at);
    let at = (0..batch.num_rows()).find(differs)?;
    Some(format!("{dataset}/{} has the note {:?}", ids.value(at), notes.value(at)))
}

/// Mutation: advances the watermark when the raw object is stored, before its landing objects.
pub(crate) async fn watermark_first(world: &World, raw: &Path) {
    let parts: Vec<String> = raw.parts().map(|part| part.as_ref().to_owned()).collect();
    if let [_, _, stream, shard, file] = parts.as_slice()
        && let Some(Ok(last)) = file.split('-').nth(1).map(str::parse)
    {
        let store: &dyn ObjectStore = &world.memory;
        let _ = watermark::advance(store, &RecordSource::from_path_segments(stream, shard), &last).await;
    }
}
