//! Parquet of strangers, read in a process of its own: the same program, started again with an argument that only it knows.
//!
//! The Parquet library allocates what a file claims, and recurses and computes as long as it says. A process that is
//! limited in memory, stack and processor time can end over that, and nothing else does: this process reads the
//! records from a pipe, and an end before the last one is an error that names the file and the limit. The child has
//! the file as its standard input, nothing in its environment, and may not write to any file.
//!
//! A program that hands out a [`Sandbox`] asks [`asked`] before anything else in its `main`:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use pinlake_clean::record_reader::sandbox;
//!
//! fn main() -> ExitCode {
//!     if let Some(reading) = sandbox::asked(std::env::args_os()) {
//!         return reading.run();
//!     }
//!     // What the program is for.
//!     ExitCode::SUCCESS
//! }
//! ```

mod child;

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use parquet::errors::ParquetError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::{CutError, Fault, FormatReader, Limits, Record};
use crate::reason::Reason;

pub use child::{Reading, asked};

/// The argument by which a program knows that it is to read a Parquet file.
const ARGUMENT: &str = "--pinlake-read-parquet";
/// What the child says first: that it is there, and understands what follows.
const HELLO: &[u8; 8] = b"PINLAKE1";
/// Bytes that are taken out of the pipe at a time.
const PIPE_BYTES: usize = 256 << 10;
/// Bytes of what the child says when it breaks down that are looked at.
const LAST_WORDS: u64 = 4096;
/// Bytes of a message of the child.
const MOST_MESSAGE_BYTES: usize = 64 << 10;

/// What the child says of the file; numbers are little-endian.
mod says {
    /// A record: its position (8 bytes), its length (4), its bytes.
    pub(super) const RECORD: u8 = b'R';
    /// A record that is too large: position, length and text of what is wrong, length and bytes.
    pub(super) const TOO_LARGE: u8 = b'L';
    /// The file cannot be read (further): the length of a text, and the text.
    pub(super) const ERROR: u8 = b'E';
    /// There is no more.
    pub(super) const END: u8 = b'Z';
}

/// What the process that reads a file may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes that it may allocate.
    pub memory_bytes: u64,
    /// Seconds of processor time between two batches of rows, of a thousand at most.
    pub cpu_seconds: u64,
    /// How long it may say nothing while it is waited for.
    pub silence: Duration,
}

/// Reads Parquet files, each in a process of its own. Other files are read as ever, within its limits.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The program to start: one that begins with [`asked`].
    pub program: PathBuf,
    /// What reading a file may cost.
    pub limits: Limits,
    /// What the process may take.
    pub bounds: Bounds,
}

impl Sandbox {
    /// The program that runs now, started again.
    ///
    /// # Errors
    /// When the system does not tell which it is.
    pub fn of_this_program(limits: Limits, bounds: Bounds) -> std::io::Result<Self> {
        // The link leads to the program that runs, also when its file was replaced since.
        let link = Path::new("/proc/self/exe");
        let program = if link.exists() { link.to_owned() } else { std::env::current_exe()? };
        Ok(Self { program, limits, bounds })
    }
}

/// Why there is no process that reads a file; the file has no part in it.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It could not be started.
    #[error("{program} cannot be started to read Parquet apart: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ended before it had begun.
    #[error("{program} ended before it read anything ({status}): it does not know how to read Parquet apart")]
    Mute {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// Something outside ended it, or the system refused it something.
    #[error("the process that reads Parquet apart was ended from outside ({status})")]
    Ended {
        /// How it ended.
        status: ExitStatus,
    },
    /// A pipe or a file between the two processes failed.
    #[error("what the process that reads Parquet apart says cannot be read: {0}")]
    Pipe(std::io::Error),
}

/// A pipe that is read as long as something comes through it in time.
struct Timed {
    pipe: ChildStdout,
    silence: Duration,
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let silence = Timespec::try_from(self.silence).map_err(std::io::Error::other)?;
        loop {
            let mut pipe = [PollFd::new(&self.pipe, PollFlags::IN)];
            match poll(&mut pipe, Some(&silence)) {
                Ok(0) => return Err(std::io::ErrorKind::TimedOut.into()),
                Ok(_) => return self.pipe.read(into),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The records that another process reads.
pub(super) struct SandboxedReader {
    child: Child,
    pipe: BufReader<Timed>,
    bounds: Bounds,
    max_record_bytes: usize,
    program: PathBuf,
    /// Whether the child has said that it is there.
    greeted: bool,
    ended: bool,
}

/// What a frame says.
enum Frame {
    Record(u64),
    TooLarge(u64, String),
    Error(String),
    End,
}

impl SandboxedReader {
    /// Starts the process that reads `file`, from its beginning.
    pub(super) fn open(mut file: File, sandbox: &Sandbox) -> Result<Self, HostError> {
        let Sandbox { program, limits, bounds } = sandbox;
        let start = |source| HostError::Start { program: program.clone(), source };
        file.rewind().map_err(HostError::Pipe)?;
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .args(
                [bounds.memory_bytes, bounds.cpu_seconds, limits.max_record_bytes as u64]
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
        let pipe = BufReader::with_capacity(PIPE_BYTES, Timed { pipe, silence: bounds.silence });
        Ok(Self {
            child,
            pipe,
            bounds: *bounds,
            max_record_bytes: limits.max_record_bytes,
            program: program.clone(),
            greeted: false,
            ended: false,
        })
    }

    /// The same of a file in memory.
    pub(super) fn open_bytes(bytes: &[u8], sandbox: &Sandbox) -> Result<Self, HostError> {
        let mut file = tempfile::tempfile().map_err(HostError::Pipe)?;
        file.write_all(bytes).map_err(HostError::Pipe)?;
        Self::open(file, sandbox)
    }

    /// Reads the next frame; a record's bytes into `buffer`.
    fn frame(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<Frame> {
        if !self.greeted {
            let mut hello = [0; HELLO.len()];
            self.pipe.read_exact(&mut hello)?;
            if hello != *HELLO {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.greeted = true;
        }
        let mut kind = [0];
        self.pipe.read_exact(&mut kind)?;
        match kind[0] {
            says::RECORD => {
                let position = self.position()?;
                self.bytes(buffer, self.max_record_bytes)?;
                Ok(Frame::Record(position))
            }
            says::TOO_LARGE => {
                let position = self.position()?;
                let detail = self.text()?;
                self.bytes(buffer, self.max_record_bytes)?;
                Ok(Frame::TooLarge(position, detail))
            }
            says::ERROR => self.text().map(Frame::Error),
            says::END => Ok(Frame::End),
            other => Err(std::io::Error::other(format!("a frame of kind {other}, which there is not"))),
        }
    }

    fn position(&mut self) -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        self.pipe.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn text(&mut self) -> std::io::Result<String> {
        let mut text = Vec::new();
        self.bytes(&mut text, MOST_MESSAGE_BYTES)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn bytes(&mut self, into: &mut Vec<u8>, most: usize) -> std::io::Result<()> {
        let mut length = [0; 4];
        self.pipe.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > most {
            return Err(std::io::Error::other(format!("{length} bytes, where {most} are allowed")));
        }
        into.resize(length, 0);
        self.pipe.read_exact(into)
    }

    /// Why nothing more comes.
    fn why(&mut self, error: std::io::Error) -> CutError {
        self.ended = true;
        let timed_out = error.kind() == std::io::ErrorKind::TimedOut;
        let broke_off = error.kind() == std::io::ErrorKind::UnexpectedEof;
        if !broke_off {
            // It has ended already, or ends now.
            let _ = self.child.kill();
        }
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return CutError::Host(HostError::Pipe(error)),
        };
        let Bounds { memory_bytes, cpu_seconds, silence } = self.bounds;
        if timed_out {
            let seconds = silence.as_secs();
            return CutError::Refused(format!("reading it brought no row in {seconds} seconds"));
        }
        if !broke_off {
            return CutError::Host(HostError::Pipe(error));
        }
        if !self.greeted {
            return CutError::Host(HostError::Mute { program: self.program.clone(), status });
        }
        let mut words = Vec::new();
        if let Some(pipe) = self.child.stderr.take() {
            let _ = pipe.take(LAST_WORDS).read_to_end(&mut words);
        }
        let words = String::from_utf8_lossy(&words);
        match status.signal() {
            Some(signal) if signal == rustix::process::Signal::XCPU.as_raw() => CutError::Refused(format!(
                "reading a batch of its rows takes more than {cpu_seconds} seconds of a processor"
            )),
            Some(_) if words.contains("memory allocation") => {
                CutError::Refused(format!("reading it takes more than {} MiB of memory", memory_bytes >> 20))
            }
            Some(_) if words.contains("overflowed its stack") => {
                CutError::Refused("it nests deeper than it can be read".to_owned())
            }
            // Nobody but us or the system sends these.
            Some(signal)
                if signal == rustix::process::Signal::KILL.as_raw()
                    || signal == rustix::process::Signal::TERM.as_raw()
                    || signal == rustix::process::Signal::INT.as_raw() =>
            {
                CutError::Host(HostError::Ended { status })
            }
            Some(_) => CutError::Refused(format!("the reader broke off ({status}): the file is damaged")),
            None => CutError::Host(HostError::Ended { status }),
        }
    }
}

impl FormatReader for SandboxedReader {
    fn cut<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, CutError> {
        if self.ended {
            return Ok(None);
        }
        match self.frame(buffer) {
            Ok(Frame::Record(position)) => Ok(Some(Record { bytes: buffer, position, fault: None })),
            Ok(Frame::TooLarge(position, detail)) => {
                let fault = Some(Fault { reason: Reason::TooLarge, detail });
                Ok(Some(Record { bytes: buffer, position, fault }))
            }
            Ok(Frame::End) => {
                self.ended = true;
                Ok(None)
            }
            Ok(Frame::Error(why)) => {
                self.ended = true;
                Err(CutError::Parquet(ParquetError::General(why)))
            }
            Err(error) => Err(self.why(error)),
        }
    }
}

impl Drop for SandboxedReader {
    fn drop(&mut self) {
        // Whoever stops reading before the end stops it; one that has ended is taken off the system's list.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbers(arguments: impl Iterator<Item = OsString>) -> Option<Vec<u64>> {
    arguments.map(|argument| argument.to_str()?.parse().ok()).collect()
}
