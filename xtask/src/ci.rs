//! `cargo xtask ci`: what CI runs.

use std::process::Command;

use crate::{Failure, check_tidy, root};

const STEPS: [&[&str]; 5] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["test", "--workspace", "--no-fail-fast"],
    &["test", "--workspace", "--features", "chinese-clip-preprocess/libjpeg-turbo", "--test", "image_suite"],
    &["doc", "--workspace", "--no-deps"],
];

pub(crate) fn run() -> Result<(), Failure> {
    check_tidy()?;
    for step in STEPS {
        eprintln!("ci: cargo {}", step.join(" "));
        let status =
            Command::new(env!("CARGO")).args(step).current_dir(root()).env("RUSTDOCFLAGS", "-D warnings").status()?;
        if !status.success() {
            return Err(format!("cargo {} failed", step.join(" ")).into());
        }
    }
    eprintln!("ci: everything passed");
    Ok(())
}
