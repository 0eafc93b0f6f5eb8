use std::sync::Arc;
use std::sync::atomic::Ordering;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::Contract;

use super::file_keys::KeySet;
use super::format::{
    FORMER_MAGIC, FORMER_MAGIC_WITH_INDEX, HEADER_BYTES, MAGIC, MAGIC_WITH_INDEX, MAX_KEYS_WITHOUT_INDEX,
    decode,
};
use super::index::{KeyIndex, STORED_BITS, WantedKeys, bucket_bits, encode_index, index_bytes};
use super::key::{KEY_BYTES, intersect};
use super::reader::{CONCURRENCY, MAX_SINGLE_READS};
use super::*;
use crate::data_file::DataFile;
use crate::partition_values::PartitionValues;

fn key(n: u128) -> Key {
    n.to_be_bytes()
}

/// The part of a key file that is cached.
fn cached(keys: &SortedKeys) -> FileKeys {
    encode(keys).1
}

fn sorted(keys: impl Into<Arc<[Key]>>) -> SortedKeys {
    let epoch = KeyEpoch::parse(catalog().contract("visit").unwrap().identity_hash()).unwrap();
    SortedKeys { epoch, keys: keys.into() }
}

async fn present(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    files: &[DataFile],
    wanted: &[Key],
    cache: &mut KeyCache,
) -> Vec<bool> {
    let table_epoch = KeyEpoch::parse(contract.identity_hash()).unwrap();
    let reader = KeyReader {
        store,
        table,
        contract,
        table_epoch,
        epochs: KnownEpochs::own(contract, table_epoch),
        skips_other_epochs: false,
        declares_keys: false,
    };
    let wanted = EpochKeys::for_batch(contract, wanted, None);
    reader.find_present(files.iter().map(KeySource::from), &wanted, cache).await.unwrap().present
}

#[test]
fn intersects_sorted_keys() {
    let have: Vec<Key> = (0..1000).map(|n| key(n * 3)).collect();
    let wanted: Vec<Key> = [0, 1, 2, 3, 299, 300, 2997, 2998, 5000].map(key).to_vec();
    assert_eq!(intersect(&have, &wanted), [(0, 0), (3, 1), (5, 100), (6, 999)]);
    assert_eq!(intersect(&[], &wanted), []);
    assert_eq!(intersect(&[key(1)], &wanted), [(1, 0)]);
}

#[test]
fn decodes_key_files_and_rejects_truncated_ones() {
    let keys = sorted((0..5).map(key).collect::<Vec<_>>());
    let bytes = encode(&keys).0;
    assert_eq!(decode(&bytes).unwrap(), (Some(keys.epoch), keys.keys.clone()));
    // The former format, without an epoch.
    let former = [&FORMER_MAGIC[..], &bytes[8..16], &bytes[32..]].concat();
    assert_eq!(decode(&former).unwrap(), (None, keys.keys.clone()));
    let unordered = [&bytes[..32], &bytes[48..64], &bytes[32..48], &bytes[64..]].concat();
    assert!(decode(&unordered).is_err());
    for cut in [0, 7, 15, 20, bytes.len() - 16] {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for magic in [MAGIC, MAGIC_WITH_INDEX, FORMER_MAGIC, FORMER_MAGIC_WITH_INDEX] {
        assert!(decode(&[&magic[..], &u64::MAX.to_le_bytes(), &[0; 64]].concat()).is_err());
    }
    let keys = sorted(hashed_keys(MAX_KEYS_WITHOUT_INDEX as u64 + 1, 1));
    let bytes = encode(&keys).0;
    assert_eq!(decode(&bytes).unwrap(), (Some(keys.epoch), keys.keys.clone()));
    assert!(decode(&bytes[..bytes.len() - 16]).is_err());
}

/// Uniformly distributed keys, ascending.
fn hashed_keys(count: u64, seed: u64) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count)
        .map(|n| {
            // Odd factors mix; the last one spreads (Knuth's multiplicative hashing).
            let mixed = (u128::from(n) << 64 | u128::from(seed))
                .wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15);
            (mixed ^ mixed >> 67).wrapping_mul(0xda94_2042_e4dd_58b5_1405_7b7e_f767_814f).to_be_bytes()
        })
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn an_index_rules_out_absent_keys_and_no_present_key() {
    for count in [1, 15, 16, 17, 1000, MAX_KEYS_WITHOUT_INDEX as u64 + 1] {
        let keys: Arc<[Key]> = hashed_keys(count, 1).into();
        let mut bytes = Vec::new();
        encode_index(&keys, &mut bytes);
        assert_eq!(bytes.len(), index_bytes(keys.len()));
        let index = KeyIndex { count: keys.len(), first_key: 0, bytes: bytes.into(), keys: None };
        let bits = bucket_bits(keys.len());
        for every in [1, 3, 100] {
            let own: Vec<Key> = keys.iter().step_by(every).copied().collect();
            let mut others = hashed_keys(10_000 / every as u64, 2);
            others.extend(&own);
            others.sort_unstable();
            let wanted = WantedKeys::new(&others);
            let mut scanned = index.scan(&wanted, bits, bits + STORED_BITS);
            scanned.sort_unstable();
            assert_eq!(scanned, index.look_up(&others, bits), "one in {every} of {count}");
            for (at, key) in others.iter().enumerate() {
                if let Ok(place) = keys.binary_search(key) {
                    assert!(scanned.binary_search(&(at, place)).is_ok(), "key {at} of {count}");
                }
            }
            assert!(scanned.len() <= own.len() + 4, "{} for {} of {count}", scanned.len(), own.len());
        }
    }
}

fn catalog() -> pinlake_schema::Catalog {
    let contract = "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n[route]\n\
         shape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\n";
    pinlake_schema::Catalog::from_files([("visit.toml".to_owned(), contract.to_owned())]).unwrap()
}

#[tokio::test]
async fn finds_keys_across_files() {
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let (catalog, table) = (catalog(), Path::from("tables/visit"));
    let contract = catalog.contract("visit").unwrap();
    let large = hashed_keys(MAX_KEYS_WITHOUT_INDEX as u64 * 2, 1);
    let mut files = Vec::new();
    // More files than are read at the same time, most of them without a wanted key.
    for number in 0..=2 * CONCURRENCY as u128 {
        let keys = match number {
            0 => vec![key(1)],
            9 => large.clone(),
            16 => vec![key(2), key(3)],
            other => vec![key(1000 + other)],
        };
        let path = format!("part-{number}.parquet");
        files.push(DataFile {
            path,
            size: 1,
            rows: Some(keys.len() as u64),
            partition: PartitionValues::new(),
        });
        let path = key_path(&table, &files[files.len() - 1].path);
        store.put(&path, encode(&sorted(keys)).0.into()).await.unwrap();
    }
    let mut wanted = vec![key(1), key(3), key(4), large[5]];
    wanted.sort_unstable();
    let mut cache = KeyCache::new(KeyMemoryBudget::new(1 << 30));
    for round in ["cold", "warm"] {
        let found = present(&store, &table, contract, &files, &wanted, &mut cache).await;
        let absent = wanted.iter().zip(found).filter(|(_, found)| !found).map(|(key, _)| *key);
        assert_eq!(absent.collect::<Vec<_>>(), [key(4)], "{round}");
    }
}

#[tokio::test]
async fn the_keys_decide_about_candidates_of_an_index() {
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let catalog = catalog();
    let contract = catalog.contract("visit").unwrap();
    let keys: Arc<[Key]> = hashed_keys(MAX_KEYS_WITHOUT_INDEX as u64 * 2, 1).into();
    let file = DataFile {
        path: "part-1.parquet".to_owned(),
        size: 1,
        rows: Some(keys.len() as u64),
        partition: PartitionValues::new(),
    };
    let table = Path::from("tables/visit");
    let path = key_path(&table, &file.path);
    let (bytes, known) = encode(&sorted(keys.clone()));
    store.put(&path, bytes.into()).await.unwrap();

    // The index cannot distinguish this key from `keys[77]`.
    let mut twin = keys[77];
    twin[KEY_BYTES - 1] ^= 1;
    for (present_keys, single) in [(1, true), (MAX_SINGLE_READS + 1, false)] {
        let mut wanted: Vec<Key> = hashed_keys(1000, 3);
        wanted.extend(&keys[1000..1000 + present_keys]);
        wanted.push(twin);
        wanted.sort_unstable();
        for (rows, written_here) in [(file.rows, false), (None, false), (file.rows, true)] {
            let mut cache = KeyCache::new(KeyMemoryBudget::new(1 << 30));
            let file = DataFile { rows, ..file.clone() };
            if written_here {
                cache.insert(&file.path, known.clone());
            }
            for round in ["cold", "warm"] {
                let files = std::slice::from_ref(&file);
                let found = present(&store, &table, contract, files, &wanted, &mut cache).await;
                for (key, found) in wanted.iter().zip(found) {
                    assert_eq!(found, keys.binary_search(key).is_ok(), "{round}, single keys: {single}");
                }
                assert!(matches!(cache.files[&file.path].keys, KeySet::Index(_)));
            }
        }
    }
}

#[tokio::test]
async fn an_index_of_another_format_than_its_key_file_is_ignored() {
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let (catalog, table) = (catalog(), Path::from("tables/visit"));
    let contract = catalog.contract("visit").unwrap();
    let keys = sorted(hashed_keys(MAX_KEYS_WITHOUT_INDEX as u64 * 2, 1));
    let (bytes, known) = encode(&keys);
    let file = DataFile {
        path: "part-1.parquet".to_owned(),
        size: 1,
        rows: Some(keys.keys.len() as u64),
        partition: PartitionValues::new(),
    };
    // The index of the current format is cached, and the store has the former format, whose keys begin at another
    // offset.
    let former = [&FORMER_MAGIC_WITH_INDEX[..], &bytes[8..16], &bytes[HEADER_BYTES..]].concat();
    store.put(&key_path(&table, &file.path), former.into()).await.unwrap();
    for count in [3, MAX_SINGLE_READS + 3] {
        for kept in [Some(known.without_keys().unwrap()), None] {
            let mut cache = KeyCache::new(KeyMemoryBudget::new(1 << 30));
            if let Some(kept) = kept {
                cache.insert(&file.path, kept);
            }
            let wanted = &keys.keys[100..100 + count];
            let files = std::slice::from_ref(&file);
            let found = present(&store, &table, contract, files, wanted, &mut cache).await;
            assert!(found.into_iter().all(|found| found), "{count} keys");
        }
    }
}

#[test]
fn keys_are_dropped_in_favour_of_indexes() {
    let keys: Arc<[Key]> = hashed_keys(MAX_KEYS_WITHOUT_INDEX as u64 * 2, 1).into();
    let (_, known) = encode(&sorted(keys.clone()));
    let index = known.without_keys().unwrap();
    assert_eq!(known.memory_bytes(), index.memory_bytes() + keys.len() * KEY_BYTES);
    assert!(index.without_keys().is_none());
    let has_keys = |cache: &KeyCache, file: &str| cache.files.get(file).map(FileKeys::is_index_with_keys);
    let (beside, alone) = (Some(true), Some(false));
    for (budget, kept) in [
        (3 * index.memory_bytes(), [alone, alone, alone, None]),
        (2 * known.memory_bytes(), [alone, alone, alone, beside]),
        (4 * known.memory_bytes(), [beside; 4]),
    ] {
        let mut cache = KeyCache::new(KeyMemoryBudget::new(budget));
        let files = ["a", "b", "c", "d"];
        files.iter().for_each(|file| cache.insert(file, known.clone()));
        assert_eq!(files.map(|file| has_keys(&cache, file)), kept, "{budget}");
        let in_use: usize = cache.files.values().map(FileKeys::memory_bytes).sum();
        assert_eq!(cache.budget.0.load(Ordering::Relaxed), budget - in_use);
    }
}

#[test]
fn caches_share_one_budget() {
    let budget = KeyMemoryBudget::new(3 * KEY_BYTES);
    let mut cache = KeyCache::new(budget.clone());
    cache.insert("a", cached(&sorted([key(1), key(2)])));
    cache.insert("b", cached(&sorted([key(3), key(4)])));
    assert!(cache.files.contains_key("a") && !cache.files.contains_key("b"));
    cache.retain(["c"].into_iter());
    cache.insert("b", cached(&sorted([key(3), key(4)])));
    assert!(cache.files.contains_key("b"));
    let mut other = KeyCache::new(budget);
    other.insert("c", cached(&sorted([key(5), key(6)])));
    assert!(!other.files.contains_key("c"), "full");
    drop(cache);
    other.insert("c", cached(&sorted([key(5), key(6)])));
    assert!(other.files.contains_key("c"), "empty again");
}
