//! Safeguards, taken away one by one from outside: production code stays as it is, and the world around it behaves
//! so that the safeguard has no effect. A simulator that does not notice would prove nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::compute::cast;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectMeta, ObjectStoreExt, Result};
use parquet::arrow::ArrowWriter;
use pinlake_schema::{FORMER_KEY_COLUMN, KEY_COLUMN};

use crate::contracts::{self, CatalogVersion};
use crate::invariants;
use crate::process::Process;
use crate::store::{no_answer_error, serve_bytes};
use crate::world::{Function, World};

/// A safeguard that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Log entries are put whether or not the version is there (a store without conditional puts).
    UnconditionalCommit,
    /// An append that loses its version is committed as the next one, as delta-rs does by itself.
    SilentRebase,
    /// After losing a version, keys are not looked up again.
    NoRecheck,
    /// No key is ever looked up: every row is appended.
    BlindAppend,
    /// The writer does not know its own attempt id: its own commit counts as another's.
    OwnCommitIsForeign,
    /// The writer does not look at the attempt id: any commit in its place counts as its own.
    ForeignCommitIsOwn,
    /// Landing objects of a shard's minute share one name and are written over.
    MutableLanding,
    /// Landing objects are removed when they are read, not after the commit.
    DeleteBeforeCommit,
    /// Records that PutRecords did not take count as taken.
    PartialFailureIgnored,
    /// The compactor's messages to itself go nowhere.
    NoSelfMessage,
    /// Nobody sweeps.
    NoSweep,
    /// A table does not know the identity it was keyed under.
    TableIdentityIgnored,
    /// A shard's watermark moves before its records land.
    WatermarkFirst,
    /// What the cleaner reports as failed is not delivered again.
    FailuresNotReported,
    /// A batch with a bad record fails.
    InvalidRecordFailsBatch,
    /// Nobody knows under which contracts rows were let in before.
    CatalogHistoryForgotten,
    /// Whoever inserts clean rows does not see what is unresolved in quarantine.
    QuarantineIgnored,
    /// A redrive that was broken off is not done again.
    RedriveNotRepeated,
    /// Whether something was given up is not looked at when the pipeline is asked whether it is drained.
    DiscardedBatchesIgnored,
    /// A batch that was given up is removed when it is read, not after it has landed.
    RemovedBeforeReplay,
    /// Nobody looks at whose rules made a key file.
    KeyEpochIgnored,
    /// A log ends where an entry is missing, and a truncated one where it was known to end.
    LogGapIsEnd,
    /// The hint of a checkpoint is believed: what comes before it is not looked at.
    CheckpointHintTrusted,
    /// Rows that are identified by their records do not store their keys.
    KeysNotStored,
    /// In quarantine, two records with the same bytes are one, also where the record is the identity.
    RecordIdentityIgnored,
    /// Who sent a request does not belong to the identity of its records.
    CallerIgnored,
    /// What a record says does not belong to its identity.
    ContentIgnored,
    /// A look at what is left goes to its bound, and does not say so.
    TruncationUnreported,
    /// CatalogHistory that differ only in the names of topics and files count as one.
    SourceNamesIgnored,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 29] = [
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
    ];
}

/// Of the names of a log: the versions of entries.
fn parse_version(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

/// Hides what a listing must not show when a safeguard is gone. `offset` is where the listing as a whole begins.
pub(crate) fn filter_listing(
    world: &World,
    process: &Process,
    kind: &'static str,
    offset: Option<&Path>,
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
        Some(Mutation::LogGapIsEnd) if kind == "log" && process.name() != "reader" => {
            truncate_at_gap(offset, metas)
        }
        Some(Mutation::CheckpointHintTrusted) if kind == "log" => hide_entries_before_hint(world, metas),
        _ => {}
    }
}

/// Nothing that lies behind a missing entry is shown, and no checkpoint: a warm process then knows of nothing new.
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

/// Entries up to the hint of a table are not shown.
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

/// What is put in the place of an object; nothing: it is not put at all, and its writer does not know.
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

/// A record's partition key as it reaches the stream.
pub(crate) fn partition_key(mutation: Option<Mutation>, key: &str) -> String {
    let mut parts: Vec<&str> = key.split('/').collect();
    if mutation == Some(Mutation::CallerIgnored)
        && let Some(request) = parts.get_mut(1)
    {
        *request = request.split('@').next().unwrap_or_default();
    }
    parts.join("/")
}

/// What a process knows of its own requests.
pub(crate) struct View<'a> {
    pub world: &'a Arc<World>,
    pub process: &'a Process,
    /// Commits that it has lost or put in vain.
    pub lost: BTreeMap<Path, Bytes>,
    /// The landing area that it listed last.
    pub at_work_on: Option<Path>,
}

/// What reading gives.
pub(crate) async fn replace_get(
    view: &View<'_>,
    mutation: Mutation,
    path: &Path,
    kind: &'static str,
    options: GetOptions,
    got: Result<GetResult>,
) -> Result<GetResult> {
    let world = view.world;
    let is_of_clean_rows =
        view.at_work_on.as_ref().is_some_and(|folder| folder.as_ref() != "landing/quarantine");
    if mutation == Mutation::LogGapIsEnd && kind == "commit" && view.process.name() != "reader" {
        // The last entry that is known counts as there.
        let known = world.invariants().entry(path).map(|(bytes, _)| bytes.clone());
        let known = known.filter(|_| got.is_err() && options.head);
        if let Some(known) = known {
            drop(got);
            let mut known = serve_bytes(known, options).await?;
            // Without an ETag it may be the one that was put.
            known.meta.e_tag = None;
            return Ok(known);
        }
    }
    let got = got?;
    let whole = |why: String| no_answer_error(path, &why);
    let instead = match mutation {
        Mutation::QuarantineIgnored if is_of_clean_rows && kind == "evaluation" => {
            return Err(object_store::Error::NotFound { path: path.to_string(), source: "unseen".into() });
        }
        Mutation::QuarantineIgnored
            if is_of_clean_rows && kind == "data" && path.as_ref().starts_with("tables/quarantine/") =>
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
        // Key files say it too.
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

/// A key file of as many other keys.
fn replace_key_file(bytes: Bytes) -> Bytes {
    let count = bytes.get(8..16).and_then(|count| count.try_into().ok()).map_or(0, u64::from_le_bytes);
    let before = bytes.len().saturating_sub(usize::try_from(count).unwrap_or(0) * 16);
    let mut other = bytes[..before].to_vec();
    (0..u128::from(count)).for_each(|key| other.extend_from_slice(&key.to_be_bytes()));
    other.into()
}

/// A key file that says it was made by a catalog version's rules.
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

/// A Parquet file, its batches changed.
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

/// Landed rows with other keys, each of what is given for its row.
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
