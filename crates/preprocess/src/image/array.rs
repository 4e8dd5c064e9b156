//! Pictures as arrays of numbers: transformers 4.51.3, `image_utils.py`, `infer_channel_dimension_format`; `image_transforms.py`,
//! `to_pil_image`, `resize`, `center_crop`, `rescale`, `normalize` on `numpy` arrays.
//!
//! Shapes: H, W rows and columns; C channels.

use chinese_clip_config::{CropSize, Resample};

use super::alpha::Alpha;
use super::orientation::Orientation;
use super::picture::{Picture, Samples};
use super::processor::in_own_mode;
use super::steps::crop;
use crate::PreprocessError;

/// Where an array has its channels: the reference's `ChannelDimension`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ChannelDimension {
    /// `channels_first`: `[C, H, W]`.
    #[default]
    First,
    /// `channels_last`: `[H, W, C]`.
    Last,
}

/// Numbers of an array, row by row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// Levels of 0 to 255.
    U8(&'a [u8]),
    /// Levels of 0 to 255, or fractions of 0 to 1.
    F32(&'a [f32]),
}

impl<'a> From<&'a [u8]> for Values<'a> {
    fn from(values: &'a [u8]) -> Self {
        Self::U8(values)
    }
}

impl<'a> From<&'a [f32]> for Values<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

impl Values<'_> {
    fn len(self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    fn part(self, from: usize, to: usize) -> Self {
        match self {
            Self::U8(values) => Self::U8(&values[from..to]),
            Self::F32(values) => Self::F32(&values[from..to]),
        }
    }
}

/// A picture as an array, `[C, H, W]` or `[H, W, C]`.
///
/// ```
/// use chinese_clip_preprocess::{ImageArray, ImageProcessor, PreprocessOptions};
/// let red = [255, 0, 0].repeat(20 * 30);
/// let array = ImageArray::new(&red[..], [20, 30, 3])?;
/// let features = ImageProcessor::default().preprocess([array], &PreprocessOptions::default())?;
/// assert_eq!(features.shape, [1, 3, 224, 224]);
/// # Ok::<(), chinese_clip_preprocess::PreprocessError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageArray<'a> {
    values: Values<'a>,
    shape: [usize; 3],
}

impl<'a> ImageArray<'a> {
    /// One picture.
    ///
    /// # Errors
    /// When an edge is zero, or `values` does not fill the shape.
    pub fn new(values: impl Into<Values<'a>>, shape: [usize; 3]) -> Result<Self, PreprocessError> {
        let values = values.into();
        count(values, &shape)?;
        Ok(Self { values, shape })
    }

    /// The pictures of an array of four dimensions, the first of which counts them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn batch(values: impl Into<Values<'a>>, shape: [usize; 4]) -> Result<Vec<Self>, PreprocessError> {
        let (values, [pictures, shape @ ..]) = (values.into(), shape);
        count(values, &[pictures, shape[0], shape[1], shape[2]])?;
        let size = values.len() / pictures;
        Ok((0..pictures).map(|i| Self { values: values.part(i * size, (i + 1) * size), shape }).collect())
    }

    /// `[C, H, W]` or `[H, W, C]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// `infer_channel_dimension_format`: the dimension of 1 or 3 is that of the channels. `None` where both could be; then the
    /// reference takes the first.
    pub(super) fn infer(&self, alpha: Alpha) -> Result<Option<ChannelDimension>, PreprocessError> {
        let [first, _, last] = self.shape;
        let channels = |edge| edge == 1 || edge == 3 || edge == 4 && alpha == Alpha::OnWhite;
        match (channels(first), channels(last)) {
            (true, true) => Ok(None),
            (true, false) => Ok(Some(ChannelDimension::First)),
            (false, true) => Ok(Some(ChannelDimension::Last)),
            (false, false) => Err(PreprocessError::NoChannels { shape: self.shape }),
        }
    }

    /// `is_scaled_image`: whether the numbers look as if they were divided by 255 already.
    pub(super) fn is_scaled(&self) -> bool {
        matches!(self.values, Values::F32(values) if values.iter().all(|value| (0.0..=1.0).contains(value)))
    }

    /// The same with its channels last.
    pub(super) fn raster(&self, format: ChannelDimension) -> Raster {
        let [a, b, c] = self.shape;
        let (height, width, channels) = match format {
            ChannelDimension::First => (b, c, a),
            ChannelDimension::Last => (a, b, c),
        };
        let numbers = match (self.values, format) {
            (Values::U8(values), ChannelDimension::Last) => Numbers::Levels(values.to_vec()),
            (Values::F32(values), ChannelDimension::Last) => Numbers::Floats(values.to_vec()),
            (Values::U8(values), ChannelDimension::First) => Numbers::Levels(transposed(values, channels)),
            (Values::F32(values), ChannelDimension::First) => Numbers::Floats(transposed(values, channels)),
        };
        Raster { numbers, height, width, channels }
    }
}

fn count(values: Values, shape: &[usize]) -> Result<(), PreprocessError> {
    let expected = shape.iter().try_fold(1_usize, |product, edge| product.checked_mul(*edge));
    if expected == Some(values.len()) && values.len() > 0 {
        return Ok(());
    }
    Err(PreprocessError::ArrayShape { shape: shape.to_vec(), found: values.len() })
}

/// `[rows, N] -> [N, rows]`.
pub(super) fn transposed<T: Copy>(values: &[T], rows: usize) -> Vec<T> {
    let columns = values.len() / rows;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[derive(Debug)]
enum Numbers {
    Levels(Vec<u8>),
    Floats(Vec<f32>),
}

/// An array on its way, `[H, W, C]`.
#[derive(Debug)]
pub(super) struct Raster {
    numbers: Numbers,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Raster {
    /// `convert_to_rgb` of transformers 5.24 on an array: grey is repeated, alpha composited on white.
    pub(super) fn on_white(self) -> Result<Self, PreprocessError> {
        let Self { numbers, height, width, channels } = self;
        let numbers = match (channels, numbers) {
            (1, Numbers::Levels(values)) => Numbers::Levels(values.iter().flat_map(|&v| [v; 3]).collect()),
            (1, Numbers::Floats(values)) => Numbers::Floats(values.iter().flat_map(|&v| [v; 3]).collect()),
            (4, Numbers::Levels(values)) => {
                let pixels = values.as_chunks::<4>().0.iter();
                Numbers::Levels(pixels.flat_map(|&[r, g, b, a]| [r, g, b].map(|v| level_on_white(v, a))).collect())
            }
            (4, Numbers::Floats(values)) => {
                if !values.iter().all(|value| (0.0..=1.0).contains(value)) {
                    let (min, max) = range(&values);
                    return Err(PreprocessError::AlphaRange { min, max });
                }
                let pixels = values.as_chunks::<4>().0.iter();
                Numbers::Floats(pixels.flat_map(|&[r, g, b, a]| [r, g, b].map(|v| a * v + (1.0 - a))).collect())
            }
            (_, numbers) => return Ok(Self { numbers, height, width, channels }),
        };
        Ok(Self { numbers, height, width, channels: 3 })
    }

    /// `resize`: by way of 8 bits and Pillow. Fractions come back as fractions, all else as levels.
    pub(super) fn resize(self, to: (usize, usize), filter: Resample) -> Result<Self, PreprocessError> {
        let Self { numbers, height, width, channels } = self;
        let (levels, fractions) = match numbers {
            Numbers::Levels(levels) => (levels, false),
            Numbers::Floats(values) => to_levels(&values)?,
        };
        let samples = match channels {
            1 => Samples::Grey(levels),
            2 => Samples::GreyAlpha(levels),
            3 => Samples::Rgb(levels),
            4 => Samples::Rgba(levels),
            _ => return Err(PreprocessError::ResizeChannels { channels }),
        };
        let samples = if (width, height) == to {
            samples
        } else {
            in_own_mode(
                &Picture { width, height, samples, orientation: Orientation::Upright, transparency: None },
                to,
                filter,
            )
        };
        let levels = samples.into_levels();
        let numbers = if fractions {
            Numbers::Floats(levels.iter().map(|level| rescaled(f64::from(*level), 1.0 / 255.0)).collect())
        } else {
            Numbers::Levels(levels)
        };
        Ok(Self { numbers, height: to.1, width: to.0, channels })
    }

    pub(super) fn crop(self, to: CropSize) -> Self {
        let (size, channels) = ((self.width, self.height), self.channels);
        let numbers = match self.numbers {
            Numbers::Levels(values) => Numbers::Levels(crop(&values, channels, size, to)),
            Numbers::Floats(values) => Numbers::Floats(crop(&values, channels, size, to)),
        };
        Self { numbers, height: to.height, width: to.width, channels }
    }

    /// `rescale`, where there is a factor, and `normalize`, where there are a mean and a deviation of each channel:
    /// `[H, W, C] -> [C, H, W]`.
    pub(super) fn finish(&self, factor: Option<f64>, normalize: Option<&[(f64, f64)]>) -> Vec<f32> {
        let value = |index: usize| match (&self.numbers, factor) {
            (Numbers::Levels(values), Some(factor)) => rescaled(f64::from(values[index]), factor),
            (Numbers::Floats(values), Some(factor)) => rescaled(f64::from(values[index]), factor),
            (Numbers::Levels(values), None) => f32::from(values[index]),
            (Numbers::Floats(values), None) => values[index],
        };
        let pixels = self.height * self.width;
        let mut out = Vec::with_capacity(pixels * self.channels);
        for channel in 0..self.channels {
            let plane = (0..pixels).map(|pixel| value(pixel * self.channels + channel));
            match normalize {
                Some(channels) => {
                    let (mean, std) = (channels[channel].0 as f32, channels[channel].1 as f32);
                    out.extend(plane.map(|value| (value - mean) / std));
                }
                None => out.extend(plane),
            }
        }
        out
    }
}

fn rescaled(value: f64, factor: f64) -> f32 {
    (value * factor) as f32
}

/// `_rescale_for_pil_conversion`: floats as levels, and whether they were fractions. Numbers as good as whole are levels.
fn to_levels(values: &[f32]) -> Result<(Vec<u8>, bool), PreprocessError> {
    // numpy.allclose(values, values.astype(int))
    let whole = |value: &f32| {
        let (value, whole) = (f64::from(*value), f64::from(value.trunc()));
        (value - whole).abs() <= 1e-8 + 1e-5 * whole.abs()
    };
    let within = |highest: f32| values.iter().all(|value| (0.0..=highest).contains(value));
    if values.iter().all(whole) {
        if within(255.0) {
            return Ok((values.iter().map(|value| *value as u8).collect(), false));
        }
    } else if within(1.0) {
        return Ok((values.iter().map(|value| rescaled(f64::from(*value), 255.0) as u8).collect(), true));
    }
    let (min, max) = range(values);
    Err(PreprocessError::ArrayRange { min, max })
}

/// The smallest and the largest; NaN when one is.
fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), value| {
        if value.is_nan() { (f32::NAN, f32::NAN) } else { (min.min(*value), max.max(*value)) }
    })
}

/// `numpy.round(alpha * value + (1 - alpha) * 255)`.
fn level_on_white(value: u8, alpha: u8) -> u8 {
    let alpha = f64::from(alpha) / 255.0;
    (alpha * f64::from(value) + (1.0 - alpha) * 255.0).round_ties_even() as u8
}
