//! `pinlake generate`.

use std::collections::HashSet;
use std::fs;

use serde_json::Value;

use crate::program::pinlake;

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_the_summary_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let made = |out: &'static str, seed: &'static str| {
        let folder = folder.path().to_owned();
        async move {
            let args = ["generate", "--out", out, "--rows", "500", "--duplicates", "0.3", "--dirty", "0.1"];
            let ran = pinlake(&folder, &[&args[..], &["--malformed", "0.01", "--seed", seed]].concat()).await;
            ran.assert_code(0);
            assert_eq!(ran.stderr, "", "no progress bar without a terminal");
            ran.summary()
        }
    };
    let summary = made("one", "7").await;
    made("same", "7").await;
    made("other", "8").await;

    let files = summary["files"].as_array().unwrap();
    assert_eq!(
        files.iter().map(|file| file["dataset"].as_str().unwrap()).collect::<Vec<_>>(),
        ["pin", "geo", "user"]
    );
    for file in files {
        let name = format!("{}.ndjson", file["dataset"].as_str().unwrap());
        let read = |out: &str| fs::read_to_string(folder.path().join(out).join(&name)).unwrap();
        let text = read("one");
        assert_eq!(text, read("same"));
        assert_ne!(text, read("other"));

        assert_eq!(file["lines"], 500 + 150 + 5, "{name}");
        assert_eq!(text.lines().count(), 655);
        assert_eq!(file["bytes"], text.len());
        let rows: Vec<&str> =
            text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).collect();
        assert_eq!(rows.len(), 650, "only malformed lines are not JSON");
        assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 500, "duplicates repeat a row exactly");
        assert!((10..45).contains(&file["broken"].as_u64().unwrap()), "{file}");
        assert!((10..45).contains(&file["varied"].as_u64().unwrap()), "{file}");
    }
    let left: Vec<_> =
        fs::read_dir(folder.path().join("one")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}
