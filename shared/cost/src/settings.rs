//! The template parameters that decide cost and freshness.

use serde::Serialize;

/// A configuration of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// The name of the column.
    pub name: &'static str,
    /// `CleanerWindowSeconds`.
    pub cleaner_window: f64,
    /// `CompactorWindowSeconds`.
    pub compactor_window: f64,
    /// Whether the cleaner triggers the compactor itself, in addition to S3.
    pub direct_triggers: bool,
    /// Whether the stream keeps records for more than a day.
    pub long_retention: bool,
    /// Planned utilisation of a shard, from 0 to 1.
    pub shard_fill: f64,
    /// Runs of the analyses per day.
    pub analyses_per_day: f64,
    /// Whether `LogLevel` includes the line of each commit. The one line of a request is its metrics.
    pub info_logs: bool,
    /// Memory of the functions in MB.
    pub memory: Memory,
}

/// `MemorySize` of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names of the functions say it")]
pub struct Memory {
    pub ingest: f64,
    pub cleaner: f64,
    pub compactor: f64,
    pub analysis: f64,
}

/// The values of template.yaml.
const TEMPLATE: Memory = Memory { ingest: 512.0, cleaner: 1024.0, compactor: 2048.0, analysis: 3008.0 };

impl Settings {
    /// The settings of the template, with windows for a freshness in seconds.
    pub fn default_for(freshness: f64) -> Settings {
        Settings {
            name: "default",
            // Half of the time is for the stream and a third for landing (60 s: 30 and 20 as in the template).
            cleaner_window: (freshness / 2.0).floor().clamp(0.0, 300.0),
            compactor_window: (freshness / 3.0).floor().clamp(1.0, 300.0),
            direct_triggers: false,
            long_retention: true,
            shard_fill: 0.8,
            analyses_per_day: 24.0,
            info_logs: true,
            memory: TEMPLATE,
        }
    }

    /// The columns of a bill: the template with windows for `freshness`, and with `Freshness` set to `economy` and `fast`.
    pub fn columns(freshness: f64) -> [Settings; 3] {
        let default = Settings::default_for(freshness);
        let economy =
            Settings { name: "economy", cleaner_window: 300.0, compactor_window: 300.0, ..default.clone() };
        let fast = Settings {
            name: "fast",
            cleaner_window: 0.0,
            compactor_window: 1.0,
            direct_triggers: true,
            ..default.clone()
        };
        [default, economy, fast]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_are_those_of_the_template() {
        let template = include_str!("../../../template.yaml");
        let [mut balanced, economy, fast] = Settings::columns(60.0);
        balanced.name = "balanced";
        for Settings { name, cleaner_window, compactor_window, .. } in [balanced, economy, fast] {
            let line = format!("    {name}: {{Cleaner: {cleaner_window}, Compactor: {compactor_window}}}\n");
            assert!(template.contains(&line), "{line}");
        }
    }
}
