//! Slices: records of one or more files that land together, as a batch of a stream does.

use std::sync::Arc;

use object_store::ObjectStore;
use pinlake_clean::Reason;
use pinlake_clean::RecordError;
use pinlake_clean::record_reader::Record;
use pinlake_landing::LandingError;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::land::{LandingSummary, RawBatch, land_with_faults};
use pinlake_landing::raw::{self, RawRecord};
use pinlake_landing::source::RecordSource;
use pinlake_schema::Catalog;

use crate::source::FileSource;

/// Default size of a slice, in bytes of records.
pub const SLICE_BYTES: usize = 8 << 20;

/// Records waiting to land. Landing the same slice again produces rows with the same keys.
#[derive(Debug)]
pub struct Slice {
    records: Vec<RawRecord>,
    /// The fault of each record that could not be read; parallel to `records`.
    faults: Vec<Option<RecordError>>,
    bytes: usize,
    capacity: usize,
}

impl Default for Slice {
    fn default() -> Self {
        Self::with_capacity(SLICE_BYTES)
    }
}

impl Slice {
    /// An empty slice that is full at `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { records: Vec::new(), faults: Vec::new(), bytes: 0, capacity }
    }

    /// Adds record `number` of a file, counted from 0.
    pub fn push(&mut self, file: &FileSource, number: u64, record: Record<'_>) {
        self.add(file.raw_record(number, record.position, record.bytes), record.error);
    }

    /// Adds a whole file as one record for quarantine. `raw` is its content, or the place where the content is.
    pub fn reject_file(&mut self, file: &FileSource, raw: &[u8], reason: Reason, detail: String) {
        self.add(file.raw_record(0, 0, raw), Some(RecordError { reason, detail }));
    }

    fn add(&mut self, record: RawRecord, fault: Option<RecordError>) {
        self.bytes += record.key.len() + record.data.as_bytes().len();
        self.records.push(record);
        self.faults.push(fault);
    }

    /// Whether the slice should land before more is added.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.capacity
    }

    /// Stores the records in `raw/`, lands their rows and empties the slice.
    ///
    /// # Errors
    /// If the store fails. The slice then keeps its records.
    pub async fn land(
        &mut self,
        store: &dyn ObjectStore,
        catalog_history: &CatalogHistory,
        catalog: &Arc<Catalog>,
    ) -> Result<LandingSummary, LandingError> {
        let batch = RawBatch { source: &RecordSource::File { name: None }, records: &self.records };
        let Some(id) = batch.id() else {
            return Ok(LandingSummary::default());
        };
        let raw = raw::put(store, &id, batch.records).await?;
        let landed =
            land_with_faults(store, catalog_history, catalog, batch, &raw, &self.faults, None).await?;
        *self = Self::with_capacity(self.capacity);
        Ok(landed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::cast::AsArray;
    use bytes::Bytes;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use pinlake_clean::record_reader::{ReadLimits, RecordReader};
    use pinlake_landing::land::land_rows;
    use pinlake_landing::object;

    fn push_all(slice: &mut Slice, file: &FileSource, text: &'static str) {
        let mut records =
            RecordReader::from_bytes(&file.name, Bytes::from(text), ReadLimits::default()).unwrap();
        let mut number = 0;
        while let Some(record) = records.next().unwrap() {
            slice.push(file, number, record);
            number += 1;
        }
    }

    const USERS: &str = "ind,first_name,last_name,age,date_joined\n\
        1,A,B,20,2015-10-21 21:26:45\n2,A,B,20,2015-10-21 21:26:45\nbroken,row\n";

    #[tokio::test]
    async fn a_slice_of_two_files_lands_and_cleaning_raw_again_produces_the_same_rows() {
        let (store, catalog) = (InMemory::new(), Arc::new(Catalog::embedded().unwrap()));
        let csv = Path::from("inbox/user/of may.csv");
        store.put(&csv, USERS.into()).await.unwrap();
        let csv = FileSource::from_inbox(&catalog, &store.head(&csv).await.unwrap());
        let key = "topics/0a1b.geo/partition=0/0a1b.geo+0+0000000000.json";
        let json = FileSource::from_bucket(&catalog, "sink", key, csv.modified);
        assert_eq!((csv.dataset.as_deref(), json.dataset.as_deref()), (Some("user"), Some("geo")));
        let mut slice = Slice::default();
        push_all(&mut slice, &csv, USERS);
        push_all(&mut slice, &json, "{\"ind\": 1, \"country\": \"Peru\"}\n");
        let landed = slice.land(&store, &CatalogHistory::default(), &catalog).await.unwrap();
        let counts: Vec<_> = landed
            .counts
            .iter()
            .map(|count| (count.dataset.as_deref().unwrap_or_default(), count.read, count.quarantined))
            .collect();
        assert_eq!(counts, [("geo", 1, 0), ("user", 3, 1)]);

        let rejects = object::list(&store, Some("quarantine"), 9).await.unwrap().remove(0);
        let rejects = object::read(&store, &rejects).await.unwrap().unwrap();
        let text = |column: &str| {
            let rows = rejects.batches[0].column_by_name(column).unwrap().clone();
            rows.as_string::<i32>().value(0).to_owned()
        };
        assert_eq!(text("reason"), "malformed_csv");
        assert_eq!((text("source"), text("position")), (format!("file/{}", csv.name), "4".to_owned()));

        // As the compactor does after a change of the contract: it has the object's name and raw/, and nothing else.
        let users = object::list(&store, Some("user"), 9).await.unwrap().remove(0);
        let raw_path = Path::from(object::read(&store, &users).await.unwrap().unwrap().raw.unwrap());
        let records = raw::read(&store, &raw_path).await.unwrap();
        let batch = RawBatch { source: &users.name.source, records: &records };
        let again = land_rows(&store, &CatalogHistory::default(), &catalog, batch, &raw_path).await.unwrap();
        assert!(again.objects.contains(&users), "{again:?}");
    }
}
