//! burn's linear layer, configured by a struct literal: a new upstream field is a compile error, and nothing falls back to a default.

use burn::nn::{Initializer, Linear, LinearConfig, LinearLayout};
use burn::tensor::Device;

/// A linear layer whose weight, `[in, out]`, is drawn from a normal distribution of standard deviation `std`, and whose bias is
/// zero.
pub fn linear(d_input: usize, d_output: usize, bias: bool, std: f64, device: &Device) -> Linear {
    let initializer = Initializer::Normal { mean: 0.0, std };
    let linear = LinearConfig { d_input, d_output, bias: false, initializer, layout: LinearLayout::Row }.init(device);
    Linear { bias: bias.then(|| Initializer::Zeros.init([d_output], device)), ..linear }
}
