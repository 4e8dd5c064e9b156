//! From pictures to pixel values: transformers 4.51.3, `image_processing_chinese_clip.py` and `image_transforms.py`;
//! cn_clip 1.6.0, `clip/utils.py`, `image_transform`.
//!
//! Shapes: B pictures; H, W rows and columns.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use chinese_clip_config::{Limits, PreprocessorConfig, Resample, Size};
use chinese_clip_kernels::{LevelValues, planes};
use rayon::prelude::*;

use super::alpha::Alpha;
use super::convert;
use super::decode::decode_at_least;
use super::orientation::Orientation;
use super::picture::{Mode, Picture, Samples, check_bytes, open_with};
use super::resize::{clip16, resize_unchecked, resize_wide};
use super::steps::{crop, level_values};
use crate::{Dialect, PreprocessError};

/// What the image tower reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// `[B, 3, H, W]`, row by row.
    pub data: Vec<f32>,
    /// `[B, 3, H, W]`.
    pub shape: [usize; 4],
}

/// The same in the 8 bits that a sample has before it is rescaled and normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// `[B, H, W, 3]`, row by row.
    pub data: Vec<u8>,
    /// B, H and W.
    pub shape: [usize; 3],
    /// What rescaling and normalising make of each level of each channel.
    pub values: Arc<LevelValues>,
}

impl Levels {
    /// What the image tower reads.
    ///
    /// # Panics
    /// If `data` have another length than `shape` says.
    pub fn pixels(&self) -> Pixels {
        let [pictures, height, width] = self.shape;
        assert_eq!(self.data.len(), pictures * height * width * 3, "levels of {:?}", self.shape);
        let data = planes(&self.data, &self.values, [height, width]);
        Pixels { data, shape: [pictures, 3, height, width] }
    }
}

/// Turns pictures into pixel values: convert to RGB, resize, centre crop, rescale, normalise.
///
/// ```
/// use chinese_clip_config::PreprocessorConfig;
/// use chinese_clip_preprocess::{Dialect, ImageProcessor, Picture};
/// let processor = ImageProcessor::new(PreprocessorConfig::published(224), Dialect::Hf);
/// let picture = Picture::from_rgb8(2, 1, vec![255, 0, 0, 0, 0, 255])?;
/// assert_eq!(processor.process(&[picture])?.shape, [1, 3, 224, 224]);
/// # Ok::<(), chinese_clip_preprocess::PreprocessError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: PreprocessorConfig,
    dialect: Dialect,
    alpha: Alpha,
    limits: Limits,
    fast_jpeg: bool,
}

impl Default for ImageProcessor {
    /// The reference's class as it is made without parameters.
    fn default() -> Self {
        Self::new(PreprocessorConfig::default(), Dialect::Hf)
    }
}

impl ImageProcessor {
    /// A processor with [`Limits::default`].
    pub fn new(config: PreprocessorConfig, dialect: Dialect) -> Self {
        let (alpha, limits) = (Alpha::default(), Limits::default());
        Self { config, dialect, alpha, limits, fast_jpeg: false }
    }

    /// Sets how many pixels a resized or padded picture may have, and how many pictures a call.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes [`open`](Self::open) and [`decode`](Self::decode) read large JPEGs at a half, a quarter or an eighth of their size,
    /// never at less than they are resized to. It saves time, and moves pixel values by some levels: embeddings of
    /// pictures read so are to be compared with such alone.
    #[must_use]
    pub fn with_fast_jpeg(mut self, fast_jpeg: bool) -> Self {
        self.fast_jpeg = fast_jpeg;
        self
    }

    /// The same with another configuration.
    #[must_use]
    pub fn with_config(mut self, config: PreprocessorConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets what [`Dialect::Hf`] does with transparency.
    #[must_use]
    pub fn with_alpha(mut self, alpha: Alpha) -> Self {
        self.alpha = alpha;
        self
    }

    /// What [`process`](Self::process) does.
    pub fn config(&self) -> &PreprocessorConfig {
        &self.config
    }

    /// Whose behaviour is followed.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What becomes of transparency.
    pub fn alpha(&self) -> Alpha {
        self.alpha
    }

    /// Whether large JPEGs are read at less than their size.
    pub fn fast_jpeg(&self) -> bool {
        self.fast_jpeg
    }

    /// [`Picture::open`], by what [`with_fast_jpeg`](Self::with_fast_jpeg) says.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Picture, PreprocessError> {
        open_with(path.as_ref(), &self.limits, |bytes| self.decode(bytes))
    }

    /// [`Picture::decode`], by what [`with_fast_jpeg`](Self::with_fast_jpeg) says.
    pub fn decode(&self, bytes: &[u8]) -> Result<Picture, PreprocessError> {
        if !self.fast_jpeg || !self.config.do_resize {
            return Picture::decode(bytes, &self.limits);
        }
        check_bytes(bytes, &self.limits)?;
        decode_at_least(bytes, &self.limits, &|width, height, orientation| {
            let turned = self.turns(orientation);
            let (width, height) = upright((width, height), turned);
            upright(target(self.config.size, width, height), turned)
        })
    }

    /// `B` pictures to `[B, 3, H, W]`, in parallel, in the order given.
    ///
    /// # Errors
    /// As [`levels`](Self::levels).
    pub fn process(&self, pictures: &[Picture]) -> Result<Pixels, PreprocessError> {
        Ok(self.levels(pictures)?.pixels())
    }

    /// What [`process`](Self::process) makes, in 8 bits a sample.
    ///
    /// # Errors
    /// When there are no pictures, when they come out in different sizes, when a result would be too large, when the configuration is
    /// invalid, and when `do_convert_rgb` is off and a picture is not RGB: the reference refuses it too, unless `load_image` converted it.
    pub fn levels(&self, pictures: &[Picture]) -> Result<Levels, PreprocessError> {
        self.levels_with(&self.config, pictures)
    }

    /// [`process`](Self::process) with another configuration for this call.
    pub fn process_with(&self, config: &PreprocessorConfig, pictures: &[Picture]) -> Result<Pixels, PreprocessError> {
        Ok(self.levels_with(config, pictures)?.pixels())
    }

    fn levels_with(&self, config: &PreprocessorConfig, pictures: &[Picture]) -> Result<Levels, PreprocessError> {
        config.validate().map_err(|source| PreprocessError::Config { source })?;
        self.check_count(pictures.len())?;
        let at = |(index, source)| PreprocessError::AtPicture { index, source: Box::new(source) };
        let mut sizes = Vec::with_capacity(pictures.len());
        for (index, picture) in pictures.iter().enumerate() {
            sizes.push(self.output_size(config, picture).map_err(|source| at((index, source)))?);
        }
        let (first_width, first_height) = sizes[0];
        if let Some(index) = sizes.iter().position(|size| *size != (first_width, first_height)) {
            let (width, height) = sizes[index];
            return Err(PreprocessError::MixedSizes { index, width, height, first_width, first_height });
        }
        let cropped = |picture| {
            let (rgb, size) = self.resized(config, picture);
            if config.do_center_crop { crop(&rgb, 3, size, config.crop_size) } else { rgb.into_owned() }
        };
        let data = match pictures {
            [picture] => cropped(picture),
            _ => pictures.par_iter().map(cropped).collect::<Vec<_>>().concat(),
        };
        let values = Arc::new(level_values(config));
        Ok(Levels { data, shape: [pictures.len(), first_height, first_width], values })
    }

    pub(super) fn check_count(&self, pictures: usize) -> Result<(), PreprocessError> {
        match self.limits.batch {
            _ if pictures == 0 => Err(PreprocessError::NoPictures),
            limit if pictures > limit => Err(PreprocessError::TooManyPictures { pictures, limit }),
            _ => Ok(()),
        }
    }

    /// Width and height of what a picture becomes.
    fn output_size(&self, config: &PreprocessorConfig, picture: &Picture) -> Result<(usize, usize), PreprocessError> {
        if !config.do_convert_rgb && picture.mode() != Mode::Rgb {
            return Err(PreprocessError::NotRgb { mode: picture.mode().name() });
        }
        let resized = self.resized_size(config, picture);
        self.check_pixels(resized)?;
        if !config.do_center_crop {
            return Ok(resized);
        }
        let cropped = (config.crop_size.width, config.crop_size.height);
        self.check_pixels(cropped)?;
        Ok(cropped)
    }

    pub(super) fn check_pixels(&self, (width, height): (usize, usize)) -> Result<(), PreprocessError> {
        let (width, height, limit) = (width as u64, height as u64, self.limits.image_pixels);
        if width == 0 || height == 0 {
            return Err(PreprocessError::NoPixels { width: width as usize, height: height as usize });
        }
        if width.checked_mul(height).is_none_or(|pixels| pixels > limit) {
            return Err(PreprocessError::PicturePixels { width, height, limit });
        }
        Ok(())
    }

    fn turns(&self, orientation: Orientation) -> bool {
        self.dialect == Dialect::Hf && orientation.swaps_axes()
    }

    fn resized_size(&self, config: &PreprocessorConfig, picture: &Picture) -> (usize, usize) {
        let (width, height) = upright((picture.width, picture.height), self.turns(picture.orientation));
        if config.do_resize { target(config.size, width, height) } else { (width, height) }
    }

    /// The picture in RGB at its new size, `[H, W, 3]`, and that size.
    fn resized<'a>(&self, config: &PreprocessorConfig, picture: &'a Picture) -> (Cow<'a, [u8]>, (usize, usize)) {
        let to = self.resized_size(config, picture);
        match self.dialect {
            Dialect::Hf => {
                let (rgb, from) = convert::to_upright_rgb(picture, self.alpha);
                if from == to { (rgb, to) } else { (resize_unchecked(&rgb, 3, from, to, config.resample).into(), to) }
            }
            Dialect::CnClip if (picture.width, picture.height) == to => (convert::to_rgb(&picture.samples), to),
            Dialect::CnClip => {
                let resized = in_own_mode(picture, to, config.resample);
                (Cow::Owned(convert::to_rgb(&resized).into_owned()), to)
            }
        }
    }
}

/// Width and height, of a picture that lies on its side the other way round.
fn upright((width, height): (usize, usize), turned: bool) -> (usize, usize) {
    if turned { (height, width) } else { (width, height) }
}

/// `get_resize_output_image_size`. differs: 4.51.3's processor fails on `shortest_edge`; this is what it calls for an integer.
pub(super) fn target(size: Size, width: usize, height: usize) -> (usize, usize) {
    match size {
        Size::Exact { height, width } => (width, height),
        Size::ShortestEdge { shortest_edge } => {
            let (short, long) = (width.min(height), width.max(height));
            let long = ((shortest_edge as f64 * long as f64) / short as f64) as usize;
            if width <= height { (shortest_edge, long) } else { (long, shortest_edge) }
        }
    }
}

/// `Image.resize`: palette and bilevel pictures by nearest neighbour, alpha premultiplied.
pub(super) fn in_own_mode(picture: &Picture, to: (usize, usize), filter: Resample) -> Samples {
    let from = (picture.width, picture.height);
    let plain = |pixels: &[u8], channels| resize_unchecked(pixels, channels, from, to, filter);
    match &picture.samples {
        Samples::Bilevel(pixels) => Samples::Bilevel(resize_unchecked(pixels, 1, from, to, Resample::Nearest)),
        Samples::Palette { indices, colors } => {
            let indices = resize_unchecked(indices, 1, from, to, Resample::Nearest);
            Samples::Palette { indices, colors: colors.clone() }
        }
        Samples::Grey(pixels) => Samples::Grey(plain(pixels, 1)),
        Samples::Rgb(pixels) => Samples::Rgb(plain(pixels, 3)),
        Samples::Cmyk(pixels) => Samples::Cmyk(plain(pixels, 4)),
        Samples::GreyAlpha(pixels) if filter == Resample::Nearest => Samples::GreyAlpha(plain(pixels, 2)),
        Samples::Rgba(pixels) if filter == Resample::Nearest => Samples::Rgba(plain(pixels, 4)),
        Samples::GreyAlpha(pixels) => {
            let mut resized = plain(&convert::premultiply::<2>(pixels), 2);
            convert::unpremultiply::<2>(&mut resized);
            Samples::GreyAlpha(resized)
        }
        Samples::Rgba(pixels) => {
            let mut resized = plain(&convert::premultiply::<4>(pixels), 4);
            convert::unpremultiply::<4>(&mut resized);
            Samples::Rgba(resized)
        }
        Samples::Grey16(values) => Samples::Grey16(resize_wide(values, from, to, filter, clip16)),
        Samples::Grey32(values) => Samples::Grey32(resize_wide(values, from, to, filter, |sum| sum)),
    }
}
