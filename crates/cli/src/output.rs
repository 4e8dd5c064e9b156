//! Standard output, and files that are either whole or not there.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::CliError;

/// Standard output, locked and buffered. [`Out::finish`] tells whether everything arrived.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(std::io::stdout().lock()))
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.0, "{text}").map_err(|source| CliError::Stdout { source })
    }

    /// A line of which control characters are shown as escapes where it goes to a terminal: names of files may hold any.
    pub(crate) fn safe_line(&mut self, text: &str) -> Result<(), CliError> {
        if std::io::stdout().is_terminal() { self.line(&printable(text)) } else { self.line(text) }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.0.write_all(bytes).map_err(|source| CliError::Stdout { source })
    }

    /// A value as indented JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut self.0, value).map_err(|error| CliError::Stdout { source: error.into() })?;
        self.line("")
    }

    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.0.flush().map_err(|source| CliError::Stdout { source })
    }

    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.flush()
    }
}

/// Control characters as escapes.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// `path` with `end` appended to its name.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Writes a file beside its place and moves it there when it is whole; after an error nothing has changed.
pub(crate) fn replace<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T, CliError>) -> Result<T, CliError> {
    let failed = |source| CliError::Write { path: path.into(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // In a folder of its own the file has the permissions that the user's files have.
    let temporary = tempfile::Builder::new().prefix(".saving.").tempdir_in(folder).map_err(failed)?;
    let whole = temporary.path().join("whole");
    let mut file = File::options().read(true).write(true).create_new(true).open(&whole).map_err(failed)?;
    let value = write(&mut file)?;
    file.sync_all().map_err(failed)?;
    drop(file);
    std::fs::rename(&whole, path).map_err(failed)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("猫\u{1b}[2J\n"), "猫\\u{1b}[2J\\n");
    }
}
