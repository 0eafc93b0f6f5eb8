//! Rows to post, read from files: which files, in which order, in which batches.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use pinlake_schema::Catalog;
use tokio::sync::{mpsc, watch};

use super::wire::Format;
use crate::dice::Dice;
use crate::error::CliError;

/// Longer rows are refused: no Kinesis record takes more than 1 MiB.
const LONGEST_ROW: usize = 4 << 20;

/// Rows of one request stay below this; a function URL takes 6 MB, in which the body is quoted once more.
const LARGEST_BATCH: usize = 3 << 20;

/// Dice lane of the order of rows.
const ROUND_LANE: u64 = 48;

/// A file of one dataset's rows.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name without folders: what the state file calls it.
    pub name: String,
    /// The dataset of all of its rows.
    pub dataset: String,
    /// Bytes on disk.
    pub size: u64,
}

/// One row, as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in the order of posting, from 0; counts rows, not lines.
    pub ordinal: u64,
    /// Its line in the file, from 1.
    pub line: u64,
    /// The row without its newline.
    pub bytes: Vec<u8>,
}

/// Rows for one request.
#[derive(Debug)]
pub struct Batch {
    /// Index of the file among the inputs.
    pub file: usize,
    /// How they are sent.
    pub format: Format,
    /// At least one row.
    pub rows: Vec<Row>,
}

/// In which order rows are taken, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they are in the file.
    File,
    /// As the stock client does: each round draws one row, the same of each file, so rows repeat.
    Drawn {
        /// Fixes the draws.
        seed: u64,
    },
}

/// What the reader has to know.
#[derive(Debug)]
pub struct Reading {
    /// Rows of each file at most, those of earlier runs included; for draws: rounds.
    pub count: u64,
    /// Formats, taken in turn by a file's rows.
    pub formats: Vec<Format>,
    /// Rows a request.
    pub batch: usize,
}

/// Finds the files: `from` itself, or those in the folder `from`. The contracts' file patterns tell the dataset, as
/// they do for `load`, unless `dataset` tells it of all.
pub fn find(from: &Path, dataset: Option<&str>, catalog: &Catalog) -> Result<Vec<InputFile>, CliError> {
    let cannot_read = |path: &Path, error: io::Error| {
        CliError::failed(format!("cannot read {}", path.display()), "check the path given with --from")
            .caused_by(error)
    };
    let expected = || {
        let named = catalog.contracts().filter(|contract| !contract.route.files.is_empty());
        let names: Vec<String> = named.map(|contract| format!("{}.ndjson", contract.name)).collect();
        format!("expected file names are {} (or .jsonl, and either also .gz or .zst)", names.join(", "))
    };
    let mut paths = Vec::new();
    if std::fs::metadata(from).map_err(|error| cannot_read(from, error))?.is_dir() {
        for entry in std::fs::read_dir(from).map_err(|error| cannot_read(from, error))? {
            let path = entry.map_err(|error| cannot_read(from, error))?.path();
            // Rows that an earlier replay could not post may lie beside those that it could.
            if has_rows(&file_name(&path)) && !file_name(&path).contains(".rejects.") {
                paths.push(path);
            }
        }
        paths.sort();
    } else {
        paths.push(from.to_owned());
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let name = file_name(&path);
        let size = std::fs::metadata(&path).map_err(|error| cannot_read(&path, error))?.len();
        let routed = || catalog.route_file(&name).map(|contract| contract.name.as_str());
        let Some(dataset) = dataset.or_else(routed).map(str::to_owned) else {
            return Err(CliError::usage(
                format!("the name of {} does not tell which dataset its rows are of", path.display()),
                format!("{}; or name the dataset of all rows with --dataset", expected()),
            ));
        };
        files.push(InputFile { path, name, dataset, size });
    }
    if files.is_empty() {
        return Err(CliError::usage(format!("there are no rows in {}", from.display()), expected()));
    }
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_compressed(name: &str) -> bool {
    name.ends_with(".gz") || name.ends_with(".zst")
}

fn has_rows(name: &str) -> bool {
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(name);
    name.ends_with(".ndjson") || name.ends_with(".jsonl")
}

/// The rows of one file, in the order of posting.
pub struct Source {
    path: PathBuf,
    rows: Rows,
    /// Ordinal of the next row.
    next: u64,
}

enum Rows {
    InOrder(Lines),
    Drawn { seed: u64, file: File, places: Vec<Place> },
}

/// Where a row is in a file that can be read at any place.
struct Place {
    offset: u64,
    length: usize,
    line: u64,
}

impl Source {
    /// Opens a file and passes over the first `done` rows. `bar` counts bytes of the file as they are read.
    pub fn open(input: &InputFile, order: Order, done: u64, bar: &ProgressBar) -> Result<Source, CliError> {
        let rows = match order {
            Order::File => Lines::open(input, bar).map(Rows::InOrder),
            Order::Drawn { seed } => index(input).map(|(file, places)| Rows::Drawn { seed, file, places }),
        };
        let rows = rows.map_err(|error| unreadable(&input.path, 0, error))?;
        let mut source = Source { path: input.path.clone(), rows, next: 0 };
        match &source.rows {
            Rows::Drawn { .. } => source.next = done,
            Rows::InOrder(_) => {
                while source.next < done {
                    if source.next_row()?.is_none() {
                        return Err(CliError::usage(
                            format!(
                                "{} has {} rows, but the state says that {done} were posted",
                                input.path.display(),
                                source.next
                            ),
                            "the state belongs to other files: name another --state, or remove it to begin again",
                        ));
                    }
                }
            }
        }
        Ok(source)
    }

    /// Rows that draws are made from; 0 for a source that is read in order.
    pub fn drawn_from(&self) -> u64 {
        match &self.rows {
            Rows::InOrder(_) => 0,
            Rows::Drawn { places, .. } => places.len() as u64,
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, CliError> {
        let row = match &mut self.rows {
            Rows::InOrder(lines) => {
                let at = lines.line;
                let line = lines.next().map_err(|error| unreadable(&self.path, at + 1, error))?;
                line.map(|line| (line.number, line.bytes))
            }
            Rows::Drawn { seed, file, places } => {
                // The same dice for every file: the same place of files of the same length.
                let draw = Dice::new(*seed, ROUND_LANE, self.next).below(places.len() as u64);
                match places.get(draw as usize) {
                    None => None,
                    Some(place) => Some(
                        read_at(file, place).map_err(|error| unreadable(&self.path, place.line, error))?,
                    ),
                }
            }
        };
        Ok(row.map(|(line, bytes)| {
            let ordinal = self.next;
            self.next += 1;
            Row { ordinal, line, bytes }
        }))
    }
}

fn unreadable(path: &Path, line: u64, error: io::Error) -> CliError {
    let place = if line > 0 { format!(", line {line}") } else { String::new() };
    CliError::failed(
        format!("cannot read rows from {}{place}", path.display()),
        "the file has to hold one JSON object a line, in UTF-8, plain or compressed with gzip or zstd",
    )
    .caused_by(error)
}

/// One line and where it begins in the decompressed file.
struct Line {
    number: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// The lines of a file that are not blank, decompressed.
struct Lines {
    input: Box<dyn BufRead + Send>,
    /// Number of the last line read.
    line: u64,
    /// Bytes read, that is the offset of the next line.
    offset: u64,
}

impl Lines {
    fn open(input: &InputFile, bar: &ProgressBar) -> io::Result<Lines> {
        let file = bar.wrap_read(File::open(&input.path)?);
        let plain: Box<dyn Read + Send> = if input.name.ends_with(".gz") {
            Box::new(MultiGzDecoder::new(BufReader::new(file)))
        } else if input.name.ends_with(".zst") {
            Box::new(zstd::Decoder::new(file)?)
        } else {
            Box::new(file)
        };
        Ok(Lines { input: Box::new(BufReader::with_capacity(1 << 17, plain)), line: 0, offset: 0 })
    }

    /// The next line that is not blank, without the blanks at its end.
    fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let mut offset = self.offset;
            let read = (&mut self.input).take(LONGEST_ROW as u64 + 1).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.offset += read as u64;
            if bytes.len() > LONGEST_ROW {
                return Err(io::Error::other(format!("the line is longer than {LONGEST_ROW} bytes")));
            }
            if self.line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
                offset += 3;
            }
            bytes.truncate(bytes.trim_ascii_end().len());
            if !bytes.is_empty() {
                return Ok(Some(Line { number: self.line, offset, bytes }));
            }
        }
    }
}

/// Finds all rows of a file; a compressed one is unpacked into a temporary file, which can be read at any place.
fn index(input: &InputFile) -> io::Result<(File, Vec<Place>)> {
    let mut lines = Lines::open(input, &ProgressBar::hidden())?;
    let mut places = Vec::new();
    if !is_compressed(&input.name) {
        while let Some(Line { number, offset, bytes }) = lines.next()? {
            places.push(Place { offset, length: bytes.len(), line: number });
        }
        return Ok((File::open(&input.path)?, places));
    }
    let mut plain = BufWriter::new(tempfile::tempfile()?);
    let mut offset = 0;
    while let Some(Line { number, bytes, .. }) = lines.next()? {
        plain.write_all(&bytes)?;
        places.push(Place { offset, length: bytes.len(), line: number });
        offset += bytes.len() as u64;
    }
    Ok((plain.into_inner()?, places))
}

fn read_at(file: &mut File, place: &Place) -> io::Result<(u64, Vec<u8>)> {
    let mut bytes = vec![0; place.length];
    file.seek(SeekFrom::Start(place.offset))?;
    file.read_exact(&mut bytes)?;
    Ok((place.line, bytes))
}

/// Reads rows, one of each file in turn, and hands them on as batches, until `count` rows of each were read, all
/// files are at their end, or a stop is asked for; what was read by then is handed on. Blocks its thread.
pub fn read(
    mut sources: Vec<Source>,
    reading: &Reading,
    batches: &mpsc::Sender<Batch>,
    stop: &watch::Receiver<bool>,
) -> Result<(), CliError> {
    let mut open: Vec<Vec<Open>> =
        sources.iter().map(|_| reading.formats.iter().map(|_| Open::default()).collect()).collect();
    let mut left = sources.len();
    let mut ended = vec![false; sources.len()];
    while left > 0 && !*stop.borrow() {
        for (file, source) in sources.iter_mut().enumerate() {
            if ended[file] {
                continue;
            }
            let row = if source.next < reading.count { source.next_row()? } else { None };
            let Some(row) = row else {
                ended[file] = true;
                left -= 1;
                continue;
            };
            let turn = (row.ordinal % reading.formats.len() as u64) as usize;
            let format = reading.formats[turn];
            let waiting = &mut open[file][turn];
            if waiting.bytes + row.bytes.len() > LARGEST_BATCH && !hand_on(waiting, file, format, batches) {
                return Ok(());
            }
            waiting.bytes += row.bytes.len();
            waiting.rows.push(row);
            if waiting.rows.len() >= reading.batch.min(format.most_rows())
                && !hand_on(waiting, file, format, batches)
            {
                return Ok(());
            }
        }
    }
    for (file, waiting) in open.iter_mut().enumerate() {
        for (waiting, format) in waiting.iter_mut().zip(&reading.formats) {
            if !hand_on(waiting, file, *format, batches) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A batch being filled.
#[derive(Default)]
struct Open {
    rows: Vec<Row>,
    bytes: usize,
}

/// Hands on what waits; false when nobody takes it any more.
fn hand_on(waiting: &mut Open, file: usize, format: Format, batches: &mpsc::Sender<Batch>) -> bool {
    let Open { rows, .. } = std::mem::take(waiting);
    rows.is_empty() || batches.blocking_send(Batch { file, format, rows }).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(folder: &Path, name: &str, bytes: &[u8]) -> InputFile {
        std::fs::write(folder.join(name), bytes).unwrap();
        find(&folder.join(name), None, &Catalog::embedded().unwrap()).unwrap().remove(0)
    }

    fn rows(input: &InputFile, order: Order, done: u64, most: usize) -> Vec<(u64, u64, String)> {
        let mut source = Source::open(input, order, done, &ProgressBar::hidden()).unwrap();
        let mut rows = Vec::new();
        while let Some(row) = (rows.len() < most).then(|| source.next_row().unwrap()).flatten() {
            rows.push((row.ordinal, row.line, String::from_utf8(row.bytes).unwrap()));
        }
        rows
    }

    fn packed(name: &str, bytes: &[u8]) -> Vec<u8> {
        match name.rsplit('.').next() {
            Some("gz") => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Some("zst") => zstd::encode_all(bytes, 1).unwrap(),
            _ => bytes.to_vec(),
        }
    }

    #[test]
    fn rows_are_verbatim_and_know_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"\xef\xbb\xbf{\"a\": 1}\r\n\n  {\"b\":2}  \nnot json";
        let expected = [(0, 1, "{\"a\": 1}"), (1, 3, "  {\"b\":2}"), (2, 4, "not json")]
            .map(|(ordinal, line, text)| (ordinal, line, text.to_owned()));
        for name in ["pin.ndjson", "pin.ndjson.gz", "pin.jsonl.zst"] {
            let input = input(folder.path(), name, &packed(name, text));
            assert_eq!(rows(&input, Order::File, 0, 9), expected, "{name}");
            assert_eq!(rows(&input, Order::File, 2, 9), expected[2..], "{name}: goes on where it was");
            let drawn = rows(&input, Order::Drawn { seed: 5 }, 0, 30);
            assert_eq!(drawn.len(), 30);
            for (_, line, text) in &drawn {
                assert!(expected.iter().any(|(_, l, t)| l == line && t == text), "{name} {line} {text}");
            }
            assert_eq!(rows(&input, Order::Drawn { seed: 5 }, 10, 20), drawn[10..], "{name}: the same draws");
        }
    }

    #[test]
    fn the_name_tells_the_dataset() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::embedded().unwrap();
        for name in ["pin.ndjson", "geo.jsonl.gz", "notes.txt", "state.json.rejects.ndjson"] {
            std::fs::write(folder.path().join(name), "{}").unwrap();
        }
        let found = find(folder.path(), None, &catalog).unwrap();
        assert_eq!(found.iter().map(|file| file.dataset.as_str()).collect::<Vec<_>>(), ["geo", "pin"]);

        std::fs::write(folder.path().join("posts_2022.ndjson"), "{}").unwrap();
        let error = find(folder.path(), None, &catalog).unwrap_err();
        assert!(error.with_causes().contains("posts_2022.ndjson"), "{error}");
        assert!(error.advice().contains("geo.ndjson, pin.ndjson, user.ndjson"), "{}", error.advice());
        let told = find(&folder.path().join("posts_2022.ndjson"), Some("pin"), &catalog).unwrap();
        assert_eq!(told[0].dataset, "pin");
    }

    #[test]
    fn a_state_beyond_the_end_is_another_files() {
        let folder = tempfile::tempdir().unwrap();
        let input = input(folder.path(), "pin.ndjson", b"{}\n{}\n");
        let error = Source::open(&input, Order::File, 3, &ProgressBar::hidden()).err().unwrap();
        assert!(error.with_causes().contains("has 2 rows, but the state says that 3"), "{error}");
    }
}
