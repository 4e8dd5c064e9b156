//! What can be wrong with a checkpoint, and how to mend it.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use chinese_clip_config::ConfigError;

use crate::Dtype;
use crate::checkpoint::EXTENSIONS;

/// A tensor whose shape is not the one that the configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub tensor: String,
    /// What the configuration asks for.
    pub expected: Vec<usize>,
    /// What the file holds.
    pub found: Vec<usize>,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {:?}, found {:?}", self.tensor, self.expected, self.found)
    }
}

/// A checkpoint that cannot be found, fetched, read, used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[rustfmt::skip]
pub enum CheckpointError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read { /** The file. */ path: PathBuf, /** Why. */ source: std::io::Error },
    /// A file or directory cannot be written.
    #[error("cannot write {}", path.display())]
    Write { /** The file. */ path: PathBuf, /** Why. */ source: std::io::Error },
    /// A directory or device stands where a file should.
    #[error("{} is not a regular file", path.display())]
    NotAFile { /** What was named. */ path: PathBuf },
    /// A file stands where a checkpoint directory should, and it is none of `cn_clip`'s.
    #[error("{} is a file; a checkpoint is a directory, or a file in the layout of cn_clip", path.display())]
    NotADirectory { /** What was named. */ path: PathBuf },
    /// The file has no bytes.
    #[error("{} is empty (0 bytes)", path.display())]
    Empty { /** The file. */ path: PathBuf },
    /// The source names neither a directory nor something that could be on the hub.
    #[error("no checkpoint `{name}`: there is no such directory or file, and it is not a hub id (`owner/name`) or a published name")]
    NoSuchSource { /** What was asked for. */ name: String },
    /// The shapes of the tensors do not tell what model they make.
    #[error("cannot tell from the tensors of {} what model it is: {problem}", path.display())]
    Architecture { /** The file. */ path: PathBuf, /** What is missing or ambiguous. */ problem: String },
    /// A model that a file in the layout of `cn_clip` cannot describe.
    #[error("a file of cn_clip cannot hold this model: {problem}")]
    NotCnClip { /** The tensor or the field, and what is wrong with it. */ problem: String },
    /// `config.json` or `preprocessor_config.json` is missing, malformed or contradictory.
    #[error(transparent)]
    Config { /** What the parser says. */ #[from] source: ConfigError },
    /// The directory holds no weights of a known name.
    #[error("no weights in {}: looked for {}", directory.display(), looked_for.join(", "))]
    MissingWeights { /** The directory. */ directory: PathBuf, /** The names that were tried, in order. */ looked_for: Vec<&'static str> },
    /// The directory holds no `config.json`.
    #[error("no config.json in {}", directory.display())]
    MissingConfig { /** The directory. */ directory: PathBuf },
    /// A pointer of git-lfs stands in place of the file.
    #[error("{} is a git-lfs pointer, not the file itself", path.display())]
    LfsPointer { /** The file. */ path: PathBuf },
    /// The file is something else.
    #[error("{} is {found}, not a weights file", path.display())]
    NotWeights { /** The file. */ path: PathBuf, /** What it looks like. */ found: &'static str },
    /// The file ends before its contents do.
    #[error("{} is truncated: {expected} bytes expected, {found} found", path.display())]
    Truncated { /** The file. */ path: PathBuf, /** Bytes that its header announces. */ expected: u64, /** Bytes that are there. */ found: u64 },
    /// Something in the file exceeds a limit.
    #[error("{}: {what} is {found}, more than the limit of {limit}", path.display())]
    TooLarge { /** The file. */ path: PathBuf, /** What is too large. */ what: &'static str, /** Its size. */ found: u64, /** The limit. */ limit: u64 },
    /// A safetensors header that breaks the format's rules.
    #[error("invalid safetensors header in {}: {problem}", path.display())]
    Header { /** The file. */ path: PathBuf, /** The rule, and the tensor. */ problem: String },
    /// JSON that cannot be parsed.
    #[error("invalid JSON in {}", path.display())]
    Json { /** The file. */ path: PathBuf, /** What the parser says. */ source: serde_json::Error },
    /// An index of shards that contradicts itself or its shards.
    #[error("invalid index {}: {problem}", path.display())]
    Index { /** The index. */ path: PathBuf, /** What is wrong. */ problem: String },
    /// A torch file whose zip archive is broken. A file that was cut off looks so.
    #[error("{} is not a complete zip archive", path.display())]
    Zip { /** The file. */ path: PathBuf, /** What the reader says. */ source: zip::result::ZipError },
    /// A torch file of the format before 1.6, which is not a zip archive.
    #[error("{} is in torch's legacy format (before 1.6), which is not read", path.display())]
    LegacyTorch { /** The file. */ path: PathBuf },
    /// A zip archive that `torch.save` did not write.
    #[error("{} is not a checkpoint of torch: {problem}", path.display())]
    Torch { /** The file. */ path: PathBuf, /** What is wrong. */ problem: String },
    /// The pickle asks for something that a checkpoint has no use for.
    #[error("{} asks for `{global}`, which is {}", path.display(), if *runs_code { "code to run, not weights; nothing was executed" } else { "not part of a table of weights; nothing was executed" })]
    ForbiddenGlobal { /** The file. */ path: PathBuf, /** `module.name`. */ global: String, /** Whether it is known to run code when the pickle is loaded. */ runs_code: bool },
    /// A pickle that is malformed or uses what torch does not write.
    #[error("invalid pickle in {} at byte {offset}: {problem}", path.display())]
    Pickle { /** The file. */ path: PathBuf, /** Position in the pickle. */ offset: usize, /** What is wrong. */ problem: String },
    /// A tensor that contradicts its storage, has an unknown type, or the like.
    #[error("tensor `{tensor}` in {}: {problem}", path.display())]
    Tensor { /** The file. */ path: PathBuf, /** The tensor. */ tensor: String, /** What is wrong. */ problem: String },
    /// Two tensors of one name.
    #[error("tensor `{tensor}` occurs twice, the second time in {}", path.display())]
    Duplicate { /** The file of the second one. */ path: PathBuf, /** The name, after renaming. */ tensor: String },
    /// A tensor that is not there.
    #[error("no tensor `{tensor}`")]
    NoSuchTensor { /** The name asked for. */ tensor: String },
    /// Floats were asked of a tensor of integers.
    #[error("tensor `{tensor}` holds {dtype}, not floating-point numbers")]
    NotFloat { /** The tensor. */ tensor: String, /** Its type. */ dtype: Dtype },
    /// NaN or infinity among the weights.
    #[error("tensor `{tensor}` has {value} at index {index}")]
    NotFinite { /** The tensor. */ tensor: String, /** Index in row-major order. */ index: usize, /** The value. */ value: f64 },
    /// A finite weight that the new type cannot hold.
    #[error("tensor `{tensor}` has {value} at index {index}, which {dtype} cannot hold")]
    Overflow { /** The tensor. */ tensor: String, /** Index in row-major order. */ index: usize, /** The value. */ value: f64, /** The new type. */ dtype: Dtype },
    /// The tensors are not those that the configuration asks for.
    #[error("the weights do not fit the configuration:{}", coverage(missing, unexpected, misshapen))]
    Coverage { /** Names that the model needs and the file lacks. */ missing: Vec<String>, /** Names in the file that the model does not know. */ unexpected: Vec<String>, /** Tensors of another shape. */ misshapen: Vec<Misshapen> },
    /// The hub wants a token, or a better one.
    #[error("`{id}` is not a directory here, and {endpoint} refuses access to a model of that id (status {status})")]
    Unauthorized { /** The repository. */ id: String, /** The hub. */ endpoint: String, /** 401 or 403. */ status: u16, /** Whether a token was sent. */ with_token: bool },
    /// The hub knows no such repository.
    #[error("`{id}` is not a directory here, and {endpoint} has no model of that id")]
    NoSuchRepository { /** The repository. */ id: String, /** The hub. */ endpoint: String },
    /// The hub knows the repository, but not this revision of it.
    #[error("`{id}` has no revision `{revision}`")]
    NoSuchRevision { /** The repository. */ id: String, /** Branch, tag, commit or `refs/pr/N`. */ revision: String },
    /// The repository lacks a file that a checkpoint needs.
    #[error("`{id}` (revision `{revision}`) has no {}", looked_for.join(", nor "))]
    NoSuchFile { /** The repository. */ id: String, /** The revision. */ revision: String, /** The names that were tried, in order. */ looked_for: Vec<&'static str> },
    /// Offline, and not in the cache.
    #[error("`{id}` (revision `{revision}`) is not a directory here and not complete in the cache {}, and the hub may not be asked: offline", cache.display())]
    Offline { /** The repository. */ id: String, /** The revision. */ revision: String, /** The cache. */ cache: PathBuf },
    /// The hub cannot be reached, or the connection broke for good.
    #[error("cannot fetch {url}")]
    Network { /** What was asked for. */ url: String, /** Why. */ source: std::io::Error },
    /// The hub answered with an unexpected status.
    #[error("{url} answered with status {status}")]
    Status { /** What was asked for. */ url: String, /** The status. */ status: u16 },
    /// The hub answered what no hub should.
    #[error("unexpected answer of {url}: {problem}")]
    Response { /** What was asked for. */ url: String, /** What is wrong. */ problem: String },
    /// A download that ended early, or is longer than announced.
    #[error("{url}: {expected} bytes announced, {found} received")]
    IncompleteDownload { /** What was asked for. */ url: String, /** Bytes announced. */ expected: u64, /** Bytes received. */ found: u64 },
    /// A download whose SHA-256 is not the announced one. It was deleted.
    #[error("{url}: the file is damaged (SHA-256 {found}, announced {expected}); the download was deleted")]
    DamagedDownload { /** What was asked for. */ url: String, /** Hash that the hub announces. */ expected: String, /** Hash of what arrived. */ found: String },
    /// A type that weights are not written in.
    #[error("weights are not written as {dtype}")]
    NotWritable { /** What was asked for. */ dtype: Dtype },
    /// The place to write to is taken.
    #[error("{} exists and is not empty", path.display())]
    OutputExists { /** The directory or file. */ path: PathBuf, /** A file in it that no converted checkpoint has, so that overwriting is refused. */ foreign: Option<String> },
    /// Conversion of a directory onto itself.
    #[error("{} is both input and output", path.display())]
    SameDirectory { /** The directory. */ path: PathBuf },
}

impl CheckpointError {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Config { source } => return source.hint(),
            Self::NotADirectory { .. } => "name the directory that holds config.json and the weights",
            Self::NoSuchSource { .. } => {
                let names: Vec<_> = chinese_clip_config::PUBLISHED.iter().map(|m| m.name).collect();
                return Some(format!("the published names are {}", names.join(", ")));
            }
            Self::MissingWeights { directory, .. } => return stray_weights(directory),
            Self::Architecture { .. } => {
                "a file of cn_clip must hold the whole model; convert other models to Hugging Face's layout, which has a config.json"
            }
            Self::MissingConfig { directory } => {
                let copy = "a checkpoint directory needs the config.json that belongs to its weights; copy it from the model's page on the hub";
                return Some(name_the_file(directory).unwrap_or_else(|| copy.into()));
            }
            Self::LfsPointer { .. } => {
                "run `git lfs pull` in that repository, or download the file from the model's page"
            }
            Self::NotWeights { .. } => {
                "download the file again; a link to the page of a file is not a link to the file"
            }
            Self::Empty { .. } | Self::Truncated { .. } | Self::Zip { .. } => {
                "the copy or download broke off; fetch the file again"
            }
            Self::TooLarge { .. } => "if you trust the file, raise the limit in `Limits`",
            Self::LegacyTorch { .. } => {
                "re-save it with a present-day torch: torch.save(torch.load(FILE, map_location='cpu', weights_only=True), NEW_FILE)"
            }
            Self::ForbiddenGlobal { runs_code: true, .. } => {
                "do not load this file with torch.load: it would run that code; get the weights from a source that you trust, as safetensors"
            }
            Self::ForbiddenGlobal { .. } => {
                "if you trust the file, re-save the weights alone in Python: torch.save(model.state_dict(), NEW_FILE)"
            }
            Self::Torch { .. } => "save the model with torch.save(model.state_dict(), FILE) or as safetensors",
            Self::NotFinite { .. } => "the training diverged or the file is damaged; use another checkpoint",
            Self::Overflow { .. } => "convert to f32 or bf16",
            Self::Coverage { .. } => "config.json and the weights must come from the same model",
            Self::Unauthorized { with_token: false, .. } => {
                "set HF_TOKEN to an access token of an account that may read it (or run `hf auth login`), and check the spelling: the hub answers so for unknown ids, too"
            }
            Self::Unauthorized { .. } => {
                "the token that was sent may not read it: ask for access on the model's page, or check HF_TOKEN and the spelling"
            }
            Self::NoSuchRepository { .. } => "check the spelling of the directory or of the id",
            Self::NoSuchRevision { .. } => "a revision is a branch, a tag, a full commit hash, or refs/pr/N",
            Self::NoSuchFile { .. } => {
                "a model on the hub needs config.json and model.safetensors or pytorch_model.bin, or a file of cn_clip under a published name (clip_cn_vit-b-16.pt)"
            }
            Self::Offline { .. } => "unset HF_HUB_OFFLINE, or download the model first, or name a directory",
            Self::Network { .. } => {
                "if a directory was meant, there is none of that name; else check the connection: HF_ENDPOINT=https://hf-mirror.com selects a mirror, HTTPS_PROXY a proxy; what was fetched is kept and the next run goes on from there"
            }
            Self::IncompleteDownload { .. } => {
                "try again: what was fetched is kept and the next run goes on from there"
            }
            Self::DamagedDownload { .. } => "try again; if it happens again, the mirror or a proxy changes the file",
            Self::Response { .. } => "HF_ENDPOINT must name a hub or a mirror of it",
            Self::NotWritable { .. } => "the types are f32, f16 and bf16",
            Self::OutputExists { foreign: Some(file), .. } => {
                return Some(format!("`{file}` is not a file of a converted checkpoint; choose another directory"));
            }
            Self::OutputExists { .. } => "choose another directory, or ask to overwrite",
            _ => return None,
        };
        Some(hint.into())
    }
}

/// Weights of a name that is not looked for, which the directory may hold.
fn stray_weights(directory: &Path) -> Option<String> {
    let found = files(directory, &[&EXTENSIONS[..], &["incomplete", "crdownload", "part"]].concat())?;
    Some(if found.is_empty() {
        "download model.safetensors or pytorch_model.bin from the model's page".into()
    } else {
        format!("the directory holds {}; the file must have one of the names above", found.join(", "))
    })
}

/// A file of `cn_clip` needs no config.json, but is named itself.
fn name_the_file(directory: &Path) -> Option<String> {
    let found = files(directory, &["pt"])?;
    let file = directory.join(found.first()?);
    Some(format!("if {} is a checkpoint of cn_clip, name the file itself", file.display()))
}

/// Names of the files with one of these extensions.
fn files(directory: &Path, extensions: &[&str]) -> Option<Vec<String>> {
    let mut found: Vec<String> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|found| extensions.iter().any(|e| found == *e)))
        .collect();
    found.sort();
    Some(found)
}

/// Names of a list that are written out.
const SHOWN: usize = 20;

fn coverage(missing: &[String], unexpected: &[String], misshapen: &[Misshapen]) -> String {
    let mut text = String::new();
    list(&mut text, "missing", missing);
    list(&mut text, "unexpected", unexpected);
    list(&mut text, "wrong shape", misshapen);
    text
}

fn list(text: &mut String, what: &str, items: &[impl fmt::Display]) {
    if items.is_empty() {
        return;
    }
    let plural = if items.len() == 1 { "" } else { "s" };
    let _ = write!(text, "\n  {what} ({} tensor{plural}):", items.len());
    for item in items.iter().take(SHOWN) {
        let _ = write!(text, "\n    {item}");
    }
    if items.len() > SHOWN {
        let _ = write!(text, "\n    ... and {} more", items.len() - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_names_the_first_twenty_and_counts_the_rest() {
        let error = CheckpointError::Coverage {
            missing: (0..23).map(|i| format!("layer.{i}.weight")).collect(),
            unexpected: vec!["extra".into()],
            misshapen: vec![Misshapen { tensor: "logit_scale".into(), expected: vec![], found: vec![2] }],
        };
        let text = error.to_string();
        assert!(text.contains("missing (23 tensors):\n    layer.0.weight\n"), "{text}");
        assert!(text.contains("    layer.19.weight\n    ... and 3 more"), "{text}");
        assert!(text.contains("unexpected (1 tensor):\n    extra"), "{text}");
        assert!(text.contains("wrong shape (1 tensor):\n    logit_scale: expected [], found [2]"), "{text}");
        assert!(error.hint().is_some());
    }
}
