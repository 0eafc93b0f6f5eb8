//! Reads secrets from Systems Manager and Secrets Manager.
//!
//! One call of each service, signed by AWS's own crate and sent by the client that the SDK of Kinesis brings. The two SDKs
//! would be the largest part of the function: `docs/decisions/webhook-secrets.md`.

use std::fmt;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::timeout::TimeoutConfig;
use pinlake_env::{Env, RetryPolicy};
use pinlake_schema::SecretName;
use serde_json::{Value, json};

use super::secrets::{Secret, SecretError, SecretSource};
use crate::stream::read::BoxFuture;

/// Few and short: a provider waits for some seconds, and sends the delivery again.
const RETRIES: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    initial_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(1),
};
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The services of the account in which the function runs.
pub struct AwsSecrets {
    credentials: Option<SharedCredentialsProvider>,
    region: String,
    /// Replaces the endpoints of both services: `AWS_ENDPOINT_URL`.
    endpoint: Option<String>,
    env: Env,
}

impl fmt::Debug for AwsSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecrets").field("region", &self.region).finish_non_exhaustive()
    }
}

impl AwsSecrets {
    /// With the credentials, region and endpoint of a configuration.
    pub fn new(config: &SdkConfig, env: Env) -> Self {
        Self {
            credentials: config.credentials_provider(),
            region: config.region().map(ToString::to_string).unwrap_or_default(),
            endpoint: config.endpoint_url().map(str::to_owned),
            env,
        }
    }

    async fn read_with_retries(&self, name: &SecretName) -> Result<Secret, SecretError> {
        let mut delays = RETRIES.delays(&self.env.rng);
        loop {
            match self.call(name).await {
                Err(error) if error.is_retryable => match delays.next() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => return Err(error),
                },
                result => return result,
            }
        }
    }

    async fn call(&self, name: &SecretName) -> Result<Secret, SecretError> {
        let call = Call::of(name);
        let request = self.signed(&call).await?;
        let operation = Operation::builder()
            .service_name(call.service)
            .operation_name(call.operation)
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint_of(call.service))
            .no_auth()
            .no_retry()
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .serializer(|SignedRequest(request): SignedRequest| {
                Ok(HttpRequest::try_from(request.map(SdkBody::from))?)
            })
            .deserializer(|response: &Response| {
                let body = response.body().bytes().unwrap_or_default().to_vec();
                Ok::<_, aws_smithy_runtime_api::client::orchestrator::OrchestratorError<SecretError>>(Reply {
                    status: response.status().as_u16(),
                    body,
                })
            })
            .build();
        let reply = operation.invoke(request).await.map_err(|error| {
            let message = aws_smithy_types::error::display::DisplayErrorContext(&error).to_string();
            retryable("NoResponse", message)
        })?;
        reply.into_secret(call.pointer)
    }

    fn endpoint_of(&self, service: &str) -> String {
        let region = &self.region;
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        self.endpoint.clone().unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"))
    }

    async fn signed(&self, call: &Call) -> Result<SignedRequest, SecretError> {
        let no_credentials = |message: String| retryable("NoCredentials", message);
        let provider =
            self.credentials.as_ref().ok_or_else(|| no_credentials("none are configured".to_owned()))?;
        let credentials =
            provider.provide_credentials().await.map_err(|error| no_credentials(error.to_string()))?;
        let unsignable = |message: String| permanent("Unsignable", message);
        let body = call.body.to_string();
        let uri = format!("{}/", self.endpoint_of(call.service).trim_end_matches('/'));
        let mut request = http::Request::post(&uri)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", call.target)
            .body(body)
            .map_err(|error| unsignable(error.to_string()))?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(call.service)
            .time(self.env.clock.now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsignable(error.to_string()))?
            .into();
        let headers =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable =
            SignableRequest::new("POST", &uri, headers, SignableBody::Bytes(request.body().as_bytes()))
                .map_err(|error| unsignable(error.to_string()))?;
        let signed = sign(signable, &parameters).map_err(|error| unsignable(error.to_string()))?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        Ok(SignedRequest(request))
    }
}

impl SecretSource for AwsSecrets {
    fn read<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        Box::pin(self.read_with_retries(name))
    }
}

/// A call of a service with the protocol AWS JSON 1.1.
struct Call {
    service: &'static str,
    operation: &'static str,
    target: &'static str,
    body: Value,
    /// The place of the secret in the response, a JSON pointer.
    pointer: &'static str,
}

impl Call {
    fn of(name: &SecretName) -> Self {
        match name {
            SecretName::Parameter(name) => Self {
                service: "ssm",
                operation: "GetParameter",
                target: "AmazonSSM.GetParameter",
                body: json!({ "Name": name, "WithDecryption": true }),
                pointer: "/Parameter/Value",
            },
            SecretName::Secret(id) => Self {
                service: "secretsmanager",
                operation: "GetSecretValue",
                target: "secretsmanager.GetSecretValue",
                body: json!({ "SecretId": id }),
                pointer: "/SecretString",
            },
        }
    }
}

/// A request with a signature, which no log may show.
struct SignedRequest(http::Request<String>);

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedRequest")
    }
}

/// A response, which may contain a secret.
struct Reply {
    status: u16,
    body: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Reply {
    fn into_secret(self, pointer: &str) -> Result<Secret, SecretError> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if self.status == 200 {
            return match body.pointer(pointer).and_then(Value::as_str) {
                Some(text) => Ok(Secret::new(text.as_bytes())),
                None => Err(permanent(
                    "NoText",
                    "the response has no text: binary secrets are not read".to_owned(),
                )),
            };
        }
        // `com.amazonaws.ssm#ParameterNotFound`
        let code = body["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().to_owned();
        let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default().to_owned();
        let is_retryable = self.status >= 500 || self.status == 429 || code.contains("Throttl");
        Err(SecretError { is_retryable, code, message })
    }
}

fn retryable(code: &str, message: String) -> SecretError {
    SecretError { is_retryable: true, code: code.to_owned(), message }
}

fn permanent(code: &str, message: String) -> SecretError {
    SecretError { is_retryable: false, code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;
    use pinlake_env::{ManualClock, Rng};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Answers one request after the other, and returns what it was sent.
    async fn serve(replies: Vec<(u16, &'static str)>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let mut requests = Vec::new();
            for (status, body) in replies {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                let is_complete = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request).into_owned();
                    text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('}'))
                };
                while !is_complete(&request) {
                    assert_ne!(connection.read_buf(&mut request).await.unwrap(), 0);
                }
                requests.push(String::from_utf8(request).unwrap());
                let length = body.len();
                let reply = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                connection.write_all(reply.as_bytes()).await.unwrap();
            }
            requests
        });
        (endpoint, served)
    }

    fn secrets(endpoint: &str) -> AwsSecrets {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let clock = ManualClock::at("2026-11-28T12:00:00Z".parse().unwrap());
        AwsSecrets::new(&config, Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(1)) })
    }

    #[tokio::test]
    async fn a_secret_is_read_with_a_signed_call_of_its_service() {
        for (name, reply, target, body, service) in [
            (
                SecretName::Parameter("/pinlake/github".to_owned()),
                r#"{"Parameter":{"Name":"/pinlake/github","Value":"It's a Secret\n"}}"#,
                "x-amz-target: AmazonSSM.GetParameter",
                r#"{"Name":"/pinlake/github","WithDecryption":true}"#,
                "ssm",
            ),
            (
                SecretName::Secret("pinlake/stripe".to_owned()),
                r#"{"Name":"pinlake/stripe","SecretString":"It's a Secret"}"#,
                "x-amz-target: secretsmanager.GetSecretValue",
                r#"{"SecretId":"pinlake/stripe"}"#,
                "secretsmanager",
            ),
        ] {
            let (endpoint, served) = serve(vec![(503, "{}"), (200, reply)]).await;
            let secret = secrets(&endpoint).read(&name).await.unwrap();
            assert_eq!(secret.bytes(), b"It's a Secret");
            let requests = served.await.unwrap();
            assert_eq!(requests.len(), 2, "a failure is retried");
            let request = &requests[1];
            assert!(request.starts_with("POST / HTTP/1.1\r\n") && request.ends_with(body), "{request}");
            let scope =
                format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/eu-west-1/{service}/aws4_request");
            for part in
                [target, &scope, "x-amz-security-token: token", "content-type: application/x-amz-json-1.1"]
            {
                assert!(request.contains(part), "{part} is not in {request}");
            }
        }
    }

    #[tokio::test]
    async fn what_the_service_refuses_is_not_asked_again() {
        for (reply, code) in [
            (r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"x"}"#, "ParameterNotFound"),
            (r#"{"__type":"AccessDeniedException","Message":"x"}"#, "AccessDeniedException"),
        ] {
            let (endpoint, served) = serve(vec![(400, reply)]).await;
            let error = secrets(&endpoint).read(&SecretName::Parameter("/x".to_owned())).await.unwrap_err();
            assert_eq!((error.code.as_str(), error.is_retryable, error.message.as_str()), (code, false, "x"));
            served.await.unwrap();
        }
    }

    #[test]
    fn each_service_has_its_endpoint() {
        let mut secrets = secrets("http://localhost");
        secrets.endpoint = None;
        assert_eq!(secrets.endpoint_of("ssm"), "https://ssm.eu-west-1.amazonaws.com");
        secrets.region = "cn-north-1".to_owned();
        assert_eq!(
            secrets.endpoint_of("secretsmanager"),
            "https://secretsmanager.cn-north-1.amazonaws.com.cn"
        );
    }
}
