//! Other BMP, WebP, TIFF, PNM, TGA, ICO, QOI and HDR, through the `image` crate.
//!
//! 16-bit colour: of TIFF the high byte, of PNM the nearest, as Pillow has it. differs: TGA with a palette comes as RGB, so that
//! cn_clip's rule of nearest neighbour does not reach it; TIFF with a palette is not read; HDR, which Pillow cannot read, is clipped to 0..=1 and scaled to bytes.
//! Shapes: H, W rows and columns; C channels.

use std::io::Cursor;

use chinese_clip_config::Limits;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use super::super::orientation::{self, Orientation};
use super::{Picture, PreprocessError, Samples, TRUNCATED, checked_size, failed};

pub(super) fn decode(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Picture, PreprocessError> {
    let name = name(format);
    let failed = |source| failed(name, source);
    // Its decoder stops reading after the first frame, and takes a cut file for a whole one.
    let declared = bytes.get(4..8).and_then(<[u8]>::first_chunk).map_or(0, |size| u32::from_le_bytes(*size));
    if format == ImageFormat::WebP && (bytes.len() as u64) < u64::from(declared) + 8 {
        return Err(super::failed(name, TRUNCATED));
    }
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(failed)?;
    read(decoder, name, limits)
}

fn read(mut decoder: impl ImageDecoder, name: &'static str, limits: &Limits) -> Result<Picture, PreprocessError> {
    let failed = |source| failed(name, source);
    let (width, height) = checked_size(decoder.dimensions().0, decoder.dimensions().1, limits)?;
    let mut bounds = image::Limits::no_limits();
    // Room for what decoders need beside the pixels.
    bounds.max_alloc = Some(limits.image_pixels.saturating_mul(16).saturating_add(limits.image_bytes));
    decoder.set_limits(bounds).map_err(failed)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = match decoder.orientation() {
        Ok(found) if found != image::metadata::Orientation::NoTransforms => {
            Orientation::from_exif(found.to_exif().into())
        }
        _ => orientation::of(exif.as_deref(), xmp.as_deref()),
    };
    let bilevel = decoder.original_color_type() == ExtendedColorType::L1;
    let samples = match DynamicImage::from_decoder(decoder).map_err(failed)? {
        DynamicImage::ImageLuma8(pixels) if bilevel => Samples::Bilevel(pixels.into_raw()),
        DynamicImage::ImageLuma8(pixels) => Samples::Grey(pixels.into_raw()),
        DynamicImage::ImageLumaA8(pixels) => Samples::GreyAlpha(pixels.into_raw()),
        DynamicImage::ImageRgb8(pixels) => Samples::Rgb(pixels.into_raw()),
        DynamicImage::ImageRgba8(pixels) => Samples::Rgba(pixels.into_raw()),
        DynamicImage::ImageLuma16(pixels) => {
            let values = pixels.iter().map(|value| i32::from(*value)).collect();
            if name == "PNM" { Samples::Grey32(values) } else { Samples::Grey16(values) }
        }
        DynamicImage::ImageRgb16(pixels) if name == "PNM" => Samples::Rgb(pixels.iter().map(|v| scaled(*v)).collect()),
        DynamicImage::ImageLumaA16(pixels) => Samples::GreyAlpha(high_bytes(&pixels)),
        DynamicImage::ImageRgb16(pixels) => Samples::Rgb(high_bytes(&pixels)),
        DynamicImage::ImageRgba16(pixels) => Samples::Rgba(high_bytes(&pixels)),
        float => Samples::Rgb(float.into_rgb8().into_raw()),
    };
    Ok(Picture { width, height, samples, orientation, transparency: None })
}

/// `PIL/PpmImagePlugin.py`: rounded, to even at one half.
fn scaled(value: u16) -> u8 {
    (f64::from(value) / 65535.0 * 255.0).round_ties_even() as u8
}

fn high_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().map(|value| (value >> 8) as u8).collect()
}

pub(super) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Gif => "GIF",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::WebP => "WebP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tga => "TGA",
        ImageFormat::Ico => "ICO",
        ImageFormat::Qoi => "QOI",
        ImageFormat::Hdr => "HDR",
        _ => "unknown",
    }
}
