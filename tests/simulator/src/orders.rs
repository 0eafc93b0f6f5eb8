//! Records of a dataset that keeps the latest: several versions of a few orders, sent in any order and repeatedly. Some delete their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::cast::AsArray;
use arrow::array::types::Int64Type;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_lake::Lake;
use tokio::time::sleep;

use crate::contracts::{self, CatalogVersion, ORDER};
use crate::invariants;
use crate::kinesis::Stream;
use crate::trace::Violation;
use crate::world::World;

/// The versions of each order that were acknowledged, by id.
pub type Orders = BTreeMap<u64, BTreeSet<u64>>;

/// Whether a version of an order deletes it.
pub fn is_delete(id: u64, version: u64) -> bool {
    (id + version).is_multiple_of(3)
}

fn record(id: u64, version: u64) -> String {
    let operation = if is_delete(id, version) { "d" } else { "u" };
    format!("{{\"order\":{id},\"version\":{version},\"op\":\"{operation}\",\"note\":\"note {id}\"}}")
}

/// Sends the versions of each order in a random order, each up to three times.
pub async fn produce(world: Arc<World>, stream: Arc<Stream>) {
    // The contract is deployed at the beginning of the run.
    sleep(Duration::from_millis(100)).await;
    let mut waiting = Vec::new();
    for id in 0..world.scenario.orders {
        for version in 1..=world.rng.between(2, 6) {
            let times = usize::try_from(world.rng.between(1, 3)).unwrap_or(1);
            waiting.extend(std::iter::repeat_n((id, version), times));
        }
    }
    while !waiting.is_empty() {
        sleep(world.rng.millis(0, 4_000)).await;
        let (id, version) = waiting.swap_remove(world.rng.index(waiting.len()));
        stream.store(ORDER, record(id, version).as_bytes());
        world.ledger.lock().orders.entry(id).or_default().insert(version);
    }
}

/// Checks that each order has the row of its latest version, or none if that deletes it.
pub async fn check_latest(world: &World) {
    let orders = world.ledger.lock().orders.clone();
    let latest = orders.into_iter().filter_map(|(id, versions)| Some((id, versions.last().copied()?)));
    let expected: BTreeMap<u64, u64> = latest.filter(|(id, version)| !is_delete(*id, *version)).collect();
    match read_orders(world).await {
        Ok(found) if found == expected => {}
        Ok(found) => {
            let is_lost = expected.keys().any(|id| !found.contains_key(id));
            world.report_violation(
                if is_lost { Violation::Lost } else { Violation::Unexpected },
                format!("the orders have the versions {found:?}, and should have {expected:?}"),
            );
        }
        Err(why) => world.report_violation(Violation::WrongFiles, format!("{ORDER} cannot be read: {why}")),
    }
}

/// The version of each order in the table.
async fn read_orders(world: &World) -> Result<BTreeMap<u64, u64>, String> {
    let store: Arc<dyn ObjectStore> = Arc::new(world.memory.fork());
    let catalog = contracts::catalog(CatalogVersion::Latest);
    let contract = catalog.contract(ORDER).ok_or("there is no contract")?;
    let lake = Lake::new(store.clone(), world.env());
    let pinned = lake.table(contract).pin().await.map_err(|error| error.to_string())?;
    let mut found = BTreeMap::new();
    for file in pinned.files {
        let version = file.partition.get("version").cloned().flatten();
        let version =
            version.and_then(|version| version.parse::<u64>().ok()).ok_or("a file has no version")?;
        let got = store.get(&file.path).await.map_err(|error| error.to_string())?;
        let bytes = got.bytes().await.map_err(|error| error.to_string())?;
        for batch in invariants::read_rows(bytes)? {
            let ids = batch.column_by_name("id").and_then(|ids| ids.as_primitive_opt::<Int64Type>());
            for id in ids.ok_or("there are no ids")?.values() {
                if found.insert(id.cast_unsigned(), version).is_some() {
                    return Err(format!("order {id} has two rows"));
                }
            }
        }
    }
    Ok(found)
}
