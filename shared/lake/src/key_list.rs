//! Lists of files with keys of rows that are no longer in a table.
//!
//! `<folder>/<number>.json` names the files, and a `txn` action in the log names the number (Delta protocol, "Transaction Identifiers"). So a
//! commit changes rows and the list at once, and other readers and writers keep both. Objects are never changed.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_env::Rng;
use pinlake_store::read_if_exists;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::LakeError;

/// Which rows a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyList {
    /// Rows that records have deleted.
    Deleted,
    /// Rows of earlier contracts whose place rows with more values have taken.
    Replaced,
}

/// The object of a list. A file has a name in the folder of the list.
#[derive(Debug, Serialize, Deserialize)]
struct Files<F> {
    files: Vec<F>,
}

impl KeyList {
    /// The application id of the `txn` actions with the list's number.
    pub(crate) fn app_id(self) -> &'static str {
        match self {
            KeyList::Deleted => "pinlake-deleted-keys",
            KeyList::Replaced => "pinlake-replaced-keys",
        }
    }

    /// The folder of the list and of its files, in the table's folder.
    fn folder(self) -> &'static str {
        match self {
            KeyList::Deleted => "_pinlake_deleted",
            KeyList::Replaced => "_pinlake_replaced",
        }
    }

    /// The path of one of its files.
    pub(crate) fn file_path(self, table: &Path, name: &str) -> Path {
        table.clone().join(self.folder()).join(name)
    }

    fn list_path(self, table: &Path, number: i64) -> Path {
        self.file_path(table, &format!("{number:016x}.json"))
    }

    /// Reads the list with this number.
    ///
    /// # Errors
    /// If the store fails, or the object is missing or damaged.
    pub(crate) async fn read<F: DeserializeOwned>(
        self,
        store: &dyn ObjectStore,
        table: &Path,
        number: i64,
    ) -> Result<Vec<F>, LakeError> {
        let path = self.list_path(table, number);
        let missing = || LakeError::damaged(&path)("the log names this list of keys, and it is missing");
        let bytes =
            read_if_exists(store, &path).await.map_err(LakeError::store(&path))?.ok_or_else(missing)?;
        let list: Files<F> = serde_json::from_slice(&bytes).map_err(LakeError::damaged(&path))?;
        Ok(list.files)
    }

    /// Writes a list under a new number. Nothing refers to it before a commit has the number.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn write<F: Serialize>(
        self,
        store: &dyn ObjectStore,
        table: &Path,
        files: Vec<F>,
        rng: &Rng,
    ) -> Result<i64, LakeError> {
        let number = draw_number(rng);
        let path = self.list_path(table, number);
        let list = serde_json::to_vec(&Files { files }).map_err(LakeError::damaged(&path))?;
        store.put(&path, list.into()).await.map_err(LakeError::store(&path))?;
        Ok(number)
    }
}

/// A number that no other list has.
fn draw_number(rng: &Rng) -> i64 {
    // 60 bits, which are never negative.
    rng.id().get(..15).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}
