//! What people take for a weights file and is none: recognised by its first bytes, so that the message can say so.

use std::path::Path;

use crate::CheckpointError;

/// Fails for a git-lfs pointer, an HTML page, and the like.
pub(crate) fn sniff(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let start = &bytes[..bytes.len().min(512)];
    let text = start.trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(CheckpointError::LfsPointer { path: path.into() });
    }
    let found = if text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        "a web page"
    } else if start.iter().all(|&b| b == 0) && start.len() == 512 {
        "all zeros at its start (a download that did not finish?)"
    } else if start.starts_with(b"\x89HDF\r\n") {
        "an HDF5 file (TensorFlow)"
    } else if start.starts_with(b"GGUF") {
        "a GGUF file"
    } else {
        return Ok(());
    };
    Err(CheckpointError::NotWeights { path: path.into(), found })
}
