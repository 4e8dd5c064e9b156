//! Helpers of the tests: the committed checkpoints, directories around a weight file, hand-made torch files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::case_sensitive_file_extension_comparisons,
    dead_code,
    unreachable_pub,
    reason = "each test file uses some of it"
)]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use chinese_clip_checkpoint::{Checkpoint, CheckpointError, OpenOptions};
use tempfile::TempDir;

/// A config.json that says nothing and is valid.
pub const CONFIG: &str = "{}";

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// {file: {tensor: (dtype, shape, values)}}
pub type Expected = BTreeMap<String, BTreeMap<String, (String, Vec<usize>, Vec<f32>)>>;

pub fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap()
}

pub fn options() -> OpenOptions {
    OpenOptions::isolated("/nonexistent/cache")
}

/// A directory with a config.json and these files.
pub fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), CONFIG).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

pub fn open_dir(dir: &Path) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(dir.to_str().unwrap(), &options())
}

/// Opens these bytes as the weights of a directory. The directory may go: the map holds the file.
pub fn open_bytes(name: &str, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let dir = directory(&[(name, bytes)]);
    open_dir(dir.path())
}

/// Opens a committed file.
pub fn open_data(name: &str) -> Result<Checkpoint, CheckpointError> {
    let target = if name.ends_with(".bin") { "pytorch_model.bin" } else { "model.safetensors" };
    open_bytes(target, &std::fs::read(data(name)).unwrap())
}

/// The error, its causes, and the hint: what a user reads.
pub fn text(error: &CheckpointError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    if let Some(hint) = error.hint() {
        text = format!("{text}\nhint: {hint}");
    }
    text
}

/// A safetensors file out of a header text and data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// A torch file with this pickle and these entries.
pub fn torch(pickle: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
    torch_with(zip::CompressionMethod::Stored, pickle, entries)
}

pub fn torch_with(method: zip::CompressionMethod, pickle: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in [("data.pkl", pickle)].iter().chain(entries) {
        zip.start_file(format!("x/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Writes pickles opcode by opcode.
#[derive(Default, Clone)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn string(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }
    pub fn int(self, n: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&n.to_le_bytes())
    }
    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }
    pub fn tuple(self, items: &[i64]) -> Self {
        items.iter().fold(self.raw(b"("), |p, &n| p.int(n)).raw(b"t")
    }
    /// `_rebuild_tensor_v2` of a float storage `0` of `count` elements.
    pub fn tensor(self, count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .string("storage")
            .global("torch", "FloatStorage")
            .string("0")
            .string("cpu")
            .int(count)
            .raw(b"tQ")
            .int(offset)
            .tuple(shape)
            .tuple(strides)
            .raw(b"\x89}tR")
    }
    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// A torch file with one tensor `w` that the pickle describes so, over 4 floats.
pub fn claim(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let pickle = Pickle::new().raw(b"}(").string("w").tensor(count, offset, shape, strides).raw(b"u").stop();
    let floats: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    torch(&pickle, &[("data/0", &floats)])
}
