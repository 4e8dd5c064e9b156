//! `classify`: the labels that fit each image best.
//!
//! A label becomes a sentence by each template, and the mean direction of the sentences is its embedding.

use chinese_clip::Templates;
use serde::Serialize;

use super::similarity::{Image, Report, Scored, score, table};
use super::{IMAGES_HINT, LABELS_HINT, require};
use crate::Outcome;
use crate::args::ClassifyArgs;
use crate::error::CliError;
use crate::loading::{Loaded, load, open_options};
use crate::output::Out;
use crate::{inputs, messages};

#[derive(Serialize)]
struct Score {
    label: String,
    logit: f32,
    probability: f32,
}

pub(super) fn run(args: ClassifyArgs) -> Result<Outcome, CliError> {
    inputs::check_stdin(&args.images, &[args.labels_file.as_ref()])?;
    let templates = if args.template.is_empty() { Templates::default() } else { Templates::new(args.template)? };
    let limits = open_options(&args.model.source.hub).limits;
    let labels = inputs::texts(args.labels, args.labels_file.as_ref(), &limits)?;
    require(&labels, "label", LABELS_HINT)?;
    require(&args.images, "image", IMAGES_HINT)?;
    let Loaded { clip, about } = load(&args.model)?;
    let prompts: Vec<String> = labels.iter().flat_map(|label| templates.prompts(label)).collect();
    let encodings = clip.tokenize(&prompts)?;
    messages::report_truncated(&prompts, &encodings);
    let embeddings = clip.label_features(&encodings, prompts.len() / labels.len())?;
    let (scored, outcome) = score(&clip, &limits, &args.images, &embeddings)?;
    let top = args.top.map_or(usize::MAX, |k| k as usize);
    let mut out = Out::new();
    if args.json {
        let image = |image: &Scored| Image {
            source: image.source.clone(),
            scores: image
                .ranking()
                .into_iter()
                .take(top)
                .map(|i| Score {
                    label: labels[i].clone(),
                    logit: image.logits[i],
                    probability: image.probabilities[i],
                })
                .collect(),
        };
        out.json(&Report { about, images: scored.iter().map(image).collect() })?;
    } else {
        for image in &scored {
            table(&mut out, image, &labels, top)?;
        }
    }
    out.finish()?;
    Ok(outcome)
}
