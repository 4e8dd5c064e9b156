//! Workspace tasks: `cargo xtask convert | golden | parity | bench | gpu | tidy | ci`.

#![allow(clippy::print_stdout)] // a task reports to the person who called it

mod bench;
mod ci;
mod convert;
mod golden;
mod gpu;
mod libtorch;
mod oracle;
mod page;
mod parity;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a task may fail with; printed with its causes.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Workspace tasks", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Turn a readable checkpoint into a clean directory: safetensors, config, preprocessor, vocabulary, tokenizer.json
    Convert(convert::Convert),
    /// Make the committed goldens again with the pinned reference, and say what changed
    Golden(golden::Golden),
    /// Compare a checkpoint, and what is written of it, with transformers and cn_clip, and write docs/parity.md
    Parity(parity::Parity),
    /// Run the benches, or time other implementations beside this one, and write docs/performance.md
    Bench(bench::Bench),
    /// Run the suites and time models on GPUs, and write docs/gpu.md
    Gpu(gpu::Gpu),
    /// Check the arrows between crates and the rules for files
    Tidy,
    /// Run what CI runs: format, lints, documentation links, tidy, all tests
    Ci(ci::Ci),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Convert(task) => task.run(),
        Task::Golden(task) => task.run(),
        Task::Parity(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Gpu(task) => task.run(),
        Task::Tidy => check_tidy(),
        Task::Ci(task) => task.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            let mut cause = failure.source();
            while let Some(error) = cause {
                eprintln!("caused by: {error}");
                cause = error.source();
            }
            if let Some(hint) = failure.downcast_ref::<chinese_clip::Error>().and_then(chinese_clip::Error::hint) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn check_tidy() -> Result<(), Failure> {
    tidy::tidy(&root()).map_err(|faults| format!("{} faults:\n  {}", faults.len(), faults.join("\n  ")).into())
}

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
