//! Nothing that a client wrote is logged. The binary runs as on Lambda with all logs enabled; the Lambda runtime API
//! and Kinesis are a server of this test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::event_file;
use crate::runtime_api::{Function, assert_untold};
use crate::webhooks::github_signature;

/// The text in every place that a client can write to.
const MARK: &str = "M4RK3R";

/// A request: method, path, headers and body.
type SampleRequest = (&'static str, String, Vec<(&'static str, String)>, String);

fn requests() -> Vec<SampleRequest> {
    let mark = || MARK.to_owned();
    let secrets = || {
        ["x-api-key", "authorization", "cookie", "user-agent", "x-amz-security-token"]
            .map(|name| (name, format!("Bearer {MARK}")))
            .to_vec()
    };
    let typed = |text: &str| vec![("content-type", text.to_owned())];
    let geo = format!(r#"{{"ind":1,"country":"{MARK}"}}"#);
    let signed = |body: &str| vec![("x-hub-signature-256", github_signature(&secret(), body))];
    vec![
        ("POST", "/webhooks/hook".into(), vec![("x-hub-signature-256", mark())], geo.clone()),
        ("POST", "/webhooks/hook".into(), signed(&geo), geo.clone()),
        ("POST", "/webhooks/other".into(), signed(&geo), geo.clone()),
        ("POST", "/v1/geo".into(), secrets(), geo.clone()),
        ("POST", "/v1/geo".into(), typed("application/x-ndjson"), format!("{geo}\n{{\"{MARK}\": {MARK}}}\n")),
        ("POST", "/v1/geo".into(), typed(&format!("text/{MARK}")), geo.clone()),
        ("POST", "/v1/geo".into(), vec![("content-encoding", mark())], geo.clone()),
        ("POST", "/v1/geo".into(), vec![("content-encoding", "gzip".into())], mark()),
        ("POST", "/v1/geo".into(), vec![("idempotency-key", format!("{MARK} {MARK}"))], geo.clone()),
        ("POST", format!("/v1/{MARK}"), vec![], geo.clone()),
        (MARK, "/v1/geo".into(), vec![], geo.clone()),
        (
            "POST",
            "/topics/x.geo".into(),
            vec![],
            format!(r#"{{"records":[{{"key":"{MARK}","value":{geo}}}]}}"#),
        ),
        ("POST", "/topics/x.geo".into(), vec![], format!(r#"{{"{MARK}":[{{"{MARK}":1}}]}}"#)),
        ("POST", format!("/topics/{MARK}"), vec![], format!(r#"{{"records":[{{"value":{geo}}}]}}"#)),
        (
            "PUT",
            "/streams/Kinesis-Prod-Stream/record".into(),
            secrets(),
            format!(r#"{{"StreamName":"{MARK}","PartitionKey":"{MARK}","Data":{geo}}}"#),
        ),
        ("PUT", format!("/streams/{MARK}/record"), vec![], format!(r#"{{"Data":"{MARK}"}}"#)),
        (
            "PUT",
            "/streams/Kinesis-Prod-Stream/records".into(),
            vec![],
            format!(r#"{{"records":[{{"partition-key":["{MARK}"],"data":"{MARK}"}}]}}"#),
        ),
        ("GET", format!("/{MARK}"), secrets(), String::new()),
    ]
}

/// The secret of the webhooks of this test.
fn secret() -> String {
    format!("webhook-{MARK}")
}

/// A folder with two contracts of webhooks: the secret of one is found, that of the other is not.
fn contracts() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("secrecy-contracts");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["geo.toml", "pin.toml", "user.toml", "_routes.toml"] {
        let datasets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
        std::fs::copy(datasets.join(name), folder.join(name)).unwrap();
    }
    for (name, secret) in [("hook", "ssm:/hook"), ("other", "secretsmanager:other")] {
        let text = format!(
            "name = \"{name}\"\nversion = 1\n[webhook]\nverify = \"github\"\nsecret = \"{secret}\"\n\
             [[column]]\nname = \"country\"\ntype = \"string\"\n"
        );
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn event((method, path, headers, body): &SampleRequest) -> Value {
    let mut event = event_file("ingest_kafka.json");
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(format!("key={MARK}"));
    event["requestContext"]["http"]["method"] = json!(method);
    event["requestContext"]["http"]["path"] = json!(path);
    event["headers"].as_object_mut().unwrap().remove("content-type");
    for (name, value) in headers {
        event["headers"][name] = json!(value);
    }
    event["body"] = json!(body);
    event["isBase64Encoded"] = json!(false);
    event
}

#[test]
fn nothing_that_a_client_wrote_is_logged() {
    let requests = requests();
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    // Every third put is rejected with a message that quotes the record.
    let kinesis = move |body: &str| {
        if body.contains("WithDecryption") {
            return ("200 OK", json!({ "Parameter": { "Name": "/hook", "Value": self::secret() } }));
        }
        if body.contains("SecretId") {
            return (
                "400 Bad Request",
                json!({ "__type": "ResourceNotFoundException", "message": "no secret" }),
            );
        }
        if (counted.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(3) {
            let message = format!("Value '{MARK}' at 'records.1.member.partitionKey' failed");
            ("400 Bad Request", json!({ "__type": "ValidationException", "message": message }))
        } else {
            let record = json!({ "SequenceNumber": "1", "ShardId": "shardId-000000000000" });
            ("200 OK", json!({ "FailedRecordCount": 0, "Records": [record] }))
        }
    };
    let secret = format!("secret-{MARK}");
    let contracts = contracts();
    let settings = [
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
        ("PINLAKE_STREAM", "records"),
        ("PINLAKE_ANONYMOUS", "true"),
        ("PINLAKE_WEBHOOKS", "true"),
        ("PINLAKE_DATASETS", contracts.as_str()),
    ];
    let function = Function::start(
        env!("CARGO_BIN_EXE_ingest"),
        env!("CARGO_TARGET_TMPDIR"),
        &settings,
        Arc::new(kinesis),
    );
    let statuses: Vec<u64> = requests
        .iter()
        .map_while(|request| function.handle(event(request)))
        .map(|answer| answer["statusCode"].as_u64().unwrap_or_default())
        .collect();
    let log = function.end();

    assert_eq!(statuses.len(), requests.len(), "unanswered: {:?}; {log}", requests.get(statuses.len()));
    assert_eq!(statuses[..3], [401, 200, 500], "a wrong signature, a right one, and no secret: {log}");
    for status in [200, 400, 404, 405, 415, 422, 500] {
        assert!(statuses.contains(&status), "no response has the status {status}: {statuses:?}");
    }
    assert!(puts.load(Ordering::SeqCst) >= 3);
    assert!(log.matches("\"answered\"").count() == requests.len(), "each request is logged: {log}");
    assert_untold(&log, MARK);
}
