//! Ctrl-C: the first one asks the command to finish, the second one ends the process.

use std::io;
use std::process::ExitCode;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::console;

/// The exit code after Ctrl-C, 128 + SIGINT as in shells.
pub fn exit_code() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

const INTERRUPTED: u8 = 130;

/// Becomes true after Ctrl-C or SIGTERM.
pub fn watch() -> io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send_replace(true) {
                std::process::exit(i32::from(INTERRUPTED));
            }
            console::say("stopping: finishing what is under way (once more to stop at once)");
        }
    });
    Ok(receiver)
}
