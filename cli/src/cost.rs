//! `pinlake cost`: estimates the monthly cost of a workload on AWS. It makes no calls to AWS.
//!
//! The crate `pinlake_cost` calculates. The same arguments always print the same bill.

mod print;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pinlake_cost::{Bill, FiguresError, Measured, Prices, Settings, Workload};

use crate::cost::print::Format;
use crate::error::CliError;

/// Estimate the cost of a workload on AWS, per month and per million records.
///
/// Adds up Lambda, Kinesis, S3, SQS, DynamoDB and CloudWatch for three settings of the parameter Freshness: --freshness
/// (60 is `balanced`), `economy` and `fast`; and for Firehose and a pipeline of servers. No call to AWS is made. Prices
/// come from a dated file that names its sources, CPU times from `make bench`. Free tiers are not included.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
1,000 records of 1 KB per second, 500 per request, in the tables within a minute:
  pinlake cost --records-per-day 86400000 --bytes-per-record 1000 --batch 500 --freshness 60
  pinlake cost --matrix                 several rates and freshness targets, and the idle pipeline
  pinlake cost --records-per-day 1e6 --format json")]
pub struct CostArgs {
    /// Records per day, evenly distributed; also as 1e6
    #[arg(long, value_name = "N", default_value = "1e6", value_parser = parse_amount)]
    records_per_day: f64,
    /// Size of a record as JSON, in bytes
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_at_least_one)]
    bytes_per_record: f64,
    /// Records per request
    #[arg(long, value_name = "N", default_value = "500", value_parser = parse_at_least_one)]
    batch: f64,
    /// Number of datasets
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_at_least_one)]
    datasets: f64,
    /// Seconds until a record is in its table; sets the batching windows of the default settings
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_at_least_one)]
    freshness: f64,
    /// Posts (one row in each of three tables) that an analysis reads
    #[arg(long, value_name = "N", default_value = "1e6", value_parser = parse_amount)]
    analysed_posts: f64,
    /// Print rates of 1, 100 and 1,000 records per second with a freshness of 1, 60 and 300 seconds, and the idle bill
    #[arg(long, conflicts_with_all = ["records_per_day", "freshness"])]
    matrix: bool,
    /// Prices (TOML) that replace the built-in ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Format of the bill
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn parse_amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1e15).contains(&number) => Ok(number),
        _ => Err("give a number from 0 to 1e15".to_owned()),
    }
}

fn parse_at_least_one(text: &str) -> Result<f64, String> {
    parse_amount(text)
        .ok()
        .filter(|number| *number >= 1.0)
        .ok_or_else(|| "give a number of at least 1".to_owned())
}

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Runs the command.
pub async fn run(args: CostArgs) -> Result<ExitCode, CliError> {
    let prices = match &args.prices {
        None => Prices::built_in().map_err(built_in_failed)?,
        Some(file) => read_prices(file)?,
    };
    let measured = Measured::built_in().map_err(built_in_failed)?;
    let workload = Workload {
        records_per_second: args.records_per_day / SECONDS_PER_DAY,
        bytes_per_record: args.bytes_per_record,
        batch: args.batch,
        datasets: args.datasets,
        analysed_posts: args.analysed_posts,
    };
    if args.matrix {
        print::matrix(&workload, &prices, &measured, args.format)?;
    } else {
        let bills: Vec<(Settings, Bill)> = Settings::columns(args.freshness)
            .into_iter()
            .map(|settings| {
                let bill = Bill::for_pinlake(&workload, &settings, &prices, &measured);
                (settings, bill)
            })
            .collect();
        print::bills(&workload, &bills, &prices, &measured, args.format)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn built_in_failed(error: FiguresError) -> CliError {
    CliError::failed("cannot read the built-in prices and figures", "this is a bug in pinlake")
        .caused_by(error)
}

/// Reads prices from a file.
fn read_prices(file: &Path) -> Result<Prices, CliError> {
    let unusable = || format!("cannot use the prices in {}", file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::usage(unusable(), "check the name of the file").caused_by(error))?;
    Prices::parse(&text).map_err(|error| CliError::usage(unusable(), "correct the file").caused_by(error))
}
