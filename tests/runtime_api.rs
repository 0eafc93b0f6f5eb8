//! Runs the program of a function against a server that plays the Lambda runtime API and AWS. The tests of several functions
//! include this file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Answers a request to AWS, given by its first line and, for services with JSON, its body.
pub type Aws = dyn Fn(&str) -> (&'static str, Value) + Send + Sync;

/// A process of a function.
pub struct Function {
    events: Sender<Value>,
    answers: Receiver<Value>,
    process: Child,
    log: PathBuf,
}

impl Function {
    /// Starts a program with these settings and `RUST_LOG=trace`. `aws` answers the requests that are not the runtime API's.
    pub fn start(program: &str, folder: &str, settings: &[(&str, &str)], aws: Arc<Aws>) -> Function {
        let (events, handed_out) = channel();
        let (answered, answers) = channel();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let handed_out = Arc::new(Mutex::new(handed_out));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (events, answers, aws) = (Arc::clone(&handed_out), answered.clone(), Arc::clone(&aws));
                std::thread::spawn(move || serve(&stream, &events, &answers, &*aws));
            }
        });
        let name = Path::new(program).file_name().unwrap().to_string_lossy().into_owned();
        let log = Path::new(folder).join(format!("{name}-{}.log", std::process::id()));
        let file = File::create(&log).unwrap();
        let process = Command::new(program)
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", &name),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
                ("AWS_ENDPOINT_URL", &format!("http://{address}")),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("RUST_LOG", "trace"),
            ])
            .envs(settings.iter().copied())
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        Function { events, answers, process, log }
    }

    /// Invokes it with an event. Returns its response or error, `None` if it gives neither.
    pub fn handle(&self, event: Value) -> Option<Value> {
        self.events.send(event).unwrap();
        self.answers.recv_timeout(Duration::from_secs(60)).ok()
    }

    /// Stops it and returns everything that it wrote.
    pub fn end(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let output = std::fs::read_to_string(&self.log).unwrap();
        std::fs::remove_file(&self.log).unwrap();
        output
    }
}

/// The text, and the part of its base64 encoding that does not depend on its position.
pub fn marks(text: &str) -> Vec<String> {
    let encoded = (0..3).map(|shift| {
        let text = STANDARD.encode(format!("{}{text}", " ".repeat(shift)));
        text[4..8].to_owned()
    });
    [text.to_owned()].into_iter().chain(encoded).collect()
}

/// Fails if a line of `output` contains `text`, plain or in base64.
pub fn assert_untold(output: &str, text: &str) {
    for mark in marks(text) {
        let told = output.lines().find(|line| line.contains(&mark));
        assert_eq!(told, None, "{mark}");
    }
}

fn read(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
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
    Some((line, body))
}

fn write(mut stream: &TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
}

/// Serves the runtime API and AWS.
fn serve(stream: &TcpStream, events: &Mutex<Receiver<Value>>, answers: &Sender<Value>, aws: &Aws) {
    let Some((line, body)) = read(stream) else { return };
    let json = "Content-Type: application/x-amz-json-1.1\r\n";
    if line.contains("/invocation/next") {
        // Without another event the program waits until it is stopped.
        let Ok(event) = events.lock().unwrap().recv() else { return };
        let headers = "Lambda-Runtime-Aws-Request-Id: 8c1f6f0e-3f0b-4f6c-9a57-2f7d1f0a6b09\r\n\
                       Lambda-Runtime-Deadline-Ms: 9999999999999\r\n\
                       Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:0:function:any\r\n";
        write(stream, "200 OK", headers, &event.to_string());
    } else if line.contains("/runtime/") {
        write(stream, "202 Accepted", json, "{}");
        let _ = answers.send(serde_json::from_slice(&body).unwrap());
    } else {
        // The path tells the calls of S3 apart, the body those of other services.
        let body =
            if line.starts_with("POST / ") { String::from_utf8_lossy(&body) } else { Cow::Borrowed("") };
        let (status, answer) = aws(&format!("{line}\n{body}"));
        write(stream, status, json, &answer.to_string());
    }
}
