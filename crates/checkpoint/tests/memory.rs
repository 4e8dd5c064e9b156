//! Memory while loading tensor by tensor, and while refusing: alone in its program, because it reads the peak of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::Write;

/// Peak resident memory in MB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

#[test]
fn released_tensors_do_not_stay_in_memory() {
    const MB: usize = 1 << 20;
    let entries: Vec<String> = (0..12)
        .map(|i| {
            let (begin, end) = (i * 16 * MB, (i + 1) * 16 * MB);
            format!(r#""w{i}":{{"dtype":"F32","shape":[4194304],"data_offsets":[{begin},{end}]}}"#)
        })
        .collect();
    let start = common::safetensors(&format!("{{{}}}", entries.join(",")), &[]);
    let dir = common::directory(&[]);
    let mut file = std::fs::File::create(dir.path().join("model.safetensors")).unwrap();
    file.write_all(&start).unwrap();
    file.set_len((start.len() + 12 * 16 * MB) as u64).unwrap(); // a hole: zeros that take no disk

    refusals_cost_nothing();
    let before = peak();
    let weights = common::open_dir(dir.path()).unwrap().weights;
    for name in weights.names() {
        assert_eq!(weights.to_f32(name).unwrap().len(), 4 * MB);
        weights.release(name);
    }
    weights.fingerprint();
    let grown = peak() - before;
    assert!(grown < 80, "192 MB of weights, read one by one, took {grown} MB");
}

/// Small files that claim to be large. Called by the test above: the peak is that of the whole process.
fn refusals_cost_nothing() {
    let before = peak();
    let huge = common::claim(2_500_000_000, 0, &[50_000, 50_000], &[50_000, 1]);
    let bomb = common::Pickle::new().raw(b"N").raw(&b"(".repeat(900_000)).raw(&b"]".repeat(200_000)).stop();
    let header = br#"{"w":{"dtype":"F32","shape":[50000,50000],"data_offsets":[0,10000000000]}}"#;
    for (name, bytes) in [
        ("pytorch_model.bin", huge),
        ("pytorch_model.bin", common::torch(&bomb, &[])),
        ("model.safetensors", common::safetensors(std::str::from_utf8(header).unwrap(), &[0; 100])),
    ] {
        assert!(common::open_bytes(name, &bytes).is_err(), "{name}");
    }
    let grown = peak() - before;
    assert!(grown < 100, "refusing small files took {grown} MB");
}
