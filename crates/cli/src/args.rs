//! The command line. What `--help` says is written here.

use std::path::PathBuf;

use chinese_clip::Dialect;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::stage_names;
use crate::limits::Limit;

const EXAMPLES: &str = "\
Examples:
  chinese-clip similarity photo.jpg --text 杰尼龟 妙蛙种子 --model OFA-Sys/chinese-clip-vit-base-patch16
  chinese-clip classify *.jpg --labels 猫 狗 鸟 --top 1 --model ViT-B-16
  chinese-clip embed photos/ --texts captions.txt --format npy -o vectors.npy --model path/to/checkpoint

Exit codes: 0 done; 1 ran, but some inputs failed; 2 could not run; 130 interrupted.";

/// Chinese-CLIP: how well images and Chinese texts match
#[derive(Debug, Parser)]
#[command(name = "chinese-clip", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare each image with all texts: logits and probabilities
    Similarity(SimilarityArgs),
    /// Say which label fits each image best
    Classify(ClassifyArgs),
    /// Write embeddings of images and texts
    Embed(EmbedArgs),
    /// Show the token ids of texts
    Tokenize(TokenizeArgs),
    /// Write the pixel values that the image tower reads
    Preprocess(PreprocessArgs),
    /// Describe a checkpoint: sizes, files, provenance, fingerprint
    Info(InfoArgs),
    /// List the devices of this build
    Devices(DevicesArgs),
    /// Measure how fast a model is on this machine, stage by stage
    Bench(BenchArgs),
}

/// Which checkpoint.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct SourceArgs {
    /// Directory, hub id (owner/name), published name (ViT-B-16, …), or `demo`, the built-in demonstration model [default: demo]
    #[arg(long, env = "CHINESE_CLIP_MODEL", value_name = "MODEL")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

/// How the hub is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct HubArgs {
    /// Branch, tag, commit or refs/pr/N on the hub
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// Do not ask the hub; take what its cache has
    #[arg(long)]
    pub(crate) offline: bool,
    /// Raise or lower what an input may cost: image-pixels=N, image-bytes=N, text-bytes=N, …
    #[arg(long, value_name = "NAME=N", value_parser = crate::limits::parse)]
    pub(crate) limit: Vec<Limit>,
}

/// How a model runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Where it runs; `chinese-clip devices` lists what this build has
    #[arg(long, env = "CHINESE_CLIP_DEVICE", default_value = "flex", value_name = "DEVICE")]
    pub(crate) device: String,
    /// Number format of weights and activations: f32, f16, bf16, or int8 on flex [default: f16 on a GPU that has it, else f32]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<String>,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) dialect: DialectArgs,
    #[command(flatten)]
    pub(crate) jpeg: JpegArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct JpegArgs {
    /// Read large JPEGs at a half, a quarter or an eighth of their size, as long as that is enough: faster, and not quite the same vectors
    #[arg(long)]
    pub(crate) fast_jpeg: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct LengthArgs {
    /// The most tokens of a text, special tokens included; the rest is cut off [default: the model's positions; as cn_clip 52]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) max_length: Option<u32>,
    /// Refuse a longer text instead of cutting it off
    #[arg(long)]
    pub(crate) refuse_long: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct DialectArgs {
    /// Whose preparation of texts and images is followed
    #[arg(long, value_enum, default_value_t = DialectName::Hf)]
    pub(crate) dialect: DialectName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DialectName {
    /// Hugging Face transformers
    #[value(name = "hf")]
    Hf,
    /// OFA-Sys cn_clip
    #[value(name = "cn_clip")]
    CnClip,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Hf => Self::Hf,
            DialectName::CnClip => Self::CnClip,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// A text; several may follow
    #[arg(long, value_name = "TEXT", num_args = 1..)]
    pub(crate) text: Vec<String>,
    /// File of texts, one a line, in UTF-8; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) texts: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chinese-clip similarity photo.jpg --text 杰尼龟 --text 妙蛙种子 --model OFA-Sys/chinese-clip-vit-base-patch16
  chinese-clip similarity a.jpg b.jpg --texts captions.txt --json | jq '.images[].scores[0]'
  curl -s https://example.com/cat.jpg | chinese-clip similarity - --text 一只猫 一只狗")]
pub(crate) struct SimilarityArgs {
    /// Images; `-` is standard input
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// JSON for programs: everything in the order given
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chinese-clip classify photo.jpg --labels 猫 狗 鸟 --model ViT-B-16
  chinese-clip classify *.jpg --labels-file labels.txt --top 5 --json --model path/to/checkpoint
  chinese-clip classify photo.jpg --labels 猫 狗 --template '一张{}的照片' '{}的特写'")]
pub(crate) struct ClassifyArgs {
    /// Images; `-` is standard input
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Labels
    #[arg(long, value_name = "LABEL", num_args = 1..)]
    pub(crate) labels: Vec<String>,
    /// File of labels, one a line, in UTF-8; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) labels_file: Option<PathBuf>,
    /// Sentences with `{}` in the place of the label; a label's embedding is the mean over them [default: {} 一张{}的图片 一张{}的照片]
    #[arg(long, value_name = "TEMPLATE", num_args = 1..)]
    pub(crate) template: Vec<String>,
    /// Show the best K labels only
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,
    /// JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A second run with the same -o goes on where the first stopped: what is in the file is not embedded again.
It goes by the names as typed: a picture that changed under its name is not noticed.
Beside FILE stands FILE.meta.json, which says what model made the vectors, and for npy FILE.rows.jsonl, which names the rows.

With --features patches, FILE is a NumPy array [N, H / P, W / P, D] of f32: pictures, rows and columns of patches (of P pixels each
way), width of the image tower. The features are as the tower gives them, not normalised, without the class token; layer N
counts as hidden_states of transformers does. FILE.meta.json says which layer and size they are of.

Examples:
  chinese-clip embed photo.jpg --text 一只猫
  chinese-clip embed photos/ --texts captions.txt -o vectors.jsonl --model OFA-Sys/chinese-clip-vit-base-patch16
  chinese-clip embed photos/ -o vectors.parquet --model ViT-B-16
  chinese-clip embed photos/ -o patches.npy --features patches --layer 11 --image-size 384x512 --model ViT-B-16")]
pub(crate) struct EmbedArgs {
    /// Images, and directories that are searched for images; `-` is standard input
    #[arg(value_name = "IMAGE|DIR")]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// Format of the output [default: by the name of FILE, else jsonl]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// File to write or to go on with; `-` is standard output (jsonl only) [default: -]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Leave the vectors as the model gives them instead of scaling them to unit length
    #[arg(long)]
    pub(crate) raw: bool,
    /// What is written of an image
    #[arg(long, value_enum, default_value_t = Features::Embeddings)]
    pub(crate) features: Features,
    /// Which hidden state patches are of: 0 is what enters the first layer, N what leaves the N-th [default: the last]
    #[arg(long, value_name = "N")]
    pub(crate) layer: Option<usize>,
    /// Height and width, or one number for both, that images are resized to for patches [default: as the model prepares them]
    #[arg(long, value_name = "HxW", value_parser = image_size)]
    pub(crate) image_size: Option<[usize; 2]>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// What is written of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Features {
    /// One vector in the space that it shares with texts
    Embeddings,
    /// The features of its patches in the image tower
    Patches,
}

/// Formats of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A JSON object a line: kind, source, embedding
    Jsonl,
    /// NumPy array [N, E] of f32
    Npy,
    /// Table of kind, source, embedding
    Parquet,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Npy => "npy",
            Self::Parquet => "parquet",
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Of the model only the vocabulary is read, but a model of the hub is fetched whole.

Examples:
  chinese-clip tokenize --text 一只猫
  chinese-clip tokenize --texts captions.txt --max-length 52 --json --model path/to/checkpoint")]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    /// JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) dialect: DialectArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Of the model only preprocessor_config.json is read, but a model of the hub is fetched whole.

Examples:
  chinese-clip preprocess photo.jpg -o pixels.npy --model ViT-B-16
  chinese-clip preprocess a.png b.png -o pixels.npy --dialect cn_clip")]
pub(crate) struct PreprocessArgs {
    /// Images; `-` is standard input
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// NumPy file to write: [N, 3, H, W] of f32
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) dialect: DialectArgs,
    #[command(flatten)]
    pub(crate) jpeg: JpegArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chinese-clip info demo
  chinese-clip info OFA-Sys/chinese-clip-vit-base-patch16 --offline --json")]
pub(crate) struct InfoArgs {
    /// Directory, hub id (owner/name), published name (ViT-B-16, …), or `demo`
    pub(crate) model: String,
    /// JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chinese-clip devices
  chinese-clip similarity photo.jpg --text 一只猫 一只狗 --device flex")]
pub(crate) struct DevicesArgs {
    /// JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Stages, each timed alone:
  load        checkpoint to ready model, once
  decode      a JPEG of 640x480 to a picture, on all cores
  resize      a picture to the pixel values that the model takes, on all cores
  image       the image tower, pixel values and features on the device
  tokenise    a text to token ids
  text        the text tower: each text has exactly --length tokens and no padding, ids and features on the device
  end to end  JPEGs to vectors of unit length, as the library does it: split into batches that suit the device

The first run of a stage is not counted, nor are up to two more as long as they differ by over 20 % from the one before.
With several devices, each is measured in a process of its own. Peak memory is that of the process, without what a GPU holds.

Examples:
  chinese-clip bench --model ViT-B-16
  chinese-clip bench --model ViT-B-16 --batch 1,16 --seconds 5 --json > bench.jsonl
  chinese-clip bench --model path/to/checkpoint --device flex --stage text --length 12")]
pub(crate) struct BenchArgs {
    /// Sizes of batches
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,8,32", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Vec<u32>,
    /// Measure these stages only; may be repeated, or a list with commas
    #[arg(long, value_name = "STAGE", value_delimiter = ',', value_parser = PossibleValuesParser::new(stage_names()))]
    pub(crate) stage: Vec<String>,
    /// Tokens of a text in the stage `text`
    #[arg(long, value_name = "N", default_value_t = 52, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) length: u32,
    /// How long each stage is timed for each size of batch; at least three runs, or one that takes longer
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub(crate) seconds: f64,
    /// JSON for programs: an object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Measure this device only, and print JSON: how a run with several devices starts a process for each
    #[arg(long, hide = true, value_name = "DEVICE")]
    pub(crate) alone: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Where it runs; may be repeated, or a list with commas; `chinese-clip devices` lists what this build has
    #[arg(long, env = "CHINESE_CLIP_DEVICE", default_value = "flex", value_name = "DEVICE", value_delimiter = ',')]
    pub(crate) device: Vec<String>,
    /// Number format of weights and activations: f32, f16, bf16, or int8 on flex [default: f16 on a GPU that has it, else f32]
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<String>,
}

/// Reads `HEIGHTxWIDTH`, or one number for both.
fn image_size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.parse(), width.parse()) {
        (Ok(height), Ok(width)) if height > 0 && width > 0 => Ok([height, width]),
        _ => Err("write HEIGHTxWIDTH in pixels, 384x512 for example, or one number for both".into()),
    }
}

/// Reads a time that is more than nothing.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds.is_finite() => Ok(seconds),
        _ => Err("not a number of seconds above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn image_sizes() {
        assert_eq!((image_size("384x512"), image_size("336")), (Ok([384, 512]), Ok([336, 336])));
        for wrong in ["", "x", "384x", "0x5", "-1x5", "3x4x5", "3 x 4", "99999999999999999999"] {
            assert!(image_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_help_ends_with_examples() {
        let mut top = Cli::command();
        let names: Vec<String> = top.get_subcommands().map(|c| c.get_name().to_string()).collect();
        assert!(top.render_help().to_string().contains("Examples:\n  chinese-clip "));
        for name in names {
            let help = top.find_subcommand_mut(&name).unwrap().render_help().to_string();
            let examples = help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{name}"));
            assert!(examples.contains(&format!("chinese-clip {name}")), "{name}");
        }
    }
}
