//! When tables are maintained.

/// When a table is maintained. Maintenance makes reads faster; a table is correct without it.
#[derive(Debug, Clone, Copy)]
pub struct MaintenancePolicy {
    /// A checkpoint is written every this many versions.
    pub checkpoint_every: u64,
    /// A table with at least this many small data files has them merged. A compaction adds a random number, up to half
    /// of it.
    pub min_files_to_merge: usize,
}

impl Default for MaintenancePolicy {
    fn default() -> Self {
        Self { checkpoint_every: 50, min_files_to_merge: 32 }
    }
}
