//! From the command line to a model, and what has to be said about it.

use chinese_clip::{
    Checkpoint, ChineseClip, DEMO, Dialect, LoadOptions, OpenOptions, Overlong, device, dtype, dtype_name, longest_text,
};
use serde::Serialize;

use crate::args::{HubArgs, LengthArgs, ModelArgs, SourceArgs};
use crate::error::CliError;
use crate::limits;
use crate::messages::note;

/// A model, with what the output says of it.
pub(crate) struct Loaded {
    pub(crate) clip: ChineseClip,
    pub(crate) about: About,
}

/// The head of every JSON result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) model: String,
    pub(crate) device: String,
    pub(crate) dtype: String,
}

/// How checkpoints are opened.
pub(crate) fn open_options(hub: &HubArgs) -> OpenOptions {
    let mut options = OpenOptions::from_env();
    options.revision.clone_from(&hub.revision);
    options.offline |= hub.offline;
    options.progress = true;
    limits::apply(&hub.limit, &mut options.limits);
    options
}

/// Opens the checkpoint that was named, or the demonstration model.
pub(crate) fn open(source: &SourceArgs, options: &OpenOptions) -> Result<Checkpoint, CliError> {
    let name = source.model.as_deref().unwrap_or(DEMO);
    let checkpoint = chinese_clip::open(name, options)?;
    if source.model.is_none() {
        note(
            "no --model given: this is `demo`, a tiny demonstration model that knows drawn shapes and a few scenes; a real one: --model OFA-Sys/chinese-clip-vit-base-patch16",
        );
    }
    checkpoint.notes.iter().for_each(|text| note(text));
    Ok(checkpoint)
}

/// The most tokens of a text; a note where the model has fewer positions than asked for.
pub(crate) fn max_length(length: &LengthArgs, dialect: Dialect, checkpoint: &Checkpoint) -> usize {
    let positions = checkpoint.config.text_config.max_position_embeddings;
    match length.max_length.map(|n| n as usize) {
        Some(asked) if asked > positions => {
            note(&format!("--max-length {asked} is more than the model has positions for; {positions} is used"));
            positions
        }
        Some(asked) => asked,
        None => longest_text(&checkpoint.config, dialect),
    }
}

/// What happens to a text that is too long.
pub(crate) fn overlong(length: &LengthArgs) -> Overlong {
    if length.refuse_long { Overlong::Refuse } else { Overlong::Truncate }
}

/// Loads the model.
pub(crate) fn load(args: &ModelArgs) -> Result<Loaded, CliError> {
    let device_of_name = device(&args.device)?;
    let mut options = LoadOptions {
        dtype: args.dtype.as_deref().map(dtype).transpose()?,
        dialect: args.dialect.dialect.into(),
        fast_jpeg: args.jpeg.fast_jpeg,
        open: open_options(&args.source.hub),
        ..LoadOptions::default()
    };
    let checkpoint = open(&args.source, &options.open)?;
    options.max_length = Some(max_length(&args.length, options.dialect, &checkpoint));
    options.overlong = overlong(&args.length);
    let clip = ChineseClip::from_checkpoint(checkpoint, &device_of_name, &options)?;
    let about = About {
        model: clip.checkpoint().source.clone(),
        device: args.device.clone(),
        dtype: dtype_name(clip.dtype()).into(),
    };
    Ok(Loaded { clip, about })
}
