//! `info`: what a checkpoint is made of. Its weights are read once, for the fingerprint.

use std::collections::BTreeMap;
use std::path::Path;

use chinese_clip::checkpoint::Checkpoint;
use chinese_clip::config::{ChineseClipConfig, PUBLISHED};
use serde::Serialize;

use crate::Outcome;
use crate::args::InfoArgs;
use crate::error::CliError;
use crate::loading::open_options;
use crate::output::Out;

#[derive(Serialize)]
struct Report {
    source: String,
    directory: Option<String>,
    /// Published models of these sizes.
    published: Vec<&'static str>,
    parameters: u64,
    bytes: u64,
    width: usize,
    text: Text,
    vision: Vision,
    /// Tensors of each type on disk.
    dtypes: BTreeMap<&'static str, usize>,
    files: Vec<WeightFile>,
    vocabulary: String,
    metadata: BTreeMap<String, String>,
    dropped: Vec<Dropped>,
    renamed: Vec<Renamed>,
    notes: Vec<String>,
    /// Of the weights alone; the one in a sidecar of `embed` covers preparation and number format as well.
    fingerprint: String,
}

#[derive(Serialize)]
struct Text {
    layers: usize,
    hidden_size: usize,
    heads: usize,
    positions: usize,
    vocabulary: usize,
}

#[derive(Serialize)]
struct Vision {
    layers: usize,
    hidden_size: usize,
    heads: usize,
    patch_size: usize,
    image_size: usize,
}

#[derive(Serialize)]
struct WeightFile {
    path: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Dropped {
    tensor: String,
    reason: &'static str,
}

#[derive(Serialize)]
struct Renamed {
    from: String,
    to: String,
}

pub(super) fn run(args: &InfoArgs) -> Result<Outcome, CliError> {
    let checkpoint = chinese_clip::open(&args.model, &open_options(&args.hub))?;
    let report = report(&checkpoint);
    let mut out = Out::new();
    if args.json {
        out.json(&report)?;
    } else {
        table(&mut out, &report)?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn report(checkpoint: &Checkpoint) -> Report {
    use chinese_clip::checkpoint::Vocabulary;
    let (text, vision) = (&checkpoint.config.text_config, &checkpoint.config.vision_config);
    let weights = &checkpoint.weights;
    let show = |path: &Path| path.display().to_string();
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    Report {
        source: checkpoint.source.clone(),
        directory: checkpoint.dir.as_deref().map(show),
        published: published(&checkpoint.config),
        parameters: weights.parameters(),
        bytes: weights.bytes(),
        width: checkpoint.config.projection_dim,
        text: Text {
            layers: text.num_hidden_layers,
            hidden_size: text.hidden_size,
            heads: text.num_attention_heads,
            positions: text.max_position_embeddings,
            vocabulary: text.vocab_size,
        },
        vision: Vision {
            layers: vision.num_hidden_layers,
            hidden_size: vision.hidden_size,
            heads: vision.num_attention_heads,
            patch_size: vision.patch_size,
            image_size: vision.image_size,
        },
        dtypes: weights.dtypes().into_iter().map(|(dtype, count)| (dtype.name(), count)).collect(),
        files: checkpoint.files.iter().map(|path| WeightFile { path: show(path), bytes: size(path) }).collect(),
        vocabulary: match &checkpoint.vocabulary {
            Vocabulary::BuiltIn => "built-in".into(),
            Vocabulary::VocabTxt(path) | Vocabulary::TokenizerJson(path) => show(path),
        },
        metadata: weights.metadata().clone(),
        dropped: weights.dropped().iter().map(|(tensor, reason)| Dropped { tensor: tensor.clone(), reason }).collect(),
        renamed: weights.renamed().iter().map(|(from, to)| Renamed { from: from.clone(), to: to.clone() }).collect(),
        notes: checkpoint.notes.clone(),
        fingerprint: weights.fingerprint_hex(),
    }
}

/// Published models that have these sizes.
fn published(config: &ChineseClipConfig) -> Vec<&'static str> {
    let sizes = |config: &ChineseClipConfig| {
        let (text, vision) = (&config.text_config, &config.vision_config);
        [
            [text.vocab_size, text.hidden_size, text.num_hidden_layers, text.num_attention_heads],
            [vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads, vision.patch_size],
            [vision.image_size, config.projection_dim, text.intermediate_size, vision.intermediate_size],
        ]
    };
    PUBLISHED.iter().filter(|model| sizes(&model.config()) == sizes(config)).map(|model| model.name).collect()
}

fn table(out: &mut Out, report: &Report) -> Result<(), CliError> {
    let mut row = |name: &str, value: String| out.safe_line(&format!("{name:<13}{value}"));
    let Report { text, vision, .. } = report;
    row("source", report.source.clone())?;
    if let Some(directory) = &report.directory {
        row("directory", directory.clone())?;
    }
    if !report.published.is_empty() {
        row("sizes of", report.published.join(", "))?;
    }
    row("parameters", grouped(report.parameters))?;
    let dtypes: Vec<String> = report.dtypes.iter().map(|(name, count)| format!("{count} tensors of {name}")).collect();
    row("weights", format!("{} bytes: {}", grouped(report.bytes), dtypes.join(", ")))?;
    row("width", format!("{} (of an embedding)", report.width))?;
    row(
        "text",
        format!(
            "{} layers, {} wide, {} heads, {} positions, {} tokens in the vocabulary",
            text.layers, text.hidden_size, text.heads, text.positions, text.vocabulary
        ),
    )?;
    row(
        "vision",
        format!(
            "{} layers, {} wide, {} heads, {size}x{size} pixels in patches of {patch}x{patch}",
            vision.layers,
            vision.hidden_size,
            vision.heads,
            size = vision.image_size,
            patch = vision.patch_size
        ),
    )?;
    for file in &report.files {
        row("file", format!("{} ({} bytes)", file.path, grouped(file.bytes)))?;
    }
    row("vocabulary", report.vocabulary.clone())?;
    for (key, value) in &report.metadata {
        row("metadata", format!("{key} = {value}"))?;
    }
    for Dropped { tensor, reason } in &report.dropped {
        row("dropped", format!("{tensor}: {reason}"))?;
    }
    for Renamed { from, to } in &report.renamed {
        row("renamed", format!("{from} -> {to}"))?;
    }
    for text in &report.notes {
        row("note", text.clone())?;
    }
    row("fingerprint", format!("{} (of the weights)", report.fingerprint))
}

/// 188262913 as 188,262,913.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1000, 188_262_913].map(grouped), ["0", "999", "1,000", "188,262,913"]);
    }

    #[test]
    fn sizes_name_their_models() {
        let config = PUBLISHED[1].config();
        assert_eq!(published(&config), ["ViT-B-16", "QA-ViT-B-16"]);
    }
}
