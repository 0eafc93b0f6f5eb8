//! Key epochs: which rules produced a key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use pinlake_schema::{Catalog, Contract, columns_added_to_keys, select_contracts_with_own_keys};

use super::key::Key;

/// Bytes of an epoch.
pub(super) const EPOCH_BYTES: usize = 16;

/// The rules that produced keys: a contract's identity hash, 16 hex digits. Keys of different epochs are not
/// comparable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyEpoch(pub(super) [u8; EPOCH_BYTES]);

impl KeyEpoch {
    /// The epoch named by an identity hash; `None` if the hash is not 16 bytes long.
    pub(crate) fn parse(identity_hash: &str) -> Option<Self> {
        identity_hash.as_bytes().try_into().ok().map(Self)
    }

    /// The epochs whose keys a cleaned row of `contract` carries: the current one, then the former one if the contract has it.
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

/// The epoch of another contract of the dataset, an earlier one unless the present one was rolled back.
#[derive(Debug, Clone)]
pub(crate) struct OtherEpoch {
    pub epoch: KeyEpoch,
    pub keys: OtherKeys,
}

/// Where the keys of another epoch come from.
#[derive(Debug, Clone)]
pub(crate) enum OtherKeys {
    /// They are computed from rows of the present contract, without these columns, which were added later.
    WithoutColumns(Vec<String>),
    /// Landing batches bring them, because they depend on the records: see [`select_contracts_with_own_keys`].
    OfRecords(Arc<Contract>),
}

/// The epochs under which a contract finds rows of its table.
#[derive(Debug, Clone)]
pub(crate) struct KnownEpochs {
    current: KeyEpoch,
    own: Vec<KeyEpoch>,
    pub others: Vec<OtherEpoch>,
}

impl KnownEpochs {
    /// The epochs of `contract` alone, whose current epoch is `current`.
    pub(crate) fn own(contract: &Contract, current: KeyEpoch) -> Self {
        Self { current, own: KeyEpoch::list_for_contract(contract), others: Vec::new() }
    }

    /// The epoch of the keys that the contract computes.
    pub(crate) fn current(&self) -> KeyEpoch {
        self.current
    }

    /// The epochs of `contract`, and those of the other contracts of its dataset whose rows it can recognise. `catalogs` are in the order of
    /// their use.
    pub(crate) fn with_others(contract: &Contract, current: KeyEpoch, catalogs: &[Arc<Catalog>]) -> Self {
        let mut known = Self::own(contract, current);
        let contracts = catalogs.iter().filter_map(|catalog| catalog.contract(&contract.name));
        for other in contracts.filter(|other| other.broken().is_none()) {
            let added = columns_added_to_keys(other, contract);
            known.add(other, added.map(OtherKeys::WithoutColumns));
        }
        for (_, other) in select_contracts_with_own_keys(contract, catalogs) {
            known.add(other, Some(OtherKeys::OfRecords(other.clone())));
        }
        known
    }

    fn add(&mut self, other: &Contract, keys: Option<OtherKeys>) {
        let epoch = KeyEpoch::parse(other.identity_hash()).filter(|epoch| !self.contains(*epoch));
        self.others.extend(epoch.zip(keys).map(|(epoch, keys)| OtherEpoch { epoch, keys }));
    }

    pub(crate) fn contains(&self, epoch: KeyEpoch) -> bool {
        self.own.contains(&epoch) || self.others.iter().any(|other| other.epoch == epoch)
    }

    /// The contract under which the keys of an epoch are computed from the rows of its files: `present`, or another one with other columns.
    pub(crate) fn contract_of<'a>(&'a self, epoch: KeyEpoch, present: &'a Contract) -> &'a Contract {
        let other = self.others.iter().find(|other| other.epoch == epoch);
        match other.map(|other| &other.keys) {
            Some(OtherKeys::OfRecords(contract)) => contract,
            _ => present,
        }
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
    /// For each key whether its row takes the place of a row of the epoch that has the key; empty if none does.
    replaces: Vec<bool>,
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
        let current = epochs.next().map(|epoch| EpochKeys {
            epoch,
            keys: Cow::Borrowed(keys),
            rows: None,
            replaces: Vec::new(),
        });
        let former = epochs.next().zip(former);
        let former = former.map(|(epoch, former)| {
            Self::sort(epoch, former.iter().copied().zip(0..).map(|(key, row)| (key, row, false)))
        });
        current.into_iter().chain(former).collect()
    }

    /// The keys of a batch under another epoch, each with its row, and whether this row takes the place of a row of the epoch that has the key.
    pub(crate) fn sort(epoch: KeyEpoch, keys: impl Iterator<Item = (Key, usize, bool)>) -> EpochKeys<'a> {
        let mut sorted: Vec<(Key, usize, bool)> = keys.collect();
        sorted.sort_unstable();
        let keys = sorted.iter().map(|(key, ..)| *key).collect();
        let (rows, replaces) = sorted.into_iter().map(|(_, row, replaces)| (row, replaces)).unzip();
        EpochKeys { epoch, keys: Cow::Owned(keys), rows: Some(rows), replaces }
    }

    /// The row of the key at position `at`.
    pub(super) fn row(&self, at: usize) -> usize {
        self.rows.as_ref().map_or(at, |rows| rows[at])
    }

    /// Whether the row of the key at position `at` takes the place of a row with that key.
    pub(super) fn replaces(&self, at: usize) -> bool {
        self.replaces.get(at).copied().unwrap_or_default()
    }
}
