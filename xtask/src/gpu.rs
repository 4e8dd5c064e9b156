//! `cargo xtask gpu`: what only a GPU can show, on whatever devices a build has: the suites in every number format, and the
//! speed of real models; written to docs/gpu.md.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::Value;

use crate::{Failure, libtorch, root};

const FORMATS: [&str; 3] = ["f32", "f16", "bf16"];

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Gpu {
    /// Backends to build in: cuda,tch,vulkan
    #[arg(long, value_name = "FEATURES")]
    features: String,
    /// Devices to run on, as `chinese-clip devices` names them: cuda:0,tch:cuda:0,vulkan:0
    #[arg(long, value_delimiter = ',', required = true)]
    devices: Vec<String>,
    /// Models to time: directories or published names
    #[arg(long, value_delimiter = ',', required = true)]
    models: Vec<String>,
    /// Sizes of batches
    #[arg(long, default_value = "1,8,32,64,128,256")]
    batch: String,
}

impl Gpu {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut page = String::from("# On GPUs\n\nWritten by `cargo xtask gpu`.\n\n## Parity\n\n");
        page += "The suites of `tests`, in f32, f16 and bf16 where the device has them, with the bounds that stand there.\n\n";
        page += "| device | suites |\n| --- | --- |\n";
        let mut failed = Vec::new();
        for device in &self.devices {
            let passed = self.suites(device)?;
            writeln!(page, "| {device} | {} |", if passed { "pass" } else { "FAIL" })?;
            if !passed {
                failed.push(device.as_str());
            }
        }
        page += "\n## Speed\n\nPer second, from the median of the towers alone (`chinese-clip bench`).\n\n";
        page += "| model | device | dtype | batch | images | texts | peak memory, MiB |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        for model in &self.models {
            for device in &self.devices {
                for format in FORMATS {
                    page += &self.speed(model, device, format)?;
                }
            }
        }
        print!("{page}");
        fs::write(root().join("docs/gpu.md"), page)?;
        if failed.is_empty() { Ok(()) } else { Err(format!("the suites failed on {}", failed.join(", ")).into()) }
    }

    fn suites(&self, device: &str) -> Result<bool, Failure> {
        let mut command = self.cargo(&["test", "--release", "--package", "chinese-clip-tests", "--no-fail-fast"]);
        Ok(command.env("CHINESE_CLIP_TEST_DEVICES", device).status()?.success())
    }

    /// The rows of a model on a device; one row that says why, where the device lacks the format or fails.
    fn speed(&self, model: &str, device: &str, format: &str) -> Result<String, Failure> {
        let run = ["run", "--release", "--package", "chinese-clip-cli", "--bin", "chinese-clip"];
        let mut command = self.cargo(&run);
        command.args([
            "--",
            "bench",
            "--json",
            "--model",
            model,
            "--device",
            device,
            "--dtype",
            format,
            "--batch",
            &self.batch,
        ]);
        let output = command.stderr(Stdio::inherit()).output()?;
        let name = model.rsplit('/').next().unwrap_or(model);
        if !output.status.success() {
            return Ok(format!("| {name} | {device} | {format} | | did not run | | |\n"));
        }
        let rows: Vec<Value> =
            String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let of = |stage: &str, batch: &Value| {
            rows.iter().find(|row| row["stage"] == stage && row["batch"] == *batch).cloned().unwrap_or_default()
        };
        let mut table = String::new();
        for image in rows.iter().filter(|row| row["stage"] == "image") {
            let batch = &image["batch"];
            let (images, texts) = (per_second(image), per_second(&of("text", batch)));
            let peak = image["peak_bytes"].as_u64().map_or("-".into(), |bytes| (bytes >> 20).to_string());
            writeln!(table, "| {name} | {device} | {format} | {batch} | {images} | {texts} | {peak} |")?;
        }
        Ok(table)
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).args(["--features", &self.features]).current_dir(root()).envs(libtorch::library_path());
        command
    }
}

fn per_second(row: &Value) -> String {
    row["per_second"].as_f64().map_or("-".into(), |value| format!("{value:.0}"))
}
