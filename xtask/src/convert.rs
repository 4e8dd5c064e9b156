//! `cargo xtask convert IN OUT`: any readable checkpoint to a clean directory.

use std::path::PathBuf;

use chinese_clip::checkpoint::{self, Checkpoint, ConvertOptions, Dtype, OpenOptions, Report};
use chinese_clip::{DType, PreparedModel, Tokenizer, device, open, tokenizer};
use clap::{Args, ValueEnum};

use crate::Failure;

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Convert {
    /// A directory, a hub id, a published short name, or `demo`
    input: String,
    /// The directory to write
    output: PathBuf,
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
enum Format {
    F32,
    F16,
    Bf16,
}

impl Convert {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let options = OpenOptions { revision: self.revision.clone(), progress: true, ..OpenOptions::default() };
        let input = open(&self.input, &options)?;
        for note in &input.notes {
            eprintln!("note: {note}");
        }
        loads(&input)?; // before anything is replaced
        print(&write(&input, &options, self)?);
        let output = self.output.to_str().ok_or("the output path is not UTF-8")?;
        loads(&Checkpoint::open(output, &options).map_err(chinese_clip::Error::from)?)?;
        println!("loads");
        Ok(())
    }
}

/// A checkpoint must load exactly: nothing missing, nothing unused, no value that is not finite.
fn loads(checkpoint: &Checkpoint) -> Result<(), Failure> {
    PreparedModel::load(&checkpoint.config, &checkpoint.weights, DType::F32, &device("flex")?)?;
    Ok(())
}

fn write(input: &Checkpoint, options: &OpenOptions, task: &Convert) -> Result<Report, Failure> {
    let tokenizer = tokenizer(input, &options.limits)?;
    let options = ConvertOptions {
        dtype: task.dtype.map(|format| match format {
            Format::F32 => Dtype::F32,
            Format::F16 => Dtype::F16,
            Format::Bf16 => Dtype::BF16,
        }),
        tokenizer_json: Some(tokenizer.to_json().map_err(chinese_clip::Error::from)?),
        vocab_txt: Some(vocabulary(&tokenizer)),
        overwrite: task.overwrite,
    };
    Ok(checkpoint::convert(input, &task.output, &options).map_err(chinese_clip::Error::from)?)
}

/// The tokens, one a line, in the order of their ids.
fn vocabulary(tokenizer: &Tokenizer) -> String {
    (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token(id).unwrap_or_default() + "\n").collect()
}

fn print(report: &Report) {
    for (from, to) in &report.renamed {
        println!("renamed {from} to {to}");
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
