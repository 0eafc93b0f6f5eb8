//! Any table of texts, written as CSV. The first byte selects the number of columns and the delimiter.
#![no_main]

#[allow(dead_code, reason = "each target uses its own invariant")]
#[path = "../../../shared/clean/tests/it/hostile/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [first, text @ ..] = input else { return };
    // The reader skips a byte order mark, so the text must not have one.
    let text = String::from_utf8_lossy(text).replace('\u{feff}', "");
    // Such a text is detected as Parquet or as a JSON array.
    let begun = text.trim_start_matches(|letter: char| letter == '|' || letter.is_ascii_whitespace());
    if text.starts_with("PAR1") || begun.starts_with('[') {
        return;
    }
    let mut cells = text.split('|').map(str::to_owned);
    let width = usize::from(*first & 7) + 1;
    let header: Vec<String> = cells.by_ref().take(width).collect();
    if header.len() == width {
        let cells: Vec<String> = cells.collect();
        let rows: Vec<Vec<String>> = cells.chunks_exact(width).map(<[String]>::to_vec).collect();
        invariants::table(if *first & 8 == 0 { b',' } else { b'\t' }, &header, &rows);
    }
});
