//! Estimates the monthly cost of a workload on AWS. No I/O, and no call to AWS.
//!
//! [`Prices`] are published prices with their pages, [`Measured`] is what the functions use per request, record and
//! commit, and [`Bill`] multiplies. The same workload always gives the same bill (`docs/cost.md`).
//!
//! ```
//! use pinlake_cost::{Bill, Measured, Prices, Settings, Workload};
//!
//! let workload = Workload { records_per_second: 10.0, ..Workload::default() };
//! let (prices, measured) = (Prices::built_in()?, Measured::built_in()?);
//! let bill = Bill::for_pinlake(&workload, &Settings::default_for(60.0), &prices, &measured);
//! assert!(bill.usd_per_month() > bill.usd_of_shards());
//! # Ok::<(), pinlake_cost::FiguresError>(())
//! ```

mod bill;
mod measured;
mod prices;
mod settings;

pub use bill::{Bill, Flow, Line, Workload};
pub use measured::Measured;
pub use prices::Prices;
pub use settings::{Memory, Settings};

/// A file with prices or figures cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the {what}; use the format of shared/cost/src/{file}")]
pub struct FiguresError {
    what: &'static str,
    file: &'static str,
    source: toml::de::Error,
}

fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    file: &'static str,
    text: &str,
) -> Result<T, FiguresError> {
    toml::from_str(text).map_err(|source| FiguresError { what, file, source })
}
