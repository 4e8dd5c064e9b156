//! What a text becomes: ids of one text, and the padded arrays of a batch.
//!
//! Reference: `BertTokenizerFast.__call__` of transformers 4.51.3 with `padding=True` or `"max_length"`.
//! Shapes: B texts, L tokens.

use chinese_clip_config::Limits;

/// What happens to a text that has more tokens than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlong {
    /// Its end is cut off, `[SEP]` stays last, and [`Encoding::full_length`] keeps how long it was.
    #[default]
    Truncate,
    /// It is an error.
    Refuse,
}

/// How texts are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The most tokens that a text may have, `[CLS]` and `[SEP]` included; at least 2. The default is 512, the positions of
    /// the published models and what the reference allows; cn_clip uses 52.
    pub max_length: usize,
    /// What happens to a longer text.
    pub overlong: Overlong,
    /// `text_bytes` bounds one text, `batch` the number of texts.
    pub limits: Limits,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { max_length: 512, overlong: Overlong::default(), limits: Limits::default() }
    }
}

/// The token ids of one text: `[CLS]`, the text, `[SEP]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// The ids, no padding.
    pub ids: Vec<u32>,
    /// How many ids there were before truncation.
    pub full_length: usize,
}

impl Encoding {
    /// Whether the end of the text was cut off.
    pub fn is_truncated(&self) -> bool {
        self.ids.len() < self.full_length
    }
}

/// To what length the texts of a batch are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// To the longest text of the batch.
    Longest,
    /// To this many tokens.
    To(usize),
}

/// The arrays of a batch of texts, row-major `[B, L]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBatch {
    /// Token ids, padded with `[PAD]` on the right.
    pub input_ids: Vec<i64>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Vec<i64>,
    /// All 0: there is one segment.
    pub token_type_ids: Vec<i64>,
    /// `[B, L]`.
    pub shape: [usize; 2],
}
