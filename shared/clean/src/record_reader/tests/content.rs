//! What is not data is named, and what can be unpacked is read.

use super::super::{ReadError, ReadLimits, RecordReader};
use super::{all, bzip2, gzip, read_rest};

/// A zip archive of files that are stored as they are.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let fixed = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x58][..],
            &crc.sum().to_le_bytes(),
            &length,
            &length,
            &u16::try_from(name.len()).unwrap().to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        let at = u32::try_from(out.len()).unwrap().to_le_bytes();
        out.extend([&b"PK\x03\x04"[..], &fixed, name.as_bytes(), bytes].concat());
        let rest = [&[0; 10][..], &at].concat();
        directory.extend([&b"PK\x01\x02\x14\0"[..], &fixed, &rest, name.as_bytes()].concat());
    }
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let (size, at) = (directory.len() as u32, out.len() as u32);
    out.extend(directory);
    out.extend(
        [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size.to_le_bytes(), &at.to_le_bytes(), &[0, 0]]
            .concat(),
    );
    out
}

fn refusal(name: &str, bytes: &[u8]) -> String {
    let opened = RecordReader::from_bytes(name, bytes.to_vec().into(), ReadLimits::default());
    let error = opened.and_then(read_rest).expect_err(name);
    assert!(matches!(error, ReadError::Content { .. }), "{error}");
    error.to_string()
}

#[test]
fn other_formats_are_named() {
    let tar = {
        let mut header = [0; 1024];
        header[..8].copy_from_slice(b"t.ndjson");
        header[257..262].copy_from_slice(b"ustar");
        header
    };
    let old_tar = {
        let mut header = [0; 1024];
        header[..8].copy_from_slice(b"t.ndjson");
        let sum: u32 = header[..8].iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
        header
    };
    for (name, bytes, what) in [
        ("x.tar", &tar[..], "tar archive"),
        ("x.tar.gz", &gzip(&tar), "tar archive"),
        ("x.ndjson.gz", &gzip(&gzip(b"{}")), "compressed twice"),
        ("x.ndjson.gz", &gzip(&bzip2(b"{}")), "compressed twice"),
        ("x.zip.gz", &gzip(&zip(&[("a.csv", b"a\n1\n")])), "a zip archive in another file"),
        ("x.ndjson", &old_tar, "tar archive"),
        ("x.csv.gz", &gzip(&old_tar), "tar archive"),
        ("x.a", b"!<arch>\nt.ndjson/", "ar archive"),
        (
            "x.docx",
            &zip(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"")]),
            "document of Office",
        ),
        ("x.duckdb", b"\x01\x02\x03\x04\x05\x06\x07\x08DUCK", "database of DuckDB"),
        ("x.csv", b"GIF89a\x01\0\x01\0", "picture"),
        ("x.csv", b"\x7fELF\x02\x01\x01\0", "program"),
        ("x.avro", b"Obj\x01\x06\x16avro.schema", "Avro"),
        ("x.orc", b"ORC\x0a", "ORC"),
        ("x.parquet", b"PARE....PARE", "encrypted"),
        ("x.feather", b"ARROW1\0\0", "Arrow"),
        ("x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
        ("x.xlsx", &zip(&[("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"")]), "Excel"),
        ("x.zip", &zip(&[("a.csv", b"a\n1\n"), ("b.csv", b"a\n2\n")]), "2 files"),
        ("x.zip", &zip(&[("folder/", b"")]), "without files"),
        ("x.zip", &zip(&[("a.csv", b"a\n1\n")])[..60], "damaged zip"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "7z"),
        ("x.json", b"<!DOCTYPE html><html>", "web page"),
        ("x.xml", b"<?xml version=\"1.0\"?>", "XML"),
        ("x.csv", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("x.lz4", b"\x04\x22\x4d\x18..", "LZ4"),
        ("x.lzma", b"\x5d\0\0\x80\0\xff\xff", "LZMA"),
        ("x.json.zz", b"\x78\x9c\xab\x56", "zlib"),
        ("x.arrows", b"\xff\xff\xff\xff\x78\0\0\0", "Arrow IPC stream"),
        ("x.csv", b"\xff\xfe\0\0i\0\0\0d\0\0\0", "UTF-32"),
        ("x.parquet", b"xxPAR1\x15\0\x15", "called Parquet"),
    ] {
        let error = refusal(name, bytes);
        assert!(error.contains(what), "{name}: {error}");
    }
    // A second byte order mark is no text.
    let marked = b"\xef\xbb\xbf\xef\xbb\xbfid\n1\n";
    assert_eq!(all("x.csv", &marked[..]), ["2:{\"id\":\"1\"}"]);
    assert_eq!(all("x.json", &b"\xef\xbb\xbf\xef\xbb\xbf[{\"id\":1}]"[..]), ["1:{\"id\":1}"]);
    // Letters with which a table may begin too.
    assert_eq!(all("x.csv", "ORC\n1\n"), ["2:{\"ORC\":\"1\"}"]);
}

#[test]
fn archives_of_one_file_are_read() {
    let text = b"{\"a\":1}\n{\"a\":2}\n";
    let rows = ["1:{\"a\":1}", "2:{\"a\":2}"];
    assert_eq!(all("x.zip", zip(&[("__MACOSX/._t", b"x"), ("d/", b""), ("d/t.ndjson", text)])), rows);
    assert_eq!(
        all("x.zip", zip(&[("t.csv", b"a\n1\n")])),
        ["2:{\"a\":\"1\"}"],
        "the name in the archive counts"
    );
    let mut damaged = zip(&[("t.csv", b"a\n1\n")]);
    // Its header has 30 bytes and the name.
    damaged[37] = b'2';
    let damaged = RecordReader::from_bytes("x.zip", damaged.into(), ReadLimits::default());
    let error = damaged.and_then(read_rest).expect_err("damaged").to_string();
    assert!(error.contains("checksum"), "{error}");
    let bzip2 = bzip2(text);
    assert_eq!(all("x.ndjson.bz2", bzip2.clone()), rows);
    assert_eq!(all("x", [&bzip2[..], &bzip2].concat()).len(), 4);
}

#[test]
fn xz_is_read() {
    // `printf '{"a":1}\n{"a":2}\n' | xz --check=crc32`
    const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01, 0x16,
        0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x0f, 0x7b, 0x22, 0x61, 0x22, 0x3a, 0x31, 0x7d,
        0x0a, 0x7b, 0x22, 0x61, 0x22, 0x3a, 0x32, 0x7d, 0x0a, 0x00, 0x66, 0xc0, 0x5a, 0x19, 0x00, 0x01, 0x24,
        0x10, 0xe9, 0x44, 0xd9, 0xcc, 0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
    ];
    assert_eq!(all("x.ndjson.xz", XZ), ["1:{\"a\":1}", "2:{\"a\":2}"]);
    let cut = RecordReader::from_bytes("x.ndjson.xz", XZ[..20].into(), ReadLimits::default());
    assert!(matches!(cut.and_then(read_rest), Err(ReadError::Io { .. })));
}

#[test]
fn compressed_files_that_need_more_than_they_contain_are_refused() {
    // A block of one byte that is not compressed, in a frame with the dictionary 7 and in one with a window of 256 MiB.
    let block = b"\x09\0\0a";
    let with_dictionary = [&b"\x28\xb5\x2f\xfd\x21\x07\x01"[..], block].concat();
    let large_window = [&b"\x28\xb5\x2f\xfd\0\x90"[..], block].concat();
    // `printf '{"a":1}\n' | xz --lzma2=dict=512MiB`
    let xz = hex_bytes(
        "fd377a585a000004e6d6b44602002101220000008240acdc0100077b2261223a317d0a00be4991435504ef8500012008bb19d9bb1fb6f37d01\
         0000000004595a",
    );
    for (name, bytes, why) in [
        ("x.ndjson.zst", with_dictionary, "compressed with a dictionary"),
        ("x.ndjson.zst", large_window, "window of more than 128 MiB"),
        ("x.ndjson.xz", xz, "xz dictionary is larger"),
    ] {
        let opened = RecordReader::from_bytes(name, bytes.into(), ReadLimits::default());
        let error = opened.and_then(read_rest).expect_err(why);
        assert!(matches!(error, ReadError::Refused { .. }) && error.to_string().contains(why), "{error}");
    }
}

#[test]
fn blank_lines_do_not_hide_the_format() {
    let blank = "\n".repeat(70_000);
    for name in ["x.csv", "x.json", "x"] {
        assert_eq!(all(name, format!("{blank}{{\"a\":1}}\n")), ["70001:{\"a\":1}"], "{name}");
        assert_eq!(all(name, format!("{blank}a,b\n1,2\n")), ["70002:{\"a\":\"1\",\"b\":\"2\"}"], "{name}");
    }
}

fn hex_bytes(digits: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}
