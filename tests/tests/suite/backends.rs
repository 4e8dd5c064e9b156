//! Backends beside each other: names, number formats, and one process that uses several at once.

use chinese_clip::{ChineseClip, DEMO, DType, Error, LoadOptions, OpenOptions, Picture, default_dtype, device};
use chinese_clip_tests::{Tolerance, assert_close, devices};

const BACKENDS: [&str; 10] = ["flex", "ndarray", "tch", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm", "cpu"];

fn options(dtype: Option<DType>) -> LoadOptions {
    LoadOptions { dtype, open: OpenOptions::isolated("unused"), ..LoadOptions::default() }
}

#[test]
fn every_listed_device_opens_and_the_others_say_how_to_get_them() {
    let listed = chinese_clip::devices();
    assert!(!listed.is_empty());
    for info in &listed {
        device(&info.name).unwrap();
    }
    let has = |backend: &str| listed.iter().any(|info| info.name.split(':').next() == Some(backend));
    for backend in BACKENDS.into_iter().filter(|backend| !has(backend)) {
        let error = device(backend).unwrap_err();
        assert!(matches!(error, Error::Device { .. }), "{error:?}");
        assert!(!error.hint().unwrap().is_empty(), "{error}");
    }
    for missing in ["wgpu:99", "vulkan:99", "tch:cuda:99", "cuda:99"] {
        assert!(device(missing).is_err(), "{missing}");
    }
}

#[test]
fn a_device_opened_twice_is_one_device() {
    for info in chinese_clip::devices() {
        assert_eq!(device(&info.name).unwrap(), device(&info.name).unwrap());
    }
}

#[test]
fn the_default_dtype_computes_and_one_that_is_lacking_is_refused() {
    for device in devices() {
        assert!(device.supports_dtype(default_dtype(&device)));
        for dtype in [DType::F32, DType::F16, DType::BF16].into_iter().filter(|dtype| !device.supports_dtype(*dtype)) {
            let error = ChineseClip::from_pretrained_with(DEMO, &device, &options(Some(dtype))).unwrap_err();
            assert!(matches!(error, Error::UnsupportedDtype { .. }), "{error:?}");
            assert!(error.hint().unwrap().contains("f32"), "{error}");
        }
    }
}

#[test]
fn texts_on_one_backend_and_images_on_another_give_the_same_logits() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/demo/examples/red-circles.png");
    let picture = [Picture::open(example, &chinese_clip::Limits::default()).unwrap()];
    let texts = ["三个红色的圆形", "两个红色的圆形", "海边的日落"];
    let load = |device| ChineseClip::from_pretrained_with(DEMO, &device, &options(Some(DType::F32))).unwrap();
    let clips: Vec<ChineseClip> = devices().into_iter().map(load).collect();
    let expected = clips[0].similarity(&picture, &texts).unwrap();
    // Unit vectors differ by some 1e-6, and exp(logit_scale) of the demo is 20.
    let bound = Tolerance { atol: 1e-4, rtol: 0.0, cosine: 0.999_999 };
    for of_texts in &clips {
        for of_images in &clips {
            let (images, texts) = (of_images.encode_images(&picture).unwrap(), of_texts.encode_texts(&texts).unwrap());
            let found = of_texts.compare(&images, &texts).unwrap();
            let name = format!("texts on {:?}, images on {:?}", of_texts.device(), of_images.device());
            assert_close(&name, found.logits(0), expected.logits(0), &[3], bound);
        }
    }
}

#[test]
fn two_backends_at_the_same_time() {
    let texts: Vec<String> = (0..20).map(|i| format!("第{i}张图片")).collect();
    let load = |device| ChineseClip::from_pretrained_with(DEMO, &device, &options(Some(DType::F32))).unwrap();
    let clips: Vec<ChineseClip> = devices().into_iter().map(load).collect();
    let expected = clips[0].encode_texts(&texts).unwrap();
    let bound = Tolerance { atol: 1e-5, rtol: 0.0, cosine: 0.999_999 };
    std::thread::scope(|scope| {
        for clip in clips.iter().chain(&clips) {
            let (texts, expected) = (&texts, &expected);
            scope.spawn(move || {
                let found = clip.encode_texts(texts).unwrap();
                assert_close("texts", found.values(), expected.values(), &[20, expected.width()], bound);
            });
        }
    });
}
