//! `devices`: what this build can run on.

use serde::Serialize;

use crate::Outcome;
use crate::args::DevicesArgs;
use crate::error::CliError;
use crate::output::Out;

#[derive(Serialize)]
struct Device {
    name: String,
    description: String,
    software: bool,
}

pub(super) fn run(args: &DevicesArgs) -> Result<Outcome, CliError> {
    let devices: Vec<Device> = chinese_clip::devices()
        .into_iter()
        .map(|device| Device { name: device.name, description: device.description, software: device.software })
        .collect();
    let mut out = Out::new();
    if args.json {
        out.json(&devices)?;
    } else {
        let widest = devices.iter().map(|device| device.name.len()).max().unwrap_or_default();
        for Device { name, description, .. } in &devices {
            out.line(&format!("{name:<widest$}  {description}"))?;
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}
