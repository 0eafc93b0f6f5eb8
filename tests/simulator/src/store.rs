//! S3 as one process sees it: strongly consistent, slow and unreliable.
//!
//! Requests behave as the AWS documentation allows: "Amazon S3 provides strong read-after-write
//! consistency", so nothing stale is ever read ("Amazon S3 data consistency model"); conditional writes answer 412
//! when the condition fails and 409 when another is in progress ("How to prevent object overwrites with conditional
//! writes"); and any request may time out or answer 5xx whether or not it was carried out ("Error best practices").
//! DeleteObjects reports each key for itself, so part of a delete may be done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::time::sleep;

use crate::fault::Fault;
use crate::files::{LAKE, SINK};
use crate::mutation::{self, Mutation, View};
use crate::process::Process;
use crate::queue::Queue;
use crate::world::World;

/// S3 as one process sees it.
pub struct Store {
    world: Arc<World>,
    bucket: &'static str,
    memory: Arc<InMemory>,
    process: Arc<Process>,
    queue: Arc<Queue>,
    /// Commits of this process that conflicted or failed, with their bytes, for mutations.
    lost: Mutex<BTreeMap<Path, Bytes>>,
    /// The landing prefix that this process listed last, for mutations.
    at_work_on: Arc<Mutex<Option<Path>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.process.name())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated S3")
    }
}

/// The kind of object at a path, for the counts of faults.
pub fn classify_path(path: &Path) -> &'static str {
    let path = path.as_ref();
    match path.split('/').next().unwrap_or_default() {
        "landing" => "landing",
        "raw" => "raw",
        "contracts" => "catalog",
        "state" if path.starts_with("state/watermarks/") => "watermark",
        "state" => "file state",
        "inbox" => "inbox",
        "topics" => "sink",
        "failed" => "failed",
        "aws" => "discarded",
        "tables" if path.contains("/_pinlake_rebuild/") => "copy",
        "tables" if path.contains("/_delta_log/") && path.ends_with(".json") => "commit",
        "tables" if path.contains("/_delta_log") => "log",
        "tables" if path.ends_with(".keys") => "keys",
        "tables" if path.contains("/_pinlake_keys/") => "evaluation",
        "tables" => "data",
        _ => "other",
    }
}

pub(crate) fn no_answer_error(path: &Path, what: &str) -> Error {
    Error::Generic { store: "S3", source: format!("{what}: {path}").into() }
}

impl Store {
    /// Opens the lake's bucket for a process. New landing objects are announced to `queue`.
    pub fn open_lake(world: &Arc<World>, process: &Arc<Process>, queue: &Arc<Queue>) -> Arc<dyn ObjectStore> {
        Self::open_bucket(world, process, queue, LAKE, world.memory.clone())
    }

    /// Opens the other bucket for a process.
    pub fn open_sink(world: &Arc<World>, process: &Arc<Process>, queue: &Arc<Queue>) -> Arc<dyn ObjectStore> {
        Self::open_bucket(world, process, queue, SINK, world.sink.clone())
    }

    fn open_bucket(
        world: &Arc<World>,
        process: &Arc<Process>,
        queue: &Arc<Queue>,
        bucket: &'static str,
        memory: Arc<InMemory>,
    ) -> Arc<dyn ObjectStore> {
        Arc::new(Self {
            world: world.clone(),
            bucket,
            memory,
            process: process.clone(),
            queue: queue.clone(),
            lost: Mutex::default(),
            at_work_on: Arc::default(),
        })
    }

    async fn delay_request(&self, place: &'static str) {
        let time = if self.world.draw_fault(Fault::Slow, place) {
            self.world.rng.millis(1_000, 20_000)
        } else {
            self.world.rng.millis(1, 40)
        };
        sleep(time).await;
    }

    /// Sends a put, which lands even if the sender is gone.
    fn send(
        &self,
        after: Duration,
        path: &Path,
        payload: PutPayload,
        mode: PutMode,
    ) -> tokio::task::JoinHandle<Result<PutResult>> {
        let (world, queue, path) = (self.world.clone(), self.queue.clone(), path.clone());
        let in_progress = world.begin_work_since(self.process.invocation_start());
        tokio::spawn(async move {
            sleep(after).await;
            let result = apply_put(&world, &queue, &path, payload, mode).await;
            drop(in_progress);
            result
        })
    }

    /// Mutation: commits under the next free version.
    async fn rebase(&self, path: &Path, payload: &PutPayload) -> Result<PutResult> {
        let folder = path.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder);
        for version in 1_u64.. {
            let path = Path::from(format!("{folder}/{version:020}.json"));
            let put = apply_put(&self.world, &self.queue, &path, payload.clone(), PutMode::Create).await;
            if !matches!(put, Err(Error::AlreadyExists { .. })) {
                return put;
            }
        }
        Err(no_answer_error(path, "no version is free"))
    }

    fn remember_lost(&self) -> std::sync::MutexGuard<'_, BTreeMap<Path, Bytes>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies a put that reached S3.
async fn apply_put(
    world: &Arc<World>,
    queue: &Arc<Queue>,
    path: &Path,
    payload: PutPayload,
    mode: PutMode,
) -> Result<PutResult> {
    let mut path = path.clone();
    let mut mode = mode;
    let kind = classify_path(&path);
    if kind == "commit" && world.has_mutation(Mutation::UnconditionalCommit) {
        mode = PutMode::Overwrite;
    }
    if kind == "landing" && world.has_mutation(Mutation::MutableLanding) {
        let folder = path.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder);
        path = Path::from(format!("{folder}/0-0-0.parquet"));
        mode = PutMode::Overwrite;
    }
    let mut bytes: Bytes = payload.into();
    if let Some(mutation) = world.scenario.mutation {
        match mutation::replace_put(world, mutation, &path, kind, bytes).await {
            Some(instead) => bytes = instead,
            None => return Ok(PutResult { e_tag: None, version: None }),
        }
    }
    let options = PutOptions { mode, ..PutOptions::default() };
    let put = world.memory.put_opts(&path, bytes.clone().into(), options).await;
    if put.is_ok() {
        world.log(|| format!("S3 has {path}"));
        if kind == "data" {
            world.stamp(LAKE, &path, &bytes);
        }
        crate::invariants::check_landed(world, &path, &bytes).await;
        if kind == "landing" {
            queue.notify(&path);
        }
        if kind == "raw" && world.has_mutation(Mutation::WatermarkFirst) {
            crate::invariants::watermark_first(world, &path).await;
        }
    }
    put
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.process.count_request().await;
        let (world, kind, mode) = (&self.world, classify_path(path), options.mode);
        let own: Bytes = payload.clone().into();
        if world.draw_fault(Fault::PutRefused, kind) {
            self.delay_request(kind).await;
            self.process.count_request().await;
            return Err(no_answer_error(path, "503 SlowDown"));
        }
        if mode != PutMode::Overwrite && world.draw_fault(Fault::PutConflict, kind) {
            self.delay_request(kind).await;
            self.process.count_request().await;
            return Err(no_answer_error(path, "409 ConditionalRequestConflict"));
        }
        if world.draw_fault(Fault::PutLate, kind) {
            let late = world.rng.millis(100, 60_000);
            self.send(late, path, payload, mode);
            sleep(world.rng.millis(50, 3_000)).await;
            self.process.count_request().await;
            return Err(no_answer_error(path, "time-out"));
        }
        let sent = self.send(world.rng.millis(1, 30), path, payload.clone(), mode.clone());
        let mut answer = sent.await.map_err(|_| no_answer_error(path, "connection lost"))?;
        self.delay_request(kind).await;
        self.process.count_request().await;
        if world.draw_fault(Fault::PutAnswerLost, kind) {
            answer = Err(no_answer_error(path, "time-out after the put"));
        } else if answer.is_ok()
            && mode != PutMode::Overwrite
            && world.draw_fault(Fault::PutRetriedBySdk, kind)
        {
            let (path, source) = (path.to_string(), "412 Precondition Failed".into());
            answer = Err(match mode {
                PutMode::Create => Error::AlreadyExists { path, source },
                _ => Error::Precondition { path, source },
            });
        }
        if kind == "commit" {
            if matches!(answer, Err(Error::AlreadyExists { .. }))
                && world.has_mutation(Mutation::SilentRebase)
            {
                return self.rebase(path, &payload).await;
            }
            if answer.is_err() {
                self.remember_lost().insert(path.clone(), own);
            }
        }
        answer
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(no_answer_error(path, "no multipart uploads in this world"))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.process.count_request().await;
        let kind = classify_path(path);
        self.delay_request(kind).await;
        if self.world.draw_fault(Fault::GetFailed, kind) {
            self.process.count_request().await;
            return Err(no_answer_error(path, "500 InternalError"));
        }
        let mut asked = options.clone();
        let stamp = self.world.find_stamp(self.bucket, path).filter(|_| has_stamp(path));
        let is_other = match (asked.if_match.take_if(|_| stamp.is_some()), &stamp) {
            (Some(wanted), Some(stamp)) => wanted != stamp.etag,
            _ => false,
        };
        let got = match self.memory.get_opts(path, asked).await {
            Ok(_) if is_other => {
                Err(Error::Precondition { path: path.to_string(), source: "412 Precondition Failed".into() })
            }
            got => got.map(|mut got| {
                self.stamped(&mut got.meta);
                got
            }),
        };
        sleep(self.world.rng.millis(0, 10)).await;
        self.process.count_request().await;
        let Some(mutation) = self.world.scenario.mutation else { return got };
        let view = View {
            world: &self.world,
            process: &self.process,
            lost: self.remember_lost().clone(),
            at_work_on: self.at_work_on.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        mutation::replace_get(&view, mutation, path, kind, options, got).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (world, process) = (self.world.clone(), self.process.clone());
        // One DeleteObjects call for all objects, like the real store.
        let call = async move {
            let paths: Vec<Path> = paths.try_collect().await?;
            process.count_request().await;
            sleep(world.rng.millis(1, 40)).await;
            let kind = paths.first().map_or("nothing", classify_path);
            let fails = !paths.is_empty() && world.draw_fault(Fault::DeleteFailed, kind);
            let gone = if fails { world.rng.index(paths.len() + 1) } else { paths.len() };
            for path in &paths[..gone] {
                crate::invariants::check_removed(&world, path);
                world.memory.delete(path).await?;
                world.log(|| format!("S3 removes {path}"));
                world.is_removed(path.as_ref());
            }
            sleep(world.rng.millis(1, 20)).await;
            process.count_request().await;
            if fails {
                return Err(no_answer_error(&paths[0], "DeleteObjects left a key, or did not answer"));
            }
            Ok(stream::iter(paths.into_iter().map(Ok)))
        };
        stream::once(call).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_pages(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_pages(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.process.count_request().await;
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.process.count_request().await;
        self.delay_request("other").await;
        let kind = classify_path(from);
        if self.world.draw_fault(Fault::CopyFailed, kind) {
            return Err(no_answer_error(from, "500 InternalError while copying"));
        }
        let copied = self.memory.copy_opts(from, to, options).await;
        if copied.is_ok() {
            self.world.log(|| format!("S3 copies {from} to {to}"));
            self.world.is_copied(from.as_ref());
            self.world.stamp(self.bucket, to, to.as_ref().as_bytes());
            if classify_path(to) == "landing" {
                self.queue.notify(to);
            }
        }
        self.process.count_request().await;
        copied
    }
}

/// Whether the ETag and the time of an object matter.
fn has_stamp(path: &Path) -> bool {
    matches!(classify_path(path), "inbox" | "sink")
}

/// Sets the ETag and the time of an object to those of S3.
fn stamp(world: &World, bucket: &'static str, meta: &mut ObjectMeta) {
    if let Some(stamp) = world.find_stamp(bucket, &meta.location)
        && has_stamp(&meta.location)
    {
        (meta.e_tag, meta.last_modified) = (Some(stamp.etag), stamp.at);
    }
}

impl Store {
    fn stamped(&self, meta: &mut ObjectMeta) {
        stamp(&self.world, self.bucket, meta);
    }

    /// Lists in pages, each read when it is requested ("ListObjectsV2", Amazon S3 API Reference).
    fn list_pages(
        &self,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (world, process, memory) = (self.world.clone(), self.process.clone(), self.memory.clone());
        let (prefix, bucket) = (prefix.cloned(), self.bucket);
        if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.as_ref().starts_with("landing/")) {
            *self.at_work_on.lock().unwrap_or_else(PoisonError::into_inner) = Some(prefix.clone());
        }
        let (at_work_on, offset) = (self.at_work_on.clone(), offset.cloned());
        let size = if world.scenario.paged_listings { world.rng.index(3) + 1 } else { usize::MAX };
        stream::try_unfold((offset.clone(), false), move |(after, is_over)| {
            let (world, process, prefix) = (world.clone(), process.clone(), prefix.clone());
            let (memory, at_work_on, offset) = (memory.clone(), at_work_on.clone(), offset.clone());
            async move {
                if is_over {
                    return Ok(None);
                }
                process.count_request().await;
                sleep(world.rng.millis(1, 60)).await;
                let kind = prefix.as_ref().map_or("all", |prefix| classify_path(&prefix.clone().join("x")));
                let mut metas: Vec<ObjectMeta> = memory.list(prefix.as_ref()).try_collect().await?;
                metas.iter_mut().for_each(|meta| stamp(&world, bucket, meta));
                metas.sort_by(|a, b| a.location.cmp(&b.location));
                if let Some(after) = &after {
                    metas.retain(|meta| meta.location > *after);
                }
                let at_work_on = at_work_on.lock().unwrap_or_else(PoisonError::into_inner).clone();
                mutation::filter_listing(
                    &world,
                    &process,
                    kind,
                    offset.as_ref(),
                    at_work_on.as_ref(),
                    &mut metas,
                );
                let is_over = metas.len() <= size;
                metas.truncate(size);
                if !is_over {
                    world.trace.count("listings in pages");
                }
                let next = metas.last().map(|meta| meta.location.clone()).or(after);
                let mut metas: Vec<Result<ObjectMeta>> = metas.into_iter().map(Ok).collect();
                if world.draw_fault(Fault::ListFailed, kind) {
                    // Part of a page may arrive before the failure.
                    metas.truncate(world.rng.index(metas.len() + 1));
                    metas.push(Err(no_answer_error(&prefix.unwrap_or_default(), "503 while listing")));
                }
                process.count_request().await;
                Ok::<_, Error>(Some((stream::iter(metas), (next, is_over))))
            }
        })
        .try_flatten()
        .boxed()
    }
}

/// Serves bytes like S3.
pub(crate) async fn serve_bytes(bytes: Bytes, options: GetOptions) -> Result<GetResult> {
    let (one, path) = (InMemory::new(), Path::from("serve_bytes"));
    one.put(&path, bytes.into()).await?;
    one.get_opts(&path, GetOptions { head: options.head, range: options.range, ..GetOptions::default() })
        .await
}
