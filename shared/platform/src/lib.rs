//! The environment of the functions and of the `pinlake` program: stores, settings, API keys, logs and metrics.
//!
//! Invariants:
//! - Only functions and the `pinlake` program depend on this crate.
//! - A client is created once per cold start and passed down.
//! - Logs never hold payload bytes or secrets.
//!
//! ```
//! use pinlake_platform::location::Location;
//!
//! let lake: Location = "s3://my-bucket/lakes/one".parse().unwrap();
//! assert_eq!(lake, Location::S3 { bucket: "my-bucket".into(), prefix: "lakes/one".into() });
//! assert_eq!("./lake".parse::<Location>().unwrap(), Location::Folder("./lake".into()));
//! ```

pub mod access;
pub mod api_keys;
pub mod aws;
pub mod contracts;
pub mod deployment;
pub mod event;
pub mod folder;
pub mod location;
pub mod metrics;
pub mod releases;
pub mod s3;
pub mod settings;
pub mod telemetry;
pub mod trigger_queue;
