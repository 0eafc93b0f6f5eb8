//! Puts a request's records on the stream, trying again what the stream did not take.
//!
//! In rounds: each round puts whatever is still outstanding, in calls as large as Kinesis allows, and the next
//! round waits a jittered, growing while. Rounds and time are bounded, because a client is waiting and because
//! Lambda would cut us off without an answer. A call that failed as a whole may have stored its records; they
//! are put again all the same, and the key of each row keeps the tables free of doubles.

use std::time::Duration;

use pinlake_env::Rng;
use tokio::time::Instant;

use crate::packing::StreamRecord;
use crate::stream::{MAX_CALL_BYTES, MAX_CALL_RECORDS, PutError, PutErrorKind, Receipt, RecordStream};

/// How long to keep trying.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Waits between the rounds, and how many rounds there are.
    pub backoff: pinlake_env::RetryPolicy,
    /// No round begins, and no call lasts, beyond this.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    /// Eight rounds within eight seconds: a shard's throughput is counted by the second, so a burst has passed.
    fn default() -> Self {
        let backoff = pinlake_env::RetryPolicy {
            max_attempts: 8,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
        };
        Self { backoff, budget: Duration::from_secs(8) }
    }
}

/// What became of the records.
#[derive(Debug)]
pub struct Written {
    /// One for each record, in order.
    pub results: Vec<Result<Receipt, PutError>>,
    /// How often a record was put again.
    pub retries: u64,
}

impl Written {
    /// The receipts of the records that the stream took.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.results.iter().filter_map(|result| result.as_ref().ok())
    }

    /// The refusal that says most about what is wrong; `None` when every record was taken.
    pub fn worst(&self) -> Option<&PutError> {
        let weight = |refusal: &&PutError| match refusal.kind {
            PutErrorKind::Unavailable => 0,
            PutErrorKind::Throttled => 1,
            PutErrorKind::Permanent => 2,
        };
        self.results.iter().filter_map(|result| result.as_ref().err()).max_by_key(weight)
    }
}

/// Puts `records` on `stream`.
pub async fn write<S: RecordStream>(
    stream: &S,
    records: &[StreamRecord],
    patience: &RetryPolicy,
    rng: &Rng,
) -> Written {
    let deadline = Instant::now() + patience.budget;
    let mut results: Vec<Result<Receipt, PutError>> = records.iter().map(|_| Err(unasked())).collect();
    let mut outstanding: Vec<usize> = (0..records.len()).collect();
    let mut waits = patience.backoff.delays(rng);
    let mut retries = 0;
    loop {
        for call in calls(&outstanding, records) {
            let batch: Vec<&StreamRecord> = call.iter().map(|&i| &records[i]).collect();
            let answer = match tokio::time::timeout_at(deadline, stream.put_records(&batch)).await {
                Ok(answer) => answer,
                Err(_) => Err(timed_out()),
            };
            match answer {
                Ok(answers) => {
                    for (&i, answer) in call.iter().zip(answers) {
                        results[i] = answer;
                    }
                }
                Err(refusal) => call.iter().for_each(|&i| results[i] = Err(refusal.clone())),
            }
        }
        outstanding
            .retain(|&i| matches!(&results[i], Err(refusal) if refusal.kind != PutErrorKind::Permanent));
        if outstanding.is_empty() {
            break;
        }
        let Some(wait) = waits.next().filter(|wait| Instant::now() + *wait < deadline) else {
            break;
        };
        tokio::time::sleep(wait).await;
        retries += outstanding.len() as u64;
    }
    Written { results, retries }
}

fn unasked() -> PutError {
    let message = "the stream's answer has fewer entries than the call had records".to_owned();
    PutError { kind: PutErrorKind::Unavailable, code: "InternalFailure".to_owned(), message }
}

fn timed_out() -> PutError {
    let message = "the stream did not answer in time".to_owned();
    PutError { kind: PutErrorKind::Unavailable, code: "RequestTimeoutException".to_owned(), message }
}

/// Splits the outstanding records into calls within Kinesis' limits.
fn calls<'a>(outstanding: &'a [usize], records: &[StreamRecord]) -> Vec<&'a [usize]> {
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

    /// Answers each call by a script; takes everything once the script has run out.
    struct Scripted {
        script: Mutex<Vec<ApiResponse>>,
        calls: Mutex<Vec<Vec<String>>>,
    }

    enum ApiResponse {
        RefuseEveryOther(PutErrorKind),
        Fail(PutErrorKind),
        Silence,
    }

    impl Scripted {
        fn new(mut script: Vec<ApiResponse>) -> Self {
            script.reverse();
            Self { script: Mutex::new(script), calls: Mutex::default() }
        }
    }

    impl RecordStream for Scripted {
        async fn put_records(
            &self,
            records: &[&StreamRecord],
        ) -> Result<Vec<Result<Receipt, PutError>>, PutError> {
            self.calls.lock().unwrap().push(records.iter().map(|record| record.key.clone()).collect());
            let refusal = |kind| PutError { kind, code: "Code".to_owned(), message: String::new() };
            let answer = self.script.lock().unwrap().pop();
            let taken =
                |record: &&StreamRecord| Receipt { shard: "shard".to_owned(), sequence: record.key.clone() };
            match answer {
                None => Ok(records.iter().map(|record| Ok(taken(record))).collect()),
                Some(ApiResponse::Fail(kind)) => Err(refusal(kind)),
                Some(ApiResponse::Silence) => std::future::pending().await,
                Some(ApiResponse::RefuseEveryOther(kind)) => Ok(records
                    .iter()
                    .enumerate()
                    .map(|(i, record)| if i % 2 == 0 { Ok(taken(record)) } else { Err(refusal(kind)) })
                    .collect()),
            }
        }
    }

    fn records(count: u64, bytes: usize) -> Vec<StreamRecord> {
        (0..count)
            .map(|i| StreamRecord { key: i.to_string(), data: vec![b'x'; bytes], lines: i..i + 1 })
            .collect()
    }

    async fn run(stream: &Scripted, records: &[StreamRecord]) -> Written {
        write(stream, records, &RetryPolicy::default(), &Rng::seeded(1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_failed_is_put_again() {
        let stream = Scripted::new(vec![
            ApiResponse::RefuseEveryOther(PutErrorKind::Throttled),
            ApiResponse::Fail(PutErrorKind::Unavailable),
        ]);
        let written = run(&stream, &records(4, 10)).await;
        assert!(written.worst().is_none());
        assert_eq!(written.retries, 4);
        let sequences: Vec<&str> = written.receipts().map(|receipt| receipt.sequence.as_str()).collect();
        assert_eq!(sequences, ["0", "1", "2", "3"], "each record has its own receipt");
        assert_eq!(*stream.calls.lock().unwrap(), [vec!["0", "1", "2", "3"], vec!["1", "3"], vec!["1", "3"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_keep_to_the_limits() {
        let stream = Scripted::new(vec![]);
        run(&stream, &records(1201, 10)).await;
        run(&stream, &records(6, 1024 * 1024 - 1)).await;
        let sizes: Vec<usize> = stream.calls.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 201, 5, 1]);
        assert!(run(&stream, &[]).await.results.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let always = || (0..100).map(|_| ApiResponse::Fail(PutErrorKind::Throttled)).collect();
        let stream = Scripted::new(always());
        let start = Instant::now();
        let written = run(&stream, &records(1, 10)).await;
        assert_eq!(written.worst().map(|refusal| refusal.kind), Some(PutErrorKind::Throttled));
        assert!(start.elapsed() <= RetryPolicy::default().budget);
        assert!(stream.calls.lock().unwrap().len() <= 8);

        let silent = Scripted::new(vec![ApiResponse::Silence]);
        let start = Instant::now();
        let written = run(&silent, &records(1, 10)).await;
        assert_eq!(start.elapsed(), RetryPolicy::default().budget);
        assert_eq!(written.worst().map(|refusal| refusal.code.as_str()), Some("RequestTimeoutException"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_be_refused_again_is_not_tried_again() {
        let stream = Scripted::new(vec![ApiResponse::RefuseEveryOther(PutErrorKind::Permanent)]);
        let written = run(&stream, &records(2, 10)).await;
        assert_eq!(stream.calls.lock().unwrap().len(), 1);
        assert_eq!(written.receipts().count(), 1);
        assert_eq!(written.worst().map(|refusal| refusal.kind), Some(PutErrorKind::Permanent));
    }
}
