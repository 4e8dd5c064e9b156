//! How inputs are split into batches: by a budget, texts of like length together.

use std::ops::Range;

use burn::tensor::Device;

use crate::device::is_cpu;

/// How much one pass through a tower takes at once. Larger batches pay on GPUs; on a CPU they only cost memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Tokens of a batch of texts, padding included.
    pub tokens: usize,
    /// Pixels (height times width) of a batch of images.
    pub pixels: usize,
}

/// That of a CPU.
impl Default for Budget {
    fn default() -> Self {
        Self { tokens: 1024, pixels: 8 * 224 * 224 }
    }
}

impl Budget {
    /// What suits a device: 8 pictures of 224 by 224 on a CPU, 64 on a GPU, and texts alike.
    pub fn of(device: &Device) -> Self {
        let Self { tokens, pixels } = Self::default();
        let times = if is_cpu(device) { 1 } else { 8 };
        Self { tokens: times * tokens, pixels: times * pixels }
    }

    /// How many pictures of this height and width are a batch.
    pub fn pictures(&self, [height, width]: [usize; 2]) -> usize {
        (self.pixels / (height * width).max(1)).max(1)
    }
}

/// Sorts texts by length and cuts them into batches of at most `tokens` padded tokens, but at least one text.
///
/// Gives the indices of each batch's texts.
pub(crate) fn text_batches(lengths: &[usize], tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * lengths[i] <= tokens => batch.push(i),
            _ => batches.push(vec![i]),
        }
    }
    batches
}

/// Cuts `images` pictures into batches of at most `size`.
pub(crate) fn image_batches(images: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..images).step_by(size).map(move |start| start..(start + size).min(images))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_like_length_share_a_batch_within_the_budget() {
        assert_eq!(text_batches(&[9, 3, 3, 30, 4], 12), [vec![1, 2, 4], vec![0], vec![3]]);
        assert!(text_batches(&[], 12).is_empty());
    }

    #[test]
    fn images_fill_the_budget() {
        let budget = Budget { tokens: 0, pixels: 25 };
        assert_eq!(image_batches(5, budget.pictures([5, 2])).collect::<Vec<_>>(), [0..2, 2..4, 4..5]);
        assert_eq!(image_batches(2, budget.pictures([10, 10])).collect::<Vec<_>>(), [0..1, 1..2]);
    }
}
