//! How the prepared form keeps its weights.

/// Numbers of the weights of [`PreparedLinear`](crate::PreparedLinear) once they are packed for a backend's kernels. Residuals are f32
/// in all of them; what layers of short numbers hand to each other may be bf16.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    #[default]
    Whole,
    /// bf16, and so is what they are multiplied by, and what attention multiplies; sums are f32.
    Bf16,
    /// 8 bits, and so is what they are multiplied by; sums are whole numbers. Attention multiplies bf16 where the machine does so
    /// faster than f32.
    Int8,
}
