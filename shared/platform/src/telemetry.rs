//! Structured logs and metrics of a function.
//!
//! Metrics are lines in CloudWatch's Embedded Metric Format ("Specification: Embedded metric format", CloudWatch
//! User Guide) on standard output: CloudWatch Logs turns them into metrics, and nothing is called for it.

use std::io::Write;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
///
/// Libraries say nothing below `info`, whatever `RUST_LOG` asks for: at `trace`, Lambda's runtime writes each event as
/// it came, and AWS' SDK each request, with the payload and the API key in it. A second call does nothing.
pub fn init() {
    let _already_set = subscriber(filter(DEFAULT_FILTER), std::io::stderr).try_init();
}

/// What `RUST_LOG` asks for, such as `warn` or `info,compactor=debug`; `otherwise` where it is not set or cannot be read. It is
/// not the filter that asks for spans and fields too: that one would bring regular expressions, 2 % of a function.
pub fn filter(otherwise: &str) -> Targets {
    let asked = crate::settings::optional("RUST_LOG").and_then(|filter| filter.parse().ok());
    asked.or_else(|| otherwise.parse().ok()).unwrap_or_default()
}

/// What [`init`] sends to standard error, sent to any writer: for tests of what is told.
pub fn subscriber<W>(filter: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().json().with_writer(writer);
    tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(may_be_told))
}

/// Our own crates look after what they say; nobody else's chatter is looked through.
fn may_be_told(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    let is_ours =
        krate.starts_with("pinlake_") || matches!(krate, "ingest" | "cleaner" | "compactor" | "analysis");
    is_ours || *metadata.level() <= Level::INFO
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

    /// Writes one event of measurements for `dataset` (`None`: not of one dataset). A value of zero is left out: it adds
    /// nothing to a sum, and CloudWatch charges for each metric that has a value in an hour. Nothing is written when
    /// nothing is left.
    pub fn emit(&self, now: DateTime<Utc>, dataset: Option<&str>, values: &[(&'static str, Unit, f64)]) {
        self.emit_with(now, dataset, values, Map::new());
    }

    /// The same, with what else there is to tell of the event: one line of log where there would be two.
    #[allow(clippy::print_stdout, reason = "standard output is how the Embedded Metric Format is delivered")]
    pub fn emit_with(
        &self,
        now: DateTime<Utc>,
        dataset: Option<&str>,
        values: &[(&'static str, Unit, f64)],
        told: Map<String, Value>,
    ) {
        if let Some(event) = self.event(now, dataset, values, told) {
            // A closed standard output must not stop the work.
            let _ = writeln!(std::io::stdout().lock(), "{event}");
        }
    }

    fn event(
        &self,
        now: DateTime<Utc>,
        dataset: Option<&str>,
        values: &[(&'static str, Unit, f64)],
        told: Map<String, Value>,
    ) -> Option<Value> {
        let mut dimensions = vec!["function"];
        let mut event = told;
        event.insert("function".to_owned(), json!(self.function));
        if let Some(dataset) = dataset {
            dimensions.push("dataset");
            event.insert("dataset".to_owned(), json!(dataset));
        }
        let mut metrics = Vec::new();
        for (name, unit, value) in values.iter().filter(|(_, _, value)| *value != 0.0) {
            metrics.push(json!({ "Name": name, "Unit": unit.name() }));
            event.insert((*name).to_owned(), json!(value));
        }
        if metrics.is_empty() {
            return None;
        }
        let directive =
            json!({ "Namespace": self.namespace, "Dimensions": [dimensions], "Metrics": metrics });
        event.insert(
            "_aws".to_owned(),
            json!({ "Timestamp": now.timestamp_millis(), "CloudWatchMetrics": [directive] }),
        );
        Some(Value::Object(event))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

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
    fn libraries_cannot_be_made_to_tell_what_they_carry() {
        for filter in ["trace", "lambda_runtime::layers=trace,pinlake_lake=trace,info"] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = subscriber(filter.parse::<Targets>().unwrap(), move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::trace!(target: "lambda_runtime::layers::api_response", body = "payload");
                tracing::debug!(target: "aws_smithy_runtime::client", request = "payload");
                tracing::info!(target: "lambda_runtime", "theirs");
                tracing::trace!(target: "pinlake_lake::commit", "ours");
            });
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(log.contains("theirs") && log.contains("ours") && !log.contains("payload"), "{log}");
        }
    }

    #[test]
    fn what_is_logged_when_nothing_is_asked_for() {
        let filter: Targets = DEFAULT_FILTER.parse().unwrap();
        for (target, level, told) in [
            ("ingest", Level::INFO, true),
            ("ingest", Level::DEBUG, false),
            ("delta_kernel::log", Level::INFO, false),
            ("delta_kernel::log", Level::WARN, true),
        ] {
            assert_eq!(filter.would_enable(target, &level), told, "{target} {level}");
        }
    }

    #[test]
    fn an_event_names_its_metrics_and_dimensions() {
        let metrics = Metrics { namespace: "pinlake".to_owned(), function: "cleaner" };
        let now = "2022-10-19T12:00:00Z".parse().unwrap();
        let values = [("records", Unit::Count, 3.0), ("quarantined", Unit::Count, 0.0)];
        let event = metrics
            .event(now, Some("pin"), &values, Map::from_iter([("request".to_owned(), json!("r-1"))]))
            .unwrap();
        assert_eq!((&event["request"], event.get("quarantined")), (&json!("r-1"), None));
        assert_eq!(event["records"], json!(3.0));
        assert_eq!(event["_aws"]["Timestamp"], json!(1_666_180_800_000_i64));
        assert_eq!(event["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["function", "dataset"]]));
        assert_eq!(
            event["_aws"]["CloudWatchMetrics"][0]["Metrics"],
            json!([{"Name": "records", "Unit": "Count"}])
        );
        assert_eq!(metrics.event(now, None, &[("records", Unit::Count, 0.0)], Map::new()), None);
    }
}
