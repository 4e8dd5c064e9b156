//! The command `chinese-clip`: images and Chinese texts in, similarities, labels and embeddings out.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 ran but some inputs failed, 2 could
//! not run, 130 interrupted with valid files left behind. A closed pipe is an end like any other.

#![forbid(unsafe_code)]

mod args;
mod commands;
mod error;
mod inputs;
mod limits;
mod loading;
mod messages;
mod output;
mod pictures;
mod signals;
mod vectors;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

/// Large temporaries come and go with every layer; this allocator keeps their pages if it is told to.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a command that could run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    SomeFailed,
    Interrupted,
}

fn main() -> ExitCode {
    chinese_clip_kernels::keep_pages();
    match commands::run(Cli::parse().command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) if error.is_broken_pipe() => ExitCode::from(u8::from(messages::any_error())),
        Err(error) => {
            messages::error(&error);
            ExitCode::from(2)
        }
    }
}
