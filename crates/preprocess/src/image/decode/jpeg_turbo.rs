//! JPEG byte for byte as libjpeg-turbo, and so Pillow 13.0.0, decodes it (feature `libjpeg-turbo`): `PIL/JpegImagePlugin.py`.
//!
//! The decoder disclaims memory safety on hostile bytes: for files that are trusted, and as an oracle in tests.

use chinese_clip_config::Limits;
use libjpeg_turbo_rs::{ColorSpace, Decoder, PixelFormat};

use super::super::orientation;
use super::{Picture, PreprocessError, Samples, TRUNCATED, checked_size, failed, jpeg_segments};

const FORMAT: &str = "JPEG";

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PreprocessError> {
    if !jpeg_segments::is_complete(bytes) {
        return Err(failed(FORMAT, TRUNCATED));
    }
    let failed = |source| failed(FORMAT, source);
    let mut decoder = Decoder::new(bytes).map_err(failed)?;
    let (width, height) = (decoder.header().width, decoder.header().height);
    let (width, height) = checked_size(u32::from(width), u32::from(height), limits)?;
    let format = match decoder.jpeg_color_space() {
        ColorSpace::Grayscale => PixelFormat::Grayscale,
        ColorSpace::Cmyk | ColorSpace::Ycck => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    };
    decoder.set_output_format(format);
    let orientation = orientation::of(decoder.exif_data(), jpeg_segments::xmp(bytes));
    let pixels = decoder.decode_image().map_err(failed)?.data;
    let samples = match format {
        PixelFormat::Grayscale => Samples::Grey(pixels),
        // Inks are stored inverted, as Adobe does.
        PixelFormat::Cmyk => Samples::Cmyk(pixels.into_iter().map(|ink| 255 - ink).collect()),
        _ => Samples::Rgb(pixels),
    };
    Ok(Picture { width, height, samples, orientation, transparency: None })
}
