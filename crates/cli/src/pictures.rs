//! Pictures in batches: decoded and prepared in parallel, one batch ahead of the model.
//!
//! What is held at a time does not grow with the number of pictures: a few batches of pixels, and one decoded picture a thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use chinese_clip::preprocess::Pixels;
use chinese_clip::{Budget, ChineseClip, Embeddings, ImageProcessor, Limits};
use rayon::prelude::*;

use crate::error::CliError;
use crate::inputs;

/// A batch of prepared pictures.
pub(crate) struct Batch {
    /// Indices of the pictures, of those that failed as well.
    pub(crate) indices: std::ops::Range<usize>,
    /// What each became.
    pub(crate) pixels: Vec<Result<Pixels, CliError>>,
}

/// Hands the pictures to `sink`, batch by batch, in order, until it gives `false` or an error.
pub(crate) fn for_each_batch(
    paths: &[PathBuf],
    processor: &ImageProcessor,
    limits: &Limits,
    size: usize,
    mut sink: impl FnMut(Batch) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || {
            for (number, chunk) in paths.chunks(size.max(1)).enumerate() {
                let start = number * size.max(1);
                let pixels = chunk.par_iter().map(|path| prepare(path, processor, limits)).collect();
                if sender.send(Batch { indices: start..start + chunk.len(), pixels }).is_err() {
                    return; // the sink has enough
                }
            }
        });
        for batch in receiver {
            if !sink(batch)? {
                break;
            }
        }
        Ok(())
    })
}

fn prepare(path: &Path, processor: &ImageProcessor, limits: &Limits) -> Result<Pixels, CliError> {
    let picture = inputs::picture(path, limits)?;
    processor
        .process(std::slice::from_ref(&picture))
        .map_err(|error| CliError::Picture { path: path.into(), source: error })
}

/// Pictures of a batch: as many as the library takes at once.
pub(crate) fn batch_size(image_size: usize) -> usize {
    (Budget::default().pixels / (image_size * image_size).max(1)).max(1)
}

/// The features of pictures, not normalised, for those that have any; `failed` gets the others.
pub(crate) struct Features {
    /// Index of the picture that each row belongs to.
    pub(crate) indices: Vec<usize>,
    /// Number of pictures up to here, of those that failed as well.
    pub(crate) end: usize,
    pub(crate) embeddings: Embeddings,
}

/// Runs the image tower over pictures, batch by batch, in order, until `sink` gives `false` or an error.
pub(crate) fn for_each_features(
    clip: &ChineseClip,
    limits: &Limits,
    paths: &[PathBuf],
    mut failed: impl FnMut(&CliError),
    mut sink: impl FnMut(Features) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    let size = clip.config().vision_config.image_size;
    for_each_batch(paths, clip.image_processor(), limits, batch_size(size), |batch| {
        let (mut indices, mut data, end) = (Vec::new(), Vec::new(), batch.indices.end);
        for (index, pixels) in batch.indices.zip(batch.pixels) {
            match pixels.and_then(|pixels| fits(pixels, size, &paths[index])) {
                Ok(pixels) => {
                    indices.push(index);
                    data.extend_from_slice(&pixels.data);
                }
                Err(error) => failed(&error),
            }
        }
        let shape = [indices.len(), 3, size, size];
        let embeddings = if indices.is_empty() {
            Embeddings::new(Vec::new(), clip.config().projection_dim)
        } else {
            clip.pixel_features(Pixels { data, shape })?
        };
        sink(Features { indices, end, embeddings })
    })
}

fn fits(pixels: Pixels, expected: usize, path: &Path) -> Result<Pixels, CliError> {
    let [_, _, height, width] = pixels.shape;
    if (height, width) == (expected, expected) {
        Ok(pixels)
    } else {
        Err(CliError::PictureSize { path: path.into(), width, height, expected })
    }
}
