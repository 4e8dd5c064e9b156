//! How the sequences of a batch lie in a tensor: padded to one length, or packed one after the other.
//!
//! Shapes: B sequences, L tokens of the longest, N tokens of all, Q wanted tokens (L or 1), D width.

use burn::tensor::{Device, Int, Tensor, TensorData, s};

use crate::fast;

/// Which rows of a layer's output are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every token.
    All,
    /// The class token, row 0.
    Class,
}

impl Rows {
    /// What is wanted of layer `index` of `count`: of the last one the class token.
    pub fn of_layer(index: usize, count: usize) -> Self {
        if index + 1 == count { Self::Class } else { Self::All }
    }

    /// # Shapes
    /// `x`: `[B, L, D]`; the result: `[B, Q, D]`.
    pub fn of(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::All => x,
            Self::Class => x.slice(s![.., 0..1, ..]),
        }
    }
}

/// How the sequences of a batch lie in the input of a layer.
#[derive(Debug, Clone)]
pub enum Sequences {
    /// `[B, L, D]`, all of one length.
    Whole,
    /// `[B, L, D]`; the bias of attention scores, `[B, 1, L, L]` in f32, hides the padding.
    Padded(Tensor<4>),
    /// `[1, N, D]`, one after the other, without padding.
    Packed(Packed),
}

impl Sequences {
    /// The wanted rows.
    ///
    /// # Shapes
    /// The result: `[B, Q, D]`; of packed sequences `[1, N, D]` or `[1, B, D]`.
    pub fn rows(&self, x: Tensor<3>, rows: Rows) -> Tensor<3> {
        match (self, rows) {
            (Self::Packed(packed), Rows::Class) => x.select(1, packed.first.clone()), // [1, B, D]
            _ => rows.of(x),
        }
    }
}

/// Lengths of packed sequences.
#[derive(Debug, Clone)]
pub struct Packed {
    lengths: Vec<usize>,
    /// The first row of each, `[B]`.
    first: Tensor<1, Int>,
}

impl Packed {
    /// Sequences of these lengths, none of which is 0.
    pub fn new(lengths: Vec<usize>, device: &Device) -> Self {
        let starts = lengths.iter().scan(0, |end, length| Some(std::mem::replace(end, *end + *length as i64)));
        let first = TensorData::new(starts.collect::<Vec<i64>>(), [lengths.len()]);
        Self { lengths, first: Tensor::from_data(first, device) }
    }

    /// Whether the backend of `like` has attention for packed sequences in its number format. Where it has none, padding is faster.
    pub fn pays(like: &Tensor<1>) -> bool {
        fast::attends_packed(like)
    }

    /// Queries and keys of each sequence.
    pub(crate) fn lengths(&self, rows: Rows) -> Vec<[usize; 2]> {
        let queries = |length| if rows == Rows::All { length } else { 1 };
        self.lengths.iter().map(|&length| [queries(length), length]).collect()
    }
}
