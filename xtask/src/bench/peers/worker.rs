//! A process that computes on request: a line of JSON each way.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// How a worker is started.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) variable: Option<(&'static str, OsString)>,
}

/// What a worker says when its model is ready.
#[derive(Deserialize)]
pub(super) struct Ready {
    pub(super) version: String,
    pub(super) load_seconds: f64,
    pub(super) peak_bytes: Option<u64>,
}

/// What a worker computed.
#[derive(Deserialize)]
pub(super) struct Answer {
    /// Of each call.
    pub(super) seconds: Vec<f64>,
    /// Of the last call, if they were asked for.
    pub(super) features: Option<Vec<f32>>,
    pub(super) peak_bytes: Option<u64>,
}

/// A running worker; it is ended when dropped.
pub(super) struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    errors: File,
}

impl Worker {
    /// Starts a worker and waits for its model.
    pub(super) fn start(launch: &Launch) -> Result<(Self, Ready), String> {
        let program = launch.program.display();
        let said = |error: std::io::Error| format!("{program}: {error}");
        let errors = tempfile::tempfile().map_err(said)?;
        let mut child = Command::new(&launch.program)
            .args(&launch.arguments)
            .envs(launch.variable.clone())
            .env("RUST_BACKTRACE", "0") // the last line is the reason
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().map_err(said)?)
            .spawn()
            .map_err(said)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{program}: no pipes"));
        };
        let mut worker = Self { child, requests, answers: BufReader::new(answers), errors };
        let ready = worker.hear()?;
        Ok((worker, ready))
    }

    pub(super) fn ask(&mut self, stage: &str, batch: usize, calls: usize, features: bool) -> Result<Answer, String> {
        let request = json!({ "stage": stage, "batch": batch, "calls": calls, "features": features });
        if writeln!(self.requests, "{request}").is_err() {
            return Err(self.last_words());
        }
        self.hear()
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) | Err(_) => Err(self.last_words()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| {
                let start: String = line.trim().chars().take(60).collect();
                format!("answers `{start}`: {error}") // not-a-number is no JSON, and ends here
            }),
        }
    }

    /// Why a worker that fell silent did: how it ended, and the end of what it wrote to standard error.
    fn last_words(&mut self) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut text = String::new();
        if self.errors.rewind().is_ok() && self.errors.read_to_string(&mut text).is_ok() {
            eprint!("{text}");
        }
        match reason(&text) {
            Some(reason) => format!("{status}: {reason}"),
            None => status,
        }
    }
}

/// The end of what a program wrote to standard error: the first sentence of its last line, and the hint after it.
pub(super) fn reason(text: &str) -> Option<String> {
    let said = |line: &&str| !line.is_empty() && !line.starts_with("note: ");
    let mut lines = text.lines().map(str::trim).filter(said).rev().peekable();
    let hint = lines.next_if(|line| line.starts_with("hint: "));
    let said = lines.next()?.split(". ").next()?;
    Some(hint.map_or_else(|| said.into(), |hint| format!("{said} ({hint})")))
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A worker that is a shell script.
    fn shell(script: &str) -> Launch {
        Launch { program: "sh".into(), arguments: vec!["-c".into(), script.into()], variable: None }
    }

    const READY: &str = r#"echo '{"version": "1", "load_seconds": 0.5, "peak_bytes": null}'; "#;

    #[test]
    fn a_worker_answers_until_it_dies() {
        let script = r#"read a; echo '{"seconds": [1.0], "features": [2.0], "peak_bytes": 3}'; read b; echo Boom: out of memory >&2; exit 7"#;
        let (mut worker, ready) = Worker::start(&shell(&[READY, script].concat())).unwrap();
        assert_eq!((ready.version.as_str(), ready.peak_bytes), ("1", None));
        let answer = worker.ask("text", 1, 1, true).unwrap();
        assert_eq!((answer.seconds, answer.features, answer.peak_bytes), (vec![1.0], Some(vec![2.0]), Some(3)));
        let reason = worker.ask("text", 1, 1, false).err().unwrap();
        assert_eq!(reason, "exit status: 7: Boom: out of memory");
    }

    #[test]
    fn a_worker_that_cannot_start() {
        let missing = Launch { program: "no-such-program".into(), ..shell("") };
        assert!(Worker::start(&missing).err().unwrap().starts_with("no-such-program: "));
        let reason = Worker::start(&shell("echo no model >&2; echo hint: give one >&2; exit 1")).err().unwrap();
        assert_eq!(reason, "exit status: 1: no model (hint: give one)");
        let panic = Worker::start(&shell("echo out of range >&2; echo note: run again >&2; exit 101")).err().unwrap();
        assert_eq!(panic, "exit status: 101: out of range");
        let babble = Worker::start(&shell("echo hello; read a")).err().unwrap();
        assert!(babble.starts_with("answers `hello`: "), "{babble}");
    }
}
