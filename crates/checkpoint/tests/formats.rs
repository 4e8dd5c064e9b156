//! The committed checkpoints, written by torch 2.15.0 and safetensors: every number, type and shape of every file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use chinese_clip_checkpoint::{Checkpoint, CheckpointError, Dtype, Vocabulary, Weights};
use common::{data, directory, expected, open_bytes, open_data, open_dir};

fn assert_holds(weights: &Weights, file: &str) {
    let expected = expected();
    let expected = &expected[file];
    let dropped: Vec<&str> = weights.dropped().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(weights.len() + dropped.len(), expected.len(), "{file}");
    for (name, (dtype, shape, values)) in expected {
        if dropped.contains(&name.as_str()) {
            continue;
        }
        let renamed = weights.renamed().iter().find(|(old, _)| old == name).map(|(_, new)| new);
        let name = renamed.unwrap_or(name);
        let tensor = weights.get(name).unwrap_or_else(|| panic!("{file}: {name}"));
        assert_eq!(tensor.dtype.torch_name(), dtype, "{file}: {name}");
        assert_eq!(tensor.shape, shape, "{file}: {name}");
        assert_eq!(tensor.bytes.len(), tensor.len() * tensor.dtype.size(), "{file}: {name}");
        if tensor.dtype.is_float() {
            assert_eq!(&weights.to_f32(name).unwrap(), values, "{file}: {name}");
            weights.release(name);
            assert_eq!(&weights.to_f32(name).unwrap(), values, "{file}: {name}, read again after its release");
        }
    }
}

#[test]
fn every_readable_file_holds_what_python_put_in() {
    let files = expected();
    assert!(files.len() > 15);
    for file in files.keys().filter(|file| *file != "model") {
        assert_holds(&open_data(file).unwrap().weights, file);
    }
}

#[test]
fn shards_as_save_pretrained_writes_them() {
    let mut fingerprints = Vec::new();
    for folder in ["model_safetensors", "model_bin"] {
        let checkpoint = open_dir(&data(folder)).unwrap();
        assert_eq!(checkpoint.files.len(), 2, "{folder}");
        assert_eq!(checkpoint.config.projection_dim, 6);
        assert_eq!(checkpoint.vocabulary, Vocabulary::BuiltIn);
        assert_eq!(checkpoint.notes.len(), 2, "no preprocessor, no vocabulary: {:?}", checkpoint.notes);
        assert!(checkpoint.weights.renamed().is_empty() && checkpoint.weights.dropped().is_empty());
        assert_holds(&checkpoint.weights, "model");
        fingerprints.push(checkpoint.weights.fingerprint_hex());
    }
    assert_eq!(fingerprints[0], fingerprints[1], "the fingerprint does not depend on the container");
}

#[test]
fn fingerprint_depends_on_types_and_values_alone() {
    let of = |file: &str| open_data(file).unwrap().weights.fingerprint_hex();
    assert_eq!(of("f32.bin"), of("f32.safetensors"));
    assert_eq!(of("f16.bin"), of("training.bin"), "a prefix is not part of a name");
    assert_ne!(of("f32.bin"), of("f16.bin"));
    let mut bytes = std::fs::read(data("f32.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 0x10;
    assert_ne!(of("f32.safetensors"), open_bytes("model.safetensors", &bytes).unwrap().weights.fingerprint_hex());
}

#[test]
fn old_names_are_renamed_and_buffers_dropped_and_both_reported() {
    let weights = open_data("old_names.bin").unwrap().weights;
    let names: Vec<&str> = weights.names().collect();
    let norm = ["text_model.embeddings.LayerNorm.bias", "text_model.embeddings.LayerNorm.weight"];
    assert_eq!(names, ["logit_scale", norm[0], norm[1]]);
    assert_eq!(weights.renamed().len(), 2);
    let dropped: Vec<&str> = weights.dropped().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(dropped.iter().filter(|name| name.ends_with("position_ids")).count(), 2);
    assert_eq!(dropped.iter().filter(|name| name.starts_with("text_model.pooler.")).count(), 2);
    assert_eq!(weights.parameters(), 9);
}

#[test]
fn views_share_a_storage_and_only_strided_ones_are_copied() {
    let weights = open_data("views.bin").unwrap().weights;
    for (name, copied) in [
        ("whole", false),
        ("alias", false),
        ("rows", false),
        ("one", false),
        ("transposed", true),
        ("columns", true),
        ("steps", true),
    ] {
        let is_copy = matches!(weights.get(name).unwrap().bytes, std::borrow::Cow::Owned(_));
        assert_eq!(is_copy, copied, "{name}");
    }
}

#[test]
fn embedded_bytes() {
    static BYTES: &[u8] = include_bytes!("data/f16.safetensors");
    let checkpoint = Checkpoint::from_bytes("{}", "{}", BYTES).unwrap();
    assert_holds(&checkpoint.weights, "f16.safetensors");
    assert_eq!(checkpoint.weights.metadata()["format"], "pt");
    assert_eq!(checkpoint.weights.dtypes(), [(Dtype::F16, 5)]);
    assert!(checkpoint.dir.is_none());
    assert!(matches!(Checkpoint::from_bytes("{}", "{}", &BYTES[..40]), Err(CheckpointError::Truncated { .. })));
    assert!(matches!(Checkpoint::from_bytes("[]", "{}", BYTES), Err(CheckpointError::Config { .. })));
}

#[test]
fn precedence_of_files_is_that_of_transformers() {
    let (f32, f16) = (std::fs::read(data("f32.safetensors")).unwrap(), std::fs::read(data("f16.bin")).unwrap());
    let both = directory(&[
        ("model.safetensors", &f32),
        ("pytorch_model.bin", &f16),
        ("vocab.txt", b"[PAD]"),
        ("tokenizer.json", b"{}"),
        ("preprocessor_config.json", br#"{"size": 30}"#),
    ]);
    let checkpoint = open_dir(both.path()).unwrap();
    assert_eq!(checkpoint.files, [both.path().join("model.safetensors")]);
    assert_eq!(checkpoint.vocabulary, Vocabulary::TokenizerJson(both.path().join("tokenizer.json")));
    assert!(checkpoint.notes.is_empty());
    let text = directory(&[("pytorch_model.bin", &f16), ("vocab.txt", b"[PAD]")]);
    let checkpoint = open_dir(text.path()).unwrap();
    assert_eq!(checkpoint.vocabulary, Vocabulary::VocabTxt(text.path().join("vocab.txt")));
    assert_eq!(checkpoint.notes.len(), 1, "{:?}", checkpoint.notes);
}

#[test]
fn the_format_s_own_reader_agrees_on_what_it_reads() {
    for name in ["f32", "f16", "bf16", "f64"] {
        let bytes = std::fs::read(data(&format!("{name}.safetensors"))).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let ours = open_bytes("model.safetensors", &bytes).unwrap().weights;
        assert_eq!(ours.len(), theirs.len());
        for (name, view) in theirs.iter() {
            let tensor = ours.get(name).unwrap();
            assert_eq!((tensor.shape, tensor.bytes.as_ref()), (view.shape(), view.data()), "{name}");
        }
    }
}

#[test]
fn what_is_no_number_is_refused_by_name_and_index() {
    let header = r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    let file = |third: f32| {
        let data: Vec<u8> = [1.0, 2.0, third, 4.0].iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
        open_bytes("model.safetensors", &common::safetensors(header, &data)).unwrap().weights
    };
    assert_eq!(file(3.0).to_f32("w").unwrap(), [1.0, 2.0, 3.0, 4.0]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = file(bad).to_f32("w").unwrap_err();
        assert!(matches!(&error, CheckpointError::NotFinite { tensor, index: 2, .. } if tensor == "w"), "{error}");
    }
    assert!(matches!(file(3.0).to_f32("v"), Err(CheckpointError::NoSuchTensor { .. })));
    let integers = open_data("integers.bin").unwrap().weights;
    assert!(matches!(integers.to_f32("counts"), Err(CheckpointError::NotFloat { dtype: Dtype::I64, .. })));
}
