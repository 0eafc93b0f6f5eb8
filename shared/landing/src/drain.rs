//! Whether every acknowledged record has reached its table.
//!
//! An acknowledgement names a shard and a sequence number. The pipeline has drained up to it when the watermark of the
//! shard has passed it, and no discarded batch, landing object or failed object of that shard begins at or below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::discarded;
use crate::error::LandingError;
use crate::name::{self, LandingName};
use crate::object;
use crate::recover;
use crate::sequence::Sequence;
use crate::watermark;

/// Objects that are read concurrently.
const CONCURRENCY: usize = 8;

/// The highest acknowledged sequence number of each shard.
pub type Acknowledged = BTreeMap<String, Sequence>;

/// How many objects of each place are listed. A place with more objects does not count as drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainLimits {
    /// Objects of `landing/`.
    pub landing: usize,
    /// Objects of `failed/landing/`.
    pub failed: usize,
    /// Objects of `aws/lambda/`.
    pub discarded: usize,
    /// Discarded batches whose objects are read for their range of records. Further batches count as batches with
    /// acknowledged records.
    pub batches_read: usize,
    /// Consecutive passes over all places that must find nothing, see [`measure_backlog`].
    pub passes: usize,
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self { landing: 100_000, failed: 100_000, discarded: 100_000, batches_read: 64, passes: 3 }
    }
}

/// The acknowledged records that have not reached their tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Shards whose watermark has not passed their acknowledgement.
    pub shards_behind: Vec<String>,
    /// Discarded batches with acknowledged records, by shard. Only `pinlake recover` lands them.
    pub discarded: BTreeMap<String, usize>,
    /// Failed landing objects with acknowledged records, by dataset. Only `pinlake recover` lands them.
    pub failed: BTreeMap<String, usize>,
    /// Landing objects with acknowledged records, by dataset.
    pub landing: BTreeMap<String, usize>,
    /// Places with more objects than were listed, and how many were. The others may hold acknowledged records.
    pub truncated: BTreeMap<&'static str, usize>,
}

impl Backlog {
    /// Returns whether every acknowledged record is in its table. False also if a listing was truncated.
    pub fn is_drained(&self) -> bool {
        self.remaining() == 0
    }

    /// Returns whether `pinlake recover` is needed.
    pub fn needs_recovery(&self) -> bool {
        !self.discarded.is_empty() || !self.failed.is_empty()
    }

    /// Returns the number of shards, batches, objects and truncated places that remain.
    pub fn remaining(&self) -> usize {
        let counts = [&self.discarded, &self.failed, &self.landing];
        let counted = counts.iter().flat_map(|counts| counts.values()).sum::<usize>();
        self.shards_behind.len() + counted + self.truncated.len()
    }

    fn note_truncated(&mut self, place: &'static str, is_truncated: bool, listed: usize) {
        if is_truncated {
            self.truncated.insert(place, listed);
        }
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_drained() {
            return f.write_str("drained");
        }
        let mut parts = Vec::new();
        if !self.shards_behind.is_empty() {
            parts.push(format!("shards behind their acknowledgements: {}", self.shards_behind.len()));
        }
        let counted = [
            ("discarded batches, for `pinlake recover`", &self.discarded),
            ("failed objects, for `pinlake recover`", &self.failed),
            ("landing objects", &self.landing),
        ];
        for (what, counts) in counted.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            parts.push(format!("{what}: {}", counts.join(", ")));
        }
        for (place, listed) in &self.truncated {
            parts.push(format!("{place}/ has more than the {listed} objects that were listed"));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Measures the backlog. `destination` is the OnFailure destination of the event source: the root of the lake's bucket.
/// `stream` limits the measurement to one stream; without it, the watermark of any stream counts.
///
/// # Why "drained" holds
/// While an acknowledged record is not in a table, an object holds it: a discarded batch in `aws/lambda/`, or an object
/// in `landing/` or `failed/landing/` named after its shard and sequence number. Every process that moves a record
/// writes the new object before it removes the old one, so there is always such an object.
///
/// 1. The watermarks are read first. A watermark is written after everything up to it has landed, and the event source
///    writes a discarded batch before it continues with the shard. So the records below a watermark are in such an
///    object or in a table from then on.
/// 2. A place with more objects than its limit is not drained.
/// 3. A listing of several pages is not a snapshot, and the places are listed one after the other. A pass misses a
///    record that moves during the pass from a part that is not listed yet to one that is: from a later page to an
///    earlier one (cleaned again under another contract), or from landing to failed and back. So a pass that finds
///    nothing is repeated from the start, in the same order, until [`DrainLimits::passes`] passes in a row have found
///    nothing. A record that moved in this way is where the next pass lists first. To escape `n` passes, it must move
///    against the listing in each of them and back between them: 2n - 1 moves of the same object within the time of the
///    passes. A compactor moves an object only if another contract has cleaned it, and then inserts it, so each further
///    move needs another compactor, with the other contract, at the right moment; moves between failed and landing need an
///    operator each. Three passes mean five such moves within a few hundred milliseconds each.
///
/// Point 3 is not absolute: no number of listings proves anything against an object that keeps moving, and the store
/// does not count moves.
///
/// # Errors
/// When the store fails.
pub async fn measure_backlog(
    store: &dyn ObjectStore,
    destination: &dyn ObjectStore,
    stream: Option<&str>,
    acknowledged: &Acknowledged,
    limits: &DrainLimits,
) -> Result<Backlog, LandingError> {
    let mut by_segment = Acknowledged::new();
    for (shard, sequence) in acknowledged {
        let highest = by_segment.entry(name::segment(shard)).or_insert_with(|| sequence.clone());
        *highest = sequence.max(highest).clone();
    }
    let query = BacklogQuery { store, destination, stream, acknowledged, by_segment, limits };
    let shards_behind = query.find_shards_behind().await?;
    for _ in 1..limits.passes {
        let backlog = query.run_pass(&shards_behind).await?;
        if !backlog.is_drained() {
            return Ok(backlog);
        }
    }
    query.run_pass(&shards_behind).await
}

/// The parameters of a measurement.
struct BacklogQuery<'a> {
    store: &'a dyn ObjectStore,
    destination: &'a dyn ObjectStore,
    stream: Option<&'a str>,
    acknowledged: &'a Acknowledged,
    /// `acknowledged` by the shard's path segment in object names.
    by_segment: Acknowledged,
    limits: &'a DrainLimits,
}

impl BacklogQuery<'_> {
    async fn find_shards_behind(&self) -> Result<Vec<String>, LandingError> {
        let mut behind = Vec::new();
        if let Some(stream) = self.stream {
            for (shard, sequence) in self.acknowledged {
                let watermark = watermark::read(self.store, stream, shard).await?;
                if watermark.is_none_or(|watermark| watermark < *sequence) {
                    behind.push(shard.clone());
                }
            }
            return Ok(behind);
        }
        let watermarks = watermark::read_all(self.store).await?;
        for (shard, sequence) in self.acknowledged {
            let mut same_shard = watermarks.iter().filter(|((_, name), _)| name == shard);
            if !same_shard.any(|(_, watermark)| watermark >= sequence) {
                behind.push(shard.clone());
            }
        }
        Ok(behind)
    }

    /// Lists all places once, in the order in which records move through them.
    async fn run_pass(&self, shards_behind: &[String]) -> Result<Backlog, LandingError> {
        let mut backlog = Backlog { shards_behind: shards_behind.to_vec(), ..Backlog::default() };
        self.count_discarded(&mut backlog).await?;
        // A record can move from landing to failed and back, so failed is listed before and after landing.
        let mut failed = self.list_failed(&mut backlog).await?;
        let list = object::list_names(self.store, self.limits.landing).await?;
        backlog.note_truncated(name::LANDING, list.is_truncated, list.listed);
        for name in list.found.into_iter().filter(|name| self.has_acknowledged(name)) {
            *backlog.landing.entry(name.dataset).or_insert(0) += 1;
        }
        failed.extend(self.list_failed(&mut backlog).await?);
        for name in failed {
            *backlog.failed.entry(name.dataset).or_insert(0) += 1;
        }
        Ok(backlog)
    }

    async fn list_failed(&self, backlog: &mut Backlog) -> Result<BTreeSet<LandingName>, LandingError> {
        let list = recover::list_failed(self.store, self.limits.failed).await?;
        backlog.note_truncated(name::FAILED, list.is_truncated, list.listed);
        let names = list.found.into_iter().map(|failed| failed.landed.name);
        Ok(names.filter(|name| self.has_acknowledged(name)).collect())
    }

    /// Returns whether an object can hold acknowledged records. True for every object of an acknowledged shard whose
    /// position is not a number.
    fn has_acknowledged(&self, name: &LandingName) -> bool {
        let is_of_stream = self.stream.is_none_or(|stream| name::segment(stream) == name.source.stream());
        let begins_below = |sequence: &Sequence| match name.first.parse::<Sequence>() {
            Ok(first) => first <= *sequence,
            Err(_) => true,
        };
        is_of_stream && self.by_segment.get(&*name.source.shard()).is_some_and(begins_below)
    }

    /// Counts the discarded batches with acknowledged records, by shard.
    async fn count_discarded(&self, backlog: &mut Backlog) -> Result<(), LandingError> {
        let Self { destination, stream, acknowledged, limits, .. } = *self;
        let list = discarded::list(destination, limits.discarded).await?;
        backlog.note_truncated(discarded::DISCARDED, list.is_truncated, list.listed);
        let mut batches = list.batches;
        batches.retain(|batch| acknowledged.contains_key(&batch.shard));
        let unread = batches.split_off(batches.len().min(limits.batches_read));
        let read: Vec<(String, bool)> = stream::iter(batches)
            .map(|batch| async move {
                let has_acknowledged = match discarded::read_info(destination, &batch).await {
                    Ok(None) => false,
                    Ok(Some(info)) => {
                        stream.is_none_or(|stream| stream == info.stream())
                            && acknowledged.get(&batch.shard) >= Some(&info.start_sequence_number)
                    }
                    // An unreadable batch can hold any records of its shard.
                    Err(error) if error.is_permanent() => true,
                    Err(error) => return Err(error),
                };
                Ok((batch.shard, has_acknowledged))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let unread = unread.into_iter().map(|batch| (batch.shard, true));
        for (shard, _) in read.into_iter().chain(unread).filter(|(_, has_acknowledged)| *has_acknowledged) {
            *backlog.discarded.entry(shard).or_insert(0) += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use crate::name::BatchId;
    use crate::source::RecordSource;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };

    const SHARD: &str = "shardId-000000000000";

    fn batch(shard: &str, first: &str) -> BatchId {
        BatchId {
            source: RecordSource::from_path_segments("events", shard),
            first: first.to_owned(),
            last: "12".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        }
    }

    fn up_to_ten() -> Acknowledged {
        Acknowledged::from([(SHARD.to_owned(), "10".parse().unwrap())])
    }

    async fn advance(store: &dyn ObjectStore) {
        let source = RecordSource::from_path_segments("events", SHARD);
        watermark::advance(store, &source, &"12".parse().unwrap()).await.unwrap();
    }

    async fn measure(store: &dyn ObjectStore, limits: &DrainLimits) -> Backlog {
        measure_backlog(store, store, Some("events"), &up_to_ten(), limits).await.unwrap()
    }

    #[tokio::test]
    async fn drained_requires_the_watermark_and_no_older_object() {
        let store = InMemory::new();
        for stream in [None, Some("events")] {
            let measured =
                measure_backlog(&store, &store, stream, &up_to_ten(), &DrainLimits::default()).await.unwrap();
            assert_eq!(measured.shards_behind, [SHARD]);
        }
        advance(&store).await;
        let older = LandingName::new("pin", "00aa", &batch(SHARD, "9"), b"a").path();
        let newer = LandingName::new("pin", "00aa", &batch(SHARD, "11"), b"b").path();
        for path in [&older, &newer] {
            store.put(path, "x".into()).await.unwrap();
        }
        let measured = measure(&store, &DrainLimits::default()).await;
        assert_eq!(measured.landing, BTreeMap::from([("pin".to_owned(), 1)]));

        store.delete(&older).await.unwrap();
        assert!(measure(&store, &DrainLimits::default()).await.is_drained());
        let any = measure_backlog(&store, &store, None, &up_to_ten(), &DrainLimits::default()).await.unwrap();
        assert!(any.is_drained());
        let other = measure_backlog(&store, &store, Some("others"), &up_to_ten(), &DrainLimits::default())
            .await
            .unwrap();
        assert_eq!(other.shards_behind, [SHARD], "the watermark of another stream does not count");
    }

    /// The objects within the limit are all of other shards.
    #[tokio::test]
    async fn a_place_with_more_objects_than_its_limit_is_not_drained() {
        let limits = DrainLimits { landing: 20, failed: 20, discarded: 20, ..DrainLimits::default() };
        let discarded = |shard: &str, number: usize| {
            format!("aws/lambda/6f2d1a0e-5b1c-4a57-9d0b-3f6f0e9d8c7b/{shard}/2026/11/14/{number:03}")
        };
        let landed = |dataset: &str, shard: &str, first: usize| {
            LandingName::new(dataset, "00aa", &batch(shard, &first.to_string()), b"a").path().to_string()
        };
        type Others = Box<dyn Fn(usize) -> String>;
        let places: [(&str, String, Others); 3] = [
            ("landing", landed("user", SHARD, 9), Box::new(move |n| landed("pin", "files", n))),
            (
                "failed",
                format!("failed/{}", landed("user", SHARD, 9)),
                Box::new(move |n| format!("failed/{}", landed("pin", "files", n))),
            ),
            (
                "aws/lambda",
                discarded("shardId-000000000007", 0),
                Box::new(move |n| discarded("shardId-000000000001", n)),
            ),
        ];
        for (place, last, others) in places {
            let store = InMemory::new();
            advance(&store).await;
            for number in 0..20 {
                store.put(&Path::from(others(number)), "x".into()).await.unwrap();
            }
            assert!(measure(&store, &limits).await.is_drained(), "{place}: the limit was not exceeded");
            store.put(&Path::from(last.as_str()), "x".into()).await.unwrap();
            let measured = measure(&store, &limits).await;
            assert!(!measured.is_drained(), "{last} was not listed");
            assert_eq!(measured.truncated, BTreeMap::from([(place, 20)]));
            assert!(measured.to_string().contains("more than the 20 objects"), "{measured}");
        }
    }

    /// Objects that move, each from one path to another.
    type Moves = Vec<(Path, Path)>;

    /// A store that lists landing in two pages, and moves objects during a listing as another process would.
    #[derive(Debug)]
    struct MovingStore {
        inner: Arc<InMemory>,
        /// For each listing of landing, the moves before its first page and before its second page.
        moves: Mutex<VecDeque<[Moves; 2]>>,
    }

    /// Objects per page, as in S3.
    const PAGE: usize = 1_000;

    impl MovingStore {
        /// Moves objects as a compactor that cleans them again: first the put, then the removal.
        async fn apply(inner: &InMemory, moves: Vec<(Path, Path)>) -> Result<()> {
            for (from, to) in moves {
                inner.put(&to, "x".into()).await?;
                inner.delete(&from).await?;
            }
            Ok(())
        }
    }

    impl fmt::Display for MovingStore {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("MovingStore")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for MovingStore {
        async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.inner.put_opts(path, payload, options).await
        }
        async fn put_multipart_opts(
            &self,
            path: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(path, options).await
        }
        async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
            self.inner.get_opts(path, options).await
        }
        fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.inner.delete_stream(paths)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            if prefix.is_none_or(|prefix| prefix.as_ref() != name::LANDING) {
                return self.inner.list(prefix);
            }
            let [before, between] = self.moves.lock().unwrap().pop_front().unwrap_or_default();
            let (inner, prefix) = (self.inner.clone(), prefix.cloned());
            let pages = async move {
                Self::apply(&inner, before).await?;
                let mut listed: Vec<ObjectMeta> = inner.list(prefix.as_ref()).try_collect().await?;
                listed.truncate(PAGE);
                Self::apply(&inner, between).await?;
                if let Some(last) = listed.last().map(|last| last.location.clone()) {
                    let rest = inner.list_with_offset(prefix.as_ref(), &last);
                    listed.extend(rest.try_collect::<Vec<_>>().await?);
                }
                Ok::<_, object_store::Error>(stream::iter(listed.into_iter().map(Ok)))
            };
            stream::once(pages).try_flatten().boxed()
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }

    /// A listing of several pages is not a snapshot: an object that is cleaned again can move to an earlier page.
    #[tokio::test]
    async fn an_object_that_moves_against_the_listing_is_found() {
        let later = LandingName::new("pin", "ff00", &batch(SHARD, "9"), b"a").path();
        let earlier = LandingName::new("pin", "00ff", &batch(SHARD, "9"), b"a").path();
        let against = || vec![(later.clone(), earlier.clone())];
        let back = || vec![(earlier.clone(), later.clone())];
        for moves in [
            vec![],
            vec![[vec![], against()]],
            vec![[vec![], against()], [back(), vec![]]],
            vec![[vec![], against()], [back(), against()]],
        ] {
            let inner = Arc::new(InMemory::new());
            advance(&*inner).await;
            inner.put(&later, "x".into()).await.unwrap();
            for number in 0..PAGE {
                let other = batch("shardId-000000000001", &number.to_string());
                let other = LandingName::new("pin", "7777", &other, b"b");
                inner.put(&other.path(), "x".into()).await.unwrap();
            }
            let description = format!("{moves:?}");
            let store = MovingStore { inner, moves: Mutex::new(moves.into()) };
            let measured = measure(&store, &DrainLimits::default()).await;
            assert_eq!(measured.landing, BTreeMap::from([("pin".to_owned(), 1)]), "{description}");
        }
    }
}
