//! Delivers a batch of rows.
//!
//! A request is retried with the same Idempotency-Key after 408, 429, 5xx and lost responses. A 2xx may report single
//! records as not stored, which are sent again. A 400 or 422 that names a record rejects that record only. Any other 4xx
//! ends the run, because it applies to all rows. So does a 2xx for stored rows without a readable acknowledgement, because
//! `pinlake wait` needs it.

use std::time::Duration;

use pinlake_env::{RetryPolicy, Rng};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::batch::{Batch, Format, Row};
use super::source::Input;
use super::wire::{self, Request};
use crate::acks::{self, Acks};
use crate::error::CliError;

/// Timeout of a request; the response then counts as lost.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum wait that a Retry-After header may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Maximum size of a response that is read; one for 500 records has about 60 KB.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Posts batches to one target.
#[derive(Debug)]
pub struct Poster {
    client: Client,
    base: String,
    uid: String,
    retry_policy: RetryPolicy,
    rng: Rng,
    stop: watch::Receiver<bool>,
}

/// The result of a batch.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Index among the inputs.
    pub file: usize,
    /// Ordinals of the rows that were acknowledged.
    pub accepted: Vec<u64>,
    /// Rows that were rejected.
    pub rejected: Vec<Reject>,
    /// Rows that were sent at least once.
    pub sent: u64,
    /// Acknowledgements.
    pub acks: Acks,
    /// Requests.
    pub requests: u64,
    /// Requests that repeat an earlier one or a part of it.
    pub retries: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// Why rows are neither accepted nor rejected.
    pub failure: Option<Failure>,
}

/// Why a batch is not complete.
#[derive(Debug)]
pub enum Failure {
    /// Ctrl-C.
    Stopped,
    /// An error that ends the run.
    Error(CliError),
}

/// A row that the target rejected.
#[derive(Debug)]
pub struct Reject {
    /// The row.
    pub row: Row,
    /// The response.
    pub reason: String,
}

/// A response that needs no retry.
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    /// The `Pinlake-Ack` header, or what is wrong with it.
    acks: Result<(), String>,
}

impl Reply {
    /// Status and body, shortened to one line.
    fn text(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body
            .trim()
            .chars()
            .take(300)
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        format!("{}: {body}", self.status)
    }
}

/// The result of one attempt.
enum Attempt {
    Settled(Reply),
    Again { why: String, after: Option<Duration> },
}

impl Poster {
    /// Creates a poster with its own connection pool.
    pub fn new(
        to: &Url,
        uid: &str,
        attempts: u32,
        rng: Rng,
        api_key: Option<HeaderValue>,
        stop: watch::Receiver<bool>,
    ) -> Result<Poster, CliError> {
        let mut builder = Client::builder().redirect(Policy::none()).connect_timeout(Duration::from_secs(10));
        if let Some(host) = to.host_str().filter(|host| is_this_machine(host)) {
            // RFC 6761: these names are this machine. Not every resolver knows them, and no proxy can reach them.
            builder = builder.no_proxy().resolve(host, ([127, 0, 0, 1], 0).into());
        }
        if let Some(key) = api_key {
            let mut headers = HeaderMap::new();
            headers.insert("x-api-key", key);
            builder = builder.default_headers(headers);
        }
        let client = builder.build().map_err(|error| {
            CliError::failed("cannot set up HTTP", "check the system's certificates").caused_by(error)
        })?;
        Ok(Poster {
            client,
            base: to.as_str().trim_end_matches('/').to_owned(),
            uid: uid.to_owned(),
            retry_policy: RetryPolicy {
                max_attempts: attempts,
                initial_delay: Duration::from_millis(400),
                max_delay: Duration::from_secs(20),
            },
            rng,
            stop,
        })
    }

    /// Posts the rows of a batch until each is accepted or rejected, or an error ends the run.
    pub async fn deliver(&self, input: &Input, batch: Batch) -> Delivery {
        let mut delivery =
            Delivery { file: batch.file, sent: batch.rows.len() as u64, ..Delivery::default() };
        // Groups of rows still to be posted. Each step settles rows or makes groups smaller, so there is an end.
        let mut groups = vec![batch.rows];
        while let Some(rows) = groups.pop() {
            match self.settle(&mut delivery, batch.format, &input.dataset, rows).await {
                Ok(left) => groups.extend(left),
                Err(failure) => {
                    delivery.failure = Some(failure);
                    break;
                }
            }
        }
        delivery
    }

    /// Posts one group, records the response, and returns the groups that are left.
    async fn settle(
        &self,
        delivery: &mut Delivery,
        format: Format,
        dataset: &str,
        mut rows: Vec<Row>,
    ) -> Result<Vec<Vec<Row>>, Failure> {
        let request = wire::build_request(format, &self.uid, dataset, &rows);
        let reply =
            self.exchange(delivery, format, &request, &idempotency_key(dataset, &rows), rows.len()).await?;
        match reply.status {
            status if status.is_success() => {
                let failed = wire::find_failed(format, &reply.body);
                let again = extract_rows(&mut rows, &failed);
                if let Err(why) = &reply.acks {
                    return Err(Failure::Error(self.missing_ack_error(&request, why)));
                }
                delivery.accepted.extend(rows.iter().map(|row| row.ordinal));
                if again.is_empty() {
                    return Ok(Vec::new());
                }
                // Some records were stored, so the target is running but throttled.
                delivery.retries += 1;
                self.pause(self.rng.up_to(self.retry_policy.initial_delay)).await?;
                Ok(vec![again])
            }
            StatusCode::PAYLOAD_TOO_LARGE if rows.len() > 1 => {
                let second = rows.split_off(rows.len() / 2);
                Ok(vec![second, rows])
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
                let to_blame = match reply.status {
                    StatusCode::PAYLOAD_TOO_LARGE => vec![0],
                    _ => wire::find_rejected(&request, &rows, &reply.body),
                };
                if to_blame.is_empty() {
                    return Err(Failure::Error(self.rejection_error(&request, &rows, &reply)));
                }
                let reason = reply.text();
                let rejected = extract_rows(&mut rows, &to_blame);
                delivery
                    .rejected
                    .extend(rejected.into_iter().map(|row| Reject { row, reason: reason.clone() }));
                Ok(if rows.is_empty() { Vec::new() } else { vec![rows] })
            }
            _ => Err(Failure::Error(self.rejection_error(&request, &rows, &reply))),
        }
    }

    /// Sends a request until a response needs no retry. One in which every record failed is retried.
    async fn exchange(
        &self,
        delivery: &mut Delivery,
        format: Format,
        request: &Request,
        key: &str,
        rows: usize,
    ) -> Result<Reply, Failure> {
        let mut delays = self.retry_policy.delays(&self.rng);
        loop {
            delivery.requests += 1;
            delivery.bytes += request.body.len() as u64;
            let (why, after) = match self.try_once(request, key, &mut delivery.acks).await {
                Attempt::Settled(reply)
                    if reply.status.is_success() && wire::find_failed(format, &reply.body).len() == rows =>
                {
                    (reply.text(), None)
                }
                Attempt::Settled(reply) => return Ok(reply),
                Attempt::Again { why, after } => (why, after),
            };
            let Some(delay) = delays.next() else {
                return Err(Failure::Error(CliError::failed(
                    format!(
                        "{} {}{} failed {} times: {why}",
                        request.method, self.base, request.path, self.retry_policy.max_attempts
                    ),
                    "check that the target is running; if it is throttled, lower --rate or --concurrency. With --state the \
                     same command continues where this one stopped",
                )));
            };
            tracing::debug!(path = request.path, key, why, "request is sent again");
            delivery.retries += 1;
            self.pause(after.map_or(delay, |after| after.min(MAX_RETRY_AFTER) + delay)).await?;
        }
    }

    async fn try_once(&self, request: &Request, key: &str, acks: &mut Acks) -> Attempt {
        let lost = |why: String| Attempt::Again { why, after: None };
        let exchange = async {
            let mut response = self
                .client
                .request(request.method.clone(), format!("{}{}", self.base, request.path))
                .header(CONTENT_TYPE, request.content_type)
                .header(ACCEPT, "application/json, application/vnd.kafka.v2+json")
                .header("idempotency-key", key)
                .body(request.body.clone())
                .send()
                .await?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_RESPONSE_BYTES {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((response, body))
        };
        let (response, body) = match timeout(RESPONSE_TIMEOUT, exchange).await {
            Err(_) => return lost(format!("no response in {} s", RESPONSE_TIMEOUT.as_secs())),
            Ok(Err(error)) => {
                return lost(CliError::failed("no response", "").caused_by(error).with_causes());
            }
            Ok(Ok(reply)) => reply,
        };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        // A failed request may have stored some rows, which are acknowledged too.
        let acknowledged = read_acks(response.headers()).map(|new| acks.merge(&new));
        let reply = Reply { status: response.status(), body, acks: acknowledged };
        match reply.status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {}
            status if status.is_server_error() => {}
            _ => return Attempt::Settled(reply),
        }
        let seconds = header(RETRY_AFTER.as_str()).and_then(|value| value.trim().parse().ok());
        Attempt::Again { why: reply.text(), after: seconds.map(Duration::from_secs) }
    }

    /// Sleeps, unless Ctrl-C was pressed.
    async fn pause(&self, wait: Duration) -> Result<(), Failure> {
        let mut stop = self.stop.clone();
        let stopped = async {
            // If the sender is dropped, the run cannot be stopped any more.
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = stopped => Err(Failure::Stopped),
        }
    }

    fn missing_ack_error(&self, request: &Request, why: &str) -> CliError {
        CliError::failed(
            format!("{} {}{} was acknowledged as stored, but {why}", request.method, self.base, request.path),
            "a proxy or gateway in between may remove or rewrite the header Pinlake-Ack: let it through, or post to \
             ingest itself. Without it `pinlake wait` cannot wait for these rows. With --state the same command continues where \
             this one stopped",
        )
    }

    fn rejection_error(&self, request: &Request, rows: &[Row], reply: &Reply) -> CliError {
        let lines = match (rows.first(), rows.last()) {
            (Some(first), Some(last)) => format!("lines {} to {}", first.line, last.line),
            _ => "no lines".to_owned(),
        };
        let advice = match reply.status {
            StatusCode::NOT_FOUND => {
                "the target does not know this topic, stream or dataset: check --to, --uid and the file's dataset"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "the target requires credentials: set PINLAKE_API_KEY to a key that it accepts for this dataset"
            }
            status if status.is_redirection() => "give the address that it redirects to as --to",
            _ => "all rows would be rejected in the same way; none of this request is counted as accepted",
        };
        CliError::failed(
            format!(
                "{} {}{} with {lines} was refused: {}",
                request.method,
                self.base,
                request.path,
                reply.text()
            ),
            advice,
        )
    }
}

/// The acknowledgements of a response, or what is wrong with them.
fn read_acks(headers: &HeaderMap) -> Result<Acks, String> {
    let mut acks = Acks::default();
    let mut values = headers.get_all(acks::HEADER).iter().peekable();
    if values.peek().is_none() {
        return Err("it has no header Pinlake-Ack".to_owned());
    }
    for value in values {
        let text = value.to_str().map_err(|error| error.to_string());
        let noted = text.and_then(|text| acks.add_header(text).map_err(|error| error.to_string()));
        noted.map_err(|error| format!("its header Pinlake-Ack cannot be read: {error}"))?;
    }
    Ok(acks)
}

/// Removes the rows at `indices` (ascending) from `rows`, and returns them.
fn extract_rows(rows: &mut Vec<Row>, indices: &[usize]) -> Vec<Row> {
    let (mut taken, mut kept) = (Vec::new(), Vec::new());
    for (at, row) in rows.drain(..).enumerate() {
        if indices.binary_search(&at).is_ok() { taken.push(row) } else { kept.push(row) }
    }
    *rows = kept;
    taken
}

/// The idempotency key of these rows at these positions. A retry, also by another run, has the same key; the same row at
/// another position has another.
fn idempotency_key(dataset: &str, rows: &[Row]) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(dataset.as_bytes());
    for row in rows {
        hash.update(&row.ordinal.to_le_bytes());
        hash.update(&(row.bytes.len() as u64).to_le_bytes());
        hash.update(&row.bytes);
    }
    let mut key = hash.finalize().to_hex().to_string();
    key.truncate(32);
    key
}

/// Whether a host is this machine, so that requests to it cross no network.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_rows_and_their_positions() {
        let row = |ordinal, text: &str| Row { ordinal, line: 1, key: None, bytes: text.as_bytes().to_vec() };
        let key = idempotency_key("pin", &[row(0, "a"), row(1, "b")]);
        assert_eq!(key.len(), 32);
        assert_eq!(key, idempotency_key("pin", &[row(0, "a"), row(1, "b")]));
        for other in [
            idempotency_key("geo", &[row(0, "a"), row(1, "b")]),
            idempotency_key("pin", &[row(2, "a"), row(3, "b")]),
            idempotency_key("pin", &[row(0, "a")]),
            idempotency_key("pin", &[row(0, "ab"), row(1, "")]),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn extracted_rows_keep_their_order() {
        let row = |ordinal| Row { ordinal, line: 1, key: None, bytes: Vec::new() };
        let mut rows: Vec<Row> = (0..5).map(row).collect();
        let taken = extract_rows(&mut rows, &[1, 4]);
        assert_eq!(taken.iter().map(|row| row.ordinal).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(rows.iter().map(|row| row.ordinal).collect::<Vec<_>>(), [0, 2, 3]);
    }
}
