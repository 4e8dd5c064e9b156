//! Weights in 8 bits: beside `NAME`, which is I8, `[N, K]`, stands `NAME_scale`, F32, `[N, 1]`, and a weight is the product of the
//! two. Names and shapes are those of the format `int-quantized` of the library `compressed-tensors`.
//!
//! The weights of the layers of the transformers are written so: those that the inference form multiplies in 8 bits, in the steps
//! that it finds itself. What is read is f32 again, and has the same steps.

use std::borrow::Cow;

use chinese_clip_kernels::{PANEL, int8, int8_scale};

use crate::Dtype;

/// The name of the scales of a tensor.
pub(crate) fn scale_name(tensor: &str) -> String {
    format!("{tensor}_scale")
}

/// Whether a tensor is written in 8 bits.
pub(crate) fn is_short(name: &str, shape: &[usize]) -> bool {
    name.contains(".encoder.layer") && matches!(shape, [outputs, _] if outputs.is_multiple_of(PANEL))
}

/// The scale of each row of `inputs` values.
pub(crate) fn scales(values: &[f32], inputs: usize) -> impl Iterator<Item = f32> {
    values.chunks(inputs.max(1)).map(|row| int8_scale(row.iter().fold(0.0, |largest, value| largest.max(value.abs()))))
}

/// The values in steps of their row's scale.
pub(crate) fn steps(values: &[f32], inputs: usize) -> Vec<u8> {
    let rows = values.chunks(inputs.max(1)).zip(scales(values, inputs));
    rows.flat_map(|(row, scale)| row.iter().map(move |value| int8(*value, scale).cast_unsigned())).collect()
}

/// Whether scales of this type and shape fit a tensor of `shape`.
pub(crate) fn fit(dtype: Dtype, scales: &[usize], shape: &[usize]) -> bool {
    dtype == Dtype::F32 && matches!((scales, shape), ([found] | [found, 1], [rows, _]) if found == rows)
}

/// `[N, K]` of f32 out of steps and scales, all little-endian.
pub(crate) fn widened(steps: &[u8], scales: &[u8], inputs: usize) -> Cow<'static, [u8]> {
    let rows = steps.chunks(inputs.max(1)).zip(scales.as_chunks().0);
    let values = rows.flat_map(|(row, scale)| {
        let scale = f32::from_le_bytes(*scale);
        row.iter().map(move |step| f32::from(step.cast_signed()) * scale)
    });
    Cow::Owned(values.flat_map(f32::to_le_bytes).collect())
}
