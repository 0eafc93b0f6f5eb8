//! The catalogue of metrics: every metric that a function emits, defined once.
//!
//! `main.rs` of each function emits the constants of its module with [`Metrics`](crate::telemetry::Metrics). Tests
//! compare `docs/metrics.md`, the alarms of `template.yaml` and the counts of `pinlake cost` with [`CATALOGUE`].
//!
//! To add a metric: add a line here, emit it in `main.rs`, and add the row that the test prints to `docs/metrics.md`.
//! To add an alarm on it: add the alarm to `template.yaml`, a row to the alarms in `docs/metrics.md` and a section to
//! `docs/runbook.md`.
//!
//! ```
//! use pinlake_platform::metrics::{self, CATALOGUE, Dimensions};
//!
//! assert_eq!(metrics::cleaner::BATCHES_FAILED.name, "batches_failed");
//! assert_eq!(metrics::cleaner::BATCHES_FAILED.dimensions, Dimensions::Function);
//! let of_ingest = CATALOGUE.iter().filter(|metric| metric.function == "ingest");
//! assert!(of_ingest.count() > 0);
//! ```

/// A metric's unit, as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The name in the Embedded Metric Format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Seconds => "Seconds",
        }
    }
}

/// The dimensions of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimensions {
    /// `function`.
    Function,
    /// `function` and `dataset`; only `function` where no dataset is known, such as a request that names none.
    Dataset,
    /// As [`Dimensions::Dataset`], and again with `function` only: over all datasets, for an alarm. CloudWatch does not
    /// add up the values of a dimension.
    DatasetAndTotal,
    /// `function`, and again without a dimension: over all functions, for an alarm.
    FunctionAndTotal,
}

impl Dimensions {
    /// The names of the dimensions, in CloudWatch's order.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Function | Self::FunctionAndTotal => &["function"],
            Self::Dataset | Self::DatasetAndTotal => &["function", "dataset"],
        }
    }
}

/// When a metric has a value. CloudWatch charges for each combination of a metric and its dimensions in the hours in
/// which it has one, and zeros are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence {
    /// In every hour with records. `pinlake cost` counts these.
    Regular,
    /// Only when something fails or is unusual.
    Exceptional,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The function that emits it: the value of the dimension `function`.
    pub function: &'static str,
    /// Its name in CloudWatch, unique within the function.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Its dimensions.
    pub dimensions: Dimensions,
    /// Whether it has values while nothing fails.
    pub occurrence: Occurrence,
    /// What it counts, for `docs/metrics.md`.
    pub meaning: &'static str,
}

/// The metric that every function has. [`Metrics::emit_broken_contracts`](crate::telemetry::Metrics::emit_broken_contracts) emits it.
const CONTRACTS_BROKEN: Metric = Metric {
    function: "",
    name: "contracts_broken",
    unit: Unit::Count,
    dimensions: Dimensions::FunctionAndTotal,
    occurrence: Occurrence::Exceptional,
    meaning: "contracts that cannot be used, and a release that cannot be taken over; the statistic is Maximum",
};

/// Defines the constants of each function and [`CATALOGUE`] from one table.
macro_rules! catalogue {
    ($($(#[$doc:meta])* $function:ident {
        $($constant:ident: $name:literal, $unit:ident, $dimensions:ident, $occurrence:ident, $meaning:literal;)+
    })+) => {
        $(
            $(#[$doc])*
            pub mod $function {
                use super::{Dimensions, Metric, Occurrence, Unit};

                $(
                    #[doc = $meaning]
                    pub const $constant: Metric = Metric {
                        function: stringify!($function),
                        name: $name,
                        unit: Unit::$unit,
                        dimensions: Dimensions::$dimensions,
                        occurrence: Occurrence::$occurrence,
                        meaning: $meaning,
                    };
                )+

                /// Contracts that cannot be used, and a release that cannot be taken over.
                pub const CONTRACTS_BROKEN: Metric =
                    Metric { function: stringify!($function), ..super::CONTRACTS_BROKEN };
            }
        )+

        /// All metrics, by function.
        pub const CATALOGUE: &[Metric] = &[$($($function::$constant,)+ $function::CONTRACTS_BROKEN,)+];
    };
}

catalogue! {
    /// Metrics of ingest, emitted once per request.
    ingest {
        REQUESTS: "requests", Count, Dataset, Regular, "HTTP requests";
        REQUESTS_REJECTED: "requests_rejected", Count, Dataset, Exceptional, "requests answered with a status from 400 to 499";
        REQUESTS_FAILED: "requests_failed", Count, DatasetAndTotal, Exceptional, "requests answered with a status of 500 or above";
        BYTES: "bytes", Bytes, Dataset, Regular, "size of request bodies";
        RECORDS_STORED: "records_stored", Count, Dataset, Regular, "records that the stream stored";
        RECORDS_FAILED: "records_failed", Count, Dataset, Exceptional, "records that the stream did not store";
        RECORDS_READ: "records_read", Count, Dataset, Exceptional, "records read back through the ingest URL";
        RETRIES: "retries", Count, Dataset, Exceptional, "records put on the stream again after a failure";
    }
    /// Metrics of the cleaner, emitted once per batch and dataset.
    cleaner {
        RECORDS: "records", Count, Dataset, Regular, "records read from the event source";
        QUARANTINED: "quarantined", Count, Dataset, Regular, "records that broke their contract";
        BYTES: "bytes", Bytes, Dataset, Regular, "size of the records";
        SKIPPED: "skipped", Count, Dataset, Exceptional, "records skipped by `skip_when` of their contract; they are not among `records`";
        BATCHES_FAILED: "batches_failed", Count, Function, Exceptional, "batches that could not be landed and are delivered again";
    }
    /// Metrics of the compactor, emitted once per invocation and dataset.
    compactor {
        FILES: "files", Count, Function, Exceptional, "files of `inbox/` or a sink that were loaded";
        FILES_REJECTED: "files_rejected", Count, Function, Exceptional, "files that cannot be loaded and were moved to `failed/`";
        FILES_DISCARDED: "files_discarded", Count, Function, Exceptional, "files moved to `failed/` after three failed attempts";
        FILES_RETRIED: "files_retried", Count, Function, Exceptional, "files retried alone after a failed attempt";
        FILES_FAILED: "files_failed", Count, Function, Exceptional, "files not loaded because of an error; the trigger is delivered again";
        FILE_RECORDS: "file_records", Count, Function, Exceptional, "records in the loaded files";
        FRESHNESS: "freshness", Seconds, DatasetAndTotal, Regular, "age of the oldest record when its row was inserted, from its arrival on the stream; the statistic is Maximum";
        ROWS_READ: "rows_read", Count, Dataset, Regular, "rows of the landing objects";
        ROWS_INSERTED: "rows_inserted", Count, Dataset, Regular, "rows inserted into the table";
        ROWS_DUPLICATE: "rows_duplicate", Count, Dataset, Regular, "rows whose key the table already had";
        OBJECTS: "objects", Count, Dataset, Regular, "landing objects inserted and removed";
        OBJECTS_CLEANED_AGAIN: "objects_cleaned_again", Count, Dataset, Exceptional, "landing objects written under an earlier contract and cleaned again from `raw/`";
        FILES_MERGED: "files_merged", Count, Dataset, Regular, "data files merged into larger ones";
        OBJECTS_FAILED: "objects_failed", Count, DatasetAndTotal, Exceptional, "landing objects that cannot be read and were moved to `failed/`";
        FAILURES: "failures", Count, DatasetAndTotal, Exceptional, "datasets whose compaction failed";
    }
    /// Metrics of analysis, emitted once per run.
    analysis {
        RESULTS: "results", Count, Function, Regular, "results stored";
        FAILURES: "failures", Count, Function, Exceptional, "runs that failed";
    }
    /// Metrics of report, emitted once per request.
    report {
        REQUESTS: "requests", Count, Function, Exceptional, "HTTP requests";
        REQUESTS_REJECTED: "requests_rejected", Count, Function, Exceptional, "requests answered with a status from 400 to 499";
        REQUESTS_FAILED: "requests_failed", Count, Function, Exceptional, "requests answered with a status of 500 or above";
        BYTES: "bytes", Bytes, Function, Exceptional, "size of responses";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Reads a file of the repository.
    fn read(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The table of `docs/metrics.md`.
    fn markdown() -> String {
        let mut table =
            "| function | metric | unit | dimensions | meaning |\n|---|---|---|---|---|\n".to_owned();
        for Metric { function, name, unit, dimensions, meaning, .. } in CATALOGUE {
            let total = match dimensions {
                Dimensions::DatasetAndTotal => "; function",
                Dimensions::FunctionAndTotal => "; none",
                Dimensions::Function | Dimensions::Dataset => "",
            };
            let dimensions = dimensions.names().join(", ") + total;
            writeln!(table, "| {function} | `{name}` | {} | {dimensions} | {meaning} |", unit.name())
                .unwrap();
        }
        table
    }

    #[test]
    fn names_are_unique_within_a_function() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| (metric.function, metric.name)).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn the_documentation_has_the_table_of_the_catalogue() {
        let table = markdown();
        assert!(
            read("docs/metrics.md").contains(&table),
            "docs/metrics.md should contain this table:\n{table}"
        );
    }

    #[test]
    fn each_function_emits_its_metrics_and_no_others() {
        for function in CATALOGUE.iter().map(|metric| metric.function).collect::<BTreeSet<_>>() {
            let main = read(&format!("functions/{function}/src/main.rs"));
            assert!(main.contains(&format!("metrics::{function} as metric")), "{function}");
            let emitted: BTreeSet<&str> = main
                .split("metric::")
                .skip(1)
                .filter_map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next())
                .collect();
            let source = read("shared/platform/src/metrics.rs");
            let (_, block) = source.split_once(&format!("\n    {function} {{\n")).unwrap();
            let (block, _) = block.split_once("\n    }\n").unwrap();
            let defined = block.lines().filter_map(|line| Some(line.trim().split_once(": ")?.0));
            let defined = defined.chain(["CONTRACTS_BROKEN"]).collect();
            assert_eq!(emitted, defined, "{function}");
        }
    }
}
