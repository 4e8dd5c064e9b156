//! What [`flex`](../flex.rs) offers, in a build without that backend: nothing.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_config::Activation;
use chinese_clip_kernels::LevelValues;

use crate::Packing;

pub(crate) fn pack(_: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

pub(crate) fn pack_rows(_: &[&[f32]], _: usize, _: DType, _: &Device) -> Option<TensorData> {
    None
}

pub(crate) fn affine(
    _: &Tensor<3>,
    _: &Tensor<2>,
    _: &Tensor<1>,
    _: Activation,
    _: Option<&Tensor<3>>,
) -> Option<Tensor<3>> {
    None
}

/// Runs work where it is.
pub fn on_threads<R: Send>(_: &Tensor<1>, work: impl FnOnce() -> R + Send) -> R {
    work()
}

pub(crate) fn layer_norm<const D: usize>(
    _: &Tensor<D>,
    _: &Tensor<1>,
    _: &Tensor<1>,
    _: f64,
    _: Packing,
) -> Option<Tensor<D>> {
    None
}

pub(crate) fn patches(_: &Tensor<4>, _: usize) -> Option<Tensor<3>> {
    None
}

pub(crate) fn patches_of_levels(
    _: &[u8],
    _: &LevelValues,
    _: [usize; 3],
    _: usize,
    _: DType,
    _: &Device,
) -> Option<Tensor<3>> {
    None
}

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum Short {}

impl Short {
    pub(crate) fn pack(_: &Tensor<2>, _: Packing) -> Option<Self> {
        None
    }

    pub(crate) fn packing(&self) -> Packing {
        match *self {}
    }

    pub(crate) fn unpack(&self, _: &Tensor<1>) -> Tensor<2> {
        match *self {}
    }

    pub(crate) fn affine(
        &self,
        _: &Tensor<3>,
        _: Range<usize>,
        _: (&Tensor<1>, Activation),
        _: Option<&Tensor<3>>,
        _: Packing,
    ) -> Option<Tensor<3>> {
        match *self {}
    }
}

pub(crate) fn attention(
    _: &Tensor<3>,
    _: &Tensor<3>,
    _: &Tensor<3>,
    _: Option<&Tensor<4>>,
    _: usize,
) -> Option<Tensor<3>> {
    None
}

pub(crate) fn attends_packed(_: &Tensor<1>) -> bool {
    false
}

pub(crate) fn attention_packed(
    _: &Tensor<3>,
    _: &Tensor<3>,
    _: &Tensor<3>,
    _: &[[usize; 2]],
    _: usize,
) -> Option<Tensor<3>> {
    None
}
