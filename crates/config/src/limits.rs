//! What untrusted input may cost. One table for library, command and server.

/// Upper bounds on input. [`Limits::default`] suits untrusted files; every field may be raised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Width times height of a picture. Pillow warns at 89 million and refuses at twice that.
    pub image_pixels: u64,
    /// Bytes of an encoded picture.
    pub image_bytes: u64,
    /// Bytes of a JSON file, except `tokenizer.json`.
    pub json_bytes: u64,
    /// Bytes of `vocab.txt` or `tokenizer.json`.
    pub vocabulary_bytes: u64,
    /// Bytes of a safetensors header, as in the format's own implementation.
    pub safetensors_header_bytes: u64,
    /// Bytes of the pickle inside a torch file. Weights lie outside of it.
    pub pickle_bytes: u64,
    /// Values that a pickle may build.
    pub pickle_nodes: usize,
    /// UTF-8 bytes of one text.
    pub text_bytes: usize,
    /// Texts or pictures of one call.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            image_pixels: 178_956_970,
            image_bytes: 512 << 20,
            json_bytes: 16 << 20,
            vocabulary_bytes: 64 << 20,
            safetensors_header_bytes: 100_000_000,
            pickle_bytes: 64 << 20,
            pickle_nodes: 1_000_000,
            text_bytes: 1 << 20,
            batch: 1 << 20,
        }
    }
}
