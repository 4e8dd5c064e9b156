//! JPEG by zune-jpeg, the decoder of the `image` crate: Pillow 13.0.0, `PIL/JpegImagePlugin.py`.
//!
//! differs: Pillow decodes by libjpeg-turbo, whose inverse transform and chroma upsampling round otherwise. Measured on six photographs
//! (512 to 1411 pixels wide, quality 85 to 92), as levels of 255 from Pillow 13.0.0 (libjpeg-turbo 3.2.0):
//!
//! | picture | largest | mean | samples that differ |
//! | --- | --- | --- | --- |
//! | colour, chroma halved (4:2:0), four pictures | 4 | 0.10 to 0.22 | 7 to 16 % |
//! | colour, full chroma (4:4:4) | 3 | 0.011 | 0.9 % |
//! | grey | 1 | 0.008 | 0.8 % |
//!
//! Drawn pictures with saturated edges reach 9. After the resize to 224 the pixel values of the photographs differ by at most 0.043 (three levels).
//! The feature `libjpeg-turbo` makes all of it zero.
//!
//! Shapes: H, W rows and columns; C channels.

use chinese_clip_config::Limits;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::super::orientation;
use super::{Picture, PreprocessError, Samples, TRUNCATED, checked_size, failed, jpeg_segments};

const FORMAT: &str = "JPEG";

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PreprocessError> {
    if !jpeg_segments::is_complete(bytes) {
        return Err(failed(FORMAT, TRUNCATED));
    }
    let failed = |source| failed(FORMAT, source);
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let Some((width, height)) = decoder.dimensions() else {
        return Err(super::failed(FORMAT, "it has no frame header"));
    };
    let (width, height) = checked_size(width as u32, height as u32, limits)?;
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let wanted = match stored {
        ColorSpace::Luma | ColorSpace::CMYK | ColorSpace::YCCK => stored,
        _ => ColorSpace::RGB,
    };
    // Strict, so that damage is an error and not a half grey picture.
    decoder.set_options(options.jpeg_set_out_colorspace(wanted).set_strict_mode(true));
    let orientation = orientation::of(decoder.exif().map(Vec::as_slice), decoder.xmp().map(Vec::as_slice));
    let pixels = decoder.decode().map_err(failed)?;
    let samples = match wanted {
        ColorSpace::Luma => Samples::Grey(pixels),
        // Inks are stored inverted, as Adobe does.
        ColorSpace::CMYK => Samples::Cmyk(pixels.into_iter().map(|ink| 255 - ink).collect()),
        ColorSpace::YCCK => Samples::Cmyk(pixels.as_chunks().0.iter().flat_map(|p| ycck_to_cmyk(*p)).collect()),
        _ => Samples::Rgb(pixels),
    };
    let channels = match samples {
        Samples::Grey(_) => 1,
        Samples::Cmyk(_) => 4,
        _ => 3,
    };
    let found = match &samples {
        Samples::Grey(pixels) | Samples::Cmyk(pixels) | Samples::Rgb(pixels) => pixels.len(),
        _ => 0,
    };
    if found != width * height * channels {
        return Err(PreprocessError::PixelCount { width, height, channels, found });
    }
    Ok(Picture { width, height, samples, orientation, transparency: None })
}

/// `ycck_cmyk_convert` of libjpeg, then inverted: inks as Pillow's `CMYK` has them.
fn ycck_to_cmyk([y, cb, cr, k]: [u8; 4]) -> [u8; 4] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + 32768) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + 32768) >> 16);
    let blue = y + ((116_130 * cb + 32768) >> 16);
    let byte = |value: i32| value.clamp(0, 255) as u8;
    [byte(red), byte(green), byte(blue), 255 - k]
}
