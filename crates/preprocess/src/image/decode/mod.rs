//! From bytes to a [`Picture`] in the mode that `PIL.Image.open` gives it (Pillow 13.0.0).

use std::io::Cursor;

use chinese_clip_config::Limits;
use image::{ColorType, ImageDecoder, ImageReader};

use super::orientation::{self, Orientation};
use super::picture::{Picture, Samples};
use crate::PreprocessError;

/// Decodes the first frame.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PreprocessError> {
    let failed = |source: image::ImageError| PreprocessError::DecodePicture { format: "", source: source.into() };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| failed(e.into()))?;
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width.into(), height.into(), limits)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif.as_deref().and_then(orientation::of_exif).unwrap_or(Orientation::Upright);
    let color = decoder.color_type();
    let mut pixels = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut pixels).map_err(failed)?;
    let samples = match color {
        ColorType::L8 => Samples::Grey(pixels),
        ColorType::La8 => Samples::GreyAlpha(pixels),
        ColorType::Rgb8 => Samples::Rgb(pixels),
        _ => Samples::Rgba(pixels),
    };
    Ok(Picture { width: width as usize, height: height as usize, samples, orientation })
}

fn check_pixels(width: u64, height: u64, limits: &Limits) -> Result<(), PreprocessError> {
    let limit = limits.image_pixels;
    if width.checked_mul(height).is_none_or(|pixels| pixels > limit) {
        return Err(PreprocessError::PicturePixels { width, height, limit });
    }
    Ok(())
}
