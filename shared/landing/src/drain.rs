//! Whether everything that was acknowledged has reached its table.
//!
//! An acknowledgement names a shard and a sequence number. The pipeline is drained of it when the shard's
//! watermark has passed it and nothing of that shard that begins at or below it is left on the way: no batch that the
//! event source gave up, no landing object, and none that was set aside in `failed/`.

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

/// Objects that are got at once.
const CONCURRENCY: usize = 8;

/// The highest acknowledged sequence number of each shard.
pub type Acknowledged = BTreeMap<String, Sequence>;

/// How much is looked at, of each place. What lies beyond a bound is not drained, whoever it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Objects of `landing/`.
    pub landing: usize,
    /// Objects of `failed/landing/`.
    pub failed: usize,
    /// Objects of `aws/lambda/`.
    pub discarded: usize,
    /// Batches that were given up whose objects are read, to tell which records they hold; of more, all of a shard count.
    pub batches_read: usize,
    /// How many looks, one after the other, must find nothing; see [`backlog`].
    pub looks: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { landing: 100_000, failed: 100_000, discarded: 100_000, batches_read: 64, looks: 3 }
    }
}

/// How far the pipeline is behind a set of acknowledgements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Shards whose watermark has not passed their acknowledgement yet.
    pub shards_behind: Vec<String>,
    /// Batches that the event source gave up and that hold acknowledged records, by shard: `pinlake recover` replays
    /// them, nothing else does.
    pub discarded: BTreeMap<String, usize>,
    /// Landing objects that were set aside and hold acknowledged records, by dataset: `pinlake recover`, too.
    pub failed: BTreeMap<String, usize>,
    /// Landing objects that hold acknowledged records, by dataset.
    pub landing: BTreeMap<String, usize>,
    /// Places that hold more objects than were looked at, with how many these were: acknowledged records may lie among
    /// the others.
    pub cut_short: BTreeMap<&'static str, usize>,
}

impl Backlog {
    /// Whether nothing is left to do, and everything was looked at.
    pub fn is_drained(&self) -> bool {
        self.left() == 0
    }

    /// Whether something waits for `pinlake recover`.
    pub fn needs_recovery(&self) -> bool {
        !self.discarded.is_empty() || !self.failed.is_empty()
    }

    /// How many things are left.
    pub fn left(&self) -> usize {
        let counts = [&self.discarded, &self.failed, &self.landing];
        let counted = counts.iter().flat_map(|counts| counts.values()).sum::<usize>();
        self.shards_behind.len() + counted + self.cut_short.len()
    }

    fn note_cut(&mut self, place: &'static str, is_cut_short: bool, looked_at: usize) {
        if is_cut_short {
            self.cut_short.insert(place, looked_at);
        }
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_drained() {
            return f.write_str("nothing left");
        }
        let mut parts = Vec::new();
        if !self.shards_behind.is_empty() {
            parts.push(format!("shards whose records have not all landed: {}", self.shards_behind.len()));
        }
        let counted = [
            ("batches that the stream gave up, for `pinlake recover`", &self.discarded),
            ("objects in failed, for `pinlake recover`", &self.failed),
            ("objects in landing", &self.landing),
        ];
        for (what, counts) in counted.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            let counts: Vec<String> = counts.iter().map(|(of, left)| format!("{of} {left}")).collect();
            parts.push(format!("{what}: {}", counts.join(", ")));
        }
        for (place, looked_at) in &self.cut_short {
            parts.push(format!("{place}/ holds more objects than the {looked_at} that were looked at"));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Measures the backlog. `destination` is where the event source puts what it gives up: the root of the lake's bucket.
/// `stream` limits it to one stream when several have landed in this lake.
///
/// # Why "drained" holds
/// An acknowledged record is on the way until it is in a table, and while it is on the way an object holds it: a batch in
/// `aws/lambda/`, or an object of `landing/` or `failed/landing/` named after its shard and position. Whoever moves it
/// puts the new object before the old one is removed, so at no moment is there none.
///
/// 1. Watermarks are read first. A shard's watermark is written after everything up to it has landed, and the event
///    source puts what it gives up before its shard goes on. So from then on the records below a watermark that has passed
///    are in such an object, or in their table.
/// 2. A place that holds more objects than were looked at ([`Bounds`]) is not drained.
/// 3. A listing of several pages is no snapshot, and the places are listed one after the other. A record escapes one look
///    if it moves, while the look is at work, from where the look has not been to where it has been: from a later page
///    to an earlier one (cleaned again under another contract), or from landing to failed and back. So a look that
///    found nothing is repeated, from the start and in the same order, until [`Bounds::looks`] looks in a row have found
///    nothing. What moved in that way lies where the next look passes first. To escape `n` looks a record has to move
///    against the listing in each of them, and back behind it before the next one: 2n - 1 moves of one and the same object
///    within the time of the looks. A compactor moves an object only when the object is of another release than its own,
///    and goes on to insert what it has moved, so each further move takes another compactor of the other release that
///    comes between; between failed and landing each takes a decision of a person. Three looks are five such moves in some
///    hundred milliseconds each.
///
/// Point 3 is the one bound that is not absolute: no number of listings is a proof against an object that keeps moving,
/// and nothing in the store counts moves.
///
/// # Errors
/// When the store fails.
pub async fn backlog(
    store: &dyn ObjectStore,
    destination: &dyn ObjectStore,
    stream: Option<&str>,
    acknowledged: &Acknowledged,
    bounds: &Bounds,
) -> Result<Backlog, LandingError> {
    let mut of_shard = Acknowledged::new();
    for (shard, sequence) in acknowledged {
        let highest = of_shard.entry(name::segment(shard)).or_insert_with(|| sequence.clone());
        *highest = sequence.max(highest).clone();
    }
    let asked = Asked { store, destination, stream, acknowledged, of_shard, bounds };
    let shards_behind = asked.shards_behind().await?;
    for _ in 1..bounds.looks {
        let backlog = asked.look(&shards_behind).await?;
        if !backlog.is_drained() {
            return Ok(backlog);
        }
    }
    asked.look(&shards_behind).await
}

/// What is asked for, and of whom.
struct Asked<'a> {
    store: &'a dyn ObjectStore,
    destination: &'a dyn ObjectStore,
    stream: Option<&'a str>,
    acknowledged: &'a Acknowledged,
    /// The same by shard as it stands in the names of objects.
    of_shard: Acknowledged,
    bounds: &'a Bounds,
}

impl Asked<'_> {
    async fn shards_behind(&self) -> Result<Vec<String>, LandingError> {
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
            let of_shard = watermarks.iter().filter(|((_, name), _)| name == shard);
            if !of_shard.into_iter().any(|(_, watermark)| watermark >= sequence) {
                behind.push(shard.clone());
            }
        }
        Ok(behind)
    }

    /// One look at all places, in the order in which a record may pass them.
    async fn look(&self, shards_behind: &[String]) -> Result<Backlog, LandingError> {
        let mut backlog = Backlog { shards_behind: shards_behind.to_vec(), ..Backlog::default() };
        self.look_at_given_up(&mut backlog).await?;
        // A record may go from landing to failed and back, so that failed is looked at on both sides.
        let mut aside = self.look_at_failed(&mut backlog).await?;
        let look = object::look_at_all(self.store, self.bounds.landing).await?;
        backlog.note_cut(name::LANDING, look.is_cut_short, look.looked_at);
        for name in look.found.into_iter().filter(|name| self.is_asked_for(name)) {
            *backlog.landing.entry(name.dataset).or_insert(0) += 1;
        }
        aside.extend(self.look_at_failed(&mut backlog).await?);
        for name in aside {
            *backlog.failed.entry(name.dataset).or_insert(0) += 1;
        }
        Ok(backlog)
    }

    async fn look_at_failed(&self, backlog: &mut Backlog) -> Result<BTreeSet<LandingName>, LandingError> {
        let look = recover::list_failed(self.store, self.bounds.failed).await?;
        backlog.note_cut(name::FAILED, look.is_cut_short, look.looked_at);
        let names = look.found.into_iter().map(|failed| failed.landed.name);
        Ok(names.filter(|name| self.is_asked_for(name)).collect())
    }

    /// Whether an object holds acknowledged records. One whose position is no number may hold any of its shard.
    fn is_asked_for(&self, name: &LandingName) -> bool {
        let of_stream = self.stream.is_none_or(|stream| name::segment(stream) == name.source);
        let begins_below = |sequence: &Sequence| match name.first.parse::<Sequence>() {
            Ok(first) => first <= *sequence,
            Err(_) => true,
        };
        of_stream && self.of_shard.get(&name.shard).is_some_and(begins_below)
    }

    /// How many batches of each acknowledged shard were given up and hold acknowledged records.
    async fn look_at_given_up(&self, backlog: &mut Backlog) -> Result<(), LandingError> {
        let Self { destination, stream, acknowledged, bounds, .. } = *self;
        let listing = discarded::list(destination, bounds.discarded).await?;
        backlog.note_cut(discarded::DISCARDED, listing.is_cut_short, listing.looked_at);
        let mut batches = listing.batches;
        batches.retain(|batch| acknowledged.contains_key(&batch.shard));
        let unread = batches.split_off(batches.len().min(bounds.batches_read));
        let read: Vec<(String, bool)> = stream::iter(batches)
            .map(|batch| async move {
                let holds = match discarded::info(destination, &batch).await {
                    Ok(None) => false,
                    Ok(Some(info)) => {
                        stream.is_none_or(|stream| stream == info.stream())
                            && acknowledged.get(&batch.shard) >= Some(&info.start_sequence_number)
                    }
                    // Whose records it holds, nobody can tell.
                    Err(error) if error.is_permanent() => true,
                    Err(error) => return Err(error),
                };
                Ok((batch.shard, holds))
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let unread = unread.into_iter().map(|batch| (batch.shard, true));
        for (shard, _) in read.into_iter().chain(unread).filter(|(_, holds)| *holds) {
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

    use crate::name::Origin;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };

    const SHARD: &str = "shardId-000000000000";

    fn origin(shard: &str, first: &str) -> Origin {
        Origin {
            source: "events".to_owned(),
            shard: shard.to_owned(),
            first: first.to_owned(),
            last: "12".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        }
    }

    fn up_to_ten() -> Acknowledged {
        Acknowledged::from([(SHARD.to_owned(), "10".parse().unwrap())])
    }

    async fn pass(store: &dyn ObjectStore) {
        watermark::advance(store, "events", SHARD, &"12".parse().unwrap()).await.unwrap();
    }

    async fn measure(store: &dyn ObjectStore, bounds: &Bounds) -> Backlog {
        backlog(store, store, Some("events"), &up_to_ten(), bounds).await.unwrap()
    }

    #[tokio::test]
    async fn drained_means_the_watermark_passed_and_nothing_older_lies_there() {
        let store = InMemory::new();
        for stream in [None, Some("events")] {
            let measured = backlog(&store, &store, stream, &up_to_ten(), &Bounds::default()).await.unwrap();
            assert_eq!(measured.shards_behind, [SHARD]);
        }
        pass(&store).await;
        let older = LandingName::new("pin", "00aa", &origin(SHARD, "9"), b"a").path();
        let newer = LandingName::new("pin", "00aa", &origin(SHARD, "11"), b"b").path();
        for path in [&older, &newer] {
            store.put(path, "x".into()).await.unwrap();
        }
        let measured = measure(&store, &Bounds::default()).await;
        assert_eq!(measured.landing, BTreeMap::from([("pin".to_owned(), 1)]));

        store.delete(&older).await.unwrap();
        assert!(measure(&store, &Bounds::default()).await.is_drained());
        let any = backlog(&store, &store, None, &up_to_ten(), &Bounds::default()).await.unwrap();
        assert!(any.is_drained());
        let other = backlog(&store, &store, Some("others"), &up_to_ten(), &Bounds::default()).await.unwrap();
        assert_eq!(other.shards_behind, [SHARD], "the watermark of another stream is none");
    }

    /// None of what is looked at is of the acknowledged shard: that lies behind the bound.
    #[tokio::test]
    async fn a_place_that_holds_more_than_is_looked_at_is_not_drained() {
        let bounds = Bounds { landing: 20, failed: 20, discarded: 20, ..Bounds::default() };
        let discarded = |shard: &str, number: usize| {
            format!("aws/lambda/6f2d1a0e-5b1c-4a57-9d0b-3f6f0e9d8c7b/{shard}/2026/11/14/{number:03}")
        };
        let landed = |dataset: &str, shard: &str, first: usize| {
            LandingName::new(dataset, "00aa", &origin(shard, &first.to_string()), b"a").path().to_string()
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
            pass(&store).await;
            for number in 0..20 {
                store.put(&Path::from(others(number)), "x".into()).await.unwrap();
            }
            assert!(measure(&store, &bounds).await.is_drained(), "{place}: the bound was not passed");
            store.put(&Path::from(last.as_str()), "x".into()).await.unwrap();
            let measured = measure(&store, &bounds).await;
            assert!(!measured.is_drained(), "{last} was not looked at");
            assert_eq!(measured.cut_short, BTreeMap::from([(place, 20)]));
            assert!(measured.to_string().contains("more objects than the 20"), "{measured}");
        }
    }

    /// Objects that move, each from one path to another.
    type Moves = Vec<(Path, Path)>;

    /// A store that lists landing in two pages, and in which others move objects while a listing is at work.
    #[derive(Debug)]
    struct Moving {
        inner: Arc<InMemory>,
        /// For each listing of landing, what moves before its first page, and what before its second.
        moves: Mutex<VecDeque<[Moves; 2]>>,
    }

    /// Objects of a page, as S3 has it.
    const PAGE: usize = 1_000;

    impl Moving {
        /// As a compactor of another release cleans again: it lands anew, and then removes.
        async fn play(inner: &InMemory, moves: Vec<(Path, Path)>) -> Result<()> {
            for (from, to) in moves {
                inner.put(&to, "x".into()).await?;
                inner.delete(&from).await?;
            }
            Ok(())
        }
    }

    impl fmt::Display for Moving {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Moving")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Moving {
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
                Self::play(&inner, before).await?;
                let mut listed: Vec<ObjectMeta> = inner.list(prefix.as_ref()).try_collect().await?;
                listed.truncate(PAGE);
                Self::play(&inner, between).await?;
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

    /// A listing of several pages is no snapshot: what is cleaned again may move from a later page to an earlier one.
    #[tokio::test]
    async fn what_moves_against_the_listing_is_seen() {
        let later = LandingName::new("pin", "ff00", &origin(SHARD, "9"), b"a").path();
        let earlier = LandingName::new("pin", "00ff", &origin(SHARD, "9"), b"a").path();
        let against = || vec![(later.clone(), earlier.clone())];
        let back = || vec![(earlier.clone(), later.clone())];
        for moves in [
            vec![],
            vec![[vec![], against()]],
            vec![[vec![], against()], [back(), vec![]]],
            vec![[vec![], against()], [back(), against()]],
        ] {
            let inner = Arc::new(InMemory::new());
            pass(&*inner).await;
            inner.put(&later, "x".into()).await.unwrap();
            for number in 0..PAGE {
                let other = origin("shardId-000000000001", &number.to_string());
                let other = LandingName::new("pin", "7777", &other, b"b");
                inner.put(&other.path(), "x".into()).await.unwrap();
            }
            let told = format!("{moves:?}");
            let store = Moving { inner, moves: Mutex::new(moves.into()) };
            let measured = measure(&store, &Bounds::default()).await;
            assert_eq!(measured.landing, BTreeMap::from([("pin".to_owned(), 1)]), "{told}");
        }
    }
}
