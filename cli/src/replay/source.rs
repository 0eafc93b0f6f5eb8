//! Reads the rows to post from files or database tables, and groups them into batches.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use pinlake_schema::Catalog;
use tokio::sync::{mpsc, watch};

use super::batch::{Batch, Format, Row};
use super::database::{Database, Selection, Table};
use super::python_random::{self, RowDraws};
use super::state::State;
use crate::error::CliError;

/// Maximum size of a row. A Kinesis record has at most 1 MiB.
const MAX_ROW_BYTES: usize = 4 << 20;

/// Rows of one request stay below this; a function URL takes 6 MB, in which the body is quoted once more.
const MAX_BATCH_BYTES: usize = 3 << 20;

/// The rows of a dataset: a file, or a database table.
#[derive(Debug, Clone)]
pub struct Input {
    /// The name in the state file: the file name without folders, or the address of the table.
    pub name: String,
    /// The dataset of all of its rows.
    pub dataset: String,
    /// The place of the rows.
    pub origin: Origin,
}

/// The place of rows.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In a file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Bytes on disk.
        size: u64,
    },
    /// In a table.
    Table {
        /// Of this database.
        database: Arc<Database>,
        /// Which one, and how it is read.
        selection: Selection,
    },
}

impl Input {
    /// The name in messages.
    pub fn shown(&self) -> String {
        match &self.origin {
            Origin::File { path, .. } => path.display().to_string(),
            Origin::Table { .. } => self.name.clone(),
        }
    }

    /// The key column of a table, if it is read by one.
    pub fn key(&self) -> Option<&str> {
        match &self.origin {
            Origin::File { .. } => None,
            Origin::Table { selection, .. } => selection.key.as_deref(),
        }
    }
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order of the file, or by the key of the table.
    Given,
    /// As the stock client: each round draws one row number, the same for all inputs. Rows repeat.
    Drawn {
        /// The seed of the draws.
        seed: u64,
    },
}

/// Parameters of the reader.
#[derive(Debug)]
pub struct Reading {
    /// Maximum rows of each input, including those of earlier runs; with draws, rounds.
    pub count: u64,
    /// Wire formats, used in turn.
    pub formats: Vec<Format>,
    /// Rows per request.
    pub batch: usize,
}

/// Finds the files: `from` itself, or the files in the folder `from`. The dataset is `dataset`, or follows from the file
/// patterns of the contracts, as in `pinlake load`.
pub fn find(from: &Path, dataset: Option<&str>, catalog: &Catalog) -> Result<Vec<Input>, CliError> {
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
            // The rejects file of an earlier replay may be in the same folder.
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
                format!("the name of {} does not match a dataset", path.display()),
                format!("{}; or name the dataset with --dataset", expected()),
            ));
        };
        files.push(Input { name, dataset, origin: Origin::File { path, size } });
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

/// Finds the tables: those in `wanted` (`TABLE` or `TABLE=DATASET`), or all whose names match a dataset. If `keyed`, the
/// key of a table is the first column of `keys` that it has, else its primary key.
pub fn tables(
    database: &Arc<Database>,
    wanted: &[String],
    dataset: Option<&str>,
    keys: &[String],
    keyed: bool,
    catalog: &Catalog,
) -> Result<Vec<Input>, CliError> {
    let all = || database.tables().collect::<Vec<_>>().join(", ");
    let routed = |table: &str| catalog.route_file(table).map(|contract| contract.name.clone());
    let mut named = Vec::new();
    for wanted in wanted {
        let (table, told) = match wanted.split_once('=') {
            Some((table, dataset)) => (table, Some(dataset)),
            None => (wanted.as_str(), dataset),
        };
        if !database.tables().any(|known| known == table) {
            return Err(CliError::usage(
                format!("there is no table {table} in {}", database.shown()),
                format!("visible tables: {}", all()),
            ));
        }
        let dataset = told.map(str::to_owned).or_else(|| routed(table)).ok_or_else(|| {
            CliError::usage(
                format!("the name of the table {table} does not match a dataset"),
                format!("name the dataset: --table {table}=DATASET"),
            )
        })?;
        named.push((table, dataset));
    }
    if wanted.is_empty() {
        named.extend(database.tables().filter_map(|table| Some((table, routed(table)?))));
    }
    if named.is_empty() {
        return Err(CliError::usage(
            format!("no table of {} has a name that matches a dataset", database.shown()),
            format!("name the dataset: --table TABLE=DATASET; visible tables: {}", all()),
        ));
    }
    let mut inputs = Vec::with_capacity(named.len());
    for (table, dataset) in named {
        let key = if keyed { database.key(table, keys)? } else { None };
        inputs.push(Input {
            name: format!("{}/{table}", database.shown()),
            dataset,
            origin: Origin::Table {
                database: Arc::clone(database),
                selection: Selection { table: table.to_owned(), key },
            },
        });
    }
    Ok(inputs)
}

/// The rows of one input, in the order of posting.
pub struct Source {
    name: String,
    rows: Rows,
    draws: Option<RowDraws>,
    /// Ordinal of the next row.
    next: u64,
}

enum Rows {
    Lines(Lines),
    Places { file: File, places: Vec<Place> },
    Table(Box<Table>),
}

/// The position of a row in a seekable file.
struct Place {
    offset: u64,
    length: usize,
    line: u64,
}

/// Opens the inputs and skips the rows that are done. Returns the number of rows that draws are made from. `bar` counts the
/// bytes of files as they are read.
pub async fn open(
    inputs: &[Input],
    order: Order,
    state: &State,
    bar: &ProgressBar,
    stop: &watch::Receiver<bool>,
) -> Result<(Vec<Source>, u64), CliError> {
    let done = |input: &Input| state.files.get(&input.name).copied().unwrap_or_default();
    let mut sources = Vec::with_capacity(inputs.len());
    let Order::Drawn { seed } = order else {
        for input in inputs {
            let done = done(input);
            sources.push(match &input.origin {
                Origin::File { path, .. } => Source::file(input, path, done, bar)?,
                Origin::Table { database, selection } => {
                    let after = state.keys.get(&input.name).map(|key| key.reached);
                    let table = Table::in_order(database, selection, after, stop.clone()).await?;
                    Source {
                        name: input.name.clone(),
                        rows: Rows::Table(Box::new(table)),
                        draws: None,
                        next: done,
                    }
                }
            });
        }
        return Ok((sources, 0));
    };
    let mut drawn_from = python_random::MAX_DRAWN_ROWS;
    for input in inputs {
        let (rows, count) = match &input.origin {
            Origin::File { path, .. } => {
                let (file, places) =
                    index(input, path).map_err(|error| unreadable(&input.shown(), 0, error))?;
                let count = places.len() as u64;
                (Rows::Places { file, places }, count)
            }
            Origin::Table { database, selection } => {
                let (table, count) = Table::drawn(database, selection, stop.clone()).await?;
                (Rows::Table(Box::new(table)), count)
            }
        };
        drawn_from = drawn_from.min(count);
        sources.push(Source { name: input.shown(), rows, draws: None, next: done(input) });
    }
    for source in &mut sources {
        if drawn_from == 0 {
            return Err(CliError::usage(
                "cannot draw rows: an input is empty",
                "remove the input, or remove --seed",
            ));
        }
        // Each input has the same draws, so a round has the same row of each.
        let mut draws = RowDraws::new(seed, drawn_from);
        (0..source.next).for_each(|_| _ = draws.next_row());
        source.draws = Some(draws);
    }
    Ok((sources, drawn_from))
}

impl Source {
    /// Opens a file for sequential reading and skips the first `done` rows.
    fn file(input: &Input, path: &Path, done: u64, bar: &ProgressBar) -> Result<Source, CliError> {
        let lines = Lines::open(input, path, bar).map_err(|error| unreadable(&input.shown(), 0, error))?;
        let mut source = Source { name: input.shown(), rows: Rows::Lines(lines), draws: None, next: 0 };
        while source.next < done {
            if source.next_row()?.is_none() {
                return Err(CliError::usage(
                    format!(
                        "{} has {} rows, but the state says that {done} were posted",
                        source.name, source.next
                    ),
                    "the state belongs to other files: use another --state, or delete it to start over",
                ));
            }
        }
        Ok(source)
    }

    fn next_row(&mut self) -> Result<Option<Row>, CliError> {
        let draw = self.draws.as_mut().map(RowDraws::next_row);
        let ordinal = self.next;
        let row = match &mut self.rows {
            Rows::Lines(lines) => {
                let at = lines.line;
                let line = lines.next().map_err(|error| unreadable(&self.name, at + 1, error))?;
                line.map(|line| Row { ordinal, line: line.number, key: None, bytes: line.bytes })
            }
            Rows::Places { file, places } => match draw.and_then(|draw| places.get(draw as usize)) {
                None => None,
                Some(place) => {
                    let bytes =
                        read_at(file, place).map_err(|error| unreadable(&self.name, place.line, error))?;
                    Some(Row { ordinal, line: place.line, key: None, bytes })
                }
            },
            Rows::Table(table) => {
                let row = table.next(draw)?;
                if row.as_ref().is_some_and(|row| row.json.len() > MAX_ROW_BYTES) {
                    return Err(CliError::failed(
                        format!("row {} of {} is longer than {MAX_ROW_BYTES} bytes", ordinal + 1, self.name),
                        "it is too large for a stream; post a view of the table without it: --table VIEW",
                    ));
                }
                row.map(|row| Row { ordinal, line: ordinal + 1, key: row.key, bytes: row.json })
            }
        };
        self.next += u64::from(row.is_some());
        Ok(row)
    }
}

fn unreadable(name: &str, line: u64, error: io::Error) -> CliError {
    let place = if line > 0 { format!(", line {line}") } else { String::new() };
    CliError::failed(
        format!("cannot read rows from {name}{place}"),
        "the file must have one JSON object per line, in UTF-8, optionally compressed with gzip or zstd",
    )
    .caused_by(error)
}

/// A line and its offset in the decompressed file.
struct Line {
    number: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// The lines of a file, decompressed, without blank ones.
struct Lines {
    input: Box<dyn BufRead + Send>,
    /// Number of the last line read.
    line: u64,
    /// Bytes read: the offset of the next line.
    offset: u64,
}

impl Lines {
    fn open(input: &Input, path: &Path, bar: &ProgressBar) -> io::Result<Lines> {
        let file = bar.wrap_read(File::open(path)?);
        let plain: Box<dyn Read + Send> = if input.name.ends_with(".gz") {
            Box::new(MultiGzDecoder::new(BufReader::new(file)))
        } else if input.name.ends_with(".zst") {
            Box::new(zstd::Decoder::new(file)?)
        } else {
            Box::new(file)
        };
        Ok(Lines { input: Box::new(BufReader::with_capacity(1 << 17, plain)), line: 0, offset: 0 })
    }

    /// The next line that is not blank, without trailing whitespace.
    fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let mut offset = self.offset;
            let read = (&mut self.input).take(MAX_ROW_BYTES as u64 + 1).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.offset += read as u64;
            if bytes.len() > MAX_ROW_BYTES {
                return Err(io::Error::other(format!("the line is longer than {MAX_ROW_BYTES} bytes")));
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

/// Indexes the rows of a file. A compressed file is decompressed into a temporary one, which is seekable.
fn index(input: &Input, path: &Path) -> io::Result<(File, Vec<Place>)> {
    let mut lines = Lines::open(input, path, &ProgressBar::hidden())?;
    let mut places = Vec::new();
    if !is_compressed(&input.name) {
        while let Some(Line { number, offset, bytes }) = lines.next()? {
            places.push(Place { offset, length: bytes.len(), line: number });
        }
        return Ok((File::open(path)?, places));
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

fn read_at(file: &mut File, place: &Place) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; place.length];
    file.seek(SeekFrom::Start(place.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads rows in turn from each input and sends them as batches, until `count` rows of each are read, all inputs end, or
/// `stop` is set; rows that were read before are sent. Blocks its thread.
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
            if waiting.bytes + row.bytes.len() > MAX_BATCH_BYTES
                && !send_batch(waiting, file, format, batches)
            {
                return Ok(());
            }
            waiting.bytes += row.bytes.len();
            waiting.rows.push(row);
            if waiting.rows.len() >= reading.batch.min(format.max_rows())
                && !send_batch(waiting, file, format, batches)
            {
                return Ok(());
            }
        }
    }
    for (file, waiting) in open.iter_mut().enumerate() {
        for (waiting, format) in waiting.iter_mut().zip(&reading.formats) {
            if !send_batch(waiting, file, *format, batches) {
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

/// Sends the batch; false if the receiver is gone.
fn send_batch(waiting: &mut Open, file: usize, format: Format, batches: &mpsc::Sender<Batch>) -> bool {
    let Open { rows, .. } = std::mem::take(waiting);
    rows.is_empty() || batches.blocking_send(Batch { file, format, rows }).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn input(folder: &Path, name: &str, bytes: &[u8]) -> Input {
        std::fs::write(folder.join(name), bytes).unwrap();
        find(&folder.join(name), None, &Catalog::embedded().unwrap()).unwrap().remove(0)
    }

    async fn opened(input: &Input, order: Order, done: u64) -> Result<Source, CliError> {
        let files = BTreeMap::from([(input.name.clone(), done)]);
        let state = State { files, ..State::default() };
        let (_sender, stop) = watch::channel(false);
        let opened = open(std::slice::from_ref(input), order, &state, &ProgressBar::hidden(), &stop).await;
        opened.map(|(mut sources, _)| sources.remove(0))
    }

    async fn rows(input: &Input, order: Order, done: u64, most: usize) -> Vec<(u64, u64, String)> {
        let mut source = opened(input, order, done).await.unwrap();
        let mut rows = Vec::new();
        while let Some(row) = (rows.len() < most).then(|| source.next_row().unwrap()).flatten() {
            rows.push((row.ordinal, row.line, String::from_utf8(row.bytes).unwrap()));
        }
        rows
    }

    fn compressed(name: &str, bytes: &[u8]) -> Vec<u8> {
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

    #[tokio::test]
    async fn rows_are_unchanged_and_have_their_line_number() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"\xef\xbb\xbf{\"a\": 1}\r\n\n  {\"b\":2}  \nnot json";
        let expected = [(0, 1, "{\"a\": 1}"), (1, 3, "  {\"b\":2}"), (2, 4, "not json")]
            .map(|(ordinal, line, text)| (ordinal, line, text.to_owned()));
        for name in ["pin.ndjson", "pin.ndjson.gz", "pin.jsonl.zst"] {
            let input = input(folder.path(), name, &compressed(name, text));
            assert_eq!(rows(&input, Order::Given, 0, 9).await, expected, "{name}");
            assert_eq!(
                rows(&input, Order::Given, 2, 9).await,
                expected[2..],
                "{name}: continues at the given row"
            );
            let drawn = rows(&input, Order::Drawn { seed: 5 }, 0, 30).await;
            assert_eq!(drawn.len(), 30);
            for (_, line, text) in &drawn {
                assert!(expected.iter().any(|(_, l, t)| l == line && t == text), "{name} {line} {text}");
            }
            assert_eq!(
                rows(&input, Order::Drawn { seed: 5 }, 10, 20).await,
                drawn[10..],
                "{name}: the same draws"
            );
        }
    }

    #[test]
    fn the_file_name_determines_the_dataset() {
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

    #[tokio::test]
    async fn a_state_beyond_the_end_of_the_file_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let input = input(folder.path(), "pin.ndjson", b"{}\n{}\n");
        let error = opened(&input, Order::Given, 3).await.err().unwrap();
        assert!(error.with_causes().contains("has 2 rows, but the state says that 3"), "{error}");
    }
}
