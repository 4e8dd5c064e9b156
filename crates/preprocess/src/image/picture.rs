//! A decoded picture in its own mode, as `PIL.Image.open` leaves it (Pillow 13.0.0).
//!
//! Shapes: H, W rows and columns; C channels of the mode.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use chinese_clip_config::Limits;

use super::alpha::Transparency;
use super::decode;
use super::orientation::Orientation;
use crate::PreprocessError;

/// What a sample means, by Pillow's modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `1`: black or white, stored as 0 or 255.
    Bilevel,
    /// `L`: grey.
    Grey,
    /// `LA`: grey and alpha.
    GreyAlpha,
    /// `P`: indices into a palette of RGB colours.
    Palette,
    /// `RGB`.
    Rgb,
    /// `RGBA`: alpha is not premultiplied.
    Rgba,
    /// `CMYK`.
    Cmyk,
    /// `I;16`: grey of 16 bits. Conversion to RGB clips at 255, as in Pillow: all but the darkest 1/256 turns white.
    Grey16,
    /// `I`: grey of 16 bits in a container of 32, which Pillow makes of a 16-bit PGM. Clips like `I;16`.
    Grey32,
}

impl Mode {
    /// Pillow's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bilevel => "1",
            Self::Grey => "L",
            Self::GreyAlpha => "LA",
            Self::Palette => "P",
            Self::Rgb => "RGB",
            Self::Rgba => "RGBA",
            Self::Cmyk => "CMYK",
            Self::Grey16 => "I;16",
            Self::Grey32 => "I",
        }
    }

    /// Samples of a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Bilevel | Self::Grey | Self::Palette | Self::Grey16 | Self::Grey32 => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

/// Samples `[H, W, C]` and what is needed to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Samples {
    Bilevel(Vec<u8>),
    Grey(Vec<u8>),
    GreyAlpha(Vec<u8>),
    Palette { indices: Vec<u8>, colors: Box<[[u8; 3]; 256]> },
    Rgb(Vec<u8>),
    Rgba(Vec<u8>),
    Cmyk(Vec<u8>),
    Grey16(Vec<i32>),
    Grey32(Vec<i32>),
}

impl Samples {
    /// Samples of 8 bits, as they are.
    pub(super) fn into_levels(self) -> Vec<u8> {
        match self {
            Self::Bilevel(levels)
            | Self::Grey(levels)
            | Self::GreyAlpha(levels)
            | Self::Palette { indices: levels, .. }
            | Self::Rgb(levels)
            | Self::Rgba(levels)
            | Self::Cmyk(levels) => levels,
            Self::Grey16(values) | Self::Grey32(values) => values.iter().map(|v| *v.clamp(&0, &255) as u8).collect(),
        }
    }
}

/// A decoded picture in its own [`Mode`], with the EXIF orientation kept beside the pixels.
///
/// ```
/// use chinese_clip_preprocess::{Mode, Picture};
/// let picture = Picture::from_rgb8(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// assert_eq!((picture.width(), picture.height(), picture.mode()), (2, 1, Mode::Rgb));
/// # Ok::<(), chinese_clip_preprocess::PreprocessError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Samples,
    pub(super) orientation: Orientation,
    pub(super) transparency: Option<Transparency>,
}

impl Picture {
    /// Reads and decodes a file. Its content decides the format, not its name.
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, PreprocessError> {
        open_with(path.as_ref(), limits, |bytes| Self::decode(bytes, limits))
    }

    /// Decodes the bytes of a file. Of an animation the first frame.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, PreprocessError> {
        check_bytes(bytes, limits)?;
        decode::decode(bytes, limits)
    }

    /// Takes RGB pixels `[H, W, 3]` as they are.
    pub fn from_rgb8(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, PreprocessError> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if expected != Some(pixels.len()) || pixels.is_empty() {
            return Err(PreprocessError::PixelCount { width, height, channels: 3, found: pixels.len() });
        }
        Ok(Self { width, height, samples: Samples::Rgb(pixels), orientation: Orientation::Upright, transparency: None })
    }

    /// Columns, as stored.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows, as stored.
    pub fn height(&self) -> usize {
        self.height
    }

    /// What the samples mean.
    pub fn mode(&self) -> Mode {
        match self.samples {
            Samples::Bilevel(_) => Mode::Bilevel,
            Samples::Grey(_) => Mode::Grey,
            Samples::GreyAlpha(_) => Mode::GreyAlpha,
            Samples::Palette { .. } => Mode::Palette,
            Samples::Rgb(_) => Mode::Rgb,
            Samples::Rgba(_) => Mode::Rgba,
            Samples::Cmyk(_) => Mode::Cmyk,
            Samples::Grey16(_) => Mode::Grey16,
            Samples::Grey32(_) => Mode::Grey32,
        }
    }

    /// How the picture has to be turned to stand upright.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }
}

/// What `decode` makes of a file; its error names the file.
pub(super) fn open_with(
    path: &Path,
    limits: &Limits,
    decode: impl FnOnce(&[u8]) -> Result<Picture, PreprocessError>,
) -> Result<Picture, PreprocessError> {
    decode(&read(path, limits)?)
        .map_err(|source| PreprocessError::InPicture { path: path.into(), source: Box::new(source) })
}

/// An error if a file is too large.
pub(super) fn check_bytes(bytes: &[u8], limits: &Limits) -> Result<(), PreprocessError> {
    if bytes.len() as u64 > limits.image_bytes {
        return Err(PreprocessError::PictureBytes { limit: limits.image_bytes });
    }
    Ok(())
}

fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, PreprocessError> {
    let failed = |source| PreprocessError::ReadPicture { path: path.into(), source };
    let in_picture = |source| PreprocessError::InPicture { path: path.into(), source: Box::new(source) };
    // Asked before the file is opened: opening a pipe would wait for its other end.
    let kind = std::fs::metadata(path).map_err(failed)?;
    if !kind.is_file() {
        let found = if kind.is_dir() { "a directory" } else { "a device or a pipe" };
        return Err(PreprocessError::NotAFile { path: path.into(), found });
    }
    if kind.len() > limits.image_bytes {
        return Err(in_picture(PreprocessError::PictureBytes { limit: limits.image_bytes }));
    }
    let mut bytes = Vec::with_capacity(kind.len() as usize);
    let file = File::open(path).map_err(failed)?;
    file.take(limits.image_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
