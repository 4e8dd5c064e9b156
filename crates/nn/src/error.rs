//! What an image tower refuses.

/// An input that the image tower cannot take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// An array has another length than its shape says.
    #[error("pixels have {found} elements, the shape {shape:?} needs {expected}")]
    Length {
        /// Elements found.
        found: usize,
        /// `[B, 3, H, W]`.
        shape: [usize; 4],
        /// Elements of that shape.
        expected: usize,
    },
    /// No picture.
    #[error("a batch of no picture")]
    Empty,
    /// Pictures of another size than the model's.
    #[error(
        "input image size ({height}x{width}, {channels} channels) doesn't match model ({expected}x{expected}, 3 channels)"
    )]
    Size {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
        /// `image_size` of the model.
        expected: usize,
    },
}

impl VisionError {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Size { expected, .. } => {
                Some(format!("set `size` (and `crop_size`) of preprocessor_config.json to {expected}x{expected}"))
            }
            _ => None,
        }
    }
}
