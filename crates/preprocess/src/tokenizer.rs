//! The tokenizer: text to token ids and back.
//!
//! Reference: `ChineseCLIPProcessor.tokenizer`, a `BertTokenizerFast` (`tokenization_bert_fast.py`, `BertConverter` of
//! `convert_slow_tokenizer.py`, transformers 4.51.3 with tokenizers 0.21.4), over the `tokenizers` crate.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use chinese_clip_config::Limits;
use rayon::prelude::*;
use serde_json::Value;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Model as _, Tokenizer as Inner};

use crate::cn_clip;
use crate::vocabulary::{self, Vocabulary};
use crate::{Dialect, EncodeOptions, Encoding, Overlong, Padding, PreprocessError, TextBatch};

/// Turns Chinese text into the ids that the text tower reads. Cheap to clone; serves many threads.
///
/// As in the reference, special tokens are recognised in a text too: `"[SEP]"` becomes one id. In the dialect of `cn_clip`
/// ([`with_dialect`](Self::with_dialect)) they are ordinary text.
///
/// ```
/// use chinese_clip_preprocess::{EncodeOptions, Padding, Tokenizer};
///
/// let tokenizer = Tokenizer::builtin()?;
/// let encodings = tokenizer.encode_batch(&["杰尼龟", "一只猫"], &EncodeOptions::default())?;
/// let batch = tokenizer.pad(&encodings, Padding::Longest)?;
/// assert_eq!(batch.shape, [2, 5]);
/// assert_eq!(batch.input_ids[..5], [101, 3345, 2225, 7991, 102]);
/// # Ok::<(), chinese_clip_preprocess::PreprocessError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(crate) inner: Arc<Inner>,
    pad: u32,
    cls: u32,
    sep: u32,
    vocab_size: usize,
    /// The pieces of words in the dialect of `cn_clip`.
    cn_clip: Option<Arc<WordPiece>>,
}

impl Tokenizer {
    /// The vocabulary of the published checkpoints, 21128 tokens. It is parsed once in a process.
    pub fn builtin() -> Result<Self, PreprocessError> {
        static PARSED: OnceLock<Tokenizer> = OnceLock::new();
        if let Some(parsed) = PARSED.get() {
            return Ok(parsed.clone());
        }
        let tokenizer = Self::from_vocabulary(vocabulary::parse(vocabulary::BUILTIN)?)?;
        Ok(PARSED.get_or_init(|| tokenizer).clone())
    }

    /// From a `vocab.txt`: one token a line. Text is lower-cased and split as by a `BertTokenizerFast` with its defaults, which
    /// are those of the published checkpoints.
    pub fn from_vocab(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, PreprocessError> {
        let path = path.as_ref();
        let text = vocabulary::read(path, limits.vocabulary_bytes)?;
        vocabulary::parse(&text).and_then(Self::from_vocabulary).map_err(|error| error.in_vocabulary(path))
    }

    /// From a `tokenizer.json`. Its own truncation and padding are put aside: [`EncodeOptions`] and [`Padding`] decide. It must
    /// have the special tokens of BERT and put `[CLS]` before and `[SEP]` after a text.
    pub fn from_tokenizer_json(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, PreprocessError> {
        let path = path.as_ref();
        let text = vocabulary::read(path, limits.vocabulary_bytes)?;
        Inner::from_bytes(&text)
            .map_err(|source| PreprocessError::TokenizerJson { source })
            .and_then(Self::wrap)
            .map_err(|error| error.in_vocabulary(path))
    }

    fn from_vocabulary(vocabulary: Vocabulary) -> Result<Self, PreprocessError> {
        let build = |source| PreprocessError::TokenizerBuild { source };
        let template = TemplateProcessing::builder()
            .try_single("[CLS]:0 $A:0 [SEP]:0")
            .and_then(|builder| builder.try_pair("[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"))
            .map_err(|message| build(message.into()))?
            .special_tokens(vec![("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])])
            .build()
            .map_err(|error| build(error.into()))?;
        let special: Vec<AddedToken> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            .into_iter()
            .filter(|token| vocabulary.contains_key(*token))
            .map(|token| AddedToken::from(token, true))
            .collect();
        let model = WordPiece::builder().vocab(vocabulary).build().map_err(build)?;
        let mut inner = Inner::new(model);
        inner
            .with_normalizer(Some(BertNormalizer::default()))
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_post_processor(Some(template))
            .with_decoder(Some(WordPieceDecoder::default()));
        inner.add_special_tokens(&special);
        Self::wrap(inner)
    }

    /// Checks what the towers rely on, and takes truncation and padding into our own hands.
    fn wrap(mut inner: Inner) -> Result<Self, PreprocessError> {
        vocabulary::require(|token| inner.token_to_id(token).is_some(), false)?;
        if let Some(token) = serde_json::to_value(inner.get_post_processor()).ok().and_then(|value| undefined(&value)) {
            return Err(PreprocessError::UndefinedTemplateToken { token });
        }
        let id = |token| inner.token_to_id(token).unwrap_or_default();
        let (pad, cls, sep) = (id("[PAD]"), id("[CLS]"), id("[SEP]"));
        inner.with_truncation(None).map_err(|source| PreprocessError::TokenizerBuild { source })?;
        inner.with_padding(None);
        let empty = inner.encode_fast("", true).map_err(|source| PreprocessError::Encode { source })?;
        if *empty.get_ids() != [cls, sep] {
            return Err(PreprocessError::NoClsAndSep { ids: empty.get_ids().to_vec(), cls, sep });
        }
        let body = inner.encode_fast("a", true).map_err(|source| PreprocessError::Encode { source })?;
        let body = body.get_ids();
        if body.len() < 3 || body.first() != Some(&cls) || body.last() != Some(&sep) {
            return Err(PreprocessError::TextNotEnclosed);
        }
        let vocab_size = inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        Ok(Self { inner: Arc::new(inner), pad, cls, sep, vocab_size, cn_clip: None })
    }

    /// The tokenizer over the same vocabulary that splits texts as the given reference does; [`Dialect::Hf`] is the default.
    pub fn with_dialect(self, dialect: Dialect) -> Result<Self, PreprocessError> {
        let pieces = match dialect {
            Dialect::Hf => None,
            Dialect::CnClip => {
                let vocabulary: Vocabulary = self.inner.get_vocab(true).into_iter().collect();
                let pieces = WordPiece::builder().vocab(vocabulary);
                let pieces = pieces.max_input_chars_per_word(cn_clip::WORD_CHARACTERS).build();
                Some(Arc::new(pieces.map_err(|source| PreprocessError::TokenizerBuild { source })?))
            }
        };
        Ok(Self { cn_clip: pieces, ..self })
    }

    /// The ids of one text.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Result<Encoding, PreprocessError> {
        let EncodeOptions { max_length, overlong, ref limits } = *options;
        if max_length < 2 {
            return Err(PreprocessError::MaxLength { max_length });
        }
        if text.len() > limits.text_bytes {
            return Err(PreprocessError::TextTooLarge { bytes: text.len(), limit: limits.text_bytes });
        }
        let mut ids = self.ids(text).map_err(|source| PreprocessError::Encode { source })?;
        let full_length = ids.len();
        if full_length > max_length {
            if overlong == Overlong::Refuse {
                return Err(PreprocessError::TextTooLong { text: shorten(text), length: full_length, max_length });
            }
            ids.truncate(max_length - 1);
            ids.push(self.sep);
        }
        Ok(Encoding { ids, full_length })
    }

    /// All ids of a text, `[CLS]` and `[SEP]` included.
    fn ids(&self, text: &str) -> Result<Vec<u32>, tokenizers::Error> {
        let Some(pieces) = &self.cn_clip else {
            return Ok(self.inner.encode_fast(text, true)?.get_ids().to_vec());
        };
        let mut ids = vec![self.cls];
        for word in cn_clip::words(text) {
            ids.extend(pieces.tokenize(&word)?.into_iter().map(|piece| piece.id));
        }
        ids.push(self.sep);
        Ok(ids)
    }

    /// The ids of many texts, in parallel, in the order given. The first text that fails is the error.
    pub fn encode_batch<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        options: &EncodeOptions,
    ) -> Result<Vec<Encoding>, PreprocessError> {
        if texts.len() > options.limits.batch {
            return Err(PreprocessError::BatchTooLarge { texts: texts.len(), limit: options.limits.batch });
        }
        let encoded: Vec<_> = texts.par_iter().map(|text| self.encode(text.as_ref(), options)).collect();
        encoded
            .into_iter()
            .enumerate()
            .map(|(index, result)| result.map_err(|source| PreprocessError::InText { index, source: Box::new(source) }))
            .collect()
    }

    /// Pads texts to one length. An empty batch has the shape `[0, 0]`, or `[0, n]` with [`Padding::To`].
    pub fn pad(&self, encodings: &[Encoding], padding: Padding) -> Result<TextBatch, PreprocessError> {
        let longest = encodings.iter().map(|encoding| encoding.ids.len()).max().unwrap_or(0);
        let length = match padding {
            Padding::Longest => longest,
            Padding::To(length) if length < longest => return Err(PreprocessError::PadTooShort { length, longest }),
            Padding::To(length) => length,
        };
        let texts = encodings.len();
        let too_large = || PreprocessError::PadTooLarge { texts, length };
        let size = texts.checked_mul(length).ok_or_else(too_large)?;
        let (mut input_ids, mut attention_mask, mut token_type_ids) = (Vec::new(), Vec::new(), Vec::new());
        for array in [&mut input_ids, &mut attention_mask, &mut token_type_ids] {
            array.try_reserve_exact(size).map_err(|_| too_large())?;
        }
        for (row, encoding) in encodings.iter().enumerate() {
            let end = (row + 1) * length;
            input_ids.extend(encoding.ids.iter().map(|&id| i64::from(id)));
            attention_mask.resize(input_ids.len(), 1);
            input_ids.resize(end, i64::from(self.pad));
            attention_mask.resize(end, 0);
        }
        token_type_ids.resize(size, 0);
        Ok(TextBatch { input_ids, attention_mask, token_type_ids, shape: [texts, length] })
    }

    /// How many rows an embedding table needs: the largest id plus 1.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The id of `[PAD]`.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The content of a `tokenizer.json` that makes the same ids, here and in Hugging Face `tokenizers`.
    pub fn to_json(&self) -> Result<String, PreprocessError> {
        self.inner.to_string(true).map_err(|source| PreprocessError::TokenizerBuild { source })
    }
}

/// A token that a template uses and does not define; `tokenizers` panics on one when it encodes.
fn undefined(processor: &Value) -> Option<String> {
    if let Some(parts) = processor["processors"].as_array() {
        return parts.iter().find_map(undefined);
    }
    let pieces = ["single", "pair"].into_iter().filter_map(|name| processor[name].as_array()).flatten();
    let mut used = pieces.filter_map(|piece| piece["SpecialToken"]["id"].as_str());
    used.find(|&token| processor["special_tokens"].get(token).is_none()).map(String::from)
}

/// The beginning of a text, for a message.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 24;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
