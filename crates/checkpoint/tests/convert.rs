//! Conversion: what is written, what is refused, and that a failure leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use chinese_clip_checkpoint::{Checkpoint, CheckpointError, ConvertOptions, Dtype, Vocabulary, convert};
use common::{data, directory, open_bytes, open_data, open_dir, safetensors};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn all(checkpoint: &Checkpoint) -> Vec<(String, Vec<f32>)> {
    checkpoint.weights.names().map(|name| (name.to_string(), checkpoint.weights.to_f32(name).unwrap())).collect()
}

#[test]
fn a_clean_directory() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("deep/er");
    let input = open_data("old_names.bin").unwrap();
    let options = ConvertOptions {
        tokenizer_json: Some("{}".into()),
        vocab_txt: Some("[PAD]\n".into()),
        ..ConvertOptions::default()
    };
    let report = convert(&input, &output, &options).unwrap();
    assert_eq!((report.renamed.len(), report.dropped.len(), report.cast.len()), (2, 4, 0));
    assert_eq!((report.tensors, report.parameters), (3, 9));
    let files = ["model.safetensors", "config.json", "preprocessor_config.json", "vocab.txt", "tokenizer.json"];
    assert_eq!(report.files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), files);
    assert_eq!(names(&output).len(), 5);
    assert_eq!(names(&place.path().join("deep")), ["er"], "no temporary directory is left");

    let again = open_dir(&output).unwrap();
    assert_eq!(all(&again), all(&input));
    assert_eq!(again.config, input.config);
    assert_eq!(again.preprocessor, input.preprocessor);
    assert!(matches!(again.vocabulary, Vocabulary::TokenizerJson(_)));
    assert!(again.notes.is_empty() && again.weights.renamed().is_empty() && again.weights.dropped().is_empty());
    assert_eq!(again.weights.fingerprint(), input.weights.fingerprint());
    assert_eq!(again.weights.metadata()["format"], "pt");
    assert_eq!(again.weights.metadata()["source"], input.source);
    assert_eq!(again.weights.metadata()["source_fingerprint"], report.source_fingerprint);
    let bytes = std::fs::read(output.join("model.safetensors")).unwrap();
    assert_eq!(::safetensors::SafeTensors::deserialize(&bytes).unwrap().len(), 3, "the format's own reader takes it");
}

#[test]
fn casts() {
    let place = tempfile::tempdir().unwrap();
    for (file, dtype, found, cast) in [
        ("f32.bin", Some(Dtype::F16), Dtype::F16, 5),
        ("f32.safetensors", Some(Dtype::BF16), Dtype::BF16, 5),
        ("f16.bin", Some(Dtype::F32), Dtype::F32, 5),
        ("f64.bin", None, Dtype::F32, 5),
        ("bf16.bin", None, Dtype::BF16, 0),
        ("model_bin", Some(Dtype::F16), Dtype::F16, 0),
    ] {
        let input = if file == "model_bin" { open_dir(&data(file)).unwrap() } else { open_data(file).unwrap() };
        let output = place.path().join(file);
        let report = convert(&input, &output, &ConvertOptions { dtype, ..ConvertOptions::default() }).unwrap();
        assert_eq!(report.cast.len(), if file == "model_bin" { input.weights.len() } else { cast }, "{file}");
        let again = open_dir(&output).unwrap();
        assert_eq!(again.weights.dtypes(), [(found, input.weights.len())], "{file}");
        assert_eq!(all(&again), all(&input), "{file}");
        let config = std::fs::read_to_string(output.join("config.json")).unwrap();
        assert!(config.contains(&format!("\"torch_dtype\": \"{}\"", found.torch_name())), "{config}");
    }
}

#[test]
fn mixed_types_and_integers_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let input = open_data("integers.bin").unwrap();
    let output = place.path().join("out");
    convert(&input, &output, &ConvertOptions { dtype: Some(Dtype::F16), ..ConvertOptions::default() }).unwrap();
    let again = open_dir(&output).unwrap();
    for name in input.weights.names() {
        assert_eq!(again.weights.get(name), input.weights.get(name));
    }
}

#[test]
fn values_that_do_not_fit_leave_nothing_behind() {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let file = |v: f32| safetensors(header, &[1.0_f32.to_le_bytes(), v.to_le_bytes()].concat());
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("out");
    for (value, dtype, overflow) in [
        (70000.0, Some(Dtype::F16), true),
        (-70000.0, Some(Dtype::F16), true),
        (f32::NAN, None, false),
        (f32::INFINITY, Some(Dtype::BF16), false),
    ] {
        let input = open_bytes("model.safetensors", &file(value)).unwrap();
        let error = convert(&input, &output, &ConvertOptions { dtype, ..ConvertOptions::default() }).unwrap_err();
        match error {
            CheckpointError::Overflow { tensor, index: 1, dtype: Dtype::F16, .. } if overflow => {
                assert_eq!(tensor, "w");
            }
            CheckpointError::NotFinite { tensor, index: 1, .. } if !overflow => assert_eq!(tensor, "w"),
            other => panic!("{value}: {other}"),
        }
        assert!(names(place.path()).is_empty(), "{:?}", names(place.path()));
    }
}

#[test]
fn only_floats_of_up_to_32_bits_are_written() {
    let place = tempfile::tempdir().unwrap();
    let input = open_data("f32.bin").unwrap();
    for dtype in [Dtype::F64, Dtype::I64, Dtype::Bool] {
        let options = ConvertOptions { dtype: Some(dtype), ..ConvertOptions::default() };
        let error = convert(&input, &place.path().join("out"), &options).unwrap_err();
        assert!(matches!(error, CheckpointError::NotWritable { .. }), "{error}");
    }
    assert!(names(place.path()).is_empty());
}

#[test]
fn nothing_is_overwritten_unasked() {
    let place = tempfile::tempdir().unwrap();
    let input = open_data("f32.bin").unwrap();
    let output = place.path().join("out");
    let plain = ConvertOptions::default();
    let over = ConvertOptions { overwrite: true, ..ConvertOptions::default() };

    std::fs::create_dir(&output).unwrap();
    convert(&input, &output, &plain).expect("an empty directory is as good as none");
    let error = convert(&input, &output, &plain).unwrap_err();
    assert!(matches!(error, CheckpointError::OutputExists { foreign: None, .. }), "{error}");
    let half = ConvertOptions { dtype: Some(Dtype::F16), ..over.clone() };
    convert(&input, &output, &half).unwrap();
    assert_eq!(open_dir(&output).unwrap().weights.dtypes(), [(Dtype::F16, 5)]);
    assert_eq!(names(place.path()), ["out"], "the old one is gone");

    std::fs::write(output.join("thesis.txt"), "irreplaceable").unwrap();
    let error = convert(&input, &output, &over).unwrap_err();
    assert!(
        matches!(&error, CheckpointError::OutputExists { foreign: Some(file), .. } if file == "thesis.txt"),
        "{error}"
    );
    assert!(output.join("thesis.txt").exists());

    let file = place.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(convert(&input, &file, &over), Err(CheckpointError::OutputExists { .. })));
    assert!(matches!(convert(&input, &file.join("below"), &plain), Err(CheckpointError::Write { .. })));

    let dir = directory(&[("pytorch_model.bin", &std::fs::read(data("f32.bin")).unwrap())]);
    let input = open_dir(dir.path()).unwrap();
    assert!(matches!(convert(&input, dir.path(), &over), Err(CheckpointError::SameDirectory { .. })));
    assert_eq!(names(dir.path()), ["config.json", "pytorch_model.bin"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    // A file-size limit stands in for the disk: the shell lowers it, ignores its signal, and runs this test program again.
    let variable = "CHINESE_CLIP_TEST_SMALL_DISK";
    if let Some(place) = std::env::var_os(variable) {
        let place = Path::new(&place);
        let input = open_dir(&data("model_safetensors")).unwrap();
        let error = convert(&input, &place.join("out"), &ConvertOptions::default()).unwrap_err();
        assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
        assert!(names(place).is_empty(), "{:?}", names(place));
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact a_full_disk_leaves_nothing_behind -q >/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .env(variable, place.path())
        .status()
        .unwrap();
    assert!(status.success());
}
