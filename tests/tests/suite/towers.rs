//! Both towers against the reference, layer by layer, on every device and in every dtype it has.

use std::collections::HashMap;
use std::sync::Arc;

use chinese_clip::{
    ChineseClipModel, DType, Device, Error, FullOutput, Intermediate, Mask, PixelBatch, PreparedModel, Recorder,
    TextInputs, TextOptions, TokenBatch, Tokens, VisionOptions,
};
use chinese_clip_tests::{
    Arrays, Tolerance, assert_close, assert_near, devices, dtypes, golden_checkpoint, tolerance, values,
};

const MODELS: [&str; 5] = ["small", "heads", "odd", "one", "resnet"];

fn cases() -> Vec<(&'static str, Device, DType)> {
    let mut cases = Vec::new();
    for device in devices() {
        for dtype in dtypes(&device) {
            cases.extend(MODELS.map(|model| (model, device.clone(), dtype)));
        }
    }
    cases
}

struct Golden {
    arrays: Arrays,
    model: ChineseClipModel,
    texts: TokenBatch,
    images: PixelBatch,
    dtype: DType,
    device: Device,
}

impl Golden {
    fn load(name: &str, device: &Device, dtype: DType) -> Self {
        let checkpoint = golden_checkpoint(name);
        let config = &checkpoint.config;
        let arrays = Arrays::golden(&format!("{name}/golden.safetensors"));
        let model = ChineseClipModel::load(config, &checkpoint.weights, dtype, device).unwrap();
        let (ids, shape) = arrays.i64("input_ids");
        let (mask, _) = arrays.i64("attention_mask");
        let shape = [shape[0], shape[1]];
        let texts = TokenBatch::new(&ids, Some(&mask), shape, &config.text_config, device).unwrap();
        let (pixels, shape) = arrays.f32("pixel_values");
        let shape = shape.try_into().unwrap();
        let images = PixelBatch::new(pixels, shape, &config.vision_config, device).unwrap();
        Self { arrays, model, texts, images, dtype, device: device.clone() }
    }

    fn close(&self, name: &str, found: &[f32]) {
        let (expected, shape) = self.arrays.f32(name);
        let shape = match shape[..] {
            // A row of a feature map is few numbers, most of them zeros: cosines are of whole maps.
            [b, c, h, w] if !name.ends_with("probabilities") => vec![b, c * h * w],
            _ => shape,
        };
        let name_there = format!("{name} in {:?} on {:?}", self.dtype, self.device);
        assert_close(&name_there, found, &expected, &shape, tolerance(self.dtype));
    }
}

#[test]
fn every_layer_equals_the_reference() {
    for (name, device, dtype) in cases() {
        let golden = Golden::load(name, &device, dtype);
        let mut recorder = Recorder::on();
        golden.model.forward(&golden.texts, &golden.images, &mut recorder);
        let kept: HashMap<String, Intermediate> =
            recorder.into_kept().into_iter().map(|kept| (kept.name.clone(), kept)).collect();
        let expected = golden.arrays.names();
        let mut expected: Vec<&String> =
            expected.iter().filter(|name| name.starts_with("text.") || name.starts_with("vision.")).collect();
        expected.sort();
        let mut found: Vec<&String> = kept.keys().collect();
        found.sort();
        assert_eq!(found, expected, "names of intermediates of {name}");
        for name in expected {
            golden.close(name, &values(&kept[name].flat()));
        }
    }
}

#[test]
fn outputs_equal_the_reference() {
    for (name, device, dtype) in cases() {
        let golden = Golden::load(name, &device, dtype);
        let output = golden.model.forward(&golden.texts, &golden.images, &mut Recorder::off());
        golden.close("logits_per_image", &values(&output.logits_per_image));
        golden.close("logits_per_text", &values(&output.logits_per_text));
        golden.close("loss", &values(&output.loss().unwrap()));
        golden.close("text_embeds", &values(&output.text_embeds));
        golden.close("image_embeds", &values(&output.image_embeds));
    }
}

/// The same intermediates, as the outputs of both towers that the joint model gives.
#[test]
fn states_of_the_joint_model_equal_the_reference() {
    for (name, device, dtype) in cases() {
        let golden = Golden::load(name, &device, dtype);
        let ((ids, shape), (mask, _)) = (golden.arrays.i64("input_ids"), golden.arrays.i64("attention_mask"));
        let tokens = Tokens::Ids(&ids, [shape[0], shape[1]]);
        let texts = TextInputs { attention_mask: Some(Mask::Keys(&mask)), ..TextInputs::new(tokens) };
        let of_texts = TextOptions { output_hidden_states: true, output_attentions: true, use_cache: false };
        let of_images = VisionOptions { output_hidden_states: true, output_attentions: true, ..Default::default() };
        let output = golden.model.run(texts, &golden.images, of_texts, of_images);
        if name == "resnet" {
            assert!(matches!(output, Err(Error::ResNet { .. })));
            continue;
        }
        let FullOutput { joint, text_model_output: text, vision_model_output: vision } = output.unwrap();
        golden.close("logits_per_image", &values(&joint.logits_per_image));
        golden.close("vision.pooled", &values(&vision.pooler_output));
        for (side, first, states, attentions) in [
            ("text", "text.embeddings", text.hidden_states, text.attentions),
            ("vision", "vision.pre_layernorm", vision.hidden_states, vision.attentions),
        ] {
            assert_eq!(states.len(), attentions.len() + 1, "{side} of {name}");
            golden.close(first, &values(&states[0]));
            for (i, attention) in attentions.iter().enumerate() {
                golden.close(&format!("{side}.layer.{i}.attention.probabilities"), &values(attention));
                golden.close(&format!("{side}.layer.{i}.output"), &values(&states[i + 1]));
            }
        }
    }
}

/// Patches are made of levels in another way than of numbers, and must be the same numbers.
#[test]
fn levels_are_their_values() {
    for (name, device, dtype) in cases() {
        let golden = Golden::load(name, &device, dtype);
        let config = golden_checkpoint(name).config.vision_config;
        let (count, edge, patch) = (3, config.image_size, config.patch_size);
        let plane = edge * edge;
        let levels: Vec<u8> = (0..count * plane * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let of_level = |channel: usize, level: u8| f32::from(level) / 51.0 - 2.5 + channel as f32;
        let table = std::array::from_fn(|channel| std::array::from_fn(|level| of_level(channel, level as u8)));
        let value = |i: usize| {
            let (picture, channel, at) = (i / (3 * plane), i / plane % 3, i % plane);
            of_level(channel, levels[(picture * plane + at) * 3 + channel])
        };
        let numbers = (0..levels.len()).map(value).collect();
        let numbers = PixelBatch::new(numbers, [count, 3, edge, edge], &config, &device).unwrap();
        let shape = [count, edge, edge];
        let levels = PixelBatch::of_levels(levels.clone(), Arc::new(table), shape, &config, &device).unwrap();
        assert_eq!(levels.shape(), numbers.shape());
        assert_eq!(values(&levels.pixels(dtype)), values(&numbers.pixels(dtype)), "{name} in {dtype:?} on {device:?}");
        let patches = |batch: &PixelBatch| values(&batch.patches(patch, dtype));
        assert_eq!(patches(&levels), patches(&numbers), "{name} in {dtype:?} on {device:?}");
        let features = |batch| values(&golden.model.get_image_features(batch, &mut Recorder::off()));
        assert_eq!(features(&levels), features(&numbers), "{name} in {dtype:?} on {device:?}");
    }
}

#[test]
fn segments_equal_the_reference() {
    for (name, device, dtype) in cases() {
        let golden = Golden::load(name, &device, dtype);
        let config = golden_checkpoint(name).config.text_config;
        let (ids, shape) = golden.arrays.i64("input_ids");
        let (types, _) = golden.arrays.i64("segments.token_type_ids");
        let batch = TokenBatch::new(&ids, None, [shape[0], shape[1]], &config, &device).unwrap();
        let batch = batch.with_token_type_ids(&types, &config).unwrap();
        let canonical = golden.model.get_text_features(&batch, &mut Recorder::off());
        golden.close("segments.text.features", &values(&canonical));
        golden.close("segments.text.features", &values(&golden.model.clone().prepare().get_text_features(&batch)));
    }
}

#[test]
fn loading_the_prepared_form_equals_preparing_the_loaded_one() {
    // In half formats a ResNet that is loaded has folded weights that were rounded once, the other twice; and on `flex` bf16 is the
    // format of products alone, which `precision.rs` compares.
    let on_flex = |device: &Device| chinese_clip::device("flex").is_ok_and(|flex| flex == *device);
    let differs = |name: &str, device: &Device, dtype: DType| {
        name == "resnet" && dtype != DType::F32 || on_flex(device) && dtype == DType::BF16
    };
    for (name, device, dtype) in cases().into_iter().filter(|(name, device, dtype)| !differs(name, device, *dtype)) {
        let golden = Golden::load(name, &device, dtype);
        let checkpoint = golden_checkpoint(name);
        let loaded = PreparedModel::load(&checkpoint.config, &checkpoint.weights, dtype, &device).unwrap();
        let prepared = golden.model.clone().prepare();
        let (a, b) = (loaded.get_text_features(&golden.texts), prepared.get_text_features(&golden.texts));
        assert_eq!(values(&a), values(&b), "text features of {name}");
        let (a, b) = (loaded.get_image_features(&golden.images), prepared.get_image_features(&golden.images));
        assert_eq!(values(&a), values(&b), "image features of {name}");
    }
}

#[test]
fn bf16_on_flex_is_near_f32_in_every_shape() {
    let flex = chinese_clip::device("flex").unwrap();
    for name in MODELS {
        let (golden, checkpoint) = (Golden::load(name, &flex, DType::F32), golden_checkpoint(name));
        let [wide, short] = [DType::F32, DType::BF16]
            .map(|dtype| PreparedModel::load(&checkpoint.config, &checkpoint.weights, dtype, &flex).unwrap());
        let texts = [&short, &wide].map(|model| model.get_text_features(&golden.texts));
        assert_near(&format!("texts of {name}"), &texts[0], &texts[1]);
        let images = [&short, &wide].map(|model| model.get_image_features(&golden.images));
        assert_near(&format!("images of {name}"), &images[0], &images[1]);
    }
}

#[test]
fn prepared_form_equals_the_canonical_one() {
    for (name, device, dtype) in cases() {
        let golden = Golden::load(name, &device, dtype);
        let canonical = golden.model.forward(&golden.texts, &golden.images, &mut Recorder::off());
        let prepared = golden.model.clone().prepare();
        golden.close("text.features", &values(&prepared.get_text_features(&golden.texts)));
        golden.close("vision.features", &values(&prepared.get_image_features(&golden.images)));
        let output = prepared.forward(&golden.texts, &golden.images);
        let (expected, found) = (canonical.logits_per_image, output.logits_per_image);
        let shape = expected.dims();
        // logits are up to exp(3) = 20 times a cosine
        let base = tolerance(dtype);
        let bound = Tolerance { atol: 20.0 * base.atol, ..base };
        assert_close(name, &values(&found), &values(&expected), &shape, bound);
    }
}
