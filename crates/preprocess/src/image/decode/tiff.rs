//! TIFF in CMYK, or in grey and alpha, which `image` converts or refuses: Pillow 13.0.0, `PIL/TiffImagePlugin.py`.
//!
//! Shapes: H, W rows and columns; C channels.

use std::io::Cursor;

use chinese_clip_config::Limits;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::{ColorType, TiffResult};

use super::{Orientation, Picture, PreprocessError, Samples, checked_size};

/// `None` for every other kind of TIFF, or a damaged one.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Option<Picture>, PreprocessError> {
    let Ok((mut decoder, (width, height), color)) = open(bytes) else { return Ok(None) };
    let channels = match color {
        ColorType::CMYK(8) => 4,
        ColorType::GrayA(8) | ColorType::Multiband { bit_depth: 8, num_samples: 2 } => 2,
        _ => return Ok(None),
    };
    let (width, height) = checked_size(width, height, limits)?;
    let mut bounds = tiff::decoder::Limits::default();
    bounds.decoding_buffer_size = width * height * channels;
    bounds.intermediate_buffer_size = bounds.decoding_buffer_size.max(1 << 20);
    decoder = decoder.with_limits(bounds);
    let samples = match decoder.read_image() {
        Ok(DecodingResult::U8(samples)) if samples.len() == width * height * channels => samples,
        _ => return Ok(None),
    };
    let samples = if channels == 4 { Samples::Cmyk(samples) } else { Samples::GreyAlpha(samples) };
    let code = decoder.find_tag_unsigned::<u16>(tiff::tags::Tag::Orientation).ok().flatten().unwrap_or(1);
    Ok(Some(Picture { width, height, samples, orientation: Orientation::from_exif(code), transparency: None }))
}

type Opened<'a> = (Decoder<Cursor<&'a [u8]>>, (u32, u32), ColorType);

fn open(bytes: &[u8]) -> TiffResult<Opened<'_>> {
    let mut decoder = Decoder::new(Cursor::new(bytes))?;
    let (size, color) = (decoder.dimensions()?, decoder.colortype()?);
    Ok((decoder, size, color))
}

/// Pillow turns a TIFF upright while it loads it, so that every reader sees it so.
pub(super) fn upright(picture: Picture) -> Picture {
    let Picture { width, height, samples, orientation, transparency } = picture;
    let turn = |pixels: Vec<u8>, channels: usize| match channels {
        1 => orientation.apply::<u8, 1>(&pixels, width),
        2 => orientation.apply::<u8, 2>(&pixels, width),
        3 => orientation.apply::<u8, 3>(&pixels, width),
        _ => orientation.apply::<u8, 4>(&pixels, width),
    };
    let samples = match samples {
        Samples::Bilevel(pixels) => Samples::Bilevel(turn(pixels, 1)),
        Samples::Grey(pixels) => Samples::Grey(turn(pixels, 1)),
        Samples::GreyAlpha(pixels) => Samples::GreyAlpha(turn(pixels, 2)),
        Samples::Palette { indices, colors } => Samples::Palette { indices: turn(indices, 1), colors },
        Samples::Rgb(pixels) => Samples::Rgb(turn(pixels, 3)),
        Samples::Rgba(pixels) => Samples::Rgba(turn(pixels, 4)),
        Samples::Cmyk(pixels) => Samples::Cmyk(turn(pixels, 4)),
        Samples::Grey16(values) => Samples::Grey16(orientation.apply::<i32, 1>(&values, width)),
        Samples::Grey32(values) => Samples::Grey32(orientation.apply::<i32, 1>(&values, width)),
    };
    let (width, height) = if orientation.swaps_axes() { (height, width) } else { (width, height) };
    Picture { width, height, samples, orientation: Orientation::Upright, transparency }
}
