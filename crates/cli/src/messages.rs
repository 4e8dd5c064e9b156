//! What is said to people, on standard error: notes, warnings, errors with their causes and a hint.
//!
//! A message that cannot be written is dropped: there is nobody to tell.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use chinese_clip::Encoding;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::CliError;

/// How much of a text a message shows, in characters.
const SHOWN: usize = 24;
/// Up to so many inputs need no progress bar.
const SHORT: usize = 8;

/// Something worth knowing.
pub(crate) fn note(text: &str) {
    say(&format!("{} {text}\n", label("note:", "36")));
}

static FAILED: AtomicBool = AtomicBool::new(false);

/// Whether an error was told.
pub(crate) fn any_error() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// An error, its causes, and how to mend it.
pub(crate) fn error(error: &CliError) {
    FAILED.store(true, Ordering::Relaxed);
    let mut lines = vec![format!("{} {error}", label("error:", "31"))];
    let mut cause = error.source();
    while let Some(source) = cause {
        lines.push(format!("  caused by: {source}"));
        cause = source.source();
    }
    if let Some(hint) = error.hint() {
        lines.push(format!("{} {hint}", label("hint:", "32")));
    }
    say(&(lines.join("\n") + "\n"));
}

/// One call of `write`, so that lines of several processes do not mix.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A word in bold and colour, where standard error is a terminal and `NO_COLOR` is not set.
fn label(word: &str, color: &str) -> String {
    let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if colored { format!("\u{1b}[1;{color}m{word}\u{1b}[0m") } else { word.into() }
}

/// Says which texts were cut off, and by how much.
pub(crate) fn report_truncated<T: AsRef<str>>(texts: &[T], encodings: &[Encoding]) {
    for (text, encoding) in texts.iter().zip(encodings).filter(|(_, encoding)| encoding.is_truncated()) {
        let (kept, full) = (encoding.ids.len(), encoding.full_length);
        note(&format!("the text {:?} has {full} tokens and was cut off: {kept} are kept", shorten(text.as_ref())));
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// A progress bar over `total` inputs; invisible unless standard error is a terminal, or where the work is short.
pub(crate) fn progress(total: usize) -> ProgressBar {
    if total <= SHORT || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{wide_bar} {human_pos}/{human_len}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total as u64).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shortened_at_a_character() {
        assert_eq!(shorten("杰尼龟"), "杰尼龟");
        assert_eq!(shorten(&"龟".repeat(25)), format!("{}…", "龟".repeat(24)));
    }
}
