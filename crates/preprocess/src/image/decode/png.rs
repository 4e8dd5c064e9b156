//! PNG in its own colour type: Pillow 13.0.0, `PIL/PngImagePlugin.py`, `_MODES`.
//!
//! Of 16-bit colour the high byte is taken; 16-bit grey stays what it is. Of an animation the default image.
//!
//! Shapes: H, W rows and columns; C channels.

use std::io::Cursor;

use chinese_clip_config::Limits;
use png::{BitDepth, ColorType, Transformations};

use super::super::alpha::Transparency;
use super::super::orientation;
use super::{Picture, PreprocessError, Samples, checked_size, failed, palette, unpack};

const FORMAT: &str = "PNG";

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PreprocessError> {
    let failed = |source| failed(FORMAT, source);
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_limits(png::Limits { bytes: usize::try_from(limits.image_bytes).unwrap_or(usize::MAX) });
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = checked_size(header.width, header.height, limits)?;
    let (color, depth) = (header.color_type, header.bit_depth);
    let mut reader = decoder.read_info().map_err(failed)?;
    // Cannot overflow: the pixels are bounded.
    let mut rows = vec![0; reader.output_buffer_size().unwrap_or_default()];
    reader.next_frame(&mut rows).map_err(failed)?;
    let info = reader.info();
    let samples = match (color, depth) {
        (ColorType::Grayscale, BitDepth::One) => Samples::Bilevel(unpack(&rows, width, 1, 255)),
        (ColorType::Grayscale, BitDepth::Two) => Samples::Grey(unpack(&rows, width, 2, 85)),
        (ColorType::Grayscale, BitDepth::Four) => Samples::Grey(unpack(&rows, width, 4, 17)),
        (ColorType::Grayscale, BitDepth::Eight) => Samples::Grey(rows),
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            Samples::Grey16(rows.as_chunks().0.iter().map(|v| u16::from_be_bytes(*v).into()).collect())
        }
        (ColorType::Indexed, depth) => {
            let indices = match depth {
                BitDepth::One => unpack(&rows, width, 1, 1),
                BitDepth::Two => unpack(&rows, width, 2, 1),
                BitDepth::Four => unpack(&rows, width, 4, 1),
                BitDepth::Eight | BitDepth::Sixteen => rows,
            };
            Samples::Palette { indices, colors: palette(info.palette.as_deref().unwrap_or_default()) }
        }
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => {
            Samples::Rgba(rows.as_chunks().0.iter().flat_map(|&[v, _, a, _]| [v, v, v, a]).collect())
        }
        (ColorType::GrayscaleAlpha, _) => Samples::GreyAlpha(rows),
        (ColorType::Rgb, BitDepth::Sixteen) => Samples::Rgb(rows.into_iter().step_by(2).collect()),
        (ColorType::Rgb, _) => Samples::Rgb(rows),
        (ColorType::Rgba, BitDepth::Sixteen) => Samples::Rgba(rows.into_iter().step_by(2).collect()),
        (ColorType::Rgba, _) => Samples::Rgba(rows),
    };
    let xmp = info.utf8_text.iter().find(|chunk| chunk.keyword == "XML:com.adobe.xmp").and_then(|c| c.get_text().ok());
    let orientation = orientation::of(info.exif_metadata.as_deref(), xmp.as_deref().map(str::as_bytes));
    let transparency = info.trns.as_deref().and_then(|trns| transparency(color, trns));
    Ok(Picture { width, height, samples, orientation, transparency })
}

/// The chunk `tRNS`. Of 16-bit levels Pillow compares the low byte.
fn transparency(color: ColorType, trns: &[u8]) -> Option<Transparency> {
    let channels = match color {
        ColorType::Indexed => return Some(Transparency::palette(trns)),
        ColorType::Grayscale => 1,
        ColorType::Rgb => 3,
        ColorType::GrayscaleAlpha | ColorType::Rgba => return None,
    };
    let level = |channel: usize| trns.get((channel + 1) * (trns.len() / channels).max(1) - 1).copied();
    let first = level(0)?;
    Some(Transparency::Color(if channels == 1 { [first; 3] } else { [first, level(1)?, level(2)?] }))
}
