//! `tokenize`, `preprocess`, `info`, `devices`, help, and what happens when nobody reads the output.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::process::Stdio;

use common::{command, example, run, run_with};

#[test]
fn tokenize() {
    let report = run(["tokenize", "--model", "demo", "--text", "一只猫", "", "--json"]).exits(0).json();
    assert_eq!(report[0]["text"], "一只猫");
    assert_eq!(report[0]["input_ids"], serde_json::json!([101, 671, 1372, 4344, 102]));
    assert_eq!(report[0]["tokens"], serde_json::json!(["[CLS]", "一", "只", "猫", "[SEP]"]));
    assert_eq!(report[1]["input_ids"], serde_json::json!([101, 102]));
    let table = run(["tokenize", "--model", "demo", "--text", "一只猫"]).exits(0);
    assert_eq!(table.stdout, "一只猫\n  101 671 1372 4344 102\n  [CLS] 一 只 猫 [SEP]\n");
    let cut = run_with(["tokenize", "--texts", "-", "--max-length", "3", "--json"], "一只猫\n".as_bytes()).exits(0);
    assert_eq!(
        cut.says("5 tokens and was cut off: 3 are kept").json()[0]["input_ids"],
        serde_json::json!([101, 671, 102])
    );
    let literal = run(["tokenize", "--text", "[SEP]", "--dialect", "cn_clip", "--json"]).exits(0).json();
    assert_eq!(literal[0]["tokens"], serde_json::json!(["[CLS]", "[", "sep", "]", "[SEP]"]));
    run(["tokenize"]).exits(2).says("no text given");
}

#[test]
fn preprocess_writes_an_array_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("pixels.npy");
    let path = output.to_str().unwrap();
    let (a, b) = (example("sunset.png"), example("snowman.png"));
    run(["preprocess", &a, &b, "-o", path, "--model", "demo"]).exits(0);
    let bytes = std::fs::read(&output).unwrap();
    let header = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    let size: usize = header.split(", ").nth(4).unwrap().parse().unwrap();
    assert!(header.contains(&format!("'<f4', 'fortran_order': False, 'shape': (2, 3, {size}, {size})")), "{header}");
    assert_eq!(bytes.len(), 128 + 2 * 3 * size * size * 4);
    let missing = run(["preprocess", "missing.png", &a, "-o", path, "--model", "demo"]).exits(1);
    missing.says("cannot read the picture missing.png").says(&format!("row 0: {a}"));
    assert_eq!(std::fs::read(&output).unwrap()[128..], bytes[128..128 + 3 * size * size * 4]);
    let kept = std::fs::read(&output).unwrap();
    run(["preprocess", "missing.png", "-o", path, "--model", "demo"]).exits(2).says("was not written");
    assert_eq!(std::fs::read(&output).unwrap(), kept);
    run(["preprocess", &a, "-o", "no/such/folder/p.npy", "--model", "demo"])
        .exits(2)
        .says("hint: the directory must exist");
    run(["preprocess", &a, "-o", "-", "--model", "demo"]).exits(2).says("npy needs a file to write to");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn info_describes_a_checkpoint() {
    let report = run(["info", "demo", "--json"]).exits(0).json();
    assert_eq!(report["source"], "demo");
    assert_eq!(report["text"]["vocabulary"], 21128);
    assert_eq!(report["fingerprint"].as_str().unwrap().len(), 64);
    assert!(report["parameters"].as_u64().unwrap() > 1_000_000);
    let table = run(["info", "demo"]).exits(0).stdout;
    assert!(table.contains("tensors of F16") && table.contains(report["fingerprint"].as_str().unwrap()), "{table}");

    let folder = tempfile::tempdir().unwrap();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/demo");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(demo.join(name), folder.path().join(name)).unwrap();
    }
    let report = run(["info", folder.path().to_str().unwrap(), "--json"]).exits(0).json();
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
    assert!(report["notes"][0].as_str().unwrap().contains("no preprocessor_config.json"));
    let file = folder.path().join("config.json");
    run(["info", file.to_str().unwrap()]).exits(2).says("is a file; a checkpoint is a directory").says("hint: ");
}

#[test]
fn devices() {
    let report = run(["devices", "--json"]).exits(0).json();
    assert!(report.as_array().unwrap().iter().any(|device| device["name"] == "flex"));
    assert!(run(["devices"]).exits(0).stdout.contains("flex  "));
}

#[test]
fn help_and_usage() {
    for arguments in [&["--help"][..], &["similarity", "--help"], &["embed", "-h"]] {
        let ran = run(arguments).exits(0);
        assert!(ran.stdout.contains("Examples:\n  chinese-clip "), "{}", ran.stdout);
    }
    run(["similarity", "--no-such-option"]).exits(2);
    run(["--version"]).exits(0);
    assert_eq!(run(Vec::<String>::new()).exits(2).stdout, "");
}

/// A reader that is gone before anything is written.
#[test]
fn a_closed_pipe_is_success() {
    let sunset = example("sunset.png");
    for arguments in [
        &["similarity", &sunset, "--model", "demo", "--text", "日落"][..],
        &["embed", &sunset, "--model", "demo"],
        &["info", "demo", "--json"],
        &["devices"],
    ] {
        let mut child = command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"");
    }
}

#[test]
fn a_closed_pipe_does_not_hide_that_inputs_failed() {
    let sunset = example("sunset.png");
    for command_line in [
        &["embed", "missing.png", &sunset, "--model", "demo"][..],
        &["similarity", "missing.png", &sunset, "--model", "demo", "--text", "日落"],
    ] {
        let mut child = command().args(command_line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran: common::Ran = child.wait_with_output().unwrap().into();
        ran.exits(1).says("missing.png");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let sunset = example("sunset.png");
    for arguments in [
        &["similarity", &sunset, "--model", "demo", "--text", "日落"][..],
        &["embed", &sunset, "--model", "demo"],
        &["tokenize", "--model", "demo", "--text", "日落", "--json"],
        &["info", "demo"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran: common::Ran = command().args(arguments).stdout(full).output().unwrap().into();
        ran.exits(2).says("error: cannot write to standard output").says("No space left").says("hint: make room");
    }
    run(["embed", &sunset, "-o", "/dev/full"]).exits(2).says("error: cannot write /dev/full");
}

#[test]
fn a_long_text_is_cut_off_or_refused() {
    let long = "龟".repeat(60);
    run(["tokenize", "--text", &long, "--max-length", "52"])
        .exits(0)
        .says("has 62 tokens and was cut off: 52 are kept");
    let refused = run(["tokenize", "--text", &long, "--max-length", "52", "--refuse-long"]).exits(2);
    assert!(refused.stderr.contains("62") && refused.stderr.contains("52"), "{}", refused.stderr);
}
