//! Access control: who may call, and which datasets a caller may access.

use lambda_http::Request;
pub use pinlake_platform::access::{API_KEY, Access};
use pinlake_platform::access::{Rejection, request_key};
use pinlake_platform::api_keys::ApiKey;
use pinlake_schema::CANARY;

use crate::canary;
use crate::error::ApiError;

/// Authenticates the caller of a request.
///
/// # Errors
/// [`ApiError::Unsigned`] without a signature where one is needed, [`ApiError::Unauthenticated`] without a valid key
/// where one is needed.
pub fn authenticate<'a>(access: &'a Access, request: &Request) -> Result<Caller<'a>, ApiError> {
    if canary::is_canary(request) {
        return Ok(Caller::CANARY);
    }
    match access.authenticate(request, request_key(request.headers())) {
        Ok(Some(key)) => Ok(Caller(Identity::Key(key))),
        Ok(None) => Ok(Caller::ANONYMOUS),
        Err(Rejection::Unsigned) => Err(ApiError::Unsigned),
        Err(Rejection::Unauthenticated) => Err(ApiError::Unauthenticated),
    }
}

/// Who sent a request, as far as datasets are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a>(Identity<'a>);

#[derive(Debug, Clone, Copy)]
enum Identity<'a> {
    Anonymous,
    Key(&'a ApiKey),
    Canary,
    Webhook,
}

impl<'a> Caller<'a> {
    /// A caller without an API key, who may access all datasets.
    pub const ANONYMOUS: Self = Self(Identity::Anonymous);

    /// The pipeline itself, which may access the dataset of its test records only.
    pub const CANARY: Self = Self(Identity::Canary);

    /// The sender of a webhook. Its path names the dataset, whose contract says how the request must be signed.
    pub const WEBHOOK: Self = Self(Identity::Webhook);

    /// The name of the caller's API key.
    pub fn key_name(self) -> Option<&'a str> {
        match self.0 {
            Identity::Key(key) => Some(key.name.as_str()),
            Identity::Anonymous | Identity::Canary | Identity::Webhook => None,
        }
    }

    /// Whether the caller may access a dataset; `None` stands for all of them.
    pub fn may_access(self, dataset: Option<&str>) -> bool {
        match self.0 {
            Identity::Anonymous => true,
            Identity::Key(key) => key.covers(dataset),
            Identity::Canary => dataset == Some(CANARY),
            Identity::Webhook => dataset.is_some(),
        }
    }

    /// Checks that the caller may access a dataset; `None` stands for all of them.
    ///
    /// # Errors
    /// [`ApiError::AccessDenied`] if not.
    pub fn check_access(self, dataset: Option<&str>) -> Result<(), ApiError> {
        if self.may_access(dataset) {
            return Ok(());
        }
        Err(ApiError::AccessDenied { dataset: dataset.map(str::to_owned) })
    }
}
