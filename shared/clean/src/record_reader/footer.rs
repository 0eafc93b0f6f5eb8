//! The footer of a Parquet file, looked through before the library reads it: counts against the bytes that are there,
//! depth, rows without columns.
//!
//! The library allocates what a count claims and recurses as deep as the bytes nest. This walk allocates nothing but one
//! number a schema level, and takes time in proportion to the footer ("Thrift compact protocol encoding"; "Parquet file
//! format", FileMetaData).

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

/// Bytes at the end of a file: the footer's length and the magic bytes.
const TAIL_BYTES: u64 = 8;
/// Bytes that a footer may have: some hundred row groups of some thousand columns.
const MOST_FOOTER_BYTES: u64 = 64 << 20;
/// How deep the footer's own structures may nest; those of the format nest seven deep.
const MOST_THRIFT_DEPTH: u32 = 24;
/// How deep a schema may nest. A record's JSON may nest 128 deep, and a list takes two levels.
const MOST_SCHEMA_DEPTH: usize = 128;
/// Columns of a file.
const MOST_COLUMNS: u64 = 20_000;
/// Row groups of a file.
const MOST_ROW_GROUPS: u64 = 100_000;

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

/// Checks the footer of a file.
///
/// # Errors
/// With what is wrong with it. An encrypted footer is left to the library, which says so.
pub(super) fn check(file: &impl ChunkReader) -> Result<(), ParquetError> {
    let size = file.len();
    if size < TAIL_BYTES + 4 {
        return Err(refused(format!("{size} bytes are too few for a Parquet file")));
    }
    let tail = file.get_bytes(size - TAIL_BYTES, 8)?;
    let (length, magic) = tail.split_at(4);
    if magic == b"PARE" {
        return Ok(());
    }
    if magic != b"PAR1" {
        return Err(refused("it does not end as a Parquet file does; check that it is whole".to_owned()));
    }
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
    let room = size - TAIL_BYTES - 4;
    if length > room {
        return Err(refused(format!("its footer claims {length} bytes, and there are {room}")));
    }
    if length > MOST_FOOTER_BYTES {
        return Err(refused(format!(
            "its footer has {length} bytes, and may have {MOST_FOOTER_BYTES}: write it with fewer row groups"
        )));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let footer: Bytes = file.get_bytes(size - TAIL_BYTES - length as u64, length)?;
    Walk { left: &footer }.file().map_err(refused)
}

fn refused(why: String) -> ParquetError {
    ParquetError::General(why)
}

/// What is wrong.
type PutError = String;

struct Walk<'a> {
    left: &'a [u8],
}

impl Walk<'_> {
    fn file(&mut self) -> Result<(), PutError> {
        let mut columns = None;
        self.fields(|walk, id, kind| {
            match (id, kind) {
                (2, LIST) => columns = Some(walk.schema()?),
                (3, I64) => {
                    let rows = walk.zigzag()?;
                    if rows < 0 {
                        return Err(format!("its footer claims {rows} rows"));
                    }
                }
                (4, LIST) => {
                    let columns = columns.ok_or("its row groups stand before its schema")?;
                    walk.row_groups(columns)?;
                }
                _ => walk.skip(kind, 1)?,
            }
            Ok(())
        })
    }

    /// The schema, as a list of its elements in the order of a walk through the tree; gives the number of columns.
    fn schema(&mut self) -> Result<u64, PutError> {
        let count = self.list_of(STRUCT, "schema elements")?;
        // How many children of each group on the way to the element at hand are yet to come.
        let mut open: Vec<u64> = Vec::new();
        let mut columns = 0;
        for element in 0..count {
            let (mut children, mut is_column) = (0, false);
            self.fields(|walk, id, kind| {
                match (id, kind) {
                    (1, I32) => {
                        walk.zigzag()?;
                        is_column = true;
                    }
                    (5, I32) => children = walk.zigzag()?,
                    _ => walk.skip(kind, 3)?,
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
            if open.len() > MOST_SCHEMA_DEPTH {
                return Err(format!("its schema nests more than {MOST_SCHEMA_DEPTH} deep"));
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        if !open.is_empty() {
            return Err("its schema claims more elements than it has".to_owned());
        }
        if columns > MOST_COLUMNS {
            return Err(format!("it has {columns} columns, and may have {MOST_COLUMNS}"));
        }
        Ok(columns)
    }

    fn row_groups(&mut self, columns: u64) -> Result<(), PutError> {
        let count = self.list_of(STRUCT, "row groups")?;
        if count > MOST_ROW_GROUPS {
            return Err(format!("it has {count} row groups, and may have {MOST_ROW_GROUPS}"));
        }
        for _ in 0..count {
            let (mut found, mut rows) = (0, 0);
            self.fields(|walk, id, kind| {
                match (id, kind) {
                    (1, LIST) => {
                        found = walk.list_of(STRUCT, "column chunks")?;
                        for _ in 0..found {
                            walk.skip(STRUCT, 4)?;
                        }
                    }
                    (3, I64) => rows = walk.zigzag()?,
                    _ => walk.skip(kind, 3)?,
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

    /// Goes through the fields of a structure, each with its id and type.
    fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, u8) -> Result<(), PutError>,
    ) -> Result<(), PutError> {
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

    /// The size of a list whose elements are of this type.
    fn list_of(&mut self, expected: u8, what: &str) -> Result<u64, PutError> {
        let (kind, count) = self.list()?;
        // An empty list may say nothing of its elements.
        if kind != expected && count > 0 {
            return Err(format!("its {what} are of another type"));
        }
        Ok(count)
    }

    /// The type and number of a list's elements. Each has a byte at least.
    fn list(&mut self) -> Result<(u8, u64), PutError> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        self.there_are(count, "elements of a list")?;
        Ok((head & 0x0f, count))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Result<(), PutError> {
        if depth > MOST_THRIFT_DEPTH {
            return Err(format!("its footer nests more than {MOST_THRIFT_DEPTH} deep"));
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
                let (kind, count) = self.list()?;
                for _ in 0..count {
                    self.skip_element(kind, depth)?;
                }
            }
            MAP => {
                let count = self.varint()?;
                self.there_are(count, "entries of a map")?;
                if count > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..count {
                        self.skip_element(kinds >> 4, depth)?;
                        self.skip_element(kinds & 0x0f, depth)?;
                    }
                }
            }
            STRUCT => self.fields(|walk, _, kind| walk.skip(kind, depth + 1))?,
            other => return Err(format!("its footer has a value of type {other}, which there is not")),
        }
        Ok(())
    }

    /// Within a list a truth value has a byte of its own.
    fn skip_element(&mut self, kind: u8, depth: u32) -> Result<(), PutError> {
        match kind {
            TRUE | FALSE => self.byte().map(|_| ()),
            kind => self.skip(kind, depth + 1),
        }
    }

    fn there_are(&self, count: u64, what: &str) -> Result<(), PutError> {
        let left = self.left.len() as u64;
        if count > left {
            return Err(format!("its footer claims {count} {what}, and has {left} bytes left"));
        }
        Ok(())
    }

    fn pass(&mut self, count: u64) -> Result<(), PutError> {
        self.there_are(count, "bytes")?;
        let count = usize::try_from(count).unwrap_or(self.left.len());
        self.left = self.left.get(count..).unwrap_or_default();
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, PutError> {
        let (first, rest) = self.left.split_first().ok_or("its footer breaks off")?;
        self.left = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64, PutError> {
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

    fn zigzag(&mut self) -> Result<i64, PutError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}
