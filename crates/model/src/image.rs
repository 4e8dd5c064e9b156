//! The image tower of either kind: ViT or ResNet.
//!
//! Shapes: I images, W width of what the tower gives.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use chinese_clip_config::{ChineseClipConfig, VisionConfig};
use chinese_clip_nn::{Packing, PixelBatch, Recorder};
use chinese_clip_vision_resnet::{PreparedResNetModel, ResNetModel};
use chinese_clip_vision_vit::{PreparedVisionModel, VisionModel};

/// The image tower with the checkpoint's parameters.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one value in a model
pub enum ImageTower {
    /// ViT, which a projection follows.
    ViT(VisionModel),
    /// CLIP's modified ResNet, which projects by itself.
    ResNet(ResNetModel),
}

impl ImageTower {
    pub(crate) fn init(config: &ChineseClipConfig, device: &Device) -> Self {
        let vision = &initial(config);
        match vision.resnet_layers {
            None => Self::ViT(VisionModel::init(vision, device)),
            Some(_) => Self::ResNet(ResNetModel::init(vision, config.projection_dim, device)),
        }
    }

    /// # Shapes
    /// The result: `[I, W]`.
    pub(crate) fn forward(&self, batch: &PixelBatch, recorder: &mut Recorder) -> Tensor<2> {
        match self {
            Self::ViT(tower) => tower.forward(batch, recorder).pooler_output,
            Self::ResNet(tower) => tower.forward(batch, recorder),
        }
    }

    pub(crate) fn prepare(self) -> PreparedImageTower {
        match self {
            Self::ViT(tower) => PreparedImageTower::ViT(tower.prepare()),
            Self::ResNet(tower) => PreparedImageTower::ResNet(tower.prepare()),
        }
    }
}

/// Of the initial weights, the reference's joint model scales both towers by a factor of its own, which is always 1.
fn initial(config: &ChineseClipConfig) -> VisionConfig {
    VisionConfig { initializer_factor: 1.0, ..config.vision_config.clone() }
}

/// The image tower for inference.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one value in a model
pub(crate) enum PreparedImageTower {
    ViT(PreparedVisionModel),
    ResNet(PreparedResNetModel),
}

impl PreparedImageTower {
    pub(crate) fn init(config: &ChineseClipConfig, device: &Device) -> Self {
        let vision = &initial(config);
        match vision.resnet_layers {
            None => Self::ViT(PreparedVisionModel::init(vision, device)),
            Some(_) => Self::ResNet(ResNetModel::init(vision, config.projection_dim, device).prepare()),
        }
    }

    pub(crate) fn pack(self, packing: Packing) -> Self {
        match self {
            Self::ViT(tower) => Self::ViT(tower.pack(packing)),
            Self::ResNet(_) => self,
        }
    }

    /// # Shapes
    /// The result: `[I, W]`.
    pub(crate) fn forward(&self, batch: &PixelBatch) -> Tensor<2> {
        match self {
            Self::ViT(tower) => tower.forward(batch),
            Self::ResNet(tower) => tower.forward(batch),
        }
    }
}
