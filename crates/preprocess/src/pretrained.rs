//! Tokenizer and image processor from and to a directory in Hugging Face's layout: `from_pretrained` and `save_pretrained` of
//! `ChineseCLIPProcessor` and its parts, transformers 4.51.3.
//!
//! differs: `tokenizer_config.json` and `special_tokens_map.json` are written and not read; of a `tokenizer.json` its own parts count,
//! and a `vocab.txt` is split with the defaults of a `BertTokenizerFast`.

use std::path::Path;

use chinese_clip_config::{Limits, PreprocessorConfig};
use serde_json::{Value, json};
use tokenizers::Model as _;

use crate::image::ImageProcessor;
use crate::processor::MODEL_MAX_LENGTH;
use crate::{Dialect, PreprocessError, Processor, Tokenizer};

const PREPROCESSOR: &str = "preprocessor_config.json";
const TOKENIZER_JSON: &str = "tokenizer.json";
const VOCAB_TXT: &str = "vocab.txt";

/// A file's name and its content.
type File = (&'static str, String);

impl ImageProcessor {
    /// From the `preprocessor_config.json` of a directory, or from a file of that kind.
    pub fn from_pretrained(path: impl AsRef<Path>, limits: &Limits) -> Result<Self, PreprocessError> {
        let path = path.as_ref();
        let file = if path.is_dir() { &path.join(PREPROCESSOR) } else { path };
        let config = PreprocessorConfig::from_file(file, limits);
        let config = config.map_err(|source| PreprocessError::Config { source })?;
        Ok(Self::new(config, Dialect::Hf).with_limits(limits.clone()))
    }

    /// Writes `preprocessor_config.json` into a directory, which is made if there is none.
    pub fn save_pretrained(&self, dir: impl AsRef<Path>) -> Result<(), PreprocessError> {
        write(dir.as_ref(), &self.files())
    }

    fn files(&self) -> Vec<File> {
        vec![(PREPROCESSOR, self.config().to_json())]
    }
}

impl Tokenizer {
    /// From the `tokenizer.json` of a directory, or from its `vocab.txt` if there is no other.
    pub fn from_pretrained(dir: impl AsRef<Path>, limits: &Limits) -> Result<Self, PreprocessError> {
        let dir = dir.as_ref();
        let (json, vocab) = (dir.join(TOKENIZER_JSON), dir.join(VOCAB_TXT));
        match (json.is_file(), vocab.is_file()) {
            (true, _) => Self::from_tokenizer_json(json, limits),
            (false, true) => Self::from_vocab(vocab, limits),
            (false, false) => Err(PreprocessError::NoVocabulary { path: dir.into() }),
        }
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and, where the ids have no holes, `vocab.txt` into
    /// a directory, which is made if there is none.
    pub fn save_pretrained(&self, dir: impl AsRef<Path>) -> Result<(), PreprocessError> {
        write(dir.as_ref(), &self.files()?)
    }

    fn files(&self) -> Result<Vec<File>, PreprocessError> {
        let special = ["cls_token", "mask_token", "pad_token", "sep_token", "unk_token"]
            .map(|name| (name.to_string(), name.replace("_token", "").to_uppercase()))
            .map(|(name, token)| (name, format!("[{token}]")));
        let special: serde_json::Map<String, Value> = special
            .into_iter()
            .filter(|(_, token)| self.id(token).is_some())
            .map(|(name, token)| (name, token.into()))
            .collect();
        let mut config = special.clone();
        config.extend(self.splitting());
        let mut files = vec![
            (TOKENIZER_JSON, self.to_json()?),
            ("tokenizer_config.json", pretty(&config)),
            ("special_tokens_map.json", pretty(&special)),
        ];
        files.extend(self.lines().map(|lines| (VOCAB_TXT, lines)));
        Ok(files)
    }

    /// How texts are split. The reference mends a `tokenizer.json` by these, so they repeat what stands there.
    fn splitting(&self) -> serde_json::Map<String, Value> {
        let normalizer = serde_json::to_value(self.inner.get_normalizer()).unwrap_or_default();
        let of = |key: &str, default: Value| normalizer.get(key).cloned().unwrap_or(default);
        let entries = [
            ("do_lower_case", of("lowercase", true.into())),
            ("model_max_length", MODEL_MAX_LENGTH.into()),
            ("processor_class", "ChineseCLIPProcessor".into()),
            ("strip_accents", of("strip_accents", Value::Null)),
            ("tokenize_chinese_chars", of("handle_chinese_chars", true.into())),
            ("tokenizer_class", "BertTokenizer".into()),
        ];
        entries.map(|(key, value)| (key.to_string(), value)).into_iter().collect()
    }

    /// One token a line, in the order of the ids; `None` if an id has no token or a token is no line.
    fn lines(&self) -> Option<String> {
        let mut tokens: Vec<(u32, String)> =
            self.inner.get_model().get_vocab().into_iter().map(|(token, id)| (id, token)).collect();
        tokens.sort_unstable();
        let good =
            |(index, (id, token)): (usize, &(u32, String))| *id as usize == index && !token.contains(['\n', '\r']);
        tokens.iter().enumerate().all(good).then(|| tokens.into_iter().map(|(_, token)| token + "\n").collect())
    }
}

impl Processor {
    /// From a directory with the files of both parts.
    pub fn from_pretrained(dir: impl AsRef<Path>, limits: &Limits) -> Result<Self, PreprocessError> {
        let image_processor = ImageProcessor::from_pretrained(dir.as_ref(), limits)?;
        Ok(Self::new(image_processor, Tokenizer::from_pretrained(dir, limits)?).with_limits(limits.clone()))
    }

    /// Writes the files of both parts into a directory, which is made if there is none. Files of these names are replaced, others
    /// stay; after an error before the last step all are as they were.
    pub fn save_pretrained(&self, dir: impl AsRef<Path>) -> Result<(), PreprocessError> {
        write(dir.as_ref(), &[self.tokenizer.files()?, self.image_processor.files()].concat())
    }
}

fn pretty(entries: &serde_json::Map<String, Value>) -> String {
    format!("{:#}\n", json!(entries))
}

/// Writes all files under temporary names and renames them when the last one is complete.
fn write(dir: &Path, files: &[File]) -> Result<(), PreprocessError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| PreprocessError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let temporary = tempfile::Builder::new().prefix(".saving.").tempdir_in(dir).map_err(failed(dir))?;
    for (name, content) in files {
        std::fs::write(temporary.path().join(name), content).map_err(failed(&dir.join(name)))?;
    }
    for (name, _) in files {
        std::fs::rename(temporary.path().join(name), dir.join(name)).map_err(failed(&dir.join(name)))?;
    }
    Ok(())
}
