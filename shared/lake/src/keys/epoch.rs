//! Key epochs: which rules produced a key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use pinlake_schema::Contract;

use super::key::Key;

/// Bytes of an epoch.
pub(super) const EPOCH_BYTES: usize = 16;

/// The rules that produced keys: a contract's identity hash, 16 hex digits. Keys of different epochs are not
/// comparable.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyEpoch(pub(super) [u8; EPOCH_BYTES]);

impl KeyEpoch {
    /// The epoch named by an identity hash; `None` if the hash is not 16 bytes long.
    pub(crate) fn parse(identity_hash: &str) -> Option<Self> {
        identity_hash.as_bytes().try_into().ok().map(Self)
    }

    /// The epochs under which `contract` computes keys: the current one, then the former one if the contract has it.
    pub(crate) fn list_for_contract(contract: &Contract) -> Vec<KeyEpoch> {
        let hashes = [Some(contract.identity_hash()), contract.former_identity_hash()];
        hashes.into_iter().flatten().filter_map(Self::parse).collect()
    }
}

impl fmt::Display for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyEpoch({self})")
    }
}

/// All keys of a data file, ascending, with their epoch.
#[derive(Debug, Clone)]
pub(crate) struct SortedKeys {
    pub epoch: KeyEpoch,
    pub keys: Arc<[Key]>,
}

/// The keys of a batch under one epoch, to look up in the data files of that epoch.
#[derive(Debug)]
pub(crate) struct EpochKeys<'a> {
    pub epoch: KeyEpoch,
    /// Ascending.
    pub keys: Cow<'a, [Key]>,
    /// The row of each key; `None` if the keys are in row order.
    rows: Option<Vec<usize>>,
}

impl<'a> EpochKeys<'a> {
    /// The keys of a batch under each epoch of `contract`. `keys` are those of the current epoch, ascending; `former`
    /// are those of the former epoch, in the same row order.
    pub(crate) fn for_batch(
        contract: &Contract,
        keys: &'a [Key],
        former: Option<&[Key]>,
    ) -> Vec<EpochKeys<'a>> {
        let mut epochs = KeyEpoch::list_for_contract(contract).into_iter();
        let current = epochs.next().map(|epoch| EpochKeys { epoch, keys: Cow::Borrowed(keys), rows: None });
        let former = epochs.next().zip(former).map(|(epoch, former)| {
            let mut sorted: Vec<(Key, usize)> = former.iter().copied().zip(0..).collect();
            sorted.sort_unstable();
            let (keys, rows): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
            EpochKeys { epoch, keys: Cow::Owned(keys), rows: Some(rows) }
        });
        current.into_iter().chain(former).collect()
    }

    /// The row of the key at position `at`.
    pub(super) fn row(&self, at: usize) -> usize {
        self.rows.as_ref().map_or(at, |rows| rows[at])
    }
}
