//! No bytes make the decoders panic, and what decodes can be processed.

use chinese_clip_config::{Limits, PreprocessorConfig};
use chinese_clip_preprocess::{Dialect, ImageProcessor, Picture};

use crate::common::noise;
use crate::folder;

fn small() -> Limits {
    let mut limits = Limits::default();
    limits.image_pixels = 1 << 20;
    limits
}

fn try_out(bytes: &[u8]) {
    if let Ok(picture) = Picture::decode(bytes, &small()) {
        for dialect in [Dialect::Hf, Dialect::CnClip] {
            let processor = ImageProcessor::new(PreprocessorConfig::published(8), dialect);
            assert_eq!(processor.process(std::slice::from_ref(&picture)).unwrap().shape, [1, 3, 8, 8]);
        }
    }
}

#[test]
fn damaged_files() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "rgb" || e == "json") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let dice = noise(400, bytes.len() as u32);
        for throw in dice.chunks_exact(8) {
            let mut damaged = bytes.clone();
            // Headers are hit more often than what they describe.
            let reach = if throw[0] & 1 == 0 { bytes.len().min(64) } else { bytes.len() };
            for hit in throw[1..7].chunks_exact(3).take(1 + usize::from(throw[0] >> 7)) {
                let at = (usize::from(hit[0]) << 8 | usize::from(hit[1])) % reach;
                damaged[at] = hit[2];
            }
            try_out(&damaged);
        }
        for keep in dice.iter().take(20) {
            try_out(&bytes[..bytes.len() * usize::from(*keep) / 256]);
        }
    }
}

#[test]
fn noise_behind_every_signature() {
    let signatures: [&[u8]; 14] = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"RIFF\x40\0\0\0WEBPVP8 ",
        b"RIFF\x40\0\0\0WEBPVP8L",
        b"MM\0*",
        b"II*\0\x08\0\0\0",
        b"BM",
        b"\0\0\x01\0\x01\0",
        b"qoif",
        b"P1",
        b"P6 3 3 255\n",
        b"P7",
        b"#?RADIANCE\n",
    ];
    for (signature, seed) in signatures.iter().zip(1000..) {
        for length in [0, 1, 7, 30, 200] {
            try_out(&[signature, &noise(length, seed)[..]].concat());
        }
    }
}
