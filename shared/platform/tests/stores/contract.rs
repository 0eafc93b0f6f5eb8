//! Guarantees of an object store, each as a function that tests one store.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutResult, Result, UpdateVersion,
};

type Store = Arc<dyn ObjectStore>;

/// Concurrent writers in [`race`].
const WRITERS: usize = 40;
/// Concurrent requests of tests that are not about concurrency.
const CONCURRENCY: usize = 32;

async fn put(store: &Store, path: &Path, text: impl Into<Bytes>, mode: PutMode) -> Result<PutResult> {
    store.put_opts(path, text.into().into(), PutOptions { mode, ..PutOptions::default() }).await
}

async fn get(store: &Store, path: &Path) -> String {
    let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn listed(store: &Store, prefix: Option<&Path>) -> Vec<String> {
    let mut listed: Vec<String> =
        store.list(prefix).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    // Stores do not guarantee an order.
    listed.sort();
    listed
}

fn update(e_tag: Option<String>) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag, version: None })
}

/// Runs concurrent writers. Returns the numbers of those that succeeded, and the errors of the others.
async fn race(store: &Store, path: &Path, mode: PutMode) -> (Vec<usize>, Vec<Error>) {
    let tasks: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (store, path, mode) = (store.clone(), path.clone(), mode.clone());
            tokio::spawn(async move { (number, put(&store, &path, format!("{number:02}"), mode).await) })
        })
        .collect();
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            (number, Ok(_)) => winners.push(number),
            (_, Err(error)) => losers.push(error),
        }
    }
    (winners, losers)
}

pub async fn one_of_many_concurrent_creations_succeeds(store: &Store) {
    for round in 0..5 {
        let path = Path::from(format!("log/{round:020}.json"));
        let (winners, losers) = race(store, &path, PutMode::Create).await;
        assert_eq!(winners.len(), 1, "{losers:?}");
        assert_eq!(get(store, &path).await, format!("{:02}", winners[0]));
        assert!(losers.iter().all(|error| matches!(error, Error::AlreadyExists { .. })), "{losers:?}");
    }
    assert_eq!(listed(store, None).await.len(), 5);
}

pub async fn an_update_must_name_the_current_version(store: &Store) {
    let path = Path::from("state/mark.json");
    let missing = put(store, &path, "0", update(Some("\"none\"".to_owned()))).await;
    assert!(matches!(missing, Err(Error::Precondition { .. })), "{missing:?}");
    assert!(listed(store, None).await.is_empty());

    let first = put(store, &path, "1", PutMode::Create).await.unwrap().e_tag;
    assert!(first.is_some());
    assert_eq!(store.head(&path).await.unwrap().e_tag, first);
    assert_eq!(store.get(&path).await.unwrap().meta.e_tag, first);
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(listed[0].e_tag, first);
    let second = put(store, &path, "2", update(first.clone())).await.unwrap().e_tag;
    assert_eq!(store.head(&path).await.unwrap().e_tag, second);
    assert_ne!(first, second);
    let stale = put(store, &path, "3", update(first.clone())).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    assert!(put(store, &path, "3", update(None)).await.is_err(), "it names no version to replace");
    assert_eq!(get(store, &path).await, "2");

    store.delete(&path).await.unwrap();
    let gone = put(store, &path, "3", update(second)).await;
    assert!(matches!(gone, Err(Error::Precondition { .. })), "{gone:?}");
    put(store, &path, "4", PutMode::Create).await.unwrap();
    assert!(put(store, &path, "5", update(first)).await.is_err(), "an older version of another object");
}

pub async fn one_of_many_concurrent_updates_succeeds(store: &Store) {
    let path = Path::from("state/mark.json");
    for _ in 0..5 {
        let version = put(store, &path, "--", PutMode::Overwrite).await.unwrap().e_tag;
        let (winners, losers) = race(store, &path, update(version)).await;
        assert_eq!(winners.len(), 1, "{losers:?}");
        assert_eq!(get(store, &path).await, format!("{:02}", winners[0]));
        assert!(losers.iter().all(|error| matches!(error, Error::Precondition { .. })), "{losers:?}");
    }
}

/// Increments the number in an object by compare-and-swap.
pub async fn increment(store: &Store, path: &Path) {
    loop {
        let (number, mode) = match store.get(path).await {
            Ok(got) => {
                let e_tag = got.meta.e_tag.clone();
                let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
                (text.parse::<u32>().unwrap(), update(e_tag))
            }
            Err(Error::NotFound { .. }) => (0, PutMode::Create),
            Err(error) => panic!("{error}"),
        };
        match put(store, path, format!("{:06}", number + 1), mode).await {
            Ok(_) => return,
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub async fn concurrent_increments_are_not_lost(store: &Store) {
    let path = Path::from("state/count");
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    increment(&store, &path).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(get(store, &path).await, "000060");
}

pub async fn versions_in_quick_succession_have_different_etags(store: &Store) {
    let path = Path::from("state/mark.json");
    let mut versions = BTreeSet::new();
    for number in 0..100 {
        let e_tag = put(store, &path, format!("{number:06}"), PutMode::Overwrite).await.unwrap().e_tag;
        assert!(versions.insert(e_tag), "version {number} has the ETag of an earlier one");
    }
}

pub async fn a_listing_of_several_pages_has_each_object_once(store: &Store) {
    // More objects than S3 lists in a page, under paths like those of landing objects, and others with a similar
    // prefix.
    let key =
        |number: usize| format!("landing/pin/{:02x}/events/shard-{}/{number:04}", number % 7, number % 3);
    let mut keys: Vec<String> = (0..1_050).map(key).collect();
    let other_keys = ["landing/pinboard/00/x", "landing.txt", "land/pin", "zz"];
    stream::iter(keys.iter().cloned().chain(other_keys.map(str::to_owned)))
        .for_each_concurrent(CONCURRENCY, |key| async move {
            put(store, &Path::from(key), "row", PutMode::Overwrite).await.unwrap();
        })
        .await;
    keys.sort();
    let prefix = Path::from("landing/pin");
    assert_eq!(listed(store, Some(&prefix)).await, keys);
    assert_eq!(listed(store, None).await.len(), keys.len() + other_keys.len());
    assert!(listed(store, Some(&Path::from("landing/pi"))).await.is_empty(), "a prefix is whole segments");
    let metas: Vec<_> = store.list(Some(&prefix)).try_collect().await.unwrap();
    assert!(metas.iter().all(|meta| meta.size == 3));

    for at in [0, 1, 500, keys.len() - 1] {
        let offset = Path::from(keys[at].as_str());
        let after = store.list_with_offset(Some(&prefix), &offset);
        let mut after: Vec<_> = after.map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
        after.sort();
        assert_eq!(after, keys[at + 1..]);
    }
    let level = store.list_with_delimiter(Some(&prefix)).await.unwrap();
    assert_eq!(level.common_prefixes.len(), 7);
    assert!(level.objects.is_empty());
    let level = store.list_with_delimiter(None).await.unwrap();
    let folders: BTreeSet<_> = level.common_prefixes.iter().map(Path::to_string).collect();
    assert_eq!(folders, ["land", "landing"].map(str::to_owned).into());
    let objects: BTreeSet<_> = level.objects.iter().map(|meta| meta.location.to_string()).collect();
    assert_eq!(objects, ["landing.txt", "zz"].map(str::to_owned).into());

    let all = stream::iter(keys.iter().map(|key| Ok(Path::from(key.as_str()))).collect::<Vec<_>>()).boxed();
    let deleted: Vec<_> = store.delete_stream(all).try_collect().await.unwrap();
    assert_eq!(deleted.len(), keys.len());
    assert!(listed(store, Some(&prefix)).await.is_empty());
    assert_eq!(listed(store, None).await.len(), other_keys.len());
}

pub async fn deleting_a_missing_object_is_no_error(store: &Store) {
    let (there, missing) = (Path::from("a/there"), Path::from("a/missing/x"));
    store.delete(&missing).await.unwrap();
    put(store, &there, "1", PutMode::Create).await.unwrap();
    let paths = vec![Ok(missing.clone()), Ok(there.clone()), Ok(there.clone()), Ok(missing)];
    let deleted: Vec<_> = store.delete_stream(stream::iter(paths).boxed()).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 4);
    assert!(listed(store, None).await.is_empty());
}

pub async fn a_deleted_object_is_missing_and_can_be_created_again(store: &Store) {
    let path = Path::from("landing/pin/x");
    for text in ["first", "second"] {
        put(store, &path, text, PutMode::Create).await.unwrap();
        assert_eq!(get(store, &path).await, text);
        store.delete(&path).await.unwrap();
        let got = store.get(&path).await.map(drop);
        assert!(matches!(got, Err(Error::NotFound { .. })), "{got:?}");
        let head = store.head(&path).await;
        assert!(matches!(head, Err(Error::NotFound { .. })), "{head:?}");
        let copied = store.copy(&path, &Path::from("failed/x")).await;
        assert!(matches!(copied, Err(Error::NotFound { .. })), "{copied:?}");
        assert!(listed(store, None).await.is_empty());
        assert!(store.list_with_delimiter(None).await.unwrap().common_prefixes.is_empty());
    }
}

pub async fn a_range_returns_its_bytes(store: &Store) {
    let path = Path::from("tables/pin/part-x.parquet");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    put(store, &path, bytes.clone(), PutMode::Create).await.unwrap();
    let size = bytes.len() as u64;
    let get = |range: GetRange| {
        let (store, path) = (store.clone(), path.clone());
        async move {
            let got =
                store.get_opts(&path, GetOptions { range: Some(range), ..GetOptions::default() }).await?;
            assert_eq!(got.meta.size, size);
            let range = got.range.clone();
            Ok::<_, Error>((range, got.bytes().await?))
        }
    };
    for (range, expected) in [
        (GetRange::Bounded(0..1), 0..1),
        (GetRange::Bounded(1_000..70_000), 1_000..70_000),
        (GetRange::Bounded(99_000..200_000), 99_000..size),
        (GetRange::Offset(99_999), 99_999..size),
        (GetRange::Suffix(8), size - 8..size),
        (GetRange::Suffix(200_000), 0..size),
    ] {
        let requested = format!("{range:?}");
        let (range, got) = get(range).await.unwrap();
        assert_eq!(range, expected, "{requested}");
        assert_eq!(got, bytes[expected.start as usize..expected.end as usize], "{requested}");
    }
    for range in [GetRange::Bounded(100_000..100_001), GetRange::Offset(100_001)] {
        assert!(get(range.clone()).await.is_err(), "{range:?} has no bytes");
    }
    let several = store.get_ranges(&path, &[7..9, 50_000..50_003, 0..1]).await.unwrap();
    assert_eq!(several, [&bytes[7..9], &bytes[50_000..50_003], &bytes[0..1]]);

    let empty = Path::from("tables/pin/empty");
    put(store, &empty, "", PutMode::Create).await.unwrap();
    assert_eq!(store.head(&empty).await.unwrap().size, 0);
    assert!(store.get(&empty).await.unwrap().bytes().await.unwrap().is_empty());
}

pub async fn a_copy_overwrites_and_is_independent_of_its_source(store: &Store) {
    let (from, to) = (Path::from("landing/pin/x"), Path::from("failed/landing/pin/x"));
    put(store, &from, "first", PutMode::Create).await.unwrap();
    store.copy(&from, &to).await.unwrap();
    put(store, &from, "second", PutMode::Overwrite).await.unwrap();
    assert_eq!(get(store, &to).await, "first");
    store.copy(&from, &to).await.unwrap();
    store.delete(&from).await.unwrap();
    assert_eq!(get(store, &to).await, "second");
    let missing = store.copy(&from, &to).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    assert_eq!(get(store, &to).await, "second");
    assert_eq!(listed(store, None).await, [to.to_string()]);
}

pub async fn names_may_contain_special_characters(store: &Store) {
    let mut names = [
        "inbox/user/a b.csv",
        "inbox/user/ao\u{f1}o +%41.csv",
        "inbox/user/a~{b}#*?!'(),;=@&$.csv",
        "inbox/user/#a",
        "inbox/user/..a..",
        "inbox/user/.hidden",
        "inbox/user/\u{1f384}/\u{65e5}\u{672c}",
        "inbox/user/%2F%2e%2e",
        "inbox/user/UPPER and upper",
        "inbox/user/a#1.csv",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push(format!("inbox/user/{}", "n".repeat(240)));
    for name in &names {
        let path = Path::parse(name).unwrap();
        put(store, &path, name.clone(), PutMode::Create).await.unwrap();
        assert_eq!(get(store, &path).await, *name);
        let copy = Path::parse(format!("failed/{name}")).unwrap();
        store.copy(&path, &copy).await.unwrap();
        assert_eq!(get(store, &copy).await, *name);
    }
    names.sort();
    assert_eq!(listed(store, Some(&Path::from("inbox"))).await, names);
    for path in listed(store, None).await {
        store.delete(&Path::parse(path).unwrap()).await.unwrap();
    }
    assert!(listed(store, None).await.is_empty());
}

pub async fn a_reader_never_sees_a_partial_write(store: &Store) {
    const SIZE: usize = 300_000;
    let path = Path::from("state/large");
    let whole = |letter: u8| Bytes::from(vec![letter; SIZE]);
    put(store, &path, whole(b'a'), PutMode::Create).await.unwrap();
    let writer = tokio::spawn({
        let (store, path) = (store.clone(), path.clone());
        async move {
            for number in 0..20_u8 {
                put(&store, &path, whole(b'b' + number), PutMode::Overwrite).await.unwrap();
                store.copy(&path, &Path::from("state/copy")).await.unwrap();
            }
        }
    });
    let mut reads = 0;
    while !writer.is_finished() || reads == 0 {
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len(), SIZE);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture of two versions");
        for meta in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
            assert!(["state/large", "state/copy"].contains(&meta.location.as_ref()), "{}", meta.location);
            assert_eq!(meta.size as usize, SIZE, "{}", meta.location);
        }
        reads += 1;
    }
    writer.await.unwrap();
}

pub async fn a_multipart_upload_is_visible_when_it_is_complete(store: &Store) {
    // S3 rejects parts below 5 MiB, except the last one.
    let parts = [vec![b'x'; 5 << 20], vec![b'y'; 5 << 20], vec![b'z'; 10]];
    let path = Path::from("tables/pin/large.parquet");
    let mut upload = store.put_multipart(&path).await.unwrap();
    for part in &parts {
        upload.put_part(part.clone().into()).await.unwrap();
        assert!(listed(store, None).await.is_empty());
    }
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), parts.concat());
    let other = Path::from("tables/pin/other.parquet");
    let mut upload = store.put_multipart(&other).await.unwrap();
    upload.put_part(vec![b'x'; 10].into()).await.unwrap();
    upload.abort().await.unwrap();
    drop(upload);
    assert_eq!(listed(store, None).await, [path.to_string()]);
}
