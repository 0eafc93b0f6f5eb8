//! Mutations: each removes one safeguard. Production code does not change; the simulated services behave
//! so that the safeguard has no effect. They show that the invariants detect a missing safeguard.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::compute::cast;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectMeta, ObjectStoreExt, Result};
use parquet::arrow::ArrowWriter;
use pinlake_files::source::FileSource;
use pinlake_schema::{FORMER_KEY_COLUMN, KEY_COLUMN, OTHER_KEY_PREFIX};
use serde_json::Value;

use crate::contracts::{self, CatalogVersion};
use crate::files::SINK;
use crate::invariants;
use crate::process::Process;
use crate::store::{no_answer_error, serve_bytes};
use crate::world::{Function, World};

/// A removed safeguard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Log entries are put unconditionally (a store without conditional puts).
    UnconditionalCommit,
    /// An append that conflicts is committed as the next version, as delta-rs does.
    SilentRebase,
    /// Keys are not looked up again after a conflict.
    NoRecheck,
    /// Keys are never looked up: every row is appended.
    BlindAppend,
    /// The writer does not recognise its own commit.
    OwnCommitIsForeign,
    /// The writer treats any commit of its version as its own.
    ForeignCommitIsOwn,
    /// Landing objects of one minute of a shard have the same name and are overwritten.
    MutableLanding,
    /// Landing objects are removed when they are read.
    DeleteBeforeCommit,
    /// Records that PutRecords rejected count as stored.
    PartialFailureIgnored,
    /// The compactor's triggers to itself are lost.
    NoSelfMessage,
    /// There is no sweep.
    NoSweep,
    /// A table does not store the identity that its keys were built with.
    TableIdentityIgnored,
    /// The watermark of a shard advances before its records land.
    WatermarkFirst,
    /// Batches that the cleaner reports as failed are not delivered again.
    FailuresNotReported,
    /// A batch with an invalid record fails.
    InvalidRecordFailsBatch,
    /// The catalog history is lost.
    CatalogHistoryForgotten,
    /// An insert does not see unresolved rows of quarantine.
    QuarantineIgnored,
    /// An interrupted redrive is not repeated.
    RedriveNotRepeated,
    /// Discarded batches do not count as backlog.
    DiscardedBatchesIgnored,
    /// A discarded batch is removed when it is read, not after it has landed.
    RemovedBeforeReplay,
    /// The key epoch of a key file is not checked.
    KeyEpochIgnored,
    /// A log ends at a missing entry, and a truncated log ends at its last known entry.
    LogGapIsEnd,
    /// A checkpoint hint is trusted: entries before it are not read.
    CheckpointHintTrusted,
    /// Rows of `identity = "record"` do not store their keys.
    KeysNotStored,
    /// Equal bytes are one record in quarantine, even with `identity = "record"`.
    RecordIdentityIgnored,
    /// The caller is not part of a record's identity.
    CallerIgnored,
    /// The content is not part of a record's identity.
    ContentIgnored,
    /// A backlog check that reaches its limit does not report so.
    TruncationUnreported,
    /// Catalogs that differ only in the names of topics and files count as equal.
    SourceNamesIgnored,
    /// The progress of a file counts for any object that has the file's name now.
    FileVersionIgnored,
    /// Landed rows do not bring their keys under other contracts.
    OtherKeysForgotten,
    /// A commit does not name the list of deleted keys.
    DeletesForgotten,
    /// An insert of clean rows evaluates quarantine under its own catalog only.
    OlderCatalogsIgnored,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 33] = [
        Mutation::UnconditionalCommit,
        Mutation::SilentRebase,
        Mutation::NoRecheck,
        Mutation::BlindAppend,
        Mutation::OwnCommitIsForeign,
        Mutation::ForeignCommitIsOwn,
        Mutation::MutableLanding,
        Mutation::DeleteBeforeCommit,
        Mutation::PartialFailureIgnored,
        Mutation::NoSelfMessage,
        Mutation::NoSweep,
        Mutation::TableIdentityIgnored,
        Mutation::WatermarkFirst,
        Mutation::FailuresNotReported,
        Mutation::InvalidRecordFailsBatch,
        Mutation::CatalogHistoryForgotten,
        Mutation::QuarantineIgnored,
        Mutation::RedriveNotRepeated,
        Mutation::DiscardedBatchesIgnored,
        Mutation::RemovedBeforeReplay,
        Mutation::KeyEpochIgnored,
        Mutation::LogGapIsEnd,
        Mutation::CheckpointHintTrusted,
        Mutation::KeysNotStored,
        Mutation::RecordIdentityIgnored,
        Mutation::CallerIgnored,
        Mutation::ContentIgnored,
        Mutation::TruncationUnreported,
        Mutation::SourceNamesIgnored,
        Mutation::FileVersionIgnored,
        Mutation::OlderCatalogsIgnored,
        Mutation::DeletesForgotten,
        Mutation::OtherKeysForgotten,
    ];
}

/// Parses the version in the name of a log entry.
fn parse_version(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

/// Removes objects from a listing. `offset` is the start of the whole listing, `at_work_on` the landing folder that the process
/// listed last.
pub(crate) fn filter_listing(
    world: &World,
    process: &Process,
    kind: &'static str,
    offset: Option<&Path>,
    at_work_on: Option<&Path>,
    metas: &mut Vec<ObjectMeta>,
) {
    let is_asked = process.name() == "client";
    match world.scenario.mutation {
        Some(Mutation::CatalogHistoryForgotten) if kind == "catalog" => metas.clear(),
        Some(Mutation::DiscardedBatchesIgnored) if kind == "discarded" && is_asked => metas.clear(),
        Some(Mutation::TruncationUnreported) if is_asked => {
            let bounds = &world.scenario.bounds;
            let most = match kind {
                "landing" | "other" => bounds.landing,
                "failed" => bounds.failed,
                "discarded" => bounds.discarded,
                _ => usize::MAX,
            };
            metas.truncate(most);
        }
        Some(Mutation::OlderCatalogsIgnored) if kind == "catalog" && has_clean_rows(at_work_on) => {
            let own = contracts::catalog(world.catalog_version(Function::Compactor));
            metas.retain(|meta| meta.location.as_ref().contains(own.hash()));
        }
        Some(Mutation::LogGapIsEnd) if kind == "log" && process.name() != "reader" => {
            truncate_at_gap(offset, metas)
        }
        Some(Mutation::CheckpointHintTrusted) if kind == "log" => hide_entries_before_hint(world, metas),
        _ => {}
    }
}

/// Whether a landing folder has rows for a table other than quarantine.
fn has_clean_rows(folder: Option<&Path>) -> bool {
    folder.is_some_and(|folder| folder.as_ref() != "landing/quarantine")
}

/// Hides everything behind a missing entry, and checkpoints.
fn truncate_at_gap(offset: Option<&Path>, metas: &mut Vec<ObjectMeta>) {
    let is_warm = offset.is_some();
    let has_beginning = metas.iter().any(|meta| parse_version(&meta.location) == Some(0));
    if !is_warm && !has_beginning {
        return;
    }
    let first = offset.and_then(Path::filename).and_then(|name| name.get(..20)?.parse::<u64>().ok());
    let mut next = first.unwrap_or(0);
    metas.retain(|meta| match parse_version(&meta.location) {
        Some(version) if version == next || (is_warm && version + 1 == next) => {
            next = version + 1;
            true
        }
        _ => false,
    });
}

/// Hides the entries up to the hint of a table.
fn hide_entries_before_hint(world: &World, metas: &mut Vec<ObjectMeta>) {
    let hints = world.hints();
    metas.retain(|meta| {
        let Some(dataset) = meta.location.parts().nth(1).map(|part| part.as_ref().to_owned()) else {
            return true;
        };
        let hinted = hints.get(&dataset);
        parse_version(&meta.location).is_none_or(|version| hinted.is_none_or(|hinted| version > *hinted))
    });
}

/// Replaces the bytes of a put. `None`: nothing is stored, and the writer does not notice.
pub(crate) async fn replace_put(
    world: &World,
    mutation: Mutation,
    path: &Path,
    kind: &'static str,
    bytes: Bytes,
) -> Option<Bytes> {
    let is_of = |dataset: &str| path.as_ref().starts_with(&format!("landing/{dataset}/"));
    match mutation {
        Mutation::RecordIdentityIgnored if is_of("quarantine") => rewrite_parquet(bytes.clone(), |batch| {
            let contents = invariants::row_contents("quarantine", batch).into_iter();
            replace_keys(batch, contents.map(|(content, _)| content.into_bytes()))
        })
        .ok()
        .or(Some(bytes)),
        Mutation::ContentIgnored if is_of("click") => rewrite_parquet(bytes.clone(), |batch| {
            let former = batch.column_by_name(FORMER_KEY_COLUMN).cloned();
            let at = batch.schema().index_of(KEY_COLUMN).map_err(|error| error.to_string())?;
            let mut columns = batch.columns().to_vec();
            columns[at] = former.ok_or("no former keys")?;
            RecordBatch::try_new(batch.schema(), columns).map_err(|error| error.to_string())
        })
        .ok()
        .or(Some(bytes)),
        Mutation::OtherKeysForgotten if is_of("visit") => {
            rewrite_parquet(bytes.clone(), forget_other_keys).ok().or(Some(bytes))
        }
        Mutation::DeletesForgotten if kind == "commit" => {
            let text = String::from_utf8_lossy(&bytes);
            let lines = text.lines().filter(|line| !line.contains("\"pinlake-deleted-keys\""));
            Some(lines.map(|line| format!("{line}\n")).collect::<String>().into())
        }
        Mutation::SourceNamesIgnored if kind == "catalog" => {
            let pair = [CatalogVersion::First, CatalogVersion::Renamed]
                .map(|catalog_version| contracts::catalog(catalog_version).hash().to_owned());
            let other = match &pair {
                [first, renamed] if path.as_ref().contains(first.as_str()) => renamed,
                [first, renamed] if path.as_ref().contains(renamed.as_str()) => first,
                _ => return Some(bytes),
            };
            let other = Path::from(format!("contracts/{other}.json"));
            world.memory.head(&other).await.is_err().then_some(bytes)
        }
        _ => Some(bytes),
    }
}

/// Sets the keys under other contracts to null.
fn forget_other_keys(batch: &RecordBatch) -> Result<RecordBatch, String> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        match field.name().starts_with(OTHER_KEY_PREFIX) {
            true => new_null_array(field.data_type(), batch.num_rows()),
            false => column.clone(),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).map_err(|error| error.to_string())
}

/// Changes the partition key of a record.
pub(crate) fn partition_key(mutation: Option<Mutation>, key: &str) -> String {
    let mut parts: Vec<&str> = key.split('/').collect();
    if mutation == Some(Mutation::CallerIgnored)
        && let Some(request) = parts.get_mut(1)
    {
        *request = request.split('@').next().unwrap_or_default();
    }
    parts.join("/")
}

/// The earlier requests of a process.
pub(crate) struct View<'a> {
    pub world: &'a Arc<World>,
    pub process: &'a Process,
    /// Commits that conflicted or failed.
    pub lost: BTreeMap<Path, Bytes>,
    /// The landing prefix that it listed last.
    pub at_work_on: Option<Path>,
}

/// Replaces the response to a get.
pub(crate) async fn replace_get(
    view: &View<'_>,
    mutation: Mutation,
    path: &Path,
    kind: &'static str,
    options: GetOptions,
    got: Result<GetResult>,
) -> Result<GetResult> {
    let world = view.world;
    let inserts_clean_rows = has_clean_rows(view.at_work_on.as_ref());
    if mutation == Mutation::LogGapIsEnd && kind == "commit" && view.process.name() != "reader" {
        // The last known entry counts as existing.
        let known = world.invariants().entry(path).map(|(bytes, _)| bytes.clone());
        let known = known.filter(|_| got.is_err() && options.head);
        if let Some(known) = known {
            drop(got);
            let mut known = serve_bytes(known, options).await?;
            // Without an ETag it can be the entry that was put.
            known.meta.e_tag = None;
            return Ok(known);
        }
    }
    let got = got?;
    let whole = |why: String| no_answer_error(path, &why);
    let instead = match mutation {
        // A stored evaluation contains what other processes evaluated under earlier catalogs.
        Mutation::QuarantineIgnored | Mutation::OlderCatalogsIgnored
            if inserts_clean_rows && kind == "evaluation" =>
        {
            return Err(object_store::Error::NotFound { path: path.to_string(), source: "unseen".into() });
        }
        Mutation::QuarantineIgnored
            if inserts_clean_rows && kind == "data" && path.as_ref().starts_with("tables/quarantine/") =>
        {
            rewrite_parquet(got.bytes().await?, mark_resolved).map_err(whole)?
        }
        Mutation::KeysNotStored if kind == "data" && path.as_ref().starts_with("tables/click/") => {
            rewrite_parquet(got.bytes().await?, drop_keys).map_err(whole)?
        }
        Mutation::BlindAppend if kind == "keys" => replace_key_file(got.bytes().await?),
        Mutation::NoRecheck if kind == "keys" && !view.lost.is_empty() => {
            replace_key_file(got.bytes().await?)
        }
        Mutation::KeyEpochIgnored if kind == "keys" => {
            set_key_epoch(CatalogVersion::First, path, got.bytes().await?)
        }
        // Key files contain the identity too.
        Mutation::TableIdentityIgnored if kind == "keys" && path.as_ref().starts_with("tables/visit/") => {
            set_key_epoch(world.catalog_version(Function::Compactor), path, got.bytes().await?)
        }
        Mutation::ForeignCommitIsOwn if kind == "commit" => match view.lost.get(path) {
            Some(lost) => lost.clone(),
            None => return Ok(got),
        },
        Mutation::OwnCommitIsForeign if kind == "commit" && view.lost.contains_key(path) => {
            let text =
                String::from_utf8_lossy(&got.bytes().await?).replace("\"attempt\":\"", "\"attempt\":\"not-");
            text.into()
        }
        Mutation::TableIdentityIgnored
            if path.as_ref().ends_with("visit/_delta_log/00000000000000000000.json") =>
        {
            let text = String::from_utf8_lossy(&got.bytes().await?).into_owned();
            let identity = |catalog_version| identity_hash(catalog_version, "visit").unwrap_or_default();
            let (first, now) =
                (identity(CatalogVersion::First), identity(world.catalog_version(Function::Compactor)));
            text.replace(&first, &now).into()
        }
        Mutation::FileVersionIgnored if path.as_ref().starts_with("state/files/") => {
            set_present_version(world, path, got.bytes().await?).map_err(whole)?
        }
        Mutation::RemovedBeforeReplay if kind == "discarded" && view.process.name() == "operator" => {
            world.memory.delete(path).await?;
            return Ok(got);
        }
        Mutation::DeleteBeforeCommit if kind == "landing" => {
            world.memory.delete(path).await?;
            return Ok(got);
        }
        _ => return Ok(got),
    };
    serve_bytes(instead, options).await
}

fn identity_hash(catalog_version: CatalogVersion, dataset: &str) -> Option<String> {
    let catalog = contracts::catalog(catalog_version);
    Some(catalog.contract(dataset)?.identity_hash().to_owned())
}

/// Sets the version in the progress of a file of the other bucket to that of the present object.
fn set_present_version(world: &World, path: &Path, bytes: Bytes) -> std::result::Result<Bytes, String> {
    let catalog = contracts::catalog(CatalogVersion::First);
    let is_progress_of = |key: &str| {
        let file = FileSource::from_bucket(&catalog, SINK, key, world.now());
        path.filename() == Some(format!("{}.json", file.id).as_str())
    };
    let Some(key) = world.sink_contents().into_keys().find(|key| is_progress_of(key)) else {
        return Ok(bytes);
    };
    let Some(stamp) = Path::parse(key).ok().and_then(|path| world.find_stamp(SINK, &path)) else {
        return Ok(bytes);
    };
    let mut progress: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    progress["e_tag"] = stamp.etag.into();
    progress["size"] = stamp.size.into();
    Ok(progress.to_string().into())
}

/// Replaces all keys of a key file by others.
fn replace_key_file(bytes: Bytes) -> Bytes {
    let count = bytes.get(8..16).and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
    let before = bytes.len().saturating_sub(usize::try_from(count).unwrap_or(0) * 16);
    let mut other = bytes[..before].to_vec();
    (0..u128::from(count)).for_each(|key| other.extend_from_slice(&key.to_be_bytes()));
    other.into()
}

/// Sets the key epoch of a key file to that of a catalog.
fn set_key_epoch(catalog_version: CatalogVersion, path: &Path, bytes: Bytes) -> Bytes {
    let dataset = path.parts().nth(1).map(|part| part.as_ref().to_owned()).unwrap_or_default();
    let Some(identity) = identity_hash(catalog_version, &dataset) else { return bytes };
    let mut own = bytes.to_vec();
    if own.starts_with(b"PLKEYS03")
        && let Some(epoch) = own.get_mut(16..16 + identity.len())
    {
        epoch.copy_from_slice(identity.as_bytes());
    }
    own.into()
}

/// Changes the batches of a Parquet file.
fn rewrite_parquet(
    bytes: Bytes,
    change: impl Fn(&RecordBatch) -> std::result::Result<RecordBatch, String>,
) -> std::result::Result<Bytes, String> {
    let batches = invariants::read_rows(bytes)?;
    let batches = batches.iter().map(change).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut file = Vec::new();
    let written = (|| {
        let schema =
            batches.first().ok_or(parquet::errors::ParquetError::General("no rows".to_owned()))?.schema();
        let mut writer = ArrowWriter::try_new(&mut file, schema, None)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.close()
    })();
    written.map_err(|error| error.to_string())?;
    Ok(file.into())
}

/// Rows of quarantine, none of them unresolved.
fn mark_resolved(batch: &RecordBatch) -> std::result::Result<RecordBatch, String> {
    let at = batch.schema().index_of("resolved_at").map_err(|error| error.to_string())?;
    let mut columns = batch.columns().to_vec();
    let resolved = TimestampMicrosecondArray::from(vec![1; batch.num_rows()]);
    columns[at] = cast(&resolved, columns[at].data_type()).map_err(|error| error.to_string())?;
    RecordBatch::try_new(batch.schema(), columns).map_err(|error| error.to_string())
}

/// Rows whose keys are not stored.
fn drop_keys(batch: &RecordBatch) -> std::result::Result<RecordBatch, String> {
    let Ok(at) = batch.schema().index_of(KEY_COLUMN) else { return Ok(batch.clone()) };
    let mut columns = batch.columns().to_vec();
    columns[at] = new_null_array(columns[at].data_type(), batch.num_rows());
    RecordBatch::try_new(batch.schema(), columns).map_err(|error| error.to_string())
}

/// Landed rows with other keys, calculated for each row.
fn replace_keys(
    batch: &RecordBatch,
    forms: impl Iterator<Item = Vec<u8>>,
) -> std::result::Result<RecordBatch, String> {
    let keys: Vec<[u8; 16]> = forms
        .map(|form| {
            let mut key = [0; 16];
            key.copy_from_slice(&blake3::hash(&form).as_bytes()[..16]);
            key
        })
        .collect();
    let keys = FixedSizeBinaryArray::try_from_iter(keys.iter()).map_err(|error| error.to_string())?;
    let at = batch.schema().index_of(KEY_COLUMN).map_err(|error| error.to_string())?;
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[at] = Arc::new(keys);
    RecordBatch::try_new(batch.schema(), columns).map_err(|error| error.to_string())
}
