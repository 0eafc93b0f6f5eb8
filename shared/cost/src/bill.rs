//! Calculates the bill of a workload.

use std::borrow::Cow;

use serde::Serialize;

use crate::measured::Measured;
use crate::prices::Prices;
use crate::settings::Settings;

const BYTES_PER_GB: f64 = 1e9;
/// The gigabyte of Firehose and CloudWatch Logs.
const BYTES_PER_GIB: f64 = 1_073_741_824.0;
const SECONDS_PER_HOUR: f64 = 3600.0;
const DAYS_PER_MONTH: f64 = 365.0 / 12.0;
/// Lambda polls a shard once per second if there is no batching window.
const MIN_POLL_SECONDS: f64 = 1.0;
/// Messages per call to SQS.
const SQS_BATCH: f64 = 10.0;

/// The incoming records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Workload {
    /// Mean of the records per second.
    pub records_per_second: f64,
    /// Size of a record as JSON.
    pub bytes_per_record: f64,
    /// Records per request.
    pub batch: f64,
    /// Number of datasets.
    pub datasets: f64,
    /// Posts (one row in each of three tables) that an analysis reads.
    pub analysed_posts: f64,
}

impl Default for Workload {
    /// A million records of 1,000 bytes a day, 500 per request.
    fn default() -> Workload {
        let records_per_second = 1e6 / 86_400.0;
        Workload {
            records_per_second,
            bytes_per_record: 1000.0,
            batch: 500.0,
            datasets: 3.0,
            analysed_posts: 1e6,
        }
    }
}

impl Workload {
    /// Records in a month of [`Prices::hours_per_month`].
    pub fn records_per_month(&self, prices: &Prices) -> f64 {
        self.records_per_second * prices.hours_per_month * SECONDS_PER_HOUR
    }
}

/// A line of a bill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The service of AWS.
    pub service: &'static str,
    /// What is billed.
    pub what: Cow<'static, str>,
    /// Quantity per month.
    pub quantity: f64,
    /// Its cost in US dollars.
    pub usd_per_month: f64,
}

/// The bill of a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    /// One line for each kind of use.
    pub lines: Vec<Line>,
    /// Shards of the stream.
    pub shards: f64,
    /// Records in the month.
    pub records_per_month: f64,
    /// Events per second; only for pinlake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
}

impl Bill {
    /// The total.
    pub fn usd_per_month(&self) -> f64 {
        self.lines.iter().map(|line| line.usd_per_month).sum()
    }

    /// The cost of the shards, which does not depend on the records.
    pub fn usd_of_shards(&self) -> f64 {
        self.lines
            .iter()
            .filter(|line| line.what.starts_with("shard-hours"))
            .map(|line| line.usd_per_month)
            .sum()
    }

    /// The cost without the shards.
    pub fn usd_above_shards(&self) -> f64 {
        self.usd_per_month() - self.usd_of_shards()
    }

    /// Converts USD per month to USD per million records; `None` without records.
    pub fn per_million(&self, usd: f64) -> Option<f64> {
        (self.records_per_month > 0.0).then(|| usd / self.records_per_month * 1e6)
    }

    /// Calculates the bill of pinlake for `workload` under `settings`.
    pub fn for_pinlake(
        workload: &Workload,
        settings: &Settings,
        prices: &Prices,
        measured: &Measured,
    ) -> Bill {
        let month = prices.hours_per_month * SECONDS_PER_HOUR;
        let flow = Flow::new(workload, settings, prices, measured);
        let mut lines = Vec::new();
        let mut line = |service, what: &'static str, quantity: f64, price: f64| {
            lines.push(Line { service, what: what.into(), quantity, usd_per_month: quantity * price });
        };
        let analyses = settings.analyses_per_day * DAYS_PER_MONTH;

        let lambda = &prices.lambda;
        let per_call = lambda.per_million_requests / 1e6;
        line("Lambda", "calls: ingest", flow.requests * month, per_call);
        line("Lambda", "calls: cleaner", flow.cleanings * month, per_call);
        line("Lambda", "calls: compactor", flow.compactions * month, per_call);
        line("Lambda", "calls: analysis", analyses, per_call);
        let seconds = flow.seconds;
        let gb_seconds = |calls: f64, seconds: f64, memory: f64| calls * seconds * memory / 1024.0;
        let memory = &settings.memory;
        let ingest = gb_seconds(flow.requests * month, seconds.ingest, memory.ingest);
        line("Lambda", "GB-seconds: ingest", ingest, lambda.per_gb_second);
        let cleaner = gb_seconds(flow.cleanings * month, seconds.cleaner, memory.cleaner);
        line("Lambda", "GB-seconds: cleaner", cleaner, lambda.per_gb_second);
        let compactor = gb_seconds(flow.compactions * month, seconds.compactor, memory.compactor);
        line("Lambda", "GB-seconds: compactor", compactor, lambda.per_gb_second);
        let analysis = gb_seconds(analyses, seconds.analysis, memory.analysis);
        line("Lambda", "GB-seconds: analysis", analysis, lambda.per_gb_second);

        let kinesis = &prices.kinesis;
        let hours = flow.shards * prices.hours_per_month;
        line("Kinesis", "shard-hours", hours, kinesis.per_shard_hour);
        if settings.long_retention {
            line("Kinesis", "shard-hours, beyond a day", hours, kinesis.per_shard_hour_beyond_a_day);
        }
        line("Kinesis", "put units of 25 KB", flow.units * month, kinesis.per_million_units / 1e6);
        let keys = prices.kms.stream_requests_per_hour * prices.hours_per_month;
        line("KMS", "calls for the stream's key", keys, prices.kms.per_10_000_requests / 1e4);

        let s3 = &prices.s3;
        let (per_put, per_get) = (s3.per_1_000_puts_and_lists / 1e3, s3.per_1_000_gets / 1e3);
        line("S3", "puts: raw records, landing, watermarks", flow.landing_puts() * month, per_put);
        line("S3", "puts and lists: tables", flow.table_puts(measured) * month, per_put);
        line(
            "S3",
            "gets",
            flow.gets(measured) * month + analyses * flow.analysis_gets(workload, measured),
            per_get,
        );
        let kept = &measured.stored;
        let bytes =
            workload.bytes_per_record * (kept.raw_per_byte + kept.table_per_byte) + kept.key_bytes_per_record;
        let stored = workload.records_per_month(prices) * bytes / BYTES_PER_GB;
        line("S3", "GB kept for a month", stored, s3.per_gb_month);

        line(
            "SQS",
            "calls",
            flow.queue_calls(settings, prices, measured) * month,
            prices.sqs.per_million_requests / 1e6,
        );
        let writes = analyses * measured.analysis.results * measured.analysis.write_units_per_result;
        line("DynamoDB", "write units", writes, prices.dynamodb.per_million_write_units / 1e6);

        let cloudwatch = &prices.cloudwatch;
        let logs = (flow.log_bytes(settings, measured) * month + analyses * measured.analysis.log_bytes)
            / BYTES_PER_GIB;
        line("CloudWatch", "GB of logs", logs, cloudwatch.per_gb_logs);
        let metrics = if flow.requests > 0.0 { measured.fixed.metrics } else { measured.fixed.idle_metrics };
        line("CloudWatch", "metrics", metrics, cloudwatch.per_metric_month);
        line("CloudWatch", "alarms", measured.fixed.alarms, cloudwatch.per_alarm_month);
        let answers = flow.requests * month * measured.ingest.answer_bytes / BYTES_PER_GB;
        line("Transfer", "GB of answers to clients", answers, prices.transfer.per_gb_out);

        Bill {
            lines,
            shards: flow.shards,
            records_per_month: workload.records_per_month(prices),
            flow: Some(flow),
        }
    }

    /// Calculates the bill of Firehose with conversion to Parquet, without its producer.
    pub fn for_firehose(workload: &Workload, prices: &Prices) -> Bill {
        let firehose = &prices.firehose;
        let records = workload.records_per_month(prices);
        let billed = (workload.bytes_per_record / firehose.round_up_bytes).ceil() * firehose.round_up_bytes;
        let gb = records * billed / BYTES_PER_GIB;
        let line = |what: &'static str, price: f64| Line {
            service: "Firehose",
            what: what.into(),
            quantity: gb,
            usd_per_month: gb * price,
        };
        Bill {
            lines: vec![
                line("GB in, each record as 5 KB", firehose.per_gb_in),
                line("GB made Parquet", firehose.per_gb_converted),
            ],
            shards: 0.0,
            records_per_month: records,
            flow: None,
        }
    }
}

/// Events per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Flow {
    requests: f64,
    /// Kinesis records, and the units in which they are billed.
    stream_records: f64,
    units: f64,
    shards: f64,
    cleanings: f64,
    /// Landing objects per invocation of the cleaner.
    objects: f64,
    compactions: f64,
    /// Commits per invocation of the compactor.
    commits: f64,
    sweeps: f64,
    datasets: f64,
    /// Duration of a call.
    seconds: Seconds,
}

/// Duration of a call of each function.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
struct Seconds {
    ingest: f64,
    cleaner: f64,
    compactor: f64,
    analysis: f64,
}

impl Flow {
    fn new(workload: &Workload, settings: &Settings, prices: &Prices, measured: &Measured) -> Flow {
        let kinesis = &prices.kinesis;
        let requests = workload.records_per_second / workload.batch;
        // With the newline. Ingest packs the lines of a request into stream records of up to one unit.
        let line = workload.bytes_per_record + 1.0;
        let lines_per_record = (kinesis.unit_bytes / line).floor().max(1.0);
        let stream_records = requests * (workload.batch / lines_per_record).ceil();
        let bytes = workload.records_per_second * line;
        let units_per_record = (line * lines_per_record.min(workload.batch) / kinesis.unit_bytes).ceil();
        let needed =
            (bytes / kinesis.shard_bytes_per_second).max(stream_records / kinesis.shard_records_per_second);
        let shards = (needed / settings.shard_fill).ceil().max(1.0);

        // The cleaner runs when its window ends or its batch is full, and only if there are records.
        let (shard_records, shard_bytes) = (stream_records / shards, bytes / shards);
        let by_window = 1.0 / settings.cleaner_window.max(MIN_POLL_SECONDS);
        let by_size =
            (shard_records / measured.cleaner.most_records).max(shard_bytes / measured.cleaner.most_bytes);
        let cleanings = by_window.max(by_size).min(shard_records) * shards;
        let lines_per_cleaning = if cleanings > 0.0 { workload.records_per_second / cleanings } else { 0.0 };
        let objects = workload.datasets.min(lines_per_cleaning);

        let landed = cleanings * objects;
        let by_window = 1.0 / settings.compactor_window.max(MIN_POLL_SECONDS);
        let by_size = landed / measured.compactor.most_messages;
        let sweeps = measured.fixed.sweeps_per_hour / SECONDS_PER_HOUR;
        let busy = by_window.max(by_size).min(landed);
        let commits = if busy > 0.0 { workload.datasets.min(landed / busy) } else { 0.0 };
        let mut flow = Flow {
            requests,
            stream_records,
            units: stream_records * units_per_record,
            shards,
            cleanings,
            objects,
            compactions: busy + sweeps,
            commits: if busy > 0.0 { commits * busy / (busy + sweeps) } else { 0.0 },
            sweeps,
            datasets: workload.datasets,
            seconds: Seconds::default(),
        };
        flow.seconds = flow.call_seconds(workload, settings, measured);
        flow
    }

    fn commits_per_second(&self) -> f64 {
        self.compactions * self.commits
    }

    fn landed(&self) -> f64 {
        self.cleanings * self.objects
    }

    /// Puts of the cleaner: a raw object, a landing object per dataset, the watermark.
    fn landing_puts(&self) -> f64 {
        self.cleanings * (2.0 + self.objects)
    }

    /// Puts and lists of the compactor. A commit lists landing and the log, and puts data, keys and a log entry; some commits
    /// also write a checkpoint and its pointer, or a merge. A sweep lists landing for each dataset and for quarantine.
    fn table_puts(&self, measured: &Measured) -> f64 {
        let compactor = &measured.compactor;
        let per_commit = 5.0 + 2.0 / compactor.checkpoint_every + 4.0 / compactor.merge_every;
        self.commits_per_second() * per_commit + self.sweeps * (self.datasets + 1.0)
    }

    /// Gets: each landing object, each watermark, the log entries of other writers, and the files of a merge.
    fn gets(&self, measured: &Measured) -> f64 {
        let merges = self.commits_per_second() / measured.compactor.merge_every;
        self.landed()
            + self.cleanings
            + self.commits_per_second()
            + merges * 2.0 * measured.compactor.merge_every
    }

    /// Gets of an analysis: the log of each table, and the footer and columns of each file.
    fn analysis_gets(&self, workload: &Workload, measured: &Measured) -> f64 {
        workload.datasets * (2.0 + 2.0 * measured.analysis.files_per_table)
    }

    /// Calls to SQS. S3 sends a message per object; messages are received and deleted in batches. An idle queue is polled too.
    fn queue_calls(&self, settings: &Settings, prices: &Prices, measured: &Measured) -> f64 {
        let direct = if settings.direct_triggers { self.cleanings } else { 0.0 };
        let sent = self.landed() + direct + measured.fixed.sweeps_per_hour / SECONDS_PER_HOUR;
        let idle = prices.sqs.idle_polls_per_hour / SECONDS_PER_HOUR;
        sent + idle.max(sent / SQS_BATCH) + sent / SQS_BATCH
    }

    fn log_bytes(&self, settings: &Settings, measured: &Measured) -> f64 {
        let info = |bytes: f64| if settings.info_logs { bytes } else { 0.0 };
        let (ingest, compactor) = (&measured.ingest, &measured.compactor);
        let lambda = measured.fixed.lambda_log_bytes;
        self.requests * (lambda + ingest.log_bytes)
            + self.cleanings * (lambda + measured.cleaner.log_bytes)
            + self.compactions * (lambda + compactor.log_bytes + info(compactor.info_log_bytes))
    }

    /// The duration of a call: its CPU time divided by its share of a processor, and its waits for AWS.
    fn call_seconds(&self, workload: &Workload, settings: &Settings, measured: &Measured) -> Seconds {
        let (memory, waits) = (&settings.memory, &measured.waits_ms);
        let line = workload.bytes_per_record + 1.0;
        let mb_per_second = workload.records_per_second * line / 1e6;
        let each = |calls: f64| if calls > 0.0 { mb_per_second / calls } else { 0.0 };
        let time = |cpu: f64, memory: f64, wait: f64| {
            (cpu / (memory / measured.fixed.mb_of_one_cpu).min(1.0) + wait) / 1e3
        };
        let ingest =
            measured.ingest.cpu_ms_per_request + measured.ingest.cpu_ms_per_mb * workload.batch * line / 1e6;
        let cleaner =
            measured.cleaner.cpu_ms_per_invocation + measured.cleaner.cpu_ms_per_mb * each(self.cleanings);
        let per_commit = measured.compactor.cpu_ms_per_commit;
        let compactor = per_commit * self.commits + measured.compactor.cpu_ms_per_mb * each(self.compactions);
        let (analysis, posts) = (&measured.analysis, workload.analysed_posts / 1e6);
        Seconds {
            ingest: time(ingest, memory.ingest, waits.kinesis_put),
            // The raw object, then all landing objects concurrently, then the watermark.
            cleaner: time(cleaner, memory.cleaner, 3.0 * waits.s3_put + waits.s3_get),
            // One table after the other: two lists, all objects concurrently, files, log entry, removal.
            compactor: time(
                compactor,
                memory.compactor,
                self.commits.max(1.0) * 2.0 * waits.s3_list
                    + self.commits * (2.0 * waits.s3_get + 3.0 * waits.s3_put),
            ),
            analysis: time(
                analysis.cpu_ms_per_run + analysis.cpu_ms_per_million_posts * posts,
                memory.analysis,
                3.0 * (waits.s3_list + 3.0 * waits.s3_get) + 2.0 * analysis.results * waits.dynamodb_put,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round prices, so that a bill can be calculated manually.
    fn prices() -> Prices {
        let text = r#"
            as_of = "test"
            region = "test"
            hours_per_month = 1000
            lambda = { per_million_requests = 1, per_gb_second = 0.001 }
            kinesis = { per_shard_hour = 0.01, per_shard_hour_beyond_a_day = 0.02, per_million_units = 10, unit_bytes = 10010, shard_bytes_per_second = 1001000, shard_records_per_second = 1000 }
            kms = { per_10_000_requests = 1, stream_requests_per_hour = 20 }
            s3 = { per_1_000_puts_and_lists = 0.01, per_1_000_gets = 0.001, per_gb_month = 0.1 }
            sqs = { per_million_requests = 1, idle_polls_per_hour = 1000 }
            dynamodb = { per_million_write_units = 1000 }
            cloudwatch = { per_gb_logs = 1, per_metric_month = 1, per_alarm_month = 2 }
            transfer = { per_gb_out = 1 }
            firehose = { per_gb_in = 1, per_gb_converted = 0.5, round_up_bytes = 5120 }
            api_gateway = { per_million_requests = 1 }
            replaced = {}
        "#;
        toml::from_str(text).unwrap()
    }

    fn measured() -> Measured {
        let text = r#"
            measured = "test"
            ingest = { cpu_ms_per_request = 1, cpu_ms_per_mb = 0, log_bytes = 150, answer_bytes = 1000 }
            cleaner = { cpu_ms_per_invocation = 100, cpu_ms_per_mb = 0, log_bytes = 0, most_records = 1000, most_bytes = 1e9 }
            compactor = { cpu_ms_per_commit = 10, cpu_ms_per_mb = 0, log_bytes = 0, info_log_bytes = 0, most_messages = 1000, checkpoint_every = 2, merge_every = 4 }
            analysis = { cpu_ms_per_run = 1000, cpu_ms_per_million_posts = 1000, results = 10, write_units_per_result = 2, files_per_table = 1, log_bytes = 0 }
            stored = { raw_per_byte = 0.2, table_per_byte = 0.3, key_bytes_per_record = 0 }
            waits_ms = { kinesis_put = 9, s3_put = 0, s3_get = 0, s3_list = 0, dynamodb_put = 0 }
            fixed = { metrics = 60, idle_metrics = 30, alarms = 5, sweeps_per_hour = 0, lambda_log_bytes = 350, mb_of_one_cpu = 1024 }
        "#;
        toml::from_str(text).unwrap()
    }

    fn settings() -> Settings {
        Settings {
            analyses_per_day: 12.0,
            cleaner_window: 10.0,
            compactor_window: 20.0,
            shard_fill: 1.0,
            ..Settings::default_for(60.0)
        }
    }

    /// 1,000 records of 1,000 bytes per second, ten per request: 3.6e9 records in a month of 1,000 hours.
    const BUSY: Workload = Workload {
        records_per_second: 1000.0,
        bytes_per_record: 1000.0,
        batch: 10.0,
        datasets: 3.0,
        analysed_posts: 1e6,
    };

    fn usd(bill: &Bill, service: &str, what: &str) -> f64 {
        let line = bill.lines.iter().find(|line| line.service == service && line.what.starts_with(what));
        line.unwrap_or_else(|| panic!("no line {service} {what}")).usd_per_month
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} is not {b}");
    }

    #[test]
    fn a_busy_month_costs_what_a_manual_calculation_gives() {
        let bill = Bill::for_pinlake(&BUSY, &settings(), &prices(), &measured());
        // 100 requests a second for 3.6e6 seconds, at $1 a million.
        near(usd(&bill, "Lambda", "calls: ingest"), 360.0);
        // Each takes 1 ms of CPU at half a processor and waits 9 ms: 11 ms of half a GB.
        near(usd(&bill, "Lambda", "GB-seconds: ingest"), 3.6e8 * 0.011 * 0.5 * 0.001);
        // Ten lines of 1,001 bytes make one unit of 10,010; 1,001,000 bytes a second are just one shard.
        near(bill.shards, 1.0);
        near(usd(&bill, "Kinesis", "put units"), 3600.0);
        near(bill.usd_of_shards(), 1000.0 * 0.03);
        // The cleaner runs every ten seconds, with 5 puts.
        near(usd(&bill, "Lambda", "calls: cleaner"), 0.36);
        near(usd(&bill, "S3", "puts: raw"), 360_000.0 * 5.0 * 1e-5);
        // Every 20 seconds a commit to each of three tables: 5 puts and lists, 2 for every second commit (checkpoint),
        // and 4 for every fourth (merge).
        near(usd(&bill, "S3", "puts and lists"), 180_000.0 * 3.0 * 7.0 * 1e-5);
        // Per second 0.3 landing objects, 0.1 watermarks, 0.15 commits and 0.15 merged files with 2 gets each; and 12
        // analyses per day with 12 gets each.
        let analyses = 12.0 * 365.0 / 12.0;
        near(usd(&bill, "S3", "gets"), (3.6e6 * (0.3 + 0.1 + 0.15 + 0.3) + analyses * 12.0) * 1e-6);
        near(usd(&bill, "S3", "GB kept"), 3.6e9 * 500.0 / 1e9 * 0.1);
        // 0.3 messages per second, deleted in batches of ten. The 1,000 idle polls per hour exceed 0.03 receives per
        // second.
        near(usd(&bill, "SQS", "calls"), 3.6e6 * (0.3 + 1000.0 / 3600.0 + 0.03) * 1e-6);
        near(usd(&bill, "DynamoDB", "write units"), analyses * 20.0 * 1e-3);
        // 2 seconds of CPU; a function with 3,008 MB has more than one processor.
        near(usd(&bill, "Lambda", "GB-seconds: analysis"), analyses * 2.0 * 3008.0 / 1024.0 * 0.001);
        near(
            usd(&bill, "CloudWatch", "GB of logs"),
            (3.6e8 * 500.0 + (360_000.0 + 180_000.0) * 350.0) / BYTES_PER_GIB,
        );
        near(usd(&bill, "Transfer", "GB of answers"), 360.0);
        near(usd(&bill, "CloudWatch", "metrics") + usd(&bill, "CloudWatch", "alarms"), 70.0);
        near(bill.per_million(bill.usd_per_month()).unwrap(), bill.usd_per_month() / 3600.0);
    }

    #[test]
    fn an_idle_month_has_fixed_costs_only() {
        let idle = Workload { records_per_second: 0.0, ..BUSY };
        let bill = Bill::for_pinlake(&idle, &settings(), &prices(), &measured());
        let analyses = 365.0;
        let by_hand = 30.0 // the shard
            + 2.0 // 20 keys an hour
            + 1.0 // a million polls
            + analyses * (1e-6 + 2.0 * 3008.0 / 1024.0 * 0.001 + 12.0 * 1e-6 + 20.0 * 1e-3)
            + 30.0 + 10.0; // metrics, alarms
        near(bill.usd_per_month(), by_hand);
        assert_eq!(bill.per_million(1.0), None);
    }

    #[test]
    fn rare_records_are_cleaned_and_committed_one_by_one() {
        // One record every 1,000 seconds, in a request of its own.
        let rare = Workload { records_per_second: 0.001, batch: 1.0, ..BUSY };
        let bill = Bill::for_pinlake(&rare, &settings(), &prices(), &measured());
        near(usd(&bill, "Lambda", "calls: cleaner"), 3.6e3 * 1e-6);
        near(usd(&bill, "S3", "puts: raw"), 3.6e3 * 3.0 * 1e-5);
        near(usd(&bill, "S3", "puts and lists"), 3.6e3 * 7.0 * 1e-5);
        near(usd(&bill, "Kinesis", "put units"), 3.6e3 * 1e-5);
    }

    /// Compares requests of one and of 500 records, at 1,000 records of 1 KB per second.
    #[test]
    fn built_in_prices_and_figures_give_a_bill() {
        let (prices, measured) = (Prices::built_in().unwrap(), Measured::built_in().unwrap());
        let usd = |batch: f64| {
            let bill = Bill::for_pinlake(
                &Workload { batch, ..BUSY },
                &Settings::default_for(60.0),
                &prices,
                &measured,
            );
            bill.per_million(bill.usd_above_shards()).unwrap()
        };
        assert!(usd(500.0) < 0.05, "{}", usd(500.0));
        assert!(usd(1.0) > 10.0 * usd(500.0), "{}", usd(1.0));
    }

    #[test]
    fn firehose_rounds_every_record_up() {
        let bill = Bill::for_firehose(&BUSY, &prices());
        near(bill.usd_per_month(), 3.6e9 * 5120.0 / BYTES_PER_GIB * 1.5);
        let large = Workload { bytes_per_record: 5121.0, ..BUSY };
        near(Bill::for_firehose(&large, &prices()).usd_per_month(), 2.0 * bill.usd_per_month());
    }
}
