//! The cache on disk: `models--OWNER--NAME/{blobs,refs,snapshots}`, as `huggingface_hub` lays it out.

use std::fs::File;
use std::path::{Path, PathBuf};

use chinese_clip_config::Limits;

use crate::checkpoint::{CONFIG, WEIGHTS};
use crate::{CheckpointError, shards};

/// The folders of one repository, at one revision.
pub(super) struct Repository {
    folder: PathBuf,
    locks: PathBuf,
    revision: String,
}

/// What the cache knows about a file of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Present,
    /// The hub said that this commit has no such file.
    KnownAbsent,
    Unknown,
}

impl Repository {
    pub(super) fn new(cache: &Path, id: &str, revision: &str) -> Self {
        let name = format!("models--{}", id.replace('/', "--"));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name), revision: revision.into() }
    }

    /// The folder of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// What the cache holds of the revision, if it is complete: a folder, or in it the first that exists of `files`, each of
    /// which is a model by itself. Also, whether the revision is a commit, which cannot change.
    pub(super) fn cached(&self, files: &[String], limits: &Limits) -> Option<(PathBuf, bool)> {
        let commit = if self.pinned() {
            self.revision.clone()
        } else {
            std::fs::read_to_string(self.reference()?).ok()?.trim().to_string()
        };
        let folder = Some(self.snapshot(&commit)).filter(|_| is_name(&commit))?;
        let found = if is_complete(&folder, limits) {
            folder
        } else {
            files.iter().map(|file| folder.join(file)).find(|path| path.is_file())?
        };
        Some((found, self.pinned()))
    }

    fn pinned(&self) -> bool {
        self.revision.len() == 40 && self.revision.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// The file that says which commit the revision is. Names that lead elsewhere have none.
    fn reference(&self) -> Option<PathBuf> {
        let plain = self.revision.split('/').all(is_name);
        plain.then(|| self.folder.join("refs").join(&self.revision))
    }

    /// Notes that the revision is this commit. Done last, when every file is there.
    pub(super) fn record(&self, commit: &str) -> Result<(), CheckpointError> {
        match self.reference() {
            // A cache that cannot be written to is fine as long as there is nothing to write.
            Some(path) if std::fs::read_to_string(&path).is_ok_and(|known| known.trim() == commit) => Ok(()),
            Some(path) if !self.pinned() => {
                let folder = path.parent().unwrap_or(&self.folder);
                std::fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
                let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(folder, e))?;
                std::io::Write::write_all(&mut file, commit.as_bytes()).map_err(|e| failed(&path, e))?;
                file.persist(&path).map_err(|e| failed(&path, e.error))?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn lookup(&self, commit: &str, name: &str) -> Link {
        if self.snapshot(commit).join(name).is_file() {
            Link::Present
        } else if self.absent(commit, name).is_file() {
            Link::KnownAbsent
        } else {
            Link::Unknown
        }
    }

    /// Best effort: it saves a request the next time.
    pub(super) fn mark_absent(&self, commit: &str, name: &str) {
        let path = self.absent(commit, name);
        if let Some(folder) = path.parent()
            && std::fs::create_dir_all(folder).is_ok()
        {
            let _best_effort = File::create(path);
        }
    }

    fn absent(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }

    fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Whether the contents are here, whole.
    pub(super) fn has_blob(&self, etag: &str, size: Option<u64>) -> bool {
        self.blob(etag).metadata().is_ok_and(|blob| blob.is_file() && size.is_none_or(|size| size == blob.len()))
    }

    /// Where a download collects its bytes.
    pub(super) fn incomplete(&self, etag: &str) -> Result<PathBuf, CheckpointError> {
        let folder = self.folder.join("blobs");
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
        Ok(folder.join(format!("{etag}.incomplete")))
    }

    /// A finished download gets its name.
    pub(super) fn finish(&self, incomplete: &Path, etag: &str) -> Result<(), CheckpointError> {
        let blob = self.blob(etag);
        std::fs::rename(incomplete, &blob).map_err(|e| failed(&blob, e))
    }

    /// Holds other processes off this file. Python's `filelock` takes the same lock.
    pub(super) fn lock(&self, etag: &str) -> Result<File, CheckpointError> {
        std::fs::create_dir_all(&self.locks).map_err(|e| failed(&self.locks, e))?;
        let path = self.locks.join(format!("{etag}.lock"));
        let file = File::options().create(true).append(true).open(&path).map_err(|e| failed(&path, e))?;
        match file.lock() {
            // Some network file systems have no locks. Then two downloads may do the work twice.
            Err(error) if error.kind() != std::io::ErrorKind::Unsupported => Err(failed(&path, error)),
            _ => Ok(file),
        }
    }

    /// Makes the file of a snapshot: a link to the contents.
    pub(super) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<(), CheckpointError> {
        let path = self.snapshot(commit).join(name);
        let folder = self.snapshot(commit);
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
        // Made beside and renamed, so that nobody sees the name gone.
        let guard = tempfile::tempdir_in(&folder).map_err(|e| failed(&folder, e))?;
        let new = guard.path().join(name);
        symlink(etag, &self.blob(etag), &new).map_err(|e| failed(&path, e))?;
        std::fs::rename(&new, &path).map_err(|e| failed(&path, e))
    }
}

#[cfg(unix)]
fn symlink(etag: &str, _blob: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), path)
}

/// Links need a privilege on Windows; a second name for the same file does not.
#[cfg(not(unix))]
fn symlink(_etag: &str, blob: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, path).or_else(|_| std::fs::copy(blob, path).map(drop))
}

/// Whether a snapshot has a configuration and weights, with all shards.
fn is_complete(folder: &Path, limits: &Limits) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let Some(weights) = WEIGHTS.into_iter().find(|name| has(name)) else { return false };
    has(CONFIG)
        && (!shards::is_index(Path::new(weights))
            || shards::shard_names(&folder.join(weights), limits).is_ok_and(|names| names.iter().all(|name| has(name))))
}

/// Whether this is safe as the name of one file.
pub(super) fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn failed(path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Write { path: path.into(), source }
}
