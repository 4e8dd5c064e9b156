//! `bench`: how fast a model is on this machine, stage by stage.
//!
//! One device is measured in this process. Several are measured in a process each: peak memory is then that of one device,
//! and a device that crashes or runs out of memory takes nothing else with it.

mod inputs;
mod report;
mod stages;

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use self::report::{Report, Row};
pub(crate) use self::stages::stage_names;
use crate::args::BenchArgs;
use crate::error::CliError;
use crate::{Outcome, messages, signals};

pub(super) fn run(args: &BenchArgs) -> Result<Outcome, CliError> {
    signals::watch();
    let devices = distinct(args.alone.as_ref().map_or(&args.device, std::slice::from_ref));
    let batches = distinct(&args.batch);
    let mut report = if args.alone.is_some() {
        Report::new(true, 0) // the process that started this one has the bar
    } else {
        Report::new(args.json, devices.len() * (1 + batches.len() * stages::wanted(args).count()))
    };
    let outcome = match devices.as_slice() {
        [device] => stages::run(args, device, &batches, &mut report),
        devices => each_alone(devices, &mut report),
    };
    report.finish()?;
    outcome
}

/// The items without repetitions, in their order.
fn distinct<T: PartialEq + Clone>(items: &[T]) -> Vec<T> {
    items.iter().enumerate().filter(|(i, item)| !items[..*i].contains(item)).map(|(_, item)| item.clone()).collect()
}

/// Measures each device in a process of its own. One that fails is reported, and the next one goes on.
fn each_alone(devices: &[String], report: &mut Report) -> Result<Outcome, CliError> {
    let mut outcome = Outcome::Done;
    for device in devices {
        let reason = match spawn(device) {
            Err(error) => error.to_string(),
            Ok(mut child) => {
                let relayed = relay(&mut child, report);
                if relayed.is_err() || signals::stopped() {
                    let _ = child.kill(); // it may have ended already
                }
                let ended = child.wait();
                relayed?;
                report.end_device()?;
                match ended {
                    _ if signals::stopped() => return Ok(Outcome::Interrupted),
                    Ok(status) if status.code() == Some(130) => return Ok(Outcome::Interrupted),
                    Ok(status) if status.success() => continue,
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                }
            }
        };
        report.error(&CliError::DeviceFailed { device: device.clone(), reason });
        outcome = Outcome::SomeFailed;
    }
    if report.is_empty() { Err(CliError::NoDeviceMeasured) } else { Ok(outcome) }
}

/// Starts this command again, for one device.
fn spawn(device: &str) -> io::Result<Child> {
    let mut arguments = std::env::args_os().skip(1); // `bench`, then its options
    Command::new(std::env::current_exe()?)
        .args(arguments.next())
        .args(["--alone", device])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}

/// Shows the rows of a process as they come.
fn relay(child: &mut Child, report: &mut Report) -> Result<(), CliError> {
    let lines = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    for line in lines.map_while(Result::ok) {
        match serde_json::from_str::<Row>(&line) {
            Ok(row) => report.row(&row)?,
            Err(_) => messages::note(&line), // a backend's library has something to say
        }
        if signals::stopped() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_left_out() {
        assert_eq!(distinct(&[8, 1, 8, 32, 1]), [8, 1, 32]);
    }
}
