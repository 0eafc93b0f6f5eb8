//! Small malicious files that need more memory, time or stack than a process has. The tests of every reader of files
//! include this module.
//!
//! Parquet is written field by field, because no writer produces such files.

use std::fs::ReadDir;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The name and the bytes of a file.
pub type Named = (String, Vec<u8>);

/// The folder of files that once broke pinlake, which not every checkout has. `None`, with a message, if it is missing.
pub fn seen() -> Option<(PathBuf, ReadDir)> {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared/cases/hostile"));
    let found = beside.into_iter().find_map(|folder| Some((folder.clone(), std::fs::read_dir(folder).ok()?)));
    if found.is_none() {
        println!("skipped: there is no folder shared/cases/hostile beside the repository");
    }
    found
}

/// All files; Parquet files also compressed.
pub fn all() -> Vec<Named> {
    let mut files = Vec::new();
    for (name, bytes) in parquet() {
        if bytes.len() < 1 << 20 {
            files.push((format!("{name}.parquet.gz"), gzip(&bytes)));
            files.push((format!("{name}.parquet.zst"), zstd(&bytes)));
        }
        files.push((format!("{name}.parquet"), bytes));
    }
    files.extend(texts());
    files
}

/// Text files that compress well, and CSV headers that every row repeats.
fn texts() -> Vec<Named> {
    let row = "x".repeat(1000) + "\n";
    let megabytes = |count: usize| format!("ind{}\n", "h".repeat(count << 20));
    let names: String = (0..400_000).map(|number| format!("c{number},")).collect();
    [
        ("slow.csv.gz", gzip((megabytes(15) + &row.repeat(3000)).as_bytes())),
        ("slow.csv.zst", zstd((megabytes(2) + &row.repeat(30_000)).as_bytes())),
        ("names.csv", format!("{names}ind\n{}", ",".repeat(400_000) + "\n").into_bytes()),
        // The header is slightly below the limit, so each row is nearly a megabyte.
        ("header.csv.gz", gzip(("h".repeat(1_000_000) + "\n" + &"1\n".repeat(2_000_000)).as_bytes())),
        ("empty_lines.ndjson.gz", gzip(&b"\n".repeat(300 << 20))),
        ("braces.ndjson.zst", zstd(&b"{}\n".repeat(20 << 20))),
        ("brackets.json", b"[".repeat(1 << 20)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

fn parquet() -> Vec<Named> {
    let column = [schema(b"r", None, Some(1)), schema(b"x", Some(1), None)].concat();
    let huge = varint(0x7fff_ffff);
    let meta = |field: Struct| with_footer(&[], field.bytes);
    let header = || Struct::default().i32(1, 1).list(2, STRUCT, 2, &column).i64(3, 1);
    let mut files = vec![
        (
            "schema_count".to_owned(),
            meta(Struct::default().i32(1, 1).raw(2, LIST, &[&[0xfc][..], &huge].concat())),
        ),
        ("row_group_count".to_owned(), meta(header().raw(4, LIST, &[&[0xfc][..], &huge].concat()))),
        ("string_length".to_owned(), meta(header().list(4, STRUCT, 0, &[]).raw(6, BINARY, &huge))),
        ("list_in_list".to_owned(), meta(header().raw(14, LIST, &b"\x19".repeat(300_000)))),
        ("struct_in_struct".to_owned(), meta(header().raw(15, STRUCT, &b"\x1c".repeat(200_000)))),
        ("children".to_owned(), {
            let elements = [schema(b"r", None, Some(i32::MAX)), schema(b"x", Some(1), None)].concat();
            meta(Struct::default().i32(1, 1).list(2, STRUCT, 2, &elements).i64(3, 1).list(4, STRUCT, 0, &[]))
        }),
        ("negative_rows".to_owned(), {
            let group = Struct::default().list(1, STRUCT, 0, &[]).i64(2, 0).i64(3, 1 << 62).end();
            meta(
                Struct::default().i32(1, 1).list(2, STRUCT, 2, &column).i64(3, -5).list(4, STRUCT, 1, &group),
            )
        }),
        ("rows_without_columns".to_owned(), {
            let group = Struct::default().list(1, STRUCT, 0, &[]).i64(2, 0).i64(3, 1 << 62).end();
            let root = schema(b"r", None, Some(0));
            meta(
                Struct::default()
                    .i32(1, 1)
                    .list(2, STRUCT, 1, &root)
                    .i64(3, 1 << 62)
                    .list(4, STRUCT, 1, &group),
            )
        }),
        ("footer_length".to_owned(), [&b"PAR1\0\0"[..], &u32::MAX.to_le_bytes(), b"PAR1"].concat()),
        ("no_footer".to_owned(), b"PAR1PAR1".to_vec()),
        ("wide".to_owned(), {
            let columns: Vec<u8> =
                (0..100_000).flat_map(|at| schema(format!("c{at}").as_bytes(), Some(1), None)).collect();
            let elements = [schema(b"r", None, Some(100_000)), columns].concat();
            meta(Struct::default().i32(1, 1).list(2, STRUCT, 100_001, &elements).i64(3, 0).list(
                4,
                STRUCT,
                0,
                &[],
            ))
        }),
        ("endless".to_owned(), dictionary(2_000_000_000, &7_i32.to_le_bytes(), 1)),
        ("long_texts".to_owned(), dictionary(1_000_000, &text(&b"A".repeat(1_000_000)), 6)),
        ("longer_texts".to_owned(), dictionary(1_000_000, &text(&b"A".repeat(15_000_000)), 6)),
        ("long_list".to_owned(), list(500_000_000, &7_i32.to_le_bytes(), 1)),
        ("longer_list".to_owned(), list(2_000_000_000, &7_i32.to_le_bytes(), 1)),
        ("long_list_of_texts".to_owned(), list(100_000_000, &text(&b"A".repeat(1000)), 6)),
        ("page_size".to_owned(), {
            let packed = zstd(&text(b"A"));
            let page = page(2, &packed, i32::MAX, 7, Struct::default().i32(1, 1).i32(2, 0));
            one_column(6, 10, &page, &[])
        }),
        ("page_of_zeros".to_owned(), {
            let packed = zstd(&[&(1_900_000_000_u32).to_le_bytes()[..], &vec![0; 400 << 20]].concat());
            let page = page(2, &packed, 1_900_000_004, 7, Struct::default().i32(1, 1).i32(2, 0));
            one_column(6, 10, &page, &[])
        }),
        ("prefixes".to_owned(), prefixes(1000, 8 << 10)),
    ];
    for depth in [200, 10_000, 100_000] {
        let nested = Struct::default().i32(3, 1).binary(4, b"a").i32(5, 1).end().repeat(depth);
        let elements = [schema(b"r", None, Some(1)), nested, schema(b"x", Some(1), None)].concat();
        let footer = Struct::default().i32(1, 1).list(2, STRUCT, depth + 2, &elements).i64(3, 0).list(
            4,
            STRUCT,
            0,
            &[],
        );
        files.push((format!("nested_{depth}"), with_footer(&[], footer.bytes)));
    }
    files
}

/// A column whose dictionary has one value, with one run for all rows.
fn dictionary(rows: u64, value: &[u8], kind: i32) -> Vec<u8> {
    let packed = zstd(value);
    let dictionary = page(2, &packed, value.len() as i32, 7, Struct::default().i32(1, 1).i32(2, 0));
    let indices = [&[1][..], &run(1, rows, 0)].concat();
    let packed = zstd(&indices);
    let count = rows as i32;
    let data = page(
        0,
        &packed,
        indices.len() as i32,
        5,
        Struct::default().i32(1, count).i32(2, 8).i32(3, 3).i32(4, 3),
    );
    one_column(kind, rows, &dictionary, &data)
}

/// One row: a list of `count` equal values.
fn list(count: u64, value: &[u8], kind: i32) -> Vec<u8> {
    let packed = zstd(value);
    let dictionary = page(2, &packed, value.len() as i32, 7, Struct::default().i32(1, 1).i32(2, 0));
    let levels = |bytes: Vec<u8>| [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
    let repetition = levels([run(1, 1, 0), run(1, count - 1, 1)].concat());
    let definition = levels(run(2, count, 3));
    let body = [repetition, definition, vec![1], run(1, count, 0)].concat();
    let packed = zstd(&body);
    let data = page(
        0,
        &packed,
        body.len() as i32,
        5,
        Struct::default().i32(1, count as i32).i32(2, 8).i32(3, 3).i32(4, 3),
    );
    let pages = [dictionary.clone(), data].concat();
    let chunk = chunk(kind, &[b"l", b"list", b"element"], count, pages.len(), 4 + dictionary.len(), Some(4));
    let group = Struct::default().i32(3, 1).binary(4, b"l").i32(5, 1).i32(6, 3).end();
    let repeated = Struct::default().i32(3, 2).binary(4, b"list").i32(5, 1).end();
    let element = Struct::default().i32(1, kind).i32(3, 1).binary(4, b"element").end();
    let elements = [schema(b"r", None, Some(1)), group, repeated, element].concat();
    file(&elements, 4, &chunk, 1, &pages)
}

/// Delta-encoded texts, each with the previous one as its prefix: a few bytes each, megabytes after decoding.
fn prefixes(rows: u64, more: usize) -> Vec<u8> {
    // All deltas are equal, which takes no bits.
    let numbers = |first: i64, step: i64| {
        let mut bytes = [varint(128), varint(4), varint(rows), zigzag(first)].concat();
        for _ in 0..(rows - 1).div_ceil(128) {
            bytes.extend([zigzag(step), vec![0; 4]].concat());
        }
        bytes
    };
    let body = [numbers(0, more as i64), numbers(more as i64, 0), b"A".repeat(more * rows as usize)].concat();
    let packed = zstd(&body);
    let data = page(
        0,
        &packed,
        body.len() as i32,
        5,
        Struct::default().i32(1, rows as i32).i32(2, 7).i32(3, 3).i32(4, 3),
    );
    one_column(6, rows, &[], &data)
}

fn one_column(kind: i32, rows: u64, dictionary: &[u8], data: &[u8]) -> Vec<u8> {
    let pages = [dictionary, data].concat();
    let at = (!dictionary.is_empty()).then_some(4);
    let chunk = chunk(kind, &[b"ind"], rows, pages.len(), 4 + dictionary.len(), at);
    let column = Struct::default().i32(1, kind).i32(3, 0).binary(4, b"ind").end();
    file(&[schema(b"r", None, Some(1)), column].concat(), 2, &chunk, rows, &pages)
}

const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;
/// The codec Zstandard of a column chunk.
const ZSTD: i32 = 6;

/// A structure in Thrift's compact protocol.
#[derive(Default)]
struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    fn raw(mut self, id: u8, kind: u8, value: &[u8]) -> Self {
        self.bytes.push((id - self.last) << 4 | kind);
        self.bytes.extend(value);
        self.last = id;
        self
    }

    fn i32(self, id: u8, value: i32) -> Self {
        self.raw(id, 5, &zigzag(value.into()))
    }

    fn i64(self, id: u8, value: i64) -> Self {
        self.raw(id, 6, &zigzag(value))
    }

    fn binary(self, id: u8, value: &[u8]) -> Self {
        self.raw(id, BINARY, &[varint(value.len() as u64), value.to_vec()].concat())
    }

    fn structure(self, id: u8, value: Self) -> Self {
        self.raw(id, STRUCT, &value.end())
    }

    fn list(self, id: u8, kind: u8, count: usize, items: &[u8]) -> Self {
        self.raw(id, LIST, &[vec![0xf0 | kind], varint(count as u64), items.to_vec()].concat())
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn zigzag(value: i64) -> Vec<u8> {
    varint((value << 1 ^ value >> 63) as u64)
}

/// A run of one value in the RLE encoding.
fn run(width: usize, count: u64, value: u8) -> Vec<u8> {
    [varint(count << 1), vec![value; width.div_ceil(8)]].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

fn schema(name: &[u8], kind: Option<i32>, children: Option<i32>) -> Vec<u8> {
    let mut element = Struct::default();
    if let Some(kind) = kind {
        element = element.i32(1, kind).i32(3, 1);
    }
    element = element.binary(4, name);
    if let Some(children) = children {
        element = element.i32(5, children);
    }
    element.end()
}

fn page(kind: i32, data: &[u8], unpacked: i32, id: u8, header: Struct) -> Vec<u8> {
    let header =
        Struct::default().i32(1, kind).i32(2, unpacked).i32(3, data.len() as i32).structure(id, header);
    [header.end(), data.to_vec()].concat()
}

fn chunk(
    kind: i32,
    path: &[&[u8]],
    values: u64,
    bytes: usize,
    data: usize,
    dictionary: Option<i64>,
) -> Vec<u8> {
    let names: Vec<u8> =
        path.iter().flat_map(|name| [varint(name.len() as u64), name.to_vec()].concat()).collect();
    let encodings: Vec<u8> = [0, 3, 7, 8].into_iter().flat_map(zigzag).collect();
    let mut meta = Struct::default()
        .i32(1, kind)
        .list(2, 5, 4, &encodings)
        .list(3, BINARY, path.len(), &names)
        .i32(4, ZSTD)
        .i64(5, values as i64)
        .i64(6, bytes as i64)
        .i64(7, bytes as i64)
        .i64(9, data as i64);
    if let Some(dictionary) = dictionary {
        meta = meta.i64(11, dictionary);
    }
    Struct::default().i64(2, 4).structure(3, meta).end()
}

fn file(elements: &[u8], count: usize, chunk: &[u8], rows: u64, pages: &[u8]) -> Vec<u8> {
    let group =
        Struct::default().list(1, STRUCT, 1, chunk).i64(2, pages.len() as i64).i64(3, rows as i64).end();
    let footer = Struct::default()
        .i32(1, 1)
        .list(2, STRUCT, count, elements)
        .i64(3, rows as i64)
        .list(4, STRUCT, 1, &group)
        .binary(6, b"x");
    with_footer(pages, footer.bytes)
}

fn with_footer(pages: &[u8], mut footer: Vec<u8>) -> Vec<u8> {
    footer.push(0);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", pages, &footer, &length, b"PAR1"].concat()
}

/// Compresses with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}
