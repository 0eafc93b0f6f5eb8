//! Runs the program that cargo built.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};

/// The exit code and output of a run.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The only line on stdout, which is JSON.
    pub fn summary(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
    }
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinlake"));
    command.args(args).current_dir(folder).env_remove("RUST_LOG");
    for setting in
        ["PINLAKE_DATASETS", "PINLAKE_QUERIES", "PINLAKE_DB_USER", "PINLAKE_DB_PASSWORD", "PINLAKE_DB_CA"]
    {
        command.env_remove(setting);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the program in `folder`.
pub async fn pinlake(folder: &Path, args: &[&str]) -> Ran {
    ran(command(folder, args).output().await.unwrap())
}

/// Runs the program in `folder` with these environment variables.
pub async fn pinlake_with(folder: &Path, settings: &[(&str, &str)], args: &[&str]) -> Ran {
    ran(command(folder, args).envs(settings.iter().copied()).output().await.unwrap())
}

/// Starts the program in `folder`.
pub fn begin(folder: &Path, args: &[&str]) -> Child {
    command(folder, args).spawn().unwrap()
}

/// Waits until a run ends.
pub async fn end(child: Child) -> Ran {
    ran(child.wait_with_output().await.unwrap())
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
