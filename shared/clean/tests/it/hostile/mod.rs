//! Hostile input: invariants that hold for any input, the table of `docs/hostile-input.md`, and limits of memory.

mod bounds;
#[path = "../../../../schema/tests/it/cases.rs"]
mod cases;
mod inputs;
mod invariants;
mod parquet_bombs;
mod properties;
mod table;

use pinlake_clean::record_reader::ReadLimits;

/// The default limits, but with less output of a decompression bomb: it costs time, not memory, and gzip is slow in this profile.
fn limits() -> ReadLimits {
    ReadLimits { free_unpacked_bytes: 32 << 20, ..ReadLimits::default() }
}
