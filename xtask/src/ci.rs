//! `cargo xtask ci`: what CI runs.

use std::process::Command;

use clap::Args;

use crate::{Failure, check_tidy, libtorch, root};

const STEPS: [&[&str]; 6] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["test", "--workspace", "--no-fail-fast"],
    &["test", "--workspace", "--bench", "*"],
    &["test", "--workspace", "--features", "chinese-clip-preprocess/libjpeg-turbo", "--test", "image_suite"],
    &["doc", "--workspace", "--no-deps"],
];

/// The packages whose tests run on a device.
const ON_DEVICES: [&str; 3] = ["chinese-clip", "chinese-clip-cli", "chinese-clip-tests"];

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Ci {
    /// Afterwards run the tests that use a device once more, in a build with these backends as well: ndarray,tch,wgpu
    #[arg(long, value_name = "FEATURES")]
    backends: Option<String>,
}

impl Ci {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        check_tidy()?;
        for step in STEPS {
            cargo(step)?;
        }
        if let Some(features) = &self.backends {
            let mut step = vec!["test", "--no-fail-fast", "--features", features];
            step.extend(ON_DEVICES.iter().flat_map(|package| ["--package", package]));
            cargo(&step)?;
        }
        let also = self.backends.as_deref().map(|features| format!(", with {features} too")).unwrap_or_default();
        eprintln!("ci: everything passed{also}");
        Ok(())
    }
}

fn cargo(step: &[&str]) -> Result<(), Failure> {
    eprintln!("ci: cargo {}", step.join(" "));
    let mut command = Command::new(env!("CARGO"));
    command.args(step).current_dir(root()).env("RUSTDOCFLAGS", "-D warnings").envs(libtorch::library_path());
    if command.status()?.success() { Ok(()) } else { Err(format!("cargo {} failed", step.join(" ")).into()) }
}
