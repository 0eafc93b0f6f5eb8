//! `--watch`: repeats a command until Ctrl-C.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::CliError;
use crate::interrupt;

/// Ctrl-C, and the time between two looks.
pub struct Watch {
    stop: watch::Receiver<bool>,
    interval: Duration,
}

impl Watch {
    /// Starts to listen for Ctrl-C.
    pub fn start(interval: Duration) -> Result<Watch, CliError> {
        let stop = interrupt::watch()
            .map_err(|error| CliError::failed("cannot listen for Ctrl-C", "").caused_by(error))?;
        Ok(Watch { stop, interval })
    }

    /// Waits for the next look. Returns false after Ctrl-C.
    pub async fn wait(&mut self) -> bool {
        if *self.stop.borrow() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(self.interval) => true,
            _ = self.stop.changed() => false,
        }
    }
}
