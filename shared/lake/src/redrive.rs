//! Redrive: records that are in quarantine, and that a mended contract now takes, into their tables.
//!
//! The rows are inserted first and marked resolved in quarantine after; between the two a record is in both, never in
//! neither, and doing it again is safe. A resolved row keeps its key, so a late copy of the record stays out of
//! quarantine.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::Array;
use pinlake_clean::Intake;
use pinlake_schema::{Catalog, QUARANTINE};

use crate::Lake;
use crate::error::LakeError;
use crate::keys::{Key, key_at};
use crate::quarantine::Rows;

/// What one [`Lake::redrive`] did: `read = resolved + left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redriven {
    /// Unresolved records that were tried.
    pub read: u64,
    /// Records that their contract now takes; marked so in quarantine.
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
    ) -> Result<Redriven, LakeError> {
        let quarantine = self.table(catalog.quarantine());
        let now = self.clock().now();
        let mut done = Redriven::default();
        for file in quarantine.data_files().await? {
            let mut intake = Intake::new(catalog.clone(), now);
            let mut tried = BTreeSet::new();
            for batch in quarantine.batches_of(&file).await? {
                let keys = pinlake_clean::keys(catalog.quarantine(), &batch)
                    .map_err(|error| LakeError::encode(QUARANTINE)(error))?;
                let rows = Rows::of(&batch)?;
                for row in 0..batch.num_rows() {
                    if rows.is_unresolved(row) && rows.is_of(row, dataset) && rows.is_known(row, catalog) {
                        tried.insert(key_at(&keys, row));
                        rows.push(row, &mut intake);
                    }
                }
            }
            let left = self.insert_good(catalog, intake, &mut done).await?;
            let resolved: BTreeSet<Key> = tried.difference(&left).copied().collect();
            done.read += tried.len() as u64;
            done.left += tried.intersection(&left).count() as u64;
            done.resolved += resolved.len() as u64;
            // Most are by now: inserting them resolved them. Not those whose key another record of quarantine gave.
            self.resolve(catalog, &resolved).await?;
        }
        Ok(done)
    }

    /// Inserts what is clean now, and gives the quarantine keys of what is not.
    async fn insert_good(
        &self,
        catalog: &Arc<Catalog>,
        mut intake: Intake,
        done: &mut Redriven,
    ) -> Result<BTreeSet<Key>, LakeError> {
        let mut left = BTreeSet::new();
        for cleaned in intake.drain() {
            if cleaned.contract.name == QUARANTINE {
                let keys = crate::keys::keys_of(&cleaned.rows).map_err(LakeError::encode(QUARANTINE))?;
                left.extend((0..keys.len()).map(|row| key_at(keys, row)));
            } else {
                done.inserted += self.insert(catalog, &cleaned.contract, &[cleaned.rows]).await?.inserted;
            }
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quarantine::RESOLVED_AT;
    use object_store::memory::InMemory;
    use pinlake_clean::{Origin, Position};
    use pinlake_effects::{Chance, Effects, ManualClock};

    fn lake() -> Lake {
        let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
        let effects = Effects { clock: Arc::new(clock), chance: Arc::new(Chance::seeded(1)) };
        Lake::new(Arc::new(InMemory::new()), effects)
    }

    /// A contract whose `page` has the type that is given.
    fn catalog(page: &str) -> Arc<Catalog> {
        let text = format!(
            "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
             [route]\nshape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
             [[column]]\nname = \"page\"\ntype = \"int64\"\n{page}\n"
        );
        Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
    }

    async fn insert(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) {
        let mut intake = Intake::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        for record in records {
            let origin = Origin { source: "test", position: Position::Line(1), record_id: None };
            intake.push(record.as_bytes(), Some("visit"), &origin);
        }
        for cleaned in intake.drain() {
            lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_mended_contract_takes_its_records_once_and_late_copies_stay_out() {
        let (lake, broken, mended) = (lake(), catalog(""), catalog("null = [\"home\"]"));
        let bad = r#"{"visitor": 1, "page": "home"}"#;
        let worse = r#"{"visitor": "nobody"}"#;
        insert(&lake, &broken, &[bad, worse, r#"{"visitor": 2, "page": 7}"#]).await;
        let idle = lake.redrive(&broken, None).await.unwrap();
        assert_eq!(idle, Redriven { read: 2, resolved: 0, inserted: 0, left: 2 });

        let done = lake.redrive(&mended, Some("visit")).await.unwrap();
        assert_eq!(done, Redriven { read: 2, resolved: 1, inserted: 1, left: 1 });
        let again = lake.redrive(&mended, None).await.unwrap();
        assert_eq!(again, Redriven { read: 1, resolved: 0, inserted: 0, left: 1 });

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
    async fn a_record_that_is_its_own_identity_keeps_it_through_quarantine() {
        let by_record = |page: &str| {
            let text = catalog(page).files()[0].1.replace("[\"visitor\"]\n[route]", "\"record\"\n[route]");
            Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
        };
        let (lake, broken, mended) = (lake(), by_record(""), by_record("null = [\"home\"]"));
        for (catalog, inserted) in [(&broken, 1), (&mended, 0)] {
            let mut intake = Intake::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
            let position = Position::Sequence { number: "7", line: 2 };
            let origin = Origin { source: "test", position, record_id: Some(("a/b", 3)) };
            intake.push(br#"{"visitor": 1, "page": "home"}"#, Some("visit"), &origin);
            // From a file: its line is its identity.
            let origin = Origin { source: "file/x", position: Position::Line(9), record_id: None };
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
}
