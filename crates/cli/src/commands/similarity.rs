//! `similarity`: each image against all texts, and what `classify` shares with it.

use std::path::PathBuf;

use chinese_clip::{ChineseClip, Embeddings, Limits};
use serde::Serialize;

use super::{IMAGES_HINT, TEXTS_HINT, require};
use crate::Outcome;
use crate::args::SimilarityArgs;
use crate::error::CliError;
use crate::loading::{About, Loaded, load, open_options};
use crate::output::Out;
use crate::pictures::Wanted;
use crate::{inputs, messages, pictures};

/// The scores of one image against texts or labels, in their order.
pub(super) struct Scored {
    pub(super) source: String,
    pub(super) logits: Vec<f32>,
    pub(super) probabilities: Vec<f32>,
}

impl Scored {
    /// Indices of the texts, the most probable first; equals in the order given.
    pub(super) fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.logits.len()).collect();
        order.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        order
    }
}

/// The JSON result; `S` is the score of a text or of a label.
#[derive(Serialize)]
pub(super) struct Report<S> {
    #[serde(flatten)]
    pub(super) about: About,
    pub(super) images: Vec<Image<S>>,
}

#[derive(Serialize)]
pub(super) struct Image<S> {
    pub(super) source: String,
    pub(super) scores: Vec<S>,
}

#[derive(Serialize)]
struct Score {
    text: String,
    logit: f32,
    probability: f32,
}

pub(super) fn run(args: SimilarityArgs) -> Result<Outcome, CliError> {
    inputs::check_stdin(&args.images, &[args.texts.texts.as_ref()])?;
    let limits = open_options(&args.model.source.hub).limits;
    let texts = inputs::texts(args.texts.text, args.texts.texts.as_ref(), &limits)?;
    require(&texts, "text", TEXTS_HINT)?;
    require(&args.images, "image", IMAGES_HINT)?;
    let Loaded { clip, about } = load(&args.model)?;
    let encodings = clip.tokenize(&texts)?;
    messages::report_truncated(&texts, &encodings);
    let embeddings = clip.text_features(&encodings)?.into_unit()?;
    let (scored, outcome) = score(&clip, &limits, &args.images, &embeddings)?;
    let mut out = Out::new();
    if args.json {
        let score =
            |(text, (logit, probability)): (&String, (f32, f32))| Score { text: text.clone(), logit, probability };
        let image = |image: Scored| {
            let numbers = image.logits.into_iter().zip(image.probabilities);
            Image { source: image.source, scores: texts.iter().zip(numbers).map(score).collect() }
        };
        out.json(&Report { about, images: scored.into_iter().map(image).collect() })?;
    } else {
        for image in &scored {
            table(&mut out, image, &texts, usize::MAX)?;
        }
    }
    out.finish()?;
    Ok(outcome)
}

/// Compares pictures with embeddings of texts. A picture that cannot be read is reported and left out.
pub(super) fn score(
    clip: &ChineseClip,
    limits: &Limits,
    images: &[PathBuf],
    texts: &Embeddings,
) -> Result<(Vec<Scored>, Outcome), CliError> {
    let (mut scored, mut outcome) = (Vec::new(), Outcome::Done);
    let bar = messages::progress(images.len());
    let failed = |error: &CliError| {
        bar.suspend(|| messages::error(error));
        outcome = Outcome::SomeFailed;
    };
    pictures::for_each_features(&Wanted::Embeddings(clip), limits, images, failed, |features| {
        bar.set_position(features.end as u64);
        if !features.indices.is_empty() {
            let similarity = clip.compare(&features.embeddings.into_unit()?, texts)?;
            scored.extend(features.indices.iter().enumerate().map(|(row, &index)| Scored {
                source: images[index].display().to_string(),
                logits: similarity.logits(row).to_vec(),
                probabilities: similarity.probabilities(row),
            }));
        }
        Ok(true)
    })?;
    bar.finish_and_clear();
    Ok((scored, outcome))
}

/// The image, and below it a row for each text, numbers first: the width of Chinese text then does not matter.
pub(super) fn table(out: &mut Out, image: &Scored, texts: &[String], top: usize) -> Result<(), CliError> {
    out.safe_line(&image.source)?;
    for index in image.ranking().into_iter().take(top) {
        let (probability, logit) = (f64::from(image.probabilities[index]) * 100.0, image.logits[index]);
        out.safe_line(&format!("  {probability:6.2} %  {logit:8.3}  {}", texts[index]))?;
    }
    Ok(())
}
