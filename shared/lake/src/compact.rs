//! Taking what lies in the landing area into a table.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use pinlake_landing::LandingError;
use pinlake_landing::object::{self, LandingObject};
use pinlake_schema::Contract;
use tokio::time::Instant;

use crate::Lake;
use crate::error::LakeError;
use crate::table::Inserted;

/// Landing objects that are read at once.
const CONCURRENCY: usize = 16;

/// How much one call may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Objects a commit.
    pub objects: usize,
    /// Stored bytes a commit (in memory they are several times as many).
    pub bytes: u64,
    /// No further commit is begun after this long.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            objects: 1000,
            bytes: 64 << 20,
            time: Duration::from_secs(30),
        }
    }
}

/// What one [`Lake::compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Rows, over all commits.
    pub rows: Inserted,
    /// Landing objects that were taken and removed.
    pub objects: u64,
    /// Landing objects that could not be read and were moved to `failed/`.
    pub failed: u64,
    /// Whether something is left in landing that the budget did not cover.
    pub more: bool,
}

impl Lake {
    /// Takes landing objects of `contract`'s dataset into its table, oldest first, and removes them.
    ///
    /// # Errors
    /// See [`LakeError`]. Nothing is lost: what was not removed is taken again, and holds no new key.
    pub async fn compact(&self, contract: &Arc<Contract>, budget: Budget) -> Result<Compacted, LakeError> {
        let begun = Instant::now();
        let table = self.table(contract);
        let mut done = Compacted::default();
        loop {
            let listed = object::list(&**self.store(), Some(&contract.name), budget.objects + 1).await?;
            let (take, rest) = within(&listed, &budget);
            done.more = !rest.is_empty();
            if take.is_empty() {
                return Ok(done);
            }
            let (batches, failed) = self.read(take).await?;
            for (object, error) in &failed {
                let aside = object::set_aside(&**self.store(), &object.path).await?;
                tracing::error!(%error, %aside, "landing object cannot be read, set aside");
            }
            let rows = table.insert(&batches).await?;
            let taken: Vec<_> = take
                .iter()
                .filter(|object| failed.iter().all(|(bad, _)| bad != *object))
                .collect();
            object::remove(
                self.store(),
                taken.iter().map(|object| object.path.clone()).collect(),
            )
            .await?;
            done.rows.read += rows.read;
            done.rows.inserted += rows.inserted;
            done.rows.duplicates += rows.duplicates;
            done.rows.version = rows.version.or(done.rows.version);
            done.objects += taken.len() as u64;
            done.failed += failed.len() as u64;
            if !done.more || begun.elapsed() >= budget.time {
                return Ok(done);
            }
        }
    }

    /// Reads landing objects; those that are gone hold rows that another compactor has taken.
    async fn read(
        &self,
        objects: &[LandingObject],
    ) -> Result<(Vec<arrow::array::RecordBatch>, Vec<(LandingObject, LandingError)>), LakeError> {
        let reads = objects
            .to_vec()
            .into_iter()
            .map(|object: LandingObject| async move {
                match object::read(&**self.store(), &object).await {
                    Ok(landed) => Ok(Ok(landed)),
                    Err(error) if error.is_permanent() => Ok(Err((object, error))),
                    Err(error) => Err(error),
                }
            });
        let read: Vec<_> = futures::stream::iter(reads)
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let (mut batches, mut failed) = (Vec::new(), Vec::new());
        for landed in read {
            match landed {
                Ok(landed) => batches.extend(landed.into_iter().flat_map(|landed| landed.batches)),
                Err(bad) => failed.push(bad),
            }
        }
        Ok((batches, failed))
    }
}

/// Splits a listing into what one commit takes, and the rest. The first object is taken whatever its size.
fn within<'a>(listed: &'a [LandingObject], budget: &Budget) -> (&'a [LandingObject], &'a [LandingObject]) {
    let mut bytes = 0;
    let mut count = 0;
    for object in listed.iter().take(budget.objects) {
        bytes += object.size;
        if count > 0 && bytes > budget.bytes {
            break;
        }
        count += 1;
    }
    listed.split_at(count)
}
