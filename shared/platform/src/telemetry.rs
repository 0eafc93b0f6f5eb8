//! Structured logs and metrics of a function.
//!
//! Metrics are lines in CloudWatch's Embedded Metric Format ("Specification: Embedded metric format", CloudWatch
//! User Guide) on standard output: CloudWatch Logs turns them into metrics, and nothing is called for it.

use std::io::Write;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tracing_subscriber::EnvFilter;

/// A metric's unit, as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// What is logged when `RUST_LOG` says nothing: the Delta library tells several KB of each commit at `info`.
const DEFAULT_FILTER: &str = "info,delta_kernel=warn";

/// Sends logs to standard error as JSON, one object a line; `RUST_LOG` sets the level.
/// A second call does nothing.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let _already_set =
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Where a function's metrics go.
#[derive(Debug, Clone)]
pub struct Metrics {
    namespace: String,
    function: &'static str,
}

impl Metrics {
    /// Metrics of `function` in `namespace` (setting `PINLAKE_METRICS_NAMESPACE`, default `pinlake`).
    pub fn of(function: &'static str) -> Self {
        let namespace =
            crate::settings::optional("PINLAKE_METRICS_NAMESPACE").unwrap_or_else(|| "pinlake".to_owned());
        Self { namespace, function }
    }

    /// Writes one event of measurements for `dataset` (`None`: not of one dataset).
    #[allow(clippy::print_stdout, reason = "standard output is how the Embedded Metric Format is delivered")]
    pub fn emit(&self, now: DateTime<Utc>, dataset: Option<&str>, values: &[(&'static str, Unit, f64)]) {
        let line = self.event(now, dataset, values).to_string();
        // A closed standard output must not stop the work.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    fn event(
        &self,
        now: DateTime<Utc>,
        dataset: Option<&str>,
        values: &[(&'static str, Unit, f64)],
    ) -> Value {
        let mut dimensions = vec!["function"];
        let mut event = Map::new();
        event.insert("function".to_owned(), json!(self.function));
        if let Some(dataset) = dataset {
            dimensions.push("dataset");
            event.insert("dataset".to_owned(), json!(dataset));
        }
        let metrics: Vec<Value> =
            values.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit.name() })).collect();
        for (name, _, value) in values {
            event.insert((*name).to_owned(), json!(value));
        }
        let directive =
            json!({ "Namespace": self.namespace, "Dimensions": [dimensions], "Metrics": metrics });
        event.insert(
            "_aws".to_owned(),
            json!({ "Timestamp": now.timestamp_millis(), "CloudWatchMetrics": [directive] }),
        );
        Value::Object(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_metrics_and_dimensions() {
        let metrics = Metrics { namespace: "pinlake".to_owned(), function: "cleaner" };
        let now = "2022-10-19T12:00:00Z".parse().unwrap();
        let event = metrics.event(now, Some("pin"), &[("records", Unit::Count, 3.0)]);
        assert_eq!(event["records"], json!(3.0));
        assert_eq!(event["_aws"]["Timestamp"], json!(1_666_180_800_000_i64));
        assert_eq!(event["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["function", "dataset"]]));
        assert_eq!(
            event["_aws"]["CloudWatchMetrics"][0]["Metrics"][0],
            json!({"Name": "records", "Unit": "Count"})
        );
    }
}
