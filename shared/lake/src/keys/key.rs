//! A key, keys in Arrow columns, and search in sorted keys.

use arrow::array::cast::AsArray;
use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 16;

/// The key of a row: a hash of its identity, big-endian, so that keys sort as the numbers do.
pub type Key = [u8; KEY_BYTES];

/// The keys in the column `column` of a batch, in row order.
///
/// # Errors
/// If the batch has no such column, or the column is nullable or not 16 bytes wide.
pub(crate) fn keys_in_column<'a>(
    batch: &'a RecordBatch,
    column: &str,
) -> Result<&'a FixedSizeBinaryArray, String> {
    let keys = batch.column_by_name(column).ok_or_else(|| format!("no column {column}"))?;
    let keys = keys.as_fixed_size_binary_opt().filter(|keys| keys.value_length() == KEY_BYTES as i32);
    keys.filter(|keys| keys.null_count() == 0)
        .ok_or_else(|| format!("column {column} does not have a key of 16 bytes in each row"))
}

/// The key in row `row` of a key column.
pub(crate) fn key_at(keys: &FixedSizeBinaryArray, row: usize) -> Key {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(keys.value(row));
    key
}

/// The first `bits` bits of a key, 1 to 63 of them, as a number.
pub(super) fn first_bits(key: &Key, bits: u32) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (64 - bits)
}

/// Intersects two ascending slices of keys: pairs of (position in `wanted`, position in `sorted`). Runs without a match
/// are skipped by galloping search, so a small batch against a large file costs little more than the batch.
pub(super) fn intersect(sorted: &[Key], wanted: &[Key]) -> Vec<(usize, usize)> {
    let (mut found, mut from) = (Vec::new(), 0);
    for (at, key) in wanted.iter().enumerate() {
        from += gallop(&sorted[from..], |present| present < key);
        match sorted.get(from) {
            None => break,
            Some(first) if first == key => found.push((at, from)),
            Some(_) => {}
        }
    }
    found
}

/// The first position in `sorted` for which `is_below` is false, found by doubling steps and a binary search.
pub(super) fn gallop(sorted: &[Key], is_below: impl Fn(&Key) -> bool) -> usize {
    let mut step = 1;
    while step < sorted.len() && is_below(&sorted[step - 1]) {
        step *= 2;
    }
    let from = step / 2;
    let to = step.min(sorted.len());
    from + sorted[from..to].partition_point(is_below)
}
