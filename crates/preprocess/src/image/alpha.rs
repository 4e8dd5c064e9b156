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

/// What a file says is transparent without an alpha channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transparency {
    /// Alpha of each index.
    Palette(Box<[u8; 256]>),
    /// The colour, or three times the grey level, that is clear.
    Color([u8; 3]),
}

impl Transparency {
    /// Alpha of the first indices; the others are opaque.
    pub(super) fn palette(first: &[u8]) -> Self {
        let mut alphas = Box::new([255; 256]);
        for (alpha, given) in alphas.iter_mut().zip(first) {
            *alpha = *given;
        }
        Self::Palette(alphas)
    }
}

/// `alpha_composite` over white, then `convert("RGB")`: `[N, C] -> [N, 3]`.
pub(super) fn on_white<'a>(samples: &'a Samples, transparency: Option<&Transparency>) -> Cow<'a, [u8]> {
    match (samples, transparency) {
        (Samples::GreyAlpha(pixels), _) => {
            pixels.as_chunks().0.iter().flat_map(|&[v, a]| [over_white(v, a); 3]).collect()
        }
        (Samples::Rgba(pixels), _) => {
            pixels.as_chunks().0.iter().flat_map(|&[r, g, b, a]| [r, g, b].map(|v| over_white(v, a))).collect()
        }
        (Samples::Palette { indices, colors }, Some(Transparency::Palette(alphas))) => {
            let shown = |i: u8| colors[usize::from(i)].map(|v| over_white(v, alphas[usize::from(i)]));
            indices.iter().flat_map(|&i| shown(i)).collect()
        }
        (Samples::Bilevel(_) | Samples::Grey(_) | Samples::Rgb(_), Some(Transparency::Color(clear))) => {
            let mut rgb = to_rgb(samples).into_owned();
            rgb.as_chunks_mut().0.iter_mut().filter(|pixel| *pixel == clear).for_each(|pixel| *pixel = [255; 3]);
            rgb.into()
        }
        (opaque, _) => to_rgb(opaque),
    }
}

/// Fixed point of 7 bits, rounded once.
fn over_white(value: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = (u32::from(value) * alpha + 255 * (255 - alpha) + 128) << 7;
    ((((sum >> 8) + sum) >> 8) >> 7) as u8
}
