//! Writes the first inputs of all targets into the folder in `SEEDS`, one subfolder per target.
//!
//! It is a fuzz target only to be built with the others. It writes the files before the first input: `seeds -runs=0`.
#![no_main]

#[path = "../../../shared/clean/tests/it/hostile/inputs.rs"]
mod inputs;

use std::path::Path;

/// Larger inputs only slow the fuzzer down.
const MAX_SEED_BYTES: usize = 4096;

const RECORDS: [&str; 4] = [
    r#"{"index": 7528, "unique_id": "fbe5", "title": "caf\u00e9", "follower_count": "124k", "save_location": "Local save in /data/x"}"#,
    r#"{"ind":1,"timestamp":{"$date":"2020-08-28T03:52:47Z"},"latitude":-1.5e1,"longitude":2,"country":"Peru"}"#,
    r#"{"ind":1,"first_name":"A","last_name":"B","age":20,"date_joined":"2015-10-24 11:23:51"}"#,
    r#"{"s":"xyz","i":5,"f":"1.5k","b":"TRUE","d":"2020-02-29","y":"aGk=","j":{"a":[1,"]"]},"a":["x",null,7],"t":1598586767000,"q":"3"}"#,
];

const CONTRACTS: [&str; 4] = [
    include_str!("../../../datasets/pin.toml"),
    include_str!("../../../datasets/geo.toml"),
    include_str!("../../../datasets/user.toml"),
    include_str!("../../../datasets/quarantine.toml"),
];

libfuzzer_sys::fuzz_target!(
    init: write().expect("seeds can be written"),
    |_input: &[u8]| {}
);

fn write() -> std::io::Result<()> {
    let folder = std::env::var("SEEDS").unwrap_or_else(|_| "target/fuzz/seeds".to_owned());
    let write = |target: &str, name: String, first: Option<u8>, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), [first.as_slice(), bytes].concat())
    };
    let from_the_table = inputs::table().into_iter().filter_map(|row| inputs::input(&row[0]));
    let small = from_the_table.map(|(_, bytes)| bytes).filter(|bytes| bytes.len() <= MAX_SEED_BYTES);
    for (at, bytes) in small.chain(RECORDS.map(|record| record.as_bytes().to_vec())).enumerate() {
        write("json", format!("{at}"), None, &bytes)?;
        write("payload", format!("{at}"), None, &bytes)?;
        for first in 0..8 {
            write("record", format!("{at}-{first}"), Some(first), &bytes)?;
            write("file", format!("{at}-{first}"), Some(first), &bytes)?;
        }
        for first in (0..125).step_by(3) {
            write("request", format!("{at}-{first}"), Some(first), &bytes)?;
        }
    }
    for (how, record) in RECORDS.iter().enumerate() {
        let document = format!(
            "{{\"v\":1,\"r\":[{{\"s\":[{record}, 7]}},{{\"x\":{record}}},{{\"s\":null}}]}}\n{record}"
        );
        write("document", format!("{how}"), None, document.as_bytes())?;
        let kafka = format!("{{\"records\":[{{\"value\":{record}}}]}}");
        let kinesis = format!("{{\"StreamName\":\"s\",\"Data\":{record},\"PartitionKey\":\"partition-1\"}}");
        write("request", format!("kafka-{how}"), Some(1), kafka.as_bytes())?;
        write("request", format!("kinesis-{how}"), Some(2), kinesis.as_bytes())?;
        write("table", format!("{how}"), Some(how as u8), record.replace(',', "|").as_bytes())?;
        write("contract", format!("{how}"), None, CONTRACTS[how].as_bytes())?;
    }
    Ok(())
}
