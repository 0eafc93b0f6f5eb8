//! The protocol between the two processes.

use std::ffi::OsString;

/// The argument that tells a program to read a Parquet file.
pub(super) const ARGUMENT: &str = "--pinlake-read-parquet";
/// The first bytes that the child sends. They identify the protocol.
pub(super) const GREETING: &[u8; 8] = b"PINLAKE1";
/// Size of the buffers at both ends of the pipe, in bytes.
pub(super) const PIPE_BYTES: usize = 256 << 10;
/// The longest message of the child, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// The first byte of each frame. Numbers are little-endian.
pub(super) mod frame {
    /// A record: its position (8 bytes), its length (4), its bytes.
    pub(in super::super) const RECORD: u8 = b'R';
    /// A record that is too large: its position, the length and text of the error, the length and bytes of the record.
    pub(in super::super) const TOO_LARGE: u8 = b'L';
    /// The file cannot be read any further: the length and text of the error.
    pub(in super::super) const ERROR: u8 = b'E';
    /// The end of the file.
    pub(in super::super) const END: u8 = b'Z';
}

pub(super) fn parse_numbers(arguments: impl Iterator<Item = OsString>) -> Option<Vec<u64>> {
    arguments.map(|argument| argument.to_str()?.parse().ok()).collect()
}
