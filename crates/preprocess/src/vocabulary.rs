//! Reads `vocab.txt`: one token a line, the line number is the id.
//!
//! Reference: `load_vocab` of `tokenization_bert.py` (transformers 4.51.3), which reads in Python's text mode: `\n`, `\r\n`
//! and a lone `\r` end a line, other white space belongs to the token, a last line needs no end.
//! differs: a token that stands twice is an error; the reference lets the last one win and leaves a hole in the ids.

use std::path::Path;

use ahash::AHashMap;

use crate::PreprocessError;

/// The published vocabulary (see `vocab/NOTICE`).
pub(crate) const BUILTIN: &str = include_str!("vocab/vocab.txt");

/// Tokens that a vocabulary must have, in the order in which the reference registers them.
pub(crate) const REQUIRED: [&str; 4] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

/// Token to id.
pub(crate) type Vocabulary = AHashMap<String, u32>;

/// Parses the text of a `vocab.txt`.
pub(crate) fn parse(text: &str) -> Result<Vocabulary, PreprocessError> {
    let text = if text.contains('\r') { &*text.replace("\r\n", "\n").replace('\r', "\n") } else { text };
    if text.is_empty() {
        return Err(PreprocessError::EmptyVocabulary);
    }
    let mut vocabulary = Vocabulary::with_capacity(BUILTIN.len() / 5);
    for (line, token) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
        if let Some(first) = vocabulary.insert(token.to_string(), line as u32) {
            return Err(PreprocessError::DuplicateToken {
                token: token.into(),
                first: first as usize + 1,
                line: line + 1,
            });
        }
    }
    require(|token| vocabulary.contains_key(token), text.starts_with('\u{feff}'))?;
    Ok(vocabulary)
}

/// Checks that every required special token is there.
pub(crate) fn require(has: impl Fn(&str) -> bool, byte_order_mark: bool) -> Result<(), PreprocessError> {
    let missing: Vec<&'static str> = REQUIRED.into_iter().filter(|token| !has(token)).collect();
    if missing.is_empty() { Ok(()) } else { Err(PreprocessError::MissingSpecialTokens { missing, byte_order_mark }) }
}

/// Reads a file of UTF-8 of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String, PreprocessError> {
    use std::io::Read as _;
    let failed = |source| PreprocessError::ReadVocabulary { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(PreprocessError::VocabularyTooLarge { path: path.into(), limit });
    }
    String::from_utf8(bytes)
        .map_err(|error| PreprocessError::VocabularyNotUtf8 { path: path.into(), source: error.utf8_error() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na";

    #[test]
    fn lines_end_as_in_pythons_text_mode() {
        let plain = parse(SMALL).unwrap();
        assert_eq!(plain.len(), 5);
        for other in [format!("{SMALL}\n"), SMALL.replace('\n', "\r\n"), SMALL.replace('\n', "\r")] {
            assert_eq!(parse(&other).unwrap(), plain, "{other:?}");
        }
    }

    #[test]
    fn other_white_space_belongs_to_the_token() {
        let odd = parse(&format!("{SMALL}\n b\u{3000}\n\u{2028}\nc\u{b}d\n\n")).unwrap();
        assert_eq!([odd[" b\u{3000}"], odd["\u{2028}"], odd["c\u{b}d"], odd[""]], [5, 6, 7, 8]);
        assert_eq!(odd.len(), 9);
    }

    #[test]
    fn the_builtin_vocabulary_is_the_published_one() {
        let builtin = parse(BUILTIN).unwrap();
        assert_eq!(builtin.len(), 21128);
        assert_eq!([builtin["[PAD]"], builtin["[UNK]"], builtin["[CLS]"], builtin["[SEP]"]], [0, 100, 101, 102]);
    }
}
