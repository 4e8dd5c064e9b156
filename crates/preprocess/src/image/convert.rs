//! Conversion between modes: Pillow 13.0.0, `src/libImaging/Convert.c`.
//!
//! Shapes: N pixels; C channels.

use std::borrow::Cow;

use super::alpha::{Alpha, on_white};
use super::orientation::Orientation;
use super::picture::{Picture, Samples};

/// The product of two fractions of 255, rounded as Pillow's `MULDIV255`.
fn multiply(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// `convert("RGB")`: `[N, C] -> [N, 3]`. Alpha is dropped, 16-bit grey clips.
pub(super) fn to_rgb(samples: &Samples) -> Cow<'_, [u8]> {
    match samples {
        Samples::Rgb(pixels) => Cow::Borrowed(pixels),
        Samples::Bilevel(pixels) | Samples::Grey(pixels) => pixels.iter().flat_map(|&v| [v; 3]).collect(),
        Samples::GreyAlpha(pixels) => pixels.as_chunks().0.iter().flat_map(|&[v, _]| [v; 3]).collect(),
        Samples::Rgba(pixels) => pixels.as_chunks().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        Samples::Palette { indices, colors } => indices.iter().flat_map(|&i| colors[usize::from(i)]).collect(),
        Samples::Cmyk(pixels) => pixels
            .as_chunks()
            .0
            .iter()
            .flat_map(|&[c, m, y, k]| [c, m, y].map(|ink| (255 - k).saturating_sub(multiply(ink, 255 - k))))
            .collect(),
        Samples::Grey16(values) | Samples::Grey32(values) => {
            values.iter().flat_map(|v| [*v.clamp(&0, &255) as u8; 3]).collect()
        }
    }
}

/// The picture in RGB and upright: `[H, W, 3]` with its width and height, as `transformers.image_utils.load_image` returns it.
pub(super) fn to_upright_rgb(picture: &Picture, alpha: Alpha) -> (Cow<'_, [u8]>, (usize, usize)) {
    let rgb = match alpha {
        Alpha::Dropped => to_rgb(&picture.samples),
        Alpha::OnWhite => on_white(&picture.samples, picture.transparency.as_ref()),
    };
    let size = (picture.width, picture.height);
    match picture.orientation {
        Orientation::Upright => (rgb, size),
        turned if turned.swaps_axes() => (Cow::Owned(turned.apply::<u8, 3>(&rgb, size.0)), (size.1, size.0)),
        turned => (Cow::Owned(turned.apply::<u8, 3>(&rgb, size.0)), size),
    }
}

/// `RGBA` to `RGBa`, `LA` to `La`: the last of `C` channels is alpha.
pub(super) fn premultiply<const C: usize>(pixels: &[u8]) -> Vec<u8> {
    let mut out = pixels.to_vec();
    for pixel in out.as_chunks_mut::<C>().0 {
        let alpha = pixel[C - 1];
        for value in &mut pixel[..C - 1] {
            *value = multiply(*value, alpha);
        }
    }
    out
}

/// Undoes [`premultiply`] in place, as far as that goes.
pub(super) fn unpremultiply<const C: usize>(pixels: &mut [u8]) {
    for pixel in pixels.as_chunks_mut::<C>().0 {
        let alpha = pixel[C - 1];
        if alpha != 0 && alpha != 255 {
            for value in &mut pixel[..C - 1] {
                *value = (255 * u32::from(*value) / u32::from(alpha)).min(255) as u8;
            }
        }
    }
}
