//! Runs the `pinlake` program, and finds test data outside the repository.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The program of the same build as this test.
pub fn pinlake() -> Command {
    let test = env::current_exe().unwrap();
    // target/<...>/debug/deps/it-<hash>; or the same in another folder, build.build-dir, which has no programs.
    let profile = test.parent().and_then(Path::parent).unwrap();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository("target"), PathBuf::from);
    let triple = env::var_os("CARGO_BUILD_TARGET").unwrap_or_default();
    let built = target.join(triple).join(profile.file_name().unwrap());
    let programs = [profile.join("pinlake"), built.join("pinlake")];
    let Some(program) = programs.iter().find(|program| program.exists()) else {
        panic!("{programs:?} are both missing: run `cargo build -p pinlake` first")
    };
    let mut command = Command::new(program);
    for setting in ["PINLAKE_LAKE", "PINLAKE_DATASETS", "PINLAKE_QUERIES"] {
        command.env_remove(setting);
    }
    command
}

/// Runs a command that must succeed and returns its standard output.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The counts of each dataset that `pinlake load` prints.
pub type Counts = BTreeMap<String, Value>;

/// `pinlake load` of files or folders.
pub fn load(lake: &Path, options: &[&OsStr], files: &[PathBuf]) -> Counts {
    let printed = output(pinlake().arg("load").arg("--lake").arg(lake).args(options).args(files));
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["dataset"].as_str().unwrap_or("null").to_owned(), line)).collect()
}

/// `pinlake analyse` as JSON.
pub fn analyse(lake: &Path, options: &[&OsStr]) -> Value {
    let mut command = pinlake();
    command.args(["analyse", "--format", "json", "--lake"]).arg(lake).args(options);
    serde_json::from_str(&output(&mut command)).unwrap()
}

/// A folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A folder of real data beside the repository, which not every checkout has. `None`, with a message, if it is missing.
pub fn beside(path: &str) -> Option<PathBuf> {
    let folder = repository("../shared").join(path);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no {}", folder.display());
    None
}
