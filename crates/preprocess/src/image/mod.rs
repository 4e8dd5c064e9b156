//! Pictures: decoding, conversion to RGB, resizing, pixel values.
//!
//! [`Picture`] is what a file holds, in its own mode. [`ImageProcessor`] makes `[B, 3, H, W]` of it, as the reference that
//! [`Dialect`](crate::Dialect) names.

mod convert;
mod decode;
mod orientation;
mod picture;
mod processor;
mod resize;
mod steps;

pub use orientation::Orientation;
pub use picture::{Mode, Picture};
pub use processor::{ImageProcessor, Pixels};
pub use resize::resize;
