//! Checks the footer of a Parquet file before the Parquet library reads it: counts, which must not exceed the bytes that exist, nesting,
//! and rows without columns.
//!
//! The library allocates what a count claims and recurses as deep as the footer nests. This check allocates one number per schema level, and
//! its time is proportional to the length of the footer. Sources: "Thrift compact protocol encoding"; `FileMetaData` in the Parquet format.

use std::ops::Range;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

/// Bytes at the end of a file: the footer's length and the magic bytes.
const TAIL_BYTES: u64 = 8;
/// The longest footer, in bytes: enough for some hundred row groups of some thousand columns.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// The most levels of structures in the footer; those of the format have seven.
const MAX_THRIFT_DEPTH: u32 = 24;
/// The most levels of a schema. A record may nest 128 levels deep.
const MAX_SCHEMA_DEPTH: usize = 128;
/// The most columns of a file.
const MAX_COLUMNS: u64 = 20_000;
/// The most row groups of a file.
const MAX_ROW_GROUPS: u64 = 100_000;

const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Checks the footer of a file. Returns the footer without what the Parquet library would take for something else, if it has such fields.
///
/// # Errors
/// If the footer is wrong or exceeds a limit. An encrypted footer passes: the library refuses it.
pub(super) fn check(file: &impl ChunkReader) -> Result<Option<Vec<u8>>, ParquetError> {
    let size = file.len();
    if size < TAIL_BYTES + 4 {
        return Err(refused(format!("{size} bytes are too few for a Parquet file")));
    }
    let tail = file.get_bytes(size - TAIL_BYTES, 8)?;
    let (length, magic) = tail.split_at(4);
    if magic == b"PARE" {
        return Ok(None);
    }
    if magic != b"PAR1" {
        return Err(refused("it does not end as a Parquet file does".to_owned()));
    }
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
    let available = size - TAIL_BYTES - 4;
    if length > available {
        return Err(refused(format!("its footer claims {length} bytes, and there are {available}")));
    }
    if length > MAX_FOOTER_BYTES {
        return Err(refused(format!(
            "its footer has {length} bytes, and may have {MAX_FOOTER_BYTES}: write it with fewer row groups"
        )));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let footer: Bytes = file.get_bytes(size - TAIL_BYTES - length as u64, length)?;
    let mut reader = FooterReader { left: &footer, length, edits: Vec::new() };
    reader.check_file().map_err(refused)?;
    Ok((!reader.edits.is_empty()).then(|| apply_edits(&footer, &reader.edits)))
}

/// Bytes of the footer that are left out, and the byte in their place.
struct Edit {
    range: Range<usize>,
    replacement: Option<u8>,
}

fn apply_edits(footer: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut repaired = Vec::with_capacity(footer.len());
    let mut at = 0;
    for edit in edits {
        repaired.extend_from_slice(&footer[at..edit.range.start]);
        repaired.extend(edit.replacement);
        at = edit.range.end;
    }
    repaired.extend_from_slice(&footer[at..]);
    repaired
}

fn refused(why: String) -> ParquetError {
    ParquetError::General(why)
}

/// What is wrong with the footer.
type Problem = String;

struct FooterReader<'a> {
    left: &'a [u8],
    /// The length of the footer.
    length: usize,
    /// In order.
    edits: Vec<Edit>,
}

impl FooterReader<'_> {
    fn check_file(&mut self) -> Result<(), Problem> {
        let mut columns = None;
        self.read_fields(|reader, id, kind| {
            match (id, kind) {
                (2, LIST) => columns = Some(reader.check_schema()?),
                (3, I64) => {
                    let rows = reader.zigzag()?;
                    if rows < 0 {
                        return Err(format!("its footer claims {rows} rows"));
                    }
                }
                (4, LIST) => {
                    let columns = columns.ok_or("its row groups come before its schema")?;
                    reader.check_row_groups(columns)?;
                }
                _ => reader.skip(kind, 1)?,
            }
            Ok(())
        })
    }

    /// Checks the schema, which is a list of elements in depth-first order; returns the number of columns.
    fn check_schema(&mut self) -> Result<u64, Problem> {
        let count = self.read_list_of(STRUCT, "schema elements")?;
        // For each group above the current element, the number of children that are still to come.
        let mut open: Vec<u64> = Vec::new();
        let mut columns = 0;
        for element in 0..count {
            let (mut children, mut is_column) = (0, false);
            self.read_fields(|reader, id, kind| {
                match (id, kind) {
                    (1, I32) => {
                        reader.zigzag()?;
                        is_column = true;
                    }
                    (5, I32) => children = reader.zigzag()?,
                    _ => reader.skip(kind, 3)?,
                }
                Ok(())
            })?;
            let children =
                u64::try_from(children).map_err(|_| format!("its schema has {children} children"))?;
            if children > count {
                return Err(format!("its schema claims {children} children, and has {count} elements"));
            }
            if element > 0 {
                match open.last_mut() {
                    Some(left) => *left -= 1,
                    None => return Err("its schema has elements outside its root".to_owned()),
                }
            }
            columns += u64::from(is_column);
            open.push(children);
            if open.len() > MAX_SCHEMA_DEPTH {
                return Err(format!("its schema nests more than {MAX_SCHEMA_DEPTH} deep"));
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        if !open.is_empty() {
            return Err("its schema claims more elements than it has".to_owned());
        }
        if columns > MAX_COLUMNS {
            return Err(format!("it has {columns} columns, and may have {MAX_COLUMNS}"));
        }
        Ok(columns)
    }

    fn check_row_groups(&mut self, columns: u64) -> Result<(), Problem> {
        let count = self.read_list_of(STRUCT, "row groups")?;
        if count > MAX_ROW_GROUPS {
            return Err(format!("it has {count} row groups, and may have {MAX_ROW_GROUPS}"));
        }
        for _ in 0..count {
            let (mut found, mut rows) = (0, 0);
            self.read_fields(|reader, id, kind| {
                match (id, kind) {
                    (1, LIST) => {
                        found = reader.read_list_of(STRUCT, "column chunks")?;
                        for _ in 0..found {
                            reader.check_column_chunk()?;
                        }
                    }
                    (3, I64) => rows = reader.zigzag()?,
                    _ => reader.skip(kind, 3)?,
                }
                Ok(())
            })?;
            if rows < 0 {
                return Err(format!("a row group claims {rows} rows"));
            }
            if found != columns {
                return Err(format!(
                    "a row group has {found} column chunks, and its schema {columns} columns"
                ));
            }
            if rows > 0 && columns == 0 {
                return Err(format!("a row group claims {rows} rows without a column"));
            }
        }
        Ok(())
    }

    fn check_column_chunk(&mut self) -> Result<(), Problem> {
        self.read_fields(|reader, id, kind| match (id, kind) {
            (3, STRUCT) => reader.check_column_metadata(),
            _ => reader.skip(kind, 4),
        })
    }

    /// Leaves out optional fields of another type than the format gives them, which the library would read as that type. Dremio wrote a list
    /// as field 15, which is an integer since.
    fn check_column_metadata(&mut self) -> Result<(), Problem> {
        /// The first optional field.
        const FIRST: i64 = 8;
        /// The types of the optional fields (`ColumnMetaData` in the Parquet format).
        const OPTIONAL: [u8; 10] = [LIST, I64, I64, I64, STRUCT, LIST, I64, I32, STRUCT, STRUCT];
        // The id of the field before, and of the one before that is kept.
        let (mut id, mut kept) = (0_i64, 0_i64);
        loop {
            let start = self.length - self.left.len();
            let head = self.byte()?;
            let (delta, kind) = (head >> 4, head & 0x0f);
            if kind == STOP {
                return Ok(());
            }
            let previous = id;
            id = match delta {
                0 => self.zigzag()?,
                delta => id.saturating_add(i64::from(delta)),
            };
            let header_end = self.length - self.left.len();
            self.skip(kind, 5)?;
            let expected = usize::try_from(id - FIRST).ok().and_then(|at| OPTIONAL.get(at));
            if expected.is_some_and(|expected| *expected != kind) {
                self.edits.push(Edit { range: start..self.length - self.left.len(), replacement: None });
                continue;
            }
            // The header has the distance to the field before, unless it has the id itself.
            if previous != kept && delta != 0 {
                let distance = u8::try_from(id - kept).ok().filter(|distance| *distance < 16);
                let distance =
                    distance.ok_or("its footer has a field of another type than the format says")?;
                self.edits.push(Edit { range: start..header_end, replacement: Some(distance << 4 | kind) });
            }
            kept = id;
        }
    }

    /// Reads the fields of a structure. `field` gets the id and type of each and must read its value.
    fn read_fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, u8) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            let (delta, kind) = (head >> 4, head & 0x0f);
            if kind == STOP {
                return Ok(());
            }
            id = match delta {
                0 => self.zigzag()?,
                delta => id.saturating_add(i64::from(delta)),
            };
            field(self, id, kind)?;
        }
    }

    /// Reads the header of a list whose elements must have this type; returns their number.
    fn read_list_of(&mut self, expected: u8, what: &str) -> Result<u64, Problem> {
        let (kind, count) = self.read_list()?;
        // An empty list may have any type.
        if kind != expected && count > 0 {
            return Err(format!("its {what} are of another type"));
        }
        Ok(count)
    }

    /// Reads the header of a list: the type and number of its elements, each of which has at least one byte.
    fn read_list(&mut self) -> Result<(u8, u64), Problem> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        self.check_available(count, "elements of a list")?;
        Ok((head & 0x0f, count))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Result<(), Problem> {
        if depth > MAX_THRIFT_DEPTH {
            return Err(format!("its footer nests more than {MAX_THRIFT_DEPTH} deep"));
        }
        match kind {
            TRUE | FALSE => {}
            I8 => {
                self.byte()?;
            }
            I16 | I32 | I64 => {
                self.varint()?;
            }
            DOUBLE => self.pass(8)?,
            BINARY => {
                let length = self.varint()?;
                self.pass(length)?;
            }
            LIST | SET => {
                let (kind, count) = self.read_list()?;
                for _ in 0..count {
                    self.skip_element(kind, depth)?;
                }
            }
            MAP => {
                let count = self.varint()?;
                self.check_available(count, "entries of a map")?;
                if count > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..count {
                        self.skip_element(kinds >> 4, depth)?;
                        self.skip_element(kinds & 0x0f, depth)?;
                    }
                }
            }
            STRUCT => self.read_fields(|reader, _, kind| reader.skip(kind, depth + 1))?,
            other => return Err(format!("its footer has a value of the unknown type {other}")),
        }
        Ok(())
    }

    /// A boolean in a list takes one byte.
    fn skip_element(&mut self, kind: u8, depth: u32) -> Result<(), Problem> {
        match kind {
            TRUE | FALSE => self.byte().map(|_| ()),
            kind => self.skip(kind, depth + 1),
        }
    }

    fn check_available(&self, count: u64, what: &str) -> Result<(), Problem> {
        let left = self.left.len() as u64;
        if count > left {
            return Err(format!("its footer claims {count} {what}, and has {left} bytes left"));
        }
        Ok(())
    }

    fn pass(&mut self, count: u64) -> Result<(), Problem> {
        self.check_available(count, "bytes")?;
        let count = usize::try_from(count).unwrap_or(self.left.len());
        self.left = self.left.get(count..).unwrap_or_default();
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let (first, rest) = self.left.split_first().ok_or("its footer ends too early")?;
        self.left = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64, Problem> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("its footer has a number of more than 64 bits".to_owned())
    }

    fn zigzag(&mut self) -> Result<i64, Problem> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_of_another_type_are_left_out() {
        // Field 7 (i64 1), 15 (a list of one i32 5), 16 (a structure), and 7, 14 (an i32), 15 (i32 2).
        for (metadata, expected) in [
            (&[0x76, 2, 0x89, 0x15, 10, 0x1c, 0, 0][..], &[0x76, 2, 0x9c, 0, 0][..]),
            (&[0x76, 2, 0x75, 4, 0x15, 4, 0], &[0x76, 2, 0x85, 4, 0]),
            (&[0x76, 2, 0x89, 0x15, 10, 0], &[0x76, 2, 0]),
            (&[0x76, 2, 0x85, 4, 0x1c, 0, 0], &[0x76, 2, 0x85, 4, 0x1c, 0, 0]),
        ] {
            let mut reader = FooterReader { left: metadata, length: metadata.len(), edits: Vec::new() };
            reader.check_column_metadata().unwrap();
            assert!(reader.left.is_empty());
            assert_eq!(apply_edits(metadata, &reader.edits), expected, "{metadata:?}");
        }
    }
}
