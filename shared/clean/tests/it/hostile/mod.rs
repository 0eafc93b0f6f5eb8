//! Input that is wrong on purpose: laws that hold for any, the table of `docs/hostile-input.md`, and what it may cost.

mod bounds;
#[path = "../../../../schema/tests/it/cases.rs"]
mod cases;
mod inputs;
mod invariants;
mod parquet_bombs;
mod properties;
mod table;

use pinlake_clean::record_reader::Limits;

/// The limits of the program, but for what a bomb may unpack to before it is one: that is time, not memory, and this
/// profile does not unpack gzip fast.
fn limits() -> Limits {
    Limits { free_unpacked_bytes: 32 << 20, ..Limits::default() }
}
