//! The stack deployed with API keys: access, and that no function logs keys or records at `RUST_LOG=trace`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};

use crate::{
    program::{output, pinlake},
    requests::{HttpRequest, geo, user},
    runtime_api::assert_untold,
    stack::Stack,
};

/// A marker in every place that a client controls.
const MARK: &str = "M4RK3R";
const FUNCTIONS: [&str; 3] = ["ingest", "cleaner", "compactor"];

/// Changes the deployment of the stack through CloudFormation and Lambda.
pub struct Deployment {
    http: Client,
    endpoint: String,
    stack: String,
    functions: [String; 3],
}

impl Deployment {
    pub fn of(stack: &Stack) -> Deployment {
        let http = Client::builder().no_proxy().build().unwrap();
        let name = |function: &str| stack.functions()[function].as_str().unwrap().to_owned();
        // All names begin with the name of the stack.
        let records = stack.described("stream").strip_suffix("-records").unwrap();
        Deployment {
            http,
            endpoint: stack.described("endpoint").to_owned(),
            stack: records.to_owned(),
            functions: FUNCTIONS.map(name),
        }
    }

    async fn cloudformation(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut request = vec![("Action", action), ("Version", "2010-05-15"), ("StackName", &self.stack)];
        request.extend(parameters);
        let body: Vec<String> =
            request.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = self.http.post(&self.endpoint).body(body.join("&"));
        let request = request.header("Content-Type", "application/x-www-request-urlencoded").header(
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/cloudformation/aws4_request",
        );
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{action}: {status} {text}");
        text
    }

    /// Updates the stack with these parameters besides its own.
    pub async fn deploy(&self, set: &[(&str, &str)]) {
        let made_with = [
            "Architecture",
            "AnonymousIngest",
            "IngestReads",
            "AnonymousReport",
            "CleanerWindowSeconds",
            "CompactorWindowSeconds",
        ];
        let mut parameters = vec![("UsePreviousTemplate".to_owned(), "true".to_owned())];
        for (at, capability) in ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"].iter().enumerate() {
            parameters.push((format!("Capabilities.member.{}", at + 1), (*capability).to_owned()));
        }
        let mut at = 0;
        let mut parameter = |name: &str, what: &str, value: &str| {
            at += 1;
            parameters.push((format!("Parameters.member.{at}.ParameterKey"), name.to_owned()));
            parameters.push((format!("Parameters.member.{at}.{what}"), value.to_owned()));
        };
        for name in made_with.iter().filter(|name| set.iter().all(|(other, _)| other != *name)) {
            parameter(name, "UsePreviousValue", "true");
        }
        set.iter().for_each(|(name, value)| parameter(name, "ParameterValue", value));
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.cloudformation("UpdateStack", &parameters).await;
        for _ in 0..300 {
            let described = self.cloudformation("DescribeStacks", &[]).await;
            if described.contains("<StackStatus>UPDATE_COMPLETE</StackStatus>") {
                return;
            }
            assert!(!described.contains("ROLLBACK"), "{described}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the stack is still being updated");
    }

    /// Sets the environment of a function and returns the earlier one.
    async fn environment(&self, function: &str, change: impl Fn(&mut Value)) -> Value {
        let url = format!("{}/2015-03-31/functions/{function}/configuration", self.endpoint);
        let had: Value =
            serde_json::from_str(&self.http.get(&url).send().await.unwrap().text().await.unwrap()).unwrap();
        let had = had["Environment"]["Variables"].clone();
        let mut variables = had.clone();
        change(&mut variables);
        let body = json!({ "Environment": { "Variables": variables } }).to_string();
        let answer = self.http.put(&url).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{function}: {}", answer.status());
        had
    }
}

impl Deployment {
    /// The logs of the functions since the stack was created.
    async fn log(&self) -> String {
        let mut said = String::new();
        for function in &self.functions {
            let mut ask = json!({ "logGroupName": format!("/aws/lambda/{function}") });
            loop {
                let request = self.http.post(&self.endpoint).body(ask.to_string());
                let request = request
                    .header("Content-Type", "application/x-amz-json-1.1")
                    .header("X-Amz-Target", "Logs_20140328.FilterLogEvents");
                let page: Value =
                    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
                for event in page["events"].as_array().unwrap() {
                    said.push_str(event["message"].as_str().unwrap());
                    said.push('\n');
                }
                if page["nextToken"].is_null() {
                    break;
                }
                ask["nextToken"] = page["nextToken"].clone();
            }
        }
        said
    }
}

/// URL-encodes a value.
fn encoded(value: &str) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(letter).collect()
}

fn key(name: &str, dataset: &str) -> (String, String) {
    let made = output(pinlake().args(["key", "new", "--name", name, "--dataset", dataset]));
    let made: Value = serde_json::from_str(&made).unwrap();
    (made["key"].as_str().unwrap().to_owned(), made["entry"].as_str().unwrap().to_owned())
}

fn replay(stack: &Stack, rows: &Path, key: Option<&str>) -> Output {
    let mut replay = stack.pinlake("replay");
    replay.env_remove("PINLAKE_API_KEY").envs(key.map(|key| ("PINLAKE_API_KEY", key)));
    replay.args(["--to", stack.described("ingest_url"), "--format", "native", "--attempts", "2", "--from"]);
    replay.arg(rows).arg("--acks").arg(stack.acks_file()).output().unwrap()
}

/// Writes a folder with rows of a dataset: a valid one and one that breaks the contract.
fn rows(stack: &mut Stack, dataset: &str) -> PathBuf {
    let number = stack.number();
    let (field, mut good) = match dataset {
        "user" => ("first_name", user(number)),
        _ => ("country", geo(number)),
    };
    good[field] = json!(MARK);
    let bad = json!({ "ind": format!("{MARK} {number}"), field: MARK });
    let folder = stack.folder(&format!("{dataset}-{number}"));
    fs::write(folder.join(format!("{dataset}.ndjson")), format!("{good}\n{bad}\n")).unwrap();
    folder
}

async fn check_access(mut stack: Stack, own: String, other: String) -> Stack {
    let users = rows(&mut stack, "user");
    let geos = rows(&mut stack, "geo");
    for (folder, key, refusal) in [
        (&users, None, "401"),
        (&users, Some("plk_unknown"), "401"),
        (&geos, Some(&*own), "403"),
        (&users, Some(&*other), "403"),
    ] {
        let done = replay(&stack, folder, key);
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{told}");
        assert!(told.contains(refusal) && key.is_none_or(|key| !told.contains(key)), "{refusal}: {told}");
    }
    for (request, status) in [
        (HttpRequest::native("user", user(-1)), 401),
        (HttpRequest::kafka("0a1b.user", json!({ "records": [{ "value": user(-1) }] })), 401),
    ] {
        assert_eq!(stack.send(&request).await.status, status);
    }
    let done = replay(&stack, &users, Some(&own));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    stack.acknowledge_file();
    stack.drain();
    let found = stack.tables();
    assert_eq!(found["user"]["rows"].as_array().unwrap().len(), 1);
    assert_eq!(found["geo"]["rows"].as_array().unwrap().len(), 0, "rows of rejected requests are not stored");
    // A file goes through the compactor.
    let file = |number| format!("{}\n{MARK}\n", user(number).to_string().replace("Zoë", MARK));
    stack.takes_file("inbox/user/keyed-{}.ndjson", file).await;
    stack
}

#[tokio::test]
async fn a_key_grants_its_dataset_and_no_function_logs_keys_or_records() {
    let Some(stack) = Stack::up().await else { return };
    let deployment = Deployment::of(&stack);
    let ((own, own_entry), (other, other_entry)) = (key("own", "user"), key("other", "pin"));
    let mut had = Vec::new();
    let keys = format!("{own_entry},{other_entry}");
    deployment.deploy(&[("AnonymousIngest", "false"), ("IngestApiKeys", &keys)]).await;
    for function in &deployment.functions {
        had.push(deployment.environment(function, |variables| variables["RUST_LOG"] = json!("trace")).await);
    }
    let used = tokio::spawn(check_access(stack, own.clone(), other.clone())).await;
    // Restores the stack for the other tests, also after a failure.
    for (function, had) in deployment.functions.iter().zip(had) {
        deployment.environment(function, |variables| *variables = had.clone()).await;
    }
    deployment.deploy(&[("AnonymousIngest", "true")]).await;
    // No other test has used the stack until now.
    drop(used.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));

    let said = deployment.log().await;
    for told in
        ["\"answered\"", "\"compacted\"", "\"files ingested\"", "\"function\":\"cleaner\"", "\"status\":403"]
    {
        assert!(said.contains(told), "the log is not that of the functions: no {told}");
    }
    assert!(
        said.contains("\"delta_kernel::"),
        "RUST_LOG has no effect: the Delta library logs nothing by default"
    );
    for secret in [MARK, &own["plk_".len()..], &other["plk_".len()..]] {
        assert_untold(&said, secret);
    }
}
