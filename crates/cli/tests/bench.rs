//! `bench`: every stage and batch once, rows that agree with themselves, devices that cannot be measured.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

#[cfg(unix)]
use std::io::{BufRead, BufReader};
#[cfg(unix)]
use std::process::{Child, Stdio};

use common::{Ran, run};
use serde_json::{Map, Value};

const KEYS: [&str; 10] =
    ["stage", "device", "dtype", "batch", "median_s", "min_s", "max_s", "runs", "per_second", "peak_bytes"];
const STAGES: [&str; 6] = ["decode", "resize", "image", "tokenise", "text", "end to end"];

/// Runs `bench` for a short time, with more arguments.
fn bench(arguments: &[&str]) -> Ran {
    let short = ["bench", "--seconds", "0.05", "--batch", "1,2"];
    run(short.iter().chain(arguments))
}

/// The rows of a run that writes JSON.
fn rows(ran: &Ran) -> Vec<Map<String, Value>> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Stage, device and batch of each row.
fn what(rows: &[Map<String, Value>]) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_string();
    rows.iter().map(|row| (text(&row["stage"]), text(&row["device"]), row["batch"].as_u64().unwrap())).collect()
}

/// All stages of one device, at batches of 1 and 2.
fn expected(device: &str) -> Vec<(String, String, u64)> {
    let of_batch = |batch| STAGES.map(|stage| (stage, batch));
    let all = [("load", 1)].into_iter().chain(of_batch(1)).chain(of_batch(2));
    all.map(|(stage, batch)| (stage.to_string(), device.to_string(), batch)).collect()
}

#[test]
fn every_stage_and_batch_has_one_row() {
    let ran = bench(&["--model", "demo", "--json"]).exits(0);
    assert_eq!(ran.stderr, "");
    let rows = rows(&ran);
    assert_eq!(what(&rows), expected("flex"));
    let mut peak = 0;
    for row in &rows {
        assert_eq!(row.keys().collect::<Vec<_>>(), KEYS);
        assert_eq!(row["dtype"], "f32");
        let number = |key: &str| row[key].as_f64().unwrap();
        let (median, min, max) = (number("median_s"), number("min_s"), number("max_s"));
        assert!(0.0 < min && min <= median && median <= max, "{row:?}");
        assert!((number("per_second") * median / number("batch") - 1.0).abs() < 1e-9, "{row:?}");
        let (runs, enough) = (row["runs"].as_u64().unwrap(), max >= 0.05 || row["stage"] == "load");
        assert!(runs >= if enough { 1 } else { 3 }, "{row:?}");
        if cfg!(target_os = "linux") {
            assert!(row["peak_bytes"].as_u64().unwrap() >= peak.max(1 << 20), "{row:?}");
            peak = row["peak_bytes"].as_u64().unwrap();
        }
    }
}

#[test]
fn repetitions_are_measured_once() {
    let ran = bench(&["--batch", "2", "--device", "flex,flex", "--device", "flex", "--json"]).exits(0);
    assert_eq!(what(&rows(&ran.says("note: no --model given"))), expected("flex"));
}

#[test]
fn a_table_for_people() {
    let ran = bench(&["--model", "demo", "--dtype", "f16"]).exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2 + 2 * STAGES.len() + 1, "{}", ran.stdout);
    assert_eq!(lines[0], "flex, f16");
    for (line, stage) in lines[2..].iter().zip(STAGES.iter().cycle().take(12)) {
        let unit = if ["tokenise", "text"].contains(stage) { " texts" } else { " images" };
        assert!(line.starts_with(&format!("  {stage} ")) && line.ends_with(unit), "{line}");
    }
    assert!(lines[14].starts_with("  loaded in ") && lines[14].contains("; peak memory "), "{}", ran.stdout);
}

#[test]
fn a_device_that_fails_does_not_stop_the_others() {
    let ran = bench(&["--model", "demo", "--device", "abacus,flex", "--json"]).exits(1);
    let ran = ran.says("error: no device `abacus`").says("error: `abacus` was not measured to the end: exit status: 2");
    assert_eq!(what(&rows(&ran)), expected("flex"));
    let table = bench(&["--model", "demo", "--device", "flex", "--device", "abacus"]).exits(1).stdout;
    assert!(table.starts_with("flex, f32\n") && table.lines().count() == 15, "{table}");
}

#[test]
fn nothing_to_measure() {
    let alone = bench(&["--model", "demo", "--device", "abacus"]).exits(2);
    assert_eq!(alone.says("error: no device `abacus`").says("hint: ").stdout, "");
    let both = bench(&["--model", "demo", "--device", "abacus,slide-rule"]).exits(2);
    both.says("no device `abacus`").says("no device `slide-rule`").says("error: no device could be measured");
    let long = bench(&["--model", "demo", "--length", "129"]).exits(2);
    assert_eq!(long.says("the model has 128 positions").says("hint: choose a `--length` of 128 or less").stdout, "");
    for arguments in
        [["--batch", "0"], ["--batch", "1,,2"], ["--seconds", "0"], ["--seconds", "inf"], ["--length", "0"]]
    {
        run(["bench", "--model", "demo"].iter().chain(&arguments)).exits(2).says(arguments[0]);
    }
}

/// Of one process and of several.
#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_its_rows() {
    for devices in ["flex", "flex,abacus"] {
        let mut child = start(&["--seconds", "1", "--device", devices]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("{\"stage\":\"load\""));
        let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(rest.len() < 5 && rest.iter().all(|line| line.ends_with('}')), "{rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(130), "{devices}");
    }
}

/// A reader that is gone after the first row, of a run with several processes.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_success() {
    let mut child = start(&["--seconds", "0.05", "--device", "flex,abacus"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"stage\":\"load\""), "{line}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a run that writes JSON to a pipe.
#[cfg(unix)]
fn start(arguments: &[&str]) -> Child {
    let all = ["bench", "--model", "demo", "--json"].iter().chain(arguments);
    common::command().args(all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
