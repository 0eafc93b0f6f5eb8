//! The end of a Kinesis stream: the highest sequence number of each shard.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::DisplayErrorContext;
use aws_sdk_kinesis::types::ShardIteratorType;
use futures::{StreamExt, TryStreamExt, stream};
use pinlake_landing::drain::Acknowledged;
use pinlake_landing::sequence::Sequence;
use pinlake_landing::watermark::Watermarks;
use pinlake_platform::aws;

use crate::error::CliError;

/// Shards that are read concurrently.
const CONCURRENCY: usize = 8;
/// Maximum pages of shards, each of at most 1,000 (`ListShards`, API reference).
const MAX_SHARD_PAGES: usize = 100;
/// Maximum pages of records of one shard. A page has up to 10 MB (`GetRecords`, API reference).
const MAX_RECORD_PAGES: usize = 100_000;
/// Time between two pages of a shard, which allows five reads a second to all its readers together.
const PAGE_INTERVAL: Duration = Duration::from_millis(400);

/// Finds the highest sequence number of each shard. Reads only what has not landed: the records above the watermark. A
/// shard without such records ends at its watermark. Shards that the stream no longer has end there too.
pub async fn find_ends(name: &str, watermarks: &Watermarks) -> Result<Acknowledged, CliError> {
    let client = Client::new(&aws::load_config().await);
    let landed = watermarks.iter().filter(|((stream, _), _)| stream == name);
    let mut ends: Acknowledged =
        landed.map(|((_, shard), sequence)| (shard.clone(), sequence.clone())).collect();
    let shards = list_shards(&client, name).await?;
    let found: Vec<_> = stream::iter(shards)
        .map(|shard| {
            let (client, landed) = (&client, ends.get(&shard.id).cloned());
            async move {
                let end = find_end(client, name, &shard, landed.as_ref()).await?;
                Ok::<_, CliError>(end.map(|end| (shard.id, end)))
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    ends.extend(found.into_iter().flatten());
    Ok(ends)
}

/// A shard of the stream.
struct Shard {
    id: String,
    /// Digits of its sequence numbers.
    digits: usize,
}

async fn list_shards(client: &Client, name: &str) -> Result<Vec<Shard>, CliError> {
    let mut shards = Vec::new();
    let mut token = None;
    for _ in 0..MAX_SHARD_PAGES {
        // A request with a token must not name the stream.
        let call = client.list_shards();
        let call = match token {
            None => call.stream_name(name),
            Some(token) => call.next_token(token),
        };
        let listed = call.send().await.map_err(|error| read_error(name, DisplayErrorContext(error)))?;
        shards.extend(listed.shards().iter().map(|shard| Shard {
            id: shard.shard_id().to_owned(),
            digits: shard.sequence_number_range().map_or(0, |range| range.starting_sequence_number().len()),
        }));
        token = listed.next_token;
        if token.is_none() {
            return Ok(shards);
        }
    }
    Err(read_error(name, format!("it has more than {} shards", shards.len())))
}

/// The sequence number of the last record above `landed`, or `landed`.
async fn find_end(
    client: &Client,
    name: &str,
    shard: &Shard,
    landed: Option<&Sequence>,
) -> Result<Option<Sequence>, CliError> {
    let call = client.get_shard_iterator().stream_name(name).shard_id(&shard.id);
    let call = match landed {
        None => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
        // With the leading zeros of the stream, which watermarks do not have.
        Some(landed) => call
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
            .starting_sequence_number(format!("{:0>digits$}", landed.as_str(), digits = shard.digits)),
    };
    let opened = call.send().await.map_err(|error| read_error(name, DisplayErrorContext(error)))?;
    let mut iterator = opened.shard_iterator;
    let mut end = landed.cloned();
    for _ in 0..MAX_RECORD_PAGES {
        // A closed shard has no next iterator after its last record.
        let Some(current) = iterator else { return Ok(end) };
        let call = client.get_records().shard_iterator(current).send();
        let page = call.await.map_err(|error| read_error(name, DisplayErrorContext(error)))?;
        if let Some(last) = page.records().last() {
            let last = last.sequence_number().parse().map_err(|error| read_error(name, error))?;
            end = Some(last);
        }
        if page.millis_behind_latest().unwrap_or_default() == 0 {
            return Ok(end);
        }
        iterator = page.next_shard_iterator;
        tokio::time::sleep(PAGE_INTERVAL).await;
    }
    let what = format!("shard {} has more than {MAX_RECORD_PAGES} pages that have not landed", shard.id);
    Err(read_error(name, what))
}

fn read_error(name: &str, cause: impl ToString) -> CliError {
    CliError::failed(
        format!("cannot read the stream {name}"),
        "check its name, the region and your permissions: kinesis:ListShards, kinesis:GetShardIterator, kinesis:GetRecords",
    )
    .caused_by(cause.to_string())
}
