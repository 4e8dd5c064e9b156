//! The steps after the resize: transformers 4.51.3, `image_transforms.py`, `center_crop`, `rescale`, `normalize`.
//!
//! Shapes: H, W rows and columns; C channels.

use chinese_clip_config::{CropSize, PreprocessorConfig};
use chinese_clip_kernels::LevelValues;

/// Where the crop meets the picture along one axis.
struct Overlap {
    /// First position in the picture.
    from: usize,
    /// First position in the crop.
    to: usize,
    len: usize,
}

/// An odd margin is larger at the start when the picture is padded, and at the end when it is cut.
fn overlap(picture: usize, crop: usize) -> Overlap {
    if picture >= crop {
        Overlap { from: (picture - crop) / 2, to: 0, len: crop }
    } else {
        Overlap { from: 0, to: (crop - picture).div_ceil(2), len: picture }
    }
}

/// The centre of a picture, with zeros where there is none: `[H, W, C] -> [H', W', C]`.
pub(super) fn crop<T: Copy + Default>(
    pixels: &[T],
    channels: usize,
    (width, height): (usize, usize),
    crop: CropSize,
) -> Vec<T> {
    let (columns, rows) = (overlap(width, crop.width), overlap(height, crop.height));
    let mut out = vec![T::default(); crop.width * crop.height * channels];
    for y in 0..rows.len {
        let from = ((rows.from + y) * width + columns.from) * channels;
        let to = ((rows.to + y) * crop.width + columns.to) * channels;
        out[to..to + columns.len * channels].copy_from_slice(&pixels[from..from + columns.len * channels]);
    }
    out
}

/// What `rescale` and `normalize` make of each level of each channel.
pub(super) fn level_values(config: &PreprocessorConfig) -> LevelValues {
    // torchvision's ToTensor divides by 255 in f32, which comes to the same for every level.
    let rescale = |level: u8| {
        if config.do_rescale { (f64::from(level) * config.rescale_factor) as f32 } else { f32::from(level) }
    };
    let (mean, std) = (config.image_mean.map(|m| m as f32), config.image_std.map(|s| s as f32));
    let mut values = [[0.0; 256]; 3];
    for (channel, values) in values.iter_mut().enumerate() {
        for (level, value) in (0..=255).zip(values) {
            let scaled = rescale(level);
            *value = if config.do_normalize { (scaled - mean[channel]) / std[channel] } else { scaled };
        }
    }
    values
}
