//! Runs the built command, on the demonstration model and away from the user's environment.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The command, with nothing in its environment that changes what it does.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chinese-clip"));
    for name in
        ["CHINESE_CLIP_MODEL", "CHINESE_CLIP_DEVICE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT"]
    {
        command.env_remove(name);
    }
    // Mesa's device selection prints an error where a headless machine sets none.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command
}

/// What a run has left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs it with these arguments.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    command().args(arguments).stdin(Stdio::null()).output().unwrap().into()
}

/// Runs it with bytes on standard input.
pub(crate) fn run_with<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
    let mut child =
        command().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// An example picture of the demonstration model.
pub(crate) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/demo/examples").join(name);
    assert!(path.is_file(), "{}", path.display());
    path.to_str().unwrap().into()
}

/// Writes small pictures that differ, and gives their paths.
pub(crate) fn pictures(folder: &Path, count: u32) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).unwrap();
    let one = |i: u32| {
        let path = folder.join(format!("{i:04}.png"));
        image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([(i * 37 + x * 30) as u8, (y * 30) as u8, i as u8]))
            .save(&path)
            .unwrap();
        path
    };
    (0..count).map(one).collect()
}

/// The rows of a jsonl file of embeddings: kind, source, embedding.
pub(crate) fn rows(text: &str) -> Vec<(String, String, Vec<f64>)> {
    text.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let numbers = row["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            (row["kind"].as_str().unwrap().into(), row["source"].as_str().unwrap().into(), numbers)
        })
        .collect()
}
