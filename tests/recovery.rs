//! Tests the procedures of docs/recovery.md on the local stack. The stand-in's event source ignores OnFailure, so the tests put
//! the documented objects themselves.

use std::process::Output;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{
    program::output,
    requests::{HttpRequest, geo},
    stack::Stack,
};

/// The AWS APIs of the stand-in.
struct Aws {
    http: Client,
    endpoint: String,
    bucket: String,
}

impl Aws {
    fn of(stack: &Stack) -> Aws {
        let (endpoint, bucket) =
            (stack.described("endpoint").to_owned(), stack.described("bucket").to_owned());
        Aws { http: Client::builder().no_proxy().build().unwrap(), endpoint, bucket }
    }

    /// A request to the lake's bucket.
    async fn s3(&self, method: Method, key: &str, body: impl Into<String>) -> String {
        let url = format!("{}/{}/{key}", self.endpoint, self.bucket);
        let answer = self.http.request(method, url).body(body.into()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{key}: {status} {text}");
        text
    }

    async fn sqs(&self, action: &str, request: Value) -> Value {
        let call = self.http.post(&self.endpoint).header("X-Amz-Target", format!("AmazonSQS.{action}"));
        let call = call.header("Content-Type", "application/x-amz-json-1.0").body(request.to_string());
        let answer = call.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{action}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn messages(&self, queue: &str) -> String {
        let names = ["ApproximateNumberOfMessages"];
        let asked =
            self.sqs("GetQueueAttributes", json!({ "QueueUrl": queue, "AttributeNames": names })).await;
        asked["Attributes"]["ApproximateNumberOfMessages"].as_str().unwrap().to_owned()
    }

    /// Removes the delete markers below a prefix and returns their number.
    async fn undelete(&self, prefix: &str) -> usize {
        let listed = self.s3(Method::GET, &format!("?versions&prefix={prefix}"), "").await;
        let mut removed = 0;
        for marker in listed.split("<DeleteMarker>").skip(1) {
            let marker = marker.split("</DeleteMarker>").next().unwrap();
            if element(marker, "IsLatest") == "true" {
                let (key, version) = (element(marker, "Key"), element(marker, "VersionId"));
                self.s3(Method::DELETE, &format!("{key}?versionId={version}"), "").await;
                removed += 1;
            }
        }
        removed
    }
}

fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let begun = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}")).1;
    begun.split_once(&format!("</{name}>")).unwrap().0
}

/// Puts the object that Lambda writes to an S3 destination for a discarded batch of one record.
async fn put_discarded_batch(stack: &Stack, aws: &Aws, shard: &str, sequence: &str, key: &str, row: &Value) {
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{}", stack.described("stream"));
    let payload = json!({ "Records": [{
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": sequence,
            "data": STANDARD.encode(row.to_string()),
            "approximateArrivalTimestamp": 1_797_813_484.835
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": format!("{shard}:{sequence}"),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/cleaner",
        "awsRegion": "us-east-1",
        "eventSourceARN": arn
    }] });
    let document = json!({
        "requestContext": {
            "requestId": "c9b8fa9f-5a7f-4d1c-af9c-0c604cde93a5",
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:pinlake-cleaner",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 21
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": "2026-12-21T00:38:06.021Z",
        "KinesisBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": sequence,
            "endSequenceNumber": sequence,
            "approximateArrivalOfFirstRecord": "2026-12-21T00:38:04.835Z",
            "approximateArrivalOfLastRecord": "2026-12-21T00:38:04.835Z",
            "batchSize": 1,
            "streamArn": arn
        },
        "payload": payload.to_string()
    });
    let source = "aws/lambda/6f2d1a0e-5b1c-4a57-9d0b-3f6f0e9d8c7b";
    let path = format!("{source}/{shard}/2026/12/21/2026-12-21T00.38.06-{sequence}");
    aws.s3(Method::PUT, &path, document.to_string()).await;
}

fn wait(stack: &Stack, seconds: &str) -> Output {
    let mut wait = stack.pinlake("wait");
    wait.args(["--lake", stack.described("lake"), "--timeout", seconds, "--acks"]).arg(stack.acks_file());
    wait.output().unwrap()
}

fn recover(stack: &Stack, options: &[&str]) -> Value {
    let mut recover = stack.pinlake("recover");
    recover.args(["--lake", stack.described("lake")]).args(options);
    serde_json::from_str(&output(&mut recover)).unwrap()
}

fn is_in_table(stack: &Stack, number: i64) -> bool {
    stack.rows(number..number + 1)["geo"]["rows"].as_array().unwrap().len() == 1
}

/// Sends a row and waits until it arrived, so that the watermark of its shard is at its acknowledgement.
async fn acknowledged(stack: &mut Stack) -> (String, String) {
    let number = stack.number();
    let answer = stack.send(&HttpRequest::native("geo", geo(number))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    stack.drain();
    let (shard, sequence) = answer.acks().next().unwrap();
    (shard.to_owned(), sequence.to_owned())
}

#[tokio::test]
async fn one_command_recovers_the_batches_and_dead_letters_of_a_bad_deployment() {
    let Some(mut stack) = Stack::up().await else { return };
    let aws = Aws::of(&stack);
    let (shard, sequence) = acknowledged(&mut stack).await;
    let number = stack.number();
    put_discarded_batch(&stack, &aws, &shard, &sequence, &format!("geo/drill-{number}/0"), &geo(number))
        .await;
    let (queue, dead) = (stack.described("queue").to_owned(), stack.described("dead_letters").to_owned());
    for body in [r#"{"wake":["geo"]}"#, r#"{"wake":[]}"#, r#"{"redrive":"geo"}"#] {
        aws.sqs("SendMessage", json!({ "QueueUrl": dead, "MessageBody": body })).await;
    }
    let told = wait(&stack, "1");
    let told = (told.status.code(), String::from_utf8_lossy(&told.stderr).into_owned());
    assert!(told.0 == Some(1) && told.1.contains("pinlake recover --lake"), "{told:?}");

    let done = recover(&stack, &["--queue", &queue, "--dead-letters", &dead]);
    assert_eq!((&done["batches"], &done["dead_letters"], &done["left"]), (&json!(1), &json!(3), &json!(0)));
    stack.drain();
    assert!(is_in_table(&stack, number));
    assert_eq!(aws.messages(&dead).await, "0");
    assert_eq!(recover(&stack, &[])["batches"], json!(0));
}

#[tokio::test]
async fn one_trigger_inserts_the_landing_objects_of_a_lost_queue() {
    let Some(mut stack) = Stack::up().await else { return };
    let aws = Aws::of(&stack);
    // A trigger of earlier records that is still queued inserts the landing objects too. Then the drill begins again.
    let mut number = 0;
    let mut is_lost = false;
    for _ in 0..5 {
        let (shard, sequence) = acknowledged(&mut stack).await;
        number = stack.number();
        let record = format!("geo/drill-{number}/0");
        put_discarded_batch(&stack, &aws, &shard, &sequence, &record, &geo(number)).await;
        // No notification announces landing objects.
        let notifications = aws.s3(Method::GET, "?notification", "").await;
        let none = r#"<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>"#;
        aws.s3(Method::PUT, "?notification", none).await;
        let done = recover(&stack, &[]);
        let behind = wait(&stack, "5");
        aws.s3(Method::PUT, "?notification", notifications).await;
        assert_eq!(done["batches"], json!(1));
        is_lost = String::from_utf8_lossy(&behind.stderr).contains("landing objects");
        if is_lost {
            break;
        }
    }
    assert!(is_lost, "the landing objects were inserted without a trigger");

    recover(&stack, &["--queue", stack.described("queue")]);
    stack.drain();
    assert!(is_in_table(&stack, number));
}

#[tokio::test]
async fn deleted_objects_of_a_table_are_restored() {
    let Some(mut stack) = Stack::up().await else { return };
    let aws = Aws::of(&stack);
    acknowledged(&mut stack).await;
    let before = stack.tables()["geo"].clone();
    let log = stack.keys("tables/geo/_delta_log/").await;
    let newest = log.iter().filter(|key| key.ends_with(".json")).max().unwrap();
    let data: Vec<String> = stack.keys("tables/geo/part-").await;
    for lost in [newest.clone(), data.last().unwrap().clone()] {
        aws.s3(Method::DELETE, &lost, "").await;
        assert!(!stack.keys("tables/geo/").await.contains(&lost));
        assert_eq!(aws.undelete(&lost).await, 1, "{lost}");
        assert_eq!(stack.tables()["geo"], before, "{lost}");
    }
}
