//! What becomes of transparency: `convert_to_rgb`, transformers 4.51.3 and 5.24.0, `image_transforms.py`; Pillow 13.0.0,
//! `src/libImaging/AlphaComposite.c`.

use std::borrow::Cow;

use super::convert::to_rgb;
use super::picture::Samples;

/// What a picture shows where it is transparent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Alpha {
    /// What lies under the transparency: transformers up to 5.20, and `cn_clip`.
    #[default]
    Dropped,
    /// White: transformers from 5.23 on. Of arrays, too: four channels are colour and alpha, one channel is grey.
    OnWhite,
}

/// `alpha_composite` over white, then `convert("RGB")`: `[N, C] -> [N, 3]`.
pub(super) fn on_white(samples: &Samples) -> Cow<'_, [u8]> {
    match samples {
        Samples::GreyAlpha(pixels) => pixels.as_chunks().0.iter().flat_map(|&[v, a]| [over_white(v, a); 3]).collect(),
        Samples::Rgba(pixels) => {
            pixels.as_chunks().0.iter().flat_map(|&[r, g, b, a]| [r, g, b].map(|v| over_white(v, a))).collect()
        }
        opaque => to_rgb(opaque),
    }
}

/// Fixed point of 7 bits, rounded once.
fn over_white(value: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = (u32::from(value) * alpha + 255 * (255 - alpha) + 128) << 7;
    ((((sum >> 8) + sum) >> 8) >> 7) as u8
}
