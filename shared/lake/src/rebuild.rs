//! Rebuild: writes a table again under a changed contract, and swaps the new files in with one commit.
//!
//! The rows are carried over from the values in the table, column by column ([`carry`]), into a table of its own below
//! `_pinlake_rebuild/`. It is filled with insert-if-absent, so rows that have the same identity now become one, and a rebuild that was
//! interrupted continues. Meanwhile functions with the former contract may commit: their new files are carried over as well, until the
//! version that was read is still the newest. The commit that swaps is bound to that version.

mod carry;
mod staging;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use pinlake_schema::{Catalog, Contract, KEY_COLUMN};

use self::carry::Carrier;
use self::staging::Progress;
use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::log::REBUILD;
use crate::table::Table;
use crate::tables::Tables;

/// Attempts to swap while other writers commit.
const MAX_ROUNDS: usize = 50;

/// What a rebuild did: `read = rows + duplicates`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RebuildSummary {
    /// Rows read: those of the table before, and again those of files that were merged meanwhile.
    pub read: u64,
    /// Rows of the table now.
    pub rows: u64,
    /// Rows that have the identity of another row now.
    pub duplicates: u64,
    /// Data files before and now.
    pub files_removed: u64,
    /// See `files_removed`.
    pub files_added: u64,
    /// The version that swapped the files.
    pub version: u64,
}

/// Rebuilds the table of `contract`: see [`Lake::rebuild`]. `progress` is called with the rows read so far.
///
/// # Errors
/// See [`LakeError`].
pub(crate) async fn rebuild(
    tables: &Tables,
    catalog: &Arc<Catalog>,
    contract: &Arc<Contract>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<RebuildSummary, LakeError> {
    let table = tables.open_once(contract);
    let before = table.pin().await?.version.unwrap_or_default();
    match rebuild_table(tables, &table, catalog, progress).await {
        // The other one has removed the copy, which they share.
        Err(_) if was_rebuilt_since(&table, before).await => Err(LakeError::RebuildRefused {
            dataset: contract.name.clone(),
            why: "another `pinlake rebuild` has rebuilt it meanwhile; `pinlake check --against` says whether that is enough".to_owned(),
        }),
        rebuilt => rebuilt,
    }
}

/// Whether a commit after version `before` is that of a rebuild.
async fn was_rebuilt_since(table: &Table, before: u64) -> bool {
    let Ok(pinned) = table.pin().await else { return false };
    for version in before + 1..=pinned.version.unwrap_or_default() {
        if let Ok(Some(commit)) = table.read_commit(version).await
            && commit.operation.as_deref() == Some(REBUILD)
        {
            return true;
        }
    }
    false
}

async fn rebuild_table(
    tables: &Tables,
    table: &Table,
    catalog: &Arc<Catalog>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<RebuildSummary, LakeError> {
    let contract = table.contract();
    let refused = |why: String| LakeError::RebuildRefused { dataset: contract.name.clone(), why };
    if let Some(why) = check_identity(table).await? {
        return Err(refused(why.to_owned()));
    }
    let folder = table.root().clone().join(staging::FOLDER).join(staging::name_copy(contract));
    let staged: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(tables.store.clone(), folder.clone()));
    let open_copy = || Lake::new(staged.clone(), tables.env().clone()).table(contract);
    let mut copy = open_copy();
    let mut done = Progress::load(&*staged).await?;
    for _ in 0..MAX_ROUNDS {
        let pinned = table.pin().await?;
        let Some(version) = pinned.version else {
            return Err(refused("the lake has no table of it".to_owned()));
        };
        if done.is_outdated(table, version).await? {
            // What the handle has read of the copy is gone.
            (done, copy) = (Progress::begin(&*staged, version).await?, open_copy());
        }
        let files = table.data_files().await?;
        carry_files(table, &copy, &files, &pinned.schema, &mut done, &*staged, &progress).await?;
        if done.rejected > 0 {
            let (rejected, read) = (done.rejected, done.read);
            let example = done.example.clone().unwrap_or_default();
            staging::remove(&*staged).await?;
            return Err(refused(format!(
                "{rejected} of {read} rows cannot be carried over, such as: {example}. Nothing has changed. Change the \
                 contract, or change these rows first"
            )));
        }
        // Each file of the table has become one of the copy.
        while copy.merge_small_files(2).await? > 0 {}
        // As before an insert: others recognise rows of the contract by the history.
        tables.catalog_history.add(&*tables.store, catalog).await?;
        let Some(swapped) = table.swap_files(version, &copy, &folder).await? else { continue };
        let rows = copy.data_files().await?.iter().filter_map(|file| file.rows).sum();
        staging::remove(&*staged).await?;
        return Ok(RebuildSummary {
            read: done.read,
            rows,
            duplicates: done.read.saturating_sub(rows),
            files_removed: files.len() as u64,
            files_added: swapped.files_added,
            version: swapped.version,
        });
    }
    Err(LakeError::Contended { dataset: contract.name.clone(), attempts: MAX_ROUNDS as u32 })
}

/// Why the keys of rows cannot be computed from the table under the contract; `None` if they can.
async fn check_identity(table: &Table) -> Result<Option<&'static str>, LakeError> {
    let stores_keys = table.pin().await?.schema.field_with_name(KEY_COLUMN).is_ok();
    if stores_keys || table.contract().stores_keys() {
        return Ok(Some(
            "its rows are identified by their record, and the table does not have the records: load them under another name",
        ));
    }
    let is_foreign = table.contract().keep.is_some() && table.has_foreign_deletes().await?;
    Ok(is_foreign.then_some(
        "rows of it were deleted, and what is remembered of them cannot be computed under another identity or `latest_by`",
    ))
}

/// Carries over the rows of the files that have not been carried over yet.
async fn carry_files(
    table: &Table,
    copy: &Table,
    files: &[DataFile],
    columns: &SchemaRef,
    done: &mut Progress,
    staged: &dyn ObjectStore,
    progress: &(impl Fn(u64) + Send + Sync),
) -> Result<(), LakeError> {
    let carrier = Carrier::new(table.contract(), columns);
    // The log lists the newest file first, and the first row of an identity stays.
    for file in files.iter().rev() {
        if done.has(&file.path) {
            continue;
        }
        let mut batches = Vec::new();
        for batch in table.read_columns(file, columns).await? {
            let carried = carrier.carry(&batch)?;
            done.read += batch.num_rows() as u64;
            done.rejected += carried.rejected;
            done.example = done.example.take().or(carried.example);
            batches.push(carried.rows);
        }
        copy.insert(&batches).await?;
        done.add(staged, &file.path).await?;
        progress(done.read);
    }
    Ok(())
}
