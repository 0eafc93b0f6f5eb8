//! What surrounds the pipeline on AWS: clients, settings, the lake's store, logs and metrics.
//!
//! Invariants: pure crates never depend on this one; a client is made once per cold start and handed down;
//! payload bytes and secrets are never logged. Functions and the `pinlake` program use it; nothing else does.
//!
//! ```
//! use pinlake_platform::location::Location;
//!
//! let lake: Location = "s3://my-bucket/lakes/one".parse().unwrap();
//! assert_eq!(lake, Location::S3 { bucket: "my-bucket".into(), prefix: "lakes/one".into() });
//! assert_eq!("./lake".parse::<Location>().unwrap(), Location::Folder("./lake".into()));
//! ```

pub mod api_keys;
pub mod contracts;
pub mod event;
pub mod folder;
pub mod location;
pub mod metrics;
pub mod s3;
pub mod settings;
pub mod telemetry;
