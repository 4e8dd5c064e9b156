//! `embed --features patches`: shapes, layers and sizes, going on, refusing to mix.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::Path;

use common::{example, pictures, run};

/// The shape and the numbers of a `.npy` file.
fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let shape: Vec<usize> = shape.split(", ").map(|size| size.parse().unwrap()).collect();
    let values: Vec<f32> = bytes[128..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(values.len(), shape.iter().product::<usize>(), "{header}");
    (shape, values)
}

fn meta(path: &Path) -> serde_json::Value {
    let sidecar = format!("{}.meta.json", path.to_str().unwrap());
    serde_json::from_str(&std::fs::read_to_string(sidecar).unwrap()).unwrap()
}

/// The demonstration model's tower: edge of a picture and of a patch, width, layers.
fn tower() -> [usize; 4] {
    let config = include_str!("../../model/demo/config.json");
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    let vision = &config["vision_config"];
    ["image_size", "patch_size", "hidden_size", "num_hidden_layers"].map(|key| vision[key].as_u64().unwrap() as usize)
}

#[test]
fn rows_are_grids_of_patches_and_the_file_goes_on() {
    let [edge, patch, width, layers] = tower();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("patches.npy");
    let path = output.to_str().unwrap();
    let (a, b) = (example("sunset.png"), example("snowman.png"));
    let patches = ["--features", "patches", "--model", "demo"];
    run(["embed", &a, "-o", path].into_iter().chain(patches)).exits(0).says("1 embedded");
    run(["embed", &a, &b, "-o", path].into_iter().chain(patches)).exits(0).says("1 embedded, 1 there already");
    let (shape, values) = npy(&output);
    assert_eq!(shape, [2, edge / patch, edge / patch, width]);
    assert!(values.iter().all(|value| value.is_finite()));
    let meta = meta(&output);
    let expected =
        serde_json::json!({"layer": layers, "image_size": [edge, edge], "grid": [edge / patch, edge / patch]});
    assert_eq!((&meta["patches"], &meta["width"], &meta["normalized"]), (&expected, &width.into(), &false.into()));
    let rows = std::fs::read_to_string(folder.path().join("patches.npy.rows.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 2);
    let at_once = folder.path().join("at-once");
    let named = ["embed", &b, &a, "-o", at_once.to_str().unwrap(), "--layer", &layers.to_string()];
    run(named.into_iter().chain(patches)).exits(0);
    let (_, others) = npy(&at_once);
    let (first, second) = values.split_at(values.len() / 2);
    let (other_second, other_first) = others.split_at(values.len() / 2);
    let near = |x: &[f32], y: &[f32]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-4 * (1.0 + y.abs()));
    assert!(near(first, other_first) && near(second, other_second) && !near(first, second));
}

#[test]
fn layers_and_sizes_are_chosen() {
    let [_, patch, width, layers] = tower();
    let folder = tempfile::tempdir().unwrap();
    let images = pictures(&folder.path().join("pictures"), 3);
    let directory = images[0].parent().unwrap().to_str().unwrap();
    let (height, across) = (patch * 3 + 1, patch * 2);
    let mut seen: Vec<Vec<f32>> = Vec::new();
    for layer in 0..=layers {
        let output = folder.path().join(format!("{layer}.npy"));
        let size = format!("{height}x{across}");
        let arguments = ["embed", directory, "--features", "patches", "--model", "demo", "--image-size", &size];
        let layer = layer.to_string();
        run(arguments.into_iter().chain(["-o", output.to_str().unwrap(), "--layer", &layer])).exits(0);
        let (shape, values) = npy(&output);
        assert_eq!(shape, [3, 3, 2, width]);
        assert_eq!(meta(&output)["patches"]["image_size"], serde_json::json!([height, across]));
        assert!(seen.iter().all(|other| *other != values), "layer {layer} is another");
        seen.push(values);
    }
}

#[test]
fn files_of_patches_are_not_mixed() {
    let [edge, _, _, layers] = tower();
    let folder = tempfile::tempdir().unwrap();
    let image = example("sunset.png");
    let output = folder.path().join("out.npy");
    let path = output.to_str().unwrap();
    let run =
        |more: &[&str]| run(["embed", &image, "--model", "demo", "-o", path].into_iter().chain(more.iter().copied()));
    let patches = ["--features", "patches"];
    run(&patches).exits(0);
    let before = std::fs::read(&output).unwrap();
    run(&[]).exits(2).says(&format!("they are patches of layer {layers} of pictures of {edge}x{edge}, not embeddings"));
    run(&["--features", "patches", "--layer", "0"]).exits(2).says("not patches of layer 0");
    run(&["--features", "patches", "--image-size", "40x40"]).exits(2).says("of pictures of 40x40");
    run(&["--features", "patches", "--dialect", "cn_clip"]).exits(2).says("fingerprint is");
    assert_eq!(std::fs::read(&output).unwrap(), before);
    let of_patches = meta(&output);
    std::fs::remove_file(&output).unwrap();
    std::fs::remove_file(folder.path().join("out.npy.rows.jsonl")).unwrap();
    run(&[]).exits(0);
    assert_ne!(meta(&output)["fingerprint"], of_patches["fingerprint"]);
    assert!(meta(&output).get("patches").is_none());
    run(&patches).exits(2).says("they are embeddings, not patches of layer");
}

#[test]
fn what_cannot_be_is_said() {
    let [_, patch, _, layers] = tower();
    let image = example("sunset.png");
    let refused = |arguments: &[&str]| {
        run(["embed", &image, "--model", "demo"].into_iter().chain(arguments.iter().copied())).exits(2)
    };
    let patches = ["--features", "patches", "-o", "never-written.npy"];
    let with = |more: &[&str]| refused(&[&patches[..], more].concat());
    let beyond = (layers + 1).to_string();
    with(&["--layer", &beyond])
        .says(&format!("hidden state {beyond} was asked for, and the tower has those from 0 to {layers}"));
    with(&["--text", "日落"]).says("a text has no patches").says("hint: leave out `--text`");
    with(&["--format", "jsonl"]).says("patch features are written as npy, not as jsonl");
    let small = format!("{}x{patch}", patch - 1);
    with(&["--image-size", &small]).says("has no patch of the model");
    with(&["--image-size", "100000"]).says("must lie between");
    with(&["--image-size", "wide"]).says("write HEIGHTxWIDTH");
    refused(&["--features", "patches"]).says("npy needs a file to write to");
    refused(&["--features", "patches", "-o", "x.parquet"]).says("not as parquet");
    refused(&["--layer", "1"]).says("--layer says which patch features").says("hint: add `--features patches`");
    refused(&["--image-size", "64"]).says("--image-size says which");
    let resnet = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/resnet");
    let arguments = ["embed", &image, "--model", resnet.to_str().unwrap(), "--features", "patches"];
    run(arguments.into_iter().chain(["-o", "never-written.npy"])).exits(2).says("a ResNet has no patch features");
    assert!(!Path::new("never-written.npy").exists());
}
