//! The input of an image tower of either kind: a batch of pixels, checked once.

use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_config::VisionConfig;

use crate::VisionError;

/// Normalised pixels of B pictures, on a device. A tower cannot fail on it.
#[derive(Debug, Clone)]
pub struct PixelBatch {
    pixels: Tensor<4>,
}

impl PixelBatch {
    /// A batch out of a row-major array of `shape = [B, 3, S, S]`, S being the model's `image_size`.
    pub fn new(
        pixels: Vec<f32>,
        shape: [usize; 4],
        config: &VisionConfig,
        device: &Device,
    ) -> Result<Self, VisionError> {
        let [batch, channels, height, width] = shape;
        let (expected, found) = (shape.iter().product(), pixels.len());
        if found != expected {
            return Err(VisionError::Length { found, shape, expected });
        }
        if batch == 0 {
            return Err(VisionError::Empty);
        }
        let expected = config.image_size;
        if [channels, height, width] != [config.num_channels, expected, expected] {
            return Err(VisionError::Size { height, width, channels, expected });
        }
        Ok(Self { pixels: Tensor::from_data(TensorData::new(pixels, shape), (device, DType::F32)) })
    }

    /// The pixels in `dtype`, `[B, 3, S, S]`.
    pub fn pixels(&self, dtype: DType) -> Tensor<4> {
        self.pixels.clone().cast(dtype)
    }

    /// `[B, 3, S, S]`.
    pub fn shape(&self) -> [usize; 4] {
        self.pixels.dims()
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
    }
}
