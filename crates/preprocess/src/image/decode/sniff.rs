//! Which format the bytes are in.

use image::ImageFormat;

use crate::PreprocessError;

/// The format by content.
pub(super) fn format(bytes: &[u8]) -> Result<ImageFormat, PreprocessError> {
    image::guess_format(bytes)
        .ok()
        .or_else(|| is_tga(bytes).then_some(ImageFormat::Tga))
        .filter(ImageFormat::reading_enabled)
        .ok_or_else(|| PreprocessError::UnknownFormat { found: describe(bytes) })
}

/// TGA has no signature: its header has to make sense, as in Pillow's `TgaImagePlugin`.
fn is_tga(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<18>() else { return false };
    let [_, map, kind, _, _, _, _, map_depth, _, _, _, _, w0, w1, h0, h1, depth, flags] = *header;
    map <= 1
        && matches!(kind, 1..=3 | 9..=11)
        && (if map == 1 { matches!(map_depth, 15 | 16 | 24 | 32) } else { map_depth == 0 })
        && (w0 | w1) != 0
        && (h0 | h1) != 0
        && matches!(depth, 8 | 15 | 16 | 24 | 32)
        && flags & 0xc0 == 0
}

/// What a person would call these bytes.
fn describe(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(512)];
    let known = [
        (&b"%PDF"[..], "a PDF document"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x7fELF", "a program"),
    ];
    if bytes.is_empty() {
        return "the file is empty".into();
    }
    if head.get(4..8) == Some(b"ftyp") {
        return "an ISO media file (AVIF, HEIC or a video), which is not supported".into();
    }
    if let Some((_, name)) = known.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*name).into();
    }
    let text = String::from_utf8_lossy(head);
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    if trimmed.starts_with("<svg") || trimmed.starts_with("<?xml") && trimmed.contains("<svg") {
        return "an SVG drawing, which is not supported".into();
    }
    if trimmed.starts_with("<!DOCTYPE html") || trimmed.starts_with("<html") {
        return "an HTML page".into();
    }
    if trimmed.starts_with("version https://git-lfs") {
        return "a Git LFS pointer; the picture itself was not fetched".into();
    }
    let printable = |c: char| !c.is_control() || c.is_whitespace();
    // The cut may fall into a character.
    if text.trim_end_matches('\u{fffd}').chars().all(|c| printable(c) && c != '\u{fffd}') {
        let start: String = trimmed.chars().take(24).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        return format!("text that begins with {start:?}");
    }
    let bytes: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("bytes that begin with {}", bytes.join(" "))
}
