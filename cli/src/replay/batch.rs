//! The rows of one request, and the wire format in which it is sent.

/// A row: a line of a file, or the columns of a table as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its position in the order of posting, from 0; counts rows, not lines.
    pub ordinal: u64,
    /// Its line in the file, from 1; in a table, the number of rows read so far.
    pub line: u64,
    /// The value of the key column.
    pub key: Option<i64>,
    /// The row without its newline.
    pub bytes: Vec<u8>,
}

/// Rows for one request.
#[derive(Debug)]
pub struct Batch {
    /// Index among the inputs.
    pub file: usize,
    /// The wire format.
    pub format: Format,
    /// At least one row.
    pub rows: Vec<Row>,
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Kafka REST proxy v2.
    Kafka,
    /// API Gateway in front of Kinesis.
    Kinesis,
    /// NDJSON.
    Native,
}

impl Format {
    /// Maximum rows per request, by the rules of the API.
    pub fn max_rows(self) -> usize {
        match self {
            Format::Kinesis => 500,
            Format::Kafka | Format::Native => usize::MAX,
        }
    }
}
