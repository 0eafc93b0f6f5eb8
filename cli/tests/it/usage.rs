//! Exit codes and output of wrong usage and of failures.

use std::fs;

use crate::program::pinlake;

#[tokio::test]
async fn wrong_usage_exits_with_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pin.ndjson"), "{}\n").unwrap();
    fs::write(folder.path().join("weather.ndjson"), "{}\n").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("state.json"), r#"{"to":"http://other/","order":"file","files":{}}"#)
        .unwrap();
    fs::write(
        folder.path().join("secret.json"),
        r#"{"to":"http://me:hush@other/","order":"file","files":{}}"#,
    )
    .unwrap();
    let to = "http://127.0.0.1:9";
    let cases: &[(&[&str], &str)] = &[
        (&["replay", "--to", to, "--from", "oracle://host/db"], "oracle://"),
        (&["replay", "--to", to, "--from", "mysql://host/db"], "PINLAKE_DB_USER"),
        (&["replay", "--to", to, "--from", "mysql://me:hush@host/db"], "PINLAKE_DB_PASSWORD"),
        (&["replay", "--to", to, "--from", "pin.ndjson", "--key", "ind"], "for databases"),
        (&["replay", "--to", to, "--from", "weather.ndjson"], "pin.ndjson"),
        (&["replay", "--to", to, "--from", "empty"], "expected file names"),
        (&["replay", "--to", "nowhere", "--from", "pin.ndjson"], "no URL"),
        (&["replay", "--to", "https://me:hush@host", "--from", "pin.ndjson"], "PINLAKE_API_KEY"),
        (&["replay", "--to", "https://hush@host", "--from", "pin.ndjson"], "PINLAKE_API_KEY"),
        (&["replay", "--to", "https://me:hush@ho st", "--from", "pin.ndjson"], "no URL"),
        (&["replay", "--to", "mailto:me:hush@host", "--from", "pin.ndjson"], "no address"),
        (&["replay", "--to", "https://host/?key=hush", "--from", "pin.ndjson"], "no address"),
        (&["replay", "--to", to, "--from", "pin.ndjson", "--state", "secret.json"], "http://other/"),
        (&["replay", "--to", to, "--from", "pin.ndjson", "--state", "state.json"], "http://other/"),
        (&["replay", "--to", to, "--from", "pin.ndjson", "--uid", "a/b"], "letters, digits"),
        (&["replay", "--to", to, "--from", "pin.ndjson", "--rate", "0"], "--rate"),
        (&["generate", "--out", "rows", "--rows", "10", "--dirty", "2"], "from 0 to 1"),
        (&["generate", "--out", "rows", "--rows", "ten"], "ten"),
        (&["analyse", "--lake", "mistyped"], "there is no lake mistyped"),
        (&["analyse", "--lake", "empty", "--as-of", "yesterday"], "2026-11-28T12:00:00Z"),
        (&["analyse", "--lake", "empty", "--datasets", "http://x"], "s3://bucket[/prefix]"),
        (&["check", "--against", "mistyped"], "there is no lake mistyped"),
        (&["history", "--lake", "empty", "--dataset", "weather"], "there is no dataset weather"),
        (&["load", "--lake", "lake", "--dataset", "weather", "pin.ndjson"], "there is no dataset weather"),
        (&["report", "--lake", "mistyped", "--out", "page.html"], "there is no lake mistyped"),
        (&["report", "--lake", "empty"], "--out"),
        (&["report", "--lake", "empty", "--out", "x.html", "--queries", "empty"], "no .sql file"),
        (&["status", "--lake", "mistyped"], "there is no lake mistyped"),
        (&["wait", "--lake", "empty"], "--acks"),
        (&["recover", "--lake", "mistyped"], "there is no lake mistyped"),
        (&["recover", "--lake", "s3://bucket/part"], "--stream"),
        (&["recover", "--lake", "empty", "--dead-letters", "http://x"], "--queue"),
        (&["release", "list", "--lake", "mistyped"], "there is no lake mistyped"),
        (&["release", "use", "--lake", "empty", "x"], "there is no release x"),
        (&["explode"], "explode"),
        (&[], "Usage:"),
    ];
    for (args, expected) in cases {
        let ran = pinlake(folder.path(), args).await;
        ran.assert_code(2);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hush"), "{args:?}: a password is repeated: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_failure_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "in the way").unwrap();
    let ran = pinlake(folder.path(), &["generate", "--out", "file", "--rows", "1"]).await;
    ran.assert_code(1);
    assert!(ran.stderr.starts_with("error: cannot write rows to file: "), "{}", ran.stderr);
    let ran = pinlake(folder.path(), &["replay", "--to", "http://127.0.0.1:9", "--from", "missing"]).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("cannot read missing"), "{}", ran.stderr);
}

#[tokio::test]
async fn waiting_without_acknowledgements_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lake")).unwrap();
    for (name, text) in
        [("none", "{}"), ("empty", ""), ("broken", r#"{"shardId-0":"7""#), ("no", r#"{"s":"x"}"#)]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    for name in ["missing", "none", "empty", "broken", "no"] {
        let ran = pinlake(folder.path(), &["wait", "--lake", "lake", "--timeout", "0", "--acks", name]).await;
        ran.assert_code(1);
        assert!(ran.stderr.contains(name) && ran.stderr.contains("name "), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn help_shows_exit_codes_and_examples() {
    let folder = tempfile::tempdir().unwrap();
    let ran = pinlake(folder.path(), &["--help"]).await;
    ran.assert_code(0);
    assert!(
        ran.stdout.contains("Exit codes:") && ran.stdout.contains("pinlake generate --out"),
        "{}",
        ran.stdout
    );
    for command in [
        "load", "analyse", "results", "report", "status", "generate", "replay", "wait", "recover", "key",
        "release", "cost",
    ] {
        pinlake(folder.path(), &[command, "--help"]).await.assert_code(0);
    }
}
