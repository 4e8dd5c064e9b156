//! The convolutions of the ResNet: a stem, then four stages of bottleneck blocks. The two forms of the tower differ in what
//! a convolution is, so it is a parameter here: [`Convolution`].
//!
//! Follows `ModifiedResNet` and `Bottleneck` of cn_clip 1.6.0.
//!
//! Shapes: B batch, H rows and W columns of pixels or cells, C channels.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{DType, Tensor};
use chinese_clip_nn::Recorder;

/// A convolution with the batch norm that follows it.
pub(crate) trait Convolution: Module {
    fn forward(&self, x: Tensor<4>) -> Tensor<4>;
    fn dtype(&self) -> DType;
}

/// Stem and stages.
#[derive(Module, Debug)]
pub(crate) struct Trunk<C: Module> {
    pub(crate) conv1: C,
    pub(crate) conv2: C,
    pub(crate) conv3: C,
    pub(crate) layers: Vec<Vec<Bottleneck<C>>>,
}

impl<C: Convolution> Trunk<C> {
    /// The last feature map, `[B, C, H / 32, W / 32]`.
    pub(crate) fn forward(&self, pixels: Tensor<4>, recorder: &mut Recorder) -> Tensor<4> {
        let x = self.stem(pixels, recorder);
        self.layers.iter().zip(1..).fold(x, |x, (layer, n)| stage(layer, n, x, recorder))
    }

    /// The feature map of each stage: `[B, C, H / 4, W / 4]` down to `[B, 8 * C, H / 32, W / 32]`, odd edges rounded as convolutions
    /// and pools do.
    pub(crate) fn feature_maps(&self, pixels: Tensor<4>) -> Vec<Tensor<4>> {
        let mut recorder = Recorder::off();
        let mut x = self.stem(pixels, &mut recorder);
        let mut maps = Vec::with_capacity(self.layers.len());
        for (layer, n) in self.layers.iter().zip(1..) {
            x = stage(layer, n, x, &mut recorder);
            maps.push(x.clone());
        }
        maps
    }

    /// # Shapes
    /// `pixels`: `[B, 3, H, W]`; the result: `[B, C, H / 4, W / 4]`.
    fn stem(&self, pixels: Tensor<4>, recorder: &mut Recorder) -> Tensor<4> {
        let x = recorder.record("stem.norm1", self.conv1.forward(pixels)); // [B, C / 2, H / 2, W / 2]
        let x = recorder.record("stem.norm2", self.conv2.forward(relu(x)));
        let x = recorder.record("stem.norm3", self.conv3.forward(relu(x))); // [B, C, H / 2, W / 2]
        recorder.record("stem.output", shrink(relu(x), 2)) // [B, C, H / 4, W / 4]
    }

    pub(crate) fn dtype(&self) -> DType {
        self.conv1.dtype()
    }

    /// The trunk with each convolution replaced.
    pub(crate) fn map_convolutions<D: Module>(self, replace: &impl Fn(C) -> D) -> Trunk<D> {
        let Self { conv1, conv2, conv3, layers } = self;
        let layer =
            |layer: Vec<Bottleneck<C>>| layer.into_iter().map(|block| block.map_convolutions(replace)).collect();
        Trunk {
            conv1: replace(conv1),
            conv2: replace(conv2),
            conv3: replace(conv3),
            layers: layers.into_iter().map(layer).collect(),
        }
    }
}

/// Stage `n`, counted from 1: one block after another.
fn stage<C: Convolution>(blocks: &[Bottleneck<C>], n: usize, x: Tensor<4>, recorder: &mut Recorder) -> Tensor<4> {
    let numbered = blocks.iter().enumerate();
    numbered
        .fold(x, |x, (m, block)| recorder.scope(format_args!("layer.{n}.{m}"), |recorder| block.forward(x, recorder)))
}

/// Three convolutions beside a shortcut. A stride is an average pool after the second one, and first in the shortcut.
#[derive(Module, Debug)]
pub(crate) struct Bottleneck<C: Module> {
    pub(crate) conv1: C,
    pub(crate) conv2: C,
    pub(crate) conv3: C,
    pub(crate) downsample: Option<C>,
    #[module(skip)]
    pub(crate) stride: usize,
}

impl<C: Convolution> Bottleneck<C> {
    /// # Shapes
    /// `x`: `[B, C, H, W]`; the result: `[B, C', H / stride, W / stride]`.
    fn forward(&self, x: Tensor<4>, recorder: &mut Recorder) -> Tensor<4> {
        let out = recorder.record("norm1", self.conv1.forward(x.clone()));
        let out = recorder.record("norm2", self.conv2.forward(relu(out)));
        let out = recorder.record("norm3", self.conv3.forward(shrink(relu(out), self.stride)));
        let shortcut = match &self.downsample {
            Some(convolution) => recorder.record("downsample", convolution.forward(shrink(x, self.stride))),
            None => x,
        };
        recorder.record("output", relu(out + shortcut))
    }

    fn map_convolutions<D: Module>(self, replace: &impl Fn(C) -> D) -> Bottleneck<D> {
        let Self { conv1, conv2, conv3, downsample, stride } = self;
        Bottleneck {
            conv1: replace(conv1),
            conv2: replace(conv2),
            conv3: replace(conv3),
            downsample: downsample.map(replace),
            stride,
        }
    }
}

/// Means over squares of edge `stride`.
fn shrink(x: Tensor<4>, stride: usize) -> Tensor<4> {
    if stride == 1 {
        return x;
    }
    let options = AvgPoolOptions {
        kernel_size: [stride, stride],
        stride: [stride, stride],
        padding: [(0, 0); 2],
        count_include_pad: true,
        ceil_mode: false,
    };
    avg_pool2d(x, options)
}
