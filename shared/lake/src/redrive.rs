//! Redrive: cleans quarantined records again and inserts those that their contract now accepts.
//!
//! Rows are inserted first and marked as resolved in quarantine afterwards, so in between a record is in both places
//! and never in neither. An interrupted redrive has to be repeated, as the trigger queue does. By then the contract may
//! be the old one again, which would accept nothing, so a redrive also resolves the records that their table has under
//! any catalog of the history. A resolved row keeps its key, so a late copy of the record is not quarantined again.

use std::sync::Arc;

use pinlake_clean::{Disposition, RecordCleaner};
use pinlake_schema::{Catalog, QUARANTINE};

use crate::error::LakeError;
use crate::quarantine::{self, EvaluatedRecord, QuarantineColumns};
use crate::reconcile::{self, Reconciler};
use crate::tables::Tables;

/// What one redrive did: `read = resolved + left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedriveSummary {
    /// Unresolved records that were cleaned again.
    pub read: u64,
    /// Records that their contract now accepts, or that their table has. They are marked as resolved in quarantine.
    pub resolved: u64,
    /// The part of `resolved` that is new in its table.
    pub inserted: u64,
    /// Records that still break their contract.
    pub left: u64,
}

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
    for file in quarantine.data_files().await? {
        let mut cleaner = RecordCleaner::new(catalog.clone(), now).with_keys_of_others(&catalogs);
        let mut records = Vec::new();
        let batches = quarantine.read_file(&file).await?;
        let placed = reconciler.resolve_placed_elsewhere(&batches).await?;
        for batch in &batches {
            let is_selected = |columns: &QuarantineColumns<'_>, row| {
                columns.is_of_dataset(row, dataset) && columns.has_contract(row, catalog)
            };
            records.extend(quarantine::evaluate_unresolved(catalog, batch, &mut cleaner, is_selected)?);
        }
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
        let applied = records.iter().filter(is_applied).map(|record| record.quarantined).collect();
        reconciler.resolve(&applied).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::quarantine::RESOLVED_AT;
    use crate::tests::support::{env, visits, without_visits};
    use arrow::array::Array;
    use object_store::memory::InMemory;
    use pinlake_clean::{Position, RecordOrigin};

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
}
