//! The Hugging Face hub: from `owner/name` to a folder of the standard cache, or to a file of `cn_clip` in it.
//!
//! Follows `huggingface_hub` 0.34 (`file_download.py`): layout, names and locks of the cache, and the headers of the hub, so
//! that Python and this crate share one cache. A client of our own on `ureq`, because the sync client of `hf-hub` 0.5 checks
//! neither size nor hash of what it fetched, knows no offline mode and no `HF_HUB_CACHE`, gives up on a lock after five seconds,
//! and cannot tell a missing file from a missing repository. TLS is rustls with the Mozilla roots; proxies come from the environment.
//!
//! A file gets its name in the cache only when size and, where the hub announces one, SHA-256 are right; the revision is
//! recorded only when every file is there. So a broken download is never a cached model.

mod cache;
mod client;
mod progress;

use std::path::{Path, PathBuf};

use chinese_clip_config::{Limits, PUBLISHED, PublishedModel, published};

use self::cache::{Link, Repository};
use self::client::{Client, Metadata};
use crate::checkpoint::{CONFIG, PREPROCESSOR, TOKENIZER_JSON, VOCAB_TXT, WEIGHTS};
use crate::{CheckpointError, OpenOptions, shards};

/// Whether this could be the id of a model on the hub: `owner/name`.
pub(crate) fn is_id(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with(['.', '-'])
            && !part.contains("..")
            && !part.contains("--")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// The folder or file that is the checkpoint `id`, and what the user should know about it. Downloads what is not cached.
pub(crate) fn snapshot(id: &str, options: &OpenOptions) -> Result<(PathBuf, Vec<String>), CheckpointError> {
    let revision = options.revision.as_deref().unwrap_or("main");
    let offline = || CheckpointError::Offline {
        id: id.into(),
        revision: revision.into(),
        cache: options.cache.clone().unwrap_or_default(),
    };
    let repository = options.cache.as_ref().map(|cache| Repository::new(cache, id, revision));
    let Some(repository) = repository else {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no home directory: set HF_HOME");
        return Err(CheckpointError::Write { path: PathBuf::from(".cache/huggingface"), source });
    };
    let cached = repository.cached(&cn_clip_files(id), &options.limits);
    if let Some((path, pinned)) = &cached
        && (options.offline || *pinned)
    {
        return Ok((path.clone(), Vec::new()));
    }
    if options.offline {
        return Err(offline());
    }
    let fetch = Fetch { id, revision, options, repository: &repository, client: Client::new(options) };
    match fetch.run() {
        // As Python does: a hub that cannot be reached is no reason to refuse what is here.
        Err(CheckpointError::Network { .. } | CheckpointError::Status { status: 500.., .. }) if cached.is_some() => {
            let (path, _) = cached.unwrap_or_default();
            Ok((path, vec![format!("{} cannot be reached: the cached copy of {id} is used", options.endpoint)]))
        }
        other => other.map(|path| (path, Vec::new())),
    }
}

/// Names of `cn_clip`'s file in the repository of a published model; in another, of each published one.
fn cn_clip_files(id: &str) -> Vec<String> {
    match published(id) {
        Some(model) => model.cn_clip_file().into_iter().collect(),
        None => PUBLISHED.iter().filter_map(PublishedModel::cn_clip_file).collect(),
    }
}

struct Fetch<'a> {
    id: &'a str,
    revision: &'a str,
    options: &'a OpenOptions,
    repository: &'a Repository,
    client: Client,
}

impl Fetch<'_> {
    /// A repository in Hugging Face's layout, or else one that has a file of `cn_clip`, which is a model by itself.
    fn run(&self) -> Result<PathBuf, CheckpointError> {
        let config = self.head(CONFIG)?;
        if let Some((config, commit)) = &config
            && self.folder(config, commit)?
        {
            self.repository.record(commit)?;
            return Ok(self.repository.snapshot(commit));
        }
        for file in cn_clip_files(self.id) {
            if let Some((metadata, commit)) = self.head(&file)? {
                self.store(&commit, &file, &metadata, None)?;
                self.repository.record(&commit)?;
                return Ok(self.repository.snapshot(&commit).join(file));
            }
        }
        Err(self.no_such_file(if config.is_none() { &[CONFIG] } else { &WEIGHTS }))
    }

    /// What the hub says about a file at the revision, and which commit that is.
    fn head(&self, file: &str) -> Result<Option<(Metadata, String)>, CheckpointError> {
        let url = self.url(self.revision, file);
        let Some(metadata) = self.client.head(&url, self.id, self.revision)? else { return Ok(None) };
        let Some(commit) = metadata.commit.clone() else {
            let problem = "it names no commit (header x-repo-commit), so it is not a hub".into();
            return Err(CheckpointError::Response { url, problem });
        };
        Ok(Some((metadata, commit)))
    }

    /// Fetches Hugging Face's files; `false` if there are no weights among them.
    fn folder(&self, config: &Metadata, commit: &str) -> Result<bool, CheckpointError> {
        let Limits { json_bytes, vocabulary_bytes, .. } = self.options.limits;
        self.store(commit, CONFIG, config, Some(json_bytes))?;
        self.file(commit, PREPROCESSOR, Some(json_bytes))?;
        self.file(commit, VOCAB_TXT, Some(vocabulary_bytes))?;
        self.file(commit, TOKENIZER_JSON, Some(vocabulary_bytes))?;
        self.weights(commit)
    }

    /// The first kind of weight files that the repository has, with all shards; `false` if it has none.
    fn weights(&self, commit: &str) -> Result<bool, CheckpointError> {
        for name in WEIGHTS {
            let is_index = shards::is_index(Path::new(name));
            let cap = is_index.then_some(self.options.limits.json_bytes);
            if !self.file(commit, name, cap)? {
                continue;
            }
            if is_index {
                let index = self.repository.snapshot(commit).join(name);
                for shard in shards::shard_names(&index, &self.options.limits)? {
                    if !self.file(commit, &shard, None)? {
                        let problem = format!("the repository has no {shard}");
                        return Err(CheckpointError::Index { path: index, problem });
                    }
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Makes sure that a file is in the snapshot, if the repository has it.
    fn file(&self, commit: &str, name: &str, cap: Option<u64>) -> Result<bool, CheckpointError> {
        match self.repository.lookup(commit, name) {
            Link::Present => return Ok(true),
            Link::KnownAbsent => return Ok(false),
            Link::Unknown => {}
        }
        let Some(metadata) = self.client.head(&self.url(commit, name), self.id, self.revision)? else {
            self.repository.mark_absent(commit, name);
            return Ok(false);
        };
        self.store(commit, name, &metadata, cap)?;
        Ok(true)
    }

    /// Downloads a file unless the cache has its contents, and links it into the snapshot.
    fn store(&self, commit: &str, name: &str, metadata: &Metadata, cap: Option<u64>) -> Result<(), CheckpointError> {
        if self.repository.lookup(commit, name) == Link::Present {
            return Ok(());
        }
        if let (Some(limit), Some(found)) = (cap, metadata.size)
            && found > limit
        {
            return Err(CheckpointError::TooLarge { path: name.into(), what: "its size", found, limit });
        }
        let _guard = self.repository.lock(&metadata.etag)?;
        if self.repository.lookup(commit, name) == Link::Present {
            return Ok(()); // somebody else was faster
        }
        if !self.repository.has_blob(&metadata.etag, metadata.size) {
            let incomplete = self.repository.incomplete(&metadata.etag)?;
            let url = self.url(commit, name);
            self.client.download(&url, self.id, self.revision, metadata, &incomplete, (name, self.options.progress))?;
            self.repository.finish(&incomplete, &metadata.etag)?;
        }
        self.repository.link(commit, name, &metadata.etag)
    }

    fn url(&self, revision: &str, file: &str) -> String {
        let escaped: String = revision
            .bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        format!("{}/{}/resolve/{escaped}/{file}", self.options.endpoint.trim_end_matches('/'), self.id)
    }

    fn no_such_file(&self, looked_for: &[&'static str]) -> CheckpointError {
        CheckpointError::NoSuchFile {
            id: self.id.into(),
            revision: self.revision.into(),
            looked_for: looked_for.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for id in ["OFA-Sys/chinese-clip-vit-base-patch16", "a/b", "a_1/b.c"] {
            assert!(is_id(id), "{id}");
        }
        for other in [
            "a",
            "a/b/c",
            "/a",
            "a/",
            "./a",
            "../a",
            "a/..",
            "~/a",
            "a b/c",
            "a/b?c",
            "C:/a",
            "a/.hidden",
            "模型/a",
            "a--b/c",
        ] {
            assert!(!is_id(other), "{other}");
        }
    }
}
