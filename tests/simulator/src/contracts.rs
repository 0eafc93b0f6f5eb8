//! The datasets of the simulated world: one for each kind of identity, small so that a run is quick.

use std::sync::{Arc, LazyLock};

use pinlake_schema::Catalog;

/// Datasets that clients send to.
pub const DATASETS: [&str; 3] = ["visit", "click", "page"];

/// A deployment's contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// What every world begins with.
    First,
    /// A cleaning rule of `page` differs: what has landed must be cleaned again. No key changes.
    Recleaned,
    /// The identity of `visit` differs: its table must refuse it.
    Rekeyed,
    /// `visit` takes records without an id, which were quarantined before. In no drawn world: see docs/faults.md.
    Loosened,
}

/// The contracts of a release.
pub fn catalog(release: Release) -> Arc<Catalog> {
    static ALL: LazyLock<[Arc<Catalog>; 4]> = LazyLock::new(|| {
        [Release::First, Release::Recleaned, Release::Rekeyed, Release::Loosened].map(build)
    });
    ALL[release as usize].clone()
}

#[expect(clippy::expect_used, reason = "the texts are constants of this file")]
fn build(release: Release) -> Arc<Catalog> {
    let identity = |dataset| match (dataset, release) {
        ("click", _) => "\"record\"",
        ("page", _) => "[\"id\"]",
        (_, Release::Rekeyed) => "[\"id\"]",
        _ => "\"row\"",
    };
    let null =
        |dataset| if dataset == "page" && release == Release::Recleaned { "\"-\", \"?\"" } else { "\"-\"" };
    let mut files: Vec<(String, String)> = DATASETS
        .iter()
        .map(|dataset| {
            let text = format!(
                "name = \"{dataset}\"\nversion = 1\ndescription = \"A dataset.\"\nidentity = {}\n\
                 [route]\ntopics = [\"*.{dataset}\"]\npartition_keys = [\"{dataset}\"]\nshape = [\"{dataset}\"]\n\
                 [[column]]\nname = \"id\"\ntype = \"int64\"\nfrom = [\"{dataset}\"]\nrequired = {}\n\
                 [[column]]\nname = \"note\"\ntype = \"string\"\nnull = [{}]\n",
                identity(*dataset),
                !(*dataset == "visit" && release == Release::Loosened),
                null(*dataset),
            );
            (format!("{dataset}.toml"), text)
        })
        .collect();
    files.push(("_routes.toml".to_owned(), "shared_streams = [\"shared\"]\n".to_owned()));
    Arc::new(Catalog::from_files(files).expect("the contracts are right"))
}
