//! What the log tells, of the program itself: the binary runs as on Lambda, told to log everything, and nothing that a client
//! wrote may be in what it says. The runtime's API and Kinesis are a server of this test, which answers as they do.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::event_file;

/// Stands wherever a client may write something.
const MARK: &str = "M4RK3R";

/// As [`MARK`], behind blanks, in base64 at any offset: part of it is the same wherever it stands.
fn marks() -> Vec<String> {
    let encoded = (0..3).map(|shift| {
        let text = STANDARD.encode(format!("{}{MARK}", " ".repeat(shift)));
        text[4..8].to_owned()
    });
    [MARK.to_owned()].into_iter().chain(encoded).collect()
}

/// A request: method, path, headers and body.
type Told = (&'static str, String, Vec<(&'static str, String)>, String);

fn requests() -> Vec<Told> {
    let mark = || MARK.to_owned();
    let secrets = || {
        ["x-api-key", "authorization", "cookie", "user-agent", "x-amz-security-token"]
            .map(|name| (name, format!("Bearer {MARK}")))
            .to_vec()
    };
    let typed = |text: &str| vec![("content-type", text.to_owned())];
    let geo = format!(r#"{{"ind":1,"country":"{MARK}"}}"#);
    vec![
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

fn event((method, path, headers, body): &Told) -> Value {
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

/// What was asked of the server: the first line, headers and body.
struct Asked {
    line: String,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line, body })
}

fn write(mut stream: &TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
}

/// Hands out events, takes answers, and takes records: of every three puts one is refused, in words that quote the record.
fn serve(stream: TcpStream, events: &Mutex<Receiver<Value>>, answers: &Sender<Value>, puts: &Mutex<usize>) {
    let Some(asked) = read(&stream) else { return };
    let json = "Content-Type: application/x-amz-json-1.1\r\n";
    if asked.line.contains("/invocation/next") {
        // When there is no event any more, the program waits until it is stopped.
        let Ok(event) = events.lock().unwrap().recv() else { return };
        let headers = "Lambda-Runtime-Aws-Request-Id: 8c1f6f0e-3f0b-4f6c-9a57-2f7d1f0a6b09\r\n\
                       Lambda-Runtime-Deadline-Ms: 9999999999999\r\n\
                       Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:0:function:ingest\r\n";
        write(&stream, "200 OK", headers, &event.to_string());
    } else if asked.line.contains("/runtime/") {
        write(&stream, "202 Accepted", json, "{}");
        answers.send(serde_json::from_slice(&asked.body).unwrap()).unwrap();
    } else {
        let mut puts = puts.lock().unwrap();
        *puts += 1;
        if puts.is_multiple_of(3) {
            let message = format!("Value '{MARK}' at 'records.1.member.partitionKey' failed");
            let body = json!({ "__type": "ValidationException", "message": message }).to_string();
            write(&stream, "400 Bad Request", json, &body);
        } else {
            let record = json!({ "SequenceNumber": "1", "ShardId": "shardId-000000000000" });
            let body = json!({ "FailedRecordCount": 0, "Records": [record] }).to_string();
            write(&stream, "200 OK", json, &body);
        }
    }
}

#[test]
fn nothing_that_a_client_wrote_is_logged() {
    let requests = requests();
    let (events, handed_out) = channel();
    let (answered, answers) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handed_out = Arc::new(Mutex::new(handed_out));
    let puts = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&puts);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (events, answers, puts) = (Arc::clone(&handed_out), answered.clone(), Arc::clone(&counted));
            std::thread::spawn(move || serve(stream, &events, &answers, &puts));
        }
    });

    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrecy-{}.log", std::process::id()));
    let file = File::create(&log).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ingest"))
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "ingest"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ("AWS_ENDPOINT_URL", &format!("http://{address}")),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", &format!("secret-{MARK}")),
            ("PINLAKE_STREAM", "records"),
            ("PINLAKE_ANONYMOUS", "true"),
            ("RUST_LOG", "trace"),
        ])
        .stdout(Stdio::from(file.try_clone().unwrap()))
        .stderr(Stdio::from(file))
        .spawn()
        .unwrap();
    let mut statuses = Vec::new();
    for request in &requests {
        events.send(event(request)).unwrap();
        match answers.recv_timeout(Duration::from_secs(60)) {
            Ok(answer) => statuses.push(answer["statusCode"].as_u64().unwrap_or_default()),
            Err(_) => break,
        }
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let said = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();

    assert_eq!(statuses.len(), requests.len(), "unanswered: {:?}; {said}", requests[statuses.len()]);
    for status in [200, 400, 404, 405, 415, 422, 500] {
        assert!(statuses.contains(&status), "no request was answered {status}: {statuses:?}");
    }
    assert!(*puts.lock().unwrap() >= 3);
    assert!(said.matches("\"answered\"").count() == requests.len(), "each request is told of: {said}");
    for mark in marks() {
        let told = said.lines().find(|line| line.contains(&mark));
        assert_eq!(told, None, "{mark}");
    }
}
