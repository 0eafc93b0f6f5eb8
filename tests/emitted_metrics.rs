//! Reads the metrics that a function has written. The tests of several functions include this file.

use serde_json::Value;

/// A value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// Name of the metric.
    pub name: String,
    /// Values of its dimensions, in the order of the directive: of `function`, and of `dataset` if it is one.
    pub dimensions: Vec<String>,
    /// The value.
    pub value: f64,
}

/// Returns the metrics in the lines of Embedded Metric Format, once for each set of dimensions, as CloudWatch extracts them.
pub fn emitted_metrics(log: &str) -> Vec<Emitted> {
    let mut found = Vec::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        for directive in event["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for set in directive["Dimensions"].as_array().unwrap() {
                let value_of = |name: &Value| event[name.as_str().unwrap()].as_str().unwrap().to_owned();
                let dimensions: Vec<String> = set.as_array().unwrap().iter().map(value_of).collect();
                for metric in directive["Metrics"].as_array().unwrap() {
                    let name = metric["Name"].as_str().unwrap().to_owned();
                    let value = event[&name].as_f64().unwrap();
                    found.push(Emitted { name, dimensions: dimensions.clone(), value });
                }
            }
        }
    }
    found
}

/// Returns the value of a metric with exactly these values of its dimensions.
pub fn value_of(metrics: &[Emitted], name: &str, dimensions: &[&str]) -> Option<f64> {
    let mut found = metrics.iter().filter(|own| own.name == name && own.dimensions == dimensions);
    found.next().map(|own| own.value)
}
