//! `cargo xtask convert IN OUT`: any readable checkpoint to a clean directory in Hugging Face's layout, or to a file of `cn_clip`.

use std::path::{Path, PathBuf};

use chinese_clip::checkpoint::{self, Checkpoint, ConvertOptions, Dtype, OpenOptions, Report};
use chinese_clip::{DType, Limits, PreparedModel, Tokenizer, device, open, tokenizer};
use clap::{Args, ValueEnum};

use crate::Failure;

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Convert {
    /// A directory, a file of cn_clip, a hub id, a published short name, or `demo`
    input: String,
    /// The directory or file to write
    output: PathBuf,
    /// Layout of the output: a directory as transformers reads it, or one file as `cn_clip` reads it
    #[arg(long, value_enum, default_value = "hf")]
    to: Layout,
    /// Number format of the tensors; as in the input if absent
    #[arg(long)]
    dtype: Option<Format>,
    /// Replace an earlier conversion
    #[arg(long)]
    overwrite: bool,
    /// Branch, tag or commit on the hub
    #[arg(long)]
    revision: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    Hf,
    #[value(name = "cn_clip")]
    CnClip,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    F32,
    F16,
    Bf16,
}

/// Renamed tensors that are listed one by one.
const LISTED: usize = 20;

impl Convert {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let options = OpenOptions { revision: self.revision.clone(), progress: true, ..OpenOptions::default() };
        let input = open(&self.input, &options)?;
        for note in &input.notes {
            eprintln!("note: {note}");
        }
        loads(&input)?; // before anything is replaced
        let output = self.output.to_str().ok_or("the output path is not UTF-8")?;
        print(&match self.to {
            Layout::Hf => to_hugging_face(&input, &self.output, self.dtype(), self.overwrite, &options.limits)?,
            Layout::CnClip => checkpoint::convert_to_cn_clip(&input, &self.output, self.dtype(), self.overwrite)
                .map_err(chinese_clip::Error::from)?,
        });
        loads(&Checkpoint::open(output, &options).map_err(chinese_clip::Error::from)?)?;
        Ok(())
    }

    fn dtype(&self) -> Option<Dtype> {
        self.dtype.map(|format| match format {
            Format::F32 => Dtype::F32,
            Format::F16 => Dtype::F16,
            Format::Bf16 => Dtype::BF16,
        })
    }
}

/// A checkpoint must load exactly: nothing missing, nothing unused, no value that is not finite.
fn loads(checkpoint: &Checkpoint) -> Result<(), Failure> {
    PreparedModel::load(&checkpoint.config, &checkpoint.weights, DType::F32, &device("flex")?)?;
    println!("{}: loads", checkpoint.source);
    Ok(())
}

/// Writes a directory with everything that transformers looks for.
pub(crate) fn to_hugging_face(
    input: &Checkpoint,
    output: &Path,
    dtype: Option<Dtype>,
    overwrite: bool,
    limits: &Limits,
) -> Result<Report, Failure> {
    let tokenizer = tokenizer(input, limits)?;
    let options = ConvertOptions {
        dtype,
        tokenizer_json: Some(tokenizer.to_json().map_err(chinese_clip::Error::from)?),
        vocab_txt: Some(vocabulary(&tokenizer)),
        overwrite,
    };
    Ok(checkpoint::convert(input, output, &options).map_err(chinese_clip::Error::from)?)
}

/// The tokens, one a line, in the order of their ids.
fn vocabulary(tokenizer: &Tokenizer) -> String {
    (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token(id).unwrap_or_default() + "\n").collect()
}

fn print(report: &Report) {
    for (from, to) in report.renamed.iter().take(LISTED) {
        println!("renamed {from} to {to}");
    }
    if let Some(more) = report.renamed.len().checked_sub(LISTED).filter(|&more| more > 0) {
        println!("renamed {more} more");
    }
    for (name, reason) in &report.dropped {
        println!("dropped {name}: {reason}");
    }
    match report.cast.first() {
        Some((_, from, to)) => println!("cast    {} tensors, from {} to {}", report.cast.len(), from.name(), to.name()),
        None => println!("cast    nothing"),
    }
    for (name, bytes) in &report.files {
        println!("wrote   {name}, {bytes} bytes");
    }
    println!("{} tensors, {} parameters in {}", report.tensors, report.parameters, report.output.display());
}
