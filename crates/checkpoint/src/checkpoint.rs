//! A checkpoint: configuration, preprocessor, vocabulary and weights of one model, out of a directory, a file of `cn_clip`, the
//! hub, or the program.
//!
//! Which file counts, where a directory holds several, is as in transformers 4.51.3: `PreTrainedModel.from_pretrained` takes
//! safetensors before `.bin` and one file before shards; `AutoProcessor` takes `tokenizer.json` before `vocab.txt`.

use std::path::{Path, PathBuf};

use chinese_clip_config::{ChineseClipConfig, PUBLISHED, PreprocessorConfig};

use crate::mmap::Region;
use crate::names::Naming;
use crate::weights::Weights;
use crate::{CheckpointError, OpenOptions, hub, infer, safetensors, shards};

/// Where the vocabulary of a checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vocabulary {
    /// The checkpoint has none: use the published one.
    BuiltIn,
    /// A list of tokens, one a line.
    VocabTxt(PathBuf),
    /// A file of the `tokenizers` library; it wins over a `vocab.txt` beside it.
    TokenizerJson(PathBuf),
}

/// An opened checkpoint. The weights are mapped and not yet read.
#[derive(Debug)]
pub struct Checkpoint {
    /// What was asked for: a directory, a file, a hub id (short names are spelled out), or a word for an embedded model.
    pub source: String,
    /// The directory that was read, if it was one; for the hub, the snapshot in the cache, unless a file of `cn_clip` is all it has.
    pub dir: Option<PathBuf>,
    /// The weight files.
    pub files: Vec<PathBuf>,
    /// `config.json`, or what the shapes of the tensors say if a file was opened.
    pub config: ChineseClipConfig,
    /// `preprocessor_config.json`, or what the published models say if there is none (then [`notes`](Self::notes) says so).
    pub preprocessor: PreprocessorConfig,
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// The tensors.
    pub weights: Weights,
    /// What a user may want to know: a file that was missing and replaced by a default, a cache that was used offline.
    pub notes: Vec<String>,
}

/// Files that a checkpoint directory may hold.
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";
pub(crate) const VOCAB_TXT: &str = "vocab.txt";
pub(crate) const TOKENIZER_JSON: &str = "tokenizer.json";
/// Names of weight files, the first that exists counts.
pub(crate) const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Ends of the names of weight files.
pub(crate) const EXTENSIONS: [&str; 5] = ["safetensors", "bin", "pt", "pth", "ckpt"];

impl Checkpoint {
    /// Opens a directory, a file of `cn_clip` (`clip_cn_*.pt`), a model of the hub (`owner/name`), or a published model by its
    /// short name (`ViT-B-16`).
    ///
    /// A directory or file of that name wins. A model of the hub is downloaded into the hub's cache unless it is there.
    pub fn open(source: &str, options: &OpenOptions) -> Result<Self, CheckpointError> {
        let path = Path::new(source);
        if path.is_dir() {
            return Self::open_directory(source, path, Vec::new(), options);
        }
        let is_weights = path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|e| extension == *e));
        if path.exists() {
            return if is_weights {
                Self::open_file(source, path, Vec::new(), options)
            } else {
                Err(not_a_directory(path))
            };
        }
        let id = match chinese_clip_config::published(source) {
            Some(model) => model.hub_id,
            None if hub::is_id(source) && !is_weights => source,
            None => return Err(CheckpointError::NoSuchSource { name: source.into() }),
        };
        let (path, notes) = hub::snapshot(id, options)?;
        if path.is_dir() {
            Self::open_directory(id, &path, notes, options)
        } else {
            Self::open_file(id, &path, notes, options)
        }
    }

    fn open_directory(
        source: &str,
        dir: &Path,
        mut notes: Vec<String>,
        options: &OpenOptions,
    ) -> Result<Self, CheckpointError> {
        let exists = |name: &str| dir.join(name).symlink_metadata().is_ok();
        std::fs::read_dir(dir).map_err(|source| CheckpointError::Read { path: dir.into(), source })?;
        if !exists(CONFIG) {
            return Err(CheckpointError::MissingConfig { directory: dir.into() });
        }
        let config = ChineseClipConfig::from_file(&dir.join(CONFIG), &options.limits)?;
        let preprocessor = if exists(PREPROCESSOR) {
            PreprocessorConfig::from_file(&dir.join(PREPROCESSOR), &options.limits)?
        } else {
            let size = config.vision_config.image_size;
            notes.push(format!(
                "no {PREPROCESSOR}: images are prepared as for the published models, {size}x{size} pixels"
            ));
            PreprocessorConfig::published(size)
        };
        let vocabulary = if exists(TOKENIZER_JSON) {
            Vocabulary::TokenizerJson(dir.join(TOKENIZER_JSON))
        } else if exists(VOCAB_TXT) {
            Vocabulary::VocabTxt(dir.join(VOCAB_TXT))
        } else {
            notes.push(format!("no {TOKENIZER_JSON} or {VOCAB_TXT}: the published vocabulary is used"));
            Vocabulary::BuiltIn
        };
        let Some(name) = WEIGHTS.into_iter().find(|name| exists(name)) else {
            return Err(CheckpointError::MissingWeights { directory: dir.into(), looked_for: WEIGHTS.to_vec() });
        };
        let parts = shards::open(&dir.join(name), &options.limits)?;
        let files = parts.iter().map(|part| part.path.clone()).collect();
        let weights = Weights::assemble(parts, Naming::HuggingFace)?;
        Ok(Self {
            source: source.into(),
            dir: Some(dir.into()),
            files,
            config,
            preprocessor,
            vocabulary,
            weights,
            notes,
        })
    }

    fn open_file(
        source: &str,
        path: &Path,
        mut notes: Vec<String>,
        options: &OpenOptions,
    ) -> Result<Self, CheckpointError> {
        let part = shards::open_one(path, &options.limits)?;
        let naming = Naming::of(part.tensors.iter().map(|(name, _)| name.as_str()));
        if naming == Naming::HuggingFace {
            return Err(not_a_directory(path));
        }
        let weights = Weights::assemble(vec![part], naming)?;
        let config =
            infer::config(&weights).map_err(|problem| CheckpointError::Architecture { path: path.into(), problem })?;
        config.validate()?;
        let size = config.vision_config.image_size;
        let found = match PUBLISHED.iter().find(|model| model.config() == config) {
            Some(model) => format!("the shapes of the tensors are those of {}", model.name),
            None => format!(
                "no published model has these shapes; {} heads for text and {} for images are assumed",
                config.text_config.num_attention_heads, config.vision_config.num_attention_heads
            ),
        };
        notes.push(found);
        notes.push(format!("pictures of {size}x{size} pixels and the vocabulary are those of the published models"));
        Ok(Self {
            source: source.into(),
            dir: None,
            files: vec![path.into()],
            config,
            preprocessor: PreprocessorConfig::published(size),
            vocabulary: Vocabulary::BuiltIn,
            weights,
            notes,
        })
    }

    /// A checkpoint that the program carries: two JSON texts and the bytes of a safetensors file.
    pub fn from_bytes(
        config_json: &str,
        preprocessor_json: &str,
        safetensors: &'static [u8],
    ) -> Result<Self, CheckpointError> {
        let name = "embedded";
        let part =
            safetensors::parse(Region::Static(safetensors), Path::new(name), &chinese_clip_config::Limits::default())?;
        Ok(Self {
            source: name.into(),
            dir: None,
            files: Vec::new(),
            config: ChineseClipConfig::from_json(config_json)?,
            preprocessor: PreprocessorConfig::from_json(preprocessor_json)?,
            vocabulary: Vocabulary::BuiltIn,
            weights: Weights::assemble(vec![part], Naming::HuggingFace)?,
            notes: Vec::new(),
        })
    }
}

fn not_a_directory(path: &Path) -> CheckpointError {
    CheckpointError::NotADirectory { path: path.into() }
}
