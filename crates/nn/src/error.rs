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
    /// Pictures of any size, but of less than a patch.
    #[error(
        "input image size ({height}x{width}, {channels} channels) has no patch of the model ({patch}x{patch}, 3 channels)"
    )]
    NoPatch {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels.
        channels: usize,
        /// `patch_size` of the model.
        patch: usize,
    },
    /// Pictures of another size than was asked for.
    #[error("pictures of {height}x{width} pixels, where {}x{} were asked for", expected[0], expected[1])]
    OtherSize {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Rows and columns asked for.
        expected: [usize; 2],
    },
    /// A layer that the tower does not have.
    #[error("hidden state {layer} was asked for, and the tower has those from 0 to {layers}")]
    Layer {
        /// The layer asked for.
        layer: usize,
        /// Layers of the tower.
        layers: usize,
    },
    /// A share of masked patches out of range.
    #[error("mask_ratio is {ratio}, must be at least 0 and leave at least one of {patches} patches")]
    MaskRatio {
        /// The share given.
        ratio: f64,
        /// Patches of a picture.
        patches: usize,
    },
    /// A kept patch that is not there, or is there twice.
    #[error("kept[{row}, {column}] is patch {index}, must be less than {patches} and occur once in its row")]
    KeptPatch {
        /// The picture.
        row: usize,
        /// Place in the row.
        column: usize,
        /// The index found.
        index: usize,
        /// Patches of a picture.
        patches: usize,
    },
    /// Kept patches of another batch.
    #[error("kept patches are for {found:?} (pictures, patches of each), the batch has {expected:?}")]
    KeptBatch {
        /// Pictures and patches that the selection is for.
        found: [usize; 2],
        /// Those of the batch.
        expected: [usize; 2],
    },
}

impl VisionError {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Size { expected, .. } => Some(format!(
                "set `size` (and `crop_size`) of preprocessor_config.json to {expected}x{expected}; the library takes other sizes \
                 by `PixelBatch::any_size`"
            )),
            Self::NoPatch { patch, .. } => Some(format!("resize to {patch}x{patch} pixels or more")),
            Self::Layer { layers, .. } => Some(format!("0 is what enters the first layer, {layers} the last output")),
            _ => None,
        }
    }
}
