//! Sends records, one JSON object per line, with reqwest:
//! `cargo run -p pinlake-tests --example send -- URL DATASET < records.ndjson`
//!
//! If the pipeline has API keys, set `PINLAKE_API_KEY=plk_...`.
#![allow(clippy::print_stdout, reason = "the example prints the response")]

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use reqwest::{Client, StatusCode};
use uuid::Uuid;

/// How often the request is sent at most.
const MAX_ATTEMPTS: u64 = 5;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(dataset)) = (arguments.next(), arguments.next()) else {
        return Err("usage: send URL DATASET < records.ndjson".into());
    };
    let mut records = Vec::new();
    std::io::stdin().read_to_end(&mut records)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&records)?;

    let mut request = Client::new()
        .post(format!("{}/v1/{dataset}", url.trim_end_matches('/')))
        .header("Content-Type", "application/x-ndjson")
        .header("Content-Encoding", "gzip")
        // All attempts have the same key, so a retry adds no records. The other examples use a hash of the records, which
        // also identifies them in a later run.
        .header("Idempotency-Key", Uuid::new_v4().to_string())
        .body(encoder.finish()?);
    if let Ok(key) = std::env::var("PINLAKE_API_KEY") {
        request = request.header("x-api-key", key);
    }
    for attempt in 1..=MAX_ATTEMPTS {
        let response = request.try_clone().ok_or("a body in memory can be cloned")?.send().await?;
        let status = response.status();
        let is_retryable = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_retryable && attempt < MAX_ATTEMPTS {
            tokio::time::sleep(Duration::from_secs(attempt)).await;
            continue;
        }
        println!("{}", response.text().await?);
        return if status.is_success() { Ok(()) } else { Err(status.to_string().into()) };
    }
    Ok(())
}
