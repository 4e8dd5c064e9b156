//! Reads every tensor of a checkpoint as f32, the way a loader does, and says how long it took and how much memory it needed.
//!
//!     cargo run --release -p chinese-clip-checkpoint --example read_all -- DIRECTORY [keep|forget] [fingerprint]
//!
//! `keep` (the default) holds all values, as a model would; `forget` drops each tensor after reading it.
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Instant;

use chinese_clip_checkpoint::{Checkpoint, CheckpointError, OpenOptions};

fn main() -> Result<(), CheckpointError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let source = arguments.first().map_or(".", String::as_str);
    let keep = !arguments.iter().any(|a| a == "forget");
    let start = Instant::now();
    let checkpoint = Checkpoint::open(source, &OpenOptions::default())?;
    let weights = &checkpoint.weights;
    println!(
        "open {:?}: {} tensors, {} parameters, {} bytes",
        start.elapsed(),
        weights.len(),
        weights.parameters(),
        weights.bytes()
    );
    let start = Instant::now();
    let mut model = Vec::new();
    for name in weights.names() {
        let values = weights.to_f32(name)?;
        weights.release(name);
        if keep {
            model.push(values);
        }
    }
    println!("read {:?}", start.elapsed());
    memory();
    if arguments.iter().any(|a| a == "fingerprint") {
        let start = Instant::now();
        let fingerprint = weights.fingerprint_hex();
        println!("fingerprint {fingerprint} {:?}", start.elapsed());
        memory();
    }
    Ok(())
}

/// Linux only: what the kernel counted.
fn memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in
        status.lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("RssAnon") || l.starts_with("RssFile"))
    {
        println!("  {line}");
    }
}
