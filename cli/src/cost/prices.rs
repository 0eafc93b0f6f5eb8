//! Published prices, from `prices.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::CliError;

/// Prices in US dollars. The file describes each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "prices.toml, which is their documentation, has the same names")]
pub(super) struct Prices {
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
pub(super) struct Lambda {
    pub per_million_requests: f64,
    pub per_gb_second: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kinesis {
    pub per_shard_hour: f64,
    pub per_shard_hour_beyond_a_day: f64,
    pub per_million_units: f64,
    pub unit_bytes: f64,
    pub shard_bytes_per_second: f64,
    pub shard_records_per_second: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kms {
    pub per_10_000_requests: f64,
    pub stream_requests_per_hour: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3 {
    pub per_1_000_puts_and_lists: f64,
    pub per_1_000_gets: f64,
    pub per_gb_month: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sqs {
    pub per_million_requests: f64,
    pub idle_polls_per_hour: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DynamoDb {
    pub per_million_write_units: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloudWatch {
    pub per_gb_logs: f64,
    pub per_metric_month: f64,
    pub per_alarm_month: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    pub per_gb_out: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Firehose {
    pub per_gb_in: f64,
    pub per_gb_converted: f64,
    pub round_up_bytes: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiGateway {
    pub per_million_requests: f64,
}

/// A server that runs all the time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub what: String,
    pub per_hour: f64,
}

impl Prices {
    /// The built-in prices.
    pub(super) fn built_in() -> Result<Prices, CliError> {
        super::built_in::parse_built_in("prices", include_str!("prices.toml"))
    }

    /// Prices from a file.
    pub(super) fn from_file(file: &Path) -> Result<Prices, CliError> {
        let unusable = || format!("cannot use the prices in {}", file.display());
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::usage(unusable(), "check the name of the file").caused_by(error))?;
        toml::from_str(&text).map_err(|error| {
            CliError::usage(unusable(), "use the format of cli/src/cost/prices.toml").caused_by(error)
        })
    }
}
