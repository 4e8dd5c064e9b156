//! What [`flex`](../flex.rs) offers, in a build without that backend: nothing.

use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_config::Activation;

pub(crate) const PANEL: usize = 16;

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
