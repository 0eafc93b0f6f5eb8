//! The report as plain data: what a page shows, without how it shows it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// Results and state of one lake at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// The lake, as it was named on the command line.
    pub lake: String,
    /// When the page was made.
    pub generated_at: DateTime<Utc>,
    /// When the queries ran, if that was before the page was made.
    pub results_at: Option<DateTime<Utc>>,
    /// The program and its version.
    pub generator: String,
    /// One panel for each query, in any order: [`crate::render`] sorts them.
    pub panels: Vec<Panel>,
    /// The state of the lake.
    pub state: State,
    /// Freshness objective: seconds after which a record should be in its table; none if there is none.
    pub objective_seconds: Option<u32>,
    /// The folder of the contracts, if they are not those of the lake or of the program. Commands name it.
    pub contracts: Option<String>,
    /// The newest quarantined records, if the reader may see them.
    pub records: Option<Answer>,
    /// What a page that a server answers with has beyond a file.
    pub served: Option<Served>,
}

/// A page of a server. Its links are relative to the page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Served {
    /// The id of the run whose results the page has; none before the first.
    pub run: Option<String>,
    /// The runs that can be shown, newest first.
    pub runs: Vec<Run>,
}

impl Served {
    /// Whether the page has the newest results.
    pub fn is_latest(&self) -> bool {
        self.run.as_ref() == self.runs.first().map(|run| &run.id)
    }
}

/// A run whose results are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// When it ran, if its id tells.
    pub at: Option<DateTime<Utc>>,
}

/// A query and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Name of the result.
    pub name: String,
    /// The SQL, with the comments that declare its chart.
    pub sql: String,
    /// How long the query ran.
    pub seconds: Option<f64>,
    /// The result, or why there is none.
    pub outcome: Outcome,
    /// The result in earlier runs and this one, oldest first.
    pub history: Vec<PastAnswer>,
    /// The rows as a Parquet file, for a page without a server. A page has it if it is small enough.
    pub parquet: Option<Vec<u8>>,
}

/// What is known of a result in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastAnswer {
    /// The run.
    pub run: Run,
    /// Number of rows.
    pub rows: u64,
    /// The largest value of each column with numbers.
    pub largest: BTreeMap<String, Number>,
    /// Equal for equal rows.
    pub digest: String,
    /// Version of each table that was read.
    pub versions: BTreeMap<String, Option<u64>>,
}

/// What became of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded.
    Answer(Answer),
    /// It failed, with this message.
    Failed(String),
}

/// The rows of a query. Serializes as one result of `pinlake analyse --format json` does.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Names of the columns, in order.
    pub columns: Vec<String>,
    /// Rows; each has one cell for each column.
    pub rows: Vec<Vec<Value>>,
    /// Version of each table that was read; null if it did not exist yet.
    #[serde(default)]
    pub versions: BTreeMap<String, Option<u64>>,
    /// Tables that changed during the query: the versions before and after.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<String, (u64, u64)>,
}

/// The state of a lake.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// One entry for each dataset, in name order.
    pub datasets: Vec<DatasetState>,
    /// Quarantined records that no dataset accepts, by reason, without those that are resolved.
    pub unrouted: BTreeMap<String, u64>,
    /// The same records by day of arrival, as `2022-10-19`, and reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unrouted_by_day: BTreeMap<String, BTreeMap<String, u64>>,
    /// When a batch of records landed last; none if none ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_at: Option<DateTime<Utc>>,
    /// Shards of streams, and partitions of topics, of which records landed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shards: u64,
    /// What the stack costs, if records landed through one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostEstimate>,
    /// Why the quarantine cannot be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_problem: Option<String>,
}

/// The state of one dataset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DatasetState {
    /// Name of the dataset.
    pub dataset: String,
    /// Newest version of its table; none before its first rows.
    pub version: Option<u64>,
    /// Rows; none if the log has no statistics of a file.
    pub rows: Option<u64>,
    /// Bytes of the data files.
    pub bytes: u64,
    /// Number of data files.
    pub files: u64,
    /// The commit of the newest version; none if its log entry is gone.
    pub last_commit: Option<CommitState>,
    /// What waits to be inserted; none if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Quarantined records by reason, without those that are resolved.
    pub quarantined: BTreeMap<String, u64>,
    /// The same records by day of arrival, as `2022-10-19`, and reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantined_by_day: BTreeMap<String, BTreeMap<String, u64>>,
    /// What the newest commits did; none without commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// Why the table cannot be read, if so. Its figures are then unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Landing objects whose rows are not in their table yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was written.
    pub since: DateTime<Utc>,
    /// Whether there are more objects than were counted.
    pub is_lower_limit: bool,
}

/// The newest commit of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitState {
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// The operation in terms of Delta, such as `WRITE`.
    pub operation: Option<String>,
    /// Rows that it inserted, if pinlake committed it.
    pub inserted: Option<u64>,
    /// Rows that the table had already, if pinlake committed it.
    pub duplicates: Option<u64>,
}

/// What the newest commits of a table did, of at most 31 days.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Activity {
    /// Number of commits that were read.
    pub commits: u64,
    /// When the oldest of them was made.
    pub since: DateTime<Utc>,
    /// Whether there are earlier ones that were not read.
    pub is_truncated: bool,
    /// Length of a period: an hour or a day.
    pub period_seconds: u32,
    /// What happened, oldest first. A period in which nothing happened is missing.
    pub periods: Vec<Period>,
    /// What maintained the table.
    pub maintenance: Maintenance,
}

/// What became of the records of a dataset in an hour or a day (UTC). The numbers are those that the commits record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Period {
    /// Its beginning.
    pub from: DateTime<Utc>,
    /// Number of commits.
    pub commits: u64,
    /// Records that match their contract, as often as they were delivered.
    pub read: u64,
    /// Rows that were new in the table.
    pub inserted: u64,
    /// Rows that took the place of rows with fewer columns, or of earlier records.
    pub superseded: u64,
    /// Rows that the table had before.
    pub duplicates: u64,
    /// Rows of records that are earlier than the table's.
    pub outdated: u64,
    /// Rows that deleted a row, or keep an earlier record out.
    pub deleted: u64,
    /// Records that arrived in it and are in quarantine, without those that are resolved.
    pub quarantined: u64,
}

impl Period {
    /// The share of the records that is in quarantine; none without records.
    pub fn share_quarantined(&self) -> Option<f64> {
        let all = self.read + self.quarantined;
        (all > 0).then(|| self.quarantined as f64 / all as f64)
    }

    /// Adds the numbers of another period.
    pub fn add(&mut self, other: &Period) {
        self.commits += other.commits;
        self.read += other.read;
        self.inserted += other.inserted;
        self.superseded += other.superseded;
        self.duplicates += other.duplicates;
        self.outdated += other.outdated;
        self.deleted += other.deleted;
        self.quarantined += other.quarantined;
    }
}

impl Activity {
    /// Whether the commits of a period were all read.
    pub fn is_complete(&self, period: &Period) -> bool {
        !self.is_truncated || period.from >= self.since
    }
}

/// What maintained a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Maintenance {
    /// Number of merges.
    pub merges: u64,
    /// Data files that they replaced.
    pub files_replaced: u64,
    /// Data files that they wrote.
    pub files_written: u64,
    /// When the last of them was made.
    pub last_merge_at: Option<DateTime<Utc>>,
    /// Version of the newest checkpoint.
    pub checkpoint_version: Option<u64>,
}

/// What a stack costs on AWS, estimated by the model of `pinlake cost`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostEstimate {
    /// Begin of the month, or the first commit of the lake if that is later.
    pub since: DateTime<Utc>,
    /// Records since then.
    pub records: u64,
    /// Whether `records` is projected from the newest commits.
    pub is_projected: bool,
    /// The workload that is billed: its mean number of records per day.
    pub records_per_day: f64,
    /// Mean size of a record as JSON, from the size of the tables.
    pub bytes_per_record: f64,
    /// Records per request. The lake does not tell, so it is assumed.
    pub batch: f64,
    /// Datasets with records since then.
    pub datasets: f64,
    /// Posts (one row in each of three tables) that an analysis reads.
    pub analysed_posts: f64,
    /// Cost since `since` in US dollars.
    pub usd: f64,
    /// Cost of a month with this workload.
    pub usd_per_month: f64,
    /// The same by service of AWS.
    pub services: BTreeMap<String, f64>,
    /// Date of the prices.
    pub prices_of: String,
    /// Region of the prices.
    pub region: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl State {
    /// Quarantined records of all datasets and of none.
    pub fn quarantined(&self) -> u64 {
        let of_datasets = self.datasets.iter().flat_map(|dataset| dataset.quarantined.values());
        of_datasets.chain(self.unrouted.values()).sum()
    }

    /// Quarantined records of all datasets and of none, by day of arrival and reason.
    pub fn quarantined_by_day(&self) -> BTreeMap<&str, BTreeMap<&str, u64>> {
        let mut sums: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        let of_datasets = self.datasets.iter().flat_map(|dataset| &dataset.quarantined_by_day);
        for (day, reasons) in of_datasets.chain(&self.unrouted_by_day) {
            for (reason, records) in reasons {
                *sums.entry(day).or_default().entry(reason).or_default() += records;
            }
        }
        sums
    }

    /// When the oldest landing object was written that waits to be inserted.
    pub fn waiting_since(&self) -> Option<DateTime<Utc>> {
        self.datasets.iter().filter_map(|dataset| dataset.waiting.as_ref().map(|waiting| waiting.since)).min()
    }

    /// The time of the newest commit of all tables.
    pub fn last_commit_at(&self) -> Option<DateTime<Utc>> {
        self.datasets.iter().filter_map(|dataset| dataset.last_commit.as_ref().map(|commit| commit.at)).max()
    }
}
