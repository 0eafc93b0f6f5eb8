//! The contracts of the simulation: one dataset for each kind of identity and of route, with few columns.

use std::sync::{Arc, LazyLock};

use pinlake_schema::Catalog;

/// The datasets that clients post to.
pub const DATASETS: [&str; 4] = ["visit", "click", "page", "draft"];
/// The dataset that only topic and file names identify, not a shape or a partition key.
pub const MEMO: &str = "memo";
/// The dataset that keeps the latest record, which only [`CatalogVersion::Latest`] has.
pub const ORDER: &str = "order";
/// The topic of [`MEMO`].
pub const TOPIC: &str = "0a1b.memo";

/// A version of the catalog that can be deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogVersion {
    /// The catalog at the start of every run.
    First,
    /// Changes a cleaning rule of `page`: landed records must be cleaned again. No key changes.
    Recleaned,
    /// Changes the identity of `visit`: its table must reject it.
    Rekeyed,
    /// `page` and `click` accept records whose flag is "maybe", which all other versions quarantine ([`borderline`]).
    Lenient,
    /// Lacks `draft`, which all other versions have.
    Withdrawn,
    /// Assigns other topics and files to `memo`. Nothing else changes.
    Renamed,
    /// Adds the dataset `twin`, whose shape some drafts have too ([`sketch`]), so that they are ambiguous.
    Ambiguous,
    /// Adds a column to `visit`, for which many records have a value ([`more`]): its rows have to gain the values. It is the last one to be
    /// deployed, because the table then refuses the others, whose `id` is narrower.
    Extended,
    /// Like [`CatalogVersion::Extended`], and changes a rule of the key of `visit`: each record has another key than before.
    Reruled,
    /// Adds the dataset [`ORDER`]. It is deployed at the beginning.
    Latest,
}

impl CatalogVersion {
    /// Those that can be deployed in any order.
    pub const EXCHANGEABLE: [CatalogVersion; 7] = [
        CatalogVersion::First,
        CatalogVersion::Recleaned,
        CatalogVersion::Rekeyed,
        CatalogVersion::Lenient,
        CatalogVersion::Withdrawn,
        CatalogVersion::Renamed,
        CatalogVersion::Ambiguous,
    ];
}

/// The contracts of a version.
pub fn catalog(catalog_version: CatalogVersion) -> Arc<Catalog> {
    static EXCHANGEABLE: LazyLock<[Arc<Catalog>; 7]> =
        LazyLock::new(|| CatalogVersion::EXCHANGEABLE.map(build));
    static EXTENDED: LazyLock<Arc<Catalog>> = LazyLock::new(|| build(CatalogVersion::Extended));
    static RERULED: LazyLock<Arc<Catalog>> = LazyLock::new(|| build(CatalogVersion::Reruled));
    static LATEST: LazyLock<Arc<Catalog>> = LazyLock::new(|| build(CatalogVersion::Latest));
    match catalog_version {
        CatalogVersion::Extended => EXTENDED.clone(),
        CatalogVersion::Reruled => RERULED.clone(),
        CatalogVersion::Latest => LATEST.clone(),
        other => EXCHANGEABLE[other as usize].clone(),
    }
}

#[expect(clippy::expect_used, reason = "the texts are constants of this file")]
fn build(catalog_version: CatalogVersion) -> Arc<Catalog> {
    let is_extended = matches!(catalog_version, CatalogVersion::Extended | CatalogVersion::Reruled);
    let identity = |dataset| match (dataset, catalog_version) {
        ("click", _) => "\"record\"",
        ("page" | "memo" | ORDER, _) => "[\"id\"]",
        ("visit", CatalogVersion::Rekeyed) => "[\"id\"]",
        _ => "\"row\"",
    };
    let null = |dataset| {
        if dataset == "page" && catalog_version == CatalogVersion::Recleaned {
            "\"-\", \"?\""
        } else {
            "\"-\""
        }
    };
    let flag = if catalog_version == CatalogVersion::Lenient { "\"-\", \"maybe\"" } else { "\"-\"" };
    let route = |dataset: &str| match dataset {
        "memo" if catalog_version == CatalogVersion::Renamed => {
            "topics = [\"*.renamed\"]\nfiles = [\"renamed*\"]".to_owned()
        }
        "memo" => "topics = [\"*.memo\"]\nfiles = [\"memo*\"]".to_owned(),
        "twin" => "shape = [\"sketch\"]".to_owned(),
        _ => format!(
            "topics = [\"*.{dataset}\"]\npartition_keys = [\"{dataset}\"]\nshape = [\"{dataset}\"]\n\
             files = [\"{dataset}*\"]"
        ),
    };
    let mut datasets = vec!["visit", "click", "page", "memo"];
    if catalog_version != CatalogVersion::Withdrawn {
        datasets.push("draft");
    }
    if catalog_version == CatalogVersion::Ambiguous {
        datasets.push("twin");
    }
    if catalog_version == CatalogVersion::Latest {
        datasets.push(ORDER);
    }
    let mut files: Vec<(String, String)> = datasets
        .into_iter()
        .map(|dataset| {
            let is_narrow = dataset == "visit" && !is_extended;
            let id_type = if is_narrow { "int32" } else { "int64" };
            let text = format!(
                "name = \"{dataset}\"\nversion = 1\ndescription = \"A dataset.\"\nidentity = {}\n\
                 [route]\n{}\n\
                 [[column]]\nname = \"id\"\ntype = \"{id_type}\"\nfrom = [\"{dataset}\"]\nrequired = true\n\
                 [[column]]\nname = \"note\"\ntype = \"string\"\nnull = [{}]\n{}",
                identity(dataset),
                route(dataset),
                null(dataset),
                if catalog_version == CatalogVersion::Reruled { "case = \"upper\"\n" } else { "" },
            );
            let text = match dataset {
                "page" | "click" => {
                    format!("{text}[[column]]\nname = \"flag\"\ntype = \"boolean\"\nnull = [{flag}]\n")
                }
                ORDER => {
                    // A later record has its row in another partition.
                    let keep = "keep = { latest_by = [\"version\"], delete_when = { op = \"d\" } }\n\
                                partition_by = [\"version\"]\n[route]";
                    let text = text.replacen("[route]", keep, 1);
                    format!("{text}[[column]]\nname = \"version\"\ntype = \"int64\"\n")
                }
                "visit" if is_extended => {
                    format!("{text}[[column]]\nname = \"more\"\ntype = \"string\"\n")
                }
                _ => text,
            };
            (format!("{dataset}.toml"), text)
        })
        .collect();
    files.push(("_routes.toml".to_owned(), "shared_streams = [\"shared\"]\n".to_owned()));
    Arc::new(Catalog::from_files(files).expect("the contracts are right"))
}

/// The value that a record of `dataset` has for the column that [`CatalogVersion::Extended`] and [`CatalogVersion::Reruled`] add. All records with one id have the same.
pub fn more(dataset: &str, id: u64) -> Option<&'static str> {
    let has_more = dataset == "visit" && !id.is_multiple_of(3) && !FOREIGN.contains(&id);
    has_more.then_some("m")
}

/// A valid record of `dataset`.
pub fn record(dataset: &str, id: u64, note: &str) -> String {
    let more = more(dataset, id).map_or(String::new(), |more| format!(",\"more\":\"{more}\""));
    format!("{{\"{dataset}\":{id},\"note\":\"{note}\"{more}}}")
}

/// A record of `dataset` that one catalog version accepts and the others quarantine.
pub fn borderline(dataset: &str, id: u64) -> String {
    format!("{{\"{dataset}\":{id},\"flag\":\"maybe\"}}")
}

/// The ids of borderline records; no other records use them.
pub const BORDERLINE: std::ops::RangeInclusive<u64> = 500..=520;

/// A valid record of `draft`, which [`CatalogVersion::Withdrawn`] quarantines.
pub fn draft(id: u64) -> String {
    format!("{{\"draft\":{id},\"note\":\"note {id}\"}}")
}

/// A valid record of `draft` that also has the shape of `twin`. It is sent without a dataset.
pub fn sketch(id: u64) -> String {
    format!("{{\"draft\":{id},\"sketch\":1}}")
}

/// A valid record of `memo`.
pub fn memo(id: u64) -> String {
    format!("{{\"memo\":{id}}}")
}

/// The ids of drafts that are sent with their dataset.
pub const NAMED_DRAFTS: std::ops::RangeInclusive<u64> = 600..=610;
/// The ids of drafts that are sent without a dataset. They differ from the named ones, because equal bytes sent both ways
/// are two records.
pub const NAMELESS_DRAFTS: std::ops::RangeInclusive<u64> = 611..=620;
/// The ids of ambiguous drafts.
pub const SKETCHES: std::ops::RangeInclusive<u64> = 621..=630;
/// The ids of memos.
pub const MEMOS: std::ops::RangeInclusive<u64> = 700..=712;
/// The ids of rows that other programs add to tables. Clients may send the same rows later.
pub const FOREIGN: std::ops::RangeInclusive<u64> = 900..=920;

/// The content in its table of a record that one catalog version accepts and another quarantines.
pub fn content_of_borderline(raw: &[u8]) -> Option<String> {
    let is = |json: String| json.as_bytes() == raw;
    let flagged = ["page", "click"].into_iter().find_map(|dataset| {
        let id = BORDERLINE.into_iter().find(|id| is(borderline(dataset, *id)))?;
        Some(format!("{dataset}/{id}"))
    });
    let drafts = || (*NAMED_DRAFTS.start()..=*NAMELESS_DRAFTS.end()).find(|id| is(draft(*id)));
    let sketches = || SKETCHES.into_iter().find(|id| is(sketch(*id)));
    let memos = || MEMOS.into_iter().find(|id| is(memo(*id)));
    flagged
        .or_else(|| drafts().or_else(sketches).map(|id| format!("draft/{id}")))
        .or_else(|| memos().map(|id| format!("memo/{id}")))
}

/// A record of `draft` that no catalog version accepts.
pub fn bad_draft(number: u64, is_named: bool) -> String {
    format!("{{\"draft\":\"{} {number}\"}}", if is_named { "named" } else { "nameless" })
}

/// A record of `memo` that no catalog version accepts.
pub fn bad_memo(number: u64) -> String {
    format!("{{\"memo\":\"bad {number}\"}}")
}

/// The dataset of a record of [`bad_draft`] or [`bad_memo`]. It is quarantined under that dataset, or under none if the
/// catalog does not know that it belongs there.
pub fn dataset_of_bad(raw: &[u8]) -> Option<&'static str> {
    let begins = |text: &str| raw.starts_with(text.as_bytes());
    if begins("{\"draft\":\"") { Some("draft") } else { begins("{\"memo\":\"").then_some(MEMO) }
}

/// How many rows with one content may be in the tables and unresolved in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// One, however often it was sent.
    Once,
    /// One for each record that was sent (`identity = "record"`).
    Each,
    /// One under a contract. In quarantine without a contract one for each record, and none if there
    /// is one under a contract.
    Yields,
}

/// The rule of a content.
pub fn rule(content: &str) -> Rule {
    let begins = |starts: &[&str]| starts.iter().any(|start| content.starts_with(start));
    if begins(&["draft/", "memo/", "quarantine/draft/", "quarantine/memo/"]) {
        Rule::Yields
    } else if begins(&["click/", "quarantine/click/", "quarantine/-/{"]) {
        Rule::Each
    } else {
        Rule::Once
    }
}

/// Whether catalog versions put the record in different places.
pub fn is_borderline(content: &str) -> bool {
    let of = |dataset: &str| content.strip_prefix(dataset).and_then(|id| id.parse().ok());
    let flagged = of("page/").or_else(|| of("click/"));
    flagged.is_some_and(|id: u64| BORDERLINE.contains(&id)) || rule(content) == Rule::Yields
}
