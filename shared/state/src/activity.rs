//! What the commits of a table did, by hour or by day.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use pinlake_report::{Activity, Maintenance, Period};

use crate::commits::NewestCommits;

pub(crate) const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;
/// Days up to which commits are summed by hour, if not all of them were read.
const MAX_DAYS_OF_HOURS: i64 = 2;

/// Numbers of quarantined records by the hour of their arrival.
pub(crate) type QuarantinedByHour = BTreeMap<DateTime<Utc>, u64>;

/// Sums the commits of a table, and the quarantined records that arrived since `since`. None without either.
pub(crate) fn summarize(
    found: &NewestCommits,
    quarantined: &QuarantinedByHour,
    checkpoint_version: Option<u64>,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Activity> {
    let oldest = found.commits.last().map(|commit| commit.committed_at);
    let begin = oldest.filter(|_| found.is_truncated).unwrap_or(since);
    let is_short = found.is_truncated && now - begin < TimeDelta::days(MAX_DAYS_OF_HOURS);
    let period_seconds = if is_short { HOUR } else { DAY };
    let begin = truncate(begin, period_seconds);
    let mut periods: BTreeMap<DateTime<Utc>, Period> = BTreeMap::new();
    for commit in &found.commits {
        let period = Period {
            commits: 1,
            read: commit.read.unwrap_or(0),
            inserted: commit.inserted.unwrap_or(0),
            superseded: commit.superseded.unwrap_or(0),
            duplicates: commit.duplicates.unwrap_or(0),
            outdated: commit.outdated.unwrap_or(0),
            deleted: commit.deleted.unwrap_or(0),
            ..Period::default()
        };
        periods.entry(truncate(commit.committed_at, period_seconds)).or_default().add(&period);
    }
    for (hour, records) in quarantined.range(begin..) {
        let period = Period { quarantined: *records, ..Period::default() };
        periods.entry(truncate(*hour, period_seconds)).or_default().add(&period);
    }
    periods.iter_mut().for_each(|(from, period)| period.from = *from);
    let first = periods.first_key_value().map(|(from, _)| *from)?;
    let merges = || found.commits.iter().filter(|commit| commit.is_merge());
    Some(Activity {
        commits: found.commits.len() as u64,
        since: oldest.unwrap_or(first),
        is_truncated: found.is_truncated,
        period_seconds,
        periods: periods.into_values().collect(),
        maintenance: Maintenance {
            merges: merges().count() as u64,
            files_replaced: merges().map(|commit| commit.files_removed).sum(),
            files_written: merges().map(|commit| commit.files_added).sum(),
            last_merge_at: merges().map(|commit| commit.committed_at).max(),
            checkpoint_version,
        },
    })
}

/// The beginning of the period in which a time is.
pub(crate) fn truncate(at: DateTime<Utc>, seconds: u32) -> DateTime<Utc> {
    let since_1970 = at.timestamp();
    DateTime::from_timestamp(since_1970 - since_1970.rem_euclid(seconds.into()), 0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinlake_lake::Commit;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2022-10-{text}:00Z").parse().unwrap()
    }

    fn commit(time: &str, inserted: u64) -> Commit {
        let (read, duplicates) = (Some(inserted + 1), Some(1));
        Commit { committed_at: at(time), inserted: Some(inserted), read, duplicates, ..Commit::default() }
    }

    fn merge(time: &str) -> Commit {
        let operation = Some("OPTIMIZE".to_owned());
        Commit { committed_at: at(time), operation, files_added: 1, files_removed: 32, ..Commit::default() }
    }

    #[test]
    fn commits_and_quarantine_are_summed_by_day() {
        let commits =
            vec![merge("19T11:30"), commit("19T10:00", 5), commit("18T23:59", 7), commit("18T00:00", 2)];
        let found = NewestCommits { commits, ..NewestCommits::default() };
        let quarantined = [("01T00:00", 9), ("18T03:00", 2), ("18T04:00", 1), ("17T23:00", 4)];
        let quarantined = quarantined.map(|(time, records)| (at(time), records)).into();
        let activity = summarize(&found, &quarantined, Some(50), at("02T12:00"), at("19T12:00")).unwrap();
        assert_eq!((activity.commits, activity.since, activity.period_seconds), (4, at("18T00:00"), DAY));
        let [before, first, last] = &activity.periods[..] else { panic!("{activity:?}") };
        assert_eq!((before.from, before.quarantined, before.read), (at("17T00:00"), 4, 0));
        assert_eq!((first.commits, first.read, first.inserted, first.duplicates), (2, 11, 9, 2));
        assert_eq!((first.quarantined, first.share_quarantined()), (3, Some(3.0 / 14.0)));
        assert_eq!((last.from, last.commits, last.inserted), (at("19T00:00"), 2, 5));
        let maintenance = &activity.maintenance;
        assert_eq!((maintenance.merges, maintenance.files_replaced, maintenance.files_written), (1, 32, 1));
        assert_eq!(
            (maintenance.last_merge_at, maintenance.checkpoint_version),
            (Some(at("19T11:30")), Some(50))
        );
        assert_eq!(
            summarize(&NewestCommits::default(), &Default::default(), None, at("01T00:00"), at("19T12:00")),
            None
        );
    }

    #[test]
    fn many_commits_of_a_short_time_are_summed_by_hour() {
        let commits = vec![commit("19T11:59", 1), commit("19T10:30", 1)];
        let found = NewestCommits { commits, is_truncated: true, created_at: None };
        let quarantined =
            [("19T09:00", 9), ("19T10:00", 2)].map(|(time, records)| (at(time), records)).into();
        let activity = summarize(&found, &quarantined, None, at("01T00:00"), at("19T12:00")).unwrap();
        assert_eq!((activity.period_seconds, activity.periods.len()), (HOUR, 2));
        assert_eq!(activity.periods[0].quarantined, 2);
        assert!(!activity.is_complete(&activity.periods[0]) && activity.is_complete(&activity.periods[1]));
    }
}
