//! Other BMP, WebP, TIFF, PNM, TGA, ICO, QOI and HDR, through the `image` crate.
//!
//! 16-bit colour: of TIFF and PNM the high byte, as Pillow takes it. differs: HDR, which Pillow cannot read, is clipped to 0..=1 and scaled to bytes.
//! Shapes: H, W rows and columns; C channels.

use std::io::Cursor;

use chinese_clip_config::Limits;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use super::super::orientation::{self, Orientation};
use super::{Picture, PreprocessError, Samples, checked_size, failed};

pub(super) fn decode(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Picture, PreprocessError> {
    let name = name(format);
    let failed = |source| failed(name, source);
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
        DynamicImage::ImageLuma16(pixels) => Samples::Grey16(pixels.into_raw()),
        DynamicImage::ImageLumaA16(pixels) => Samples::GreyAlpha(high_bytes(&pixels)),
        DynamicImage::ImageRgb16(pixels) => Samples::Rgb(high_bytes(&pixels)),
        DynamicImage::ImageRgba16(pixels) => Samples::Rgba(high_bytes(&pixels)),
        float => Samples::Rgb(float.into_rgb8().into_raw()),
    };
    Ok(Picture { width, height, samples, orientation })
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
