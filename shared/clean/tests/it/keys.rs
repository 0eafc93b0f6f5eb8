use super::*;

const ALL: &str = r#"
    name = "all"
    version = 1
    column = [
        { name = "i", type = "int64" }, { name = "n", type = "int32" }, { name = "s", type = "string" },
        { name = "f", type = "float64" }, { name = "b", type = "boolean" }, { name = "t", type = "timestamp" },
        { name = "d", type = "date" }, { name = "y", type = "binary" }, { name = "j", type = "json" },
        { name = "m", type = "decimal(12,2)" }, { name = "p", type = "array<decimal(12,2)>" },
        { name = "a", type = "array<float64>" }, { name = "l", type = "array<string>" },
    ]
"#;

fn key(catalog: &Arc<Catalog>, record: &str, dataset: &str) -> String {
    let mut cleaner = new_cleaner(Arc::clone(catalog));
    cleaner.push(record.as_bytes(), Some(dataset), &line(1));
    let cleaned = cleaner.drain();
    assert_eq!(cleaned[0].contract.name, dataset, "{:?}", rows(&cleaned[0].rows));
    keys(&cleaned[0].rows).remove(0)
}

/// The key as `docs/keys.md` specifies it, computed without the code under test.
fn expected_key(dataset: &str, columns: &[(&str, u8, Vec<u8>)]) -> String {
    let mut form = Vec::new();
    let put = |form: &mut Vec<u8>, bytes: &[u8]| {
        form.extend((bytes.len() as u32).to_le_bytes());
        form.extend(bytes);
    };
    put(&mut form, b"pinlake-key-1");
    put(&mut form, dataset.as_bytes());
    for (name, tag, value) in columns {
        put(&mut form, name.as_bytes());
        form.push(*tag);
        put(&mut form, value);
    }
    blake3::hash(&form).to_hex()[..32].to_owned()
}

#[test]
fn keys_follow_the_specification() {
    let catalog = contracts_of(&[ALL]);
    let int = |number: i64| number.to_le_bytes().to_vec();
    let float = |number: f64| number.to_bits().to_le_bytes().to_vec();
    let decimal = |number: i128, scale: u8| [&number.to_le_bytes()[..], &[scale]].concat();
    for (record, columns) in [
        (r#"{"i":null}"#, vec![]),
        (r#"{"i":-2}"#, vec![("i", 2, int(-2))]),
        (r#"{"n":7}"#, vec![("n", 2, int(7))]),
        (r#"{"s":""}"#, vec![("s", 1, vec![])]),
        (r#"{"s":"é"}"#, vec![("s", 1, "é".as_bytes().to_vec())]),
        (r#"{"f":-88.4642}"#, vec![("f", 3, float(-88.4642))]),
        (r#"{"f":-0.0}"#, vec![("f", 3, float(0.0))]),
        (r#"{"b":true}"#, vec![("b", 4, vec![1])]),
        (r#"{"t":"1970-01-01 00:00:01"}"#, vec![("t", 5, int(1_000_000))]),
        (r#"{"d":"1970-01-02"}"#, vec![("d", 6, int(1))]),
        (r#"{"m":"-1.50"}"#, vec![("m", 9, decimal(-15, 1))]),
        (r#"{"m":100}"#, vec![("m", 9, decimal(100, 0))]),
        (r#"{"m":0.00}"#, vec![("m", 9, decimal(0, 0))]),
        (r#"{"p":[1.50]}"#, vec![("p", 73, [&[1, 0, 0, 0, 1, 17, 0, 0, 0][..], &decimal(15, 1)].concat())]),
        (r#"{"y":"/w=="}"#, vec![("y", 7, vec![0xff])]),
        (r#"{"j":[1, 2.0]}"#, vec![("j", 8, b"[1,2]".to_vec())]),
        (r#"{"j":{"b": 1, "a":"\u00e9"}}"#, vec![("j", 8, "{\"a\":\"é\",\"b\":1}".as_bytes().to_vec())]),
        (
            r#"{"a":[1.5,null]}"#,
            vec![("a", 67, [&[2, 0, 0, 0, 1, 8, 0, 0, 0][..], &float(1.5), &[0]].concat())],
        ),
        (r#"{"a":[]}"#, vec![("a", 67, vec![0, 0, 0, 0])]),
        (r#"{"l":["ab"]}"#, vec![("l", 65, b"\x01\0\0\0\x01\x02\0\0\0ab".to_vec())]),
        // Encoded in the order of the names, not in that of the columns.
        (r#"{"s":"x","b":false,"i":1}"#, vec![("b", 4, vec![0]), ("i", 2, int(1)), ("s", 1, b"x".to_vec())]),
    ] {
        assert_eq!(key(&catalog, record, "all"), expected_key("all", &columns), "{record}");
    }
}

/// Tables store keys: these must never change.
#[test]
fn fixed_vectors() {
    let catalog = contracts();
    let pin = r#"{"index": 7528, "unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf", "title": "No Title Data Available", "description": "No description available Story format", "poster_name": "User Info Error", "follower_count": "User Info Error", "tag_list": "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e", "is_image_or_video": "multi-video(story page format)", "image_src": "Image src error.", "downloaded": 0, "save_location": "Local save in /data/mens-fashion", "category": "mens-fashion"}"#;
    let geo = r#"{"ind": 7528, "timestamp": "2020-08-28 03:52:47", "latitude": -89.9787, "longitude": -173.293, "country": "Albania"}"#;
    let user = r#"{"ind": 7528, "first_name": "Abigail", "last_name": "Ali", "age": 20, "date_joined": "2015-10-24 11:23:51"}"#;
    let found = [key(&catalog, pin, "pin"), key(&catalog, geo, "geo"), key(&catalog, user, "user")];
    assert_eq!(
        found,
        [
            "173cefeb27b55fd3ace9ec5448152b38",
            "246627f050bde380f647c71346e11005",
            "204c90739350ba388e7b8f106cee28aa"
        ]
    );
}

#[test]
fn keys_depend_on_the_values_of_the_row_only() {
    let catalog = contracts();
    let geo = r#"{"ind":1,"country":"C","timestamp":"2020-08-28 03:52:47"}"#;
    let same = key(&catalog, geo, "geo");
    for other in [
        r#"{"timestamp":"08/28/2020, 03:52:47","index":"1.0","country":"\u0043","latitude":null,"other":5}"#,
        r#"{"ind":1,"country":"C","timestamp":{"$date":{"$numberLong":"1598586767000"}}}"#,
    ] {
        assert_eq!(key(&catalog, other, "geo"), same, "{other}");
    }
    assert_ne!(key(&catalog, &geo.replace("\"C\"", "\"C \""), "geo"), same);
    // Columns in another order, and an added one that the record does not have.
    let first = "name = \"x\"\nversion = 1\ncolumn = [{ name = \"a\", type = \"string\" }, { name = \"b\", type = \"int32\" }]";
    let later = "name = \"x\"\nversion = 2\ncolumn = [{ name = \"b\", type = \"int64\" }, { name = \"c\", type = \"date\" }, { name = \"a\", type = \"string\" }]";
    let record = r#"{"a":"1","b":2}"#;
    assert_eq!(key(&contracts_of(&[first]), record, "x"), key(&contracts_of(&[later]), record, "x"));
}

#[test]
fn quarantine_keys_cover_dataset_and_bytes_only() {
    let mut cleaner = new_cleaner(contracts());
    let elsewhere = RecordOrigin {
        source: "kinesis/s/0",
        position: Position::Sequence { number: "9", line: 1 },
        record_id: Some(("r", 1)),
    };
    cleaner.push(b"{\"ind\": x", Some("geo"), &line(1));
    cleaner.push(b"{\"ind\": x", Some("geo"), &elsewhere);
    cleaner.reject(b"{\"ind\": x", Some("geo"), &line(3), pinlake_clean::Reason::TooLarge, "other");
    cleaner.push(b"{\"ind\": x", None, &line(1));
    cleaner.push(b"{\"ind\": y", Some("geo"), &line(1));
    let cleaned = cleaner.drain();
    let keys = keys(&cleaned[0].rows);
    assert_eq!((&keys[0], &keys[0]), (&keys[1], &keys[2]));
    assert!(keys[3] != keys[0] && keys[4] != keys[0] && keys[3] != keys[4]);
    let expected = [("dataset", 1, b"geo".to_vec()), ("raw", 7, b"{\"ind\": x".to_vec())];
    assert_eq!(keys[0], expected_key("quarantine", &expected));
}

#[test]
fn keys_of_rows_that_are_identified_by_their_record() {
    let catalog = contracts_of(&[
        "name = \"x\"\nversion = 1\nidentity = \"record\"\ncolumn = [{ name = \"a\", type = \"string\" }]",
    ]);
    let mut cleaner = new_cleaner(catalog);
    let id = |request, index| RecordOrigin {
        source: "s",
        position: Position::Line(1),
        record_id: Some((request, index)),
    };
    let record = br#"{"a":"1"}"#;
    for origin in [id("r", 0), id("r", 0), id("r", 1), id("q", 0), line(1), line(1), line(2), id("r@c", 0)] {
        cleaner.push(record, Some("x"), &origin);
    }
    cleaner.push(br#"{"a": "1"}"#, Some("x"), &id("r", 0));
    let rows = cleaner.drain().remove(0).rows;
    let former = keys_in(&rows, FORMER_KEY_COLUMN);
    let keys = keys(&rows);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[4], keys[5]);
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), 7);
    let content = ("content", 32, blake3::hash(record).as_bytes()[..16].to_vec());
    let index = ("index", 32, 1_u64.to_le_bytes().to_vec());
    let request = ("request", 32, b"r".to_vec());
    assert_eq!(keys[2], expected_key("x", &[content, index.clone(), request.clone()]));
    // Keys of the former epoch covered neither the content nor the caller.
    assert_eq!(former[2], expected_key("x", &[index, request]));
    assert!(former[0] == former[7] && former[0] == former[8]);
}

/// Data files of the former epoch have the keys of JSON as it was sent.
#[test]
fn json_has_a_former_epoch() {
    let catalog = contracts_of(&[ALL]);
    let contract = catalog.contract("all").unwrap();
    assert_ne!(contract.former_identity_hash(), Some(contract.identity_hash()));
    let mut cleaner = new_cleaner(Arc::clone(&catalog));
    for record in [r#"{"j":{"a": 1}}"#, r#"{"j":{"a":1}}"#, r#"{"i":1}"#] {
        cleaner.push(record.as_bytes(), Some("all"), &line(1));
    }
    let rows = cleaner.drain().remove(0).rows;
    let (current, former) = (keys(&rows), keys_in(&rows, FORMER_KEY_COLUMN));
    assert_eq!(current[0], current[1], "one row in the current epoch");
    assert_eq!(former[0], expected_key("all", &[("j", 8, b"{\"a\": 1}".to_vec())]));
    assert_eq!(former[1..], current[1..], "what is canonical has the same key");
    let without = "name = \"n\"\nversion = 1\nidentity = [\"i\"]\ncolumn = [{ name = \"i\", type = \"int64\", required = true }, { name = \"j\", type = \"json\" }]";
    assert!(contracts_of(&[without]).contract("n").unwrap().former_identity_hash().is_none());
}
