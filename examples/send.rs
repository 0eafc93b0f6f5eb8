//! Sends rows, one JSON object a line, with reqwest:
//! `cargo run -p pinlake-tests --example send -- URL DATASET < rows.ndjson`
//!
//! Where the pipeline has API keys: `PINLAKE_API_KEY=plk_...`
#![allow(clippy::print_stdout, reason = "an example prints what it was answered")]

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use reqwest::{Client, StatusCode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(dataset)) = (arguments.next(), arguments.next()) else {
        return Err("say where to: send URL DATASET < rows.ndjson".into());
    };
    let mut rows = Vec::new();
    std::io::stdin().read_to_end(&mut rows)?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&rows)?;
    let packed = packed.finish()?;

    let mut request = Client::new()
        .post(format!("{}/v1/{dataset}", url.trim_end_matches('/')))
        .header("Content-Type", "application/x-ndjson")
        .header("Content-Encoding", "gzip")
        // The same key and the same rows are the same records, however often they are sent. Here it is a name that
        // these rows alone have; a hash of them, as in the other examples, needs one crate more.
        .header("Idempotency-Key", format!("{dataset}-{}-{}", std::process::id(), rows.len()))
        .body(packed);
    if let Ok(key) = std::env::var("PINLAKE_API_KEY") {
        request = request.header("x-api-key", key);
    }
    for attempt in 1..=5 {
        let again = request.try_clone().ok_or("the body is at hand, so it can be sent again")?;
        let answer = again.send().await?;
        let status = answer.status();
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_busy && attempt < 5 {
            tokio::time::sleep(Duration::from_secs(attempt)).await;
            continue;
        }
        println!("{}", answer.text().await?);
        return if status.is_success() { Ok(()) } else { Err(status.to_string().into()) };
    }
    Ok(())
}
