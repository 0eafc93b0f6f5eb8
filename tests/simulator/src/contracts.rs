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
    /// `page` takes records whose flag is "maybe", which every other release quarantines ([`wavering`]).
    Lenient,
}

/// The contracts of a release.
pub fn catalog(release: Release) -> Arc<Catalog> {
    static ALL: LazyLock<[Arc<Catalog>; 4]> =
        LazyLock::new(|| [Release::First, Release::Recleaned, Release::Rekeyed, Release::Lenient].map(build));
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
    let flag = if release == Release::Lenient { "\"-\", \"maybe\"" } else { "\"-\"" };
    let mut files: Vec<(String, String)> = DATASETS
        .iter()
        .map(|dataset| {
            let text = format!(
                "name = \"{dataset}\"\nversion = 1\ndescription = \"A dataset.\"\nidentity = {}\n\
                 [route]\ntopics = [\"*.{dataset}\"]\npartition_keys = [\"{dataset}\"]\nshape = [\"{dataset}\"]\n\
                 [[column]]\nname = \"id\"\ntype = \"int64\"\nfrom = [\"{dataset}\"]\nrequired = true\n\
                 [[column]]\nname = \"note\"\ntype = \"string\"\nnull = [{}]\n",
                identity(*dataset),
                null(*dataset),
            );
            let text = match *dataset {
                "page" => format!("{text}[[column]]\nname = \"flag\"\ntype = \"boolean\"\nnull = [{flag}]\n"),
                _ => text,
            };
            (format!("{dataset}.toml"), text)
        })
        .collect();
    files.push(("_routes.toml".to_owned(), "shared_streams = [\"shared\"]\n".to_owned()));
    Arc::new(Catalog::from_files(files).expect("the contracts are right"))
}

/// A record of `page` that one release takes and the others quarantine.
pub fn wavering(id: u64) -> String {
    format!("{{\"page\":{id},\"flag\":\"maybe\"}}")
}

/// The ids of such records; no other record has one of them.
pub const WAVERING: std::ops::RangeInclusive<u64> = 500..=520;

/// The id of a record that [`wavering`] made.
pub fn wavering_id(raw: &[u8]) -> Option<u64> {
    WAVERING.into_iter().find(|id| wavering(*id).as_bytes() == raw)
}
