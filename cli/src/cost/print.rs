//! Prints bills as tables or JSON.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use pinlake_cost::{Bill, Line, Measured, Prices, Settings, Workload};
use serde_json::{Value, json};

use crate::console;
use crate::error::CliError;

/// The format of the bill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables to read
    #[default]
    Table,
    /// One JSON object
    Json,
}

/// Records per second of the matrix.
const RATES: [f64; 3] = [1.0, 100.0, 1000.0];
/// Freshness in seconds of the matrix.
const FRESHNESS: [f64; 3] = [1.0, 60.0, 300.0];

/// Prints the bill of each setting, of Firehose and of the replaced pipeline.
pub(super) fn bills(
    workload: &Workload,
    bills: &[(Settings, Bill)],
    prices: &Prices,
    measured: &Measured,
    format: Format,
) -> Result<(), CliError> {
    let firehose = Bill::for_firehose(workload, prices);
    let replaced = replaced(workload, prices);
    if format == Format::Json {
        let columns =
            bills.iter().map(|(settings, bill)| (settings.name.to_owned(), bill_json(Some(settings), bill)));
        let mut columns: serde_json::Map<String, Value> = columns.collect();
        columns.insert("replaced".to_owned(), bill_json(None, &replaced));
        columns.insert("firehose".to_owned(), bill_json(None, &firehose));
        return console::data_json(&json!({
            "prices_of": prices.as_of, "region": prices.region, "measured": measured.measured,
            "workload": workload, "bills": columns,
        }));
    }
    let mut table = new_table();
    let mut head = vec!["USD".to_owned(), "per month, default".to_owned()];
    for (settings, _) in bills {
        head.push(format!("{}: month", settings.name));
        head.push("per million".to_owned());
    }
    table.set_header(head);
    // Bills may lack lines, but have the same order.
    let longest = bills.iter().map(|(_, bill)| &bill.lines).max_by_key(|lines| lines.len());
    for line in longest.into_iter().flatten() {
        let find_line = |bill: &Bill| {
            bill.lines.iter().find(|own| (own.service, &own.what) == (line.service, &line.what)).cloned()
        };
        let first = bills.first().and_then(|(_, bill)| find_line(bill));
        let mut row =
            vec![format!("{} {}", line.service, line.what), quantity(first.map_or(0.0, |own| own.quantity))];
        for (_, bill) in bills {
            let usd = find_line(bill).map_or(0.0, |own| own.usd_per_month);
            row.extend([money(usd), per_million(bill, usd)]);
        }
        table.add_row(row);
    }
    for (what, part) in [
        ("total", Bill::usd_per_month as fn(&Bill) -> f64),
        ("shards only", Bill::usd_of_shards),
        ("without shards", Bill::usd_above_shards),
    ] {
        let mut row = vec![what.to_owned(), String::new()];
        for (_, bill) in bills {
            row.extend([money(part(bill)), per_million(bill, part(bill))]);
        }
        table.add_row(row);
    }
    align(&mut table, 1);
    console::data(&table.to_string())?;

    let mut others = new_table();
    others.set_header(["alternative", "USD per month", "per million"]);
    for (name, bill) in [("the replaced pipeline", &replaced), ("Firehose into Parquet", &firehose)] {
        for line in &bill.lines {
            others.add_row([
                line.what.to_string(),
                money(line.usd_per_month),
                per_million(bill, line.usd_per_month),
            ]);
        }
        others.add_row([
            format!("{name}, total"),
            money(bill.usd_per_month()),
            per_million(bill, bill.usd_per_month()),
        ]);
    }
    align(&mut others, 1);
    console::data(&others.to_string())?;
    notes(workload, bills, prices, measured);
    Ok(())
}

fn notes(workload: &Workload, bills: &[(Settings, Bill)], prices: &Prices, measured: &Measured) {
    console::say(&format!(
        "{:.1} records/s of {} bytes, {} per request, {} datasets; a month has {} hours",
        workload.records_per_second,
        workload.bytes_per_record,
        workload.batch,
        workload.datasets,
        prices.hours_per_month
    ));
    for (settings, bill) in bills {
        console::say(&format!(
            "{}: windows {} and {} s, {} shards, {} analyses per day of {} posts",
            settings.name,
            settings.cleaner_window,
            settings.compactor_window,
            bill.shards,
            settings.analyses_per_day,
            quantity(workload.analysed_posts)
        ));
    }
    console::say(&format!(
        "prices of {} in {}, without free tiers; {}\nnot included: storage of earlier months, more servers of the replaced pipeline \
         under load, and the producer of Firehose",
        prices.as_of, prices.region, measured.measured
    ));
}

/// Prints the matrix of rates and freshness for the default settings, and the idle bill.
pub(super) fn matrix(
    workload: &Workload,
    prices: &Prices,
    measured: &Measured,
    format: Format,
) -> Result<(), CliError> {
    let at = |rate: f64, freshness: f64| {
        Bill::for_pinlake(
            &Workload { records_per_second: rate, ..*workload },
            &Settings::default_for(freshness),
            prices,
            measured,
        )
    };
    let idle = at(0.0, 60.0);
    if format == Format::Json {
        let cells = RATES.iter().flat_map(|&rate| FRESHNESS.iter().map(move |&freshness| (rate, freshness)));
        let cells = cells.map(|(rate, freshness)| {
            let bill = at(rate, freshness);
            json!({ "records_per_second": rate, "freshness_seconds": freshness, "usd_per_month": bill.usd_per_month(),
                    "usd_per_million": bill.per_million(bill.usd_per_month()),
                    "usd_per_million_above_shards": bill.per_million(bill.usd_above_shards()) })
        });
        return console::data_json(&json!({
            "prices_of": prices.as_of, "cells": cells.collect::<Vec<_>>(), "idle": bill_json(None, &idle),
        }));
    }
    let mut table = new_table();
    let mut head = vec!["records/s".to_owned()];
    for freshness in FRESHNESS {
        head.extend([format!("{freshness} s: month"), "per million".to_owned()]);
    }
    table.set_header(head);
    for rate in RATES {
        let mut row = vec![rate.to_string()];
        for freshness in FRESHNESS {
            let bill = at(rate, freshness);
            row.extend([money(bill.usd_per_month()), per_million(&bill, bill.usd_per_month())]);
        }
        table.add_row(row);
    }
    align(&mut table, 0);
    console::data(&table.to_string())?;
    let mut lines = new_table();
    lines.set_header(["idle", "USD per month"]);
    for line in idle.lines.iter().filter(|line| line.usd_per_month >= 0.005) {
        lines.add_row([format!("{} {}", line.service, line.what), money(line.usd_per_month)]);
    }
    lines.add_row(["total".to_owned(), money(idle.usd_per_month())]);
    align(&mut lines, 1);
    console::data(&lines.to_string())?;
    console::say(&format!(
        "records of {} bytes, {} per request; for a freshness of 1 s the windows are minimal, and the work takes longer\n\
         prices of {} in {}, without free tiers; {}",
        workload.bytes_per_record, workload.batch, prices.as_of, prices.region, measured.measured
    ));
    Ok(())
}

/// The bill of the replaced pipeline: servers, and API Gateway per request.
fn replaced(workload: &Workload, prices: &Prices) -> Bill {
    let records_per_month = workload.records_per_month(prices);
    let requests = records_per_month / workload.batch;
    let servers = prices.replaced.values().map(|server| Line {
        service: "replaced",
        what: server.what.clone().into(),
        quantity: prices.hours_per_month,
        usd_per_month: server.per_hour * prices.hours_per_month,
    });
    let gateway = Line {
        service: "replaced",
        what: "API Gateway, requests".into(),
        quantity: requests,
        usd_per_month: requests / 1e6 * prices.api_gateway.per_million_requests,
    };
    Bill { lines: servers.chain([gateway]).collect(), shards: 3.0, records_per_month, flow: None }
}

fn bill_json(settings: Option<&Settings>, bill: &Bill) -> Value {
    let all = bill.usd_per_month();
    let mut object = json!({
        "lines": bill.lines, "usd_per_month": all, "usd_per_million": bill.per_million(all),
        "usd_per_month_above_shards": bill.usd_above_shards(),
        "usd_per_million_above_shards": bill.per_million(bill.usd_above_shards()),
    });
    if let Some(settings) = settings {
        object["flow_per_second"] = json!(bill.flow);
        object["settings"] = json!(settings);
    }
    object
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table
}

/// Aligns columns from `from` to the right.
fn align(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn money(usd: f64) -> String {
    format!("{usd:.2}")
}

fn per_million(bill: &Bill, usd: f64) -> String {
    bill.per_million(usd).map_or_else(|| "-".to_owned(), |usd| format!("{usd:.5}"))
}

fn quantity(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2}G", n / 1e9),
        n if n >= 1e6 => format!("{:.2}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n if n >= 10.0 || n == n.trunc() => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}
