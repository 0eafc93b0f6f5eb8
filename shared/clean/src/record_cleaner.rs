//! Cleans records into one batch per dataset.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use pinlake_schema::{Catalog, Contract, MisroutedPolicy, QUARANTINE};

use crate::batch_builder::BatchBuilder;
use crate::column_cleaner;
use crate::compiled_contract::CompiledContract;
use crate::field_table::FieldTable;
use crate::json_object::write_json_object;
use crate::key::{KEY_BYTES, RecordIdentity};
use crate::nested_fields::NestedValues;
use crate::other_contracts::OtherContracts;
use crate::parsed_record::{MAX_RECORD_BYTES, ParsedRecord};
use crate::reason::{Reason, RecordError};
use crate::record_origin::RecordOrigin;
use crate::record_parser;
use crate::row::{Cell, Row, RowView};
use crate::typed_fields::TypedFields;

/// A dataset gets a new batch once its rows take this many bytes: the text columns of Arrow are limited to 2 GiB.
const MAX_BATCH_BYTES: u64 = 512 << 20;

/// The most envelopes around a record that are opened.
const MAX_ENVELOPES: usize = 3;

/// The rows of one dataset.
#[derive(Debug, Clone)]
pub struct CleanedRows {
    /// The dataset's contract.
    pub contract: Arc<Contract>,
    /// The rows, in the order of their records, in the landing schema of the contract.
    pub rows: RecordBatch,
    /// The number of records: one per row.
    pub read: u64,
    /// An estimate of the memory that the rows take: the length of each record, or the size of its row if that is far more, as in
    /// quarantine. The rows take at most twice as much, or four times as much if records consist mostly of an array.
    pub bytes: u64,
}

/// How many records were sent to one dataset, and how many of them were quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordCounts {
    /// The dataset; `None` for records whose dataset is unknown.
    pub dataset: Option<String>,
    /// Records read.
    pub read: u64,
    /// Of those, records in quarantine.
    pub quarantined: u64,
    /// Total length of the records.
    pub bytes: u64,
    /// Records skipped by `skip_when` of their contract. They do not count as read.
    pub skipped: u64,
}

/// Cleans records by their contracts and collects the rows by dataset.
///
/// A cleaner is used by one thread. It reuses its buffers, and predicts the fields of a record from earlier ones.
///
/// ```
/// use std::sync::Arc;
/// use pinlake_clean::{Disposition, Position, RecordCleaner, RecordOrigin};
/// use pinlake_schema::Catalog;
///
/// let catalog = Arc::new(Catalog::embedded().map_err(|errors| errors.to_string())?);
/// let mut cleaner = RecordCleaner::new(catalog, chrono::DateTime::UNIX_EPOCH);
/// let origin = RecordOrigin { source: "file/geo.ndjson", position: Position::Line(1), record_id: None };
/// let record = br#"{"ind": 7528, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2, "country": "Peru"}"#;
/// // The record has the shape of the dataset `geo`.
/// assert_eq!(cleaner.push(record, None, &origin), Disposition::Clean);
/// // The sender names the dataset, and its contract requires `ind`.
/// assert_eq!(cleaner.push(br#"{"country": "Peru"}"#, Some("geo"), &origin), Disposition::Quarantined);
///
/// let counts = cleaner.counts().next().ok_or("no records")?;
/// assert_eq!((counts.dataset.as_deref(), counts.read, counts.quarantined), (Some("geo"), 2, 1));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct RecordCleaner {
    catalog: Arc<Catalog>,
    fields: FieldTable,
    typed_fields: TypedFields,
    /// Sorted by name. A dataset is referred to by its index here.
    contracts: Vec<CompiledContract>,
    /// The contracts in whose shape a field is inside another.
    nested_shapes: Vec<usize>,
    nested_values: NestedValues,
    /// The open batch of each contract.
    batches: Vec<BatchBuilder>,
    quarantine: usize,
    arrived_at: DateTime<Utc>,
    record: ParsedRecord,
    row: Row,
    json: Vec<u8>,
    /// For each contract; the last one for records of no dataset.
    counts: Vec<RecordCounts>,
    full: Vec<CleanedRows>,
    buffered_bytes: usize,
    /// The dataset of the last row.
    last_dataset: usize,
    last_key_has_record: bool,
    /// The dataset that the last hint named.
    last_hinted: Option<usize>,
    others: Option<Box<OtherContracts>>,
}

/// The result of cleaning a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is a row of its dataset.
    Clean,
    /// It is a row of quarantine.
    Quarantined,
    /// It is neither: it is `null` in a dataset with records that delete rows (Kafka Connect sends it after such a record), or it meets
    /// `skip_when` of its contract.
    Skipped,
}

/// The datasets whose shape a record has.
enum ShapeMatch {
    None,
    One(usize),
    Several(Vec<usize>),
}

impl RecordCleaner {
    /// Creates a cleaner without rows. `arrived_at` is the arrival time in quarantine rows.
    pub fn new(catalog: Arc<Catalog>, arrived_at: DateTime<Utc>) -> RecordCleaner {
        let fields = FieldTable::new(&catalog);
        let contracts: Vec<CompiledContract> =
            catalog.contracts().map(|contract| CompiledContract::new(contract, &fields)).collect();
        let datasets = catalog.contracts().map(|contract| Some(contract.name.clone())).chain([None]);
        let new_counts = |dataset| RecordCounts { dataset, read: 0, quarantined: 0, bytes: 0, skipped: 0 };
        RecordCleaner {
            // Every catalog has a quarantine contract.
            quarantine: find_contract(&contracts, QUARANTINE).unwrap_or_default(),
            batches: catalog.contracts().map(|contract| BatchBuilder::new(contract)).collect(),
            record: ParsedRecord::new(fields.len()),
            fields,
            typed_fields: TypedFields::default(),
            nested_shapes: (0..contracts.len()).filter(|at| contracts[*at].has_nested_shape()).collect(),
            nested_values: NestedValues::default(),
            contracts,
            catalog: Arc::clone(&catalog),
            arrived_at,
            row: Row::default(),
            json: Vec::new(),
            counts: datasets.map(new_counts).collect(),
            full: Vec::new(),
            buffered_bytes: 0,
            last_dataset: 0,
            last_key_has_record: false,
            last_hinted: None,
            others: None,
        }
    }

    /// Adds to each row the keys that its record has under other contracts of its dataset, in columns that begin with
    /// [`OTHER_KEY_PREFIX`](pinlake_schema::OTHER_KEY_PREFIX). `catalogs` are those that have cleaned records of the lake, in the order of their
    /// use. A table needs these keys if it has rows from before or after a change of rules. Without such a change this adds nothing.
    #[must_use]
    pub fn with_keys_of_others(mut self, catalogs: &[Arc<Catalog>]) -> RecordCleaner {
        self.others = OtherContracts::new(&self.catalog, catalogs, self.arrived_at).map(Box::new);
        for (at, batch) in self.batches.iter_mut().enumerate() {
            batch.set_others(
                &self.others.as_ref().map(|others| others.identity_hashes(at)).unwrap_or_default(),
            );
        }
        self
    }

    /// Sets the arrival time in the quarantine rows of the records that follow.
    pub fn set_arrived_at(&mut self, arrived_at: DateTime<Utc>) {
        self.arrived_at = arrived_at;
    }

    /// Cleans one JSON record. `hint` is the dataset that the sender named; without it the shape of the record decides.
    /// This never fails: a record that breaks its contract becomes a quarantine row.
    pub fn push(&mut self, record: &[u8], hint: Option<&str>, origin: &RecordOrigin<'_>) -> Disposition {
        let hinted = self.find_dataset(hint);
        self.last_hinted = hinted;
        if hinted.is_some_and(|at| self.contracts[at].contract.has_deletes())
            && record.trim_ascii() == b"null"
        {
            return Disposition::Skipped;
        }
        let mut dataset = hinted;
        match self.clean_record(record, hint, &mut dataset, origin) {
            Ok(true) => {
                self.count(dataset, record.len(), false);
                if let Some(others) = &mut self.others {
                    let keys = others.clean(self.last_dataset, &self.row, record, origin);
                    self.batches[self.last_dataset].push_other_keys(keys);
                }
                Disposition::Clean
            }
            Ok(false) => {
                self.counts[dataset.unwrap_or(self.contracts.len())].skipped += 1;
                Disposition::Skipped
            }
            Err(error) => {
                // It counts for the dataset that the sender named, wherever it was routed.
                let dataset = hinted.or(dataset);
                self.count(dataset, record.len(), true);
                self.quarantine(record, hint, dataset, &error, origin);
                Disposition::Quarantined
            }
        }
    }

    /// Cleans one row of a text table, such as a CSV file, as the record `{"column":"cell",...}`. An empty cell is null; a column without a
    /// name, such as the row numbers of a pandas export, is left out.
    pub fn push_fields<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        hint: Option<&str>,
        origin: &RecordOrigin<'_>,
    ) {
        let mut json = std::mem::take(&mut self.json);
        json.clear();
        // Writing to memory does not fail.
        let _ = write_json_object(fields, &mut json);
        self.push(&json, hint, origin);
        self.json = json;
    }

    /// Quarantines a record that could not be read whole from its source.
    pub fn reject(
        &mut self,
        record: &[u8],
        hint: Option<&str>,
        origin: &RecordOrigin<'_>,
        reason: Reason,
        detail: impl Into<String>,
    ) {
        let dataset = self.find_dataset(hint);
        self.count(dataset, record.len(), true);
        self.quarantine(record, hint, dataset, &RecordError::new(reason, detail), origin);
    }

    /// The key of the last row; `None` after the rows have been drained. It is hashed at each call, while the keys of a batch are hashed
    /// many at once.
    pub fn last_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.batches[self.last_dataset].last_key()
    }

    /// Like [`Self::last_key`], but the key of the former epoch, which exists only for rows that are identified by their record.
    pub fn last_former_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.batches[self.last_dataset].last_former_key()
    }

    /// The cells of the last row.
    pub(crate) fn last_row(&self) -> &Row {
        &self.row
    }

    /// The contract of the last row: that of its dataset, or of quarantine.
    pub fn last_contract(&self) -> &Arc<Contract> {
        &self.contracts[self.last_dataset].contract
    }

    /// Whether the key of the last row covers the identity of its record: the row is identified by its record, or it is a quarantine row of
    /// a dataset whose rows are or may be.
    pub fn last_key_has_record(&self) -> bool {
        self.last_key_has_record
    }

    /// The dataset that the sender named, if it has a contract.
    fn find_dataset(&self, hint: Option<&str>) -> Option<usize> {
        let name = hint?;
        // It is usually that of the previous record.
        let has_name = |at: &usize| self.contracts[*at].contract.name == name;
        let found = self.last_hinted.filter(has_name).or_else(|| find_contract(&self.contracts, name));
        found.filter(|at| *at != self.quarantine)
    }

    /// An estimate of the memory that all rows take, as in [`CleanedRows::bytes`].
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// The counts of all records since the cleaner was created, sorted by dataset; records of no dataset come last. Datasets without
    /// records, read or skipped, are left out.
    pub fn counts(&self) -> impl Iterator<Item = &RecordCounts> {
        self.counts.iter().filter(|count| count.read + count.skipped > 0)
    }

    /// Returns all rows, sorted by dataset; the cleaner has none afterwards. Datasets without rows are left out. A dataset with very many
    /// rows has several entries.
    pub fn drain(&mut self) -> Vec<CleanedRows> {
        for at in 0..self.contracts.len() {
            self.close_batch(at);
        }
        self.buffered_bytes = 0;
        let mut cleaned = std::mem::take(&mut self.full);
        cleaned.sort_by(|a, b| a.contract.name.cmp(&b.contract.name));
        cleaned
    }

    fn close_batch(&mut self, at: usize) {
        let batch = &mut self.batches[at];
        if batch.rows > 0 {
            let (read, bytes) = (batch.rows, batch.bytes);
            let rows = batch.finish();
            let contract = Arc::clone(&self.contracts[at].contract);
            self.full.push(CleanedRows { contract, rows, read, bytes });
        }
    }

    fn count(&mut self, dataset: Option<usize>, bytes: usize, quarantined: bool) {
        let count = &mut self.counts[dataset.unwrap_or(self.contracts.len())];
        count.read += 1;
        count.bytes += bytes as u64;
        count.quarantined += u64::from(quarantined);
    }

    /// Cleans a record and appends the row to the batch of its dataset. Returns false if it is skipped. `dataset` is the dataset that the
    /// sender named, and is set to the one that the record is routed to.
    fn clean_record(
        &mut self,
        record: &[u8],
        hint: Option<&str>,
        dataset: &mut Option<usize>,
        origin: &RecordOrigin<'_>,
    ) -> Result<bool, RecordError> {
        if record.len() > MAX_RECORD_BYTES {
            let detail = format!("{} bytes; a record has at most {MAX_RECORD_BYTES}", record.len());
            return Err(RecordError::new(Reason::TooLarge, detail));
        }
        let text = simdutf8::compat::from_utf8(record).map_err(|error| {
            RecordError::new(Reason::InvalidUtf8, format!("no UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let (text, at) = self.parse_and_route(text, hint, *dataset)?;
        *dataset = Some(at);
        let contract = &self.contracts[at];
        if let Some(broken) = contract.contract.broken() {
            return Err(RecordError::new(Reason::BrokenContract, broken.to_string()));
        }
        if self.record.has(self.fields.types_field()) {
            let Self { typed_fields, record, fields, nested_values, .. } = self;
            typed_fields.apply(record, text, fields, contract, nested_values)?;
        }
        if contract.skips(&self.record, text) {
            return Ok(false);
        }
        let is_recognised = contract.recognises(&self.record);
        if !is_recognised && !contract.reads_any(&self.record) {
            return Err(nothing_found(&contract.contract));
        }
        column_cleaner::clean_row(contract, &mut self.record, text, &mut self.row)?;
        if !is_recognised {
            return Err(nothing_found(&contract.contract));
        }
        let identity = self.batches[at].uses_record_identity().then(|| RecordIdentity::new(origin, record));
        // The names and quotes of a record take about as much as the fixed part of its row, unless the record is very short.
        self.append_row(at, text, record.len().max(self.batches[at].fixed_bytes), identity);
        Ok(true)
    }

    /// Parses a record and determines its dataset. If nothing of a contract is found in it, it may be the envelope of
    /// another API: the text that is returned is the record inside.
    fn parse_and_route<'t>(
        &mut self,
        text: &'t str,
        hint: Option<&str>,
        hinted: Option<usize>,
    ) -> Result<(&'t str, usize), RecordError> {
        self.parse(text)?;
        let routed = self.route(hint, hinted);
        if let Ok(at) = routed
            && (self.is_broken(at) || self.is_recognised(at, text)?)
        {
            return Ok((text, at));
        }
        let mut inner = text;
        for _ in 0..MAX_ENVELOPES {
            let Some(wrapped) = pinlake_payload::wrapped_object(inner) else { break };
            inner = wrapped;
            if self.parse(inner).is_ok()
                && let Ok(at) = self.route(hint, hinted)
                && self.is_recognised(at, inner).is_ok_and(|is_recognised| is_recognised)
            {
                return Ok((inner, at));
            }
        }
        if inner.len() != text.len() {
            self.parse(text)?;
        }
        let at = routed?;
        self.is_recognised(at, text)?;
        Ok((text, at))
    }

    /// Parses a record, with the fields that shapes need.
    fn parse(&mut self, text: &str) -> Result<(), RecordError> {
        record_parser::parse(text, &mut self.record, &mut self.fields)?;
        for at in &self.nested_shapes {
            self.contracts[*at].nested.find(&mut self.record, text, &mut self.nested_values)?;
        }
        Ok(())
    }

    /// Whether the contract recognises the record that was parsed from `text`. Finds its fields that are inside others.
    fn is_recognised(&mut self, at: usize, text: &str) -> Result<bool, RecordError> {
        let contract = &self.contracts[at];
        if !contract.nested.is_empty() {
            contract.nested.find(&mut self.record, text, &mut self.nested_values)?;
        }
        Ok(contract.recognises(&self.record))
    }

    fn append_row(&mut self, at: usize, text: &str, bytes: usize, identity: Option<RecordIdentity<'_>>) {
        if self.batches[at].bytes >= MAX_BATCH_BYTES {
            self.close_batch(at);
        }
        let view = RowView { row: &self.row, record: &self.record, text };
        self.batches[at].push(view, identity, bytes);
        self.buffered_bytes += bytes;
        self.last_dataset = at;
        self.last_key_has_record = identity.is_some();
    }

    /// Determines the dataset of the current record.
    fn route(&self, hint: Option<&str>, hinted: Option<usize>) -> Result<usize, RecordError> {
        let name = |at: usize| self.contracts[at].contract.name.as_str();
        if let (Some(hint), None) = (hint, hinted) {
            return Err(RecordError::new(Reason::Unroutable, format!("there is no dataset `{hint}`")));
        }
        if let Some(hinted) = hinted.filter(|at| {
            self.contracts[*at].shape.is_empty()
                || self.is_broken(*at)
                || self.contracts[*at].matches_shape(&self.record)
        }) {
            return Ok(hinted);
        }
        match (hinted, self.match_shapes()) {
            (None, ShapeMatch::One(right)) => Ok(right),
            (None, ShapeMatch::None) => Err(RecordError::new(
                Reason::Unroutable,
                "nothing named a dataset, and the record has the shape of none",
            )),
            (None, ShapeMatch::Several(these)) => {
                let names: Vec<&str> = these.into_iter().map(name).collect();
                let detail =
                    format!("nothing named a dataset, and the record has the shapes of {}", names.join(", "));
                Err(RecordError::new(Reason::Unroutable, detail))
            }
            (Some(hinted), ShapeMatch::One(right)) => match self.contracts[hinted].contract.route.misrouted {
                MisroutedPolicy::Reroute => Ok(right),
                MisroutedPolicy::Quarantine => {
                    let detail = format!("sent to {}, has the shape of {}", name(hinted), name(right));
                    Err(RecordError::new(Reason::Misrouted, detail))
                }
            },
            // Fields are missing, but the record matches no single other dataset: trust the sender.
            (Some(hinted), ShapeMatch::None | ShapeMatch::Several(_)) => Ok(hinted),
        }
    }

    /// Whether the contract has errors. Its dataset is known, and the record is not cleaned.
    fn is_broken(&self, at: usize) -> bool {
        self.contracts[at].contract.broken().is_some()
    }

    /// Finds the datasets whose shape the record has; of several, those with the most fields.
    fn match_shapes(&self) -> ShapeMatch {
        let mut best: Vec<usize> = Vec::new();
        for (at, own) in self.contracts.iter().enumerate().filter(|(_, own)| own.matches_shape(&self.record))
        {
            let most = best.first().map_or(0, |first| self.contracts[*first].shape.len());
            if own.shape.len() > most {
                best.clear();
            }
            if own.shape.len() >= most {
                best.push(at);
            }
        }
        match best[..] {
            [] => ShapeMatch::None,
            [dataset] => ShapeMatch::One(dataset),
            _ => ShapeMatch::Several(best),
        }
    }

    /// Appends a row to quarantine, whose columns are the only ones that this crate knows by name. The dataset in the row is the one that the
    /// sender named, also if it has no contract now: the key of the row must depend only on what was sent.
    fn quarantine(
        &mut self,
        raw: &[u8],
        hint: Option<&str>,
        dataset: Option<usize>,
        error: &RecordError,
        origin: &RecordOrigin<'_>,
    ) {
        // If records are their own identity, two records with the same bytes are two rows. Without a contract this is unknown, so they stay
        // two rows, unless no contract could ever accept them.
        let has_identity = match dataset.filter(|at| !self.is_broken(*at)) {
            Some(at) => self.batches[at].uses_record_identity(),
            None => error.reason.depends_on_contracts(),
        };
        let identity = has_identity.then(|| RecordIdentity::new(origin, raw));
        let contract = dataset.map(|at| Arc::clone(&self.contracts[at].contract));
        let sent_to = hint.or(contract.as_ref().map(|contract| contract.name.as_str()));
        let (record, row) = (&mut self.record, &mut self.row);
        record.clear();
        row.clear();
        for column in &self.contracts[self.quarantine].contract.columns {
            let cell = match column.name.as_str() {
                "dataset" => sent_to.map(|name| Cell::Text(record.push_scratch(name))),
                "raw" => Some(row.push_bytes(raw)),
                "reason" => Some(Cell::Text(record.push_scratch(error.reason.code()))),
                "detail" => Some(Cell::Text(record.push_scratch(&error.detail))),
                "source" => Some(Cell::Text(record.push_scratch(origin.source))),
                "position" => Some(Cell::Text(record.push_scratch(&origin.position.to_string()))),
                "record" => origin
                    .record_id
                    .map(|(request, index)| Cell::Text(record.push_scratch(&format!("{request}/{index}")))),
                "contract" => contract
                    .as_ref()
                    .filter(|contract| contract.broken().is_none())
                    .map(|contract| Cell::Text(record.push_scratch(&contract.label()))),
                "arrived_at" => Some(Cell::Timestamp(self.arrived_at.timestamp_micros())),
                // `resolved_at`: not resolved yet.
                _ => None,
            };
            row.cells.push(cell.unwrap_or(Cell::Null));
        }
        let texts = record.scratch.len() + row.bytes.len();
        self.append_row(self.quarantine, "", texts + self.batches[self.quarantine].fixed_bytes, identity);
    }
}

fn nothing_found(contract: &Contract) -> RecordError {
    const MAX_NAMES: usize = 8;
    let fields: Vec<&String> = match &contract.route.any_of {
        none if none.is_empty() => {
            contract.columns.iter().flat_map(|column| column.source.fields()).flatten().collect()
        }
        names => names.iter().collect(),
    };
    let names: Vec<String> = fields.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
    let more = if fields.len() > MAX_NAMES { ", ..." } else { "" };
    RecordError::new(Reason::NothingFound, format!("the record has none of {}{more}", names.join(", ")))
}

fn find_contract(contracts: &[CompiledContract], name: &str) -> Option<usize> {
    contracts.binary_search_by(|own| own.contract.name.as_str().cmp(name)).ok()
}
