//! Many records in, one batch a dataset out.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use pinlake_schema::{Catalog, Contract, MisroutedPolicy, QUARANTINE};

use crate::cell::{self, Cell, Row, View};
use crate::compiled_contract::CompiledContract;
use crate::fields::FieldTable;
use crate::key::{KEY_BYTES, RecordId};
use crate::reason::{Fault, Reason};
use crate::record::Record;

/// The most bytes of a record that is cleaned; a longer one is quarantined whole. Kinesis takes no more in one.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Bytes of one dataset's rows at which its batch is closed and another begun: Arrow's text columns end at 2 GiB.
const MAX_BATCH_BYTES: u64 = 512 << 20;

/// Where a record came from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// `kinesis/<stream>/<shard>` or `file/<name>`.
    pub source: &'a str,
    /// Where in the source.
    pub position: Position<'a>,
    /// The request that brought it and its number within the request: its identity where a contract says
    /// `identity = "record"`.
    pub record_id: Option<(&'a str, u64)>,
}

/// Where in its source a record stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position<'a> {
    /// Line of a file, from 1; of a format without lines, number of the record, from 1.
    Line(u64),
    /// A record of a stream, and the line within it.
    Sequence {
        /// The stream's sequence number, or a Kafka offset.
        number: &'a str,
        /// Line within the stream's record, from 1.
        line: u64,
    },
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Line(line) => write!(f, "{line}"),
            Position::Sequence { number, line } => write!(f, "{number}#{line}"),
        }
    }
}

/// The rows of one dataset.
#[derive(Debug, Clone)]
pub struct CleanedRows {
    /// The dataset's contract.
    pub contract: Arc<Contract>,
    /// The rows, in the order in which they came, in the contract's landing schema.
    pub rows: RecordBatch,
    /// How many records they were made of: one a row.
    pub read: u64,
    /// What memory to reckon with: of each row the bytes of its record, or what the row takes where that is far more, as in quarantine.
    /// It takes at most twice this, and four times where a record is hardly more than an array.
    pub bytes: u64,
}

/// What became of the records that were sent to one dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The dataset; none for records of which nothing told one.
    pub dataset: Option<String>,
    /// Records read.
    pub read: u64,
    /// Of those, the ones in quarantine.
    pub quarantined: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Takes records, cleans each by its contract, and collects the rows by dataset.
///
/// One intake serves one thread; it keeps its buffers and what it learned of the records' form from batch to batch.
#[derive(Debug)]
pub struct RecordCleaner {
    fields: FieldTable,
    /// In the order of their names.
    plans: Vec<CompiledContract>,
    quarantine: usize,
    arrived_at: DateTime<Utc>,
    record: Record,
    row: Row,
    line: Vec<u8>,
    /// Of each plan, and behind them of no dataset.
    counts: Vec<Count>,
    closed: Vec<CleanedRows>,
    buffered_bytes: usize,
    /// The plan that got the last row.
    last: usize,
    last_key_has_record: bool,
    /// The plan of the dataset that the last sender named.
    last_hinted: Option<usize>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is a row of its dataset.
    Clean,
    /// It is a row of quarantine.
    Quarantined,
}

/// The dataset whose shape a record has.
enum Shape {
    None,
    One(usize),
    Several(Vec<usize>),
}

impl RecordCleaner {
    /// An empty intake. `arrived_at` is what quarantine rows say about when their record came.
    pub fn new(catalog: Arc<Catalog>, arrived_at: DateTime<Utc>) -> RecordCleaner {
        let fields = FieldTable::new(&catalog);
        let plans: Vec<CompiledContract> =
            catalog.contracts().map(|contract| CompiledContract::new(contract, &fields)).collect();
        let datasets = plans.iter().map(|plan| Some(plan.contract.name.clone())).chain([None]);
        let counts = datasets.map(|dataset| Count { dataset, read: 0, quarantined: 0, bytes: 0 }).collect();
        RecordCleaner {
            // A catalog without quarantine cannot be made.
            quarantine: place_of(&plans, QUARANTINE).unwrap_or_default(),
            record: Record::new(fields.len()),
            fields,
            plans,
            arrived_at,
            row: Row::default(),
            line: Vec::new(),
            counts,
            closed: Vec::new(),
            buffered_bytes: 0,
            last: 0,
            last_key_has_record: false,
            last_hinted: None,
        }
    }

    /// From here on quarantine rows say that their record came at this time.
    pub fn set_arrived_at(&mut self, arrived_at: DateTime<Utc>) {
        self.arrived_at = arrived_at;
    }

    /// Takes one JSON record. `hint` is the dataset that the sender named; without one the record's shape decides.
    /// Never fails: a record that breaks its contract becomes a row of quarantine.
    pub fn push(&mut self, record: &[u8], hint: Option<&str>, origin: &Origin<'_>) -> Disposition {
        let hinted = self.named(hint);
        self.last_hinted = hinted;
        let mut dataset = hinted;
        match self.take(record, hint, &mut dataset, origin) {
            Ok(()) => {
                self.count(dataset, record.len(), false);
                Disposition::Clean
            }
            Err(fault) => {
                // Whatever it was taken for: it was sent to the dataset that was named.
                let dataset = hinted.or(dataset);
                self.count(dataset, record.len(), true);
                self.put_aside(record, hint, dataset, &fault, origin);
                Disposition::Quarantined
            }
        }
    }

    /// Takes one row of a table of texts, such as a CSV file. An empty cell is null, and a column without a name
    /// (the row numbers of a pandas export) is left out. The row is the record `{"column":"cell",...}`.
    pub fn push_fields<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        hint: Option<&str>,
        origin: &Origin<'_>,
    ) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing to memory does not fail.
        let _ = json_of_fields(fields, &mut line);
        self.push(&line, hint, origin);
        self.line = line;
    }

    /// Puts a record aside that could not even be cut out of its source.
    pub fn reject(
        &mut self,
        record: &[u8],
        hint: Option<&str>,
        origin: &Origin<'_>,
        reason: Reason,
        detail: impl Into<String>,
    ) {
        let dataset = self.named(hint);
        self.count(dataset, record.len(), true);
        self.put_aside(record, hint, dataset, &Fault::new(reason, detail), origin);
    }

    /// The key of the row that the record pushed last became, until the rows are drained. It is hashed anew each time:
    /// those that the rows come out with are hashed many at once.
    pub fn last_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.plans[self.last].batch.last_key()
    }

    /// As [`Self::last_key`], the key of the first form, which only rows that are identified by their record have.
    pub fn last_former_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.plans[self.last].batch.last_former_key()
    }

    /// The contract of the dataset that the record pushed last became a row of: quarantine's, or its own.
    pub fn last_contract(&self) -> &Arc<Contract> {
        &self.plans[self.last].contract
    }

    /// Whether the key of the record pushed last covers its id: the row is identified by its record, or is a row of quarantine
    /// whose dataset is, or may be.
    pub fn last_key_has_record(&self) -> bool {
        self.last_key_has_record
    }

    /// The plan of the dataset that the sender named.
    fn named(&self, hint: Option<&str>) -> Option<usize> {
        let name = hint?;
        // Most often it is the one of the record before.
        let is_it = |at: &usize| self.plans[*at].contract.name == name;
        let found = self.last_hinted.filter(is_it).or_else(|| place_of(&self.plans, name));
        found.filter(|at| *at != self.quarantine)
    }

    /// Of the open batches, as [`CleanedRows::bytes`].
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// What became of all records since the intake was made, in the order of the datasets' names, those of no
    /// dataset last. Datasets without records are left out.
    pub fn counts(&self) -> impl Iterator<Item = &Count> {
        self.counts.iter().filter(|count| count.read > 0)
    }

    /// Hands out the rows, in the order of the datasets' names, and empties the intake. A dataset without rows is
    /// left out; one with very many comes in several parts.
    pub fn drain(&mut self) -> Vec<CleanedRows> {
        for at in 0..self.plans.len() {
            self.close(at);
        }
        self.buffered_bytes = 0;
        let mut cleaned = std::mem::take(&mut self.closed);
        cleaned.sort_by(|a, b| a.contract.name.cmp(&b.contract.name));
        cleaned
    }

    fn close(&mut self, at: usize) {
        let plan = &mut self.plans[at];
        if plan.batch.rows > 0 {
            let (read, bytes) = (plan.batch.rows, plan.batch.bytes);
            let rows = plan.batch.finish();
            self.closed.push(CleanedRows { contract: Arc::clone(&plan.contract), rows, read, bytes });
        }
    }

    fn count(&mut self, dataset: Option<usize>, bytes: usize, quarantined: bool) {
        let count = &mut self.counts[dataset.unwrap_or(self.plans.len())];
        count.read += 1;
        count.bytes += bytes as u64;
        count.quarantined += u64::from(quarantined);
    }

    /// Cleans a record into its dataset's batch. `dataset` comes in as the one named, and goes out as the one
    /// that the record was taken for.
    fn take(
        &mut self,
        record: &[u8],
        hint: Option<&str>,
        dataset: &mut Option<usize>,
        origin: &Origin<'_>,
    ) -> Result<(), Fault> {
        if record.len() > MAX_RECORD_BYTES {
            let detail = format!("{} bytes; a record has at most {MAX_RECORD_BYTES}", record.len());
            return Err(Fault::new(Reason::TooLarge, detail));
        }
        let text = simdutf8::compat::from_utf8(record).map_err(|error| {
            Fault::new(Reason::InvalidUtf8, format!("no UTF-8 at byte {}", error.valid_up_to()))
        })?;
        self.record.read(text, &mut self.fields)?;
        let at = self.route(hint, *dataset)?;
        *dataset = Some(at);

        cell::clean(&self.plans[at], &mut self.record, text, &mut self.row)?;
        // Names and quotes make up for what a row takes besides its texts, unless the record is very short.
        let id = self.plans[at].batch.is_by_record().then_some(RecordId { origin, content: Some(record) });
        self.append(at, text, record.len().max(self.plans[at].batch.fixed_bytes), id);
        Ok(())
    }

    fn append(&mut self, at: usize, text: &str, bytes: usize, record: Option<RecordId<'_>>) {
        if self.plans[at].batch.bytes >= MAX_BATCH_BYTES {
            self.close(at);
        }
        let view = View { row: &self.row, record: &self.record, text };
        let plan = &mut self.plans[at];
        plan.batch.push(view, record, bytes);
        self.buffered_bytes += bytes;
        self.last = at;
        self.last_key_has_record = record.is_some();
    }

    /// The dataset of the record that has just been read.
    fn route(&self, hint: Option<&str>, hinted: Option<usize>) -> Result<usize, Fault> {
        let name = |at: usize| self.plans[at].contract.name.as_str();
        if let (Some(hint), None) = (hint, hinted) {
            return Err(Fault::new(Reason::Unroutable, format!("there is no dataset `{hint}`")));
        }
        if let Some(hinted) =
            hinted.filter(|at| self.plans[*at].shape.is_empty() || self.plans[*at].fits(&self.record))
        {
            return Ok(hinted);
        }
        match (hinted, self.shape()) {
            (None, Shape::One(right)) => Ok(right),
            (None, Shape::None) => Err(Fault::new(
                Reason::Unroutable,
                "nothing named a dataset, and the record has the shape of none",
            )),
            (None, Shape::Several(these)) => {
                let names: Vec<&str> = these.into_iter().map(name).collect();
                let detail =
                    format!("nothing named a dataset, and the record has the shapes of {}", names.join(", "));
                Err(Fault::new(Reason::Unroutable, detail))
            }
            (Some(hinted), Shape::One(right)) => match self.plans[hinted].contract.route.misrouted {
                MisroutedPolicy::Reroute => Ok(right),
                MisroutedPolicy::Quarantine => {
                    let detail = format!("sent to {}, has the shape of {}", name(hinted), name(right));
                    Err(Fault::new(Reason::MisroutedPolicy, detail))
                }
            },
            // Fields are missing, and nothing speaks for another dataset: the sender is believed.
            (Some(hinted), Shape::None | Shape::Several(_)) => Ok(hinted),
        }
    }

    /// The dataset whose shape the record has; of several the one that asks for the most fields.
    fn shape(&self) -> Shape {
        let mut best: Vec<usize> = Vec::new();
        for (at, plan) in self.plans.iter().enumerate().filter(|(_, plan)| plan.fits(&self.record)) {
            let most = best.first().map_or(0, |first| self.plans[*first].shape.len());
            if plan.shape.len() > most {
                best.clear();
            }
            if plan.shape.len() >= most {
                best.push(at);
            }
        }
        match best[..] {
            [] => Shape::None,
            [one] => Shape::One(one),
            _ => Shape::Several(best),
        }
    }

    /// Adds a row to quarantine. Its columns are the only ones that this crate knows by name. The dataset is the one that
    /// the sender named, whether or not there is such a one now: the row's key is made of what was sent.
    fn put_aside(
        &mut self,
        raw: &[u8],
        hint: Option<&str>,
        dataset: Option<usize>,
        fault: &Fault,
        origin: &Origin<'_>,
    ) {
        // Where records are their own identity, two with the same bytes are two. Nobody knows whether they are while there is no
        // contract; but what no contract can ever take is one.
        let has_record = match dataset {
            Some(at) => self.plans[at].batch.is_by_record(),
            None => fault.reason.depends_on_contracts(),
        };
        let id = has_record.then_some(RecordId { origin, content: Some(raw) });
        let contract = dataset.map(|at| Arc::clone(&self.plans[at].contract));
        let sent_to = hint.or(contract.as_ref().map(|contract| contract.name.as_str()));
        let (record, row) = (&mut self.record, &mut self.row);
        record.reset();
        row.clear();
        for column in &self.plans[self.quarantine].contract.columns {
            let cell = match column.name.as_str() {
                "dataset" => sent_to.map(|name| Cell::Text(record.keep(name))),
                "raw" => Some(row.keep(raw)),
                "reason" => Some(Cell::Text(record.keep(fault.reason.code()))),
                "detail" => Some(Cell::Text(record.keep(&fault.detail))),
                "source" => Some(Cell::Text(record.keep(origin.source))),
                "position" => Some(Cell::Text(record.keep(&origin.position.to_string()))),
                "record" => origin
                    .record_id
                    .map(|(request, index)| Cell::Text(record.keep(&format!("{request}/{index}")))),
                "contract" => contract.as_ref().map(|contract| Cell::Text(record.keep(&contract.label()))),
                "arrived_at" => Some(Cell::Timestamp(self.arrived_at.timestamp_micros())),
                // `resolved_at`: nothing is resolved yet.
                _ => None,
            };
            row.cells.push(cell.unwrap_or(Cell::Null));
        }
        let texts = record.scratch.len() + row.bytes.len();
        self.append(self.quarantine, "", texts + self.plans[self.quarantine].batch.fixed_bytes, id);
    }
}

fn place_of(plans: &[CompiledContract], name: &str) -> Option<usize> {
    plans.binary_search_by(|plan| plan.contract.name.as_str().cmp(name)).ok()
}

/// Writes a row of texts as a JSON object.
pub(crate) fn json_of_fields<'a>(
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    mut line: impl std::io::Write,
) -> std::io::Result<()> {
    let mut before = b"{";
    for (name, value) in fields.filter(|(name, _)| !name.is_empty()) {
        line.write_all(before)?;
        before = b",";
        serde_json::to_writer(&mut line, name)?;
        line.write_all(b":")?;
        match value {
            "" => line.write_all(b"null")?,
            value => serde_json::to_writer(&mut line, value)?,
        }
    }
    line.write_all(if before == b"{" { b"{}" } else { b"}" })
}
