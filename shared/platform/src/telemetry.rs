//! Writes the logs and metrics of a function.
//!
//! Metrics are lines in CloudWatch's Embedded Metric Format ("Specification: Embedded metric format", CloudWatch
//! User Guide) on standard output. CloudWatch Logs extracts the metrics, so no call is needed. [`crate::metrics`]
//! defines them.

use std::io::Write;

use chrono::{DateTime, Utc};
use pinlake_schema::CANARY;
use serde_json::{Map, Value, json};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::deployment::Deployment;
use crate::metrics::{CATALOGUE, Dimensions, Metric};

/// The filter where `RUST_LOG` is not set. At `info` the Delta library logs several KB for each commit.
const DEFAULT_FILTER: &str = "info,delta_kernel=warn";

/// Sends logs to standard error as JSON, one object per line. `RUST_LOG` sets the level.
///
/// Libraries never log below `info`, whatever `RUST_LOG` says: at `trace`, Lambda's runtime logs each event and the AWS
/// SDK each request, with payloads and API keys. A second call does nothing.
pub fn init() {
    let _already_set = subscriber(filter(DEFAULT_FILTER), std::io::stderr).try_init();
}

/// Parses `RUST_LOG`, such as `warn` or `info,compactor=debug`. Uses `default` if it is not set or invalid.
///
/// `Targets` does not filter by spans and fields. `EnvFilter` does, but its regular expressions are 2 % of a function's
/// size.
pub fn filter(default: &str) -> Targets {
    let from_settings = crate::settings::optional("RUST_LOG").and_then(|filter| filter.parse().ok());
    from_settings.or_else(|| default.parse().ok()).unwrap_or_default()
}

/// Builds the subscriber of [`init`] with any writer, so that tests can read the log.
pub fn subscriber<W>(filter: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().json().with_writer(writer);
    tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(is_allowed))
}

/// Allows every level for pinlake's crates, which never log payloads, and `info` and above for all others.
fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    let is_function = CATALOGUE.iter().any(|metric| metric.function == krate);
    krate.starts_with("pinlake_") || is_function || *metadata.level() <= Level::INFO
}

/// Writes metrics to standard output.
#[derive(Debug, Clone)]
pub struct Metrics {
    namespace: String,
}

impl Metrics {
    /// Reads the namespace from `PINLAKE_METRICS_NAMESPACE`; the default is `pinlake`.
    pub fn from_settings() -> Self {
        let namespace =
            crate::settings::optional("PINLAKE_METRICS_NAMESPACE").unwrap_or_else(|| "pinlake".to_owned());
        Self { namespace }
    }

    /// Writes one event with values of metrics of one function, for one dataset or for none.
    ///
    /// Zeros are left out: they add nothing to a sum, and CloudWatch charges for each metric that has a value in an
    /// hour. If all values are zero, nothing is written.
    pub fn emit(&self, now: DateTime<Utc>, dataset: Option<&str>, values: &[(Metric, f64)]) {
        self.emit_with_fields(now, dataset, values, Map::new());
    }

    /// Writes the value of the metric `contracts_broken` of a function: nothing while all contracts can be used.
    pub fn emit_broken_contracts(&self, now: DateTime<Utc>, metric: Metric, deployment: &Deployment) {
        self.emit(now, None, &[(metric, deployment.count_problems() as f64)]);
    }

    /// Writes the event with more fields for the log: one line instead of two.
    #[allow(clippy::print_stdout, reason = "standard output is how the Embedded Metric Format is delivered")]
    pub fn emit_with_fields(
        &self,
        now: DateTime<Utc>,
        dataset: Option<&str>,
        values: &[(Metric, f64)],
        fields: Map<String, Value>,
    ) {
        if let Some(event) = self.event(now, dataset, values, fields) {
            // A closed standard output must not stop the work.
            let _ = writeln!(std::io::stdout().lock(), "{event}");
        }
    }

    fn event(
        &self,
        now: DateTime<Utc>,
        dataset: Option<&str>,
        values: &[(Metric, f64)],
        fields: Map<String, Value>,
    ) -> Option<Value> {
        let (first, _) = values.first()?;
        // Test records are measured where they arrive; CloudWatch charges for each metric.
        let dataset = dataset.filter(|dataset| *dataset != CANARY || first.function == "compactor");
        let mut event = fields;
        event.insert("function".to_owned(), json!(first.function));
        if let Some(dataset) = dataset {
            event.insert("dataset".to_owned(), json!(dataset));
        }
        let (mut metrics, mut totals, mut overall) = (Vec::new(), Vec::new(), Vec::new());
        for (metric, value) in values.iter().filter(|(_, value)| *value != 0.0) {
            let definition = json!({ "Name": metric.name, "Unit": metric.unit.name() });
            if dataset.is_some() && metric.dimensions == Dimensions::DatasetAndTotal {
                totals.push(definition.clone());
            }
            if metric.dimensions == Dimensions::FunctionAndTotal {
                overall.push(definition.clone());
            }
            metrics.push(definition);
            event.insert(metric.name.to_owned(), json!(value));
        }
        if metrics.is_empty() {
            return None;
        }
        let dimensions: &[&str] = if dataset.is_some() { &["function", "dataset"] } else { &["function"] };
        let directive = |dimensions: &[&str], metrics: Vec<Value>| json!({ "Namespace": self.namespace, "Dimensions": [dimensions], "Metrics": metrics });
        let mut directives = vec![directive(dimensions, metrics)];
        if !totals.is_empty() {
            directives.push(directive(&["function"], totals));
        }
        if !overall.is_empty() {
            directives.push(directive(&[], overall));
        }
        event.insert(
            "_aws".to_owned(),
            json!({ "Timestamp": now.timestamp_millis(), "CloudWatchMetrics": directives }),
        );
        Some(Value::Object(event))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::metrics::{cleaner, compactor};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn libraries_never_log_payloads() {
        for filter in ["trace", "lambda_runtime::layers=trace,pinlake_lake=trace,info"] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = subscriber(filter.parse::<Targets>().unwrap(), move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::trace!(target: "lambda_runtime::layers::api_response", body = "payload");
                tracing::debug!(target: "aws_smithy_runtime::client", request = "payload");
                tracing::info!(target: "lambda_runtime", "theirs");
                tracing::trace!(target: "pinlake_lake::commit", "of a library");
                tracing::trace!(target: "report::app", "of a function");
            });
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(
                log.contains("theirs") && log.contains("of a library") && !log.contains("payload"),
                "{log}"
            );
            assert_eq!(log.contains("of a function"), filter == "trace", "{log}");
        }
    }

    #[test]
    fn the_default_filter_logs_info_except_of_the_delta_library() {
        let filter: Targets = DEFAULT_FILTER.parse().unwrap();
        for (target, level, is_logged) in [
            ("ingest", Level::INFO, true),
            ("ingest", Level::DEBUG, false),
            ("delta_kernel::log", Level::INFO, false),
            ("delta_kernel::log", Level::WARN, true),
        ] {
            assert_eq!(filter.would_enable(target, &level), is_logged, "{target} {level}");
        }
    }

    #[test]
    fn an_event_names_its_metrics_and_dimensions() {
        let metrics = Metrics { namespace: "pinlake".to_owned() };
        let now = "2022-10-19T12:00:00Z".parse().unwrap();
        let values = [(cleaner::RECORDS, 3.0), (cleaner::QUARANTINED, 0.0)];
        let event = metrics
            .event(now, Some("pin"), &values, Map::from_iter([("request".to_owned(), json!("r-1"))]))
            .unwrap();
        assert_eq!((&event["request"], event.get("quarantined")), (&json!("r-1"), None));
        assert_eq!((&event["function"], &event["records"]), (&json!("cleaner"), &json!(3.0)));
        assert_eq!(event["_aws"]["Timestamp"], json!(1_666_180_800_000_i64));
        assert_eq!(event["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["function", "dataset"]]));
        assert_eq!(
            event["_aws"]["CloudWatchMetrics"][0]["Metrics"],
            json!([{"Name": "records", "Unit": "Count"}])
        );
        assert_eq!(metrics.event(now, None, &[(cleaner::RECORDS, 0.0)], Map::new()), None);
    }

    #[test]
    fn metrics_of_alarms_are_also_sent_for_all_datasets() {
        let metrics = Metrics { namespace: "pinlake".to_owned() };
        let now = "2022-10-19T12:00:00Z".parse().unwrap();
        let values = [(compactor::ROWS_INSERTED, 3.0), (compactor::FRESHNESS, 7.5)];
        let event = metrics.event(now, Some("pin"), &values, Map::new()).unwrap();
        let directives = event["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 2);
        assert_eq!(directives[1]["Dimensions"], json!([["function"]]));
        assert_eq!(directives[1]["Metrics"], json!([{"Name": "freshness", "Unit": "Seconds"}]));
        let without_dataset = metrics.event(now, None, &values, Map::new()).unwrap();
        assert_eq!(without_dataset["_aws"]["CloudWatchMetrics"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_metric_over_all_functions_has_no_dimension() {
        let metrics = Metrics { namespace: "pinlake".to_owned() };
        let now = "2022-10-19T12:00:00Z".parse().unwrap();
        let values = [(cleaner::CONTRACTS_BROKEN, 1.0), (cleaner::BATCHES_FAILED, 2.0)];
        let event = metrics.event(now, None, &values, Map::new()).unwrap();
        let directives = event["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives[0]["Dimensions"], json!([["function"]]));
        assert_eq!(directives[1]["Dimensions"], json!([[]]));
        assert_eq!(directives[1]["Metrics"], json!([{"Name": "contracts_broken", "Unit": "Count"}]));
    }

    #[test]
    fn test_records_are_measured_by_the_compactor_only() {
        let metrics = Metrics { namespace: "pinlake".to_owned() };
        let now = "2022-10-19T12:00:00Z".parse().unwrap();
        let event = |metric| metrics.event(now, Some(CANARY), &[(metric, 1.0)], Map::new()).unwrap();
        assert_eq!(event(cleaner::RECORDS).get("dataset"), None);
        assert_eq!(event(compactor::ROWS_INSERTED)["dataset"], json!(CANARY));
    }
}
