//! Pictures against Pillow 13.0.0, transformers 4.51.3 and cn_clip 1.6.0: `tests/data/make_image_goldens.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking
#![allow(clippy::case_sensitive_file_extension_comparisons)] // the goldens' own names

mod arrays;
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

/// CRC-32 as in zlib.
fn crc(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    u64::from(!crc)
}

/// xorshift32, one byte a step: `noise` of the script.
fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut step = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (x >> 24) as u8
    };
    (0..n).map(|_| step()).collect()
}
