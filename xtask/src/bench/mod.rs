//! `cargo xtask bench`: runs the criterion benches, or with `--peers` times other implementations on the same inputs, and writes
//! docs/performance.md.

mod criterion;
mod machine;
mod peers;
mod plot;
mod stages;

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::oracle::Oracle;
use crate::{Failure, libtorch, root};

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Bench {
    /// Backends beside flex, by cargo feature: ndarray, tch, wgpu
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// A regular expression; only benches whose name (stage/size/batch/backend) matches run
    #[arg(long, conflicts_with = "peers")]
    filter: Option<String>,
    /// What to call the section; for the benches it is added to each stage's name, to keep two machines apart
    #[arg(long)]
    name: Option<String>,
    /// Only print, leave docs/performance.md as it is
    #[arg(long)]
    dry_run: bool,
    /// Time other implementations beside this one
    #[arg(long, requires = "model")]
    peers: bool,
    /// The checkpoint for --peers: a directory in the hub's layout, with model.safetensors
    #[arg(long, requires = "peers")]
    model: Option<PathBuf>,
    /// Sizes of batches for --peers
    #[arg(long, requires = "peers", value_delimiter = ',', default_values_t = [1, 8, 32])]
    batches: Vec<usize>,
    /// How often --peers asks each implementation, in turn
    #[arg(long, requires = "peers", default_value_t = 7)]
    rounds: usize,
    /// Only these peers: torch, torch-compile, onnxruntime, openvino, openvino-bf16, onnxruntime-int8, candle
    #[arg(long, requires = "peers", value_delimiter = ',')]
    only: Option<Vec<String>>,
    #[command(flatten)]
    oracle: Oracle,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.model {
            Some(model) => peers::run(self, model),
            None => stages::run(self),
        }
    }

    /// The command line without paths, for the report.
    fn command(&self) -> String {
        let mut words = vec!["cargo xtask bench".to_string()];
        if self.peers {
            words.push("--peers --model DIR".into());
        }
        if !self.features.is_empty() {
            words.push(format!("--features {}", self.features.join(",")));
        }
        words.extend(self.filter.as_ref().map(|filter| format!("--filter '{filter}'")));
        if self.peers {
            let batches: Vec<String> = self.batches.iter().map(usize::to_string).collect();
            words.push(format!("--batches {} --rounds {}", batches.join(","), self.rounds));
        }
        words.extend(self.only.as_ref().map(|only| format!("--only {}", only.join(","))));
        words.join(" ")
    }

    /// Whether a peer is to be timed.
    fn wants(&self, peer: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == peer))
    }

    /// Finds misspelt names and batches that mean nothing before hours pass.
    fn check_peers(&self, known: &[&str]) -> Result<(), Failure> {
        if let Some(name) = self.only.iter().flatten().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("no peer `{name}`; known: {}", known.join(", ")).into());
        }
        if self.rounds == 0 || self.batches.is_empty() || self.batches.contains(&0) {
            return Err("rounds and batches must be at least 1".into());
        }
        Ok(())
    }

    /// A cargo command on the package of the benches, with its backends, where their libraries are found.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).args(["-p", "chinese-clip-benches"]).current_dir(root());
        if !self.features.is_empty() {
            let features: Vec<String> = self.features.iter().map(|name| format!("chinese-clip/{name}")).collect();
            cargo.arg("--features").arg(features.join(","));
        }
        cargo.envs(libtorch::library_path());
        cargo
    }
}

/// The page that the task writes.
fn page() -> PathBuf {
    root().join("docs/performance.md")
}

/// Milliseconds with three digits that count.
fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    let digits = if ms > 0.0 { (2.0 - ms.log10().floor()).clamp(0.0, 6.0) as usize } else { 0 };
    format!("{ms:.digits$}")
}

/// A table in Markdown.
fn table(columns: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rule = vec!["---".to_string(); columns.len()];
    let rows = [columns, rule].into_iter().chain(rows);
    rows.map(|cells| ["| ", &cells.join(" | "), " |\n"].concat()).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_the_report() {
        assert_eq!([1.2345, 0.212_49, 0.001_234, 0.000_004_321].map(milliseconds), ["1234", "212", "1.23", "0.00432"]);
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[1.0, 4.0])), (2.0, 2.5));
    }
}
