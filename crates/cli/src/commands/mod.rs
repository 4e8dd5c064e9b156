//! One file for each command.

mod bench;
mod classify;
mod devices;
mod embed;
mod info;
mod preprocess;
mod similarity;
mod tokenize;

pub(crate) use self::bench::stage_names;
use crate::Outcome;
use crate::args::Command;
use crate::error::CliError;

/// Runs a command.
pub(crate) fn run(command: Command) -> Result<Outcome, CliError> {
    match command {
        Command::Similarity(args) => similarity::run(args),
        Command::Classify(args) => classify::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Preprocess(args) => preprocess::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}

const IMAGES_HINT: &str = "name images before `--text` and `--labels`, which take all that follows them, or after `--`";
const TEXTS_HINT: &str = "give some with `--text` or `--texts FILE`";
const LABELS_HINT: &str = "give some with `--labels` or `--labels-file FILE`";

/// An error unless something is there.
fn require<T>(items: &[T], what: &'static str, hint: &'static str) -> Result<(), CliError> {
    if items.is_empty() { Err(CliError::Nothing { what, hint }) } else { Ok(()) }
}
