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

/// The package with kernels of its own, under AddressSanitizer. (Miri does not come with stable Rust.)
const SANITISED: [&str; 5] =
    ["test", "--package", "chinese-clip-kernels", "--tests", "--target=x86_64-unknown-linux-gnu"];

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
            run(&mut command(step))?;
        }
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            let mut sanitised = command(&SANITISED);
            sanitised.env("RUSTC_BOOTSTRAP", "1"); // the sanitiser comes with stable Rust, the option for it does not
            run(sanitised.env("RUSTFLAGS", "-Zsanitizer=address"))?;
        }
        if let Some(features) = &self.backends {
            let mut step = vec!["test", "--no-fail-fast", "--features", features];
            step.extend(ON_DEVICES.iter().flat_map(|package| ["--package", package]));
            run(&mut command(&step))?;
        }
        let also = self.backends.as_deref().map(|features| format!(", with {features} too")).unwrap_or_default();
        eprintln!("ci: everything passed{also}");
        Ok(())
    }
}

fn command(step: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(step).current_dir(root()).env("RUSTDOCFLAGS", "-D warnings").envs(libtorch::library_path());
    command
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let step: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    let step = format!("cargo {}", step.join(" "));
    eprintln!("ci: {step}");
    if command.status()?.success() { Ok(()) } else { Err(format!("{step} failed").into()) }
}
