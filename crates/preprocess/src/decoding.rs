//! Token ids back to text.
//!
//! Reference: `PreTrainedTokenizerFast.decode` with `clean_up_tokenization_spaces` at its default, true (transformers 4.51.3):
//! the WordPiece decoder of `tokenizers` joins the pieces and cleans each, then `clean_up_tokenization` cleans the whole.

use rayon::prelude::*;

use crate::{PreprocessError, Tokenizer};

impl Tokenizer {
    /// The text of a list of ids. An id outside the vocabulary is left out, as in the reference; so are the special tokens
    /// when asked. Lower-casing and the spaces of the original are lost: Chinese comes back with a space between characters.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, PreprocessError> {
        let text = self.inner.decode(ids, skip_special_tokens).map_err(|source| PreprocessError::Decode { source })?;
        Ok(clean_up(text))
    }

    /// [`decode`](Self::decode) of many lists, in parallel, in the order given.
    pub fn batch_decode<T: AsRef<[u32]> + Sync>(
        &self,
        batch: &[T],
        skip_special_tokens: bool,
    ) -> Result<Vec<String>, PreprocessError> {
        batch.par_iter().map(|ids| self.decode(ids.as_ref(), skip_special_tokens)).collect()
    }

    /// The token of each id. An id outside the vocabulary becomes `[UNK]`, as in the reference's `BertTokenizer`.
    pub fn tokens(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.token(id).unwrap_or_else(|| "[UNK]".into())).collect()
    }
}

/// `clean_up_tokenization`: undoes the spaces before English punctuation and contractions.
fn clean_up(mut text: String) -> String {
    const RULES: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    for (spaced, joined) in RULES {
        if text.contains(spaced) {
            text = text.replace(spaced, joined);
        }
    }
    text
}
