//! `similarity` and `classify`: shapes of the output, order, standard input, exit codes.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use common::{example, pictures, run, run_with};

#[test]
fn json_is_in_the_order_given() {
    let (circles, sunset) = (example("red-circles.png"), example("sunset.png"));
    let texts = ["海边的日落", "三个红色的圆形", "雪人"];
    let ran = run([
        "similarity",
        &circles,
        &sunset,
        "--model",
        "demo",
        "--json",
        "--text",
        texts[0],
        "--text",
        texts[1],
        texts[2],
    ])
    .exits(0);
    assert_eq!(ran.stderr, "");
    let report = ran.json();
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["model", "device", "dtype", "images"]);
    assert_eq!(
        (&report["model"], &report["device"], &report["dtype"]),
        (&"demo".into(), &"flex".into(), &"f32".into())
    );
    let images = report["images"].as_array().unwrap();
    assert_eq!(images.iter().map(|i| i["source"].as_str().unwrap()).collect::<Vec<_>>(), [&circles, &sunset]);
    for (image, best) in images.iter().zip([1, 0]) {
        let scores = image["scores"].as_array().unwrap();
        assert_eq!(scores.iter().map(|s| s["text"].as_str().unwrap()).collect::<Vec<_>>(), texts);
        let number = |i: usize, name: &str| scores[i][name].as_f64().unwrap();
        let sum: f64 = (0..3).map(|i| number(i, "probability")).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        for i in 0..3 {
            let expected = number(i, "logit").exp() / (0..3).map(|j| number(j, "logit").exp()).sum::<f64>();
            assert!((number(i, "probability") - expected).abs() < 1e-5);
            assert!(i == best || number(best, "logit") > number(i, "logit"), "{image}");
        }
    }
}

#[test]
fn table_is_sorted_and_numbers_come_first() {
    let sunset = example("sunset.png");
    let ran = run(["similarity", &sunset, "--text", "雪人", "海边的日落", "三个红色的圆形"]).exits(0);
    let ran = ran.says("note: no --model given");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], sunset);
    assert!(lines[1].contains(" %") && lines[1].ends_with("  海边的日落"), "{}", ran.stdout);
    let probability = |line: &str| line.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    assert!(lines[1..].is_sorted_by(|a, b| probability(a) >= probability(b)), "{}", ran.stdout);
    assert_eq!(lines.len(), 4);
}

#[test]
fn standard_input_is_an_image_or_texts_but_not_both() {
    let sunset = example("sunset.png");
    let from_file = run(["similarity", &sunset, "--model", "demo", "--text", "日落", "雪人"]).exits(0);
    let picture = std::fs::read(&sunset).unwrap();
    let piped = run_with(["similarity", "-", "--model", "demo", "--text", "日落", "雪人"], &picture).exits(0);
    assert_eq!(piped.stdout.replacen('-', &sunset, 1), from_file.stdout);
    let texts = "\u{feff}日落\r\n\r\n雪人\r\n".as_bytes();
    let piped = run_with(["similarity", &sunset, "--model", "demo", "--texts", "-"], texts).exits(0);
    assert_eq!(piped.stdout, from_file.stdout);
    run(["similarity", "-", "--texts", "-"])
        .exits(2)
        .says("`-` stands for standard input and can be used once, not 2 times");
    run(["similarity", "-", "-", "--text", "日落"]).exits(2);
    run_with(["similarity", "-", "--text", "日落"], b"")
        .exits(1)
        .says("in the picture from standard input")
        .says("the file is empty");
}

#[test]
fn broken_images_are_reported_and_the_others_shown() {
    let folder = tempfile::tempdir().unwrap();
    let truncated = folder.path().join("truncated.jpg");
    let big = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([(x * y) as u8, (x * 7) as u8, (y * 13) as u8]));
    big.save(&truncated).unwrap();
    let bytes = std::fs::read(&truncated).unwrap();
    std::fs::write(&truncated, &bytes[..bytes.len() / 3]).unwrap();
    let text = folder.path().join("text.png");
    std::fs::write(&text, "no picture").unwrap();
    let missing = folder.path().join("missing.png");
    let names = [&truncated, &text, &missing, folder.path()].map(|p: &std::path::Path| p.to_str().unwrap().to_string());
    let good = example("sunset.png");
    let ran = run([
        "similarity",
        &names[0],
        &names[1],
        &good,
        &names[2],
        &names[3],
        "--model",
        "demo",
        "--text",
        "日落",
        "--json",
    ])
    .exits(1)
    .says("cannot decode this JPEG picture")
    .says("not a picture: text that begins with \"no picture\"")
    .says("hint: readable are JPEG, PNG")
    .says("caused by: No such file or directory")
    .says("is a directory, not a picture");
    for name in &names {
        assert!(ran.stderr.contains(name.as_str()), "{name} in {}", ran.stderr);
    }
    let images = ran.json()["images"].as_array().unwrap().clone();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0]["source"], good);
    let ran = run(["similarity", &names[1], "--model", "demo", "--text", "日落", "--json"]).exits(1);
    assert_eq!(ran.json()["images"].as_array().unwrap().len(), 0);
}

#[test]
fn nothing_to_do_is_an_error_before_the_model_is_loaded() {
    let sunset = example("sunset.png");
    run(["similarity", &sunset, "--model", "no such"]).exits(2).says("error: no text given").says("hint: ");
    run(["similarity", "--text", "日落", "--model", "no such"]).exits(2).says("error: no image given");
    run(["classify", &sunset]).exits(2).says("error: no label given");
    run(["similarity", &sunset, "--texts", "missing.txt"]).exits(2).says("cannot read missing.txt");
    let folder = tempfile::tempdir().unwrap();
    let texts = folder.path().join("gbk.txt");
    std::fs::write(&texts, b"cat\n\xc3\xa8\xb0\n").unwrap();
    run(["similarity", &sunset, "--texts", texts.to_str().unwrap()]).exits(2).says("line 2 is not UTF-8").says("iconv");
}

#[test]
fn many_images_keep_their_order_over_batches() {
    let folder = tempfile::tempdir().unwrap();
    let mut names: Vec<String> = pictures(folder.path(), 150).iter().map(|p| p.to_str().unwrap().into()).collect();
    names.reverse();
    let arguments = ["similarity".to_string(), "--json".into(), "--model=demo".into(), "--text=红".into()];
    let report = run(arguments.iter().chain(&names)).exits(0).json();
    let sources: Vec<&str> =
        report["images"].as_array().unwrap().iter().map(|i| i["source"].as_str().unwrap()).collect();
    assert_eq!(sources, names);
}

#[test]
fn model_options_are_checked() {
    let sunset = example("sunset.png");
    let with = |option: &str, value: &str| run(["similarity", &sunset, "--text", "日落", option, value]);
    with("--device", "abacus").exits(2).says("no device `abacus`: unknown name").says("hint: known: flex");
    with("--device", "flex:1").exits(2).says("no device `flex:1`: there is only one").says("hint: write `flex`");
    with("--dtype", "f8").exits(2).says("hint: dtypes are f32, f16, bf16 and int8");
    with("--max-length", "1").exits(2).says("1 is not in 2..");
    with("--dialect", "timm").exits(2).says("possible values: hf, cn_clip");
    with("--model", "no such model")
        .exits(2)
        .says("no checkpoint `no such model`")
        .says("hint: the published names are");
    with("--limit", "pixels=3").exits(2).says("image-pixels");
    with("--limit", "image-pixels=100").exits(1).says("pixels, more than the 100 that a picture may have");
    with("--max-length", "600").exits(0).says("--max-length 600 is more than the model has positions for; 128 is used");
    let report = run(["similarity", &sunset, "--text", "日落", "--dtype", "bf16", "--json"]).exits(0).json();
    assert_eq!(report["dtype"], "bf16");
}

#[test]
fn every_device_prints_the_same_table() {
    let devices = run(["devices", "--json"]).exits(0).json();
    let pictures = ["red-circles.png", "sunset.png"].map(example);
    let texts = ["--dtype=f32", "--model=demo", "--text=三个红色的圆形", "--text=海边的日落", "--text=雪人"];
    let on = |device: &str| {
        run(["similarity", "--device", device].iter().copied().chain(texts).chain(pictures.iter().map(String::as_str)))
            .exits(0)
            .stdout
    };
    let expected = on("flex");
    assert!(expected.contains("三个红色的圆形"), "{expected}");
    for device in devices.as_array().unwrap() {
        assert_eq!(on(device["name"].as_str().unwrap()), expected, "{device}");
    }
}

#[test]
fn a_device_that_is_not_built_in_says_how_to_build_it() {
    let sunset = example("sunset.png");
    let listed = run(["devices"]).exits(0).stdout;
    for backend in ["ndarray", "tch", "cuda"].into_iter().filter(|backend| !listed.contains(backend)) {
        run(["similarity", &sunset, "--text=日落", "--device", backend])
            .exits(2)
            .says(&format!("no device `{backend}`: this build does not have it"))
            .says(&format!("cargo build --release --features {backend}"));
    }
}

#[test]
fn hub_ids_need_the_cache_when_offline() {
    let cache = tempfile::tempdir().unwrap();
    let ran = common::command()
        .args(["similarity", &example("sunset.png"), "--text", "日落", "--offline", "--model", "ViT-B-16"])
        .env("HF_HUB_CACHE", cache.path())
        .output()
        .unwrap();
    let ran = common::Ran::from(ran).exits(2).says("`OFA-Sys/chinese-clip-vit-base-patch16`");
    ran.says("offline").says("hint: ");
}

#[test]
fn environment_names_model_and_device() {
    let sunset = example("sunset.png");
    let with = |name: &str, value: &str| -> common::Ran {
        common::command().args(["similarity", &sunset, "--text", "日落"]).env(name, value).output().unwrap().into()
    };
    assert_eq!(with("CHINESE_CLIP_MODEL", "demo").exits(0).stderr, "");
    with("CHINESE_CLIP_DEVICE", "abacus").exits(2).says("no device `abacus`");
}

#[test]
fn long_and_empty_texts() {
    let sunset = example("sunset.png");
    let long = "落".repeat(600);
    let ran = run(["similarity", &sunset, "--model", "demo", "--text", &long, "", "--json"]).exits(0);
    let ran = ran.says("has 602 tokens and was cut off: 128 are kept");
    assert_eq!(ran.json()["images"][0]["scores"][0]["text"], long.as_str());
    assert_eq!(ran.json()["images"][0]["scores"][1]["text"], "");
}

#[test]
fn classify_sorts_and_cuts() {
    let circles = example("red-circles.png");
    let labels = ["海边的日落", "雪人", "三个红色的圆形"];
    let command = ["classify", &circles, "--model", "demo", "--top", "2", "--labels", labels[0], labels[1], labels[2]];
    let report = run(command.iter().chain(&["--json"])).exits(0).json();
    let scores = report["images"][0]["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 2);
    assert_eq!(scores[0]["label"], labels[2]);
    assert!(scores[0]["probability"].as_f64() > scores[1]["probability"].as_f64());
    let keys: Vec<&String> = scores[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["label", "logit", "probability"]);
    let table = run(command).exits(0).stdout;
    assert_eq!(table.lines().count(), 3);
    assert!(table.lines().nth(1).unwrap().ends_with(labels[2]));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.txt");
    std::fs::write(&file, labels.join("\n")).unwrap();
    let file = file.to_str().unwrap();
    let from_file =
        run(["classify", &circles, "--model", "demo", "--top", "2", "--labels-file", file, "--json"]).exits(0);
    assert_eq!(from_file.json(), report);
    let other =
        run(["classify", &circles, "--model", "demo", "--labels-file", file, "--json", "--template", "{}", "小小的{}"]);
    assert_eq!(other.exits(0).json()["images"][0]["scores"].as_array().unwrap().len(), 3);
    for bad in ["没有", "{}和{}"] {
        run(["classify", &circles, "--labels", "猫", "--template", bad])
            .exits(2)
            .says("the template")
            .says("hint: write");
    }
}
