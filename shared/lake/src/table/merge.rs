//! Merging small data files.
//!
//! Every insert adds a file, and every file costs each reader a request and each insert a key file to look into. So
//! when enough small ones have come together they are written as one, with the same rows and no change of data for
//! whoever follows the table. The old files stay until vacuum removes them: readers of older versions need them.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};

use super::{CONTENTION, Known, Table, Written};
use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::keys::SortedKeys;
use crate::log::Change;

/// A file below this many bytes is small.
const SMALL_BYTES: u64 = 16 << 20;
/// Bytes of all files that one merge takes.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes in memory of their rows, but for the file that goes beyond it: texts that repeat take next to nothing in a file.
const MOST_ROW_BYTES: usize = 512 << 20;
/// Files that are read at once.
const CONCURRENCY: usize = 16;

impl Table {
    /// Writes small data files as one, if there are `enough` of them. Answers how many were merged.
    ///
    /// # Errors
    /// See [`LakeError`]; doing it again is safe.
    pub async fn merge_small_files(&self, enough: usize) -> Result<usize, LakeError> {
        let mut known = self.known.lock().await;
        let mut merge: Option<Merge> = None;
        let mut delays = CONTENTION.delays(&self.effects.rng);
        loop {
            known.log.refresh(&*self.store).await?;
            if known.log.files().len() < enough {
                return Ok(0);
            }
            self.check_rules(&known.log)?;
            // What was written for a version that was lost serves again while nobody has replaced the same files: a
            // merge takes longer than the inserts beside it, and would lose to them each time.
            let ready = match merge.take().filter(|merge| merge.is_of(known.log.files())) {
                Some(ready) => ready,
                None => match self.write_merge(&mut known, enough).await? {
                    Some(ready) => ready,
                    None => return Ok(0),
                },
            };
            let Known { log, keys } = &mut *known;
            let paths: Vec<&str> = ready.small.iter().map(|file| file.path.as_str()).collect();
            if self.commit(log, keys, &ready.written, Change::Merge(&paths), &self.note()).await?.is_some() {
                return Ok(paths.len());
            }
            merge = Some(ready);
            self.wait_after_loss(&mut delays).await?;
        }
    }

    /// Writes the small files as one, if there are `enough` of them.
    async fn write_merge(&self, known: &mut Known, enough: usize) -> Result<Option<Merge>, LakeError> {
        let mut small = small(known.log.files());
        if self.contract.former_identity_hash().is_some() {
            small = self.of_present_epoch(known, small).await?;
        }
        if small.len() < enough {
            return Ok(None);
        }
        let gets = small.clone().into_iter().map(|file| async move { self.get(&file).await });
        let mut gets = futures::stream::iter(gets).buffered(CONCURRENCY);
        let (mut rows, mut bytes, mut count) = (Vec::new(), 0, 0);
        // One after the other: how large the rows are is known when they are there.
        while bytes < MOST_ROW_BYTES
            && let Some((path, got)) = gets.try_next().await?
        {
            for batch in self.decode(&path, got)? {
                bytes += batch.get_array_memory_size();
                rows.push(batch.into());
            }
            count += 1;
        }
        if count < 2 {
            return Ok(None);
        }
        small.truncate(count);
        let mut all_keys = Vec::new();
        let reader = self.key_reader(&known.log)?;
        for file in &small {
            let own = reader.of_file(file, &mut known.keys).await?;
            all_keys.extend_from_slice(&own.keys);
        }
        all_keys.sort_unstable();
        let keys = SortedKeys { epoch: self.epoch()?, keys: all_keys.into() };
        let written = self.write_file(&known.log, &rows, keys).await?;
        Ok(Some(Merge { small, written }))
    }

    /// Those of some files whose keys are of the contract's present epoch: keys of two epochs do not go into one file.
    async fn of_present_epoch(
        &self,
        known: &mut Known,
        files: Vec<DataFile>,
    ) -> Result<Vec<DataFile>, LakeError> {
        let present = self.epoch()?;
        let reader = self.key_reader(&known.log)?;
        let mut found = Vec::with_capacity(files.len());
        for file in files {
            let keys = reader.of_file(&file, &mut known.keys).await?;
            found.extend((keys.epoch == present).then_some(file));
        }
        Ok(found)
    }
}

/// Small files and the one that has their rows, not yet named by the log.
struct Merge {
    small: Vec<DataFile>,
    written: Written,
}

impl Merge {
    /// Whether all that it takes the place of are still files of the table.
    fn is_of(&self, files: &[DataFile]) -> bool {
        let there: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        self.small.iter().all(|file| there.contains(file.path.as_str()))
    }
}

/// The smallest files, as many as one merge takes.
fn small(files: &[DataFile]) -> Vec<DataFile> {
    let mut small: Vec<DataFile> = files.iter().filter(|file| file.size < SMALL_BYTES).cloned().collect();
    small.sort_by(|a, b| a.size.cmp(&b.size).then_with(|| a.path.cmp(&b.path)));
    let mut bytes = 0;
    let within = small.iter().take_while(|file| {
        bytes += file.size;
        bytes <= MOST_BYTES
    });
    let count = within.count();
    small.truncate(count);
    small
}
