//! Pictures: decoding, conversion to RGB, resizing, pixel values.
//!
//! [`Picture`] is what a file holds, in its own mode. [`ImageProcessor`] makes `[B, 3, H, W]` of it, as the reference that
//! [`Dialect`](crate::Dialect) names. Decoding is kept apart from the rest: from equal decoded pixels on, everything is equal to the
//! reference bit for bit; the decoders are, but for lossy JPEG (see the feature `libjpeg-turbo`).
//!
//! What Pillow 13.0.0 makes of a file, and so what happens here:
//!
//! | file | policy |
//! | --- | --- |
//! | EXIF or XMP orientation | [`Hf`](crate::Dialect::Hf) turns the picture, [`CnClip`](crate::Dialect::CnClip) does not; a TIFF is turned by both |
//! | alpha | dropped: what is under a clear pixel shows; [`Alpha::OnWhite`] is for those who come from transformers 5 |
//! | palette, transparent colour | the palette's colour, transparency ignored |
//! | 16-bit grey | **clipped at 255**, not scaled: most such pictures turn white |
//! | 16-bit colour | the high byte; of PNM the nearest |
//! | CMYK | JPEG inks are taken as inverted (Adobe); no colour profile is applied |
//! | animation | the first frame; of a GIF on its screen; of a PNG the default image |
//! | cut-off file | refused |
//!
//! Not as Pillow: a TIFF with a palette is refused and JPEG inside TIFF is off by one level at most; HDR, which Pillow cannot read, is
//! clipped to 0..=1; files that miss no more than a checksum or an end marker are taken by one and refused by the other; a picture of one or three
//! rows, which `ChineseCLIPImageProcessor` takes for channels, is a picture here.

mod alpha;
mod array;
mod convert;
mod decode;
mod options;
mod orientation;
mod picture;
mod preprocess;
mod processor;
mod resize;
mod steps;

pub use alpha::Alpha;
pub use array::{ChannelDimension, ImageArray, Values};
pub use options::{PerChannel, PreprocessOptions};
pub use orientation::Orientation;
pub use picture::{Mode, Picture};
pub use preprocess::{BatchFeature, ImageInput, Warning};
pub use processor::{ImageProcessor, Levels, Pixels};
pub use resize::resize;
