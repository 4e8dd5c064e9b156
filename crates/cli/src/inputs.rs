//! Where images and texts come from: arguments, files, directories, standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use chinese_clip::{ImageProcessor, Limits, Picture};
use walkdir::WalkDir;

use crate::error::CliError;

/// The name of standard input.
const STDIN: &str = "-";

/// Extensions of pictures that are looked for in a directory.
const EXTENSIONS: [&str; 20] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "webp", "bmp", "dib", "tif", "tiff", "pbm", "pgm", "ppm",
    "pnm", "tga", "ico", "qoi", "hdr",
];

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// An error if standard input is named more than once.
pub(crate) fn check_stdin(images: &[PathBuf], files: &[Option<&PathBuf>]) -> Result<(), CliError> {
    let uses = images.iter().chain(files.iter().copied().flatten()).filter(|path| is_stdin(path)).count();
    if uses > 1 { Err(CliError::StdinTwice { uses }) } else { Ok(()) }
}

/// The texts of the command line, then those of a file.
pub(crate) fn texts(given: Vec<String>, file: Option<&PathBuf>, limits: &Limits) -> Result<Vec<String>, CliError> {
    let mut texts = given;
    if let Some(path) = file {
        texts.extend(lines(path, limits)?);
    }
    Ok(texts)
}

/// One text a line; empty lines are skipped, a byte order mark and Windows line ends are fine.
fn lines(path: &Path, limits: &Limits) -> Result<Vec<String>, CliError> {
    let bytes = read(path, u64::MAX)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut texts = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| CliError::NotUtf8 { path: path.into(), line: number + 1 })?;
        if text.len() > limits.text_bytes {
            return Err(CliError::LongLine {
                path: path.into(),
                line: number + 1,
                bytes: text.len(),
                limit: limits.text_bytes,
            });
        }
        if !text.trim().is_empty() {
            texts.push(text.to_string());
        }
    }
    Ok(texts)
}

/// Reads and decodes a picture.
pub(crate) fn picture(path: &Path, processor: &ImageProcessor, limits: &Limits) -> Result<Picture, CliError> {
    if is_stdin(path) {
        let bytes = read(path, limits.image_bytes.saturating_add(1))?;
        return processor.decode(&bytes).map_err(|source| CliError::InStdin { source });
    }
    Ok(processor.open(path)?)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    if is_stdin(path) {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        bytes = std::fs::read(path).map_err(failed)?;
    }
    Ok(bytes)
}

/// Leaves out paths that are not UTF-8; they go to `failed`.
pub(crate) fn with_names(paths: Vec<PathBuf>, mut failed: impl FnMut(&CliError)) -> Vec<PathBuf> {
    paths
        .into_iter()
        .filter(|path| {
            let has_name = path.to_str().is_some();
            if !has_name {
                failed(&CliError::NameNotUtf8 { path: path.clone() });
            }
            has_name
        })
        .collect()
}

/// Replaces each directory by the pictures below it, sorted by path. What cannot be walked goes to `failed`.
pub(crate) fn expand(paths: &[PathBuf], mut failed: impl FnMut(&CliError)) -> Result<Vec<PathBuf>, CliError> {
    let mut expanded = Vec::new();
    for path in paths {
        if is_stdin(path) || !path.is_dir() {
            expanded.push(path.clone());
            continue;
        }
        let before = expanded.len();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(source) => {
                    failed(&CliError::Walk { path: path.clone(), source });
                    continue;
                }
            };
            if entry.file_type().is_file() && is_picture(entry.path()) {
                expanded.push(entry.into_path());
            }
        }
        if expanded.len() == before {
            return Err(CliError::NoPictures { path: path.clone() });
        }
    }
    Ok(expanded)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_lines(content: &[u8]) -> Result<Vec<String>, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts");
        std::fs::write(&path, content).unwrap();
        lines(&path, &Limits::default())
    }

    #[test]
    fn lines_of_any_editor() {
        assert_eq!(read_lines("\u{feff}猫\r\n\r\n狗 \n\n 鸟".as_bytes()).unwrap(), ["猫", "狗 ", " 鸟"]);
        assert!(read_lines(b"").unwrap().is_empty());
        assert!(matches!(read_lines(b"a\n\xb9\xea\n"), Err(CliError::NotUtf8 { line: 2, .. })));
        assert!(matches!(read_lines(&vec![b'a'; (1 << 20) + 1]), Err(CliError::LongLine { line: 1, .. })));
    }

    #[test]
    fn extensions_in_any_case() {
        assert!(is_picture(Path::new("a/b.JPG")) && is_picture(Path::new("b.webp")));
        assert!(!is_picture(Path::new("jpg")) && !is_picture(Path::new("b.txt")));
    }
}
