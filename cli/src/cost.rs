//! `pinlake cost`: what a workload costs on AWS, line by line, without asking AWS.
//!
//! `prices` are the published ones, with their pages; `measured` is what the functions need for a record, an object, a
//! commit; `bill` multiplies. Everything is arithmetic over the arguments: the same command prints the same bill.

mod bill;
mod measured;
mod prices;
mod print;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::de::DeserializeOwned;

use crate::cost::bill::{Bill, Workload};
use crate::cost::measured::Measured;
use crate::cost::prices::Prices;
use crate::cost::settings::Settings;
use crate::error::CliError;

/// How the bill is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON object
    Json,
}

/// Say what a workload would cost a month on AWS, and per million records.
///
/// Adds up requests, GB-seconds, Kinesis, S3, SQS, DynamoDB and logs for the template's settings, the cheapest and the
/// fastest ones, beside the servers that pinlake replaces and beside Firehose. Nothing is called: prices are those of
/// a dated file that names their pages, times those that `make bench` measured. Free tiers are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: 1,000 records a second of 1 KB, sent 500 a request, in the tables within a minute:
  pinlake cost --records-per-day 86400000 --bytes-per-record 1000 --batch 500 --freshness 60
  pinlake cost --matrix                 rates against freshness, and what an idle pipeline costs
  pinlake cost --records-per-day 1e6 --format json")]
pub struct CostArgs {
    /// Records of a day, evenly spread; 1e6 is read too
    #[arg(long, value_name = "N", default_value = "1e6", value_parser = amount)]
    records_per_day: f64,
    /// Bytes of a record as JSON
    #[arg(long, value_name = "N", default_value = "1000", value_parser = at_least_one)]
    bytes_per_record: f64,
    /// Records of a request
    #[arg(long, value_name = "N", default_value = "500", value_parser = at_least_one)]
    batch: f64,
    /// Datasets that the records belong to
    #[arg(long, value_name = "N", default_value = "3", value_parser = at_least_one)]
    datasets: f64,
    /// Seconds until a record is in its table: sets the windows of the default settings
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = at_least_one)]
    freshness: f64,
    /// Posts (a row of each of three tables) that an analysis reads
    #[arg(long, value_name = "N", default_value = "1e6", value_parser = amount)]
    analysed_posts: f64,
    /// Rates of 1, 100 and 1,000 records a second against freshness of 1, 60 and 300 seconds, and the idle bill
    #[arg(long, conflicts_with_all = ["records_per_day", "freshness"])]
    matrix: bool,
    /// Prices in the place of those built in
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// How to print the bill
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1e15).contains(&number) => Ok(number),
        _ => Err("give a number from 0 to 1e15".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<f64, String> {
    amount(text).ok().filter(|number| *number >= 1.0).ok_or_else(|| "give a number from 1 on".to_owned())
}

const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// Reads a table that is built into the program.
fn built_in<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, CliError> {
    toml::from_str(text).map_err(|error| {
        let message = format!("the {what} that are built in cannot be read");
        CliError::failed(message, "this is a mistake in pinlake").caused_by(error)
    })
}

/// Prints the bill.
pub async fn run(args: CostArgs) -> Result<ExitCode, CliError> {
    let prices = match &args.prices {
        None => Prices::built_in()?,
        Some(file) => Prices::from_file(file)?,
    };
    let measured = Measured::built_in()?;
    let workload = Workload {
        records_per_second: args.records_per_day / SECONDS_OF_A_DAY,
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
                let bill = Bill::of(&workload, &settings, &prices, &measured);
                (settings, bill)
            })
            .collect();
        print::bills(&workload, &bills, &prices, &measured, args.format)?;
    }
    Ok(ExitCode::SUCCESS)
}
