//! The bytes of a checkpoint file: a read-only map of the file, or bytes that the program carries.
//!
//! The only `unsafe` code of this crate stands here: two calls, each with its argument.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use crate::CheckpointError;

/// Bytes that live as long as the weights that point into them.
#[derive(Debug)]
pub(crate) enum Region {
    /// A file on disk.
    Mapped(memmap2::Mmap),
    /// Part of the program.
    Static(&'static [u8]),
}

impl Region {
    /// Maps a file. Directories, empty files and what only looks like a checkpoint are errors.
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let unreadable = |source| CheckpointError::Read { path: path.into(), source };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(CheckpointError::NotAFile { path: path.into() });
        }
        if metadata.len() == 0 {
            return Err(CheckpointError::Empty { path: path.into() });
        }
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the map is private to this process and read-only, so nothing here writes to it. What `Mmap::map` cannot
        // promise is that no other process changes or truncates the file meanwhile; that is the contract of every program that
        // maps its weights: files of a checkpoint are replaced by renaming, never written in place (this crate's own writers
        // do so). A file that is changed in place gives other numbers, one that is truncated a bus error; neither breaks an
        // invariant of a Rust type, since every byte pattern is a valid `u8`.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
        Ok(Self::Mapped(map))
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }

    /// Tells the system that these pages will not be read again soon. They are read again from the file if they are.
    ///
    /// Best effort: an error, or a system without the call, changes memory use and nothing else.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self
            && range.start < range.end
            && range.end <= map.len()
        {
            // SAFETY: `MADV_DONTNEED` is unchecked because on anonymous or privately written memory it replaces the contents by
            // zeros. `map` is a shared, read-only map of a file, made above and never made writable: there the call only drops
            // page-table entries, and the next access reads the same bytes from the page cache or the file. References into
            // the range stay valid and see the same contents. The range was checked to lie inside the map.
            let advice = memmap2::UncheckedAdvice::DontNeed;
            let _best_effort = unsafe { map.unchecked_advise_range(advice, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        drop(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_pages_read_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let region = Region::open(&path).unwrap();
        let held = &region.bytes()[5000..6000];
        region.release(0..bytes.len());
        region.release(4097..9000);
        region.release(10..usize::MAX);
        assert_eq!(region.bytes(), bytes);
        assert_eq!(held, &bytes[5000..6000]);
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Region::open(dir.path()), Err(CheckpointError::NotAFile { .. })));
        assert!(matches!(Region::open(&dir.path().join("absent")), Err(CheckpointError::Read { .. })));
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(matches!(Region::open(&empty), Err(CheckpointError::Empty { .. })));
    }
}
