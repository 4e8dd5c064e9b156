//! `cargo xtask bench --peers`: other implementations and this one on the same inputs, in turn.
//!
//! Each is a process that is asked in lines of JSON. One computes at a time, round after round, so that what disturbs the
//! machine disturbs all of them.

mod peer;
mod report;
mod worker;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::peer::Peer;
use self::worker::Launch;
use super::{Bench, machine, page};
use crate::{Failure, libtorch, page as sections, root};

/// By the names that `benches/peers/worker.py` takes.
const PYTHON: [(&str, &str); 6] = [
    ("torch", "PyTorch"),
    ("torch-compile", "PyTorch, compiled"),
    ("onnxruntime", "ONNX Runtime"),
    ("openvino", "OpenVINO"),
    ("openvino-bf16", "OpenVINO, bf16"),
    ("onnxruntime-int8", "ONNX Runtime, int8"),
];
/// Those that read exported graphs.
const GRAPHS: [&str; 4] = ["onnxruntime", "openvino", "openvino-bf16", "onnxruntime-int8"];
const CANDLE: &str = "candle";
const STAGES: [Stage; 4] = [
    Stage { name: "text", what: "52 padded tokens to features", batch: None },
    Stage {
        name: "short-texts",
        what: "256 texts of 4 to 30 tokens to features; peers take 32 at a time, padded to the longest",
        batch: Some(256),
    },
    Stage { name: "image", what: "pixels to features", batch: None },
    Stage { name: "end-to-end", what: "a JPEG file of 640x480 to features", batch: None },
];
/// Images of the batch whose peak memory is reported.
const MEMORY_BATCH: usize = 32;
/// How often a process is started to time loading.
const STARTS: usize = 3;

/// What is timed.
struct Stage {
    /// As the workers know it.
    name: &'static str,
    what: &'static str,
    /// The only size of batch, where the command line does not say it.
    batch: Option<usize>,
}

impl Stage {
    fn batches(&self, wanted: &[usize]) -> Vec<usize> {
        self.batch.map_or_else(|| wanted.to_vec(), |batch| vec![batch])
    }
}

pub(super) fn run(bench: &Bench, model: &Path) -> Result<(), Failure> {
    bench.check_peers(&PYTHON.map(|(name, _)| name).into_iter().chain([CANDLE]).collect::<Vec<_>>())?;
    let model = model.canonicalize().map_err(|error| format!("{}: {error}", model.display()))?;
    let largest = bench.batches.iter().copied().max().unwrap_or(1);
    let inputs = tempfile::tempdir()?;
    let places = Places { model: &model, inputs: inputs.path() };
    let (mut peers, mut registers) = places.ours(bench, largest.max(MEMORY_BATCH))?;
    peers.extend(places.python(bench));
    peers.extend(places.candle(bench));

    measure(bench, &mut peers, &mut registers, largest);

    let name = sections::heading(bench.name.as_ref(), &model);
    let reference = reference(&peers).map_or("nothing", |at| &peers[at].label);
    let section = report::section(
        &name,
        &peers,
        &registers.peer,
        &bench.batches,
        reference,
        &machine::conditions(&bench.command()),
    );
    print!("{section}");
    if !bench.dry_run {
        sections::replace(&page(), "bench --peers", &name, &section)?;
    }
    for Peer { label, failure, .. } in peers.iter().chain([&registers.peer]) {
        if let Some(reason) = failure {
            eprintln!("not timed, or not to the end: {label}: {reason}");
        }
    }
    if peers.iter().any(|peer| peer.ours && peer.failure.is_some()) {
        Err("this workspace failed".into())
    } else {
        Ok(())
    }
}

/// Memory and loading in fresh processes, then what they compute, then how long it takes.
fn measure(bench: &Bench, peers: &mut [Peer], registers: &mut Registers, largest: usize) {
    for round in 0..STARTS.min(bench.rounds) {
        for peer in &mut *peers {
            eprintln!("loading, round {}: {}", round + 1, peer.label);
            peer.start();
            if round == 0 {
                peer.first(MEMORY_BATCH);
            }
            peer.stop();
        }
    }
    peers.iter_mut().for_each(Peer::start);
    registers.peer.start();
    for Stage { name: stage, batch, .. } in STAGES {
        eprintln!("comparing: {stage}");
        let largest = batch.unwrap_or(largest);
        let features: Vec<_> = peers.iter_mut().map(|peer| peer.features(stage, largest)).collect();
        let Some(expected) = reference(peers).and_then(|at| features[at].as_ref()) else { return };
        for (peer, features) in peers.iter_mut().zip(&features) {
            if let Some(features) = features {
                peer.compare(stage, largest, features, expected);
            }
        }
    }
    for stage in STAGES {
        for batch in stage.batches(&bench.batches) {
            let stage = stage.name;
            let known = registers.stages.iter().any(|known| known == stage);
            let mut timed: Vec<&mut Peer> = peers.iter_mut().chain(known.then_some(&mut registers.peer)).collect();
            for peer in &mut timed {
                peer.warm_up(stage, batch);
            }
            for round in 0..bench.rounds {
                eprintln!("{stage}, batch {batch}, round {}", round + 1);
                for peer in &mut timed {
                    peer.round();
                }
            }
        }
    }
}

/// Whose features the others are compared with: the first that is not ours; if none runs, the first.
fn reference(peers: &[Peer]) -> Option<usize> {
    let runs = |peer: &Peer| peer.failure.is_none();
    peers.iter().position(|peer| !peer.ours && runs(peer)).or_else(|| peers.iter().position(runs))
}

/// The machine at its best: it computes what a stage needs on registers, without a model.
struct Registers {
    peer: Peer,
    /// Those whose operations are known.
    stages: Vec<String>,
}

/// What every worker reads.
struct Places<'a> {
    model: &'a Path,
    inputs: &'a Path,
}

impl Places<'_> {
    /// Builds this workspace's worker, lets it write the inputs, and gives a peer for each of its devices, and one for the registers.
    fn ours(&self, bench: &Bench, largest: usize) -> Result<(Vec<Peer>, Registers), Failure> {
        let mut build = bench.cargo(&["build", "--release", "--bin", "bench-worker"]);
        if !build.status()?.success() {
            return Err("the worker does not build".into());
        }
        let program = target()?.join("release").join(format!("bench-worker{}", std::env::consts::EXE_SUFFIX));
        let run = |arguments: &[OsString]| {
            let mut command = Command::new(&program);
            let output = command.args(arguments).envs(libtorch::library_path()).stderr(std::process::Stdio::inherit());
            match output.output()? {
                output if output.status.success() => Ok(output.stdout),
                output => Err(Failure::from(format!("{}: {}", program.display(), output.status))),
            }
        };
        run(&["inputs".into(), self.model.into(), self.inputs.into(), largest.to_string().into()])?;
        let devices: Vec<String> = serde_json::from_slice(&run(&["devices".into()])?)?;
        let stages = serde_json::from_slice(&run(&["stages".into(), self.model.into()])?)?;
        let peer = |label: &str, arguments| {
            let launch = Launch { program: program.clone(), arguments, variable: libtorch::library_path() };
            Peer::new(label, true, Ok(launch))
        };
        let of_device = |device: &String| {
            peer(&format!("chinese-clip, {device}"), vec![device.into(), self.model.into(), self.inputs.into()])
        };
        let registers = peer("multiply-adds on registers", vec!["registers".into(), self.model.into()]);
        Ok((devices.iter().map(of_device).collect(), Registers { peer: registers, stages }))
    }

    fn python(&self, bench: &Bench) -> Vec<Peer> {
        let wanted: Vec<_> = PYTHON.into_iter().filter(|(name, _)| bench.wants(name)).collect();
        let graphs = if wanted.iter().any(|(name, _)| GRAPHS.contains(name)) { self.export(bench) } else { Ok(()) };
        let launch = |name: &str| match &graphs {
            Err(reason) if GRAPHS.contains(&name) => Err(format!("no ONNX graphs: {reason}")),
            _ => Ok(self.python_launch(bench, name)),
        };
        wanted.into_iter().map(|(name, label)| Peer::new(label, false, launch(name))).collect()
    }

    fn python_launch(&self, bench: &Bench, name: &str) -> Launch {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        let script = root().join("benches/peers/worker.py");
        let arguments = vec![script.into(), name.into(), self.model.into(), self.inputs.into(), threads.into()];
        Launch { program: bench.oracle.python().into(), arguments, variable: None }
    }

    fn export(&self, bench: &Bench) -> Result<(), String> {
        eprintln!("exporting ONNX graphs");
        let Launch { program, arguments, .. } = self.python_launch(bench, "export");
        match Command::new(&program).args(arguments).output() {
            Err(error) => Err(format!("{}: {error}", program.display())),
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                eprint!("{text}");
                Err(worker::reason(&text).unwrap_or_else(|| output.status.to_string()))
            }
        }
    }

    fn candle(&self, bench: &Bench) -> Option<Peer> {
        bench.wants(CANDLE).then(|| Peer::new(CANDLE, false, self.build_candle()))
    }

    /// Builds candle's worker for this processor, which candle needs to be fast.
    fn build_candle(&self) -> Result<Launch, String> {
        let folder = target().map_err(|error| error.to_string())?.join("candle");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked"])
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTFLAGS", "-C target-cpu=native")
            .current_dir(root().join("benches/peers/candle"))
            .status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err("benches/peers/candle does not build".into());
        }
        let program = folder.join("release").join(format!("candle-peer{}", std::env::consts::EXE_SUFFIX));
        let variable = Some(("MIMALLOC_PURGE_DELAY", "60000".into())); // as this workspace has it
        Ok(Launch { program, arguments: vec![self.model.into(), self.inputs.into()], variable })
    }
}

/// The workspace's folder for what is built.
fn target() -> Result<PathBuf, Failure> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.into())
}
