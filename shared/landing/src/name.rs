//! Names of landing objects and raw objects.
//!
//! Names depend on the records alone, never on the present time, so a retry produces the same names.

use chrono::{DateTime, Utc};
use object_store::path::Path;

use crate::source::RecordSource;

/// First path segment of landing objects.
pub const LANDING: &str = "landing";
/// First path segment of failed objects.
pub const FAILED: &str = "failed";

/// Identifies a batch of records: its source and the range of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchId {
    /// Source of the records.
    pub source: RecordSource,
    /// Sequence number or offset of the first record; for files its line number.
    pub first: String,
    /// Sequence number or offset of the last record.
    pub last: String,
    /// When the first record arrived at the source.
    pub arrived: DateTime<Utc>,
}

impl BatchId {
    /// `<minute>/<stream>/<shard>/<first>-<last>-<content hash>`, the common part of landing and raw paths.
    pub(crate) fn segments(&self, bytes: &[u8]) -> [String; 4] {
        let file = format!("{}-{}-{}", segment(&self.first), segment(&self.last), content_hash(bytes));
        [minute(self.arrived), segment(self.source.stream()), segment(&self.source.shard()), file]
    }
}

/// The parts of a landing object's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LandingName {
    /// Dataset of the rows.
    pub dataset: String,
    /// Hash of the contract that cleaned the rows.
    pub contract_hash: String,
    /// Arrival of the first record, `yyyymmddThhmm` in UTC.
    pub minute: String,
    /// Source of the records. Characters of its name that paths cannot hold are replaced by `_`.
    pub source: RecordSource,
    /// Sequence number of the first record.
    pub first: String,
    /// Sequence number of the last record.
    pub last: String,
    /// First 16 hexadecimal digits of the BLAKE3 hash of the object's bytes; for a replacement, see
    /// [`LandingName::for_replacement_of`].
    pub content: String,
}

impl LandingName {
    /// Names an object that holds `bytes`, the rows of `dataset`.
    pub fn new(dataset: &str, contract_hash: &str, batch: &BatchId, bytes: &[u8]) -> Self {
        Self {
            dataset: dataset.to_owned(),
            contract_hash: contract_hash.to_owned(),
            minute: minute(batch.arrived),
            source: RecordSource::from_path_segments(
                &segment(batch.source.stream()),
                &segment(&batch.source.shard()),
            ),
            first: segment(&batch.first),
            last: segment(&batch.last),
            content: content_hash(bytes),
        }
    }

    /// Derives the name of an object that replaces the object `replaced`, which is removed after the replacement has
    /// landed.
    ///
    /// A replacement must not land under a name that another process may still remove. Two processes can replace an
    /// object at the same time: compactors of two releases that each clean the other's objects again, or a compactor
    /// that moves an object to `failed/` and an operator who recovers it. With a name made from the content alone, each
    /// would find the other's object in place, and then remove the object that the other relies on. So the name depends
    /// on the replaced path: a retry derives the same name, and no chain of replacements returns to an earlier name.
    #[must_use]
    pub fn for_replacement_of(self, replaced: &Path) -> Self {
        let content = content_hash(format!("{}\n{replaced}", self.content).as_bytes());
        Self { content, ..self }
    }

    /// Returns the path from the lake's root.
    pub fn path(&self) -> Path {
        let file = format!("{}-{}-{}.parquet", self.first, self.last, self.content);
        Path::from_iter([
            LANDING,
            &self.dataset,
            &self.contract_hash,
            &self.minute,
            self.source.stream(),
            &self.source.shard(),
            &file,
        ])
    }

    /// Parses a path; `None` if it is not the path of a landing object.
    pub fn parse(path: &Path) -> Option<Self> {
        let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
        let [landing, dataset, contract_hash, minute, source, shard, file] =
            <[String; 7]>::try_from(parts).ok()?;
        if landing != LANDING {
            return None;
        }
        let mut positions = file.strip_suffix(".parquet")?.splitn(3, '-').map(str::to_owned);
        let (first, last, content) = (positions.next()?, positions.next()?, positions.next()?);
        let source = RecordSource::from_path_segments(&source, &shard);
        Some(Self { dataset, contract_hash, minute, source, first, last, content })
    }
}

/// Returns the dataset of a key below `landing/`, as an S3 notification names it: the lake may have a prefix.
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

/// Replaces every character that S3 or a file system does not accept unencoded in a path segment by `_`.
pub(crate) fn segment(text: &str) -> String {
    let replace = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }
    };
    let segment: String = text.chars().map(replace).collect();
    if segment.is_empty() || segment.bytes().all(|byte| byte == b'.') { "_".to_owned() } else { segment }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> BatchId {
        BatchId {
            source: RecordSource::Kinesis {
                stream: "a/b c".to_owned(),
                shard: "shardId-000000000000".to_owned(),
            },
            first: "7".to_owned(),
            last: "9".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_name_round_trips_through_its_path() {
        let name = LandingName::new("pin", "00aa", &batch(), b"rows");
        assert_eq!(LandingName::parse(&name.path()), Some(name.clone()));
        assert!(
            name.path()
                .as_ref()
                .starts_with("landing/pin/00aa/20221019T1200/a_b_c/shardId-000000000000/7-9-")
        );
    }

    #[test]
    fn a_name_depends_on_the_bytes() {
        let name = |bytes: &[u8]| LandingName::new("pin", "00aa", &batch(), bytes).path();
        assert_eq!(name(b"rows"), name(b"rows"));
        assert_ne!(name(b"rows"), name(b"other rows"));
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
