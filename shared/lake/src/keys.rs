//! Which keys a table contains: one sorted key file beside each data file.
//!
//! `_pinlake_keys/<data file's name>.keys` is a cache. It is written before the commit that adds the data file, and
//! rebuilt from the data file if it is missing, damaged or of an epoch that the table does not have. (Delta's VACUUM
//! skips folders whose names begin with an underscore.) All numbers are little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `PLKEYS03`; `PLKEYS04` with an index, in files of more than 16,384 keys |
//! | 8 | the number of keys n |
//! | 16 | the key epoch: the identity hash of the contract that produced the keys |
//! | 4 (2^b + 1) | index: for each value of a key's first b bits, the position of its first key, then n; 2^b is n / 16, rounded down to a power of two |
//! | 3 n | index: the next 24 bits of each key |
//! | 16 n | the keys of the data file's rows, ascending |
//!
//! `PLKEYS01` and `PLKEYS02` are the same without the epoch; the epoch in the table's properties holds for them.
//!
//! A check of a large file reads the header and the index, a fifth of the file, and then only the keys that the index
//! does not rule out, which are nearly always present. So its cost grows slowly with the table, and a warm process can
//! cache many million rows, at 3.25 bytes each.
//!
//! Keys of different epochs are not comparable. A batch brings its keys under every epoch that its contract has
//! ([`EpochKeys`]), and under those of other contracts of the dataset ([`KnownEpochs`]). Each file is searched for the keys of its own epoch. A
//! file of any other epoch is an error.

mod cache;
pub(crate) mod epoch;
mod file_keys;
mod format;
mod index;
mod key;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use cache::{KeyCache, KeyMemoryBudget};
pub(crate) use epoch::{EpochKeys, KeyEpoch, KnownEpochs, OtherEpoch, OtherKeys, SortedKeys};
pub(crate) use file_keys::FileKeys;
pub(crate) use format::{encode, evaluation_path, key_path};
pub use key::Key;
pub(crate) use key::{KEY_BYTES, key_at, keys_in_column};
pub(crate) use reader::{EarlierRow, KeyReader, KeySource, Presence};
