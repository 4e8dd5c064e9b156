//! What a text tower refuses.

/// A configuration or an input that the text tower cannot take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The configuration asks for something that this tower does not have.
    #[error("text_config.{field} = {value} is not supported")]
    Unsupported {
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// An array has another length than its shape says.
    #[error("{array} has {found} elements, the shape [{batch}, {length}] needs {}", batch * length)]
    Length {
        /// Which array.
        array: &'static str,
        /// Its length.
        found: usize,
        /// Texts.
        batch: usize,
        /// Tokens of a text.
        length: usize,
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
            Self::OutOfRange { array: "input_ids", .. } => Some(
                "the tokenizer's vocabulary is larger than the model's: use the vocab.txt of the checkpoint".into(),
            ),
            _ => None,
        }
    }
}
