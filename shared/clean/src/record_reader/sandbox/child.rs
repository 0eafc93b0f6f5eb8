//! The child process: reads the Parquet file on its standard input, and writes its records to its standard output.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::super::error::FormatError;
use super::super::format_reader::FormatReader;
use super::super::limits::ReadLimits;
use super::super::record::Record;
use super::super::table::Table;
use super::protocol::{ARGUMENT, GREETING, MAX_MESSAGE_BYTES, PIPE_BYTES, frame, parse_numbers};

/// Stack of the reading thread.
const STACK_BYTES: usize = 8 << 20;
/// Address space for the program, libraries and stacks, in addition to what may be allocated.
const PROGRAM_BYTES: u64 = 2 << 30;
/// Size of the buffer of sequential reads.
const READ_BYTES: usize = 16 << 10;

/// The task of this process.
#[derive(Debug, Clone, Copy)]
pub struct ChildProcess {
    memory_bytes: u64,
    cpu_seconds: u64,
    max_record_bytes: usize,
}

/// Parses the arguments of the program, its name first; `None` if it was not started to read a Parquet file.
pub fn parse_child_args(arguments: impl IntoIterator<Item = OsString>) -> Option<ChildProcess> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    match *parse_numbers(arguments)? {
        [memory_bytes, cpu_seconds, max_record_bytes] => Some(ChildProcess {
            memory_bytes,
            cpu_seconds,
            max_record_bytes: usize::try_from(max_record_bytes).ok()?,
        }),
        _ => None,
    }
}

impl ChildProcess {
    /// Reads the file to its end. Errors of the file go through the pipe; the exit code is for all others.
    pub fn run(self) -> ExitCode {
        // Panic messages of the library may quote the file.
        std::panic::set_hook(Box::new(|_| {}));
        let reader = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || self.read());
        match reader.map(std::thread::JoinHandle::join) {
            Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
            Ok(_) | Err(_) => ExitCode::FAILURE,
        }
    }

    fn read(self) -> std::io::Result<()> {
        let file = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        let mut out = BufWriter::with_capacity(PIPE_BYTES, std::io::stdout().lock());
        out.write_all(GREETING)?;
        out.flush()?;
        self.set_limits()?;
        let limits = ReadLimits { max_record_bytes: self.max_record_bytes, ..ReadLimits::default() };
        let file = Positioned { length: file.metadata()?.len(), file: Arc::new(file) };
        match Table::new(file, limits) {
            Ok(table) => self.write_records(table, &mut out)?,
            Err(error) => write_error(&mut out, &error)?,
        }
        out.flush()
    }

    fn set_limits(&self) -> std::io::Result<()> {
        let set = |resource, limit: u64| {
            let limit = Some(getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit)));
            setrlimit(resource, Rlimit { current: limit, maximum: limit })
        };
        set(Resource::Data, self.memory_bytes)?;
        set(Resource::As, self.memory_bytes.saturating_add(PROGRAM_BYTES))?;
        set(Resource::Core, 0)?;
        set(Resource::Fsize, 0)?;
        self.extend_cpu_limit()?;
        Ok(())
    }

    /// Allows the processor time of another batch of rows.
    fn extend_cpu_limit(&self) -> std::io::Result<()> {
        let taken = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
        let maximum = getrlimit(Resource::Cpu).maximum;
        let limit = taken + self.cpu_seconds + 1;
        let current = Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
        Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum })?)
    }

    fn write_records(&self, mut table: Table, out: &mut impl Write) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            if table.needs_rows() {
                // Send these rows now: the next ones may take long.
                out.flush()?;
                self.extend_cpu_limit()?;
            }
            buffer.clear();
            match table.read_record(&mut buffer) {
                Ok(Some(record)) => write_record(out, record)?,
                Ok(None) => return out.write_all(&[frame::END]),
                Err(FormatError::Parquet(error)) => return write_error(out, &error),
                Err(FormatError::Io(error)) => return Err(error),
                Err(FormatError::Refused(why) | FormatError::Content(why)) => {
                    return write_error(out, &ParquetError::General(why));
                }
                Err(FormatError::Sandbox(error)) => return Err(std::io::Error::other(error)),
            }
        }
    }
}

fn write_record(out: &mut impl Write, record: Record<'_>) -> std::io::Result<()> {
    let kind = if record.error.is_some() { frame::TOO_LARGE } else { frame::RECORD };
    let mut head = [kind, 0, 0, 0, 0, 0, 0, 0, 0];
    head[1..].copy_from_slice(&record.position.to_le_bytes());
    out.write_all(&head)?;
    if let Some(error) = record.error {
        write_bytes(out, error.detail.as_bytes())?;
    }
    write_bytes(out, record.bytes)
}

fn write_error(out: &mut impl Write, error: &ParquetError) -> std::io::Result<()> {
    let why = match error {
        ParquetError::General(why) => why.clone(),
        other => other.to_string(),
    };
    let end = why.floor_char_boundary(MAX_MESSAGE_BYTES);
    out.write_all(&[frame::ERROR])?;
    write_bytes(out, &why.as_bytes()[..end])
}

fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

/// A file with positioned reads: one descriptor is enough to read many columns at once.
#[derive(Debug)]
struct Positioned {
    file: Arc<File>,
    length: u64,
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<SequentialReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<BufReader<SequentialReader>> {
        Ok(BufReader::with_capacity(READ_BYTES, SequentialReader { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Do not allocate for bytes that do not exist.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!(
                "it refers to {length} bytes at {start}, and has {} in all",
                self.length
            )));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads sequentially from an offset.
#[derive(Debug)]
struct SequentialReader {
    file: Arc<File>,
    at: u64,
}

impl Read for SequentialReader {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(into, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
