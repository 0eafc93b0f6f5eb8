//! What can be read of a contract file with errors.

use crate::column::Column;
use crate::declaration::Route;
use crate::records_path::RecordsPath;
use crate::webhook::Webhook;

/// What can be read of a contract file with errors.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    pub(crate) file: String,
    /// The dataset that the file names, if that can be read.
    pub(crate) dataset: Option<String>,
    /// `None` if it cannot be told which records belong to the dataset.
    pub(crate) route: Option<Route>,
    pub(crate) webhook: Option<Webhook>,
    /// Where the records are inside a document.
    pub(crate) records: Option<RecordsPath>,
    pub(crate) columns: Vec<Column>,
}

impl Salvaged {
    /// Adds what another file says about the same dataset.
    pub(crate) fn merge(&mut self, other: Salvaged) {
        self.webhook = self.webhook.take().or(other.webhook);
        self.records = self.records.take().or(other.records);
        self.columns.extend(other.columns);
        let Some(theirs) = other.route else { return };
        let own = self.route.get_or_insert_default();
        own.topics.extend(theirs.topics);
        own.streams.extend(theirs.streams);
        own.partition_keys.extend(theirs.partition_keys);
        own.files.extend(theirs.files);
        if own.shape.is_empty() {
            own.shape = theirs.shape;
        }
        own.misrouted = theirs.misrouted;
    }
}
