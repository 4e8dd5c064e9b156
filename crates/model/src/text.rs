//! The text tower alone, in the reference's terms.
//!
//! Follows `ChineseCLIPTextModel` of transformers 4.51.3 (`modeling_chinese_clip.py`).
//!
//! differs: it loads from a checkpoint of the joint model, too, of which the reference takes nothing; and a pooler that is not there
//! is an error and no random one.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::{DType, Device};
use chinese_clip_checkpoint::{Checkpoint, OpenOptions, Weights};
use chinese_clip_config::{ChineseClipConfig, TextConfig, VisionConfig};
use chinese_clip_text_bert::{self as text, Pooler, TextInputs, TextModel, TextOptions, TextOutput};

use crate::{Error, load, open};

/// Where the tower's tensors stand in a checkpoint of the joint model.
const PREFIX: &str = "text_model.";
/// One of the pooler's.
const POOLER: &str = "pooler.dense.weight";

/// The text tower without a projection: an encoder, or as the configuration says a decoder.
#[derive(Module, Debug)]
pub struct ChineseClipTextModel {
    text_model: TextModel,
    pooler: Option<Pooler>,
    #[module(skip)]
    config: TextConfig,
}

impl ChineseClipTextModel {
    /// A tower of random weights, which are drawn when first read, with a pooler if `add_pooling_layer`.
    ///
    /// # Errors
    /// If the configuration is invalid.
    pub fn new(config: &TextConfig, add_pooling_layer: bool, device: &Device) -> Result<Self, Error> {
        ChineseClipConfig::from_text_vision_configs(config.clone(), VisionConfig::default()).validate()?;
        let pooler = add_pooling_layer.then(|| Pooler::init(config, device));
        Ok(Self { text_model: TextModel::init(config, device), pooler, config: config.clone() })
    }

    /// Loads a checkpoint of the joint model or of this tower, by the names that
    /// [`ChineseClip::from_pretrained`](crate::ChineseClip::from_pretrained) takes, in f32.
    ///
    /// # Errors
    /// As [`load`](Self::load). No published checkpoint has a pooler.
    pub fn from_pretrained(source: &str, add_pooling_layer: bool, device: &Device) -> Result<Self, Error> {
        Self::from_checkpoint(&open(source, &OpenOptions::default())?, add_pooling_layer, DType::F32, device)
    }

    /// Loads an opened checkpoint in `dtype`. Each of the tower's tensors must be there and fit; those of the other parts of a
    /// joint model are not read.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        add_pooling_layer: bool,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, Error> {
        Self::load(&checkpoint.config.text_config, &checkpoint.weights, add_pooling_layer, dtype, device)
    }

    /// Loads weights in `dtype`, under the names of a joint model, or without `text_model.` as transformers writes the tower.
    ///
    /// # Errors
    /// If something is missing or does not fit; [`Error::NoPooler`] if the pooler is asked for and not there. One that is there
    /// and not asked for is left out.
    pub fn load(
        config: &TextConfig,
        weights: &Weights,
        add_pooling_layer: bool,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, Error> {
        let prefix = if weights.names().any(|name| name.starts_with(PREFIX)) { PREFIX } else { "" };
        let has_pooler = weights.contains(&format!("{prefix}{POOLER}"));
        if add_pooling_layer && !has_pooler {
            return Err(Error::NoPooler { tensor: format!("{prefix}{POOLER}") });
        }
        let tower = Self::new(config, has_pooler, device)?;
        let names_of =
            if prefix.is_empty() { |path: &str| vec![bare_name(path)] } else { |path: &str| vec![name(path)] };
        let tower = load::load_part(tower, weights, prefix, names_of, dtype, device)?;
        Ok(if add_pooling_layer { tower } else { Self { pooler: None, ..tower } })
    }

    /// The outputs, and the states that `options` ask for; their shapes stand at [`TextOutput`].
    ///
    /// # Errors
    /// If the inputs contradict each other or the model.
    pub fn forward(&self, inputs: TextInputs<'_>, options: TextOptions) -> Result<TextOutput, Error> {
        Ok(self.text_model.run(inputs, &self.config, options, self.pooler.as_ref())?)
    }

    /// The tower without some attention heads of some layers. Heads keep the numbers that they had at first.
    ///
    /// # Errors
    /// If a layer or head does not exist, or no head of a layer would be left.
    pub fn prune_heads(self, heads_to_prune: &BTreeMap<usize, BTreeSet<usize>>) -> Result<Self, Error> {
        let (text_model, config) = self.text_model.prune_heads(heads_to_prune, &self.config)?;
        Ok(Self { text_model, config, pooler: self.pooler })
    }

    /// The configuration.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The tower itself, for its inference form and intermediates.
    pub fn text_model(&self) -> &TextModel {
        &self.text_model
    }
}

/// The name in a checkpoint of the joint model.
fn name(path: &str) -> String {
    match path.strip_prefix(PREFIX) {
        Some(path) => text::checkpoint_name(path),
        None => format!("{PREFIX}{path}"), // the pooler
    }
}

/// The name in a checkpoint of the tower alone.
fn bare_name(path: &str) -> String {
    name(path).split_off(PREFIX.len())
}
