//! Reads untrusted Parquet files in a separate process: the same program, started again with a special argument.
//!
//! The Parquet library allocates, recurses and computes as much as a file claims. In the child process memory, stack and processor time are
//! limited, and only the child can fail. This process reads the records from a pipe; if the child ends before the last record, that is an error
//! that names the file and the limit. The child gets the file as its standard input and an empty environment, and may not write to files.
//!
//! A program that uses a [`Sandbox`] must call [`parse_child_args`] first in its `main`:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use pinlake_clean::record_reader::sandbox;
//!
//! fn main() -> ExitCode {
//!     if let Some(child) = sandbox::parse_child_args(std::env::args_os()) {
//!         return child.run();
//!     }
//!     // The program itself.
//!     ExitCode::SUCCESS
//! }
//! ```

mod child;
mod protocol;

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use parquet::errors::ParquetError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::error::{FormatError, SandboxError};
use super::format_reader::FormatReader;
use super::limits::ReadLimits;
use super::record::Record;
use super::table::UNREADABLE;
use crate::reason::{Reason, RecordError};
use protocol::{ARGUMENT, GREETING, MAX_MESSAGE_BYTES, PIPE_BYTES, frame};

pub use child::{ChildProcess, parse_child_args};

/// The most bytes of the error output of the child that are examined.
const MAX_STDERR_BYTES: u64 = 4096;

/// Limits of the process that reads a file.
#[derive(Debug, Clone, Copy)]
pub struct ProcessLimits {
    /// Bytes that it may allocate.
    pub memory_bytes: u64,
    /// Seconds of processor time for a batch of at most 1,024 rows.
    pub cpu_seconds: u64,
    /// How long it may take until it returns something.
    pub idle_timeout: Duration,
}

/// Reads each Parquet file in a separate process. Other files are read in this process.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The program to start: its `main` must call [`parse_child_args`] first.
    pub program: PathBuf,
    /// What reading a file may cost.
    pub limits: ReadLimits,
    /// Limits of the process.
    pub process_limits: ProcessLimits,
}

impl Sandbox {
    /// A sandbox that starts the current program again.
    ///
    /// # Errors
    /// If the system does not know the path of the program.
    pub fn from_current_exe(limits: ReadLimits, process_limits: ProcessLimits) -> std::io::Result<Self> {
        // The link refers to the running program even if its file has been replaced.
        let link = Path::new("/proc/self/exe");
        let program = if link.exists() { link.to_owned() } else { std::env::current_exe()? };
        Ok(Self { program, limits, process_limits })
    }
}

/// A pipe with a timeout for each read.
struct TimedPipe {
    pipe: ChildStdout,
    idle_timeout: Duration,
}

impl Read for TimedPipe {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let idle_timeout = Timespec::try_from(self.idle_timeout).map_err(std::io::Error::other)?;
        loop {
            let mut pipe = [PollFd::new(&self.pipe, PollFlags::IN)];
            match poll(&mut pipe, Some(&idle_timeout)) {
                Ok(0) => return Err(std::io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.pipe.read(into),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Reads records through another process.
pub(super) struct SandboxedReader {
    child: Child,
    pipe: BufReader<TimedPipe>,
    process_limits: ProcessLimits,
    max_record_bytes: usize,
    program: PathBuf,
    /// Whether the child has sent its greeting.
    greeted: bool,
    ended: bool,
}

/// A frame of the protocol; the bytes of records are elsewhere.
enum Frame {
    Record(u64),
    TooLarge(u64, String),
    Error(String),
    End,
}

impl SandboxedReader {
    /// Starts a process that reads `file` from its beginning.
    pub(super) fn open(mut file: File, sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let Sandbox { program, limits, process_limits } = sandbox;
        let start = |source| SandboxError::Start { program: program.clone(), source };
        file.rewind().map_err(SandboxError::Pipe)?;
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .args(
                [process_limits.memory_bytes, process_limits.cpu_seconds, limits.max_record_bytes as u64]
                    .map(|number| number.to_string()),
            )
            .env_clear()
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let Some(pipe) = child.stdout.take() else {
            return Err(start(std::io::Error::other("it has no output")));
        };
        let pipe = BufReader::with_capacity(
            PIPE_BYTES,
            TimedPipe { pipe, idle_timeout: process_limits.idle_timeout },
        );
        Ok(Self {
            child,
            pipe,
            process_limits: *process_limits,
            max_record_bytes: limits.max_record_bytes,
            program: program.clone(),
            greeted: false,
            ended: false,
        })
    }

    /// Like [`open`](Self::open), for a file in memory.
    pub(super) fn open_bytes(bytes: &[u8], sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let mut file = tempfile::tempfile().map_err(SandboxError::Pipe)?;
        file.write_all(bytes).map_err(SandboxError::Pipe)?;
        Self::open(file, sandbox)
    }

    /// Reads the next frame. The bytes of a record go into `buffer`.
    fn read_frame(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<Frame> {
        if !self.greeted {
            let mut greeting = [0; GREETING.len()];
            self.pipe.read_exact(&mut greeting)?;
            if greeting != *GREETING {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.greeted = true;
        }
        let mut kind = [0];
        self.pipe.read_exact(&mut kind)?;
        match kind[0] {
            frame::RECORD => {
                let position = self.read_position()?;
                self.read_bytes(buffer, self.max_record_bytes)?;
                Ok(Frame::Record(position))
            }
            frame::TOO_LARGE => {
                let position = self.read_position()?;
                let detail = self.read_text()?;
                self.read_bytes(buffer, self.max_record_bytes)?;
                Ok(Frame::TooLarge(position, detail))
            }
            frame::ERROR => self.read_text().map(Frame::Error),
            frame::END => Ok(Frame::End),
            other => Err(std::io::Error::other(format!("unknown frame {other}"))),
        }
    }

    fn read_position(&mut self) -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        self.pipe.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn read_text(&mut self) -> std::io::Result<String> {
        let mut text = Vec::new();
        self.read_bytes(&mut text, MAX_MESSAGE_BYTES)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn read_bytes(&mut self, into: &mut Vec<u8>, limit: usize) -> std::io::Result<()> {
        let mut length = [0; 4];
        self.pipe.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > limit {
            return Err(std::io::Error::other(format!("{length} bytes, more than the {limit} allowed")));
        }
        into.resize(length, 0);
        self.pipe.read_exact(into)
    }

    /// Finds out why the child failed.
    fn child_error(&mut self, error: std::io::Error) -> FormatError {
        self.ended = true;
        let timed_out = error.kind() == std::io::ErrorKind::TimedOut;
        let is_eof = error.kind() == std::io::ErrorKind::UnexpectedEof;
        if !is_eof {
            // It may have ended already.
            let _ = self.child.kill();
        }
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return FormatError::Sandbox(SandboxError::Pipe(error)),
        };
        let ProcessLimits { memory_bytes, cpu_seconds, idle_timeout } = self.process_limits;
        if timed_out {
            let seconds = idle_timeout.as_secs();
            return FormatError::Refused(format!("reading it returned no row in {seconds} seconds"));
        }
        if !is_eof {
            return FormatError::Sandbox(SandboxError::Pipe(error));
        }
        if !self.greeted {
            return FormatError::Sandbox(SandboxError::NoGreeting { program: self.program.clone(), status });
        }
        let mut stderr = Vec::new();
        if let Some(pipe) = self.child.stderr.take() {
            let _ = pipe.take(MAX_STDERR_BYTES).read_to_end(&mut stderr);
        }
        let stderr = String::from_utf8_lossy(&stderr);
        match status.signal() {
            Some(signal) if signal == rustix::process::Signal::XCPU.as_raw() => FormatError::Refused(
                format!("reading a batch of its rows takes more than {cpu_seconds} seconds of a processor"),
            ),
            Some(_) if stderr.contains("memory allocation") => FormatError::Refused(format!(
                "reading it takes more than {} MiB of memory",
                memory_bytes >> 20
            )),
            Some(_) if stderr.contains("overflowed its stack") => {
                FormatError::Refused("it nests deeper than it can be read".to_owned())
            }
            // Only we or the system send these signals.
            Some(signal)
                if signal == rustix::process::Signal::KILL.as_raw()
                    || signal == rustix::process::Signal::TERM.as_raw()
                    || signal == rustix::process::Signal::INT.as_raw() =>
            {
                FormatError::Sandbox(SandboxError::Killed { status })
            }
            Some(_) => FormatError::Refused(format!("the reader failed ({status}): {UNREADABLE}")),
            None => FormatError::Sandbox(SandboxError::Killed { status }),
        }
    }
}

impl FormatReader for SandboxedReader {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        if self.ended {
            return Ok(None);
        }
        match self.read_frame(buffer) {
            Ok(Frame::Record(position)) => Ok(Some(Record { bytes: buffer, position, error: None })),
            Ok(Frame::TooLarge(position, detail)) => {
                let error = Some(RecordError { reason: Reason::TooLarge, detail });
                Ok(Some(Record { bytes: buffer, position, error }))
            }
            Ok(Frame::End) => {
                self.ended = true;
                Ok(None)
            }
            Ok(Frame::Error(why)) => {
                self.ended = true;
                Err(FormatError::Parquet(ParquetError::General(why)))
            }
            Err(error) => Err(self.child_error(error)),
        }
    }
}

impl Drop for SandboxedReader {
    fn drop(&mut self) {
        // Stops a child that is still reading; reaps one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
