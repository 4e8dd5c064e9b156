//! `preprocess`: the pixel values that the image tower reads, `[N, 3, H, W]`. Of the model, preprocessor_config.json is used.

use std::io::{Seek, SeekFrom, Write};

use chinese_clip::{Budget, ImageProcessor};

use super::{IMAGES_HINT, require};
use crate::args::PreprocessArgs;
use crate::error::CliError;
use crate::loading::{open, open_options};
use crate::output::replace;
use crate::vectors::{is_file, npy_header};
use crate::{Outcome, inputs, messages, pictures};

pub(super) fn run(args: &PreprocessArgs) -> Result<Outcome, CliError> {
    inputs::check_stdin(&args.images, &[])?;
    require(&args.images, "image", IMAGES_HINT)?;
    if inputs::is_stdin(&args.output) || !is_file(&args.output) {
        return Err(CliError::NeedsFile { format: "npy" });
    }
    let options = open_options(&args.source.hub);
    let checkpoint = open(&args.source, &options)?;
    let batch = Budget::default().pictures([checkpoint.config.vision_config.image_size; 2]);
    let processor = ImageProcessor::new(checkpoint.preprocessor, args.dialect.dialect.into())
        .with_limits(options.limits.clone())
        .with_fast_jpeg(args.jpeg.fast_jpeg);
    let bar = messages::progress(args.images.len());
    let write_failed = |source| CliError::Write { path: args.output.clone(), source };
    let mut names = Vec::new();
    let shape = replace(&args.output, |file| {
        let mut size: Option<[usize; 2]> = None;
        file.write_all(&npy_header(&[0, 3, 0, 0])).map_err(write_failed)?;
        pictures::for_each_batch(&args.images, &processor, &options.limits, batch, |batch| {
            for (path, levels) in args.images[batch.indices].iter().zip(batch.levels) {
                bar.inc(1);
                match levels {
                    Err(error) => bar.suspend(|| messages::error(&error)),
                    Ok(levels) => {
                        let [_, height, width] = levels.shape;
                        let [first_height, first_width] = *size.get_or_insert([height, width]);
                        if (height, width) != (first_height, first_width) {
                            let path = path.clone();
                            return Err(CliError::MixedSizes { path, width, height, first_width, first_height });
                        }
                        let bytes: Vec<u8> =
                            levels.pixels().data.iter().flat_map(|value| value.to_le_bytes()).collect();
                        file.write_all(&bytes).map_err(write_failed)?;
                        names.push(path.display().to_string());
                    }
                }
            }
            Ok(true)
        })?;
        let Some([height, width]) = size else { return Err(CliError::NothingReadable { path: args.output.clone() }) };
        let shape = [names.len(), 3, height, width];
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&npy_header(&shape))).map_err(write_failed)?;
        Ok(shape)
    })?;
    bar.finish_and_clear();
    messages::note(&format!("{shape:?} of f32: {}", args.output.display()));
    if names.len() == args.images.len() {
        return Ok(Outcome::Done);
    }
    // The rows are no longer those of the command line.
    names.iter().enumerate().for_each(|(row, name)| messages::note(&format!("row {row}: {name}")));
    Ok(Outcome::SomeFailed)
}
