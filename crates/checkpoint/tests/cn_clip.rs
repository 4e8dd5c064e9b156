//! Files of `cn_clip`: every layout is the same model, its configuration is read off its tensors, and conversion leads back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use chinese_clip_checkpoint::{
    Checkpoint, CheckpointError, ConvertOptions, Dtype, Vocabulary, convert, convert_to_cn_clip,
};
use chinese_clip_config::{ChineseClipConfig, PUBLISHED, PreprocessorConfig, TextConfig, VisionConfig, VisionKind};
use common::{Pickle, data, open_bytes, open_data, open_dir, options, text, torch};

fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(path.to_str().unwrap(), &options())
}

/// Opens a file of this contents.
fn open_pt(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("clip_cn.pt");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

fn vit_config() -> ChineseClipConfig {
    ChineseClipConfig {
        text_config: TextConfig {
            vocab_size: 40,
            hidden_size: 64,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 16,
            max_position_embeddings: 16,
            ..TextConfig::default()
        },
        vision_config: VisionConfig {
            hidden_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 1,
            intermediate_size: 256,
            image_size: 6,
            patch_size: 2,
            ..VisionConfig::default()
        },
        projection_dim: 6,
        ..ChineseClipConfig::default()
    }
}

/// The tiny ViT as a directory of Hugging Face's layout.
fn hf_directory(config: &ChineseClipConfig) -> tempfile::TempDir {
    let weights = std::fs::read(data("tiny_hf.safetensors")).unwrap();
    common::directory(&[("model.safetensors", &weights), ("config.json", config.to_json().as_bytes())])
}

fn assert_same_tensors(found: &Checkpoint, expected: &Checkpoint, what: &str) {
    let names = |checkpoint: &Checkpoint| checkpoint.weights.names().map(str::to_string).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for name in expected.weights.names() {
        let (found, expected) = (found.weights.get(name).unwrap(), expected.weights.get(name).unwrap());
        assert_eq!(found, expected, "{what}: {name}");
    }
    assert_eq!(found.weights.fingerprint(), expected.weights.fingerprint(), "{what}");
}

#[test]
fn layouts_of_a_vit_are_one_model() {
    let hf = open_dir(hf_directory(&vit_config()).path()).unwrap();
    for (file, dropped) in [("clip_cn_tiny.pt", 2), ("clip_cn_flash.pt", 0)] {
        let found = open(&data(file)).unwrap();
        assert_same_tensors(&found, &hf, file);
        assert_eq!(found.config, vit_config(), "{file}");
        assert_eq!(found.preprocessor, PreprocessorConfig::published(6), "{file}");
        assert_eq!((found.vocabulary, found.dir), (Vocabulary::BuiltIn, None), "{file}");
        assert_eq!(found.files, [data(file)]);
        assert!(found.notes[0].contains("1 heads for text and 1 for images are assumed"), "{:?}", found.notes);
        assert_eq!(found.weights.dropped().len(), dropped, "{file}");
        for (name, reason) in found.weights.dropped() {
            assert!(name.starts_with("module.bert.pooler.dense.") && reason.contains("pooler"), "{name}: {reason}");
        }
        let renamed = found.weights.renamed();
        assert!(renamed.iter().any(|(old, new)| old == "module.visual.proj" && new == "visual_projection.weight"));
        assert_eq!(found.weights.shape("logit_scale"), Some(&[][..]), "{file}");
    }
}

#[test]
fn a_resnet_keeps_its_names_below_vision_model() {
    let found = open(&data("clip_cn_resnet.pt")).unwrap();
    let expected = ChineseClipConfig { vision_config: VisionConfig::resnet([1, 2, 1, 1], 2, 64), ..vit_config() };
    assert_eq!(found.config, expected);
    let weights = &found.weights;
    for (name, shape) in [
        ("vision_model.conv1.weight", &[1, 3, 3, 3][..]),
        ("vision_model.bn3.running_var", &[2]),
        ("vision_model.layer1.0.downsample.0.weight", &[8, 2, 1, 1]),
        ("vision_model.layer2.1.conv3.weight", &[16, 4, 1, 1]),
        ("vision_model.layer4.0.bn2.running_mean", &[16]),
        ("vision_model.attnpool.positional_embedding", &[5, 64]),
        ("vision_model.attnpool.c_proj.weight", &[6, 64]),
        ("text_projection.weight", &[6, 64]),
    ] {
        assert_eq!(weights.shape(name), Some(shape), "{name}");
    }
    assert!(!weights.contains("visual_projection.weight"));
    assert!(weights.dropped().iter().all(|(name, _)| name.ends_with("num_batches_tracked")));
    assert_eq!(weights.dropped().len(), 3 + 5 * 3 + 4, "one of each batch norm");

    // Element i of each tensor of the file is ((37 i + c) mod 256 - 128) / 512.
    let code = |value: &f32| (*value * 512.0) as i32 + 128;
    for name in weights.names().filter(|name| *name != "logit_scale") {
        let values = weights.to_f32(name).unwrap();
        let step = |i: usize| if name == "text_projection.weight" { 37 * (i % 64 * 6 + i / 64) } else { 37 * i } as i32;
        let first = code(&values[0]);
        let bad = values.iter().enumerate().find(|(i, value)| code(value) != (first + step(*i)) % 256);
        assert_eq!(bad, None, "{name}");
    }
}

#[test]
fn to_hugging_face_and_back() {
    let place = tempfile::tempdir().unwrap();
    for file in ["clip_cn_tiny.pt", "clip_cn_flash.pt", "clip_cn_resnet.pt"] {
        let input = open(&data(file)).unwrap();
        let directory = place.path().join(format!("{file}.d"));
        convert(&input, &directory, &ConvertOptions::default()).unwrap();
        let converted = open_dir(&directory).unwrap();
        assert_same_tensors(&converted, &input, file);
        assert_eq!(converted.config, input.config, "{file}");
        assert_eq!(converted.preprocessor, input.preprocessor, "{file}");
        let is_resnet = file == "clip_cn_resnet.pt";
        let json = std::fs::read_to_string(directory.join("config.json")).unwrap();
        assert_eq!(json.contains("\"model_type\": \"chinese_clip_resnet\""), is_resnet, "{json}");

        let back = place.path().join(file);
        let report = convert_to_cn_clip(&converted, &back, None, false).unwrap();
        let again = open(&back).unwrap();
        assert_same_tensors(&again, &input, file);
        assert_eq!(again.config, input.config, "{file}");
        assert!(again.weights.dropped().is_empty(), "what was dropped is gone");
        assert_eq!((report.parameters, report.cast.len()), (input.weights.parameters(), 0));
        assert_eq!(report.files, [(file.to_string(), std::fs::metadata(&back).unwrap().len())]);
        let bytes = std::fs::read(&back).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("module.text_projection") && holds("module.bert.encoder.layer.0.attention.self.query.weight"));
        assert_eq!(holds("module.visual.transformer.resblocks.1.attn.in_proj_weight"), !is_resnet);
        convert_to_cn_clip(&input, &back, None, true).unwrap();
        assert_eq!(open(&back).unwrap().weights.fingerprint(), input.weights.fingerprint());

        let wide = place.path().join(format!("{file}.f32.pt"));
        let report = convert_to_cn_clip(&input, &wide, Some(Dtype::F32), false).unwrap();
        assert_eq!(report.cast.len(), input.weights.len());
        let wide = open(&wide).unwrap();
        assert_eq!(wide.weights.dtypes(), [(Dtype::F32, input.weights.len())]);
        for name in input.weights.names() {
            assert_eq!(wide.weights.to_f32(name).unwrap(), input.weights.to_f32(name).unwrap(), "{name}");
        }
    }
}

#[test]
fn what_cn_clip_would_read_as_another_model_is_not_written() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("out.pt");
    let refuses = |input: &Checkpoint, part: &str| {
        let error = convert_to_cn_clip(input, &output, None, false).unwrap_err();
        assert!(matches!(error, CheckpointError::NotCnClip { .. }), "{error}");
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    };
    let with = |change: fn(&mut ChineseClipConfig)| {
        let mut config = vit_config();
        change(&mut config);
        open_dir(hf_directory(&config).path()).unwrap()
    };
    refuses(&with(|c| c.text_config.num_attention_heads = 4), "\"num_attention_heads\": 4 in config.json");
    refuses(&with(|c| c.vision_config.num_attention_heads = 2), "\"num_attention_heads\": 2 in config.json");
    refuses(&with(|c| c.vision_config.hidden_act = chinese_clip_config::Activation::Gelu), "\"hidden_act\": \"gelu\"");
    refuses(&with(|c| c.text_config.layer_norm_eps = 1e-5), "\"layer_norm_eps\": 0.00001");
    refuses(&open_dir(&data("model_safetensors")).unwrap(), "8 wide, which is no multiple of 64");
    refuses(&open_data("f32.bin").unwrap(), "there is no `text_model.embeddings.word_embeddings.weight`");
    // What no result depends on does not count.
    let input = with(|c| c.text_config.hidden_dropout_prob = 0.5);
    convert_to_cn_clip(&input, &output, None, false).unwrap();
}

#[test]
fn nothing_is_overwritten_unasked() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("deep/out.pt");
    let input = open(&data("clip_cn_tiny.pt")).unwrap();
    convert_to_cn_clip(&input, &output, None, false).unwrap();
    let error = convert_to_cn_clip(&input, &output, None, false).unwrap_err();
    assert!(matches!(error, CheckpointError::OutputExists { .. }), "{error}");
    convert_to_cn_clip(&input, &output, Some(Dtype::BF16), true).unwrap();
    assert_eq!(open(&output).unwrap().weights.dtypes()[0].0, Dtype::BF16);
    let itself = open(&output).unwrap();
    assert!(matches!(convert_to_cn_clip(&itself, &output, None, true), Err(CheckpointError::SameDirectory { .. })));
    assert!(matches!(convert_to_cn_clip(&input, place.path(), None, true), Err(CheckpointError::OutputExists { .. })));
    let error = convert_to_cn_clip(&input, &place.path().join("x.pt"), Some(Dtype::I64), true).unwrap_err();
    assert!(matches!(error, CheckpointError::NotWritable { .. }), "{error}");
    assert_eq!(std::fs::read_dir(output.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
}

/// A file with these tensors; a shape takes the first elements of a storage of 512 floats.
fn file(tensors: &[(&str, &[i64])]) -> Vec<u8> {
    let mut pickle = Pickle::new().raw(b"}(");
    for (name, shape) in tensors {
        let strides: Vec<i64> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        pickle = pickle.string(name).tensor(512, 0, shape, &strides);
    }
    torch(&pickle.raw(b"u").stop(), &[("data/0", &[0; 2048])])
}

/// Tensors that a configuration can be read off.
const WHOLE: [(&str, &[i64]); 9] = [
    ("text_projection", &[64, 6]),
    ("visual.proj", &[64, 6]),
    ("bert.embeddings.word_embeddings.weight", &[8, 64]),
    ("bert.embeddings.position_embeddings.weight", &[4, 64]),
    ("bert.embeddings.token_type_embeddings.weight", &[2, 64]),
    ("bert.encoder.layer.0.intermediate.dense.weight", &[2, 64]),
    ("visual.conv1.weight", &[64, 1, 2, 2]),
    ("visual.positional_embedding", &[5, 64]),
    ("visual.transformer.resblocks.0.mlp.c_fc.weight", &[2, 64]),
];

#[test]
fn architectures_that_the_tensors_do_not_tell() {
    let error = open_pt(&file(&WHOLE)).unwrap_err();
    assert!(error.to_string().contains("vision_config.num_channels: is 1, must be 3"), "{error}");
    for (name, shape, part) in [
        ("text_projection", Some(&[60_i64, 6][..]), "the text tower is 60 wide, which is no multiple of 64"),
        ("visual.conv1.weight", Some(&[60, 1, 2, 2]), "the image tower is 60 wide"),
        ("visual.conv1.weight", Some(&[64]), "has the shape [64], not one of 4 dimensions"),
        ("visual.positional_embedding", Some(&[6, 64]), "has 6 rows, not one more than a square"),
        ("visual.positional_embedding", Some(&[0, 64]), "has 0 rows"),
        ("bert.encoder.layer.0.intermediate.dense.weight", None, "there is no `text_model.encoder.layer.0."),
        ("text_projection", None, "there is no `text_projection.weight`"),
        ("text_projection", Some(&[6]), "tensor `text_projection` in"),
        ("text_projection", Some(&[]), "not a matrix: shape []"),
    ] {
        let mut tensors = WHOLE.to_vec();
        let place = tensors.iter().position(|(other, _)| *other == name).unwrap();
        match shape {
            Some(shape) => tensors[place].1 = shape,
            None => drop(tensors.remove(place)),
        }
        let message = text(&open_pt(&file(&tensors)).unwrap_err());
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    let layer = "visual.transformer.resblocks.0.attn";
    let (in_proj, flash) = (format!("{layer}.in_proj_bias"), format!("{layer}.Wqkv.bias"));
    for (more, part) in [
        (&[(in_proj.as_str(), &[7][..])][..], "not query, key and value below each other: shape [7]"),
        (&[(in_proj.as_str(), &[])], "not query, key and value below each other: shape []"),
        (&[(in_proj.as_str(), &[6]), (flash.as_str(), &[6])], "self_attn.q_proj.bias` occurs twice"),
    ] {
        let message = text(&open_pt(&file(&[&WHOLE[..], more].concat())).unwrap_err());
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn every_published_model_is_recognised() {
    let place = tempfile::tempdir().unwrap();
    for model in &PUBLISHED {
        let (width, text_layers, _) = model.text;
        let mut tensors = vec![
            ("text_projection".to_string(), vec![width, model.projection_dim]),
            ("bert.embeddings.word_embeddings.weight".into(), vec![21128, width]),
            ("bert.embeddings.position_embeddings.weight".into(), vec![512, width]),
            ("bert.embeddings.token_type_embeddings.weight".into(), vec![2, width]),
        ];
        let name = |layer| format!("bert.encoder.layer.{layer}.intermediate.dense.weight");
        tensors.extend((0..text_layers).map(|layer| (name(layer), vec![4 * width, width])));
        match model.vision {
            VisionKind::Vit { width, layers, patch, .. } => {
                let positions = (model.image_size / patch).pow(2) + 1;
                tensors.push(("visual.conv1.weight".into(), vec![width, 3, patch, patch]));
                tensors.push(("visual.positional_embedding".into(), vec![positions, width]));
                let name = |layer| format!("visual.transformer.resblocks.{layer}.mlp.c_fc.weight");
                tensors.extend((0..layers).map(|layer| (name(layer), vec![4 * width, width])));
            }
            VisionKind::ResNet50 => {
                tensors.push(("visual.conv3.weight".into(), vec![64, 32, 3, 3]));
                tensors.push(("visual.attnpool.positional_embedding".into(), vec![50, 2048]));
                for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
                    let name = |block| format!("visual.layer{}.{block}.conv1.weight", stage + 1);
                    tensors.extend((0..blocks).map(|block| (name(block), vec![1])));
                }
            }
        }
        let mut end = 0;
        let entries: Vec<String> = tensors
            .into_iter()
            .map(|(name, shape)| {
                let begin = end;
                end += shape.iter().product::<usize>();
                format!(r#""{name}":{{"dtype":"U8","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
            })
            .collect();
        let start = common::safetensors(&format!("{{{}}}", entries.join(",")), &[]);
        let path = place.path().join(format!("{}.safetensors", model.name));
        std::fs::write(&path, &start).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len((start.len() + end) as u64).unwrap(); // a hole: zeros that take no disk
        let found = open(&path).unwrap();
        assert_eq!(found.config, model.config(), "{}", model.name);
        let shapes_of = model.name.trim_start_matches("QA-"); // a fine-tune's shapes do not tell it from its origin
        assert!(found.notes[0].ends_with(&format!("those of {shapes_of}")), "{:?}", found.notes);
    }
}

#[test]
fn what_is_beside_the_weights_is_not_looked_at() {
    let tensors = |pickle: Pickle| {
        let pickle = pickle.raw(b"}(").string("visual.x").tensor(4, 0, &[4], &[1]);
        pickle.string("bert.y").tensor(4, 0, &[2], &[2]).raw(b"u")
    };
    // The optimizer's tensors lie in storages that do not exist, and claim to be huge.
    let state = Pickle(Vec::new()).raw(b"}(").string("exp_avg").tensor(1 << 50, 1 << 40, &[1 << 45], &[1]).raw(b"u").0;
    let pickle = Pickle::new().raw(b"}(").string("epoch").int(3).string("optimizer").raw(&state).string("state_dict");
    let bytes = torch(&tensors(pickle).raw(b"u").stop(), &[("data/0", &[0; 16])]);
    let message = text(&open_pt(&bytes).unwrap_err());
    assert!(message.contains("there is no `text_projection.weight`"), "the weights were read: {message}");
    let found = open_bytes("pytorch_model.bin", &bytes).unwrap().weights;
    assert_eq!(found.names().collect::<Vec<_>>(), ["bert.y", "visual.x"]);
}

#[test]
fn sources() {
    let place = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        let path = place.path().join(to);
        std::fs::copy(data(from), &path).unwrap();
        path
    };
    let refuses = |path: &Path, part: &str| {
        let message = text(&open(path).unwrap_err());
        assert!(message.contains(part), "{part:?} is not in: {message}");
    };
    open(&copy("clip_cn_tiny.pt", "任意 name.pth")).unwrap();
    refuses(&copy("f16.bin", "hf.pt"), "hint: name the directory that holds config.json");
    refuses(&copy("clip_cn_tiny.pt", "clip.json"), "is a file; a checkpoint is a directory");
    refuses(&copy("legacy.bin", "old.pt"), "re-save it with a present-day torch");
    refuses(&copy("attack_reduce.bin", "attack.pt"), "system`, which is code to run");
    refuses(Path::new("models/clip_cn_vit-b-16.pt"), "no such directory or file");
    copy("clip_cn_tiny.pt", "clip_cn_vit-b-16.pt");
    refuses(place.path(), "name the file itself");
}
