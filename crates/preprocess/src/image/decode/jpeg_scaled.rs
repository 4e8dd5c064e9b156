//! JPEG at a half, a quarter or an eighth of its size, by jpeg-decoder: blocks are transformed back to fewer pixels, and the resize
//! has less to read.
//!
//! Much as Pillow's `Image.draft`. Its numbers are not those of the whole picture resized.
//!
//! Shapes: H, W rows and columns; C channels.

use chinese_clip_config::Limits;
use jpeg_decoder::{Decoder, PixelFormat};

use super::super::orientation;
use super::{Orientation, Picture, PreprocessError, Samples, TRUNCATED, checked_size, failed, jpeg_segments};

const FORMAT: &str = "JPEG";

/// The smallest picture that is in neither direction less than what `least` asks for, given width, height and orientation as
/// stored; `None` where that is the whole picture, and for CMYK.
pub(super) fn decode(
    bytes: &[u8],
    limits: &Limits,
    least: &dyn Fn(usize, usize, Orientation) -> (usize, usize),
) -> Result<Option<Picture>, PreprocessError> {
    if !jpeg_segments::is_complete(bytes) {
        return Err(failed(FORMAT, TRUNCATED));
    }
    let failed = |source| failed(FORMAT, source);
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(failed)?;
    let Some(info) = decoder.info() else { return Ok(None) };
    let (width, height) = checked_size(info.width.into(), info.height.into(), limits)?;
    if !matches!(info.pixel_format, PixelFormat::L8 | PixelFormat::RGB24) {
        return Ok(None);
    }
    let orientation = orientation::of(decoder.exif_data(), decoder.xmp_data());
    let (least_width, least_height) = least(width, height, orientation);
    for parts in [8, 4, 2] {
        let (width, height) = decoder.scale(info.width.div_ceil(parts), info.height.div_ceil(parts)).map_err(failed)?;
        let (width, height) = (usize::from(width), usize::from(height));
        if width < least_width || height < least_height {
            continue;
        }
        let pixels = decoder.decode().map_err(failed)?;
        let grey = info.pixel_format == PixelFormat::L8;
        let (channels, found) = (if grey { 1 } else { 3 }, pixels.len());
        if found != width * height * channels {
            return Err(PreprocessError::PixelCount { width, height, channels, found });
        }
        let samples = if grey { Samples::Grey(pixels) } else { Samples::Rgb(pixels) };
        return Ok(Some(Picture { width, height, samples, orientation, transparency: None }));
    }
    Ok(None)
}
