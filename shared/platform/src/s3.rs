//! An S3 bucket as an [`ObjectStore`], through the AWS SDK.
//!
//! The lake uses the `object_store` trait, so it works the same on a folder, on S3 and on the simulator's faulty store.
//! This is not `object_store`'s own S3 client, because the AWS SDK supports every credential source that users expect,
//! and because the commit protocol needs the difference between 412 (the object exists) and 409 (the outcome is
//! unknown; S3 User Guide, "Conditional requests").

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTimeFormat};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const STORE: &str = "S3";
/// Limit of keys in a DeleteObjects request (S3 API Reference).
const DELETE_BATCH: usize = 1000;
/// Characters that are percent-encoded in the header `x-amz-copy-source`.
const COPY_SOURCE_ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: Arc<str>,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)
    }
}

impl S3Store {
    /// Opens a bucket. Does not contact S3.
    pub fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.into() }
    }

    fn list_pages(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let pages = self
            .client
            .list_objects_v2()
            .bucket(self.bucket.as_ref())
            .set_prefix(to_s3_prefix(prefix))
            .set_start_after(after.map(ToString::to_string))
            .into_paginator()
            .send();
        let bucket = Arc::clone(&self.bucket);
        stream::try_unfold(pages, |mut pages| async move {
            match pages.next().await {
                None => Ok(None),
                Some(Err(error)) => Err(failure("ListObjectsV2", "", error)),
                Some(Ok(page)) => Ok(Some((page, pages))),
            }
        })
        .map_ok(move |page| {
            let objects = page.contents.unwrap_or_default();
            let listed: Vec<_> =
                objects.iter().filter_map(|object| listed(&bucket, object).transpose()).collect();
            stream::iter(listed)
        })
        .try_flatten()
        .boxed()
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let mut request = self
            .client
            .put_object()
            .bucket(self.bucket.as_ref())
            .key(location.as_ref())
            .body(ByteStream::from(Bytes::from(payload)));
        match &opts.mode {
            PutMode::Overwrite => {}
            PutMode::Create => request = request.if_none_match("*"),
            PutMode::Update(version) => {
                // Without an ETag the put would overwrite any object.
                let e_tag = version.e_tag.as_ref().ok_or_else(|| incomplete("PutObject", "an ETag"))?;
                request = request.if_match(e_tag);
            }
        }
        match request.send().await {
            Ok(answer) => Ok(PutResult { e_tag: answer.e_tag, version: answer.version_id }),
            Err(error) => {
                let no_such_key =
                    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchKey");
                Err(match (failure("PutObject", location.as_ref(), error), &opts.mode) {
                    (Error::Precondition { path, source }, PutMode::Create) => {
                        Error::AlreadyExists { path, source }
                    }
                    // S3 returns this for If-Match if the object does not exist.
                    (Error::NotFound { path, source }, PutMode::Update(_)) if no_such_key => {
                        Error::Precondition { path, source }
                    }
                    (other, _) => other,
                })
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let started = self
            .client
            .create_multipart_upload()
            .bucket(self.bucket.as_ref())
            .key(location.as_ref())
            .send()
            .await
            .map_err(|error| failure("CreateMultipartUpload", location.as_ref(), error))?;
        let id = started.upload_id.ok_or_else(|| incomplete("CreateMultipartUpload", "UploadId"))?;
        Ok(Box::new(Upload {
            store: self.clone(),
            key: location.to_string(),
            id,
            parts: Arc::default(),
            next: 1,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = options.range.as_ref().map(|range| match range {
            GetRange::Bounded(range) => format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
            GetRange::Offset(offset) => format!("bytes={offset}-"),
            GetRange::Suffix(last) => format!("bytes=-{last}"),
        });
        if options.head {
            let head = self
                .client
                .head_object()
                .bucket(self.bucket.as_ref())
                .key(location.as_ref())
                .set_if_match(options.if_match)
                .set_if_none_match(options.if_none_match)
                .send()
                .await
                .map_err(|error| failure("HeadObject", location.as_ref(), error))?;
            let size = whole(head.content_length, "HeadObject")?;
            let meta = meta(location.clone(), size, head.e_tag, head.version_id, head.last_modified.as_ref());
            let payload = GetResultPayload::Stream(stream::empty().boxed());
            return Ok(GetResult { payload, meta, range: 0..size, attributes: Attributes::new() });
        }
        let got = self
            .client
            .get_object()
            .bucket(self.bucket.as_ref())
            .key(location.as_ref())
            .set_range(range)
            .set_if_match(options.if_match)
            .set_if_none_match(options.if_none_match)
            .set_version_id(options.version)
            .send()
            .await
            .map_err(|error| failure("GetObject", location.as_ref(), error))?;
        let length = whole(got.content_length, "GetObject")?;
        let (range, size) = match &got.content_range {
            Some(text) => content_range(text).ok_or_else(|| incomplete("GetObject", "Content-Range"))?,
            None => (0..length, length),
        };
        let meta = meta(location.clone(), size, got.e_tag, got.version_id, got.last_modified.as_ref());
        let key = location.to_string();
        let chunks = stream::try_unfold(got.body, move |mut body| {
            let key = key.clone();
            async move {
                match body.try_next().await {
                    Ok(Some(chunk)) => Ok(Some((chunk, body))),
                    Ok(None) => Ok(None),
                    Err(error) => {
                        Err(Error::Generic { store: STORE, source: format!("reading {key}: {error}").into() })
                    }
                }
            }
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(chunks.boxed()),
            meta,
            range,
            attributes: Attributes::new(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .try_chunks(DELETE_BATCH)
            .map_err(|error| error.1)
            .and_then(move |paths| {
                let store = store.clone();
                async move {
                    let mut objects = Vec::with_capacity(paths.len());
                    for path in &paths {
                        let object = ObjectIdentifier::builder().key(path.as_ref()).build();
                        objects
                            .push(object.map_err(|error| incomplete("DeleteObjects", &error.to_string()))?);
                    }
                    let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
                    let delete = delete.map_err(|error| incomplete("DeleteObjects", &error.to_string()))?;
                    let answer = store
                        .client
                        .delete_objects()
                        .bucket(store.bucket.as_ref())
                        .delete(delete)
                        .send()
                        .await
                        .map_err(|error| failure("DeleteObjects", "", error))?;
                    if let Some(error) = answer.errors().first() {
                        let key = error.key().unwrap_or_default();
                        let code = error.code().unwrap_or_default();
                        return Err(Error::Generic {
                            store: STORE,
                            source: format!("DeleteObjects left {key}: {code}").into(),
                        });
                    }
                    Ok(stream::iter(paths.into_iter().map(Ok)))
                }
            })
            .try_flatten()
            .boxed()
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
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(self.bucket.as_ref())
            .set_prefix(to_s3_prefix(prefix))
            .delimiter("/")
            .into_paginator()
            .send();
        let mut result = ListResult { common_prefixes: vec![], objects: vec![] };
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ListObjectsV2", "", error))?;
            for prefix in page.common_prefixes() {
                let folder = prefix.prefix().and_then(|prefix| prefix.strip_suffix('/'));
                result.common_prefixes.extend(folder.and_then(|folder| path_of(&self.bucket, folder)));
            }
            for object in page.contents() {
                result.objects.extend(listed(&self.bucket, object)?);
            }
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if options.mode == CopyMode::Create {
            return Err(Error::NotSupported {
                source: "S3 has no conditional copy here: get and put".into(),
            });
        }
        // S3 decodes the header, which can hold ASCII only.
        let source = format!("{}/{}", self.bucket, utf8_percent_encode(from.as_ref(), COPY_SOURCE_ENCODED));
        self.client
            .copy_object()
            .bucket(self.bucket.as_ref())
            .key(to.as_ref())
            .copy_source(source)
            .send()
            .await
            .map_err(|error| failure("CopyObject", from.as_ref(), error))?;
        Ok(())
    }
}

/// A multipart upload.
struct Upload {
    store: S3Store,
    key: String,
    id: String,
    parts: Arc<std::sync::Mutex<Vec<CompletedPart>>>,
    next: i32,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = self.next;
        self.next += 1;
        let (store, key, id, parts) =
            (self.store.clone(), self.key.clone(), self.id.clone(), self.parts.clone());
        Box::pin(async move {
            let sent = store
                .client
                .upload_part()
                .bucket(store.bucket.as_ref())
                .key(&key)
                .upload_id(id)
                .part_number(number)
                .body(ByteStream::from(Bytes::from(data)))
                .send()
                .await
                .map_err(|error| failure("UploadPart", &key, error))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build();
            parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(part);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut parts =
            std::mem::take(&mut *self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        parts.sort_by_key(|part| part.part_number);
        let answer = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(self.store.bucket.as_ref())
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await
            .map_err(|error| failure("CompleteMultipartUpload", &self.key, error))?;
        Ok(PutResult { e_tag: answer.e_tag, version: answer.version_id })
    }

    async fn abort(&mut self) -> Result<()> {
        self.store
            .client
            .abort_multipart_upload()
            .bucket(self.store.bucket.as_ref())
            .key(&self.key)
            .upload_id(&self.id)
            .send()
            .await
            .map_err(|error| failure("AbortMultipartUpload", &self.key, error))?;
        Ok(())
    }
}

/// Converts a prefix: those of `object_store` are whole path segments, those of S3 are strings.
fn to_s3_prefix(prefix: Option<&Path>) -> Option<String> {
    prefix.filter(|prefix| !prefix.as_ref().is_empty()).map(|prefix| format!("{prefix}/"))
}

fn listed(bucket: &str, object: &aws_sdk_s3::types::Object) -> Result<Option<ObjectMeta>> {
    // A key that ends in a slash is a folder marker of the console.
    let Some(key) = object.key().filter(|key| !key.ends_with('/')) else {
        return Ok(None);
    };
    let Some(location) = path_of(bucket, key) else { return Ok(None) };
    let size = whole(object.size, "ListObjectsV2")?;
    Ok(Some(meta(location, size, object.e_tag.clone(), None, object.last_modified.as_ref())))
}

/// Converts a key to a path; `None` for a key that is not a valid path (empty segments, `.`, `..` or control
/// characters). pinlake writes no such keys. Uploads with such keys must not block the objects next to them.
fn path_of(bucket: &str, key: &str) -> Option<Path> {
    let path = Path::parse(key).ok().filter(|path| path.as_ref() == key);
    if path.is_none() {
        tracing::error!(
            bucket,
            key,
            "object passed over: copy it to a key without empty parts, `.`, `..` and control characters"
        );
    }
    path
}

fn meta(
    location: Path,
    size: u64,
    e_tag: Option<String>,
    version: Option<String>,
    modified: Option<&aws_sdk_s3::primitives::DateTime>,
) -> ObjectMeta {
    let last_modified = modified
        .and_then(|at| at.fmt(DateTimeFormat::DateTime).ok())
        .and_then(|text| text.parse::<DateTime<Utc>>().ok())
        .unwrap_or(DateTime::UNIX_EPOCH);
    ObjectMeta { location, last_modified, size, e_tag, version }
}

fn whole(length: Option<i64>, operation: &str) -> Result<u64> {
    length.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| incomplete(operation, "a length"))
}

/// `bytes 0-9/100` -> (0..10, 100)
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()? + 1, size.parse().ok()?))
}

fn incomplete(operation: &str, what: &str) -> Error {
    Error::Generic {
        store: STORE,
        source: format!("{operation}: the response or request lacks {what}").into(),
    }
}

/// Converts an SDK error by its HTTP status. After an [`Error::Generic`] it is unknown whether the request took effect:
/// time-outs, 5xx, and 409 for a concurrent conditional put.
fn failure<E>(operation: &str, path: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let detail = aws_sdk_s3::error::DisplayErrorContext(&error).to_string();
    let source = format!("{operation} of {path:?} answered {status:?} {code}: {detail}").into();
    let path = path.to_string();
    match status {
        Some(404) => Error::NotFound { path, source },
        Some(412) => Error::Precondition { path, source },
        Some(304) => Error::NotModified { path, source },
        Some(401) => Error::Unauthenticated { path, source },
        Some(403) => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: STORE, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_content_range() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5..10, 100)));
        assert_eq!(content_range("bytes */100"), None);
    }

    #[test]
    fn keys_that_are_not_valid_paths_are_skipped() {
        let of = |key: &str| {
            let object = aws_sdk_s3::types::Object::builder().key(key).size(1).build();
            listed("lake", &object).unwrap().map(|meta| meta.location.to_string())
        };
        for key in ["inbox/user/a.csv", "inbox/ao\u{f1}o +%41.csv", "inbox/a~{b}#*?.csv"] {
            assert_eq!(of(key).as_deref(), Some(key));
        }
        for key in [
            "inbox//a.csv",
            "inbox/./a.csv",
            "inbox/../a.csv",
            "inbox/a\n.csv",
            "/inbox/a.csv",
            "inbox/user/",
        ] {
            assert_eq!(of(key), None, "{key}");
        }
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        assert_eq!(to_s3_prefix(Some(&Path::from("landing/pin"))), Some("landing/pin/".to_owned()));
        assert_eq!(to_s3_prefix(Some(&Path::default())), None);
    }
}
