//! Runs the reference: a Python with the pinned packages, which this workspace does not install.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::Failure;

/// Which Python to run.
#[derive(Args)]
pub(crate) struct Oracle {
    /// A Python 3.11 with transformers==4.51.3, torch==2.15.0, cn-clip==1.6.0, pillow==13.0.0, safetensors==0.8.0 and numpy==2.4.6
    #[arg(long, env = "ORACLE_PYTHON", default_value = "python3")]
    python: PathBuf,
}

impl Oracle {
    /// The program.
    pub(crate) fn python(&self) -> &Path {
        &self.python
    }

    /// Runs a script, which checks the versions itself.
    pub(crate) fn run(&self, script: &Path, arguments: &[&Path]) -> Result<(), Failure> {
        self.run_over(None, script, arguments)
    }

    /// Runs a script with the packages of a folder before those of the Python.
    pub(crate) fn run_over(&self, over: Option<&Path>, script: &Path, arguments: &[&Path]) -> Result<(), Failure> {
        let mut command = Command::new(&self.python);
        command.arg(script).args(arguments).env("HF_HUB_OFFLINE", "1").stdout(std::io::stderr());
        if let Some(folder) = over {
            command.env("PYTHONPATH", folder);
        }
        let status = command.status().map_err(|error| format!("cannot run {}: {error}", self.python.display()))?;
        if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", script.display()).into()) }
    }
}
