//! Uncompressed BMP with a palette, as indices: Pillow 13.0.0, `PIL/BmpImagePlugin.py`.
//!
//! `image` expands palettes; its option to leave them panics on 1 and 4 bits (0.25.10).
//!
//! Shapes: H, W rows and columns.

use chinese_clip_config::Limits;

use super::super::orientation::Orientation;
use super::{Picture, PreprocessError, Samples, TRUNCATED, checked_size, failed, palette, unpack};

const FORMAT: &str = "BMP";

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// What the header says of a picture that this module decodes.
struct Header {
    width: u32,
    height: u32,
    top_down: bool,
    bits: usize,
    colors: usize,
    /// Bytes of a palette entry.
    entry: usize,
    palette_at: usize,
    pixels_at: usize,
}

/// `None` for another kind of BMP, or none at all.
fn header(bytes: &[u8]) -> Option<Header> {
    let pixels_at = u32_at(bytes, 10)? as usize;
    let size = u32_at(bytes, 14)? as usize;
    let palette_at = 14 + size;
    if size == 12 {
        let bits = usize::from(u16_at(bytes, 24)?);
        let (width, height) = (u16_at(bytes, 18)?.into(), u16_at(bytes, 20)?.into());
        return matches!(bits, 1 | 4 | 8).then(|| Header {
            width,
            height,
            top_down: false,
            bits,
            colors: 1 << bits,
            entry: 3,
            palette_at,
            pixels_at,
        });
    }
    if !matches!(size, 40 | 52 | 56 | 64 | 108 | 124) || u32_at(bytes, 30)? != 0 {
        return None;
    }
    let bits = usize::from(u16_at(bytes, 28)?);
    let height = u32_at(bytes, 22)?.cast_signed();
    let width = u32_at(bytes, 18)?;
    let colors = match u32_at(bytes, 46)? {
        0 if bits <= 8 => 1 << bits,
        colors => colors as usize,
    };
    (matches!(bits, 1 | 4 | 8) && width.cast_signed() > 0 && (1..=256).contains(&colors)).then(|| Header {
        width,
        height: height.unsigned_abs(),
        top_down: height < 0,
        bits,
        colors,
        entry: 4,
        palette_at,
        pixels_at,
    })
}

/// `None` when this is not an uncompressed picture with a palette.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Option<Picture>, PreprocessError> {
    let Some(header) = header(bytes) else { return Ok(None) };
    let (width, height) = checked_size(header.width, header.height, limits)?;
    let stride = (width * header.bits).div_ceil(32) * 4;
    let colors = bytes.get(header.palette_at..header.palette_at + header.colors * header.entry);
    let rows = bytes.get(header.pixels_at..).and_then(|rest| rest.get(..stride * height));
    let (Some(colors), Some(rows)) = (colors, rows) else { return Err(failed(FORMAT, TRUNCATED)) };
    let colors: Vec<[u8; 3]> = colors.chunks_exact(header.entry).map(|bgr| [bgr[2], bgr[1], bgr[0]]).collect();
    let row = |row: &[u8]| unpack(&row[..(width * header.bits).div_ceil(8)], width, header.bits, 1);
    let indices = if header.top_down {
        rows.chunks_exact(stride).flat_map(row).collect()
    } else {
        rows.chunks_exact(stride).rev().flat_map(row).collect()
    };
    let samples = with_palette(indices, &colors);
    Ok(Some(Picture { width, height, samples, orientation: Orientation::Upright, transparency: None }))
}

/// A palette that only counts the greys up is none.
fn with_palette(mut indices: Vec<u8>, colors: &[[u8; 3]]) -> Samples {
    if *colors == [[0; 3], [255; 3]] {
        for index in &mut indices {
            *index *= 255;
        }
        return Samples::Bilevel(indices);
    }
    if colors.len() != 2 && colors.iter().zip(0..=u8::MAX).all(|(color, grey)| *color == [grey; 3]) {
        return Samples::Grey(indices);
    }
    Samples::Palette { indices, colors: palette(colors.as_flattened()) }
}
