//! `embed`: vectors of images and texts, or patch features of images, to standard output or to a file that later runs go on with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use chinese_clip::{ChineseClip, Limits, PatchOptions};
use indicatif::ProgressBar;

use super::{IMAGES_HINT, require};
use crate::args::{EmbedArgs, Features, Format};
use crate::error::CliError;
use crate::loading::{About, Loaded, load, open_options};
use crate::pictures::Wanted;
use crate::vectors::{self, Kind, Meta, PatchMeta, Row, Sink};
use crate::{Outcome, inputs, messages, pictures, signals};

/// Texts that are embedded at a time; inside, the library sorts them by length.
const TEXTS: usize = 64;

pub(super) fn run(mut args: EmbedArgs) -> Result<Outcome, CliError> {
    inputs::check_stdin(&args.images, &[args.texts.texts.as_ref()])?;
    check_patches(&args)?;
    let limits = open_options(&args.model.source.hub).limits;
    let mut failed = 0;
    let images = inputs::expand(&args.images, |error| {
        messages::error(error);
        failed += 1;
    })?;
    let images = inputs::with_names(images, |error| {
        messages::error(error);
        failed += 1;
    });
    let texts = inputs::texts(std::mem::take(&mut args.texts.text), args.texts.texts.as_ref(), &limits)?;
    if texts.is_empty() && failed == 0 {
        require(&images, "image or text", IMAGES_HINT)?;
    }
    let output = args.output.as_deref().filter(|path| !inputs::is_stdin(path));
    let format = format(&args, output)?;
    let file = output.filter(|path| vectors::is_file(path));
    if file.is_none() && format != Format::Jsonl {
        return Err(CliError::NeedsFile { format: format.name() });
    }
    let Loaded { clip, about } = load(&args.model)?;
    let wanted = wanted(&args, &clip)?;
    signals::watch();
    let (sink, there) = match file {
        None => vectors::stream(output)?,
        Some(path) => vectors::open(path, format, &meta(&wanted, &args, &clip, about, format)?)?,
    };
    let asked = images.len() + texts.len();
    let (images, texts) = new_ones(images, texts, there);
    let skipped = asked - images.len() - texts.len();
    let bar = messages::progress(images.len() + texts.len());
    let mut job = Job { clip: &clip, wanted, limits: &limits, raw: args.raw, sink, bar, done: 0, failed };
    let complete = job.images(&images)? && job.texts(&texts)?;
    job.bar.finish_and_clear();
    let (done, failed) = (job.done, job.failed);
    job.sink.finish()?;
    if let Some(path) = file {
        let place = path.display();
        messages::note(&format!("{done} embedded, {skipped} there already, {failed} failed: {place}"));
    }
    if !complete {
        messages::note("interrupted; the same command goes on from here if it writes to a file");
        return Ok(Outcome::Interrupted);
    }
    Ok(if failed > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

/// Options of patches belong to patches, texts do not.
fn check_patches(args: &EmbedArgs) -> Result<(), CliError> {
    if args.features == Features::Patches {
        let no_texts = args.texts.text.is_empty() && args.texts.texts.is_none();
        return if no_texts { Ok(()) } else { Err(CliError::PatchesOfTexts) };
    }
    match (args.layer, args.image_size) {
        (Some(_), _) => Err(CliError::NotPatches { option: "--layer" }),
        (_, Some(_)) => Err(CliError::NotPatches { option: "--image-size" }),
        _ => Ok(()),
    }
}

/// The format that is asked for, that the name of the output tells, or that suits.
fn format(args: &EmbedArgs, output: Option<&Path>) -> Result<Format, CliError> {
    let patches = args.features == Features::Patches;
    let by_name = || match output.and_then(Path::extension).and_then(|extension| extension.to_str()) {
        Some("npy") => Format::Npy,
        Some("parquet") => Format::Parquet,
        Some("jsonl") => Format::Jsonl,
        _ if patches => Format::Npy,
        _ => Format::Jsonl,
    };
    match args.format.unwrap_or_else(by_name) {
        format if patches && format != Format::Npy => Err(CliError::PatchesAreNpy { format: format.name() }),
        format => Ok(format),
    }
}

fn wanted<'a>(args: &EmbedArgs, clip: &'a ChineseClip) -> Result<Wanted<'a>, CliError> {
    Ok(match args.features {
        Features::Embeddings => Wanted::Embeddings(clip),
        Features::Patches => {
            let options = PatchOptions { layer: args.layer, image_size: args.image_size };
            Wanted::Patches(Box::new(clip.patches(options)?))
        }
    })
}

/// What the sidecar says.
fn meta(
    wanted: &Wanted<'_>,
    args: &EmbedArgs,
    clip: &ChineseClip,
    about: About,
    format: Format,
) -> Result<Meta, CliError> {
    let (fingerprint, width, patches) = match wanted {
        Wanted::Embeddings(_) => (clip.fingerprint()?, clip.config().projection_dim, None),
        Wanted::Patches(patches) => {
            let (layer, image_size, grid) = (patches.layer(), patches.image_size(), patches.grid());
            (patches.fingerprint()?, patches.width(), Some(PatchMeta { layer, image_size, grid }))
        }
    };
    Ok(Meta {
        model: about.model,
        fingerprint,
        width,
        normalized: !args.raw && patches.is_none(),
        patches,
        dtype: about.dtype,
        format: format.name().into(),
        created_by: format!("chinese-clip {}", env!("CARGO_PKG_VERSION")),
    })
}

/// Leaves out what is there already; of inputs that are given twice, as many as there are rows. Standard input is always new.
fn new_ones(images: Vec<PathBuf>, texts: Vec<String>, there: Vec<Row>) -> (Vec<PathBuf>, Vec<String>) {
    let mut counts: HashMap<Row, usize> = HashMap::new();
    for row in there {
        *counts.entry(row).or_default() += 1;
    }
    let mut is_new = |row: &Row| match counts.get_mut(row) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let images = images.into_iter().filter(|path| inputs::is_stdin(path) || is_new(&image_row(path))).collect();
    let texts = texts.into_iter().filter(|text| is_new(&text_row(text))).collect();
    (images, texts)
}

fn image_row(path: &Path) -> Row {
    Row { kind: Kind::Image, source: path.display().to_string() }
}

fn text_row(text: &str) -> Row {
    Row { kind: Kind::Text, source: text.into() }
}

struct Job<'a> {
    clip: &'a ChineseClip,
    wanted: Wanted<'a>,
    limits: &'a Limits,
    raw: bool,
    sink: Box<dyn Sink>,
    bar: ProgressBar,
    done: usize,
    failed: usize,
}

impl Job<'_> {
    /// Embeds pictures; `false` if it was interrupted before the last one.
    fn images(&mut self, paths: &[PathBuf]) -> Result<bool, CliError> {
        if signals::stopped() {
            return Ok(paths.is_empty());
        }
        let Self { wanted, limits, raw, sink, bar, done, failed, .. } = self;
        let raw = *raw || matches!(wanted, Wanted::Patches(_));
        let mut complete = true;
        let report = |error: &CliError| {
            bar.suspend(|| messages::error(error));
            *failed += 1;
        };
        pictures::for_each_features(wanted, limits, paths, report, |features| {
            let rows: Vec<Row> = features.indices.iter().map(|&index| image_row(&paths[index])).collect();
            let embeddings = if raw { features.embeddings } else { features.embeddings.into_unit()? };
            if !rows.is_empty() {
                sink.append(&rows, &embeddings)?;
            }
            *done += rows.len();
            bar.set_position(features.end as u64);
            complete = features.end == paths.len();
            Ok(!signals::stopped())
        })?;
        Ok(complete)
    }

    /// Embeds texts; `false` if it was interrupted before the last one.
    fn texts(&mut self, texts: &[String]) -> Result<bool, CliError> {
        for texts in texts.chunks(TEXTS) {
            if signals::stopped() {
                return Ok(false);
            }
            let encodings = self.clip.tokenize(texts)?;
            self.bar.suspend(|| messages::report_truncated(texts, &encodings));
            let features = self.clip.text_features(&encodings)?;
            let embeddings = if self.raw { features } else { features.into_unit()? };
            let rows: Vec<Row> = texts.iter().map(|text| text_row(text)).collect();
            self.sink.append(&rows, &embeddings)?;
            self.done += rows.len();
            self.bar.inc(rows.len() as u64);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_given_twice_are_counted() {
        let texts: Vec<String> = ["猫", "狗", "猫", "猫"].map(String::from).to_vec();
        let there = vec![text_row("猫"), text_row("猫"), image_row(Path::new("狗")), image_row(Path::new("-"))];
        let (images, texts) = new_ones(vec![PathBuf::from("-"), PathBuf::from("狗")], texts, there);
        assert_eq!(texts, ["狗", "猫"]);
        assert_eq!(images, [PathBuf::from("-")]);
    }
}
