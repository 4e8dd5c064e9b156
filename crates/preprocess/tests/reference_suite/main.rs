//! transformers' own tests of the image processor and the processor, restated under their names: 4.51.3 (of the mixins also later ones),
//! `tests/models/chinese_clip/test_image_processing_chinese_clip.py` and `test_processing_chinese_clip.py` with the mixins that they
//! inherit. Their pictures are random; here they are drawn by `noise`. `docs/parity.md` says which have no counterpart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod image_processing;
mod processing;

use chinese_clip_preprocess::Picture;

/// xorshift32, one byte a step: `noise` of the scripts.
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

fn picture(width: usize, height: usize, seed: u32) -> Picture {
    Picture::from_rgb8(width, height, noise(width * height * 3, seed)).unwrap()
}

/// CRC-32 as in zlib.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
