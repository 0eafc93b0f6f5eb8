use std::convert::Infallible;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_env::ManualClock;

use super::*;
use crate::releases::ReleaseFiles;

struct World {
    lake: tempfile::TempDir,
    clock: Arc<ManualClock>,
    releases: Releases,
    store: Arc<dyn ObjectStore>,
}

impl World {
    async fn new() -> World {
        let lake = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-28T12:00:00Z".parse().unwrap()));
        let store = Location::Folder(lake.path().to_owned()).open().await.unwrap();
        World { releases: Releases::of_lake(store.clone()), lake, clock, store }
    }

    fn location(&self) -> Location {
        self.lake.path().join("releases").to_str().unwrap().parse().unwrap()
    }

    async fn open(&self) -> Result<Deployment, DeploymentError> {
        let place = || Some(self.location());
        Deployment::open(place(), place(), self.clock.clone(), accept).await
    }

    async fn release(&self, contract: &str) -> String {
        let files = ReleaseFiles {
            datasets: vec![("visit.toml".to_owned(), contract.to_owned())],
            queries: vec![("q.sql".to_owned(), "SELECT 1".to_owned())],
        };
        self.releases.create(&files, self.clock.now()).await.unwrap().0.id
    }

    async fn switch(&self, id: &str) {
        let read = self.releases.read_pointer().await.unwrap();
        self.releases.switch(&read, Some(id.to_owned()), self.clock.now()).await.unwrap();
    }
}

const VISIT: &str = "name = \"visit\"\nversion = 1\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\n";

fn accept(_: &Deployed) -> Result<(), Infallible> {
    Ok(())
}

fn release_of(deployed: &Deployed) -> Result<Option<String>, Infallible> {
    Ok(deployed.release.clone())
}

#[tokio::test]
async fn without_a_release_the_built_in_contracts_are_deployed_and_the_first_one_is_taken_over() {
    let world = World::new().await;
    let mut deployment = world.open().await.unwrap();
    let built_in = Catalog::embedded().unwrap();
    assert_eq!(deployment.catalog().hash(), built_in.hash());
    assert!(deployment.deployed().queries.is_none() && deployment.count_problems() == 0);
    let id = world.release(VISIT).await;
    world.switch(&id).await;
    assert_eq!(deployment.refresh(release_of).await, None, "it has just looked");
    world.clock.advance(INTERVAL);
    assert_eq!(deployment.refresh(release_of).await, Some(Some(id.clone())));
    assert!(deployment.catalog().contract("visit").is_some());
    assert_eq!(deployment.deployed().queries.as_ref().unwrap().len(), 1);
    world.clock.advance(INTERVAL);
    assert_eq!(deployment.refresh(release_of).await, None, "nothing has changed");
    // A function that starts now has the release from the beginning.
    assert_eq!(world.open().await.unwrap().deployed().release, Some(id));
    let read = world.releases.read_pointer().await.unwrap();
    world.releases.roll_back(&read, world.clock.now()).await.unwrap();
    world.clock.advance(INTERVAL);
    assert_eq!(deployment.refresh(release_of).await, Some(None));
    assert_eq!(deployment.catalog().hash(), built_in.hash());
}

#[tokio::test]
async fn a_release_that_cannot_be_taken_over_leaves_the_current_one() {
    let world = World::new().await;
    let first = world.release(VISIT).await;
    world.switch(&first).await;
    let mut deployment = world.open().await.unwrap();
    let second = world.release(&VISIT.replace("visitor", "guest")).await;
    world.switch(&second).await;
    let path = Path::from(format!("releases/{second}/datasets/visit.toml"));
    let text = world.store.get(&path).await.unwrap().bytes().await.unwrap();
    world.store.delete(&path).await.unwrap();
    for _ in 0..2 {
        world.clock.advance(INTERVAL);
        assert_eq!(deployment.refresh(release_of).await, None);
        assert_eq!(
            (deployment.deployed().release.as_deref(), deployment.count_problems()),
            (Some(&*first), 1)
        );
    }
    // A function that starts meanwhile has the release from before, too.
    let mut started = world.open().await.unwrap();
    assert_eq!((started.deployed().release.as_deref(), started.count_problems()), (Some(&*first), 1));
    let refuse = |new: &Deployed| match new.release.as_deref() == Some(&*first) {
        true => Err("no"),
        false => Ok(()),
    };
    let built_in = Deployment::open(Some(world.location()), None, world.clock.clone(), refuse).await.unwrap();
    assert_eq!((built_in.deployed().release.as_deref(), built_in.count_problems()), (None, 1));
    world.store.put(&path, text.into()).await.unwrap();
    world.clock.advance(INTERVAL);
    let refused = deployment.refresh(|_| Err::<(), _>("a key names a dataset that it does not have")).await;
    assert_eq!((refused, deployment.count_problems()), (None, 1));
    world.clock.advance(INTERVAL);
    for deployment in [&mut deployment, &mut started] {
        assert_eq!(deployment.refresh(release_of).await, Some(Some(second.clone())));
        assert_eq!(deployment.count_problems(), 0);
    }
}

#[tokio::test]
async fn a_pointer_that_cannot_be_read_counts_after_a_minute_and_is_read_again() {
    let world = World::new().await;
    let first = world.release(VISIT).await;
    world.switch(&first).await;
    let mut deployment = world.open().await.unwrap();
    let path = Path::from("releases/current");
    let pointer = world.store.get(&path).await.unwrap().bytes().await.unwrap();
    world.store.put(&path, "junk".into()).await.unwrap();
    for problems in [0, 0, 1] {
        world.clock.advance(INTERVAL);
        assert_eq!(deployment.refresh(release_of).await, None);
        assert_eq!(deployment.count_problems(), problems);
    }
    assert!(world.open().await.is_err());
    world.store.put(&path, pointer.into()).await.unwrap();
    world.clock.advance(INTERVAL);
    assert_eq!(deployment.refresh(release_of).await, None);
    assert_eq!(deployment.count_problems(), 0);
    // Without a pointer, a warm function does not fall back to what is built in.
    world.store.delete(&path).await.unwrap();
    world.clock.advance(INTERVAL);
    assert_eq!(deployment.refresh(release_of).await, None);
    assert_eq!((deployment.deployed().release.as_deref(), deployment.count_problems()), (Some(&*first), 1));
}

#[tokio::test]
async fn a_folder_may_have_broken_contracts_and_files_that_are_not_text() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("visit.toml", VISIT.as_bytes()), ("order.toml", b"\xff"), ("page.toml", b"name = \"page\"\n")]
    {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::write(folder.path().join("large.toml"), "#".repeat(2 << 20)).unwrap();
    let clock = Arc::new(ManualClock::at("2026-11-28T12:00:00Z".parse().unwrap()));
    let location = Some(Location::Folder(folder.path().to_owned()));
    let mut deployment = Deployment::open(location.clone(), None, clock.clone(), accept).await.unwrap();
    assert_eq!(deployment.count_problems(), 3);
    let broken = |name: &str| deployment.catalog().contract(name).map(|own| own.broken().is_some());
    assert_eq!(
        [broken("visit"), broken("order"), broken("page"), broken("large")],
        [Some(false), Some(true), Some(true), Some(true)]
    );
    clock.advance(INTERVAL);
    assert_eq!(deployment.refresh(release_of).await, None, "a folder is read at the start only");
    let other = Some("s3://other/releases".parse().unwrap());
    let lake = Some("s3://lake/releases".parse().unwrap());
    assert!(matches!(Deployment::open(lake, other, clock, accept).await, Err(DeploymentError::TwoLakes)));
}
