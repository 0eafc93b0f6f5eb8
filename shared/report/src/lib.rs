//! Renders results of queries and the state of a lake as one HTML page that needs nothing else: no server, no other host,
//! no font, no chart library.
//!
//! A [`Report`] is plain data. [`render`] makes the page of it: a panel for each query, with the chart that the comments
//! of its SQL declare ([`Header`]) or that suits its columns, its rows, its SQL, and the versions that it read; then the
//! state of each dataset. Charts are SVG that this crate draws (`docs/decisions/report-svg.md`). The only script sorts,
//! filters, pages and downloads tables, and switches the colours; the page is complete without it.
//!
//! Invariants:
//! - Every value is written through `maud`, which escapes it, or is JSON in a data block that cannot end early. The page
//!   allows its own style and script by their hashes and nothing else.
//! - The same report gives the same page. This crate has no clock and does no I/O.
//! - An error in a declaration, a failed query or an unreadable table is shown in its place; the rest renders.
//!
//! ```
//! use pinlake_report::{Answer, Outcome, Panel, Report, State, render};
//! use serde_json::json;
//!
//! let answer = Answer {
//!     columns: vec!["country".to_owned(), "posts".to_owned()],
//!     rows: vec![vec![json!("Peru"), json!(12)], vec![json!("</script>"), json!(7)]],
//!     ..Answer::default()
//! };
//! let page = render(&Report {
//!     title: "Posts".to_owned(),
//!     lake: "/tmp/lake".to_owned(),
//!     generated_at: "2022-10-19T12:00:00Z".parse().unwrap(),
//!     results_at: None,
//!     generator: "pinlake 0.1".to_owned(),
//!     panels: vec![Panel {
//!         name: "posts".to_owned(),
//!         sql: "-- Where do posts come from?\nSELECT country, posts FROM pin".to_owned(),
//!         seconds: Some(0.02),
//!         outcome: Outcome::Answer(answer),
//!         history: Vec::new(),
//!         parquet: None,
//!     }],
//!     state: State::default(),
//!     objective_seconds: None,
//!     contracts: None,
//!     records: None,
//!     served: None,
//! });
//! assert!(page.contains("Where do posts come from?") && page.contains("<svg"));
//! assert!(page.contains("&lt;/script&gt;"), "values are escaped");
//! ```

mod format;
mod header;
mod model;
mod page;
mod plot;
mod svg;

pub use format::{format_age, group_digits, show_controls};
pub use header::{ChartKind, ChartSpec, Header};
pub use model::{
    Activity, Answer, CommitState, CostEstimate, DatasetState, Maintenance, Outcome, Panel, PastAnswer,
    Period, Report, Run, Served, State, Waiting,
};
pub use page::{content_security_policy, render, sign_in};
pub use plot::measure_column;
