//! Finds the records in the data of a stream record, or in a value of a request.
//!
//! The same data gives the same records, whichever way it comes in: ingest uses this crate for `value` and `Data`, the
//! cleaner for the records of other producers. [`decode()`] removes what surrounds the text, [`Records`] splits the
//! text:
//!
//! | data | records |
//! |---|---|
//! | a JSON object | one |
//! | a JSON array that begins with an object | one for each element |
//! | several lines | those of each line |
//! | gzip or zstd of these, base64 or a JSON string of these | the same |
//! | an object around an array, such as `{"value": [...]}` | one for each element of the array |
//!
//! Invariants:
//! - data in which no JSON object or array is found comes out as it is, so that it can be quarantined with its bytes;
//! - sizes after decompression and the number of layers are bounded.
//!
//! ```
//! use pinlake_payload::{Records, decode};
//!
//! // base64 of two lines
//! let data = decode(b"eyJpbmQiOjF9Clt7ImluZCI6Mn0seyJpbmQiOjN9XQ==", 1 << 20)?;
//! let records: Vec<_> = Records::of_lines(&data, |_| false).map(|record| record.bytes).collect();
//! assert_eq!(records, [&br#"{"ind":1}"#[..], br#"{"ind":2}"#, br#"{"ind":3}"#]);
//! # Ok::<(), pinlake_payload::DecodeError>(())
//! ```

mod decode;
mod decompress;
mod records;
mod wrapper;

pub use decode::{decode, has_record, is_container};
pub use decompress::{DecodeError, MAX_ZSTD_WINDOW_LOG};
pub use records::{MAX_INNER_TOTAL, Record, Records, is_record_text};
pub use wrapper::wrapped_object;
