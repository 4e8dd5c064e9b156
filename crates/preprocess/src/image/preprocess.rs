//! `ChineseCLIPImageProcessor.preprocess` of transformers 4.51.3: pictures and arrays, with parameters for the call.
//!
//! Pictures alone with the processor's own parameters are what [`ImageProcessor::process`] is for, and the result is the same.
//!
//! Shapes: B pictures; C channels; H, W rows and columns.

use rayon::prelude::*;

use super::alpha::Alpha;
use super::array::{ChannelDimension, ImageArray, transposed};
use super::options::{Plan, PreprocessOptions};
use super::picture::Picture;
use super::processor::{ImageProcessor, Pixels, target};
use crate::PreprocessError;

/// A picture or an array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ImageInput<'a> {
    /// A picture in its own mode.
    Picture(&'a Picture),
    /// Numbers.
    Array(ImageArray<'a>),
}

impl<'a> From<&'a Picture> for ImageInput<'a> {
    fn from(picture: &'a Picture) -> Self {
        Self::Picture(picture)
    }
}

impl<'a> From<ImageArray<'a>> for ImageInput<'a> {
    fn from(array: ImageArray<'a>) -> Self {
        Self::Array(array)
    }
}

/// What [`ImageProcessor::preprocess`] makes of pictures: the reference's `BatchFeature`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchFeature {
    /// `[B, C, H, W]` or `[B, H, W, C]`, row by row.
    pub pixel_values: Vec<f32>,
    /// The shape of `pixel_values`.
    pub shape: [usize; 4],
    /// Which of the two shapes it is.
    pub data_format: ChannelDimension,
    /// What the reference would log.
    pub warnings: Vec<Warning>,
}

impl BatchFeature {
    /// What a model reads: `[B, C, H, W]`.
    pub fn into_pixels(self) -> Pixels {
        let Self { pixel_values: data, shape, data_format, .. } = self;
        match (data_format, shape) {
            (ChannelDimension::First, shape) => Pixels { data, shape },
            (ChannelDimension::Last, [pictures, height, width, channels]) => {
                let planes = data.chunks_exact(height * width * channels);
                let data = planes.flat_map(|picture| transposed(picture, height * width)).collect();
                Pixels { data, shape: [pictures, channels, height, width] }
            }
        }
    }
}

/// What looks like a mistake and is none for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The first array has numbers of 0 to 1, and they are about to be divided by 255 once more.
    AlreadyRescaled,
    /// The first and the last dimension of the first array could both be its channels; the first is taken.
    AmbiguousChannels {
        /// Its shape.
        shape: [usize; 3],
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AlreadyRescaled => f.write_str("the numbers lie between 0 and 1 already; set do_rescale to false"),
            Self::AmbiguousChannels { shape } => {
                write!(f, "the first and the last dimension of {shape:?} could be the channels; the first is taken")
            }
        }
    }
}

impl ImageProcessor {
    /// Pictures and arrays to pixel values, in parallel, in the order given.
    ///
    /// An array passes the steps as it does in the reference: it is not converted to RGB, a resize rounds it to 8 bits, and fractions
    /// come back as fractions. Of several arrays the first decides where the channels are.
    ///
    /// # Errors
    /// As [`process`](Self::process); and of arrays, when no dimension can be the channels, when there are not as many means as
    /// channels, when numbers to be resized are neither levels of 0 to 255 nor fractions of 0 to 1.
    pub fn preprocess<'a, I>(&self, images: I, options: &PreprocessOptions) -> Result<BatchFeature, PreprocessError>
    where
        I: IntoIterator,
        I::Item: Into<ImageInput<'a>>,
    {
        let plan = options.over(self.config())?;
        let images: Vec<ImageInput> = images.into_iter().map(Into::into).collect();
        self.check_count(images.len())?;
        let at = |index| move |source| PreprocessError::AtPicture { index, source: Box::new(source) };
        let mut warnings = Vec::new();
        let format = match (options.input_data_format, images.first()) {
            (Some(format), _) => format,
            (None, Some(ImageInput::Array(array))) => array.infer(self.alpha()).map_err(at(0))?.unwrap_or_else(|| {
                warnings.push(Warning::AmbiguousChannels { shape: array.shape() });
                ChannelDimension::First
            }),
            (None, _) => ChannelDimension::Last,
        };
        if plan.config().do_rescale && matches!(images.first(), Some(ImageInput::Array(array)) if array.is_scaled()) {
            warnings.push(Warning::AlreadyRescaled);
        }
        let made: Vec<_> = images
            .par_iter()
            .map(|image| match image {
                ImageInput::Picture(picture) => self.picture(&plan, picture),
                ImageInput::Array(array) => self.array(&plan, array, format),
            })
            .collect();
        let mut pixel_values = Vec::new();
        let (mut first, pictures) = (None, made.len());
        for (index, made) in made.into_iter().enumerate() {
            let (values, shape) = made.map_err(at(index))?;
            let first = *first.get_or_insert(shape);
            if shape != first {
                return Err(mixed(index, shape, first));
            }
            match options.data_format {
                ChannelDimension::First => pixel_values.extend(values),
                ChannelDimension::Last => pixel_values.extend(transposed(&values, shape[0])),
            }
        }
        let [channels, height, width] = first.unwrap_or_default();
        let shape = match options.data_format {
            ChannelDimension::First => [pictures, channels, height, width],
            ChannelDimension::Last => [pictures, height, width, channels],
        };
        Ok(BatchFeature { pixel_values, shape, data_format: options.data_format, warnings })
    }

    /// `[C, H, W]` of a picture, and that shape.
    fn picture(&self, plan: &Plan, picture: &Picture) -> Result<(Vec<f32>, [usize; 3]), PreprocessError> {
        let pixels =
            self.process_with(&plan.for_pictures()?, std::slice::from_ref(picture)).map_err(|error| match error {
                PreprocessError::AtPicture { source, .. } => *source,
                other => other,
            })?;
        let [_, channels, height, width] = pixels.shape;
        Ok((pixels.data, [channels, height, width]))
    }

    /// `[C, H, W]` of an array, and that shape.
    fn array(
        &self,
        plan: &Plan,
        array: &ImageArray,
        format: ChannelDimension,
    ) -> Result<(Vec<f32>, [usize; 3]), PreprocessError> {
        let config = plan.config();
        let mut raster = array.raster(format);
        if config.do_convert_rgb && self.alpha() == Alpha::OnWhite {
            raster = raster.on_white()?;
        }
        let normalize = plan.normalize(raster.channels)?;
        if config.do_resize {
            let to = target(config.size, raster.width, raster.height);
            self.check_pixels(to)?;
            raster = raster.resize(to, config.resample)?;
        }
        if config.do_center_crop {
            self.check_pixels((config.crop_size.width, config.crop_size.height))?;
            raster = raster.crop(config.crop_size);
        }
        let factor = config.do_rescale.then_some(config.rescale_factor);
        let values = raster.finish(factor, normalize.as_deref());
        Ok((values, [raster.channels, raster.height, raster.width]))
    }
}

fn mixed(index: usize, [channels, height, width]: [usize; 3], first: [usize; 3]) -> PreprocessError {
    let [first_channels, first_height, first_width] = first;
    if channels == first_channels {
        PreprocessError::MixedSizes { index, width, height, first_width, first_height }
    } else {
        PreprocessError::MixedChannels { index, channels, first_channels }
    }
}
