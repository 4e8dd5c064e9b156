//! Preparation as `cn_clip` does it: its tokenizer, and its functions `tokenize` and `image_transform`.
//!
//! Reference: `clip/bert_tokenizer.py` and `clip/utils.py` of OFA-Sys cn_clip 1.6.0 on Python 3.11, whose Unicode is 14; here it is
//! that of the crates `unicode-properties` and `unicode-normalization`. On every code point that Unicode 14 has assigned they agree.

use std::sync::OnceLock;

use chinese_clip_config::{PreprocessorConfig, Size};
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::{Dialect, EncodeOptions, ImageProcessor, Padding, PreprocessError, TextBatch, Tokenizer};

/// The tokens of a text in every model of `cn_clip`.
pub const CONTEXT_LENGTH: usize = 52;

/// Characters of a word beyond which it is unknown.
pub(crate) const WORD_CHARACTERS: usize = 200;

/// `cn_clip.clip.tokenize`: texts cut and padded with zeros to `context_length` tokens, 52 in the reference.
///
/// ```
/// let batch = chinese_clip_preprocess::cn_clip::tokenize(&["杰尼龟"], 52)?;
/// assert_eq!(batch.shape, [1, 52]);
/// assert_eq!(batch.input_ids[..6], [101, 3345, 2225, 7991, 102, 0]);
/// # Ok::<(), chinese_clip_preprocess::PreprocessError>(())
/// ```
///
/// # Errors
/// If `context_length` is less than 2, or a text is larger than [`Limits`](chinese_clip_config::Limits) allow.
pub fn tokenize<T: AsRef<str> + Sync>(texts: &[T], context_length: usize) -> Result<TextBatch, PreprocessError> {
    let tokenizer = tokenizer()?;
    let options = EncodeOptions { max_length: context_length, ..EncodeOptions::default() };
    tokenizer.pad(&tokenizer.encode_batch(texts, &options)?, Padding::To(context_length))
}

/// The published vocabulary in this dialect, made once in a process.
fn tokenizer() -> Result<Tokenizer, PreprocessError> {
    static MADE: OnceLock<Tokenizer> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made.clone());
    }
    let tokenizer = Tokenizer::builtin()?.with_dialect(Dialect::CnClip)?;
    Ok(MADE.get_or_init(|| tokenizer).clone())
}

/// `cn_clip.clip.image_transform`: pictures squeezed to a square of `image_size` pixels, then normalised.
pub fn image_transform(image_size: usize) -> ImageProcessor {
    let size = Size::Exact { height: image_size, width: image_size };
    ImageProcessor::new(
        PreprocessorConfig { size, do_center_crop: false, ..PreprocessorConfig::default() },
        Dialect::CnClip,
    )
}

/// The words of a text, as `BasicTokenizer.tokenize` splits them.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(2 * text.len());
    for c in text.chars().filter(|&c| !is_removed(c)) {
        match c {
            _ if is_space(c) => spaced.push(' '),
            _ if is_chinese(c) => spaced.extend([' ', c, ' ']),
            _ => spaced.push(c),
        }
    }
    spaced.split_whitespace().flat_map(split_word).collect()
}

/// Lower case without accents, split at every punctuation mark.
fn split_word(word: &str) -> Vec<String> {
    let plain: String = word.to_lowercase().nfd().filter(|&c| !is_accent(c)).collect();
    let mut parts = String::with_capacity(2 * plain.len());
    for c in plain.chars() {
        if is_punctuation(c) { parts.extend([' ', c, ' ']) } else { parts.push(c) }
    }
    parts.split_whitespace().map(String::from).collect()
}

fn category(c: char) -> GeneralCategory {
    c.general_category()
}

/// U+1171E is one in Unicode 14, and since Unicode 16 no more.
fn is_accent(c: char) -> bool {
    category(c) == GeneralCategory::NonspacingMark || c == '\u{1171e}'
}

fn is_removed(c: char) -> bool {
    let control = matches!(category(c), GeneralCategory::Control | GeneralCategory::Format);
    c == '\0' || c == '\u{fffd}' || control && !matches!(c, '\t' | '\n' | '\r')
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || category(c) == GeneralCategory::SpaceSeparator
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2b73f}'
        | '\u{2b740}'..='\u{2b81f}' | '\u{2b820}'..='\u{2ceaf}' | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}
