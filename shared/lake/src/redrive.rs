//! Redrive: cleans quarantined records again and inserts those that their contract now accepts.
//!
//! Rows are inserted first and marked as resolved in quarantine afterwards, so in between a record is in both places
//! and never in neither. An interrupted redrive has to be repeated, as the trigger queue does. By then the contract may
//! be the old one again, which would accept nothing, so a redrive also resolves the records that their table has under
//! any catalog of the history. A resolved row keeps its key, so a late copy of the record is not quarantined again.
//!
//! A document whose dataset has declared `[file] records` since is not cleaned itself, but the records inside, as if it arrived now. Those
//! that break their contract get their own rows in quarantine, and the document is resolved.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;

use pinlake_clean::{Disposition, Position, RecordCleaner, RecordOrigin};
use pinlake_landing::land::element_index;
use pinlake_landing::source::RecordSource;
use pinlake_schema::{Catalog, QUARANTINE};

use crate::error::LakeError;
use crate::keys::Key;
use crate::quarantine::{self, Document, EvaluatedRecord, QuarantineColumns};
use crate::reconcile::{self, Reconciler};
use crate::tables::Tables;

/// What one redrive did: `read = resolved + left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedriveSummary {
    /// Unresolved records that were cleaned again; the records inside a document instead of the document.
    pub read: u64,
    /// Records that their contract now accepts, or that their table has. They are marked as resolved in quarantine.
    pub resolved: u64,
    /// The part of `resolved` that is new in its table.
    pub inserted: u64,
    /// Records that still break their contract.
    pub left: u64,
}

/// Rows of the records inside documents are inserted before they take more than this many bytes.
const MAX_BUFFERED_BYTES: usize = 64 << 20;

/// Redrives quarantine: see [`Lake::redrive`](crate::Lake::redrive).
///
/// # Errors
/// See [`LakeError`].
pub(crate) async fn redrive(
    tables: &Tables,
    catalog: &Arc<Catalog>,
    dataset: Option<&str>,
) -> Result<RedriveSummary, LakeError> {
    let quarantine = tables.get(catalog.quarantine());
    let now = tables.clock().now();
    let mut summary = RedriveSummary::default();
    let catalogs = tables.catalog_history.load_all(&*tables.store).await?;
    let reconciler = Reconciler { tables, catalog, catalogs: &catalogs };
    let is_selected = |columns: &QuarantineColumns<'_>, row| {
        columns.is_of_dataset(row, dataset) && columns.has_contract(row, catalog)
    };
    let is_document = |columns: &QuarantineColumns<'_>, row| {
        columns.has_records_inside(row, catalog) && !columns.was_inside(row, catalog, &catalogs)
    };
    for file in quarantine.data_files().await? {
        let mut cleaner = RecordCleaner::new(catalog.clone(), now).with_keys_of_others(&catalogs);
        let mut records = Vec::new();
        let batches = quarantine.read_file(&file).await?;
        let placed = reconciler.resolve_placed_elsewhere(&batches).await?;
        for batch in &batches {
            let is_record = |columns: &QuarantineColumns<'_>, row| {
                is_selected(columns, row) && !is_document(columns, row)
            };
            records.extend(quarantine::evaluate_unresolved(catalog, batch, &mut cleaner, is_record)?);
        }
        let (inside, documents) = redrive_documents(tables, catalog, &batches, |columns, row| {
            is_selected(columns, row) && is_document(columns, row)
        })
        .await?;
        summary.add(inside);
        // What still breaks its contract is in quarantine already. Inserting the other rows resolves their records.
        for cleaned in cleaner.drain().into_iter().filter(|cleaned| cleaned.contract.name != QUARANTINE) {
            let rows = &[cleaned.rows];
            let inserted = reconcile::insert_and_reconcile(tables, catalog, &cleaned.contract, rows).await?;
            summary.inserted += inserted.inserted;
        }
        let is_applied = |record: &&EvaluatedRecord| match record.disposition {
            Disposition::Clean => record.contract.keep.is_some(),
            Disposition::Skipped => true,
            Disposition::Quarantined => false,
        };
        let applied = records.iter().filter(is_applied).map(|record| record.quarantined);
        reconciler.resolve(&applied.chain(documents).collect()).await?;
        let is_resolved = |record: &&EvaluatedRecord| {
            record.disposition != Disposition::Quarantined || placed.contains(&record.quarantined)
        };
        let resolved = records.iter().filter(is_resolved).count();
        summary.read += records.len() as u64;
        summary.resolved += resolved as u64;
        summary.left += (records.len() - resolved) as u64;
    }
    Ok(summary)
}

impl RedriveSummary {
    fn add(&mut self, other: RedriveSummary) {
        self.read += other.read;
        self.resolved += other.resolved;
        self.inserted += other.inserted;
        self.left += other.left;
    }
}

/// Inserts the records inside the selected documents of a data file of quarantine. Returns the keys of the documents, which are to be
/// resolved.
async fn redrive_documents(
    tables: &Tables,
    catalog: &Arc<Catalog>,
    batches: &[RecordBatch],
    is_selected: impl Fn(&QuarantineColumns<'_>, usize) -> bool,
) -> Result<(RedriveSummary, BTreeSet<Key>), LakeError> {
    let mut documents = Vec::new();
    for batch in batches {
        documents.extend(quarantine::find_documents(catalog, batch, &is_selected)?);
    }
    documents.sort_by_key(DocumentPlace::of);
    let mut summary = RedriveSummary::default();
    let mut cleaner = RecordCleaner::new(catalog.clone(), tables.clock().now());
    let mut resolved = BTreeSet::new();
    // By how many positions the records of earlier documents shift a document of the same delivery.
    let (mut delivery, mut shift) = (None, 0_u64);
    for document in documents {
        let place = DocumentPlace::of(&document);
        if delivery != Some((place.source, place.delivery)) {
            (delivery, shift) = (Some((place.source, place.delivery)), 0);
        }
        for (element, record) in (0..).zip(&document.records) {
            let origin = place.origin(&document, shift, element, record);
            let disposition = cleaner.push(record, Some(document.dataset), &origin);
            summary.read += 1;
            match disposition {
                Disposition::Quarantined => summary.left += 1,
                Disposition::Clean | Disposition::Skipped => summary.resolved += 1,
            }
            if cleaner.buffered_bytes() >= MAX_BUFFERED_BYTES {
                summary.inserted += insert_rows(tables, catalog, &mut cleaner).await?;
            }
        }
        shift = shift.wrapping_add(place.shift(document.records.len() as u64));
        resolved.insert(document.quarantined);
    }
    summary.inserted += insert_rows(tables, catalog, &mut cleaner).await?;
    Ok((summary, resolved))
}

/// Inserts the rows of the cleaner, those of quarantine included. Returns how many are new in tables of datasets.
async fn insert_rows(
    tables: &Tables,
    catalog: &Arc<Catalog>,
    cleaner: &mut RecordCleaner,
) -> Result<u64, LakeError> {
    let mut inserted = 0;
    for cleaned in cleaner.drain() {
        let rows = &[cleaned.rows];
        let summary = reconcile::insert_and_reconcile(tables, catalog, &cleaned.contract, rows).await?;
        if cleaned.contract.name != QUARANTINE {
            inserted += summary.inserted;
        }
    }
    Ok(inserted)
}

/// Where a document was in its delivery: a request, the data of a stream's record, or a file. Documents are in its order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DocumentPlace<'a> {
    source: &'a str,
    /// The request, or the sequence number.
    delivery: &'a str,
    /// The number of the document there, and its line.
    index: u64,
    line: u64,
}

impl<'a> DocumentPlace<'a> {
    fn of(document: &Document<'a>) -> Self {
        let (number, line) = match document.origin.position {
            Position::Line(line) => ("", line),
            Position::Sequence { number, line } => (number, line),
        };
        let (delivery, index) = document.origin.record_id.unwrap_or((number, 0));
        Self { source: document.origin.source, delivery, index, line }
    }

    fn is_in_file(&self) -> bool {
        matches!(self.source.parse(), Ok(RecordSource::File { .. }))
    }

    /// The origin that a record inside has if the document is delivered again. `shift` is the sum of [`Self::shift`] of the documents before
    /// it.
    fn origin(&self, document: &Document<'a>, shift: u64, element: u64, record: &[u8]) -> RecordOrigin<'a> {
        let mut origin = document.origin;
        let moved = element.wrapping_add(shift);
        match (&mut origin.position, &mut origin.record_id) {
            // A file has lines, whatever is on them. Its records may be numbered.
            (Position::Line(line), id) => {
                let start = record.as_ptr().addr().saturating_sub(document.raw.as_ptr().addr());
                let before = document.raw.get(..start).unwrap_or_default();
                *line += before.iter().filter(|byte| **byte == b'\n').count() as u64;
                if let Some((_, index)) = id {
                    *index = index.wrapping_add(moved);
                }
            }
            // A record of a request keeps its index.
            (Position::Sequence { line, .. }, Some((_, index))) => {
                *line += element;
                *index = element_index(*index, element);
            }
            // The records inside continue the numbering of the lines.
            (Position::Sequence { line, .. }, None) => *line = line.wrapping_add(moved),
        }
        origin
    }

    /// How far the records inside a document move those that follow it.
    fn shift(&self, records: u64) -> u64 {
        if self.is_in_file() { records.wrapping_sub(1) } else { records.saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::quarantine::RESOLVED_AT;
    use crate::tests::support::{env, visits, without_visits};
    use arrow::array::Array;
    use object_store::memory::InMemory;

    fn lake() -> Lake {
        Lake::new(Arc::new(InMemory::new()), env(1))
    }

    async fn insert(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) {
        let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        for record in records {
            let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
            cleaner.push(record.as_bytes(), Some("visit"), &origin);
        }
        for cleaned in cleaner.drain() {
            lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_fixed_contract_accepts_its_records_once_and_drops_late_copies() {
        let (lake, broken, fixed) = (lake(), visits(""), visits("null = [\"home\"]"));
        let bad = r#"{"visitor": 1, "page": "home"}"#;
        let worse = r#"{"visitor": "nobody"}"#;
        insert(&lake, &broken, &[bad, worse, r#"{"visitor": 2, "page": 7}"#]).await;
        let idle = lake.redrive(&broken, None).await.unwrap();
        assert_eq!(idle, RedriveSummary { read: 2, resolved: 0, inserted: 0, left: 2 });

        let done = lake.redrive(&fixed, Some("visit")).await.unwrap();
        assert_eq!(done, RedriveSummary { read: 2, resolved: 1, inserted: 1, left: 1 });
        let again = lake.redrive(&fixed, None).await.unwrap();
        assert_eq!(again, RedriveSummary { read: 1, resolved: 0, inserted: 0, left: 1 });

        // A late copy, quarantined under the old contract.
        insert(&lake, &broken, &[bad]).await;
        assert_eq!(lake.redrive(&fixed, None).await.unwrap().read, 1);
        let quarantine = lake.table(fixed.quarantine());
        let pinned = quarantine.pin().await.unwrap();
        assert_eq!(
            pinned.files.iter().filter_map(|file| file.rows).sum::<u64>(),
            2,
            "as many rows as before"
        );
        let mut resolved = Vec::new();
        for file in quarantine.data_files().await.unwrap() {
            for batch in quarantine.read_file(&file).await.unwrap() {
                let column = batch.column_by_name(RESOLVED_AT).unwrap().clone();
                resolved.extend((0..column.len()).map(|row| column.is_valid(row)));
            }
        }
        resolved.sort_unstable();
        assert_eq!(resolved, [false, true]);
    }

    #[tokio::test]
    async fn an_interrupted_redrive_is_completed_under_the_old_contract_too() {
        let (lake, broken, fixed) = (lake(), visits(""), visits("null = [\"home\"]"));
        insert(&lake, &broken, &[r#"{"visitor": 1, "page": "home"}"#]).await;
        // The interrupted redrive has stored the catalog and inserted the row, but not updated quarantine.
        lake.catalog_history().add(&**lake.store(), &fixed).await.unwrap();
        let mut cleaner = RecordCleaner::new(fixed.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        cleaner.push(br#"{"visitor": 1, "page": "home"}"#, Some("visit"), &origin);
        let rows = cleaner.drain().remove(0).rows;
        let visit = lake.table(fixed.contract("visit").unwrap());
        assert_eq!(visit.insert(&[rows]).await.unwrap().inserted, 1);

        let done = lake.redrive(&broken, None).await.unwrap();
        assert_eq!(done, RedriveSummary { read: 1, resolved: 1, inserted: 0, left: 0 });
        assert_eq!(lake.redrive(&broken, None).await.unwrap(), RedriveSummary::default());
    }

    #[tokio::test]
    async fn identity_by_record_is_kept_through_quarantine() {
        let by_record = |page: &str| {
            let text = visits(page).files()[0].1.replace("[\"visitor\"]\n[route]", "\"record\"\n[route]");
            Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
        };
        let (lake, broken, fixed) = (lake(), by_record(""), by_record("null = [\"home\"]"));
        for (catalog, inserted) in [(&broken, 1), (&fixed, 0)] {
            let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
            let position = Position::Sequence { number: "7", line: 2 };
            let origin = RecordOrigin { source: "test", position, record_id: Some(("a/b", 3)) };
            cleaner.push(br#"{"visitor": 1, "page": "home"}"#, Some("visit"), &origin);
            // A record of a file is identified by its line.
            let origin = RecordOrigin { source: "file/x", position: Position::Line(9), record_id: None };
            cleaner.push(br#"{"visitor": 2, "page": "home"}"#, Some("visit"), &origin);
            for cleaned in cleaner.drain() {
                let done = lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
                assert_eq!(
                    done.inserted,
                    2 * inserted,
                    "the table has the record when it is delivered again"
                );
            }
            if inserted == 1 {
                assert_eq!(lake.redrive(&fixed, None).await.unwrap().inserted, 2);
            }
        }
    }

    #[tokio::test]
    async fn a_record_that_breaks_its_new_contract_stays_unresolved() {
        let before = without_visits();
        let lake = lake();
        let mut cleaner = RecordCleaner::new(before.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        // No dataset has its shape at first. Then one has, and the record breaks its rules.
        cleaner.push(br#"{"visitor": "nobody"}"#, None, &origin);
        for cleaned in cleaner.drain() {
            lake.insert(&before, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
        let after = visits("");
        for _ in 0..2 {
            let done = lake.redrive(&after, None).await.unwrap();
            assert_eq!(done, RedriveSummary { read: 1, resolved: 0, inserted: 0, left: 1 });
        }
    }

    /// A catalog of visits, identified by `identity`, inside documents at `path`.
    fn visits_inside(version: u32, path: Option<&str>, identity: &str) -> Arc<Catalog> {
        let path = path.map(|path| format!("[file]\nrecords = \"{path}\"\n")).unwrap_or_default();
        let text = visits("").files()[0]
            .1
            .replace("version = 1", &format!("version = {version}"))
            .replace("[\"visitor\"]\n[route]", &format!("{identity}\n{path}[route]"));
        Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
    }

    /// The unresolved records of quarantine.
    async fn unresolved(lake: &Lake, catalog: &Catalog) -> Vec<String> {
        let quarantine = lake.table(catalog.quarantine());
        let mut found = Vec::new();
        for file in quarantine.data_files().await.unwrap() {
            for batch in quarantine.read_file(&file).await.unwrap() {
                let column = |name: &str| batch.column_by_name(name).unwrap().clone();
                let (resolved, raw) = (column(RESOLVED_AT), column("raw"));
                let raw = arrow::array::cast::AsArray::as_binary::<i32>(&raw);
                let rows = (0..batch.num_rows()).filter(|row| resolved.is_null(*row));
                found.extend(rows.map(|row| String::from_utf8(raw.value(row).to_vec()).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[tokio::test]
    async fn documents_are_split_once_their_contract_says_where_their_records_are() {
        let document = r#"{"Records":[{"visitor":1},{"visitor":2,"page":"home"},{"visitor":1}]}"#;
        for (version, path) in [(2, "Records[]"), (1, "Records")] {
            let (lake, before) = (lake(), visits_inside(1, None, "[\"visitor\"]"));
            insert(&lake, &before, &[document, r#"{"Records":[]}"#, r#"{"x":1}"#, "[]"]).await;
            let after = visits_inside(version, Some(path), "[\"visitor\"]");
            // A late copy of a record inside does not resolve its document.
            insert(&lake, &after, &[r#"{"visitor": 7}"#]).await;
            assert_eq!(unresolved(&lake, &after).await.len(), 4);
            let done = lake.redrive(&after, Some("visit")).await.unwrap();
            assert_eq!(done, RedriveSummary { read: 5, resolved: 2, inserted: 1, left: 3 });
            let left = ["[]", r#"{"visitor":2,"page":"home"}"#, r#"{"x":1}"#];
            assert_eq!(unresolved(&lake, &after).await, left);
            let again = lake.redrive(&after, None).await.unwrap();
            assert_eq!(again, RedriveSummary { read: 3, resolved: 0, inserted: 0, left: 3 });
            // A late copy of the document.
            insert(&lake, &before, &[document]).await;
            assert_eq!(unresolved(&lake, &after).await, left);
        }
    }

    #[tokio::test]
    async fn a_record_from_a_document_is_not_split_again() {
        let (lake, inside) = (lake(), visits_inside(1, Some("visits[]"), "[\"visitor\"]"));
        // As the reader of its file found it.
        let record = r#"{"visitor":"x","visits":[{"visitor":5}]}"#;
        insert(&lake, &inside, &[record]).await;
        let later = visits_inside(2, Some("visits[]"), "[\"visitor\"]");
        let done = lake.redrive(&later, None).await.unwrap();
        assert_eq!(done, RedriveSummary { read: 1, resolved: 0, inserted: 0, left: 1 });
        assert_eq!(unresolved(&lake, &later).await, [record]);
    }

    /// A place in a source, and the id of a record there.
    type Place = (Position<'static>, Option<(&'static str, u64)>);
    /// A source, the places of two documents, and those of the records inside.
    type Delivery = (&'static str, [Place; 2], [Place; 5]);

    #[tokio::test]
    async fn records_inside_documents_have_the_identity_of_a_new_delivery() {
        let before = visits_inside(1, None, "\"record\"");
        let after = visits_inside(2, Some("r[]"), "\"record\"");
        let (one, two, three) = (r#"{"visitor":1}"#, r#"{"visitor":2}"#, r#"{"visitor":3}"#);
        let first = format!("{{\"r\":[{one},{two},\n{one}]}}");
        let second = format!("{{\"r\":[{two},{three}]}}");
        let stream = |line| Position::Sequence { number: "7", line };
        // Two documents of a delivery, and the records inside as they arrive under the new contract.
        let deliveries: [Delivery; 4] = [
            (
                "kinesis/s/shardId-0",
                [(stream(1), None), (stream(2), None)],
                [
                    (stream(1), None),
                    (stream(2), None),
                    (stream(3), None),
                    (stream(4), None),
                    (stream(5), None),
                ],
            ),
            (
                "kinesis/s/shardId-0",
                [(stream(1), Some(("r", 4))), (stream(2), Some(("r", 5)))],
                [
                    (stream(1), Some(("r", 4))),
                    (stream(2), Some(("r", element_index(4, 1)))),
                    (stream(3), Some(("r", element_index(4, 2)))),
                    (stream(4), Some(("r", 5))),
                    (stream(5), Some(("r", element_index(5, 1)))),
                ],
            ),
            (
                "file/visit.json",
                [(Position::Line(3), None), (Position::Line(5), None)],
                [3, 3, 4, 5, 5].map(|line| (Position::Line(line), None)),
            ),
            (
                "file/s3://b/visit.json",
                [
                    (Position::Line(3), Some(("b/visit.json", 0))),
                    (Position::Line(5), Some(("b/visit.json", 1))),
                ],
                [(3, 0), (3, 1), (4, 2), (5, 3), (5, 4)]
                    .map(|(line, index)| (Position::Line(line), Some(("b/visit.json", index)))),
            ),
        ];
        for (source, outside, inside) in deliveries {
            let lake = lake();
            let push = |catalog: &Arc<Catalog>, records: &[(&str, Place)]| {
                let mut cleaner =
                    RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
                for (record, (position, record_id)) in records {
                    let origin = RecordOrigin { source, position: *position, record_id: *record_id };
                    cleaner.push(record.as_bytes(), Some("visit"), &origin);
                }
                cleaner.drain()
            };
            // The later one first, as threads may clean them.
            let documents = [(second.as_str(), outside[1]), (first.as_str(), outside[0])];
            for cleaned in push(&before, &documents) {
                lake.insert(&before, &cleaned.contract, &[cleaned.rows]).await.unwrap();
            }
            let done = lake.redrive(&after, None).await.unwrap();
            assert_eq!(done, RedriveSummary { read: 5, resolved: 5, inserted: 5, left: 0 }, "{source}");
            let records: Vec<_> = [one, two, one, two, three].into_iter().zip(inside).collect();
            for cleaned in push(&after, &records) {
                let again = lake.insert(&after, &cleaned.contract, &[cleaned.rows]).await.unwrap();
                assert_eq!((again.read, again.inserted), (5, 0), "{source}: {outside:?}");
            }
        }
    }
}
