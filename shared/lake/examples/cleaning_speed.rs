//! Measures how fast one thread cleans NDJSON lines to Arrow batches and inserts them into a table. For comparison, two
//! JSON parsers read the same lines. `make bench SECTIONS=cleaning` calls it.
//!
//! `cleaning_speed <rounds> <dataset>=<file.ndjson>...` prints one JSON line for each dataset. Speeds are the medians
//! of the rounds, in MB (10^6 bytes of input) per second.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

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

/// Bytes of records in one batch and in one commit, as in `pinlake load`.
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
            // Every round measures everything once, so that a slow phase of the machine affects all alike. Round 0
            // warms up.
            let batches = clean(&catalog, dataset, &lines);
            let seconds = [
                timed(|| parse_with_simd_json(&lines))?,
                timed(|| check_with_serde_json(&lines))?,
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
        let [simd_json, serde_json, cleaned, inserted, cleaned_and_inserted] = speeds.map(median);
        println!(
            "{}",
            json!({
                "dataset": dataset, "mb": size, "records": lines.len(), "rounds": rounds,
                "simd_json": simd_json, "serde_json": serde_json,
                "clean": cleaned, "insert": inserted, "clean_and_insert": cleaned_and_inserted,
            })
        );
    }
    Ok(())
}

/// Parses each line to a tape with simd-json and builds no values. simd-json parses in place, so it needs a copy.
fn parse_with_simd_json(lines: &[&[u8]]) -> Result<usize, Failure> {
    let mut buffers = simd_json::Buffers::new(4096);
    let (mut line_copy, mut nodes) = (Vec::new(), 0);
    for line in lines {
        line_copy.clear();
        line_copy.extend_from_slice(line);
        nodes += simd_json::to_tape_with_buffers(&mut line_copy, &mut buffers)?.0.len();
    }
    Ok(nodes)
}

/// Checks each line with serde_json and builds no values.
fn check_with_serde_json(lines: &[&[u8]]) -> Result<usize, Failure> {
    let mut bytes = 0;
    for line in lines {
        bytes += serde_json::from_slice::<&RawValue>(line)?.get().len();
    }
    Ok(bytes)
}

fn clean(catalog: &Arc<Catalog>, dataset: &str, lines: &[&[u8]]) -> Vec<RecordBatch> {
    let mut cleaner = RecordCleaner::new(catalog.clone(), chrono::DateTime::UNIX_EPOCH);
    let mut batches = Vec::new();
    for (number, line) in (1_u64..).zip(lines) {
        let origin = RecordOrigin { source: "file/speed", position: Position::Line(number), record_id: None };
        cleaner.push(line, Some(dataset), &origin);
        if cleaner.buffered_bytes() >= BATCH_BYTES {
            batches.extend(cleaner.drain().into_iter().map(|cleaned| cleaned.rows));
        }
    }
    batches.extend(cleaner.drain().into_iter().map(|cleaned| cleaned.rows));
    batches
}

/// Inserts into a new table in memory. Includes the lookup of keys, Parquet with zstd, key files, statistics and the
/// log.
async fn insert(catalog: &Arc<Catalog>, dataset: &str, batches: &[RecordBatch]) -> Result<usize, Failure> {
    let env = Env { clock: Arc::new(SystemClock), rng: Arc::new(Rng::seeded(1)) };
    let lake = Lake::new(Arc::new(InMemory::new()), env);
    let contract = catalog.contract(dataset).ok_or("no such dataset")?;
    let mut inserted = 0;
    for commit in batches.chunks(COMMIT_BYTES / BATCH_BYTES) {
        inserted += lake.insert(catalog, contract, commit).await?.inserted as usize;
    }
    Ok(inserted)
}

/// The seconds that `work` takes. Its result is used, so that the compiler cannot remove the work.
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn timed(work: impl FnOnce() -> Result<usize, Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    black_box(work()?);
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
