//! Merging small data files.
//!
//! Every insert adds a file, and every file costs each reader a request and each insert a key file to look into. So
//! when enough small ones have come together they are written as one, with the same rows and no change of data for
//! whoever follows the table. The old files stay until vacuum removes them: readers of older versions need them.

use super::{CONTENTION, Known, Table};
use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::keys;
use crate::log::Change;

/// A file below this many bytes is small.
const SMALL_BYTES: u64 = 16 << 20;
/// Small files are merged when there are this many.
const ENOUGH_FILES: usize = 32;
/// Bytes of all files that one merge takes: in memory they are several times as many.
const MOST_BYTES: u64 = 64 << 20;

impl Table {
    /// Writes small data files as one, if there are enough of them. Answers how many were merged.
    ///
    /// # Errors
    /// See [`LakeError`]; doing it again is safe.
    pub async fn merge_small_files(&self) -> Result<usize, LakeError> {
        let mut known = self.known.lock().await;
        let mut delays = CONTENTION.delays(&self.effects.chance);
        loop {
            known.log.refresh(&*self.store).await?;
            let small = small(known.log.files());
            if small.len() < ENOUGH_FILES {
                return Ok(0);
            }
            self.check_rules(&known.log)?;
            let (mut rows, mut all_keys) = (Vec::new(), Vec::new());
            for file in &small {
                rows.extend(self.batches_of(file).await?);
                let own =
                    keys::of_file(&self.store, &self.root, &self.contract, file, &mut known.keys).await?;
                all_keys.extend_from_slice(&own);
            }
            all_keys.sort_unstable();
            let Known { log, keys } = &mut *known;
            let ready = self.write_file(log, &rows, all_keys).await?;
            let paths: Vec<&str> = small.iter().map(|file| file.path.as_str()).collect();
            if self.commit(log, keys, &ready, Change::Merge(&paths), &self.note()).await?.is_some() {
                return Ok(small.len());
            }
            self.wait_after_loss(&mut delays).await?;
        }
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
