//! What a text tower refuses.

/// A configuration or an input that the text tower cannot take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Something that only a decoder takes, or only one with cross-attention.
    #[error("{input} was given to a text tower without {field}")]
    NotDecoder {
        /// What was given.
        input: &'static str,
        /// The field of `text_config` that would have to be true.
        field: &'static str,
    },
    /// A mask for an encoder that is not there.
    #[error("encoder_attention_mask was given without encoder_hidden_states")]
    NoEncoder,
    /// An array has another length than its shape says.
    #[error("{array} has {found} elements, the shape {shape:?} needs {}", shape.iter().product::<usize>())]
    Length {
        /// Which array.
        array: &'static str,
        /// Its length.
        found: usize,
        /// The shape it should have.
        shape: Vec<usize>,
    },
    /// A tensor of another shape than it should have.
    #[error("{tensor} has the shape {found:?}, must have {expected:?}")]
    Shape {
        /// Which tensor.
        tensor: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// Cached keys and values of another model.
    #[error("past_key_values have {found} layers, the model has {expected}")]
    CachedLayers {
        /// Layers of the cache.
        found: usize,
        /// Layers of the model.
        expected: usize,
    },
    /// The MLP cannot be computed in chunks of one size.
    #[error("{length} tokens are no multiple of chunk_size_feed_forward = {chunk}")]
    Chunk {
        /// Tokens of a text.
        length: usize,
        /// `chunk_size_feed_forward`.
        chunk: usize,
    },
    /// A mask of heads for layers that have other heads.
    #[error(
        "head_mask has {found} elements, must have one of each head, of one layer or of all; the layers have {heads:?} heads"
    )]
    HeadMask {
        /// Its length.
        found: usize,
        /// Heads of each layer.
        heads: Vec<usize>,
    },
    /// Heads that cannot be taken away.
    #[error("heads {heads:?} of layer {layer} cannot be pruned: it must exist and have them, and keep one")]
    Prune {
        /// The layer.
        layer: usize,
        /// All its heads that were to go.
        heads: Vec<usize>,
    },
    /// No text, or texts of no token.
    #[error("a batch of shape [{batch}, {length}] is empty")]
    Empty {
        /// Texts.
        batch: usize,
        /// Tokens of a text.
        length: usize,
    },
    /// More tokens than the model has positions.
    #[error("{length} tokens are more than the {limit} positions of the model")]
    TooLong {
        /// Tokens, padding included.
        length: usize,
        /// `max_position_embeddings`.
        limit: usize,
    },
    /// A value outside of its range.
    #[error("{array}[{row}, {column}] is {value}, must be less than {limit}")]
    OutOfRange {
        /// Which array.
        array: &'static str,
        /// Which text.
        row: usize,
        /// Which token.
        column: usize,
        /// The value found.
        value: i64,
        /// The first value that is too large.
        limit: usize,
    },
}

impl TextError {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { limit, .. } => Some(format!("truncate texts to {limit} tokens (`--max-length {limit}`)")),
            Self::NotDecoder { field, .. } => Some(format!("a model with text_config.{field} = true takes it")),
            Self::Chunk { .. } => Some("pad the texts, or set text_config.chunk_size_feed_forward = 0".into()),
            Self::OutOfRange { array: "input_ids", .. } => Some(
                "the tokenizer's vocabulary is larger than the model's: use the vocab.txt of the checkpoint".into(),
            ),
            _ => None,
        }
    }
}
