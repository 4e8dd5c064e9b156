//! Pictures against Pillow 13.0.0, transformers 4.51.3 and cn_clip 1.6.0: `tests/data/make_image_goldens.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking
#![allow(clippy::case_sensitive_file_extension_comparisons)] // the goldens' own names

mod arrays;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod goldens;
mod mutations;
mod processor;
mod resizing;

use std::path::PathBuf;

use serde_json::Value;

/// The folder of goldens.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/image")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap()
}
