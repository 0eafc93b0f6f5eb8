//! Rows before the damage of a compressed file are returned, at any size.

use base64::Engine as _;

use super::super::{ReadLimits, RecordReader};
use super::{all, bzip2, gzip, read_rest, read_with_buffer};

/// Reads as much as there is; returns the number of records, and the error.
fn read_damaged(name: &str, bytes: &[u8]) -> (usize, Option<String>) {
    let records =
        RecordReader::from_bytes(name, bytes.to_vec().into(), ReadLimits::default()).expect("opened");
    let (found, error, _) = read_with_buffer(records, 1 << 20);
    (found.len(), error.map(|error| error.to_string()))
}

/// Lines that hardly compress, so that a block of zstd has few of them.
fn lines(count: u64) -> Vec<u8> {
    let noise = |number: u64| blake3::hash(&number.to_le_bytes()).to_hex().to_string();
    (0..count)
        .flat_map(|number| format!("{{\"id\":{number},\"x\":\"{}\"}}\n", noise(number)).into_bytes())
        .collect()
}

#[test]
fn rows_before_the_damage_are_kept() {
    // The last block before the damage may be lost: 128 KiB in zstd.
    for (count, lost) in [(20, 20), (3000, 2000), (30_000, 2000)] {
        let text = lines(count);
        for (name, compressed) in
            [("x.ndjson.gz", gzip(&text)), ("x.ndjson.zst", zstd::encode_all(&text[..], 1).expect("memory"))]
        {
            for damage in ["cut", "changed"] {
                let mut damaged = compressed.clone();
                let at = damaged.len() * 9 / 10;
                match damage {
                    "cut" => damaged.truncate(at),
                    _ => damaged[at..].iter_mut().for_each(|byte| *byte = 0xff),
                }
                let (found, error) = read_damaged(name, &damaged);
                let whole = (count * 9 / 10) as usize;
                assert!(error.is_some(), "{name} of {count} records, {damage}");
                assert!(found + lost >= whole, "{name}, {damage}: {found} of {count} records");
                // One gzip block holds all of a small file, and can still be read up to the damage.
                if name.ends_with(".gz") && damage == "cut" {
                    assert!(found * 10 >= whole * 7, "{name}, {damage}: {found} of {count} records");
                }
            }
        }
    }
}

#[test]
fn zeros_behind_the_data_are_counted_and_other_bytes_are_damage() {
    let text = b"{\"a\":1}\n{\"a\":2}\n";
    for (name, whole) in [
        ("x.ndjson.gz", gzip(text)),
        ("x.ndjson.bz2", bzip2(text)),
        ("x.ndjson.zst", zstd::encode_all(&text[..], 1).expect("memory")),
    ] {
        let padded = [&whole[..], &[0; 1000]].concat();
        let mut records =
            RecordReader::from_bytes(name, padded.clone().into(), ReadLimits::default()).expect("opened");
        while records.next().expect("whole").is_some() {}
        assert_eq!((records.records(), records.padding_bytes()), (2, 1000), "{name}");
        for tail in [&b"junk"[..], &[0, 0, 1]] {
            let (found, error) = read_damaged(name, &[&whole[..], tail].concat());
            assert_eq!((found, error.is_some()), (2, true), "{name} {tail:?}");
        }
        // Members and frames follow each other.
        assert_eq!(read_damaged(name, &[&whole[..], &whole[..]].concat()), (4, None), "{name}");
    }
}

/// The checksum of a bzip2 block is behind it, and a damaged block decodes to other bytes.
#[test]
fn no_row_of_a_damaged_bzip2_block_is_returned() {
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random
    };
    // Of several blocks of 100 KB, and of repeated bytes, which become longer after the checksum is computed.
    let text: String = (0..12_000).map(|id| format!("{{\"id\":{id},\"s\":\"{:x}\"}}\n", next())).collect();
    let text = format!("{text}{{\"s\":\"{}\"}}\n", "x".repeat(2_000_000));
    let whole = bzip2(text.as_bytes());
    assert_eq!(all("x.ndjson.bz2", whole.clone()).len(), 12_001);
    for part in 1..8 {
        let mut damaged = whole.clone();
        damaged[whole.len() * part / 8] ^= 1;
        let mut records =
            RecordReader::from_bytes("x.ndjson.bz2", damaged.into(), ReadLimits::default()).expect("opened");
        let mut lines = text.lines();
        let error = loop {
            match records.next() {
                Ok(Some(record)) if record.error.is_none() => {
                    assert_eq!(Some(record.bytes), lines.next().map(str::as_bytes));
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("the damage was not found"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("bzip2"), "{error}");
    }
}

#[test]
fn every_byte_may_be_damaged() {
    let text = lines(40);
    for (name, whole) in
        [("x.ndjson.gz", gzip(&text)), ("x.ndjson.zst", zstd::encode_all(&text[..], 1).expect("memory"))]
    {
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let Ok(mut records) = RecordReader::from_bytes(name, damaged.into(), ReadLimits::default())
            else {
                continue;
            };
            while let Ok(Some(_)) = records.next() {}
        }
    }
}

#[test]
fn a_frame_to_skip_may_come_first() {
    let frame = zstd::encode_all(&b"{\"a\":1}\n"[..], 1).expect("memory");
    let pzstd =
        [&b"\x50\x2a\x4d\x18\x04\0\0\0abcd"[..], &frame, b"\x5f\x2a\x4d\x18\x01\0\0\0z", &frame].concat();
    assert_eq!(read_damaged("x.ndjson.zst", &pzstd), (2, None));
    assert_eq!(read_damaged("x", &pzstd), (2, None));
}

/// A file of pyarrow with `write_page_checksum=True`: the column `id` with the numbers 1 and 2, which are in the bytes from 28.
#[test]
fn a_parquet_page_with_another_checksum_is_damaged() {
    const FILE: &str = "UEFSMRUAFRAVEBX43Yg4HBUEFQAVBhUGHAAAAAEAAAACAAAAFQQZLDUAGAZzY2hlbWEVAgAVAiUAGAJpZAAWBBkcGRwmABwVAhklBgAZGAJp\
        ZBUAFgQWQBZAJghJHBUAFQAVAgAAABZAFgQmCBZAACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAAB0AAAAUEFSMQ==";
    let file = base64::engine::general_purpose::STANDARD.decode(FILE).unwrap();
    assert_eq!(all("x.parquet", file.clone()), ["1:{\"id\":1}", "2:{\"id\":2}"]);
    let mut damaged = file;
    damaged[28] ^= 2;
    let records = RecordReader::from_bytes("x.parquet", damaged.into(), ReadLimits::default());
    let error = records.and_then(read_rest).unwrap_err().to_string();
    assert!(error.contains("CRC"), "{error}");
}
