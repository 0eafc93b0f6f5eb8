//! Redrive: records that are in quarantine, and that a mended contract now takes, into their tables.
//!
//! The rows are inserted first and marked resolved in quarantine after, both by [`Lake::insert`]; between the two a
//! record is in both, never in neither. So a redrive that was broken off has to be done again, as the queue does; by then
//! the contract may be the old one again, which would let nothing in: a redrive also resolves what its table has under
//! any release. A resolved row keeps its key, so a late copy of the record stays out of quarantine.

use std::sync::Arc;

use pinlake_clean::{Disposition, RecordCleaner};
use pinlake_schema::{Catalog, QUARANTINE};

use crate::Lake;
use crate::error::LakeError;
use crate::quarantine::{self, EvaluatedRecord, Rows};

/// What one [`Lake::redrive`] did: `read = resolved + left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedriveSummary {
    /// Unresolved records that were tried.
    pub read: u64,
    /// Records that their contract now takes, or that their table has; marked so in quarantine.
    pub resolved: u64,
    /// Of those, the ones that are new in their table.
    pub inserted: u64,
    /// Records that still break their contract.
    pub left: u64,
}

impl Lake {
    /// Cleans the unresolved quarantined records again, of one dataset or of all.
    ///
    /// # Errors
    /// See [`LakeError`]; after a retryable one, doing it again is safe.
    pub async fn redrive(
        &self,
        catalog: &Arc<Catalog>,
        dataset: Option<&str>,
    ) -> Result<RedriveSummary, LakeError> {
        let table = self.table(catalog.quarantine());
        let now = self.clock().now();
        let mut done = RedriveSummary::default();
        let catalog_history = self.catalog_history().all(&**self.store()).await?;
        for file in table.data_files().await? {
            let mut intake = RecordCleaner::new(catalog.clone(), now);
            let mut judged = Vec::new();
            let batches = table.batches_of(&file).await?;
            let present = self.resolve_what_is_there(catalog, &catalog_history, &batches).await?;
            for batch in &batches {
                let meant = |rows: &Rows<'_>, row| rows.is_of(row, dataset) && rows.is_known(row, catalog);
                judged.extend(quarantine::judge(catalog, batch, &mut intake, meant)?);
            }
            // What still breaks its contract lies in quarantine already. Inserting the others resolves them.
            for cleaned in intake.drain().into_iter().filter(|cleaned| cleaned.contract.name != QUARANTINE) {
                done.inserted += self.insert(catalog, &cleaned.contract, &[cleaned.rows]).await?.inserted;
            }
            let is_resolved = |judged: &&EvaluatedRecord| {
                matches!(judged.verdict, Disposition::Clean) || present.contains(&judged.quarantined)
            };
            let resolved = judged.iter().filter(is_resolved).count();
            done.read += judged.len() as u64;
            done.resolved += resolved as u64;
            done.left += (judged.len() - resolved) as u64;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quarantine::RESOLVED_AT;
    use crate::testing::{effects, visits, without_visits};
    use arrow::array::Array;
    use object_store::memory::InMemory;
    use pinlake_clean::{Position, RecordOrigin};

    fn lake() -> Lake {
        Lake::new(Arc::new(InMemory::new()), effects(1))
    }

    async fn insert(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) {
        let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        for record in records {
            let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
            intake.push(record.as_bytes(), Some("visit"), &origin);
        }
        for cleaned in intake.drain() {
            lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_mended_contract_takes_its_records_once_and_late_copies_stay_out() {
        let (lake, broken, mended) = (lake(), visits(""), visits("null = [\"home\"]"));
        let bad = r#"{"visitor": 1, "page": "home"}"#;
        let worse = r#"{"visitor": "nobody"}"#;
        insert(&lake, &broken, &[bad, worse, r#"{"visitor": 2, "page": 7}"#]).await;
        let idle = lake.redrive(&broken, None).await.unwrap();
        assert_eq!(idle, RedriveSummary { read: 2, resolved: 0, inserted: 0, left: 2 });

        let done = lake.redrive(&mended, Some("visit")).await.unwrap();
        assert_eq!(done, RedriveSummary { read: 2, resolved: 1, inserted: 1, left: 1 });
        let again = lake.redrive(&mended, None).await.unwrap();
        assert_eq!(again, RedriveSummary { read: 1, resolved: 0, inserted: 0, left: 1 });

        // A copy that was quarantined before the contract was mended arrives late.
        insert(&lake, &broken, &[bad]).await;
        assert_eq!(lake.redrive(&mended, None).await.unwrap().read, 1);
        let quarantine = lake.table(mended.quarantine());
        let pinned = quarantine.pin().await.unwrap();
        assert_eq!(
            pinned.files.iter().filter_map(|file| file.rows).sum::<u64>(),
            2,
            "as many rows as before"
        );
        let mut resolved = Vec::new();
        for file in quarantine.data_files().await.unwrap() {
            for batch in quarantine.batches_of(&file).await.unwrap() {
                let column = batch.column_by_name(RESOLVED_AT).unwrap().clone();
                resolved.extend((0..column.len()).map(|row| column.is_valid(row)));
            }
        }
        resolved.sort_unstable();
        assert_eq!(resolved, [false, true]);
    }

    #[tokio::test]
    async fn a_redrive_that_was_broken_off_is_done_again_by_the_old_contract_too() {
        let (lake, broken, mended) = (lake(), visits(""), visits("null = [\"home\"]"));
        insert(&lake, &broken, &[r#"{"visitor": 1, "page": "home"}"#]).await;
        // As far as it came: the release is known, the row is in its table, quarantine has not been told.
        lake.catalog_history().keep(&**lake.store(), &mended).await.unwrap();
        let mut intake = RecordCleaner::new(mended.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        intake.push(br#"{"visitor": 1, "page": "home"}"#, Some("visit"), &origin);
        let rows = intake.drain().remove(0).rows;
        let visit = lake.table(mended.contract("visit").unwrap());
        assert_eq!(visit.insert(&[rows]).await.unwrap().inserted, 1);

        let done = lake.redrive(&broken, None).await.unwrap();
        assert_eq!(done, RedriveSummary { read: 1, resolved: 1, inserted: 0, left: 0 });
        assert_eq!(lake.redrive(&broken, None).await.unwrap(), RedriveSummary::default());
    }

    #[tokio::test]
    async fn a_record_that_is_its_own_identity_keeps_it_through_quarantine() {
        let by_record = |page: &str| {
            let text = visits(page).files()[0].1.replace("[\"visitor\"]\n[route]", "\"record\"\n[route]");
            Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
        };
        let (lake, broken, mended) = (lake(), by_record(""), by_record("null = [\"home\"]"));
        for (catalog, inserted) in [(&broken, 1), (&mended, 0)] {
            let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
            let position = Position::Sequence { number: "7", line: 2 };
            let origin = RecordOrigin { source: "test", position, record_id: Some(("a/b", 3)) };
            intake.push(br#"{"visitor": 1, "page": "home"}"#, Some("visit"), &origin);
            // From a file: its line is its identity.
            let origin = RecordOrigin { source: "file/x", position: Position::Line(9), record_id: None };
            intake.push(br#"{"visitor": 2, "page": "home"}"#, Some("visit"), &origin);
            for cleaned in intake.drain() {
                let done = lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
                assert_eq!(done.inserted, 2 * inserted, "the table has it when the record comes again");
            }
            if inserted == 1 {
                assert_eq!(lake.redrive(&mended, None).await.unwrap().inserted, 2);
            }
        }
    }

    #[tokio::test]
    async fn a_record_that_breaks_the_contract_that_it_has_now_stays_unresolved() {
        let before = without_visits();
        let lake = lake();
        let mut intake = RecordCleaner::new(before.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        // No dataset has its shape; then one has, whose rules it breaks.
        intake.push(br#"{"visitor": "nobody"}"#, None, &origin);
        for cleaned in intake.drain() {
            lake.insert(&before, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
        let after = visits("");
        for _ in 0..2 {
            let done = lake.redrive(&after, None).await.unwrap();
            assert_eq!(done, RedriveSummary { read: 1, resolved: 0, inserted: 0, left: 1 });
        }
    }
}
