//! Which reference implementation a step follows where the references disagree.

/// The reference whose behaviour is reproduced.
///
/// | step | [`Hf`](Dialect::Hf) | [`CnClip`](Dialect::CnClip) |
/// | --- | --- | --- |
/// | EXIF orientation | applied | ignored |
/// | conversion to RGB | before the resize | after the resize |
/// | palette and bilevel pictures | resized as RGB with the filter of the configuration | resized as indices, always nearest |
/// | grey and CMYK pictures | resized as RGB | resized in their own channels |
/// | alpha | dropped, then resized | resized premultiplied, then dropped |
/// | special tokens in a text (`"[SEP]"`) | recognised | ordinary text |
/// | a word is unknown beyond | 100 characters | 200 characters |
/// | private-use characters | deleted | unknown |
/// | accents, format characters, punctuation | as of an old Unicode | as of Unicode 14 and later |
/// | CJK extension E | joined with its neighbours | a word for each character |
/// | lower case | for each character | of the whole word: final sigma |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Hugging Face transformers 4.51.3: `load_image`, then `ChineseCLIPImageProcessor`; `BertTokenizerFast`.
    #[default]
    Hf,
    /// OFA-Sys `cn_clip` 1.6.0: `Image.open`, then `image_transform`; `tokenize`.
    CnClip,
}
