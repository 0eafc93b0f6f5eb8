//! The configuration of AWS clients.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

use crate::settings;

/// Limits of one call in a function. Without them a call that is never answered lasts until the function's own timeout,
/// and the invocation can neither try again nor report what failed. The SDK's defaults limit only the connection.
/// The longest call copies a file of 1 GiB.
const ATTEMPT: Duration = Duration::from_secs(25);
/// Limits a call with its retries to less than the timeout of the cleaner, 60 seconds.
const OPERATION: Duration = Duration::from_secs(50);
const CONNECT: Duration = Duration::from_secs(3);

/// Loads region, credentials and endpoint from the environment, and sets timeouts.
///
/// Outside Lambda only the connection is limited, because an upload over a slow line may take minutes.
pub async fn load_config() -> SdkConfig {
    let mut timeouts = TimeoutConfig::builder().connect_timeout(CONNECT);
    // Lambda sets it (Lambda Developer Guide, "Using Lambda environment variables").
    if settings::optional("AWS_LAMBDA_FUNCTION_NAME").is_some() {
        timeouts = timeouts.operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION);
    }
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts.build()).load().await
}
