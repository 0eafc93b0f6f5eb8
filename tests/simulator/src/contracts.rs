//! The datasets of the simulated world: one for each kind of identity, small so that a run is quick.

use std::sync::{Arc, LazyLock};

use pinlake_schema::Catalog;

/// Datasets that clients send to.
pub const DATASETS: [&str; 4] = ["visit", "click", "page", "draft"];

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
    /// Knows nothing of `draft`, which every other release has: it comes with a deploy, or goes.
    Withdrawn,
}

/// The contracts of a release.
pub fn catalog(release: Release) -> Arc<Catalog> {
    const RELEASES: [Release; 5] =
        [Release::First, Release::Recleaned, Release::Rekeyed, Release::Lenient, Release::Withdrawn];
    static ALL: LazyLock<[Arc<Catalog>; 5]> = LazyLock::new(|| RELEASES.map(build));
    ALL[release as usize].clone()
}

#[expect(clippy::expect_used, reason = "the texts are constants of this file")]
fn build(release: Release) -> Arc<Catalog> {
    let identity = |dataset| match (dataset, release) {
        ("click", _) => "\"record\"",
        ("page", _) => "[\"id\"]",
        ("visit", Release::Rekeyed) => "[\"id\"]",
        _ => "\"row\"",
    };
    let null =
        |dataset| if dataset == "page" && release == Release::Recleaned { "\"-\", \"?\"" } else { "\"-\"" };
    let flag = if release == Release::Lenient { "\"-\", \"maybe\"" } else { "\"-\"" };
    let mut files: Vec<(String, String)> = DATASETS
        .iter()
        .filter(|dataset| **dataset != "draft" || release != Release::Withdrawn)
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

/// A good record of `draft`, which [`Release::Withdrawn`] quarantines.
pub fn draft(id: u64) -> String {
    format!("{{\"draft\":{id},\"note\":\"note {id}\"}}")
}

/// The ids of drafts that are sent under the name of their dataset.
pub const NAMED_DRAFTS: std::ops::RangeInclusive<u64> = 600..=610;
/// The ids of drafts that nobody names a dataset for. They are others: the same bytes sent in both ways are two records.
pub const NAMELESS_DRAFTS: std::ops::RangeInclusive<u64> = 611..=620;

/// What a record would say in its table that one release takes, and another quarantines.
pub fn content_of_wavering(raw: &[u8]) -> Option<String> {
    let page = WAVERING.into_iter().find(|id| wavering(*id).as_bytes() == raw).map(|id| format!("page/{id}"));
    let drafts = || (*NAMED_DRAFTS.start()..=*NAMELESS_DRAFTS.end()).find(|id| draft(*id).as_bytes() == raw);
    page.or_else(|| drafts().map(|id| format!("draft/{id}")))
}

/// A record of `draft` that no release takes.
pub fn bad_draft(number: u64, is_named: bool) -> String {
    format!("{{\"draft\":\"{} {number}\"}}", if is_named { "named" } else { "nameless" })
}

/// Whether [`bad_draft`] made a record: it is quarantined under its dataset, and under none while there is no such one.
pub fn is_bad_draft(raw: &[u8]) -> bool {
    raw.starts_with(b"{\"draft\":\"")
}
