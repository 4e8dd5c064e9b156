//! From bytes to a [`Picture`] in the mode that `PIL.Image.open` gives it (Pillow 13.0.0).
//!
//! PNG, GIF and JPEG go to the decoders that `image` itself uses, because `image` expands palettes and converts CMYK; the rest goes through
//! `image`. The size is checked before pixels are allocated.

mod bmp;
mod gif;
#[cfg_attr(feature = "libjpeg-turbo", path = "jpeg_turbo.rs")]
mod jpeg;
mod jpeg_scaled;
mod jpeg_segments;
mod other;
mod png;
mod sniff;
mod tiff;

use std::panic::{AssertUnwindSafe, catch_unwind};

use chinese_clip_config::Limits;
use image::ImageFormat;

use super::orientation::Orientation;
use super::picture::{Picture, Samples};
use crate::PreprocessError;

/// What is wrong with a file that was cut off.
const TRUNCATED: &str = "the file ends too early";

/// Decodes the first frame.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PreprocessError> {
    let format = sniff::format(bytes)?;
    guarded(format, || match format {
        ImageFormat::Png => png::decode(bytes, limits),
        ImageFormat::Gif => gif::decode(bytes, limits),
        ImageFormat::Jpeg => jpeg::decode(bytes, limits),
        ImageFormat::Bmp => match bmp::decode(bytes, limits)? {
            Some(picture) => Ok(picture),
            None => other::decode(bytes, format, limits),
        },
        ImageFormat::Tiff => match tiff::decode(bytes, limits)? {
            Some(picture) => Ok(tiff::upright(picture)),
            None => other::decode(bytes, format, limits).map(tiff::upright),
        },
        _ => other::decode(bytes, format, limits),
    })
}

/// The same, but a JPEG may come at a fraction of its size that is in neither direction less than what `least` asks for, given width,
/// height and orientation as stored.
pub(super) fn decode_at_least(
    bytes: &[u8],
    limits: &Limits,
    least: &dyn Fn(usize, usize, Orientation) -> (usize, usize),
) -> Result<Picture, PreprocessError> {
    let scaled = match sniff::format(bytes)? {
        format @ ImageFormat::Jpeg => guarded(format, || jpeg_scaled::decode(bytes, limits, least))?,
        _ => None,
    };
    scaled.map_or_else(|| decode(bytes, limits), Ok)
}

/// The decoders are other people's code and have been seen to panic on damaged files; nothing of theirs outlives the call.
fn guarded<T>(format: ImageFormat, decode: impl FnOnce() -> Result<T, PreprocessError>) -> Result<T, PreprocessError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(failed(other::name(format), "the decoder panicked")))
}

/// Width and height as numbers that are safe to allocate for.
fn checked_size(width: u32, height: u32, limits: &Limits) -> Result<(usize, usize), PreprocessError> {
    let (pixels, limit) = (u64::from(width) * u64::from(height), limits.image_pixels);
    if pixels > limit || usize::try_from(pixels.saturating_mul(16)).is_err() {
        return Err(PreprocessError::PicturePixels { width: width.into(), height: height.into(), limit });
    }
    if pixels == 0 {
        return Err(PreprocessError::NoPixels { width: width as usize, height: height as usize });
    }
    Ok((width as usize, height as usize))
}

fn failed(format: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PreprocessError {
    PreprocessError::DecodePicture { format, source: source.into() }
}

/// A palette of up to 256 colours; what is missing is black.
fn palette(colors: &[u8]) -> Box<[[u8; 3]; 256]> {
    let mut palette = Box::new([[0; 3]; 256]);
    for (entry, color) in palette.iter_mut().zip(colors.as_chunks().0) {
        *entry = *color;
    }
    palette
}

/// Samples of `bits` bits, packed from the high end and padded to bytes at the end of a row, times `scale`: `[H, W]`.
fn unpack(rows: &[u8], width: usize, bits: usize, scale: u8) -> Vec<u8> {
    let mask = u8::MAX >> (8 - bits);
    let row = |row: &[u8]| -> Vec<u8> {
        (0..width).map(|x| ((row[x * bits / 8] >> (8 - bits - x * bits % 8)) & mask) * scale).collect()
    };
    rows.chunks_exact((width * bits).div_ceil(8)).flat_map(row).collect()
}
