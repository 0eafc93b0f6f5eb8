//! Runs a test in a process of its own, so that it can measure the process.

const MARK: &str = "PINLAKE_TEST_ALONE";

/// Runs the test of this name in a process of its own and prints its output. Returns `true` in that process.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("1 passed"), "{said}");
    print!("{said}");
    false
}
