//! Pictures in batches: decoded and prepared in parallel, one batch ahead of the model.
//!
//! What is held at a time does not grow with the number of pictures: a few batches of pixels, and one decoded picture a thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use chinese_clip::preprocess::Levels;
use chinese_clip::{Budget, ChineseClip, Embeddings, ImageProcessor, Limits, Patches};
use rayon::prelude::*;

use crate::error::CliError;
use crate::inputs;

/// A batch of prepared pictures.
pub(crate) struct Batch {
    /// Indices of the pictures, of those that failed as well.
    pub(crate) indices: std::ops::Range<usize>,
    /// What each became.
    pub(crate) levels: Vec<Result<Levels, CliError>>,
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
            for (number, chunk) in paths.chunks(size).enumerate() {
                let start = number * size;
                let levels = chunk.par_iter().map(|path| prepare(path, processor, limits)).collect();
                if sender.send(Batch { indices: start..start + chunk.len(), levels }).is_err() {
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

fn prepare(path: &Path, processor: &ImageProcessor, limits: &Limits) -> Result<Levels, CliError> {
    let picture = inputs::picture(path, processor, limits)?;
    processor
        .levels(std::slice::from_ref(&picture))
        .map_err(|error| CliError::Picture { path: path.into(), source: error })
}

/// What a picture becomes: one row of numbers.
pub(crate) enum Wanted<'a> {
    /// Its feature in the shared space.
    Embeddings(&'a ChineseClip),
    /// The features of all its patches.
    Patches(Box<Patches<'a>>),
}

impl Wanted<'_> {
    fn processor(&self) -> &ImageProcessor {
        match self {
            Self::Embeddings(clip) => clip.image_processor(),
            Self::Patches(patches) => patches.processor(),
        }
    }

    fn budget(&self) -> Budget {
        match self {
            Self::Embeddings(clip) => clip.budget(),
            Self::Patches(patches) => patches.budget(),
        }
    }

    /// Height and width of a prepared picture.
    fn size(&self) -> [usize; 2] {
        match self {
            Self::Embeddings(clip) => [clip.config().vision_config.image_size; 2],
            Self::Patches(patches) => patches.image_size(),
        }
    }

    /// The rows of a batch that is not empty.
    fn rows(&self, levels: Levels) -> Result<Embeddings, CliError> {
        Ok(match self {
            Self::Embeddings(clip) => clip.level_features(levels)?,
            Self::Patches(patches) => {
                let features = patches.of_pixels(levels.pixels())?;
                Embeddings::new(features.values, features.shape[1..].iter().product())
            }
        })
    }
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
    wanted: &Wanted<'_>,
    limits: &Limits,
    paths: &[PathBuf],
    mut failed: impl FnMut(&CliError),
    mut sink: impl FnMut(Features) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    let [height, width] = wanted.size();
    let size = wanted.budget().pictures([height, width]);
    for_each_batch(paths, wanted.processor(), limits, size, |batch| {
        let (mut indices, mut prepared, end) = (Vec::new(), Vec::new(), batch.indices.end);
        for (index, levels) in batch.indices.zip(batch.levels) {
            match levels.and_then(|levels| fits(levels, [height, width], &paths[index])) {
                Ok(levels) => {
                    indices.push(index);
                    prepared.push(levels);
                }
                Err(error) => failed(&error),
            }
        }
        let embeddings = match prepared.first() {
            None => Embeddings::new(Vec::new(), 0),
            Some(Levels { values, .. }) => {
                let data = prepared.iter().map(|levels| levels.data.as_slice()).collect::<Vec<_>>().concat();
                wanted.rows(Levels { data, shape: [prepared.len(), height, width], values: values.clone() })?
            }
        };
        sink(Features { indices, end, embeddings })
    })
}

fn fits(levels: Levels, expected: [usize; 2], path: &Path) -> Result<Levels, CliError> {
    let [_, height, width] = levels.shape;
    if [height, width] == expected {
        Ok(levels)
    } else {
        Err(CliError::PictureSize { path: path.into(), width, height, expected })
    }
}
