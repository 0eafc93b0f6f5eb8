//! The inputs of the table in `docs/hostile-input.md`, by their names in its first column. The tests of the cleaner and of ingest, and the
//! fuzz seeds, use them.

use std::io::Write as _;

/// The name and bytes of the file with this input; `None` for a name that is not in the table.
pub fn input(name: &str) -> Option<(&'static str, Vec<u8>)> {
    let geo = |fields: &str| format!("{{\"ind\":1,\"country\":\"Peru\"{fields}}}").into_bytes();
    let lines = "geo.ndjson";
    Some(match name {
        "a record that is right" => (lines, geo("")),
        "gzip that unpacks to 1 GB" => ("geo.ndjson.gz", gzip_at_level(&[b' '; 1 << 20], 6).repeat(1024)),
        "zstd that unpacks to 1 GB" => {
            let frame = zstd::encode_all(&[b' '; 1 << 20][..], 1).expect("memory");
            ("geo.ndjson.zst", frame.repeat(1024))
        }
        "gzip within gzip" => ("geo.ndjson.gz", gzip(&gzip(&geo("")))),
        "gzip that is cut off" => {
            let mut packed = gzip(&geo(""));
            packed.truncate(packed.len() - 6);
            ("geo.ndjson.gz", packed)
        }
        "zstd with a window of 128 MiB" => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("zstd");
            encoder.window_log(27).expect("zstd");
            encoder.write_all(&geo("")).expect("memory");
            ("geo.ndjson.zst", encoder.finish().expect("memory"))
        }
        "no gzip, though it is called so" => ("geo.ndjson.gz", geo("")),
        "129 brackets deep" => (lines, geo(&format!(",\"x\":{}1{}", "[".repeat(129), "]".repeat(129)))),
        "100,000 brackets deep" => {
            (lines, geo(&format!(",\"x\":{}1{}", "[".repeat(100_000), "]".repeat(100_000))))
        }
        "a bracket opened 100,000 times" => (lines, geo(&format!(",\"x\":{}", "[".repeat(100_000)))),
        "50,000 fields" => (lines, geo(&fields(50_000))),
        "a million fields" => ("geo.ndjson.gz", gzip(&geo(&fields(1_000_000)))),
        "a string of 900 KB" => (lines, geo(&format!(",\"title\":\"{}\"", "x".repeat(900_000)))),
        "a string of 10 MB" => {
            ("geo.ndjson.gz", gzip(&geo(&format!(",\"title\":\"{}\"", "x".repeat(10_000_000)))))
        }
        "a field's name of 900 KB" => (lines, geo(&format!(",\"{}\":1", "x".repeat(900_000)))),
        "an array of 400,000 where text belongs" => {
            (lines, geo(&format!(",\"country\":[{}0]", "0,".repeat(400_000))))
        }
        "a whole number of 900,000 digits" => (lines, geo(&format!(",\"ind\":{}", "9".repeat(900_000)))),
        "a fraction of 900,000 digits" => (lines, geo(&format!(",\"latitude\":0.{}", "9".repeat(900_000)))),
        "NUL in a string" => (lines, b"{\"ind\":1,\"country\":\"a\0b\"}".to_vec()),
        "NUL between tokens" => (lines, b"{\"ind\":1,\0\"country\":\"a\"}".to_vec()),
        "\\u0000 in a string" => (lines, geo(",\"country\":\"a\\u0000b\"")),
        "NUL bytes only" => (lines, vec![0; 1000]),
        "half a surrogate pair" => (lines, geo(",\"country\":\"\\ud800\"")),
        "half a surrogate pair where nobody reads" => (lines, geo(",\"other\":\"\\ud800\"")),
        "NaN" => (lines, geo(",\"latitude\":NaN")),
        "Infinity" => (lines, geo(",\"latitude\":-Infinity")),
        "\"NaN\" as text" => (lines, geo(",\"latitude\":\"NaN\"")),
        "1e400" => (lines, geo(",\"latitude\":1e400")),
        "1e400 where a whole number belongs" => (lines, geo(",\"ind\":1e400")),
        "1e-400" => (lines, geo(",\"latitude\":1e-400")),
        "a field twice" => (lines, geo(",\"ind\":2")),
        "byte order mark" => (lines, [&b"\xef\xbb\xbf"[..], &geo("")].concat()),
        "UTF-16" => {
            let text: String = String::from_utf8_lossy(&geo("")).into_owned();
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            (lines, units.flat_map(u16::to_le_bytes).collect())
        }
        "CRLF" => (lines, [geo(""), geo(",\"age\":1")].map(|line| [&line[..], b"\r\n"].concat()).concat()),
        "CR alone between records" => (lines, [geo(""), geo("")].join(&b'\r')),
        "bytes that are no UTF-8" => (lines, b"{\"ind\":1,\"country\":\"\xff\"}".to_vec()),
        "an overlong encoding" => (lines, b"{\"ind\":1,\"country\":\"\xc0\xaf\"}".to_vec()),
        "nothing" => (lines, Vec::new()),
        "blanks only" => (lines, b" \n\t\r\n ".to_vec()),
        "an empty object" => (lines, b"{}".to_vec()),
        "a number instead of an object" => (lines, b"7".to_vec()),
        "an array on a line" => (lines, b"[{\"ind\":1}]".to_vec()),
        "an empty array" => ("geo.json", b"[]".to_vec()),
        "a comma at the end" => (lines, b"{\"ind\":1,}".to_vec()),
        "single quotes" => (lines, b"{'ind':1}".to_vec()),
        "a comment" => (lines, b"{\"ind\":1} // one".to_vec()),
        "half a record" => (lines, b"{\"ind\":1,\"coun".to_vec()),
        "two records on a line" => (lines, b"{\"ind\":1}{\"ind\":2}".to_vec()),
        "a line break in a string" => (lines, b"{\"ind\":1,\"country\":\"a\nb\"}".to_vec()),
        "an array that does not close" => {
            ("geo.json", b"[{\"ind\":1,\"country\":\"a\"},{\"ind\":2,\"country\":\"a\"}".to_vec())
        }
        "an array without a comma" => ("geo.json", b"[{\"ind\":1,\"country\":\"a\"}\n{\"ind\":2}]".to_vec()),
        "CSV: a quote that does not close" => ("geo.csv", b"ind,country\n1,Peru\n2,\"x\n3,Peru\n".to_vec()),
        "CSV: a quote that does not close, on a line of 20 MB" => {
            ("geo.csv", [&b"ind,country\n1,Peru\n2,\""[..], &[b'x'; 20 << 20], b"\n3,Peru\n"].concat())
        }
        "CSV: cells missing, cells too many" => ("geo.csv", b"ind,country\n1\n2,Peru,x\n3,Chile\n".to_vec()),
        "CSV: NUL in a cell" => ("geo.csv", b"ind,country\n1,a\0b\n".to_vec()),
        "CSV: no UTF-8 in a cell" => ("geo.csv", b"ind,country\n1,\xff\n".to_vec()),
        "CSV: a header only" => ("geo.csv", b"ind,country\n".to_vec()),
        "CSV: a name twice" => ("geo.csv", b"ind,country,country\n1,Peru,Chile\n".to_vec()),
        "CSV: control characters, six times as long as JSON" => {
            ("geo.csv", [&b"ind,country\n1,"[..], &[1; 15 << 20], b"\n2,Peru\n"].concat())
        }
        "Parquet: its first bytes only" => ("geo.parquet", b"PAR1 and nothing more".to_vec()),
        _ => return None,
    })
}

fn fields(count: usize) -> String {
    (0..count).map(|at| format!(",\"f{at}\":{at}")).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_at_level(bytes, 1)
}

fn gzip_at_level(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// The cells of each row of the table, without its header.
pub fn table() -> Vec<Vec<String>> {
    let page = include_str!("../../../../../docs/hostile-input.md");
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| input |"))
        .take_while(|line| line.starts_with('|'));
    let cells =
        |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
    rows.skip(2).map(cells).collect()
}
