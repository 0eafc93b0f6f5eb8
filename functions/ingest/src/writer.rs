//! Writes the records of a request to the stream and retries those that failed.
//!
//! Each round puts all outstanding records, in calls as large as Kinesis allows; rounds are separated by a growing
//! delay with jitter. Rounds and time are bounded, because a client waits and because Lambda would end the invocation
//! without a response. A call that failed as a whole may have stored its records. They are put again, and the key of
//! each row prevents duplicates in the tables.

use std::time::Duration;

use pinlake_env::Rng;
use tokio::time::Instant;

use crate::packing::StreamRecord;
use crate::stream::{MAX_CALL_BYTES, MAX_CALL_RECORDS, Receipt, RecordStream, StreamError, StreamErrorKind};

/// How often and how long failed records are retried.
#[derive(Debug, Clone, Copy)]
pub struct WriteRetryPolicy {
    /// The delays between the rounds, and the number of rounds.
    pub rounds: pinlake_env::RetryPolicy,
    /// The time for all rounds. No round starts and no call lasts beyond it.
    pub timeout: Duration,
}

impl Default for WriteRetryPolicy {
    /// Eight rounds within eight seconds. Kinesis limits the throughput of a shard per second, so a burst is over by
    /// then.
    fn default() -> Self {
        let rounds = pinlake_env::RetryPolicy {
            max_attempts: 8,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
        };
        Self { rounds, timeout: Duration::from_secs(8) }
    }
}

/// What happened to the records of a request.
#[derive(Debug)]
pub struct WriteSummary {
    /// The result of each record, in order.
    pub results: Vec<Result<Receipt, StreamError>>,
    /// How often records were put again.
    pub retries: u64,
}

impl WriteSummary {
    /// The receipts of the records that were stored.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.results.iter().filter_map(|result| result.as_ref().ok())
    }

    /// The most severe error; `None` if all records were stored.
    pub fn worst_error(&self) -> Option<&StreamError> {
        let severity = |error: &&StreamError| match error.kind {
            StreamErrorKind::Unavailable => 0,
            StreamErrorKind::Throttled => 1,
            StreamErrorKind::Permanent => 2,
        };
        self.results.iter().filter_map(|result| result.as_ref().err()).max_by_key(severity)
    }
}

/// Writes `records` to `stream`.
pub async fn write<S: RecordStream>(
    stream: &S,
    records: &[StreamRecord],
    retry_policy: &WriteRetryPolicy,
    rng: &Rng,
) -> WriteSummary {
    let deadline = Instant::now() + retry_policy.timeout;
    let mut results: Vec<Result<Receipt, StreamError>> =
        records.iter().map(|_| Err(missing_result())).collect();
    let mut outstanding: Vec<usize> = (0..records.len()).collect();
    let mut delays = retry_policy.rounds.delays(rng);
    let mut retries = 0;
    loop {
        for call in split_into_calls(&outstanding, records) {
            let batch: Vec<&StreamRecord> = call.iter().map(|&i| &records[i]).collect();
            let response = match tokio::time::timeout_at(deadline, stream.put_records(&batch)).await {
                Ok(response) => response,
                Err(_) => Err(timeout_error()),
            };
            match response {
                Ok(entries) => {
                    for (&i, entry) in call.iter().zip(entries) {
                        results[i] = entry;
                    }
                }
                Err(error) => call.iter().for_each(|&i| results[i] = Err(error.clone())),
            }
        }
        outstanding
            .retain(|&i| matches!(&results[i], Err(error) if error.kind != StreamErrorKind::Permanent));
        if outstanding.is_empty() {
            break;
        }
        let Some(delay) = delays.next().filter(|delay| Instant::now() + *delay < deadline) else {
            break;
        };
        tokio::time::sleep(delay).await;
        retries += outstanding.len() as u64;
    }
    WriteSummary { results, retries }
}

fn missing_result() -> StreamError {
    let message = "the response has fewer entries than the call had records".to_owned();
    StreamError { kind: StreamErrorKind::Unavailable, code: "InternalFailure".to_owned(), message }
}

fn timeout_error() -> StreamError {
    let message = "the stream did not respond in time".to_owned();
    StreamError { kind: StreamErrorKind::Unavailable, code: "RequestTimeoutException".to_owned(), message }
}

/// Splits the outstanding records into calls within the limits of Kinesis.
fn split_into_calls<'a>(outstanding: &'a [usize], records: &[StreamRecord]) -> Vec<&'a [usize]> {
    let mut calls = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, &i) in outstanding.iter().enumerate() {
        let more = records[i].bytes();
        if at > start && (at - start == MAX_CALL_RECORDS || bytes + more > MAX_CALL_BYTES) {
            calls.push(&outstanding[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < outstanding.len() {
        calls.push(&outstanding[start..]);
    }
    calls
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers calls as scripted, and stores everything after the end of the script.
    struct Scripted {
        script: Mutex<Vec<Reply>>,
        calls: Mutex<Vec<Vec<String>>>,
    }

    enum Reply {
        RejectEveryOther(StreamErrorKind),
        Fail(StreamErrorKind),
        Silence,
    }

    impl Scripted {
        fn new(mut script: Vec<Reply>) -> Self {
            script.reverse();
            Self { script: Mutex::new(script), calls: Mutex::default() }
        }
    }

    impl RecordStream for Scripted {
        async fn put_records(
            &self,
            records: &[&StreamRecord],
        ) -> Result<Vec<Result<Receipt, StreamError>>, StreamError> {
            self.calls.lock().unwrap().push(records.iter().map(|record| record.key.clone()).collect());
            let rejected = |kind| StreamError { kind, code: "Code".to_owned(), message: String::new() };
            let reply = self.script.lock().unwrap().pop();
            let receipt =
                |record: &&StreamRecord| Receipt { shard: "shard".to_owned(), sequence: record.key.clone() };
            match reply {
                None => Ok(records.iter().map(|record| Ok(receipt(record))).collect()),
                Some(Reply::Fail(kind)) => Err(rejected(kind)),
                Some(Reply::Silence) => std::future::pending().await,
                Some(Reply::RejectEveryOther(kind)) => Ok(records
                    .iter()
                    .enumerate()
                    .map(|(i, record)| if i % 2 == 0 { Ok(receipt(record)) } else { Err(rejected(kind)) })
                    .collect()),
            }
        }
    }

    fn records(count: u64, bytes: usize) -> Vec<StreamRecord> {
        (0..count)
            .map(|i| StreamRecord { key: i.to_string(), data: vec![b'x'; bytes], lines: i..i + 1 })
            .collect()
    }

    async fn run(stream: &Scripted, records: &[StreamRecord]) -> WriteSummary {
        write(stream, records, &WriteRetryPolicy::default(), &Rng::seeded(1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn only_failed_records_are_put_again() {
        let stream = Scripted::new(vec![
            Reply::RejectEveryOther(StreamErrorKind::Throttled),
            Reply::Fail(StreamErrorKind::Unavailable),
        ]);
        let written = run(&stream, &records(4, 10)).await;
        assert!(written.worst_error().is_none());
        assert_eq!(written.retries, 4);
        let sequences: Vec<&str> = written.receipts().map(|receipt| receipt.sequence.as_str()).collect();
        assert_eq!(sequences, ["0", "1", "2", "3"], "each record has its own receipt");
        assert_eq!(*stream.calls.lock().unwrap(), [vec!["0", "1", "2", "3"], vec!["1", "3"], vec!["1", "3"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_respect_the_limits() {
        let stream = Scripted::new(vec![]);
        run(&stream, &records(1201, 10)).await;
        run(&stream, &records(6, 1024 * 1024 - 1)).await;
        let sizes: Vec<usize> = stream.calls.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 201, 5, 1]);
        assert!(run(&stream, &[]).await.results.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_and_time_are_bounded() {
        let always = || (0..100).map(|_| Reply::Fail(StreamErrorKind::Throttled)).collect();
        let stream = Scripted::new(always());
        let start = Instant::now();
        let written = run(&stream, &records(1, 10)).await;
        assert_eq!(written.worst_error().map(|error| error.kind), Some(StreamErrorKind::Throttled));
        assert!(start.elapsed() <= WriteRetryPolicy::default().timeout);
        assert!(stream.calls.lock().unwrap().len() <= 8);

        let silent = Scripted::new(vec![Reply::Silence]);
        let start = Instant::now();
        let written = run(&silent, &records(1, 10)).await;
        assert_eq!(start.elapsed(), WriteRetryPolicy::default().timeout);
        assert_eq!(written.worst_error().map(|error| error.code.as_str()), Some("RequestTimeoutException"));
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_errors_are_not_retried() {
        let stream = Scripted::new(vec![Reply::RejectEveryOther(StreamErrorKind::Permanent)]);
        let written = run(&stream, &records(2, 10)).await;
        assert_eq!(stream.calls.lock().unwrap().len(), 1);
        assert_eq!(written.receipts().count(), 1);
        assert_eq!(written.worst_error().map(|error| error.kind), Some(StreamErrorKind::Permanent));
    }
}
