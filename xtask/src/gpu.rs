//! `cargo xtask gpu`: what only a GPU can show, on whatever devices a build has: the suites in every number format, features at
//! real size beside those of the CPU, and the speed of the towers beside PyTorch's; written to docs/gpu.md.

use std::fmt::Write as _;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::oracle::Oracle;
use crate::{Failure, libtorch, page, root};

/// Tokens of a text.
const LENGTH: &str = "52";

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Gpu {
    /// Backends to build in: cuda,tch,vulkan
    #[arg(long, value_delimiter = ',', required_unless_present = "built")]
    features: Vec<String>,
    /// A folder with `chinese-clip`, `suite` and `xtask` of a release build, for a machine without cargo
    #[arg(long, conflicts_with = "features")]
    built: Option<PathBuf>,
    /// Devices to run on, as `chinese-clip devices` names them: cuda:0,tch:cuda:0,vulkan:0
    #[arg(long, value_delimiter = ',', required = true)]
    devices: Vec<String>,
    /// Models to compare and to time: directories or published names
    #[arg(long, value_delimiter = ',', required = true)]
    models: Vec<String>,
    /// What to call the machine in the page
    #[arg(long)]
    name: String,
    /// Number formats
    #[arg(long, value_delimiter = ',', default_values = ["f32", "f16", "bf16"])]
    dtype: Vec<String>,
    /// Sizes of batches
    #[arg(long, default_value = "1,8,32,64,128,256")]
    batch: String,
    /// How long each tower is timed for each size of batch
    #[arg(long, default_value = "1")]
    seconds: String,
    /// Pictures and texts that are compared with the CPU; none if 0
    #[arg(long, default_value_t = 64)]
    pairs: usize,
    /// After so many seconds a program is stopped, and the page says so
    #[arg(long, default_value_t = 3600)]
    patience: u64,
    /// Leave the suites out
    #[arg(long)]
    no_suites: bool,
    /// Time PyTorch on this of its devices as well, for models that are directories
    #[arg(long, value_name = "DEVICE")]
    torch: Option<String>,
    #[command(flatten)]
    oracle: Oracle,
}

impl Gpu {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut section = format!("### {}\n\n", self.name);
        let mut failed = Vec::new();
        if !self.no_suites {
            section += "#### Suites\n\n| device | suites of `tests` |\n| --- | --- |\n";
            for device in &self.devices {
                let verdict = self.suites(device)?;
                writeln!(section, "| {device} | {verdict} |")?;
                if verdict != "pass" {
                    failed.push(format!("the suites on {device}"));
                }
            }
            section.push('\n');
        }
        if self.pairs > 0 {
            for model in &self.models {
                section += &self.numerics(model)?;
            }
        }
        section += "#### Images and texts per second\n\n";
        section += "| model | device | dtype | batch | images | texts | peak memory, MiB |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        for model in &self.models {
            for dtype in &self.dtype {
                for device in &self.devices {
                    section += &self.speed(model, device, dtype, self.bench(model, device, dtype))?;
                }
                if let Some(device) = &self.torch {
                    section +=
                        &self.speed(model, &format!("PyTorch, {device}"), dtype, self.peer(model, device, dtype))?;
                }
            }
        }
        print!("{section}");
        page::replace(&root().join("docs/gpu.md"), "gpu", &self.name, &section)?;
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
    }

    fn suites(&self, device: &str) -> Result<&'static str, Failure> {
        let mut command = self.program("suite", &["test", "--package", "chinese-clip-tests", "--test", "suite", "--"]);
        command.env("CHINESE_CLIP_TEST_DEVICES", device);
        let (success, printed) = self.output(command)?;
        eprintln!("{printed}");
        Ok(match success {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "not finished",
        })
    }

    fn numerics(&self, model: &str) -> Result<String, Failure> {
        let mut command = self.program("xtask", &["run", "--package", "xtask", "--"]);
        let (devices, dtypes, pairs) = (self.devices.join(","), self.dtype.join(","), self.pairs.to_string());
        command.args(["numerics", model, "--dry-run"]);
        command.args(["--device", &devices, "--dtype", &dtypes, "--pairs", &pairs]);
        Ok(match self.output(command)? {
            (_, table) if !table.is_empty() => format!("#{table}\n"), // one level below the machine
            _ => format!("#### {}\n\nDid not run.\n\n", page::heading(None, Path::new(model))),
        })
    }

    fn bench(&self, model: &str, device: &str, dtype: &str) -> Command {
        let cargo = ["run", "--package", "chinese-clip-cli", "--bin", "chinese-clip", "--"];
        let mut command = self.program("chinese-clip", &cargo);
        command.args(["bench", "--json", "--stage", "image,text", "--length", LENGTH, "--batch", &self.batch]);
        command.args(["--seconds", &self.seconds, "--model", model, "--device", device, "--dtype", dtype]);
        command
    }

    fn peer(&self, model: &str, device: &str, dtype: &str) -> Command {
        let mut command = Command::new(self.oracle.python());
        command.arg(root().join("benches/peers/torch_gpu.py"));
        command.args([model, device, dtype, &self.batch, LENGTH, &self.seconds]).env("HF_HUB_OFFLINE", "1");
        command
    }

    /// The rows that a program printed, all or those up to where it failed.
    fn speed(&self, model: &str, device: &str, dtype: &str, command: Command) -> Result<String, Failure> {
        let (success, printed) = self.output(command)?;
        let rows: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let model = page::heading(None, Path::new(model));
        let mut table = String::new();
        for image in rows.iter().filter(|row| row["stage"] == "image") {
            let batch = &image["batch"];
            let text = rows.iter().find(|row| row["stage"] == "text" && row["batch"] == *batch);
            let (images, texts) = (per_second(image), text.map_or("-".into(), per_second));
            let peak = image["peak_bytes"].as_u64().map_or("-".into(), |bytes| (bytes >> 20).to_string());
            writeln!(table, "| {model} | {device} | {dtype} | {batch} | {images} | {texts} | {peak} |")?;
        }
        match success {
            Some(true) => {}
            Some(false) => writeln!(table, "| {model} | {device} | {dtype} | failed here | | | |")?,
            None => writeln!(table, "| {model} | {device} | {dtype} | stopped here | | | |")?,
        }
        Ok(table)
    }

    /// A program of the build, or how cargo builds and runs it.
    fn program(&self, name: &str, cargo: &[&str]) -> Command {
        if let Some(folder) = &self.built {
            return Command::new(folder.join(name));
        }
        let mut command = Command::new(env!("CARGO"));
        let features: Vec<String> = self.features.iter().map(|name| format!("chinese-clip/{name}")).collect();
        command.args([cargo[0], "--release", "--features", &features.join(",")]).args(&cargo[1..]);
        command.current_dir(root()).envs(libtorch::library_path());
        command
    }

    /// Whether a program succeeded, nothing if it was stopped, and what it printed.
    fn output(&self, mut command: Command) -> Result<(Option<bool>, String), Failure> {
        eprintln!("{command:?}");
        let mut printed = tempfile::tempfile()?;
        let mut child = command.stdin(Stdio::null()).stdout(printed.try_clone()?).spawn()?;
        let end = Instant::now() + Duration::from_secs(self.patience);
        let success = loop {
            match child.try_wait()? {
                Some(status) => break Some(status.success()),
                None if Instant::now() < end => thread::sleep(Duration::from_millis(100)),
                None => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
            }
        };
        let mut text = String::new();
        printed.rewind()?;
        printed.read_to_string(&mut text)?;
        Ok((success, text))
    }
}

fn per_second(row: &Value) -> String {
    row["per_second"].as_f64().map_or("-".into(), |value| format!("{value:.0}"))
}
