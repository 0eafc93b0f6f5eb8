//! Other programs that change the tables, and people who repair the damage.
//!
//! They do what Delta programs and people do: clean up a log behind a checkpoint of any form ("Checkpoints" and "Log
//! cleanup", Delta transaction log protocol), append rows, merge small files (`OPTIMIZE`), remove unreferenced files
//! (`VACUUM`), and accidentally delete or truncate a log entry, a key file or a data file. What a table needs is
//! restored later, at the latest when all faults stop.
//!
//! No log entry is deleted that a running invocation or put may not know yet, nor the newest one. A writer cannot detect
//! that such a version existed; this is why logs are cleaned up by age.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::checkpoint::{self, CheckpointForm};
use crate::contracts::{self, CatalogVersion};
use crate::files::LAKE;
use crate::invariants::{self, Author};
use crate::rng::SimRng;
use crate::world::World;

/// An action of another program or a person on a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interference {
    /// Deletes a log entry other than the newest, and restores it.
    EntryDeleted,
    /// Writes a checkpoint and deletes the entries before it.
    LogTruncated(CheckpointForm),
    /// Writes a checkpoint, or only its hint.
    HintWritten(CheckpointForm),
    /// Deletes key files, which may be restored.
    KeysDeleted,
    /// Truncates a key file, then deletes or restores it.
    KeysCut,
    /// Replaces a key file by one of another key epoch.
    KeysOfOtherRules,
    /// Deletes a data file, and restores it.
    DataDeleted,
    /// Commits rows.
    RowsAdded,
    /// Merges small files.
    FilesMerged,
    /// Deletes data files that the newest version does not have.
    Vacuumed,
    /// Overwrites a landing object, so that it cannot be read.
    LandingDamaged,
}

impl Interference {
    const ALL: [Interference; 20] = [
        Self::EntryDeleted,
        Self::EntryDeleted,
        Self::LogTruncated(CheckpointForm::Classic),
        Self::LogTruncated(CheckpointForm::Classic),
        Self::LogTruncated(CheckpointForm::Parts),
        Self::LogTruncated(CheckpointForm::Unknown),
        Self::HintWritten(CheckpointForm::Classic),
        Self::HintWritten(CheckpointForm::Parts),
        Self::HintWritten(CheckpointForm::Unknown),
        Self::HintWritten(CheckpointForm::Missing),
        Self::KeysDeleted,
        Self::KeysDeleted,
        Self::KeysCut,
        Self::KeysOfOtherRules,
        Self::KeysOfOtherRules,
        Self::DataDeleted,
        Self::RowsAdded,
        Self::RowsAdded,
        Self::FilesMerged,
        Self::Vacuumed,
    ];

    /// Draws the actions of a run and their times.
    pub fn random(rng: &SimRng) -> Vec<(Duration, Self)> {
        let times = if rng.chance(350) { rng.between(1, 4) } else { 0 };
        let mut drawn: Vec<_> =
            (0..times).map(|_| (rng.millis(2_000, 70_000), Self::ALL[rng.index(Self::ALL.len())])).collect();
        if rng.chance(80) {
            drawn.push((rng.millis(2_000, 40_000), Self::LandingDamaged));
        }
        drawn
    }

    fn counter(self) -> &'static str {
        match self {
            Self::EntryDeleted => "foreign: entry deleted",
            Self::LogTruncated(CheckpointForm::Classic) => "foreign: log truncated",
            Self::LogTruncated(_) => "foreign: log truncated behind another checkpoint",
            Self::HintWritten(_) => "foreign: checkpoint hint",
            Self::KeysDeleted => "foreign: key files deleted",
            Self::KeysCut => "foreign: key file cut",
            Self::KeysOfOtherRules => "foreign: key file of other rules",
            Self::DataDeleted => "foreign: data file deleted",
            Self::RowsAdded => "foreign: rows added",
            Self::FilesMerged => "foreign: files merged",
            Self::Vacuumed => "foreign: vacuum",
            Self::LandingDamaged => "foreign: landing object damaged",
        }
    }
}

/// Applies the actions of the scenario.
pub async fn interfere(world: Arc<World>) {
    for (at, interference) in world.scenario.interferences.clone() {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(at.saturating_sub(world.time())).await;
            // The objects that it needs may not exist yet.
            while !world.has_stopped_faults() {
                let in_progress = world.begin_work();
                if apply(&world, interference).await {
                    world.trace.count(interference.counter());
                    return;
                }
                drop(in_progress);
                sleep(world.rng.millis(500, 4_000)).await;
            }
        });
    }
}

/// Applies an action, if it is possible now, and undoes it later if needed.
async fn apply(world: &Arc<World>, interference: Interference) -> bool {
    if interference == Interference::LandingDamaged {
        return damage_landing(world).await;
    }
    let tables = world.invariants().tables();
    if tables.is_empty() {
        return false;
    }
    let table = Table::new(world, &tables[world.rng.index(tables.len())]);
    match interference {
        Interference::EntryDeleted => table.delete_entry().await,
        Interference::LogTruncated(form) => table.truncate(form).await,
        Interference::HintWritten(form) => table.hint(form).await,
        Interference::KeysDeleted => table.delete_keys().await,
        Interference::KeysCut => table.cut_keys().await,
        Interference::KeysOfOtherRules => table.foreign_keys().await,
        Interference::DataDeleted => table.delete_data().await,
        Interference::RowsAdded => table.add_rows().await,
        Interference::FilesMerged => table.merge_files().await,
        Interference::Vacuumed => table.vacuum().await,
        Interference::LandingDamaged => false,
    }
}

/// A table as another program sees it, without delays and faults.
struct Table<'a> {
    world: &'a Arc<World>,
    dataset: String,
    root: Path,
}

impl<'a> Table<'a> {
    fn new(world: &'a Arc<World>, dataset: &str) -> Self {
        Self { world, dataset: dataset.to_owned(), root: Path::from_iter(["tables", dataset]) }
    }

    fn log(&self, name: impl AsRef<str>) -> Path {
        self.root.clone().join("_delta_log").join(name.as_ref())
    }

    fn entry(&self, version: u64) -> Path {
        self.log(format!("{version:020}.json"))
    }

    fn newest(&self) -> u64 {
        self.world.invariants().newest(&self.dataset).unwrap_or(0)
    }

    /// Number of versions that every running invocation knew when it started.
    fn settled(&self) -> u64 {
        let oldest = self.world.oldest_in_progress();
        let invariants = self.world.invariants();
        let is_known = |version: &u64| {
            invariants.entry(&self.entry(*version)).is_some_and(|(_, landed)| *landed < oldest)
        };
        (0..).take_while(is_known).count() as u64
    }

    async fn put(&self, path: &Path, bytes: Bytes) {
        self.world.log(|| format!("another program puts {path}"));
        // The in-memory store does not fail.
        let _ = self.world.memory.put(path, bytes.into()).await;
    }

    async fn delete(&self, path: &Path) -> Option<Bytes> {
        let got = self.world.memory.get(path).await.ok()?.bytes().await.ok()?;
        self.world.memory.delete(path).await.ok()?;
        self.world.log(|| format!("another program deletes {path}"));
        Some(got)
    }

    /// Waits for a while, or until faults have stopped.
    async fn wait(&self) {
        let until = self.world.time() + self.world.rng.millis(500, 45_000);
        while self.world.time() < until && !self.world.has_stopped_faults() {
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn put_back(&self, deleted: Vec<(Path, Bytes)>) {
        self.wait().await;
        for (path, bytes) in deleted {
            self.put(&path, bytes).await;
        }
    }

    async fn delete_entry(&self) -> bool {
        let (newest, settled) = (self.newest(), self.settled());
        let most = settled.min(newest);
        if most == 0 {
            return false;
        }
        let path = self.entry(self.world.rng.between(0, most - 1));
        let Some(bytes) = self.delete(&path).await else { return false };
        self.put_back(vec![(path, bytes)]).await;
        true
    }

    async fn truncate(&self, form: CheckpointForm) -> bool {
        let (newest, settled) = (self.newest(), self.settled());
        let most = settled.min(newest);
        if most == 0 {
            return false;
        }
        let version = self.world.rng.between(1, most);
        let hinted = self.world.rng.chance(700);
        if !self.checkpoint(version, form, hinted).await {
            return false;
        }
        let mut deleted = Vec::new();
        for version in 0..version {
            let path = self.entry(version);
            if let Some(bytes) = self.delete(&path).await {
                deleted.push((path, bytes));
            }
        }
        // A checkpoint that every reader understands replaces the entries before it.
        if form == CheckpointForm::Classic && self.world.rng.chance(700) {
            return true;
        }
        self.put_back(deleted).await;
        true
    }

    async fn hint(&self, form: CheckpointForm) -> bool {
        let newest = self.newest();
        newest > 0 && self.checkpoint(self.world.rng.between(1, newest), form, true).await
    }

    /// Writes a checkpoint of a version and its hint.
    async fn checkpoint(&self, version: u64, form: CheckpointForm, hinted: bool) -> bool {
        let entries: Option<Vec<Bytes>> = {
            let invariants = self.world.invariants();
            (0..=version).map(|version| Some(invariants.entry(&self.entry(version))?.0.clone())).collect()
        };
        let Some(checkpoint) = entries
            .and_then(|entries| checkpoint::build_checkpoint(version, &entries, form, &self.world.rng))
        else {
            return false;
        };
        for (name, bytes) in checkpoint.files {
            self.put(&self.log(name), bytes).await;
        }
        if hinted {
            self.world.hint(&self.dataset, version);
            self.put(&self.log("_last_checkpoint"), checkpoint.hint.into()).await;
        }
        true
    }

    /// The data files of the newest version.
    fn files(&self) -> Vec<String> {
        let invariants = self.world.invariants();
        let newest = invariants.newest(&self.dataset);
        let files = newest.and_then(|newest| invariants.files_of(&self.dataset, newest));
        files.into_iter().flatten().cloned().collect()
    }

    fn keys(&self, file: &str) -> Path {
        invariants::key_path(&self.root, file)
    }

    async fn delete_keys(&self) -> bool {
        let files = self.files();
        let all = self.world.rng.chance(500);
        let mut deleted = Vec::new();
        for file in files {
            let path = self.keys(&file);
            if (all || self.world.rng.chance(500))
                && let Some(bytes) = self.delete(&path).await
            {
                deleted.push((path, bytes));
            }
        }
        let done = !deleted.is_empty();
        if self.world.rng.chance(300) {
            self.put_back(deleted).await;
        }
        done
    }

    async fn cut_keys(&self) -> bool {
        let files = self.files();
        if files.is_empty() {
            return false;
        }
        let path = self.keys(&files[self.world.rng.index(files.len())]);
        let Some(bytes) = self.delete(&path).await else { return false };
        let length = self.world.rng.index(bytes.len());
        self.put(&path, bytes.slice(..length)).await;
        self.wait().await;
        if self.world.rng.chance(500) {
            self.delete(&path).await;
        } else {
            self.put(&path, bytes).await;
        }
        true
    }

    /// Replaces a key file by one of a catalog whose identity the table rejects.
    async fn foreign_keys(&self) -> bool {
        let files = self.files();
        if files.is_empty() {
            return false;
        }
        let path = self.keys(&files[self.world.rng.index(files.len())]);
        let Some(bytes) = self.delete(&path).await else { return false };
        let count = bytes.get(8..16).and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
        let catalog = contracts::catalog(CatalogVersion::Rekeyed);
        let rekeyed = catalog.contract(&self.dataset).filter(|_| self.dataset == "visit");
        let mut other = b"PLKEYS03".to_vec();
        other.extend_from_slice(&count.to_le_bytes());
        other.extend_from_slice(
            rekeyed.map_or("0123456789abcdef", |contract| contract.identity_hash()).as_bytes(),
        );
        (0..count).for_each(|key| other.extend_from_slice(&u128::from(key).to_be_bytes()));
        self.put(&path, other.into()).await;
        true
    }

    async fn delete_data(&self) -> bool {
        let files = self.files();
        if files.is_empty() {
            return false;
        }
        let path = invariants::below(&self.root, &files[self.world.rng.index(files.len())]);
        let Some(bytes) = self.delete(&path).await else { return false };
        self.put_back(vec![(path, bytes)]).await;
        true
    }

    /// Commits rows that are not in the table yet, without a key file and without pinlake's commit metadata.
    async fn add_rows(&self) -> bool {
        if !["visit", "page", contracts::MEMO].contains(&self.dataset.as_str()) {
            return false;
        }
        let absent: Vec<u64> = {
            let invariants = self.world.invariants();
            contracts::FOREIGN.filter(|id| !invariants.has(&format!("{}/{id}", self.dataset))).collect()
        };
        let count = self.world.rng.between(1, 3);
        let ids: Vec<u64> =
            absent.into_iter().filter(|_| self.world.rng.chance(300)).take(count as usize).collect();
        if ids.is_empty() {
            return false;
        }
        let lines: String =
            ids.iter().map(|id| format!("{{\"id\":{id},\"note\":\"note {id}\"}}\n")).collect();
        let catalog = contracts::catalog(CatalogVersion::First);
        let Some(contract) = catalog.contract(&self.dataset) else { return false };
        let decoder = arrow::json::ReaderBuilder::new(contract.arrow_schema()).build(lines.as_bytes());
        let Some(rows) = decoder.ok().and_then(|mut rows| rows.next()?.ok()) else { return false };
        for id in &ids {
            let content = format!("{}/{id}", self.dataset);
            let mut book = self.world.ledger.lock();
            book.record_sent(&content, "another program".to_owned());
            book.record_promised(&content, "another program".to_owned());
        }
        self.commit(&[], "", rows, true).await
    }

    async fn merge_files(&self) -> bool {
        let mut files = self.files();
        // Of one partition.
        let Some(folder) = files.first().map(|file| folder_of(file).to_owned()) else { return false };
        files.retain(|file| folder_of(file) == folder);
        if files.len() < 2 {
            return false;
        }
        files.truncate(self.world.rng.between(2, files.len() as u64) as usize);
        let mut batches = Vec::new();
        for file in &files {
            let Ok(got) = self.world.memory.get(&invariants::below(&self.root, file)).await else {
                return false;
            };
            let Ok(bytes) = got.bytes().await else { return false };
            let Ok(rows) = invariants::read_rows(bytes) else { return false };
            batches.extend(rows);
        }
        let Some(schema) = batches.first().map(RecordBatch::schema) else { return false };
        let Ok(rows) = arrow::compute::concat_batches(&schema, &batches) else { return false };
        self.commit(&files, &folder, rows, false).await
    }

    /// Commits the version after the newest, unless another writer does. `folder` is that of the rows' partition.
    async fn commit(&self, removed: &[String], folder: &str, rows: RecordBatch, data_change: bool) -> bool {
        let now = self.world.now().timestamp_millis();
        let file = format!("{folder}part-other-{:016x}.parquet", self.world.rng.seed());
        let mut bytes = Vec::new();
        let written = ArrowWriter::try_new(&mut bytes, rows.schema(), None)
            .and_then(|mut writer| writer.write(&rows).and_then(|()| writer.close()));
        if written.is_err() {
            return false;
        }
        let mut actions = Vec::new();
        if self.world.rng.chance(500) {
            actions.push(
                json!({"commitInfo": {"timestamp": now, "operation": "WRITE", "engineInfo": "other/1"}}),
            );
        }
        for path in removed {
            actions
                .push(json!({"remove": {"path": path, "deletionTimestamp": now, "dataChange": data_change}}));
        }
        let mut add = json!({
            "path": file, "partitionValues": partition_of(folder), "size": bytes.len(), "modificationTime": now,
            "dataChange": data_change,
        });
        if self.world.rng.chance(700) {
            add["stats"] = json!({"numRecords": rows.num_rows()}).to_string().into();
        }
        actions.push(json!({"add": add}));
        let text: String = actions.iter().map(|action: &Value| format!("{action}\n")).collect();
        self.put(&invariants::below(&self.root, &file), bytes.into()).await;
        let entry = self.entry(self.newest() + 1);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let text = Bytes::from(text);
        if self.world.memory.put_opts(&entry, text.clone().into(), options).await.is_err() {
            return false;
        }
        self.world.log(|| format!("another program commits {entry}"));
        invariants::check_commit(self.world, &entry, &text, Author::Other).await;
        true
    }

    async fn vacuum(&self) -> bool {
        let live = self.files();
        let oldest = self.world.oldest_in_progress();
        let listed: Result<Vec<_>, _> = self.world.memory.list(Some(&self.root)).try_collect().await;
        let mut deleted = false;
        for meta in listed.unwrap_or_default() {
            let is_hidden = meta.location.parts().any(|part| part.as_ref().starts_with('_'));
            let is_dead =
                !is_hidden && !live.iter().any(|live| invariants::below(&self.root, live) == meta.location);
            // An unfinished commit names only files that are younger than its process.
            let stamp = self.world.find_stamp(LAKE, &meta.location);
            if is_dead && stamp.is_some_and(|stamp| stamp.time < oldest) {
                deleted |= self.delete(&meta.location).await.is_some();
            }
        }
        deleted
    }
}

/// Overwrites a landing object: it is moved to `failed/`, and an operator cleans it again from its raw object.
async fn damage_landing(world: &Arc<World>) -> bool {
    let prefix = Path::from("landing");
    let listed: Result<Vec<_>, _> = world.memory.list(Some(&prefix)).try_collect().await;
    let listed = listed.unwrap_or_default();
    if listed.is_empty() {
        return false;
    }
    let path = &listed[world.rng.index(listed.len())].location;
    world.log(|| format!("{path} is overwritten"));
    world.memory.put(path, "no Parquet".into()).await.is_ok()
}

/// The folder of a data file's partition: `version=2/`, or nothing.
fn folder_of(file: &str) -> &str {
    file.rfind('/').map_or("", |end| &file[..=end])
}

/// The partition of a folder, as the log has it.
fn partition_of(folder: &str) -> Value {
    match folder.trim_end_matches('/').split_once('=') {
        Some((column, value)) => json!({ column: value }),
        None => json!({}),
    }
}
