//! Requests to the hub: what a file is (HEAD), and its bytes (GET, from where the last attempt stopped).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::cache::is_name;
use super::progress;
use crate::{CheckpointError, OpenOptions};

const MAX_REDIRECTS: usize = 10;
/// Attempts in a row that bring nothing new, before a download is given up.
const MAX_VAIN_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Silence after which a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// What the hub says about a file.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// Name of the contents: SHA-256 of a large file, git's hash of a small one.
    pub(super) etag: String,
    /// Commit that the revision stands for.
    pub(super) commit: Option<String>,
    pub(super) size: Option<u64>,
}

pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(options: &OpenOptions) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here: HEAD stops where the hub answers, and the token stays with the hub.
            .max_redirects(0)
            .timeout_resolve(Some(SILENCE))
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("chinese-clip/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, endpoint: options.endpoint.clone(), token: options.token.clone() }
    }

    /// Asks about a file; `None` if the repository has no such file.
    pub(super) fn head(&self, url: &str, id: &str, revision: &str) -> Result<Option<Metadata>, CheckpointError> {
        let (response, url) = self.request(url, None)?;
        let status = response.status().as_u16();
        let headers = response.headers();
        // A plain mirror says 404 without a code.
        if status == 404 && matches!(header(headers, "x-error-code"), None | Some("EntryNotFound")) {
            return Ok(None);
        }
        if !(200..400).contains(&status) {
            return Err(self.refusal(&url, id, revision, status, headers));
        }
        let problem = |problem: &str| CheckpointError::Response { url: url.clone(), problem: problem.into() };
        let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
        let etag = etag.ok_or_else(|| problem("it gives no etag, so it is not a hub"))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_string();
        let commit = header(headers, "x-repo-commit").map(str::to_string);
        if !is_name(&etag) || !commit.as_deref().is_none_or(is_name) {
            return Err(problem("its etag or commit is not a plain word"));
        }
        let size = match header(headers, "x-linked-size") {
            Some(size) => Some(size),
            None if status < 300 => header(headers, "content-length"),
            None => None,
        };
        let size = size.map(str::parse).transpose().map_err(|_| problem("its size is not a number"))?;
        Ok(Some(Metadata { etag, commit, size }))
    }

    /// Downloads a file and checks it. What an earlier attempt left at `path` is used; what a failed one leaves, too.
    pub(super) fn download(
        &self,
        url: &str,
        id: &str,
        revision: &str,
        metadata: &Metadata,
        path: &Path,
        (name, show): (&str, bool),
    ) -> Result<(), CheckpointError> {
        let failed = |source| CheckpointError::Write { path: path.into(), source };
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        let bar = progress::bar(name, metadata.size, show);
        let (mut best, mut vain) = (0, 0);
        loop {
            let mut have = file.seek(SeekFrom::End(0)).map_err(failed)?;
            if metadata.size.is_none_or(|size| have > size) {
                file.set_len(0).map_err(failed)?;
                have = file.seek(SeekFrom::Start(0)).map_err(failed)?;
            }
            if Some(have) == metadata.size {
                break;
            }
            bar.set_position(have);
            let outcome = self.attempt(url, id, revision, have, &mut file, path, &bar);
            let found = file.stream_position().map_err(failed)?;
            let error = match (outcome, metadata.size) {
                (Ok(()), Some(size)) if found == size => break,
                (Ok(()), None) => break,
                (Ok(()), Some(size)) => CheckpointError::IncompleteDownload { url: url.into(), expected: size, found },
                (
                    Err(
                        error @ (CheckpointError::Network { .. } | CheckpointError::Status { status: 429 | 500.., .. }),
                    ),
                    _,
                ) => error,
                (Err(error), _) => return Err(error),
            };
            vain = if found > best { 0 } else { vain + 1 };
            best = best.max(found);
            if vain >= MAX_VAIN_ATTEMPTS {
                return Err(error);
            }
            std::thread::sleep(FIRST_PAUSE * (1 << vain));
        }
        file.sync_all().map_err(failed)?;
        bar.finish_and_clear();
        verify(&mut file, url, &metadata.etag, path)
    }

    /// One GET, from `have` bytes on; everything that arrives is appended.
    #[expect(clippy::too_many_arguments, reason = "what one attempt needs of the loop around it")]
    fn attempt(
        &self,
        url: &str,
        id: &str,
        revision: &str,
        have: u64,
        file: &mut File,
        path: &Path,
        bar: &ProgressBar,
    ) -> Result<(), CheckpointError> {
        let failed = |source| CheckpointError::Write { path: path.into(), source };
        let (mut response, url) = self.request(url, Some(have))?;
        match response.status().as_u16() {
            206 if have > 0 => {
                let range = header(response.headers(), "content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {have}-")) {
                    let problem = format!("asked for bytes from {have} on, it sends {range:?}");
                    return Err(CheckpointError::Response { url, problem });
                }
            }
            // The server knows no ranges, or does not hold the rest of this file: begin again.
            200 | 416 => {
                file.set_len(0).map_err(failed)?;
                file.seek(SeekFrom::Start(0)).map_err(failed)?;
                if response.status() == 416 {
                    return Ok(());
                }
            }
            status => return Err(self.refusal(&url, id, revision, status, response.headers())),
        }
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count =
                body.read(&mut buffer).map_err(|source| CheckpointError::Network { url: url.clone(), source })?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..count]).map_err(failed)?;
            bar.inc(count as u64);
        }
    }

    /// Sends HEAD (`start` is `None`) or GET and follows redirects; also returns the last URL.
    ///
    /// HEAD stops at an answer that names the contents: the hub redirects large files to a store that knows less about them.
    fn request(&self, url: &str, start: Option<u64>) -> Result<(Response<Body>, String), CheckpointError> {
        let mut url = url.to_string();
        for _ in 0..MAX_REDIRECTS {
            let mut request = if start.is_some() { self.agent.get(&url) } else { self.agent.head(&url) };
            request = request.header("accept-encoding", "identity");
            if let Some(start @ 1..) = start {
                request = request.header("range", format!("bytes={start}-"));
            }
            if let Some(token) = self.token.as_ref().filter(|_| origin(&url) == origin(&self.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request
                .call()
                .map_err(|error| CheckpointError::Network { url: url.clone(), source: error.into_io() })?;
            let headers = response.headers();
            let is_answer = start.is_none()
                && header(headers, "x-repo-commit").is_some()
                && header(headers, "x-linked-etag").is_some();
            match header(headers, "location") {
                Some(location) if response.status().is_redirection() && !is_answer && location.len() < 8192 => {
                    url = join(&url, location);
                }
                _ => return Ok((response, url)),
            }
        }
        Err(CheckpointError::Response { url, problem: format!("more than {MAX_REDIRECTS} redirects") })
    }

    /// The error that a status stands for. The hub says more in `x-error-code`.
    fn refusal(&self, url: &str, id: &str, revision: &str, status: u16, headers: &HeaderMap) -> CheckpointError {
        let (id, endpoint) = (id.to_string(), self.endpoint.clone());
        match (status, header(headers, "x-error-code")) {
            (404, Some("RevisionNotFound")) => CheckpointError::NoSuchRevision { id, revision: revision.into() },
            (404, _) => CheckpointError::NoSuchRepository { id, endpoint },
            (401 | 403, _) => CheckpointError::Unauthorized { id, endpoint, status, with_token: self.token.is_some() },
            _ => CheckpointError::Status { url: url.into(), status },
        }
    }
}

/// Compares the SHA-256 where the etag is one. A damaged file is deleted.
fn verify(file: &mut File, url: &str, etag: &str, path: &Path) -> Result<(), CheckpointError> {
    if etag.len() != 64 || !etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let unreadable = |source| CheckpointError::Read { path: path.into(), source };
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    std::io::copy(file, &mut hasher).map_err(unreadable)?;
    let found = format!("{:x}", hasher.finalize());
    if found.eq_ignore_ascii_case(etag) {
        return Ok(());
    }
    std::fs::remove_file(path).map_err(|source| CheckpointError::Write { path: path.into(), source })?;
    Err(CheckpointError::DamagedDownload { url: url.into(), expected: etag.into(), found })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `scheme://host:port`.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// Where a `Location` header leads from a URL.
fn join(url: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_string();
    }
    let origin = origin(url);
    if location.starts_with("//") {
        return format!("{}:{location}", origin.split(':').next().unwrap_or("https"));
    }
    if location.starts_with('/') {
        return format!("{origin}{location}");
    }
    let path = url[origin.len()..].split(['?', '#']).next().unwrap_or_default();
    let (target, query) = location.split_at(location.find(['?', '#']).unwrap_or(location.len()));
    // The last part of the path gives way to the target; `.` and `..` are resolved (RFC 3986, 5.2.4).
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{origin}/{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve() {
        let url = "https://hub:8443/a/b/resolve/main/c?x=/y";
        for (location, target) in [
            ("https://other/z", "https://other/z"),
            ("//other/z", "https://other/z"),
            ("/api/z?q=1", "https://hub:8443/api/z?q=1"),
            ("z", "https://hub:8443/a/b/resolve/main/z"),
            ("../../y/./z?p=..", "https://hub:8443/a/b/y/z?p=.."),
            ("../../../../../../z", "https://hub:8443/z"),
        ] {
            assert_eq!(join(url, location), target, "{location}");
        }
        assert_eq!(join("http://hub", "z"), "http://hub/z");
    }

    #[test]
    fn origins() {
        assert_eq!(origin("https://hub:8443/a"), "https://hub:8443");
        assert_eq!(origin("https://hub"), "https://hub");
        assert_ne!(origin("https://hub/a"), origin("https://hub.evil.example/a"));
        assert_ne!(origin("https://hub/a"), origin("http://hub/a"));
    }
}
