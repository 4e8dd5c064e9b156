//! Results on the host: vectors and similarities.
//!
//! Shapes: N vectors, E width of the shared space, I images, T texts.

use crate::Error;

/// N vectors of width E, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    values: Vec<f32>,
    width: usize,
}

impl Embeddings {
    /// Vectors of `width` out of row-major values; a rest that does not fill a vector is dropped.
    pub fn new(mut values: Vec<f32>, width: usize) -> Self {
        values.truncate(values.len() / width.max(1) * width);
        Self { values, width }
    }

    /// All values, `[N, E]` row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// E.
    pub fn width(&self) -> usize {
        self.width
    }

    /// N.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there is no vector.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vectors, one by one.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// Scales every vector to unit length.
    ///
    /// differs: a vector of zeros is an error here and NaN in the reference.
    pub fn into_unit(mut self) -> Result<Self, Error> {
        for row in self.values.chunks_exact_mut(self.width.max(1)) {
            let norm = dot(row, row).sqrt();
            if norm == 0.0 || !norm.is_finite() {
                return Err(Error::NotFinite { what: "the length of a feature" });
            }
            for value in row {
                *value = (f64::from(*value) / norm) as f32;
            }
        }
        Ok(self)
    }

    /// The mean of the vectors, scaled to unit length.
    pub(crate) fn mean_direction(&self) -> Result<Self, Error> {
        let zeros = vec![0.0; self.width];
        let sum = self.rows().fold(zeros, |sum, row| sum.iter().zip(row).map(|(a, b)| a + b).collect());
        Self::new(sum, self.width).into_unit()
    }

    /// One after another.
    pub(crate) fn concat(parts: Vec<Self>, width: usize) -> Self {
        Self::new(parts.into_iter().flat_map(|part| part.values).collect(), width)
    }
}

/// Logits of I images against T texts: the cosine times the model's temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Similarity {
    logits: Vec<f32>,
    texts: usize,
}

impl Similarity {
    /// Compares unit vectors; `scale` is `exp(logit_scale)`.
    pub(crate) fn new(images: &Embeddings, texts: &Embeddings, scale: f64) -> Result<Self, Error> {
        if images.width != texts.width {
            return Err(Error::Width { left: images.width, right: texts.width });
        }
        let pairs = images.rows().flat_map(|image| texts.rows().map(move |text| (image, text)));
        Ok(Self { logits: pairs.map(|(i, t)| (scale * dot(i, t)) as f32).collect(), texts: texts.len() })
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.logits.len() / self.texts.max(1)
    }

    /// The logits of one image, in the order of the texts.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn logits(&self, image: usize) -> &[f32] {
        &self.logits[image * self.texts..(image + 1) * self.texts]
    }

    /// The softmax of [`logits`](Self::logits) over the texts.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn probabilities(&self, image: usize) -> Vec<f32> {
        let logits = self.logits(image);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|exp| (exp / sum) as f32).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_large_logits_is_finite() {
        let images = Embeddings::new(vec![1.0, 0.0], 2);
        let texts = Embeddings::new(vec![1.0, 0.0, 0.0, 1.0], 2);
        let similarity = Similarity::new(&images, &texts, 1000.0).unwrap();
        assert_eq!(similarity.logits(0), [1000.0, 0.0]);
        assert_eq!(similarity.probabilities(0), [1.0, 0.0]);
    }

    #[test]
    fn widths_must_agree() {
        let (a, b) = (Embeddings::new(vec![1.0, 0.0], 2), Embeddings::new(vec![1.0; 3], 3));
        assert!(matches!(Similarity::new(&a, &b, 1.0), Err(Error::Width { left: 2, right: 3 })));
    }
}
