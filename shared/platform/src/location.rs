//! Locations of lakes, contracts and query sets: a folder, or a prefix of an S3 bucket.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use pinlake_env::SystemClock;

use crate::aws;
use crate::folder::FolderStore;
use crate::releases::RELEASES;
use crate::s3::S3Store;
use crate::settings::{self, SettingError};

/// The most bytes of a file of a location that are read: four times as much as a contract may have.
const MAX_READ_BYTES: u64 = 1 << 20;

/// The name of a file, and its bytes or why it may not be read.
pub type NamedFile = (String, Result<Vec<u8>, String>);

/// A folder or an S3 prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A local folder.
    Folder(PathBuf),
    /// A prefix of a bucket.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Prefix without slashes at its ends; can be empty.
        prefix: String,
    },
}

/// A location cannot be parsed or read.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Neither a folder nor `s3://bucket[/prefix]`.
    #[error("{0:?} is not a location, use a folder, s3://bucket or s3://bucket/prefix")]
    Unknown(String),
    /// The folder cannot be created or read.
    #[error("folder {folder}: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Error of the file system.
        source: std::io::Error,
    },
    /// The store failed.
    #[error("{place}: {source}")]
    Store {
        /// The location.
        place: String,
        /// Error of the store.
        source: object_store::Error,
    },
    /// A text file is not UTF-8.
    #[error("{0} is not UTF-8 text")]
    NotText(String),
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(LocationError::Unknown(text.to_owned()));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() });
        }
        if text.is_empty() || text.contains("://") {
            return Err(LocationError::Unknown(text.to_owned()));
        }
        Ok(Self::Folder(PathBuf::from(text)))
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Location {
    /// Parses a required setting.
    ///
    /// # Errors
    /// When it is unset or invalid.
    pub fn from_setting(name: &'static str) -> Result<Self, SettingError> {
        Self::from_optional_setting(name)?.ok_or(SettingError::Missing(name))
    }

    /// Parses an optional setting.
    ///
    /// # Errors
    /// When it is invalid.
    pub fn from_optional_setting(name: &'static str) -> Result<Option<Self>, SettingError> {
        let Some(value) = settings::optional(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(location) => Ok(Some(location)),
            Err(why) => Err(SettingError::Invalid { name, why: format!("{why}"), value }),
        }
    }

    /// Opens the store at this location. Creates a folder that does not exist.
    ///
    /// # Errors
    /// When the folder cannot be created. S3 is not contacted yet.
    pub async fn open(&self) -> Result<Arc<dyn ObjectStore>, LocationError> {
        match self {
            Self::Folder(folder) => {
                let wrap = |source| LocationError::Folder { folder: folder.clone(), source };
                std::fs::create_dir_all(folder).map_err(wrap)?;
                let store = FolderStore::new(folder, Arc::new(SystemClock))
                    .map_err(|source| LocationError::Store { place: self.to_string(), source })?;
                Ok(Arc::new(store))
            }
            Self::S3 { bucket, prefix } => {
                let config = aws::load_config().await;
                let store = S3Store::new(s3_client(&config), bucket);
                if prefix.is_empty() {
                    return Ok(Arc::new(store));
                }
                Ok(Arc::new(PrefixStore::new(store, prefix.as_str())))
            }
        }
    }

    /// Whether this is the place of the releases of a lake: a folder or prefix that is called `releases`.
    pub fn is_releases(&self) -> bool {
        match self {
            Self::Folder(folder) => folder.file_name().is_some_and(|name| name == RELEASES),
            Self::S3 { prefix, .. } => prefix.rsplit('/').next() == Some(RELEASES),
        }
    }

    /// Reads the files directly at this location with the given extension: (name, bytes) pairs in the order of their
    /// names. Of a file that may not be read there is the reason instead; of a large file the beginning.
    ///
    /// # Errors
    /// When the location cannot be read.
    pub async fn read_files(&self, extension: &str) -> Result<Vec<NamedFile>, LocationError> {
        let wrap = |source| LocationError::Store { place: self.to_string(), source };
        let (store, files) = self.list_files(extension).await?;
        let mut found = Vec::with_capacity(files.len());
        for file in files {
            let read = match file.size {
                0 => Ok(Bytes::new()),
                size => store.get_range(&file.location, 0..size.min(MAX_READ_BYTES)).await,
            };
            let content = match read {
                Ok(bytes) => Ok(bytes.to_vec()),
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) if is_denied(&error) => Err(format!("the file may not be read: {error}")),
                // The store failed, and the next attempt may read it.
                Err(error) => return Err(wrap(error)),
            };
            found.push((Path::to_string(&file.location), content));
        }
        Ok(found)
    }

    /// Lists the files directly at this location with the given extension, in the order of their names.
    async fn list_files(
        &self,
        extension: &str,
    ) -> Result<(Arc<dyn ObjectStore>, Vec<ObjectMeta>), LocationError> {
        if let Self::Folder(folder) = self
            && let Err(source) = std::fs::read_dir(folder)
        {
            return Err(LocationError::Folder { folder: folder.clone(), source });
        }
        let wrap = |source| LocationError::Store { place: self.to_string(), source };
        let store = self.open().await?;
        let mut files = store.list(None).try_collect::<Vec<_>>().await.map_err(wrap)?;
        files.retain(|file| file.location.parts_count() == 1 && file.location.extension() == Some(extension));
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok((store, files))
    }

    /// Reads the files directly at this location with the given extension: (name, text) pairs in the order of their
    /// names.
    ///
    /// # Errors
    /// When the location cannot be read, or a file is not UTF-8.
    pub async fn read_texts(&self, extension: &str) -> Result<Vec<(String, String)>, LocationError> {
        let wrap = |source| LocationError::Store { place: self.to_string(), source };
        let (store, files) = self.list_files(extension).await?;
        let mut texts = Vec::with_capacity(files.len());
        for file in files {
            let bytes = store.get(&file.location).await.map_err(wrap)?.bytes().await.map_err(wrap)?;
            let name = Path::to_string(&file.location);
            let text = String::from_utf8(bytes.to_vec())
                .map_err(|_| LocationError::NotText(format!("{self}/{name}")))?;
            texts.push((name, text));
        }
        Ok(texts)
    }
}

/// Whether access to an object was refused, which another attempt does not change.
fn is_denied(error: &object_store::Error) -> bool {
    if matches!(error, object_store::Error::PermissionDenied { .. }) {
        return true;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::PermissionDenied;
        }
        cause = error.source();
    }
    false
}

/// Creates an S3 client. It uses path-style requests for a custom endpoint (such as MinIO), whose buckets have no host
/// names.
pub fn s3_client(config: &aws_config::SdkConfig) -> aws_sdk_s3::Client {
    let is_custom = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let settings = aws_sdk_s3::config::Builder::from(config).force_path_style(is_custom).build();
    aws_sdk_s3::Client::from_conf(settings)
}
