//! What the stack of a lake costs this month, by the model of `pinlake cost`.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use pinlake_cost::{Bill, FiguresError, Measured, Prices, Settings, Workload};
use pinlake_report::CostEstimate;

use crate::activity::{HOUR, QuarantinedByHour, truncate};
use crate::commits::NewestCommits;

const SECONDS_PER_DAY: f64 = 86_400.0;
/// The freshness of the template's default, `balanced`, in seconds.
const FRESHNESS: f64 = 60.0;

/// What is known of a dataset.
pub(crate) struct DatasetUse<'a> {
    pub commits: &'a NewestCommits,
    pub quarantined: &'a QuarantinedByHour,
    pub rows: u64,
    pub bytes: u64,
}

/// Estimates the cost. None if no record came this month.
///
/// # Errors
/// If the built-in prices are invalid, which is a bug.
pub(crate) fn estimate(
    datasets: &[DatasetUse<'_>],
    now: DateTime<Utc>,
) -> Result<Option<CostEstimate>, FiguresError> {
    let month = begin_of_month(now);
    let created = datasets.iter().filter(|dataset| !dataset.commits.commits.is_empty());
    // A table whose first commit is gone existed before.
    let created = created.map(|dataset| dataset.commits.created_at.unwrap_or(month)).min();
    let since = created.unwrap_or(month).max(month);
    let days = |from: DateTime<Utc>| (now - from).max(TimeDelta::zero()).as_seconds_f64() / SECONDS_PER_DAY;

    let (mut per_day, mut records, mut used, mut is_projected) = (0.0, 0.0, 0, false);
    for DatasetUse { commits, quarantined, .. } in datasets {
        let oldest = commits.commits.last().map(|commit| commit.committed_at);
        let is_cut = commits.is_truncated && oldest.is_some_and(|oldest| oldest > since);
        let from = oldest.filter(|_| is_cut).unwrap_or(since);
        // Records are counted by hour, and a table may be created within the first.
        let hour = truncate(from, HOUR);
        let read = commits.commits.iter().filter(|commit| commit.committed_at >= from);
        let read: u64 = read.filter_map(|commit| commit.read).sum();
        let known = (read + quarantined.range(hour..).map(|(_, records)| records).sum::<u64>()) as f64;
        // What came within the first day is not multiplied to a month of such days.
        let rate = known / if is_cut { days(from).max(1.0 / SECONDS_PER_DAY) } else { days(from).max(1.0) };
        per_day += rate;
        records += if is_cut { rate * days(since) } else { known };
        is_projected |= is_cut;
        used += usize::from(known > 0.0);
    }
    if used == 0 {
        return Ok(None);
    }
    let (prices, measured) = (Prices::built_in()?, Measured::built_in()?);
    let rows: u64 = datasets.iter().map(|dataset| dataset.rows).sum();
    let bytes: u64 = datasets.iter().map(|dataset| dataset.bytes).sum();
    let default = Workload::default();
    let bytes_per_record = match rows {
        0 => default.bytes_per_record,
        rows => bytes as f64 / rows as f64 / measured.stored.table_per_byte,
    };
    // Whole numbers, so that `pinlake cost` gives the same bill for what a page says.
    let records_per_day = per_day.round();
    let workload = Workload {
        records_per_second: records_per_day / SECONDS_PER_DAY,
        bytes_per_record: bytes_per_record.round().max(1.0),
        datasets: used as f64,
        analysed_posts: (rows as f64 / 3.0).round(),
        ..default
    };
    let bill = Bill::for_pinlake(&workload, &Settings::default_for(FRESHNESS), &prices, &measured);
    let mut services: BTreeMap<String, f64> = BTreeMap::new();
    for line in &bill.lines {
        *services.entry(line.service.to_owned()).or_default() += line.usd_per_month;
    }
    let usd_per_month = bill.usd_per_month();
    Ok(Some(CostEstimate {
        since,
        records: records.round() as u64,
        is_projected,
        records_per_day,
        bytes_per_record: workload.bytes_per_record,
        batch: workload.batch,
        datasets: workload.datasets,
        analysed_posts: workload.analysed_posts,
        usd: usd_per_month * days(since) * 24.0 / prices.hours_per_month,
        usd_per_month,
        services,
        prices_of: prices.as_of,
        region: prices.region,
    }))
}

fn begin_of_month(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = NaiveDate::from_ymd_opt(now.year(), now.month(), 1).and_then(|day| day.and_hms_opt(0, 0, 0));
    first.map_or(now, |first| first.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinlake_lake::Commit;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2022-{text}:00Z").parse().unwrap()
    }

    fn commits(is_truncated: bool, created_at: Option<&str>, times: &[(&str, u64)]) -> NewestCommits {
        let commit = |(time, read): &(&str, u64)| Commit {
            committed_at: at(time),
            read: Some(*read),
            ..Commit::default()
        };
        NewestCommits {
            commits: times.iter().map(commit).collect(),
            is_truncated,
            created_at: created_at.map(at),
        }
    }

    fn estimate_of(commits: &NewestCommits, quarantined: &QuarantinedByHour) -> Option<CostEstimate> {
        let dataset = DatasetUse { commits, quarantined, rows: 3000, bytes: 570_000 };
        estimate(&[dataset], at("10-11T00:00")).unwrap()
    }

    #[test]
    fn the_records_of_the_month_are_billed_since_its_begin() {
        let found = commits(
            false,
            Some("09-20T00:00"),
            &[("10-10T12:00", 600), ("10-01T00:00", 300), ("09-30T23:59", 9)],
        );
        let quarantined = [(at("10-02T00:00"), 100), (at("09-02T00:00"), 5)].into();
        let cost = estimate_of(&found, &quarantined).unwrap();
        assert_eq!((cost.since, cost.records, cost.records_per_day), (at("10-01T00:00"), 1000, 100.0));
        // 190 bytes a row in the table are 1,000 bytes of JSON.
        assert_eq!((cost.bytes_per_record, cost.analysed_posts, cost.datasets), (1000.0, 1000.0, 1.0));
        assert!((cost.usd - cost.usd_per_month * 240.0 / 730.0).abs() < 1e-9 && !cost.is_projected);
        assert!((cost.services.values().sum::<f64>() - cost.usd_per_month).abs() < 1e-9, "{cost:?}");
        assert!(cost.services["Kinesis"] > 10.0, "a shard costs without records");
    }

    #[test]
    fn commits_that_were_not_read_are_projected() {
        let found = commits(true, Some("10-06T00:00"), &[("10-10T18:00", 1000), ("10-10T12:00", 1000)]);
        let cost = estimate_of(&found, &Default::default()).unwrap();
        // 2,000 in half a day, for five days.
        assert_eq!((cost.since, cost.records_per_day, cost.records), (at("10-06T00:00"), 4000.0, 20_000));
        assert!(cost.is_projected);
    }

    #[test]
    fn a_load_of_today_is_not_multiplied() {
        let found = commits(false, Some("10-10T23:00"), &[("10-10T23:00", 500)]);
        let cost = estimate_of(&found, &Default::default()).unwrap();
        assert_eq!((cost.records_per_day, cost.records), (500.0, 500));
        let within = commits(false, Some("10-10T23:30"), &[("10-10T23:30", 500)]);
        let quarantined = [(at("10-10T22:00"), 4), (at("10-10T23:00"), 2)].into();
        assert_eq!(estimate_of(&within, &quarantined).unwrap().records, 502, "they arrived in the same hour");
        let old = commits(false, Some("09-01T00:00"), &[("09-10T23:00", 500)]);
        assert_eq!(estimate_of(&old, &Default::default()), None, "nothing came this month");
    }
}
