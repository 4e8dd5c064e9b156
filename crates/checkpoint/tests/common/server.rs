//! A small hub on 127.0.0.1: repositories, large files behind a redirect to a store, ranges, and faults on demand.

#![allow(
    clippy::unwrap_used,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_push_string,
    unreachable_pub,
    reason = "a module of tests"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// What a request was.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub range: Option<u64>,
    pub authorization: Option<String>,
}

/// What is answered. `cut` bytes of the body are sent, then the connection closes.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub cut: Option<usize>,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Handler = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Runs until the test ends.
pub struct Server {
    pub url: String,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, handler): (_, Arc<Handler>) = (requests.clone(), Arc::new(Box::new(handler)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &log, &handler));
            }
        });
        Self { url, requests }
    }

    pub fn seen(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|r| r.method == method && r.path.contains(part)).count()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &Handler) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(String::from);
    let mut request =
        Request { method: words.next().unwrap(), path: words.next().unwrap_or_default(), ..Request::default() };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-')?.parse().ok()),
            "authorization" => request.authorization = Some(value.into()),
            _ => {}
        }
    }
    log.lock().unwrap().push(request.clone());
    let answer = handler(&request);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if !answer.headers.iter().any(|(name, _)| name == "Content-Length") {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let sent = answer.cut.unwrap_or(usize::MAX).min(answer.body.len());
    let body = if request.method == "HEAD" { &[] } else { &answer.body[..sent] };
    // The client may be gone by now.
    let _ = stream.write_all((head + "\r\n").as_bytes()).and_then(|()| stream.write_all(body));
}

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// One repository, `owner/name`, revision `main`.
#[derive(Clone, Default)]
pub struct Hub {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Where large files are: empty for a path on the same server.
    pub store: String,
    /// Whether the server knows ranges.
    pub no_ranges: bool,
}

impl Hub {
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        Self { files: files.iter().map(|(name, bytes)| ((*name).into(), bytes.to_vec())).collect(), ..Self::default() }
    }

    pub fn answer(&self, request: &Request) -> Answer {
        if let Some(name) = request.path.strip_prefix("/store/") {
            return self.bytes(name, request);
        }
        let path = request.path.replace("%2F", "/");
        let Some(rest) = path.strip_prefix("/owner/name/resolve/") else {
            return Answer::status(404).with("X-Error-Code", "RepoNotFound");
        };
        let revisions = ["main", COMMIT, "refs/pr/3"];
        let Some(name) = revisions.iter().find_map(|r| rest.strip_prefix(*r)?.strip_prefix('/')) else {
            return Answer::status(404).with("X-Error-Code", "RevisionNotFound");
        };
        let Some(bytes) = self.files.get(name) else {
            return Answer::status(404).with("X-Error-Code", "EntryNotFound").with("X-Repo-Commit", COMMIT);
        };
        if name.ends_with(".json") || name.ends_with(".txt") {
            return self
                .bytes(name, request)
                .with("X-Repo-Commit", COMMIT)
                .with("ETag", format!("\"{}\"", &hash(bytes)[..40]));
        }
        Answer::status(302)
            .with("X-Repo-Commit", COMMIT)
            .with("X-Linked-ETag", format!("\"{}\"", hash(bytes)))
            .with("X-Linked-Size", bytes.len().to_string())
            .with("Location", format!("{}/store/{name}", self.store))
    }

    fn bytes(&self, name: &str, request: &Request) -> Answer {
        let bytes = &self.files[name];
        match request.range {
            Some(start) if !self.no_ranges => {
                Answer { status: 206, body: bytes[start as usize..].to_vec(), ..Answer::default() }
                    .with("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()))
            }
            _ => Answer { status: 200, body: bytes.clone(), ..Answer::default() },
        }
    }
}

pub fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
