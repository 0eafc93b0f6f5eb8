//! Published prices, from `prices.toml`.

#![allow(missing_docs, reason = "prices.toml, which is their documentation, has the same names")]

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::FiguresError;

/// Prices in US dollars. The file describes each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    pub as_of: String,
    pub region: String,
    pub hours_per_month: f64,
    pub lambda: Lambda,
    pub kinesis: Kinesis,
    pub kms: Kms,
    pub s3: S3,
    pub sqs: Sqs,
    pub dynamodb: DynamoDb,
    pub cloudwatch: CloudWatch,
    pub transfer: Transfer,
    pub firehose: Firehose,
    pub replaced: BTreeMap<String, Server>,
    pub api_gateway: ApiGateway,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lambda {
    pub per_million_requests: f64,
    pub per_gb_second: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinesis {
    pub per_shard_hour: f64,
    pub per_shard_hour_beyond_a_day: f64,
    pub per_million_units: f64,
    pub unit_bytes: f64,
    pub shard_bytes_per_second: f64,
    pub shard_records_per_second: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kms {
    pub per_10_000_requests: f64,
    pub stream_requests_per_hour: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub per_1_000_puts_and_lists: f64,
    pub per_1_000_gets: f64,
    pub per_gb_month: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqs {
    pub per_million_requests: f64,
    pub idle_polls_per_hour: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamoDb {
    pub per_million_write_units: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudWatch {
    pub per_gb_logs: f64,
    pub per_metric_month: f64,
    pub per_alarm_month: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    pub per_gb_out: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firehose {
    pub per_gb_in: f64,
    pub per_gb_converted: f64,
    pub round_up_bytes: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiGateway {
    pub per_million_requests: f64,
}

/// A server that runs all the time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub what: String,
    pub per_hour: f64,
}

impl Prices {
    /// The built-in prices.
    ///
    /// # Errors
    /// If `prices.toml` is invalid, which is a bug.
    pub fn built_in() -> Result<Prices, FiguresError> {
        Prices::parse(include_str!("prices.toml"))
    }

    /// Prices in the format of `prices.toml`.
    ///
    /// # Errors
    /// If the text has another format.
    pub fn parse(text: &str) -> Result<Prices, FiguresError> {
        crate::parse("prices", "prices.toml", text)
    }
}
