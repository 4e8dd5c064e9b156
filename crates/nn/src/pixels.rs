//! The input of an image tower of either kind: a batch of pixels, checked once.
//!
//! Shapes: B pictures, S the model's `image_size`, H rows, W columns, P edge of a patch, N = H / P rows and M = W / P columns of
//! patches.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData, s};
use chinese_clip_config::VisionConfig;
use chinese_clip_kernels::{self as kernels, LevelValues};

use crate::{VisionError, fast};

/// Normalised pixels of B pictures of one size, for a device. A tower cannot fail on it.
#[derive(Debug, Clone)]
pub struct PixelBatch(Source);

#[derive(Debug, Clone)]
enum Source {
    /// `[B, 3, H, W]`, on the device.
    Values(Tensor<4>),
    Levels(Levels),
}

/// 8 bits a sample, on the host until a tower asks.
#[derive(Debug, Clone)]
struct Levels {
    levels: Arc<Vec<u8>>,
    values: Arc<LevelValues>,
    /// B, H and W of `[B, H, W, 3]`.
    shape: [usize; 3],
    device: Device,
}

impl PixelBatch {
    /// A batch out of a row-major array of `shape = [B, 3, S, S]`, S being the model's `image_size`.
    pub fn new(
        pixels: Vec<f32>,
        shape: [usize; 4],
        config: &VisionConfig,
        device: &Device,
    ) -> Result<Self, VisionError> {
        check_length(pixels.len(), shape)?;
        check_size(shape, config)?;
        Ok(Self::checked(pixels, shape, device))
    }

    /// A batch of any height and width from one patch on, `shape = [B, 3, H, W]`: the reference's
    /// `interpolate_pos_encoding=True`. On it a tower stretches its positions to the patches that there are.
    pub fn any_size(
        pixels: Vec<f32>,
        shape: [usize; 4],
        config: &VisionConfig,
        device: &Device,
    ) -> Result<Self, VisionError> {
        let [_, channels, height, width] = shape;
        check_length(pixels.len(), shape)?;
        let patch = config.patch_size;
        if channels != config.num_channels || height < patch || width < patch {
            return Err(VisionError::NoPatch { height, width, channels, patch });
        }
        Ok(Self::checked(pixels, shape, device))
    }

    /// The batch of [`new`](Self::new) whose pixels are the `values` of 8-bit levels `[B, S, S, 3]`, `shape = [B, S, S]`. On `flex` patches
    /// are made of the levels themselves.
    pub fn of_levels(
        levels: Vec<u8>,
        values: Arc<LevelValues>,
        shape: [usize; 3],
        config: &VisionConfig,
        device: &Device,
    ) -> Result<Self, VisionError> {
        let [count, height, width] = shape;
        check_length(levels.len(), [count, height, width, 3])?;
        check_size([count, 3, height, width], config)?;
        Ok(Self(Source::Levels(Levels { levels: Arc::new(levels), values, shape, device: device.clone() })))
    }

    fn checked(pixels: Vec<f32>, shape: [usize; 4], device: &Device) -> Self {
        Self(Source::Values(Tensor::from_data(TensorData::new(pixels, shape), (device, DType::F32))))
    }

    /// The pixels in `dtype`, `[B, 3, H, W]`.
    pub fn pixels(&self, dtype: DType) -> Tensor<4> {
        match &self.0 {
            Source::Values(pixels) => pixels.clone().cast(dtype),
            Source::Levels(Levels { levels, values, shape: [_, height, width], device }) => {
                let pixels = kernels::planes(levels, values, [*height, *width]);
                let pixels: Tensor<4> = Tensor::from_data(TensorData::new(pixels, self.shape()), (device, DType::F32));
                pixels.cast(dtype)
            }
        }
    }

    /// Zeros, in the place of the class token, and the patches, row by row; what is left of the picture is dropped.
    ///
    /// # Shapes
    /// The result, in `dtype`: `[B, N * M + 1, 3 * P * P]`.
    pub fn patches(&self, p: usize, dtype: DType) -> Tensor<3> {
        if let Source::Levels(Levels { levels, values, shape, device }) = &self.0
            && let Some(patches) = fast::patches_of_levels(levels, values, *shape, p, dtype, device)
        {
            return patches;
        }
        let pixels = self.pixels(dtype);
        fast::patches(&pixels, p).unwrap_or_else(|| {
            let [b, c, height, width] = pixels.dims();
            let (n, m) = (height / p, width / p);
            let pixels = pixels.slice(s![.., .., 0..n * p, 0..m * p]).reshape([b, c, n, p, m, p]);
            let patches = pixels.permute([0, 2, 4, 1, 3, 5]).reshape([b, n * m, c * p * p]);
            let class = Tensor::zeros([b, 1, c * p * p], (&patches.device(), dtype));
            Tensor::cat(vec![class, patches], 1)
        })
    }

    /// `[B, 3, H, W]`.
    pub fn shape(&self) -> [usize; 4] {
        match &self.0 {
            Source::Values(pixels) => pixels.dims(),
            Source::Levels(Levels { shape: [count, height, width], .. }) => [*count, 3, *height, *width],
        }
    }
}

fn check_length(found: usize, shape: [usize; 4]) -> Result<(), VisionError> {
    let expected = shape.iter().product();
    if found != expected {
        return Err(VisionError::Length { found, shape, expected });
    }
    if shape[0] == 0 { Err(VisionError::Empty) } else { Ok(()) }
}

/// Of `[B, 3, S, S]`.
fn check_size([_, channels, height, width]: [usize; 4], config: &VisionConfig) -> Result<(), VisionError> {
    let expected = config.image_size;
    if [channels, height, width] == [config.num_channels, expected, expected] {
        Ok(())
    } else {
        Err(VisionError::Size { height, width, channels, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_batches_are_refused() {
        let config = VisionConfig { image_size: 2, patch_size: 1, ..VisionConfig::default() };
        for (elements, shape, part) in [
            (11, [1, 3, 2, 2], "11 elements, the shape [1, 3, 2, 2] needs 12"),
            (0, [0, 3, 2, 2], "no picture"),
            (18, [1, 3, 2, 3], "input image size (2x3, 3 channels) doesn't match model (2x2"),
            (4, [1, 1, 2, 2], "1 channels"),
        ] {
            let batch = PixelBatch::new(vec![0.0; elements], shape, &config, &Device::flex());
            let message = batch.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        for (elements, shape, part) in [
            (11, [1, 2, 2], "11 elements, the shape [1, 2, 2, 3] needs 12"),
            (0, [0, 2, 2], "no picture"),
            (18, [1, 2, 3], "input image size (2x3, 3 channels) doesn't match model (2x2"),
        ] {
            let values = Arc::new([[0.0; 256]; 3]);
            let batch = PixelBatch::of_levels(vec![0; elements], values, shape, &config, &Device::flex());
            let message = batch.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn any_size_needs_one_patch() {
        let config = VisionConfig { image_size: 4, patch_size: 2, ..VisionConfig::default() };
        let batch = |elements, shape| PixelBatch::any_size(vec![0.0; elements], shape, &config, &Device::flex());
        for shape in [[1, 3, 2, 2], [2, 3, 2, 7], [1, 3, 4, 4]] {
            assert_eq!(batch(shape.iter().product(), shape).unwrap().shape(), shape);
        }
        for (elements, shape, part) in [
            (11, [1, 3, 2, 2], "11 elements"),
            (0, [0, 3, 2, 2], "no picture"),
            (9, [1, 3, 1, 3], "input image size (1x3, 3 channels) has no patch of the model (2x2"),
            (9, [1, 3, 3, 1], "(3x1, 3 channels)"),
            (4, [1, 1, 2, 2], "1 channels"),
        ] {
            let error = batch(elements, shape).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
