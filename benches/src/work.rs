//! How much a tower computes at least, and how long that takes the machine at best.

use std::hint::black_box;

use chinese_clip::ChineseClipConfig;
use pulp::{Arch, Simd, WithSimd};

/// Floating-point operations of one picture of the model's size, or of one text of `length` tokens; products alone, and of the last
/// layer those that the class token needs. `None` for a ResNet.
pub struct Work {
    /// Of a picture.
    pub image: Option<f64>,
    /// Of a text.
    pub text: f64,
}

impl Work {
    /// The work of a model.
    pub fn of(config: &ChineseClipConfig, length: usize) -> Self {
        let (text, vision, joint) = (&config.text_config, &config.vision_config, config.projection_dim);
        let heads = text.num_attention_heads;
        let tower = transformer([text.num_hidden_layers, heads], length, text.hidden_size, text.intermediate_size);
        let image = vision.resnet_layers.is_none().then(|| {
            let (width, patches) = (vision.hidden_size, (vision.image_size / vision.patch_size).pow(2));
            let embedding = 2 * patches * vision.num_channels * vision.patch_size.pow(2) * width;
            let layers = [vision.num_hidden_layers, vision.num_attention_heads];
            let tower = transformer(layers, patches + 1, width, vision.intermediate_size);
            (embedding + tower + 2 * width * joint) as f64
        });
        Self { image, text: (tower + 2 * text.hidden_size * joint) as f64 }
    }
}

/// The last layer needs neither keys nor values: its heads are queries of all inputs, from and to one row each.
fn transformer([layers, heads]: [usize; 2], tokens: usize, width: usize, inner: usize) -> usize {
    let row = 8 * width * width + 4 * width * inner;
    let attention = |queries| 4 * queries * tokens * width;
    layers.saturating_sub(1) * (tokens * row + attention(tokens)) + layers.min(1) * (row + attention(heads))
}

/// Sums that are independent, enough to hide how long one takes, and few enough for 16 registers.
const SUMS: usize = 12;

/// As many fused multiply-adds of f32 or a few more, on registers, on all threads.
pub fn multiply_adds(count: usize) -> Vec<f32> {
    let lanes = Arch::new().dispatch(Lanes);
    let rounds = count.div_ceil(rayon::current_num_threads() * lanes * SUMS);
    rayon::broadcast(|_| Arch::new().dispatch(MultiplyAdds { rounds }))
}

struct MultiplyAdds {
    rounds: usize,
}

impl WithSimd for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    #[allow(clippy::inline_always)] // it must have the instructions of its caller
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let factor = simd.splat_f32s(black_box(0.999));
        let mut sums = [factor; SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, factor);
            }
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        size_of::<S::f32s>() / size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ViT-B/16 has 35.1 GFLOP an image and 8.9 a text of 52 tokens if no row is left out; of that the last layer is
    /// a twelfth, of which hardly anything is needed.
    #[test]
    fn work_of_the_base_model() {
        let config = chinese_clip::config::published("ViT-B-16").unwrap().config();
        let work = Work::of(&config, 52);
        let (image, text) = (work.image.unwrap() / 1e9, work.text / 1e9);
        assert!((32.2..32.3).contains(&image), "{image}");
        assert!((8.2..8.21).contains(&text), "{text}");
    }
}
