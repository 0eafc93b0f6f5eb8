//! The process that reads one Parquet file, which is its standard input, and says on its standard output what is in it.

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

use super::super::table::Table;
use super::super::{CutError, FormatReader, Limits, Record};
use super::{ARGUMENT, HELLO, PIPE_BYTES, numbers, says};

/// Stack of the thread that reads.
const STACK_BYTES: usize = 8 << 20;
/// Address space besides what may be allocated: the program, libraries, stacks.
const PROGRAM_BYTES: u64 = 2 << 30;
/// Bytes of the file that are read at a time where it is read from a place on.
const READ_BYTES: usize = 16 << 10;

/// What this process was started for.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    memory_bytes: u64,
    cpu_seconds: u64,
    max_record_bytes: usize,
}

/// Whether a program with these arguments, its name first, was started to read a Parquet file.
pub fn asked(arguments: impl IntoIterator<Item = OsString>) -> Option<Reading> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    match *numbers(arguments)? {
        [memory_bytes, cpu_seconds, max_record_bytes] => Some(Reading {
            memory_bytes,
            cpu_seconds,
            max_record_bytes: usize::try_from(max_record_bytes).ok()?,
        }),
        _ => None,
    }
}

impl Reading {
    /// Reads it to its end. What is wrong with the file is said on the pipe; the exit code is for all else.
    pub fn run(self) -> ExitCode {
        // Nobody reads what the library says of its failures, which may quote the file.
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
        out.write_all(HELLO)?;
        out.flush()?;
        self.limit()?;
        let limits = Limits { max_record_bytes: self.max_record_bytes, ..Limits::default() };
        let file = Positioned { length: file.metadata()?.len(), file: Arc::new(file) };
        match Table::new(file, limits) {
            Ok(table) => self.say(table, &mut out)?,
            Err(error) => say_error(&mut out, &error)?,
        }
        out.flush()
    }

    fn limit(&self) -> std::io::Result<()> {
        let set = |resource, most: u64| {
            let most = Some(getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most)));
            setrlimit(resource, Rlimit { current: most, maximum: most })
        };
        set(Resource::Data, self.memory_bytes)?;
        set(Resource::As, self.memory_bytes.saturating_add(PROGRAM_BYTES))?;
        set(Resource::Core, 0)?;
        set(Resource::Fsize, 0)?;
        self.allow_a_batch()?;
        Ok(())
    }

    /// Lets the next batch of rows take as much processor time as one may.
    fn allow_a_batch(&self) -> std::io::Result<()> {
        let taken = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
        let maximum = getrlimit(Resource::Cpu).maximum;
        let most = taken + self.cpu_seconds + 1;
        let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
        Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum })?)
    }

    fn say(&self, mut table: Table, out: &mut impl Write) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            if table.is_at_a_batch() {
                // Whoever waits has these, however long the next ones take.
                out.flush()?;
                self.allow_a_batch()?;
            }
            buffer.clear();
            match table.cut(&mut buffer) {
                Ok(Some(record)) => say_record(out, record)?,
                Ok(None) => return out.write_all(&[says::END]),
                Err(CutError::Parquet(error)) => return say_error(out, &error),
                Err(CutError::Io(error)) => return Err(error),
                Err(CutError::Refused(why)) => return say_error(out, &ParquetError::General(why)),
                Err(CutError::Host(error)) => return Err(std::io::Error::other(error)),
            }
        }
    }
}

fn say_record(out: &mut impl Write, record: Record<'_>) -> std::io::Result<()> {
    let kind = if record.fault.is_some() { says::TOO_LARGE } else { says::RECORD };
    let mut head = [kind, 0, 0, 0, 0, 0, 0, 0, 0];
    head[1..].copy_from_slice(&record.position.to_le_bytes());
    out.write_all(&head)?;
    if let Some(fault) = record.fault {
        say_bytes(out, fault.detail.as_bytes())?;
    }
    say_bytes(out, record.bytes)
}

fn say_error(out: &mut impl Write, error: &ParquetError) -> std::io::Result<()> {
    let why = match error {
        ParquetError::General(why) => why.clone(),
        other => other.to_string(),
    };
    let most = why.floor_char_boundary(super::MOST_MESSAGE_BYTES);
    out.write_all(&[says::ERROR])?;
    say_bytes(out, &why.as_bytes()[..most])
}

fn say_bytes(out: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

/// A file that is read at places, with one descriptor however many columns are read at once.
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
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<BufReader<From>> {
        Ok(BufReader::with_capacity(READ_BYTES, From { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // What is not there is not made room for.
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

/// Reads on from a place.
#[derive(Debug)]
struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(into, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
