//! Readers of tables, like the analyses: they get a complete version or an error.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pinlake_lake::Lake;
use tokio::time::sleep;

use crate::contracts::{self, CatalogVersion};
use crate::process::Process;
use crate::queue::Queue;
use crate::store::Store;
use crate::trace::Violation;
use crate::world::World;

/// Reads tables for ever, with and without a cache. A version must have been the newest during the read and have the
/// files of that version. A damaged table may be an error, never another table.
pub async fn read(world: Arc<World>, queue: Arc<Queue>) {
    let catalog = contracts::catalog(CatalogVersion::First);
    let open = || Lake::new(Store::open_lake(&world, &Process::new("reader"), &queue), world.env());
    let mut lake = open();
    loop {
        sleep(world.rng.millis(1_000, 20_000)).await;
        if world.has_stopped_faults() {
            sleep(Duration::from_secs(60)).await;
        }
        if world.rng.chance(500) {
            lake = open();
        }
        let contracts: Vec<_> = catalog.contracts().collect();
        let contract = contracts[world.rng.index(contracts.len())];
        let dataset = contract.name.as_str();
        let before = world.invariants().newest(dataset);
        let pinned = match lake.table(contract).pin().await {
            Ok(pinned) => pinned,
            Err(error) => {
                world.trace.count("reads refused");
                world.log(|| format!("a reader of {dataset}: {error}"));
                continue;
            }
        };
        world.trace.count("tables read");
        let folder = format!("tables/{dataset}/");
        let files: BTreeSet<String> = pinned
            .files
            .iter()
            .map(|file| file.path.as_ref().strip_prefix(&folder).unwrap_or_default().to_owned())
            .collect();
        let invariants = world.invariants();
        let after = invariants.newest(dataset);
        let expected = pinned.version.and_then(|version| invariants.files_of(dataset, version)).cloned();
        drop(invariants);
        let is_right =
            pinned.version >= before && pinned.version <= after && expected.unwrap_or_default() == files;
        if !is_right {
            world.report_violation(
                Violation::Misread,
                format!(
                    "a reader finds version {:?} of {dataset} with {} files; the newest was {before:?}, is {after:?}",
                    pinned.version,
                    files.len()
                ),
            );
        }
    }
}
