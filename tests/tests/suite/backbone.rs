//! The image towers as backbones against the reference: pictures of any size, states of every layer, feature maps, masked patches.

use burn::tensor::Tensor;
use chinese_clip::preprocess::Pixels;
use chinese_clip::{
    ChineseClip, ChineseClipModel, ChineseClipVisionModel, DType, Device, Error, ImageTower, Keep, KeptPatches,
    LoadOptions, PatchOptions, Picture, PixelBatch, PreparedModel, PreprocessorConfig, Recorder, VisionError,
    VisionOptions, VisionStates,
};
use chinese_clip_nn::resize_positions;
use chinese_clip_tests::{Arrays, assert_close, dtypes, golden_checkpoint, quick_devices, tolerance, values};

/// Model, pictures, height, width.
const CASES: [(&str, usize, usize, usize); 8] = [
    ("small", 2, 64, 64),
    ("small", 1, 96, 48),
    ("small", 1, 103, 47),
    ("small", 1, 64, 79),
    ("small", 1, 70, 70),
    ("small", 2, 16, 16),
    ("odd", 1, 131, 100),
    ("one", 2, 33, 50),
];
const RESNET_CASES: [(usize, usize, usize); 3] = [(1, 64, 64), (1, 75, 102), (2, 32, 33)];
const ALL: Keep = Keep { hidden_states: true, attentions: true };

fn golden() -> Arrays {
    Arrays::golden("vision/golden.safetensors")
}

/// The numbers of `vision.py`.
fn pixels(count: usize, height: usize, width: usize) -> (Vec<f32>, [usize; 4]) {
    let number = |i: usize| (i * i % 1009 * 7 + i * 31) % 1009;
    let values = (0..count * 3 * height * width).map(|i| (number(i) as f64 / 252.25 - 2.0) as f32).collect();
    (values, [count, 3, height, width])
}

fn batch(model: &str, count: usize, height: usize, width: usize, device: &Device) -> PixelBatch {
    let (values, shape) = pixels(count, height, width);
    PixelBatch::any_size(values, shape, &golden_checkpoint(model).config.vision_config, device).unwrap()
}

fn tower(model: &str, dtype: DType, device: &Device) -> ChineseClipVisionModel {
    ChineseClipVisionModel::from_checkpoint(&golden_checkpoint(model), dtype, device).unwrap()
}

fn close<const D: usize>(golden: &Arrays, name: &str, found: &Tensor<D>, dtype: DType) {
    let (expected, shape) = golden.f32(name);
    assert_eq!(found.dims().to_vec(), shape, "shape of {name}");
    let rows = if name.contains("layer") { vec![shape[0], expected.len() / shape[0]] } else { shape };
    let name = format!("{name} in {dtype:?} on {:?}", found.device());
    assert_close(&name, &values(found), &expected, &rows, tolerance(dtype));
}

fn every_device_and_dtype(mut check: impl FnMut(&Device, DType)) {
    for device in quick_devices() {
        for dtype in dtypes(&device) {
            check(&device, dtype);
        }
    }
}

fn check_states(golden: &Arrays, at: &str, states: &VisionStates, dtype: DType) {
    let count = |kind: &str| golden.names().iter().filter(|name| name.starts_with(&format!("{at}.{kind}."))).count();
    let found = (states.hidden_states.len(), states.attentions.len());
    assert_eq!(found, (count("hidden_states"), count("attentions")), "{at}");
    close(golden, &format!("{at}.pooler_output"), &states.pooler_output, dtype);
    for (i, state) in states.hidden_states.iter().enumerate() {
        close(golden, &format!("{at}.hidden_states.{i}"), state, dtype);
    }
    let last = states.hidden_states.len() - 1;
    close(golden, &format!("{at}.hidden_states.{last}"), &states.last_hidden_state, dtype);
    for (i, attention) in states.attentions.iter().enumerate() {
        close(golden, &format!("{at}.attentions.{i}"), attention, dtype);
    }
}

#[test]
fn states_at_any_size_equal_the_reference() {
    let golden = golden();
    every_device_and_dtype(|device, dtype| {
        for (model, count, height, width) in CASES {
            let (tower, batch) = (tower(model, dtype, device), batch(model, count, height, width, device));
            let at = format!("{model}.{height}x{width}");
            let (canonical, prepared) = (tower.vision_model(), tower.vision_model().clone().prepare());
            check_states(&golden, &at, &canonical.states(&batch, ALL), dtype);
            check_states(&golden, &at, &prepared.states(&batch, ALL), dtype);
            let pooled = format!("{at}.pooler_output");
            close(&golden, &pooled, &canonical.forward(&batch, &mut Recorder::off()).pooler_output, dtype);
            close(&golden, &pooled, &prepared.forward(&batch), dtype);
        }
    });
}

#[test]
fn features_are_the_patches_of_a_hidden_state() {
    let golden = golden();
    every_device_and_dtype(|device, dtype| {
        for (model, count, height, width) in CASES {
            let (tower, batch) = (tower(model, dtype, device), batch(model, count, height, width, device));
            let (canonical, prepared) = (tower.vision_model(), tower.vision_model().clone().prepare());
            for layer in 0..=prepared.depth() {
                let (expected, shape) = golden.f32(&format!("{model}.{height}x{width}.hidden_states.{layer}"));
                let without_class: Vec<f32> =
                    expected.chunks(shape[1] * shape[2]).flat_map(|picture| picture[shape[2]..].to_vec()).collect();
                let [rows, columns] = prepared.grid(&batch);
                let shape = [count, rows, columns, shape[2]];
                for features in [canonical.features(&batch, layer), prepared.features(&batch, layer)] {
                    let features = features.unwrap();
                    assert_eq!(features.dims(), shape);
                    assert_close("features", &values(&features), &without_class, &shape, tolerance(dtype));
                }
            }
            let beyond = prepared.depth() + 1;
            for features in [canonical.features(&batch, beyond), prepared.features(&batch, beyond)] {
                let error = features.unwrap_err();
                assert!(
                    matches!(error, VisionError::Layer { layer, layers } if layer == beyond && layers == beyond - 1)
                );
            }
        }
    });
}

#[test]
fn another_size_needs_to_be_asked_for() {
    let device = &quick_devices()[0];
    let (config, tower) = (golden_checkpoint("small").config.vision_config, tower("small", DType::F32, device));
    for (height, width) in [(96, 48), (64, 79), (70, 70), (16, 16)] {
        let (pixels, shape) = pixels(1, height, width);
        let error = PixelBatch::new(pixels.clone(), shape, &config, device).unwrap_err();
        let message =
            format!("input image size ({height}x{width}, 3 channels) doesn't match model (64x64, 3 channels)");
        assert_eq!(error.to_string(), message);
        let batch = PixelBatch::any_size(pixels, shape, &config, device).unwrap();
        let error = tower.forward(&batch, VisionOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.hint().unwrap().contains("any_size"));
        tower.forward(&batch, VisionOptions { interpolate_pos_encoding: true, ..VisionOptions::default() }).unwrap();
    }
}

#[test]
fn interpolation_equals_that_of_torch() {
    let golden = golden();
    for device in quick_devices() {
        for name in golden.names().iter().filter(|name| name.starts_with("bicubic.")) {
            let (expected, shape) = golden.f32(name);
            let [new, old] = [shape[0], shape[1]];
            // The position of a patch is one where its row is, so that each shows its share of every row.
            let mut positions = vec![9.0; old];
            for patch in 0..old * old {
                positions.extend((0..old).map(|row| if row == patch / old { 1.0 } else { 0.0 }));
            }
            let positions = Tensor::<1>::from_data(positions.as_slice(), &device).reshape([old * old + 1, old]);
            let by_rows = values(&resize_positions(positions, [new, old]));
            assert_eq!(by_rows[..old], vec![9.0; old], "the class token stays");
            for (patch, found) in by_rows[old..].chunks(old).enumerate() {
                let row = patch / old;
                assert_close(name, found, &expected[row * old..(row + 1) * old], &[old], tolerance(DType::F32));
            }
        }
    }
}

#[test]
fn masked_features_equal_those_of_cn_clip() {
    let (golden, checkpoint) = (golden(), golden_checkpoint("small"));
    every_device_and_dtype(|device, dtype| {
        let model = ChineseClipModel::load(&checkpoint.config, &checkpoint.weights, dtype, device).unwrap();
        let prepared = model.clone().prepare();
        let batch = batch("small", 2, 64, 64, device);
        for ratio in ["0.5", "0.75"] {
            let (kept, shape) = golden.i64(&format!("masked.{ratio}.kept"));
            let kept = kept.into_iter().map(|patch| patch as usize).collect();
            let kept = KeptPatches::new(kept, [shape[0], shape[1]], 16).unwrap();
            let name = format!("masked.{ratio}.features");
            close(&golden, &name, &model.encode_image_kept(&batch, &kept).unwrap(), dtype);
            close(&golden, &name, &prepared.encode_image_kept(&batch, &kept).unwrap(), dtype);
        }
    });
}

#[test]
fn a_mask_follows_from_its_seed_and_none_changes_nothing() {
    let (device, checkpoint) = (&quick_devices()[0], golden_checkpoint("small"));
    let model = PreparedModel::load(&checkpoint.config, &checkpoint.weights, DType::F32, device).unwrap();
    let batch = batch("small", 2, 64, 64, device);
    let encode = |ratio, seed| values(&model.encode_image(&batch, ratio, seed).unwrap());
    assert_eq!(encode(0.0, 1), values(&model.get_image_features(&batch)));
    assert_eq!(encode(0.5, 1), encode(0.5, 1));
    assert_ne!(encode(0.5, 1), encode(0.5, 2));
    let kept = KeptPatches::random([2, 16], 0.5, 1).unwrap();
    assert_eq!(encode(0.5, 1), values(&model.encode_image_kept(&batch, &kept).unwrap()));
    let all: Vec<usize> = (0..16).chain((0..16).rev()).collect();
    let all = values(&model.encode_image_kept(&batch, &KeptPatches::new(all, [2, 16], 16).unwrap()).unwrap());
    assert_close("all patches in any order", &all, &encode(0.0, 1), &[2, 32], tolerance(DType::F32));
    for ratio in [-0.5, 1.0, 0.99, f64::NAN] {
        let error = model.encode_image(&batch, ratio, 1).unwrap_err();
        assert!(matches!(error, Error::Vision(VisionError::MaskRatio { patches: 16, .. })), "{error}");
    }
    for shape in [[1, 16], [2, 15]] {
        let kept = KeptPatches::random(shape, 0.5, 1).unwrap();
        let error = model.encode_image_kept(&batch, &kept).unwrap_err();
        assert!(matches!(error, Error::Vision(VisionError::KeptBatch { expected: [2, 16], .. })), "{error}");
    }
}

#[test]
fn feature_maps_of_a_resnet_equal_those_of_cn_clip() {
    let (golden, checkpoint) = (golden(), golden_checkpoint("resnet"));
    every_device_and_dtype(|device, dtype| {
        let model = ChineseClipModel::load(&checkpoint.config, &checkpoint.weights, dtype, device).unwrap();
        let ImageTower::ResNet(tower) = model.vision_model() else { panic!("not a ResNet") };
        let prepared = tower.clone().prepare();
        for (count, height, width) in RESNET_CASES {
            let (batch, at) = (batch("resnet", count, height, width, device), format!("resnet.{height}x{width}"));
            for maps in [tower.feature_maps(&batch), prepared.feature_maps(&batch)] {
                assert_eq!(maps.len(), 4);
                for (map, n) in maps.iter().zip(1..) {
                    close(&golden, &format!("{at}.layer{n}"), map, dtype);
                }
            }
            let features = format!("{at}.features");
            close(&golden, &features, &tower.forward(&batch, &mut Recorder::off()), dtype);
            close(&golden, &features, &prepared.forward(&batch), dtype);
        }
    });
}

#[test]
fn a_resnet_has_no_patches() {
    let (device, checkpoint) = (&quick_devices()[0], golden_checkpoint("resnet"));
    let model = ChineseClipModel::load(&checkpoint.config, &checkpoint.weights, DType::F32, device).unwrap();
    let batch = batch("resnet", 1, 64, 64, device);
    let plain = model.get_image_features(&batch, &mut Recorder::off());
    assert_eq!(values(&model.encode_image(&batch, 0.0, 1).unwrap()), values(&plain));
    let kept = KeptPatches::random([1, 4], 0.5, 1).unwrap();
    let prepared = model.clone().prepare();
    for error in [
        model.encode_image(&batch, 0.5, 1).unwrap_err(),
        model.encode_image_kept(&batch, &kept).unwrap_err(),
        prepared.encode_image(&batch, 0.5, 1).unwrap_err(),
        prepared.encode_image_kept(&batch, &kept).unwrap_err(),
        ChineseClipVisionModel::from_checkpoint(&checkpoint, DType::F32, device).unwrap_err(),
    ] {
        assert!(matches!(error, Error::ResNet { .. }), "{error}");
        assert!(error.hint().unwrap().contains("ViT"));
    }
}

#[test]
fn patch_features_of_pictures_are_those_of_their_pixels() {
    let (device, config) = (&quick_devices()[0], golden_checkpoint("small").config);
    let options = LoadOptions { dtype: Some(DType::F32), ..LoadOptions::default() };
    let clip = ChineseClip::from_checkpoint(golden_checkpoint("small"), device, &options).unwrap();
    let tower = tower("small", DType::F32, device).vision_model().clone().prepare();
    let picture = |seed: usize| {
        let pixels = (0..30 * 20 * 3).map(|i| ((i * seed) % 251) as u8).collect();
        Picture::from_rgb8(30, 20, pixels).unwrap()
    };
    let pictures: Vec<Picture> = [3, 5, 7].map(picture).into();
    for (layer, image_size, grid) in
        [(None, None, [4, 4]), (Some(1), Some([96, 48]), [6, 3]), (Some(0), Some([17, 40]), [1, 2])]
    {
        let found = clip.patch_features(&pictures, PatchOptions { layer, image_size }).unwrap();
        assert_eq!(found.shape, [3, grid[0], grid[1], 64]);
        let [height, width] = image_size.unwrap_or([64, 64]);
        let size = chinese_clip::config::Size::Exact { height, width };
        let preparation = PreprocessorConfig { size, ..clip.image_processor().config().clone() };
        let pixels = clip.image_processor().process_with(&preparation, &pictures).unwrap();
        let batch = PixelBatch::any_size(pixels.data, pixels.shape, &config.vision_config, device).unwrap();
        let expected = values(&tower.features(&batch, layer.unwrap_or(2)).unwrap());
        assert_close("patch features", &found.values, &expected, &found.shape, tolerance(DType::F32));
    }
    assert_eq!(clip.patch_features(&[], PatchOptions::default()).unwrap().shape, [0, 4, 4, 64]);
    let (data, shape) = pixels(1, 64, 48);
    let error =
        clip.patches(PatchOptions::default()).unwrap().of_pixels(Pixels { data, shape }).unwrap_err().to_string();
    assert_eq!(error, "pictures of 64x48 pixels, where 64x64 were asked for");
    let fingerprint = |options| clip.patches(options).unwrap().fingerprint().unwrap();
    let mut prints = [
        PatchOptions::default(),
        PatchOptions { layer: Some(1), image_size: None },
        PatchOptions { layer: None, image_size: Some([64, 48]) },
    ]
    .map(fingerprint)
    .to_vec();
    assert_eq!(prints[0], fingerprint(PatchOptions { layer: Some(2), image_size: None }));
    prints.push(clip.fingerprint().unwrap());
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), 4);
}
