//! The names of landing objects.

use chrono::{DateTime, Utc};
use object_store::path::Path;

/// First path segment of everything that lands.
pub const LANDING: &str = "landing";
/// First path segment of what cannot be taken.
pub const FAILED: &str = "failed";

/// Where a batch of records came from; names are made of this and of the bytes alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Stream or topic.
    pub source: String,
    /// Shard or partition.
    pub shard: String,
    /// Sequence number or offset of the first record.
    pub first: String,
    /// Of the last record.
    pub last: String,
    /// When the first record arrived at the source.
    pub arrived: DateTime<Utc>,
}

impl Origin {
    /// `<minute>/<source>/<shard>/<first>-<last>-<content hash>`, shared by landing and raw objects.
    pub(crate) fn segments(&self, bytes: &[u8]) -> [String; 4] {
        let file = format!("{}-{}-{}", segment(&self.first), segment(&self.last), content_hash(bytes));
        [minute(self.arrived), segment(&self.source), segment(&self.shard), file]
    }
}

/// The parts of a landing object's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LandingName {
    /// Dataset.
    pub dataset: String,
    /// Hash of the contract that cleaned it.
    pub contract_hash: String,
    /// Arrival of its first record, `yyyymmddThhmm` in UTC.
    pub minute: String,
    /// Stream or topic.
    pub source: String,
    /// Shard or partition.
    pub shard: String,
    /// Position of the first record.
    pub first: String,
    /// Position of the last record.
    pub last: String,
    /// First 16 hexadecimal digits of the BLAKE3 hash of the object's bytes, or of what [`LandingName::in_place_of`] makes
    /// of it.
    pub content: String,
}

impl LandingName {
    /// The name for `bytes`, which are rows of `dataset`.
    pub fn new(dataset: &str, contract_hash: &str, origin: &Origin, bytes: &[u8]) -> Self {
        Self {
            dataset: dataset.to_owned(),
            contract_hash: contract_hash.to_owned(),
            minute: minute(origin.arrived),
            source: segment(&origin.source),
            shard: segment(&origin.shard),
            first: segment(&origin.first),
            last: segment(&origin.last),
            content: content_hash(bytes),
        }
    }

    /// The name under which rows land that take the place of `from`, an object which is removed after they have landed.
    ///
    /// No object may land again under a name that somebody may still remove. Two that move an object at the same time
    /// (compactors of two catalog_history, of which each cleans again what the other has landed; a compactor that sets an object
    /// aside, and an operator who takes it up again) would each find that the other's object is there already, and each
    /// remove the one that the other relies on. So what is moved gets a name that is made of the place it comes from: a
    /// retry of the same move makes the same name, and no chain of moves comes back to a name that it left.
    #[must_use]
    pub fn in_place_of(self, from: &Path) -> Self {
        let content = content_hash(format!("{}\n{from}", self.content).as_bytes());
        Self { content, ..self }
    }

    /// Its path from the lake's root.
    pub fn path(&self) -> Path {
        let file = format!("{}-{}-{}.parquet", self.first, self.last, self.content);
        Path::from_iter([
            LANDING,
            &self.dataset,
            &self.contract_hash,
            &self.minute,
            &self.source,
            &self.shard,
            &file,
        ])
    }

    /// Reads a path; `None` when it is not a landing object's.
    pub fn parse(path: &Path) -> Option<Self> {
        let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
        let [landing, dataset, contract_hash, minute, source, shard, file] =
            <[String; 7]>::try_from(parts).ok()?;
        if landing != LANDING {
            return None;
        }
        let mut positions = file.strip_suffix(".parquet")?.splitn(3, '-').map(str::to_owned);
        let (first, last, content) = (positions.next()?, positions.next()?, positions.next()?);
        Some(Self { dataset, contract_hash, minute, source, shard, first, last, content })
    }
}

/// The dataset that an object under `landing/` belongs to, for any path as S3 notifies it.
pub fn dataset_of(path: &str) -> Option<&str> {
    let mut segments = path.split('/').skip_while(|segment| *segment != LANDING).skip(1);
    segments.next().filter(|dataset| !dataset.is_empty())
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M").to_string()
}

fn content_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

/// A path segment: what S3 and file systems all take unencoded. `-` separates positions, so it stands only
/// where no position does (stream and shard names keep it).
pub(crate) fn segment(text: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }
    };
    let segment: String = text.chars().map(kept).collect();
    if segment.is_empty() || segment.bytes().all(|byte| byte == b'.') { "_".to_owned() } else { segment }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            source: "a/b c".to_owned(),
            shard: "shardId-000000000000".to_owned(),
            first: "7".to_owned(),
            last: "9".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_name_survives_its_path() {
        let name = LandingName::new("pin", "00aa", &origin(), b"rows");
        assert_eq!(LandingName::parse(&name.path()), Some(name.clone()));
        assert!(
            name.path()
                .as_ref()
                .starts_with("landing/pin/00aa/20221019T1200/a_b_c/shardId-000000000000/7-9-")
        );
    }

    #[test]
    fn the_same_batch_has_the_same_name_and_another_has_another() {
        let name = |bytes: &[u8]| LandingName::new("pin", "00aa", &origin(), bytes).path();
        assert_eq!(name(b"rows"), name(b"rows"));
        assert_ne!(name(b"rows"), name(b"others"));
    }

    #[test]
    fn other_paths_are_not_landing_objects() {
        for path in ["raw/x", "landing/pin/x.parquet", "tables/pin/0aa/m/s/shard/1-2-ff.parquet"] {
            assert_eq!(LandingName::parse(&path.into()), None, "{path}");
        }
        assert_eq!(dataset_of("lakes/one/landing/geo/0aa/m/s/shard/1-2-ff.parquet"), Some("geo"));
        assert_eq!(dataset_of("raw/x"), None);
    }
}
