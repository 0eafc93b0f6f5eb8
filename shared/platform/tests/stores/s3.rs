//! S3 in the local stack. The tests use a bucket of their own, with versioning as for a lake's bucket.

use std::sync::Arc;
use std::{env, fs, process};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use pinlake_platform::s3::S3Store;
use serde_json::Value;
use tokio::sync::OnceCell;

static BUCKET: OnceCell<Option<Bucket>> = OnceCell::const_new();

pub struct Bucket {
    stack: Value,
    name: String,
}

/// The bucket of the tests. `None`, with a message, if there is no stack.
pub async fn bucket() -> Option<&'static Bucket> {
    let bucket = BUCKET.get_or_init(|| async {
        let file = env::var_os("PINLAKE_STACK")?;
        let stack = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let bucket = Bucket { stack, name: format!("stores-{}", process::id()) };
        let client = bucket.client();
        client.create_bucket().bucket(&bucket.name).send().await.unwrap();
        let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let versions = client.put_bucket_versioning().bucket(&bucket.name).versioning_configuration(versions);
        versions.send().await.unwrap();
        Some(bucket)
    });
    let bucket = bucket.await.as_ref();
    if bucket.is_none() {
        eprintln!(
            "skipped: PINLAKE_STACK is not set; `make up`, then PINLAKE_STACK=$PWD/target/demo/stack.json cargo test"
        );
    }
    bucket
}

impl Bucket {
    /// Creates a client for one test, because connections belong to the runtime of their test.
    fn client(&self) -> Client {
        let settings = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.stack["region"].as_str().unwrap().to_owned()))
            .endpoint_url(self.stack["endpoint"].as_str().unwrap())
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .force_path_style(true);
        Client::from_conf(settings.build())
    }

    fn store(&self) -> S3Store {
        S3Store::new(self.client(), &self.name)
    }

    /// Opens a prefix of the bucket as a store.
    pub fn open_prefix(&self, prefix: &str) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(self.store(), prefix))
    }
}

#[tokio::test]
async fn a_delete_marker_hides_an_object_and_keeps_its_version() {
    let Some(bucket) = bucket().await else { return };
    let (store, path) = (bucket.store(), Path::from("marked/x"));
    store.put(&path, "1".into()).await.unwrap();
    store.delete(&path).await.unwrap();
    let got = store.get(&path).await.map(drop);
    assert!(matches!(got, Err(Error::NotFound { .. })), "{got:?}");
    let versions = bucket.client().list_object_versions().bucket(&bucket.name).prefix("marked/");
    let versions = versions.send().await.unwrap();
    assert_eq!((versions.versions().len(), versions.delete_markers().len()), (1, 1));
}
