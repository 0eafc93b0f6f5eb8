//! An ingest endpoint whose responses a test determines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request and the status of its response.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// `None`: the connection was closed without a response.
    pub status: Option<u16>,
}

impl Request {
    pub fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }

    /// The rows in the body in any of the wire formats; `None` if they are not JSON.
    pub fn rows(&self) -> Option<Vec<Value>> {
        if self.path.starts_with("/v1/") {
            let text = std::str::from_utf8(&self.body).unwrap();
            return text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        }
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        if self.path.ends_with("/record") {
            return Some(vec![body["Data"].clone()]);
        }
        let name = if self.path.starts_with("/topics/") { "value" } else { "data" };
        Some(body["records"].as_array().unwrap().iter().map(|record| record[name].clone()).collect())
    }
}

/// A response.
#[derive(Debug, Clone)]
pub enum Reply {
    /// All rows are stored and acknowledged.
    Stored,
    /// Closes the connection, like a lost response.
    Lost,
    /// Status, headers and body.
    Other(u16, Vec<(&'static str, String)>, String),
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply::Other(status, Vec::new(), json!({"message": "as the test wants it"}).to_string())
    }
}

type Behaviour = Box<dyn Fn(&Request, usize) -> Reply + Send + Sync>;

/// A running endpoint, which stops with the runtime of the test.
pub struct Endpoint {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Endpoint {
    /// Starts the endpoint. `behaviour` receives each request and its number, from 0.
    pub async fn start(behaviour: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A name like those of the local stand-in. It needs no resolver.
        let url = format!("http://abc.lambda-url.localhost:{}", listener.local_addr().unwrap().port());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let behaviour: Arc<Behaviour> = Arc::new(Box::new(behaviour));
        tokio::spawn({
            let requests = Arc::clone(&requests);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&behaviour), Arc::clone(&requests)));
                }
            }
        });
        Endpoint { url, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// All rows of requests with status 200, by the dataset in their path.
    pub fn stored(&self) -> BTreeMap<String, Vec<Value>> {
        let mut stored: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for request in self.requests().iter().filter(|request| request.status == Some(200)) {
            let path = request.path.trim_end_matches("/records").trim_end_matches("/record");
            let dataset = path.rsplit(['/', '.', '-']).next().unwrap();
            stored.entry(dataset.to_owned()).or_default().extend(request.rows().unwrap());
        }
        stored
    }
}

async fn serve(
    stream: TcpStream,
    behaviour: Arc<Behaviour>,
    requests: Arc<Mutex<Vec<Request>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = read(&mut stream).await?;
        let reply = {
            let mut requests = requests.lock().unwrap();
            let reply = behaviour(&request, requests.len());
            request.status = match &reply {
                Reply::Stored => Some(200),
                Reply::Lost => None,
                Reply::Other(status, ..) => Some(*status),
            };
            requests.push(request.clone());
            reply
        };
        let (status, headers, body) = match reply {
            Reply::Lost => return None,
            Reply::Other(status, headers, body) => (status, headers, body),
            Reply::Stored => (200, vec![("Pinlake-Ack", "shardId-0=1".to_owned())], "{}".to_owned()),
        };
        let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path, headers, body, status: None })
}
