//! Seeded inputs: for the benches, and in files for the workers of `cargo xtask bench --peers`.

use std::io::Error;
use std::path::{Path, PathBuf};

use chinese_clip_tests::Arrays;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};

use crate::LENGTH;

/// Ids of the vocabulary's special tokens, and where its Chinese characters begin and end.
const CLS: i64 = 101;
const SEP: i64 = 102;
const CHARACTERS: std::ops::Range<i64> = 670..7992;

/// Texts of the batch of short ones, and its longest in tokens.
const SHORT_TEXTS: usize = 256;
const SHORT_LENGTH: usize = 30;

/// A picture of `width` by `height` pixels, as JPEG: soft waves of colour, edges, and a little noise.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut random = Random::new(1);
    let wave = |x: u32, y: u32, length: f32, tilt: f32| ((x as f32 + tilt * y as f32) / length).sin();
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let edge = if (x / 97 + y / 61) % 5 == 0 { 40.0 } else { 0.0 };
        let noise = 4.0 * random.uniform();
        let levels = [(83.0, 0.4), (131.0, -0.7), (59.0, 1.1)];
        Rgb(levels.map(|(length, tilt)| (120.0 + 60.0 * wave(x, y, length, tilt) + edge + noise) as u8))
    });
    let mut bytes = Vec::new();
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 90)).expect("memory to write to");
    bytes
}

/// A Chinese text of `characters` characters.
pub fn text(characters: usize) -> String {
    "一只黑白相间的小猫坐在窗台上看着外面的雪景".chars().cycle().take(characters).collect()
}

/// Normalised pixels of `batch` pictures of edge `size`: coarse noise with fine noise on it.
pub fn pixels(batch: usize, size: usize) -> Vec<f32> {
    let mut random = Random::new(2);
    let coarse: Vec<f32> = (0..batch * 3 * 64).map(|_| 2.0 * random.uniform()).collect();
    let at = |plane: usize, y: usize, x: usize| coarse[plane * 64 + y * 8 / size * 8 + x * 8 / size];
    let places = (0..batch * 3).flat_map(|plane| (0..size * size).map(move |i| (plane, i / size, i % size)));
    places.map(|(plane, y, x)| at(plane, y, x) + 0.3 * random.uniform()).collect()
}

/// Token ids and mask of `batch` texts, padded to [`LENGTH`]: the first is full, the others have 8 to 52 tokens.
pub fn token_ids(batch: usize) -> (Vec<i64>, Vec<i64>) {
    padded((0..batch).map(|row| LENGTH - (row * 29) % 45), LENGTH)
}

/// The same of [`SHORT_TEXTS`] texts of 4 to 30 tokens, each length about as often as any other, padded to 30.
pub(crate) fn short_token_ids() -> (Vec<i64>, Vec<i64>) {
    padded((0..SHORT_TEXTS).map(|row| SHORT_LENGTH - (row * 11) % 27), SHORT_LENGTH)
}

fn padded(lengths: impl Iterator<Item = usize>, width: usize) -> (Vec<i64>, Vec<i64>) {
    let mut random = Random::new(3);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for tokens in lengths {
        for place in 0..width {
            ids.push(match place {
                0 => CLS,
                _ if place + 1 == tokens => SEP,
                _ if place >= tokens => 0,
                _ => CHARACTERS.start + (random.next() % (CHARACTERS.end - CHARACTERS.start) as u64) as i64,
            });
            mask.push(i64::from(place < tokens));
        }
    }
    (ids, mask)
}

/// Inputs that all workers read.
pub struct Inputs {
    /// `pixel_values`, `input_ids` and `attention_mask`, `short_input_ids` and `short_attention_mask`.
    pub arrays: Arrays,
    /// A JPEG.
    pub photo: PathBuf,
}

impl Inputs {
    /// Writes inputs for batches of up to `batch` into a folder.
    pub fn write(folder: &Path, batch: usize, size: usize) -> Result<(), Error> {
        let pixels: Vec<u8> = pixels(batch, size).iter().flat_map(|value| value.to_le_bytes()).collect();
        let ((ids, mask), (short_ids, short_mask)) = (token_ids(batch), short_token_ids());
        let [ids, mask, short_ids, short_mask] = [ids, mask, short_ids, short_mask]
            .map(|values| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(Error::other);
        let arrays = [
            ("pixel_values", view(Dtype::F32, vec![batch, 3, size, size], &pixels)?),
            ("input_ids", view(Dtype::I64, vec![batch, LENGTH], &ids)?),
            ("attention_mask", view(Dtype::I64, vec![batch, LENGTH], &mask)?),
            ("short_input_ids", view(Dtype::I64, vec![SHORT_TEXTS, SHORT_LENGTH], &short_ids)?),
            ("short_attention_mask", view(Dtype::I64, vec![SHORT_TEXTS, SHORT_LENGTH], &short_mask)?),
        ];
        serialize_to_file(arrays, None, &folder.join("inputs.safetensors")).map_err(Error::other)?;
        std::fs::write(folder.join("photo.jpg"), jpeg(640, 480))
    }

    /// Reads them.
    pub fn read(folder: &Path) -> Self {
        Self { arrays: Arrays::read(&folder.join("inputs.safetensors")), photo: folder.join("photo.jpg") }
    }
}

/// xorshift64*: the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// From -1 to 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.next() & 0xff_ffff) as f32 / 8_388_608.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_rows_end_with_their_separator() {
        let (ids, mask) = token_ids(32);
        assert_eq!(mask[..LENGTH], [1; LENGTH], "the first text is full");
        for (ids, mask) in ids.chunks(LENGTH).zip(mask.chunks(LENGTH)) {
            let tokens = mask.iter().sum::<i64>() as usize;
            assert!((8..=LENGTH).contains(&tokens) && ids[0] == CLS && ids[tokens - 1] == SEP);
            assert!(ids[tokens..].iter().all(|&id| id == 0));
        }
    }
}
