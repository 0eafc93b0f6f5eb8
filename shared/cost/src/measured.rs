//! What the functions use per request, record and commit, from `measured.toml`.

#![allow(missing_docs, reason = "measured.toml, which is their documentation, has the same names")]

use serde::Deserialize;

use crate::FiguresError;

/// CPU times, bytes and waits. The file says how each was found.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub measured: String,
    pub ingest: Ingest,
    pub cleaner: Cleaner,
    pub compactor: Compactor,
    pub analysis: Analysis,
    pub stored: Stored,
    pub waits_ms: Waits,
    pub fixed: Fixed,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub cpu_ms_per_request: f64,
    pub cpu_ms_per_mb: f64,
    pub log_bytes: f64,
    pub answer_bytes: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleaner {
    pub cpu_ms_per_invocation: f64,
    pub cpu_ms_per_mb: f64,
    pub log_bytes: f64,
    pub most_records: f64,
    pub most_bytes: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compactor {
    pub cpu_ms_per_commit: f64,
    pub cpu_ms_per_mb: f64,
    pub log_bytes: f64,
    pub info_log_bytes: f64,
    pub most_messages: f64,
    pub checkpoint_every: f64,
    pub merge_every: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    pub cpu_ms_per_run: f64,
    pub cpu_ms_per_million_posts: f64,
    pub results: f64,
    pub write_units_per_result: f64,
    pub files_per_table: f64,
    pub log_bytes: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub raw_per_byte: f64,
    pub table_per_byte: f64,
    pub key_bytes_per_record: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waits {
    pub kinesis_put: f64,
    pub s3_put: f64,
    pub s3_get: f64,
    pub s3_list: f64,
    pub dynamodb_put: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    pub metrics: f64,
    pub idle_metrics: f64,
    pub alarms: f64,
    pub sweeps_per_hour: f64,
    pub lambda_log_bytes: f64,
    pub mb_of_one_cpu: f64,
}

impl Measured {
    /// The built-in figures.
    ///
    /// # Errors
    /// If `measured.toml` is invalid, which is a bug.
    pub fn built_in() -> Result<Measured, FiguresError> {
        crate::parse("figures", "measured.toml", include_str!("measured.toml"))
    }
}

#[cfg(test)]
mod tests {
    use pinlake_platform::metrics::{CATALOGUE, Dimensions, Occurrence};

    use super::*;

    /// Datasets with records, as in the built-in catalog. The compactor has the quarantine besides.
    const DATASETS: usize = 3;
    /// What the compactor emits for the test records: freshness, rows read and inserted, objects.
    const CANARY_METRICS: usize = 4;

    #[test]
    fn the_metrics_are_the_documented_ones_that_regularly_have_values() {
        let count = |function: &str| -> usize {
            let regular = CATALOGUE.iter().filter(|metric| metric.occurrence == Occurrence::Regular);
            regular
                .filter(|metric| metric.function == function)
                .map(|metric| match (metric.dimensions, function) {
                    (Dimensions::Function, _) => 1,
                    (Dimensions::Dataset, "compactor") => DATASETS + 1,
                    (Dimensions::DatasetAndTotal, "compactor") => DATASETS + 2,
                    (Dimensions::Dataset, _) => DATASETS,
                    (Dimensions::DatasetAndTotal, _) => DATASETS + 1,
                    (Dimensions::FunctionAndTotal, _) => 2,
                })
                .sum()
        };
        let fixed = Measured::built_in().unwrap().fixed;
        let functions = ["ingest", "cleaner", "compactor", "analysis"];
        let counted: usize = functions.into_iter().map(count).sum();
        assert_eq!(fixed.metrics, (counted + CANARY_METRICS) as f64);
        // Analyses and test records run on a schedule, with or without records of users.
        assert_eq!(fixed.idle_metrics, (count("analysis") + CANARY_METRICS) as f64);
    }

    #[test]
    fn the_alarms_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        let alarms = template.lines().filter(|line| line.trim() == "Type: AWS::CloudWatch::Alarm");
        assert_eq!(Measured::built_in().unwrap().fixed.alarms, alarms.count() as f64);
    }
}
