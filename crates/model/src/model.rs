//! The joint model: both towers, their projections, and the temperature.
//!
//! Follows `ChineseCLIPModel` of transformers 4.51.3 (`modeling_chinese_clip.py`), and with a ResNet `CLIP` of cn_clip 1.6.0
//! (`clip/model.py`).
//!
//! Shapes: T texts, I images, E width of the shared space.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Tensor};
use chinese_clip_checkpoint::{self as checkpoint, Checkpoint, Companions, OpenOptions, Weights};
use chinese_clip_config::ChineseClipConfig;
use chinese_clip_nn::{Packing, PixelBatch, PreparedAttention, Recorder, Rows, linear, on_threads};
use chinese_clip_text_bert::{self as text, PreparedTextModel, TextModel, TokenBatch};
use chinese_clip_vision_resnet as resnet;
use chinese_clip_vision_vit as vit;

use crate::device::{check_dtype, is_flex, stored};
use crate::image::PreparedImageTower;
use crate::{Error, ImageTower, load, open, save};

/// The model with the checkpoint's parameters. Every intermediate can be recorded; [`prepare`](Self::prepare) makes the
/// form that is fast.
#[derive(Module, Debug)]
pub struct ChineseClipModel {
    text_model: TextModel,
    pub(crate) vision_model: ImageTower,
    text_projection: Linear,
    pub(crate) visual_projection: Option<Linear>,
    logit_scale: Param<Tensor<1>>,
    #[module(skip)]
    config: ChineseClipConfig,
    /// What the checkpoint had beside the weights.
    #[module(skip)]
    companions: Option<Companions>,
}

impl ChineseClipModel {
    /// A model of random weights, which are drawn when first read, from the distributions of the reference's `_init_weights`
    /// (with a ResNet, of `initialize_parameters`).
    pub fn init(config: &ChineseClipConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let text = &config.text_config;
        Ok(Self {
            text_model: TextModel::init(text, device),
            vision_model: ImageTower::init(config, device),
            text_projection: projection(text.hidden_size, config, device),
            visual_projection: visual_projection(config, device),
            logit_scale: logit_scale(config, device),
            config: config.clone(),
            companions: None,
        })
    }

    /// Loads what [`ChineseClip::from_pretrained`](crate::ChineseClip::from_pretrained) takes, in f32.
    pub fn from_pretrained(source: &str, device: &Device) -> Result<Self, Error> {
        Self::from_checkpoint(&open(source, &OpenOptions::default())?, DType::F32, device)
    }

    /// Loads an opened checkpoint in `dtype`.
    pub fn from_checkpoint(checkpoint: &Checkpoint, dtype: DType, device: &Device) -> Result<Self, Error> {
        let model = Self::load(&checkpoint.config, &checkpoint.weights, dtype, device)?;
        Ok(Self { companions: Some(checkpoint.companions()), ..model })
    }

    /// Writes a directory that [`from_pretrained`](Self::from_pretrained) and transformers load: `config.json`,
    /// `model.safetensors` in the model's own number format, and of a model out of a checkpoint its `preprocessor_config.json`
    /// and the files of its vocabulary. Files of these names are replaced, others stay.
    pub fn save_pretrained(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        let parameters = save::parameters(self, checkpoint_names)?;
        checkpoint::save(dir.as_ref(), &self.config, self.companions.as_ref(), parameters)
    }

    /// The model with the given weights in `dtype`. Every tensor is used, and none is missing.
    pub fn load(config: &ChineseClipConfig, weights: &Weights, dtype: DType, device: &Device) -> Result<Self, Error> {
        load::load(Self::init(config, device)?, weights, checkpoint_names, dtype, device)
    }

    /// Text features, not normalised: the projection of `[CLS]` of the last hidden state.
    ///
    /// # Shapes
    /// The result: `[T, E]`.
    pub fn get_text_features(&self, batch: &TokenBatch, recorder: &mut Recorder) -> Tensor<2> {
        let hidden = self.text_model.forward(batch, recorder); // [T, L, D]
        recorder.record("text.features", self.projected_text(hidden)) // [T, E]
    }

    /// Image features, not normalised.
    ///
    /// # Shapes
    /// The result: `[I, E]`.
    pub fn get_image_features(&self, batch: &PixelBatch, recorder: &mut Recorder) -> Tensor<2> {
        let pooled = self.vision_model.forward(batch, recorder); // [I, W]
        recorder.record("vision.features", projected(self.visual_projection.as_ref(), pooled)) // [I, E]
    }

    /// Embeddings and logits of all pairs; their shapes stand at [`ModelOutput`].
    pub fn forward(&self, texts: &TokenBatch, images: &PixelBatch, recorder: &mut Recorder) -> ModelOutput {
        let text = self.get_text_features(texts, recorder);
        let image = self.get_image_features(images, recorder);
        ModelOutput::new(&text, &image, self.logit_scale.val())
    }

    /// Text features of the last hidden state, `[T, L, D]`.
    pub(crate) fn projected_text(&self, hidden: Tensor<3>) -> Tensor<2> {
        let class = Rows::Class.of(hidden).squeeze_dim(1); // [T, D]
        self.text_projection.forward(class) // [T, E]
    }

    /// The configuration.
    pub fn config(&self) -> &ChineseClipConfig {
        &self.config
    }

    /// The text tower.
    pub fn text_model(&self) -> &TextModel {
        &self.text_model
    }

    /// The image tower: the visual backbone.
    pub fn vision_model(&self) -> &ImageTower {
        &self.vision_model
    }

    /// The logarithm of the temperature, shape `[1]`, in f32.
    pub fn logit_scale(&self) -> Tensor<1> {
        self.logit_scale.val()
    }

    /// The inference form.
    pub fn prepare(self) -> PreparedModel {
        self.prepare_unpacked().pack(Packing::Whole)
    }

    fn prepare_unpacked(self) -> PreparedModel {
        PreparedModel {
            text_model: self.text_model.prepare(),
            vision_model: self.vision_model.prepare(),
            text_projection: self.text_projection,
            visual_projection: self.visual_projection,
            logit_scale: self.logit_scale,
        }
    }
}

fn projection(width: usize, config: &ChineseClipConfig, device: &Device) -> Linear {
    linear(width, config.projection_dim, false, (width as f64).powf(-0.5), device)
}

/// Absent with a ResNet, which projects by itself.
fn visual_projection(config: &ChineseClipConfig, device: &Device) -> Option<Linear> {
    let vision = &config.vision_config;
    vision.resnet_layers.is_none().then(|| projection(vision.hidden_size, config, device))
}

pub(crate) fn projected(projection: Option<&Linear>, pooled: Tensor<2>) -> Tensor<2> {
    match projection {
        Some(projection) => projection.forward(pooled), // [I, E]
        None => pooled,
    }
}

fn logit_scale(config: &ChineseClipConfig, device: &Device) -> Param<Tensor<1>> {
    Param::from_data([config.logit_scale_init_value as f32], device)
}

/// The checkpoint's names of what stands side by side in the parameter at `path` in either form.
fn checkpoint_names(path: &str) -> Vec<String> {
    let name = |path: &str| {
        if let Some(path) = path.strip_prefix("text_model.") {
            text::checkpoint_name(path)
        } else if let Some(path) = path.strip_prefix("vision_model.ViT.") {
            vit::checkpoint_name(path)
        } else if let Some(path) = path.strip_prefix("vision_model.ResNet.") {
            resnet::checkpoint_name(path)
        } else {
            path.into()
        }
    };
    PreparedAttention::parts(path).iter().map(|path| name(path)).collect()
}

/// The model for inference; [`loaded`](Self::load) as it is, or made by [`ChineseClipModel::prepare`].
#[derive(Module, Debug)]
pub struct PreparedModel {
    text_model: PreparedTextModel,
    pub(crate) vision_model: PreparedImageTower,
    text_projection: Linear,
    pub(crate) visual_projection: Option<Linear>,
    logit_scale: Param<Tensor<1>>,
}

impl PreparedModel {
    /// The inference form with the given weights in `dtype`, loaded as it is: no canonical form is made on the way, and
    /// the weights are in memory once. Every tensor is used, and none is missing.
    ///
    /// On `flex`, bf16 is the format of what layers and attention multiply, [`DType::I8`] of what layers multiply; all else is f32. A ResNet is f32 there in every
    /// format: its convolutions in f16 round their sums.
    ///
    /// A model with a ResNet, which is small, goes by way of the canonical form in f32: its folded weights are rounded once. So does
    /// one with cross-attention, which this form does not have.
    pub fn load(config: &ChineseClipConfig, weights: &Weights, dtype: DType, device: &Device) -> Result<Self, Error> {
        let (dtype, packing) = stored(dtype, device);
        let resnet = config.vision_config.resnet_layers.is_some();
        if resnet || config.text_config.add_cross_attention {
            check_dtype(dtype, device)?;
            let folded = ChineseClipModel::load(config, weights, DType::F32, device)?.prepare_unpacked();
            let (tower, logit_scale) = (folded.vision_model.clone(), folded.logit_scale.clone()); // the scale is f32 always
            let rounded = folded.map(&mut Cast(dtype));
            let vision_model = if resnet && is_flex(device) { tower } else { rounded.vision_model };
            return Ok(Self { vision_model, logit_scale, ..rounded }.pack(packing));
        }
        let undrawn = Self::undrawn(config, device)?;
        Ok(load::load_packed(undrawn, weights, checkpoint_names, (dtype, packing), device)?.pack(packing))
    }

    /// The model with its weights as the backend's kernels want them.
    fn pack(self, packing: Packing) -> Self {
        let (text_model, vision_model) = (self.text_model.pack(packing), self.vision_model.pack(packing));
        Self { text_model, vision_model, ..self }
    }

    /// A model of random weights.
    pub fn init(config: &ChineseClipConfig, device: &Device) -> Result<Self, Error> {
        Ok(Self::undrawn(config, device)?.pack(Packing::Whole))
    }

    /// A model of random weights, which are drawn when first read.
    fn undrawn(config: &ChineseClipConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let text = &config.text_config;
        Ok(Self {
            text_model: PreparedTextModel::init(text, device),
            vision_model: PreparedImageTower::init(config, device),
            text_projection: projection(text.hidden_size, config, device),
            visual_projection: visual_projection(config, device),
            logit_scale: logit_scale(config, device),
        })
    }

    /// Text features, not normalised.
    ///
    /// # Shapes
    /// The result: `[T, E]`.
    pub fn get_text_features(&self, batch: &TokenBatch) -> Tensor<2> {
        let features = || self.text_projection.forward(self.text_model.forward(batch));
        on_threads(&self.logit_scale.val(), features)
    }

    /// Image features, not normalised.
    ///
    /// # Shapes
    /// The result: `[I, E]`.
    pub fn get_image_features(&self, batch: &PixelBatch) -> Tensor<2> {
        let features = || projected(self.visual_projection.as_ref(), self.vision_model.forward(batch));
        on_threads(&self.logit_scale.val(), features)
    }

    /// Embeddings and logits of all pairs; their shapes stand at [`ModelOutput`].
    pub fn forward(&self, texts: &TokenBatch, images: &PixelBatch) -> ModelOutput {
        let (text, image) = (self.get_text_features(texts), self.get_image_features(images));
        ModelOutput::new(&text, &image, self.logit_scale.val())
    }

    /// The logarithm of the temperature, shape `[1]`, in f32.
    pub fn logit_scale(&self) -> Tensor<1> {
        self.logit_scale.val()
    }
}

/// Casts every parameter.
struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.cast(self.0), mapper)
    }
}

/// What a forward pass over texts and images gives, in f32.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// `[I, T]`.
    pub logits_per_image: Tensor<2>,
    /// `[T, I]`.
    pub logits_per_text: Tensor<2>,
    /// `[T, E]`, unit length.
    pub text_embeds: Tensor<2>,
    /// `[I, E]`, unit length.
    pub image_embeds: Tensor<2>,
}

impl ModelOutput {
    /// Normalises features and compares all pairs.
    ///
    /// # Shapes
    /// `text_features`: `[T, E]`; `image_features`: `[I, E]`; `logit_scale`: `[1]`.
    pub fn new(text_features: &Tensor<2>, image_features: &Tensor<2>, logit_scale: Tensor<1>) -> Self {
        let (text_embeds, image_embeds) = (unit(text_features), unit(image_features));
        let scale = logit_scale.cast(DType::F32).exp().unsqueeze(); // [1, 1]
        let logits_per_text = text_embeds.clone().matmul(image_embeds.clone().transpose()) * scale; // [T, I]
        Self { logits_per_image: logits_per_text.clone().transpose(), logits_per_text, text_embeds, image_embeds }
    }

    /// The contrastive loss of pairs, shape `[1]`: the mean of the cross-entropies over rows and columns.
    pub fn loss(&self) -> Result<Tensor<1>, Error> {
        let [texts, images] = self.logits_per_text.dims();
        if texts != images {
            return Err(Error::Unpaired { images, texts });
        }
        let pairs = Tensor::<2>::eye(texts, &self.logits_per_text.device());
        let entropy = |logits: &Tensor<2>| -(log_softmax(logits.clone(), 1) * pairs.clone()).sum() / texts as f64;
        Ok((entropy(&self.logits_per_text) + entropy(&self.logits_per_image)) / 2.0)
    }
}

/// Rows of unit length, in f32. As in the reference there is no epsilon: a row of zeros becomes NaN.
fn unit(features: &Tensor<2>) -> Tensor<2> {
    let features = features.clone().cast(DType::F32);
    let norm = features.clone().powi_scalar(2).sum_dim(1).sqrt(); // [N, 1]
    features / norm
}
