//! Builds the batch of one dataset, row by row.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBuilder, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pinlake_schema::{Contract, HAS_MORE_PREFIX, OTHER_KEY_PREFIX};

use crate::column_builder::{ColumnBuilder, fixed_bytes};
use crate::key::{KEY_BYTES, KeyBuilder, KeyEncoder, RecordIdentity};
use crate::other_contracts::OtherKey;
use crate::row::RowView;

/// The open batch of one dataset.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    key_encoder: KeyEncoder,
    keys: KeyBuilder,
    /// Keys of the former epoch, if the contract has one: they are compared with those of older data files.
    former_keys: Option<KeyBuilder>,
    /// Whether each record deletes its row, if the contract has such records.
    deletes: Option<BooleanBuilder>,
    /// For each other contract what becomes of the records of the rows.
    others: Vec<Vec<OtherKey>>,
    pub(crate) rows: u64,
    /// The bytes of a row without its texts, bytes and array items.
    pub(crate) fixed_bytes: usize,
    /// See [`CleanedRows::bytes`](crate::CleanedRows::bytes).
    pub(crate) bytes: u64,
}

impl BatchBuilder {
    pub(crate) fn new(contract: &Contract) -> BatchBuilder {
        BatchBuilder {
            schema: contract.landing_schema(),
            columns: contract.columns.iter().map(ColumnBuilder::new).collect(),
            key_encoder: KeyEncoder::new(contract),
            keys: KeyBuilder::default(),
            former_keys: contract.former_identity_hash().map(|_| KeyBuilder::default()),
            deletes: contract.has_deletes().then(BooleanBuilder::new),
            others: Vec::new(),
            rows: 0,
            fixed_bytes: KEY_BYTES + contract.columns.iter().map(fixed_bytes).sum::<usize>(),
            bytes: 0,
        }
    }

    /// Appends a row and its key. `identity` is part of the key if the dataset identifies rows by their record. `bytes` is the estimated
    /// size of the row.
    pub(crate) fn push(&mut self, view: RowView<'_>, identity: Option<RecordIdentity<'_>>, bytes: usize) {
        for (column, cell) in self.columns.iter_mut().zip(&view.row.cells) {
            column.push(*cell, view);
        }
        self.keys.push(&self.key_encoder, view, identity);
        if let Some(keys) = &mut self.former_keys {
            keys.push_former(&self.key_encoder, view, identity);
        }
        if let Some(deletes) = &mut self.deletes {
            deletes.append_value(view.row.deletes);
        }
        self.rows += 1;
        self.bytes += bytes as u64;
    }

    /// Adds columns for the keys under other contracts, by their identity hashes. There are no rows yet.
    pub(crate) fn set_others(&mut self, identity_hashes: &[&str]) {
        let key = DataType::FixedSizeBinary(KEY_BYTES as i32);
        let added = identity_hashes.iter().flat_map(|hash| {
            [
                Arc::new(Field::new(format!("{OTHER_KEY_PREFIX}{hash}"), key.clone(), true)),
                Arc::new(Field::new(format!("{HAS_MORE_PREFIX}{hash}"), DataType::Boolean, true)),
            ]
        });
        self.schema =
            Arc::new(Schema::new(self.schema.fields().iter().cloned().chain(added).collect::<Vec<_>>()));
        self.others = vec![Vec::new(); identity_hashes.len()];
        self.fixed_bytes += self.others.len() * KEY_BYTES;
    }

    /// Adds what becomes of the record of the last row under the other contracts.
    pub(crate) fn push_other_keys(&mut self, keys: Vec<OtherKey>) {
        self.others.iter_mut().zip(keys).for_each(|(own, key)| own.push(key));
    }

    /// Whether rows are identified by their record.
    pub(crate) fn uses_record_identity(&self) -> bool {
        self.key_encoder.uses_record_identity()
    }

    /// The key of the last row.
    pub(crate) fn last_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.keys.last()
    }

    /// The key of the last row in the former epoch.
    pub(crate) fn last_former_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.former_keys.as_ref()?.last()
    }

    /// Returns the rows; the builder is empty afterwards.
    #[expect(
        clippy::expect_used,
        reason = "the columns are built from this schema, one cell per row; if that were broken, going on would lose rows, while a crash loses none: the batch is delivered again"
    )]
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        arrays.push(Arc::new(self.keys.finish()));
        if let Some(keys) = &mut self.former_keys {
            arrays.push(Arc::new(keys.finish()));
        }
        if let Some(deletes) = &mut self.deletes {
            arrays.push(Arc::new(deletes.finish()));
        }
        for own in self.others.iter_mut().map(std::mem::take) {
            let keys = own.iter().map(|other| other.key);
            let keys = FixedSizeBinaryArray::try_from_sparse_iter_with_size(keys, KEY_BYTES as i32);
            arrays.push(Arc::new(keys.expect("keys have one length")));
            arrays.push(Arc::new(own.iter().map(|other| Some(other.has_more)).collect::<BooleanArray>()));
        }
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).expect("columns agree with their contract")
    }
}
