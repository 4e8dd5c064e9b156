//! Random damage to small files: whatever the bytes, opening and reading gives values or an error, never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::PathBuf;

use common::{Pickle, data, options, torch};
use proptest::prelude::*;

/// Opens and reads everything. The directory is reused: making one per case would be most of the time.
fn read_all(name: &str, bytes: &[u8]) {
    thread_local! {
        static DIR: tempfile::TempDir = common::directory(&[]);
    }
    let dir: PathBuf = DIR.with(|dir| dir.path().into());
    std::fs::remove_file(dir.join(name)).ok();
    std::fs::write(dir.join(name), bytes).unwrap();
    if let Ok(checkpoint) = chinese_clip_checkpoint::Checkpoint::open(dir.to_str().unwrap(), &options()) {
        let weights = checkpoint.weights;
        for tensor in weights.names() {
            let _ = weights.to_f32(tensor);
            weights.release(tensor);
        }
        weights.fingerprint();
    }
    std::fs::remove_file(dir.join(name)).unwrap();
}

fn damage(bytes: &mut Vec<u8>, edits: &[(prop::sample::Index, u8, u8)]) {
    for (at, kind, value) in edits {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match kind % 5 {
            0 => bytes[at] = *value,
            1 => bytes[at] ^= 1 << (value % 8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, *value),
            _ => drop(bytes.remove(at)),
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn damaged_torch_files(which in 0..4_usize, edits in edits()) {
        let name = ["f16.bin", "views.bin", "training.bin", "protocol4.bin"][which];
        let mut bytes = std::fs::read(data(name)).unwrap();
        damage(&mut bytes, &edits);
        read_all("pytorch_model.bin", &bytes);
    }

    #[test]
    fn damaged_files_of_cn_clip(edits in edits(), resnet in any::<bool>()) {
        thread_local! {
            static DIR: tempfile::TempDir = common::directory(&[]);
        }
        let mut bytes = std::fs::read(data(if resnet { "clip_cn_resnet.pt" } else { "clip_cn_flash.pt" })).unwrap();
        // The table of tensors comes first in the file and the directory of the archive last; between them there are numbers.
        let table = bytes.len().min(16384);
        let mut start = bytes.drain(..table).collect();
        damage(&mut start, &edits);
        start.append(&mut bytes);
        let path = DIR.with(|dir| dir.path().join("clip_cn.pt"));
        std::fs::remove_file(&path).ok();
        std::fs::write(&path, &start).unwrap();
        if let Ok(checkpoint) = chinese_clip_checkpoint::Checkpoint::open(path.to_str().unwrap(), &options()) {
            checkpoint.weights.fingerprint();
        }
    }

    #[test]
    fn damaged_pickles(edits in edits()) {
        let mut pickle = Pickle::new()
            .global("collections", "OrderedDict").raw(b")R(")
            .string("w").tensor(4, 1, &[1, 3], &[9, 1]).string("v").tensor(4, 0, &[2, 2], &[1, 2])
            .raw(b"u}(").string("_metadata").raw(b"}ub").stop();
        damage(&mut pickle, &edits);
        read_all("pytorch_model.bin", &torch(&pickle, &[("data/0", &[0; 16])]));
    }

    #[test]
    fn random_pickles(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all("pytorch_model.bin", &torch(&pickle, &[("data/0", &[0; 16])]));
    }

    #[test]
    fn damaged_safetensors(which in 0..2_usize, edits in edits()) {
        let mut bytes = std::fs::read(data(["f32.safetensors", "bf16.safetensors"][which])).unwrap();
        damage(&mut bytes, &edits);
        read_all("model.safetensors", &bytes);
    }

    #[test]
    fn damaged_indices(edits in edits()) {
        let mut bytes = br#"{"metadata":{"total_size":8},"weight_map":{"logit_scale":"a.safetensors","b":"c.bin"}}"#.to_vec();
        damage(&mut bytes, &edits);
        read_all("model.safetensors.index.json", &bytes);
    }
}
