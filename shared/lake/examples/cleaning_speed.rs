//! How fast one processor cleans: NDJSON lines in, Arrow out, and on to a table's Parquet file, beside the fastest JSON
//! parser alone over the same bytes in the same run. `make bench SECTIONS=cleaning` calls it.
//!
//! `cleaning_speed <rounds> <dataset>=<file.ndjson>...` prints a JSON line a dataset, in MB (10^6 bytes of input) a second,
//! each the median of the rounds.
#![allow(clippy::print_stdout, reason = "it is a program that prints figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use object_store::memory::InMemory;
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, Rng, SystemClock};
use pinlake_lake::Lake;
use pinlake_schema::Catalog;
use serde_json::json;
use serde_json::value::RawValue;

type Failure = Box<dyn std::error::Error>;

/// Bytes of records that are cleaned into one batch, and inserted in one commit, as `pinlake load` has it.
const BATCH_BYTES: usize = 4 << 20;
const COMMIT_BYTES: usize = 32 << 20;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().ok_or("cleaning_speed ROUNDS DATASET=FILE...")?.parse()?;
    let catalog = Arc::new(Catalog::embedded()?);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for argument in arguments {
        let (dataset, file) = argument.split_once('=').ok_or("name each file's dataset: pin=pin.ndjson")?;
        let bytes = std::fs::read(file)?;
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let size = lines.iter().map(|line| line.len()).sum::<usize>() as f64 / 1e6;
        let mut speeds: [Vec<f64>; 5] = Default::default();
        for round in 0..=rounds {
            // Turn about, so that all meet the machine in the same moods; the first round is not counted.
            let batches = clean(&catalog, dataset, &lines);
            let seconds = [
                timed(|| tapes(&lines))?,
                timed(|| raw_values(&lines))?,
                timed(|| Ok(black_box(clean(&catalog, dataset, &lines)).len()))?,
                timed(|| runtime.block_on(insert(&catalog, dataset, &batches)))?,
                timed(|| {
                    let batches = clean(&catalog, dataset, &lines);
                    runtime.block_on(insert(&catalog, dataset, &batches))
                })?,
            ];
            if round > 0 {
                speeds.iter_mut().zip(seconds).for_each(|(speeds, seconds)| speeds.push(size / seconds));
            }
        }
        let [parser, serde, cleaned, inserted, through] = speeds.map(median);
        println!(
            "{}",
            json!({
                "dataset": dataset, "mb": size, "records": lines.len(), "rounds": rounds, "simd_json": parser,
                "serde_json": serde, "clean": cleaned, "insert": inserted, "clean_and_insert": through,
            })
        );
    }
    Ok(())
}

/// The fastest there is: simd-json makes a tape of each line, and nothing of it. It parses in place, so it needs a copy.
fn tapes(lines: &[&[u8]]) -> Result<usize, Failure> {
    let mut buffers = simd_json::Buffers::new(4096);
    let (mut line_copy, mut nodes) = (Vec::new(), 0);
    for line in lines {
        line_copy.clear();
        line_copy.extend_from_slice(line);
        nodes += simd_json::to_tape_with_buffers(&mut line_copy, &mut buffers)?.0.len();
    }
    Ok(nodes)
}

/// serde_json finds where each line ends as JSON, and nothing else.
fn raw_values(lines: &[&[u8]]) -> Result<usize, Failure> {
    let mut bytes = 0;
    for line in lines {
        bytes += serde_json::from_slice::<&RawValue>(line)?.get().len();
    }
    Ok(bytes)
}

fn clean(catalog: &Arc<Catalog>, dataset: &str, lines: &[&[u8]]) -> Vec<RecordBatch> {
    let mut intake = RecordCleaner::new(catalog.clone(), chrono::DateTime::UNIX_EPOCH);
    let mut batches = Vec::new();
    for (number, line) in (1_u64..).zip(lines) {
        let origin = RecordOrigin { source: "file/speed", position: Position::Line(number), record_id: None };
        intake.push(line, Some(dataset), &origin);
        if intake.buffered_bytes() >= BATCH_BYTES {
            batches.extend(intake.drain().into_iter().map(|cleaned| cleaned.rows));
        }
    }
    batches.extend(intake.drain().into_iter().map(|cleaned| cleaned.rows));
    batches
}

/// Into a new table in memory: the look for keys, zstd Parquet, key files, statistics, the log.
async fn insert(catalog: &Arc<Catalog>, dataset: &str, batches: &[RecordBatch]) -> Result<usize, Failure> {
    let effects = Env { clock: Arc::new(SystemClock), rng: Arc::new(Rng::seeded(1)) };
    let lake = Lake::new(Arc::new(InMemory::new()), effects);
    let contract = catalog.contract(dataset).ok_or("no such dataset")?;
    let mut inserted = 0;
    for commit in batches.chunks(COMMIT_BYTES / BATCH_BYTES) {
        inserted += lake.insert(catalog, contract, commit).await?.inserted as usize;
    }
    Ok(inserted)
}

/// Seconds that some work takes; its answer is used, so that none of it can be left out.
#[expect(clippy::disallowed_methods, reason = "time is what it measures")]
fn timed(work: impl FnOnce() -> Result<usize, Failure>) -> Result<f64, Failure> {
    let begun = Instant::now();
    black_box(work()?);
    Ok(begun.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
