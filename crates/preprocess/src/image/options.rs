//! What one call may say differently from the processor: the parameters of `ChineseCLIPImageProcessor.preprocess`, transformers 4.51.3.

use chinese_clip_config::{ConfigError, CropSize, Fault, PreprocessorConfig, Resample, Size};

use super::array::ChannelDimension;
use crate::PreprocessError;

/// Parameters of one call; `None` means as the processor has it.
///
/// `return_tensors` has no counterpart: what comes out is always an array.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreprocessOptions {
    /// Resize.
    pub do_resize: Option<bool>,
    /// Target of the resize.
    pub size: Option<Size>,
    /// Filter of the resize.
    pub resample: Option<Resample>,
    /// Crop the centre.
    pub do_center_crop: Option<bool>,
    /// Size of the crop.
    pub crop_size: Option<CropSize>,
    /// Multiply by `rescale_factor`.
    pub do_rescale: Option<bool>,
    /// 1/255.
    pub rescale_factor: Option<f64>,
    /// Subtract the mean, divide by the standard deviation.
    pub do_normalize: Option<bool>,
    /// Mean.
    pub image_mean: Option<PerChannel>,
    /// Standard deviation.
    pub image_std: Option<PerChannel>,
    /// Convert to RGB first. Of arrays the reference takes no notice of it, but in the mode [`Alpha::OnWhite`](crate::Alpha::OnWhite).
    pub do_convert_rgb: Option<bool>,
    /// Where the channels of the result are.
    pub data_format: ChannelDimension,
    /// Where the channels of arrays are; `None` infers it from the first.
    pub input_data_format: Option<ChannelDimension>,
}

/// A number for all channels, or one for each.
#[derive(Debug, Clone, PartialEq)]
pub enum PerChannel {
    /// The same for all.
    All(f64),
    /// As many as there are channels.
    Each(Vec<f64>),
}

impl From<f64> for PerChannel {
    fn from(value: f64) -> Self {
        Self::All(value)
    }
}

impl<const C: usize> From<[f64; C]> for PerChannel {
    fn from(values: [f64; C]) -> Self {
        Self::Each(values.into())
    }
}

impl PerChannel {
    fn of(&self, field: &'static str, channels: usize) -> Result<Vec<f64>, PreprocessError> {
        match self {
            Self::All(value) => Ok(vec![*value; channels]),
            Self::Each(values) if values.len() == channels => Ok(values.clone()),
            Self::Each(values) => Err(PreprocessError::ChannelCount { field, expected: channels, found: values.len() }),
        }
    }
}

/// The processor's configuration with the parameters of a call over it.
pub(super) struct Plan {
    /// All but mean and deviation.
    config: PreprocessorConfig,
    mean: PerChannel,
    std: PerChannel,
}

impl PreprocessOptions {
    pub(super) fn over(&self, config: &PreprocessorConfig) -> Result<Plan, PreprocessError> {
        let mean = self.image_mean.clone().unwrap_or_else(|| config.image_mean.into());
        let std = self.image_std.clone().unwrap_or_else(|| config.image_std.into());
        let config = PreprocessorConfig {
            do_convert_rgb: self.do_convert_rgb.unwrap_or(config.do_convert_rgb),
            do_resize: self.do_resize.unwrap_or(config.do_resize),
            size: self.size.unwrap_or(config.size),
            resample: self.resample.unwrap_or(config.resample),
            do_center_crop: self.do_center_crop.unwrap_or(config.do_center_crop),
            crop_size: self.crop_size.unwrap_or(config.crop_size),
            do_rescale: self.do_rescale.unwrap_or(config.do_rescale),
            rescale_factor: self.rescale_factor.unwrap_or(config.rescale_factor),
            do_normalize: self.do_normalize.unwrap_or(config.do_normalize),
            ..config.clone()
        };
        let invalid = |source| PreprocessError::Config { source };
        config.validate().map_err(invalid)?;
        let deviations = match &std {
            PerChannel::All(value) => std::slice::from_ref(value),
            PerChannel::Each(values) => values,
        };
        if !deviations.iter().all(|value| value.is_finite() && *value > 0.0) {
            let problem = format!("is {deviations:?}, each must be positive");
            let faults = vec![Fault { field: "image_std".into(), problem }];
            return Err(invalid(ConfigError::Invalid { faults }));
        }
        Ok(Plan { config, mean, std })
    }
}

impl Plan {
    pub(super) fn config(&self) -> &PreprocessorConfig {
        &self.config
    }

    /// Mean and standard deviation of each channel, where the array is to be normalised.
    pub(super) fn normalize(&self, channels: usize) -> Result<Option<Vec<(f64, f64)>>, PreprocessError> {
        if !self.config.do_normalize {
            return Ok(None);
        }
        let (mean, std) = (self.mean.of("image_mean", channels)?, self.std.of("image_std", channels)?);
        Ok(Some(mean.into_iter().zip(std).collect()))
    }

    /// The configuration for pictures, which have three channels.
    pub(super) fn for_pictures(&self) -> Result<PreprocessorConfig, PreprocessError> {
        let mut config = self.config.clone();
        if let Some(channels) = self.normalize(3)? {
            (config.image_mean, config.image_std) =
                ([0, 1, 2].map(|c| channels[c].0), [0, 1, 2].map(|c| channels[c].1));
        }
        Ok(config)
    }
}
