//! What the suites about pictures share.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use chinese_clip_preprocess::Picture;

/// xorshift32, one byte a step: `tests/data/noise.py`.
pub(crate) fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut step = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (x >> 24) as u8
    };
    (0..n).map(|_| step()).collect()
}

pub(crate) fn picture(width: usize, height: usize, seed: u32) -> Picture {
    Picture::from_rgb8(width, height, noise(width * height * 3, seed)).unwrap()
}

/// CRC-32 as in zlib.
pub(crate) fn crc(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    u64::from(!crc)
}
