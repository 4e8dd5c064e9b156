//! The first frame of a GIF as palette indices: Pillow 13.0.0, `PIL/GifImagePlugin.py`.
//!
//! A frame that is smaller than the screen lies on the transparent index, or on index 0.
//!
//! Shapes: H, W rows and columns of the screen.

use std::io::Cursor;

use chinese_clip_config::Limits;

use super::super::alpha::Transparency;
use super::super::orientation;
use super::{Picture, PreprocessError, Samples, checked_size, failed, palette};

const FORMAT: &str = "GIF";

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, PreprocessError> {
    let failed = |source| failed(FORMAT, source);
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    // Frames are bounded by the check below, before they are allocated.
    options.set_memory_limit(gif::MemoryLimit::Unlimited);
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(failed)?;
    let frame = decoder.next_frame_info().map_err(failed)?;
    let Some(frame) = frame else { return Err(super::failed(FORMAT, "it has no frame")) };
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let transparent = frame.transparent;
    let local = frame.palette.clone();
    // The screen grows to hold the frame.
    let (width, height) = checked_size(
        u32::from(decoder.width()).max((left + frame_width) as u32),
        u32::from(decoder.height()).max((top + frame_height) as u32),
        limits,
    )?;
    let mut pixels = vec![0; frame_width * frame_height];
    decoder.read_into_buffer(&mut pixels).map_err(failed)?;
    let covered = (left, top, frame_width, frame_height) == (0, 0, width, height);
    let indices = if covered {
        pixels
    } else {
        let mut screen = vec![transparent.unwrap_or(0); width * height];
        for (row, pixels) in pixels.chunks_exact(frame_width.max(1)).enumerate() {
            screen[(top + row) * width + left..][..frame_width].copy_from_slice(pixels);
        }
        screen
    };
    let colors = local.or_else(|| decoder.global_palette().map(<[u8]>::to_vec)).unwrap_or_default();
    // A palette that only counts the greys up is none.
    let grey = colors.as_chunks::<3>().0.iter().zip(0..=u8::MAX).all(|(color, grey)| *color == [grey; 3]);
    let samples = if grey { Samples::Grey(indices) } else { Samples::Palette { indices, colors: palette(&colors) } };
    let orientation = orientation::of(None, decoder.xmp_metadata());
    let transparency = transparent.map(|index| match samples {
        Samples::Palette { .. } => Transparency::palette(&[&vec![255; index.into()][..], &[0]].concat()),
        _ => Transparency::Color([index; 3]),
    });
    Ok(Picture { width, height, samples, orientation, transparency })
}
