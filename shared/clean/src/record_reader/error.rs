//! Why a file cannot be read.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a file cannot be read any further. The records that were read before are valid.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read, or its compression is broken. A retry helps only if the storage failed.
    #[error("reading {name} failed at its record {records}: {source}; check that the file is whole")]
    Io {
        /// The file.
        name: String,
        /// The number of records before the error; of lines that were read many at once, empty ones are included.
        records: u64,
        /// The error.
        source: std::io::Error,
    },
    /// The file decompresses to more than [`ReadLimits`](super::ReadLimits) allow.
    #[error(
        "{name} unpacks to more than {limit} bytes, too many for its size: check it, and unpack it before you load it"
    )]
    SizeLimitExceeded {
        /// The file.
        name: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The file needs more than it may: memory, processor time, column names.
    #[error("{name} is refused: {why}")]
    Refused {
        /// The file.
        name: String,
        /// What it needs.
        why: String,
    },
    /// The file is not data of the dataset: another format or encoding, or a header without any of its columns.
    #[error("{name} is refused: {why}")]
    Content {
        /// The file.
        name: String,
        /// What was found, what was expected, and what to do.
        why: String,
    },
    /// The sandbox failed; the file may be valid.
    #[error("{name} was not read: {source}")]
    Sandbox {
        /// The file.
        name: String,
        /// The error.
        source: SandboxError,
    },
    /// The file is not a readable Parquet file.
    #[error(
        "{name} is not a readable Parquet file: {}; check that it is whole, or write it again",
        innermost(source)
    )]
    Parquet {
        /// The file.
        name: String,
        /// The error of the Parquet library.
        source: parquet::errors::ParquetError,
    },
}

/// What an error of the Parquet library says without the names of the layers that passed it on.
fn innermost(error: &parquet::errors::ParquetError) -> String {
    const LAYERS: [&str; 3] = ["Parquet error: ", "External: ", "Parquet argument error: "];
    let text = error.to_string();
    let mut rest = text.as_str();
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    rest.to_owned()
}

impl ReadError {
    /// Whether the file caused the error, not this machine.
    pub fn is_file_error(&self) -> bool {
        !matches!(self, Self::Sandbox { .. })
    }
}

/// Why the process that reads a Parquet file failed. The file did not cause the error.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process could not be started.
    #[error("cannot start {program} to read a Parquet file: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The process ended before its greeting.
    #[error(
        "{program} ended before it read anything ({status}): check that its `main` calls `sandbox::parse_child_args`"
    )]
    NoGreeting {
        /// The program.
        program: PathBuf,
        /// Its exit status.
        status: ExitStatus,
    },
    /// The process was killed from outside, or the system refused it a resource.
    #[error("the process that reads the Parquet file was ended from outside ({status})")]
    Killed {
        /// Its exit status.
        status: ExitStatus,
    },
    /// A pipe or a file between the two processes failed.
    #[error("cannot communicate with the process that reads the Parquet file: {0}")]
    Pipe(std::io::Error),
}

/// The error of a format reader, without the name of the file.
pub(super) enum FormatError {
    Io(std::io::Error),
    Parquet(parquet::errors::ParquetError),
    Refused(String),
    Content(String),
    Sandbox(SandboxError),
}

impl From<std::io::Error> for FormatError {
    fn from(error: std::io::Error) -> FormatError {
        FormatError::Io(error)
    }
}

impl From<parquet::errors::ParquetError> for FormatError {
    fn from(error: parquet::errors::ParquetError) -> FormatError {
        FormatError::Parquet(error)
    }
}
