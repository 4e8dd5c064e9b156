//! FLIP: the tower over a part of the patches.
//!
//! Follows `VisualTransformer.random_masking` of cn_clip 1.6.0 (`clip/model.py`): patches are left out after their positions were
//! added and before the first layer norm; the class token stays.
//!
//! differs: torch's random numbers are not reproduced. Which patches stay follows from a seed, or is given.
//!
//! Shapes: B batch, L patches, K kept patches, T = L + 1 tokens, W width.

use burn::tensor::{Int, Tensor, TensorData};
use chinese_clip_nn::{PixelBatch, Recorder, VisionError};

use crate::{PreparedVisionModel, VisionModel};

/// Which patches of each picture of a batch are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPatches {
    /// `[B, K]` row-major.
    indices: Vec<usize>,
    /// `[B, K]`.
    shape: [usize; 2],
    /// L.
    patches: usize,
}

impl KeptPatches {
    /// The given ones of L = `patches`: `shape = [B, K]`, row-major; patches count from 0, row by row.
    ///
    /// # Errors
    /// If the length is not that of the shape, or an index is out of range or twice in a row.
    pub fn new(indices: Vec<usize>, shape: [usize; 2], patches: usize) -> Result<Self, VisionError> {
        let [batch, kept] = shape;
        if batch.checked_mul(kept) != Some(indices.len()) {
            return Err(VisionError::KeptBatch {
                found: [batch, kept],
                expected: [batch, indices.len() / batch.max(1)],
            });
        }
        for (row, of_row) in indices.chunks(kept.max(1)).enumerate() {
            let mut seen = vec![false; patches];
            for (column, &index) in of_row.iter().enumerate() {
                match seen.get_mut(index) {
                    Some(seen) if !*seen => *seen = true,
                    _ => return Err(VisionError::KeptPatch { row, column, index, patches }),
                }
            }
        }
        Ok(Self { indices, shape, patches })
    }

    /// A random part of `shape = [B, L]` patches: L * (1 - `mask_ratio`) of each picture, rounded down. The same seed keeps the same.
    ///
    /// # Errors
    /// If `mask_ratio` is negative or not a number, or leaves no patch.
    pub fn random(shape: [usize; 2], mask_ratio: f64, seed: u64) -> Result<Self, VisionError> {
        let [batch, patches] = shape;
        let kept = if mask_ratio >= 0.0 { (patches as f64 * (1.0 - mask_ratio)) as usize } else { 0 };
        if kept == 0 {
            return Err(VisionError::MaskRatio { ratio: mask_ratio, patches });
        }
        let mut noise = Noise(seed);
        let mut indices = Vec::with_capacity(batch * kept);
        for _ in 0..batch {
            let mut shuffled: Vec<(u64, usize)> = (0..patches).map(|patch| (noise.draw(), patch)).collect();
            shuffled.sort_unstable();
            indices.extend(shuffled.into_iter().take(kept).map(|(_, patch)| patch));
        }
        Ok(Self { indices, shape: [batch, kept], patches })
    }

    /// The kept patches, `[B, K]` row-major.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// `[B, K]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The class token and the kept patches.
    ///
    /// # Shapes
    /// `x`: `[B, T, W]`; the result: `[B, K + 1, W]`.
    fn of(&self, x: Tensor<3>) -> Result<Tensor<3>, VisionError> {
        let ([b, t, w], [batch, kept]) = (x.dims(), self.shape);
        if [b, t - 1] != [batch, self.patches] {
            return Err(VisionError::KeptBatch { found: [batch, self.patches], expected: [b, t - 1] });
        }
        let tokens: Vec<i64> = (0..b)
            .flat_map(|row| {
                let of_row = &self.indices[row * kept..(row + 1) * kept];
                std::iter::once(row * t).chain(of_row.iter().map(move |patch| row * t + 1 + patch))
            })
            .map(|token| token as i64)
            .collect();
        let count = tokens.len();
        let tokens = Tensor::<1, Int>::from_data(TensorData::new(tokens, [count]), &x.device()); // [B * (K + 1)]
        Ok(x.reshape([b * t, w]).select(0, tokens).reshape([b, kept + 1, w])) // [B, K + 1, W]
    }
}

impl VisionModel {
    /// The pooled class token over the kept patches alone.
    ///
    /// # Shapes
    /// The result: `[B, W]`.
    ///
    /// # Errors
    /// If `kept` is for another number of pictures or patches.
    pub fn forward_kept(&self, batch: &PixelBatch, kept: &KeptPatches) -> Result<Tensor<2>, VisionError> {
        let x = kept.of(self.embeddings.forward(batch))?; // [B, K + 1, W]
        Ok(self.encode(x, &mut Recorder::off()).pooler_output)
    }
}

impl PreparedVisionModel {
    /// The pooled class token over the kept patches alone.
    ///
    /// # Shapes
    /// The result: `[B, W]`.
    ///
    /// # Errors
    /// If `kept` is for another number of pictures or patches.
    pub fn forward_kept(&self, batch: &PixelBatch, kept: &KeptPatches) -> Result<Tensor<2>, VisionError> {
        Ok(self.encode(kept.of(self.embeddings.forward(batch))?))
    }
}

/// `SplitMix64`: few lines, and the same numbers everywhere.
struct Noise(u64);

impl Noise {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_keeps_as_many_as_the_reference_and_the_same_again() {
        // int(L * (1 - r)) in Python
        for (patches, ratio, kept) in [(196, 0.5, 98), (196, 0.75, 49), (10, 0.7, 3), (16, 0.1, 14), (1, 0.0, 1)] {
            let random = KeptPatches::random([3, patches], ratio, 7).unwrap();
            assert_eq!(random.shape(), [3, kept], "{patches} {ratio}");
            assert_eq!(KeptPatches::new(random.indices().to_vec(), [3, kept], patches).unwrap(), random);
            assert_eq!(KeptPatches::random([3, patches], ratio, 7).unwrap(), random);
        }
        let rows = KeptPatches::random([2, 196], 0.5, 7).unwrap();
        assert_ne!(rows.indices()[..98], rows.indices()[98..]);
        assert_ne!(KeptPatches::random([2, 196], 0.5, 8).unwrap(), rows);
    }

    #[test]
    fn every_patch_is_kept_equally_often() {
        let rows = KeptPatches::random([2000, 8], 0.5, 1).unwrap();
        let mut counts = [0; 8];
        rows.indices().iter().for_each(|&patch| counts[patch] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn bad_selections_are_refused() {
        for ratio in [-0.1, 1.0, 1.5, 0.95, f64::NAN, f64::INFINITY] {
            let error = KeptPatches::random([1, 16], ratio, 0).unwrap_err().to_string();
            assert!(error.contains("mask_ratio is") && error.contains("16 patches"), "{error}");
        }
        for (indices, shape, part) in [
            (&[0, 4][..], [1, 2], "kept[0, 1] is patch 4, must be less than 4"),
            (&[0, 1, 2, 2], [2, 2], "kept[1, 1] is patch 2"),
            (&[0, 1, 2], [2, 2], "kept patches are for [2, 2]"),
        ] {
            let error = KeptPatches::new(indices.to_vec(), shape, 4).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
