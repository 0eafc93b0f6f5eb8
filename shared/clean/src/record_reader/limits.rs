//! What reading a file may cost.

/// Limits of reading one file.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Bytes of one record. A longer record is truncated and has the error `too_large`.
    pub max_record_bytes: usize,
    /// A compressed file that decompresses to more than this many times its size is refused.
    pub max_ratio: u64,
    /// Bytes that a compressed file may decompress to whatever its ratio.
    pub free_unpacked_bytes: u64,
    /// Bytes that a compressed file may decompress to in any case.
    pub max_unpacked_bytes: u64,
    /// How many times its size a file may cost, as [`RecordReader::cost`](super::RecordReader::cost) counts it: a file can store repeated
    /// texts, values and column names once.
    pub max_cost_ratio: u64,
    /// What a file may cost whatever its ratio.
    pub free_cost: u64,
    /// Bytes of a Parquet file that has to be copied before it is read, because it is compressed as a whole or comes from a pipe.
    pub max_spooled_bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> ReadLimits {
        ReadLimits {
            max_record_bytes: 16 << 20,
            max_ratio: 500,
            free_unpacked_bytes: 256 << 20,
            max_unpacked_bytes: u64::MAX,
            max_cost_ratio: 2000,
            free_cost: 256 << 20,
            max_spooled_bytes: 512 << 20,
        }
    }
}
