//! What tests of kernels share.

/// Numbers in -1..1 that look random.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The nearest number that bf16 has.
#[allow(dead_code)] // not every suite uses it
pub(crate) fn bf16(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

/// The nearest numbers of bf16, two in each; the last of an odd count has 0 beside it.
pub(crate) fn pairs(x: &[f32]) -> Vec<u32> {
    let half = |x: f32| half::bf16::from_f32(x).to_ne_bytes();
    let pair = |pair: &[f32]| (half(pair[0]), half(pair.get(1).copied().unwrap_or(0.0)));
    x.chunks(2).map(pair).map(|([a, b], [c, d])| u32::from_ne_bytes([a, b, c, d])).collect()
}

/// The numbers of pairs.
#[allow(dead_code)] // as above
pub(crate) fn widened(pairs: &[u32]) -> Vec<f32> {
    let both = |pair: &u32| {
        let [a, b, c, d] = pair.to_ne_bytes();
        [[a, b], [c, d]].map(|half| half::bf16::from_ne_bytes(half).to_f32())
    };
    pairs.iter().flat_map(both).collect()
}
