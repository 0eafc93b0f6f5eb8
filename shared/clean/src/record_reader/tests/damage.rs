//! Rows before the damage of a compressed file are returned, at any size.

use super::super::{ReadLimits, RecordReader};
use super::{gzip, read_with_buffer};

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
    for (name, whole) in
        [("x.ndjson.gz", gzip(text)), ("x.ndjson.zst", zstd::encode_all(&text[..], 1).expect("memory"))]
    {
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
