//! Batches, overrides and refusals of the processor.

use chinese_clip_config::{CropSize, Limits, PreprocessorConfig, Size};
use chinese_clip_preprocess::{Dialect, ImageProcessor, Picture, PreprocessError};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder as _, Rgb, RgbImage};

use crate::common::picture;
use crate::folder;

fn published() -> ImageProcessor {
    ImageProcessor::new(PreprocessorConfig::published(24), Dialect::Hf)
}

#[test]
fn a_row_of_a_batch_equals_the_single_run() {
    let pictures: Vec<_> = (1..9).map(|i| picture(i as usize * 7, 40 - i as usize, i)).collect();
    let batch = published().process(&pictures).unwrap();
    assert_eq!(batch.shape, [8, 3, 24, 24]);
    for (row, picture) in batch.data.chunks_exact(3 * 24 * 24).zip(&pictures) {
        assert_eq!(row, published().process(std::slice::from_ref(picture)).unwrap().data);
    }
}

#[test]
fn an_override_holds_for_one_call() {
    let (processor, pictures) = (published(), [picture(30, 20, 1)]);
    let before = processor.process(&pictures).unwrap();
    let wider = PreprocessorConfig { size: Size::Exact { height: 10, width: 20 }, ..processor.config().clone() };
    assert_eq!(processor.process_with(&wider, &pictures).unwrap().shape, [1, 3, 10, 20]);
    assert_eq!(processor.process(&pictures).unwrap(), before);
}

#[test]
fn shortest_edge_truncates_the_long_one() {
    let edges = PreprocessorConfig {
        size: Size::ShortestEdge { shortest_edge: 7 },
        do_center_crop: false,
        ..PreprocessorConfig::default()
    };
    for (width, height, want) in [(30, 20, [1, 3, 7, 10]), (20, 30, [1, 3, 10, 7]), (9, 9, [1, 3, 7, 7])] {
        assert_eq!(published().process_with(&edges, &[picture(width, height, 3)]).unwrap().shape, want);
    }
}

#[test]
fn mixed_sizes_are_refused_by_name() {
    let as_is = PreprocessorConfig { do_resize: false, ..PreprocessorConfig::published(24) };
    let pictures = [picture(5, 6, 1), picture(5, 6, 2), picture(6, 5, 3)];
    let error = published().process_with(&as_is, &pictures).unwrap_err();
    assert!(matches!(error, PreprocessError::MixedSizes { index: 2, width: 6, height: 5, .. }), "{error}");
    assert!(error.hint().is_some());
    let cropped = PreprocessorConfig { do_center_crop: true, ..as_is };
    assert_eq!(published().process_with(&cropped, &pictures).unwrap().shape, [3, 3, 24, 24]);
}

#[test]
fn empty_batch_and_bad_configuration_are_errors() {
    assert!(matches!(published().process(&[]), Err(PreprocessError::NoPictures)));
    let mut one = Limits::default();
    one.batch = 1;
    let error = published().with_limits(one).process(&[picture(2, 2, 1), picture(2, 2, 1)]).unwrap_err();
    assert!(matches!(error, PreprocessError::TooManyPictures { pictures: 2, limit: 1 }));
    let nothing = PreprocessorConfig { crop_size: CropSize { height: 0, width: 1 }, ..PreprocessorConfig::default() };
    let error = published().process_with(&nothing, &[picture(2, 2, 1)]).unwrap_err();
    assert!(matches!(error, PreprocessError::Config { .. }), "{error}");
}

#[test]
fn without_conversion_only_rgb_is_taken() {
    let as_is = PreprocessorConfig { do_convert_rgb: false, ..PreprocessorConfig::published(24) };
    let grey = Picture::open(folder().join("png_l8.png"), &Limits::default()).unwrap();
    let error = published().process_with(&as_is, &[picture(3, 3, 1), grey]).unwrap_err();
    let PreprocessError::AtPicture { index: 1, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, PreprocessError::NotRgb { mode: "L" }));
    assert_eq!(error.hint().as_deref(), Some("set do_convert_rgb"));
}

#[test]
fn a_sliver_does_not_explode() {
    let edges = PreprocessorConfig {
        size: Size::ShortestEdge { shortest_edge: 16384 },
        do_center_crop: false,
        ..PreprocessorConfig::default()
    };
    let error = published().process_with(&edges, &[picture(1, 60_000, 1)]).unwrap_err();
    let PreprocessError::AtPicture { index: 0, source } = error else { panic!("{error}") };
    assert!(matches!(*source, PreprocessError::PicturePixels { .. }));
}

#[test]
fn from_rgb8_counts() {
    assert!(matches!(Picture::from_rgb8(2, 2, vec![0; 11]), Err(PreprocessError::PixelCount { found: 11, .. })));
    assert!(matches!(Picture::from_rgb8(0, 0, vec![]), Err(PreprocessError::PixelCount { .. })));
    assert!(Picture::from_rgb8(usize::MAX, 4, vec![0; 4]).is_err());
}

/// A smooth JPEG of this size.
fn jpeg(width: u32, height: u32, orientation: Option<u8>) -> Vec<u8> {
    let wave = |x: u32, y: u32, k: f32| (127.0 + 100.0 * ((x as f32 / 90.0 + k).sin() * (y as f32 / 70.0).cos())) as u8;
    let pixels = RgbImage::from_fn(width, height, |x, y| Rgb([wave(x, y, 0.0), wave(y, x, 1.0), wave(x, y, 2.0)]));
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    if let Some(code) = orientation {
        let exif = [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[code, 0, 0, 0, 0, 0, 0, 0]].concat();
        encoder.set_exif_metadata(exif).unwrap();
    }
    pixels.write_with_encoder(encoder).unwrap();
    bytes
}

#[test]
fn a_large_jpeg_is_read_at_no_less_than_the_size_wanted() {
    let (exact, limits) = (published(), Limits::default());
    let fast = published().with_fast_jpeg(true);
    for (width, height, orientation, want) in [
        (800, 600, None, (100, 75)),
        (193, 192, None, (25, 24)),
        (192, 191, None, (24, 24)),
        (191, 190, None, (24, 24)),
        (600, 100, None, (150, 25)),
        (47, 500, None, (24, 250)),
        (46, 500, None, (46, 500)),
        (800, 600, Some(6), (100, 75)),
    ] {
        let bytes = jpeg(width, height, orientation);
        let picture = fast.decode(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), want, "{width}x{height}");
        let whole = Picture::decode(&bytes, &limits).unwrap();
        assert_eq!(picture.orientation(), whole.orientation());
        assert_eq!(exact.decode(&bytes).unwrap(), whole);
        if want == (whole.width(), whole.height()) {
            assert_eq!(picture, whole);
        }
        let [found, expected] = [picture, whole].map(|picture| exact.process(&[picture]).unwrap().data);
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.15, "{width}x{height}: {worst}"); // ten levels of 255; an axis that is swapped gives 2
    }
}

#[test]
fn fast_jpeg_leaves_other_files_and_configurations_alone() {
    let fast = published().with_fast_jpeg(true);
    let bytes = jpeg(800, 600, None);
    let as_is = PreprocessorConfig { do_resize: false, ..PreprocessorConfig::published(24) };
    assert_eq!(fast.clone().with_config(as_is).decode(&bytes).unwrap().width(), 800);
    let wide = PreprocessorConfig { size: Size::Exact { height: 60, width: 300 }, ..PreprocessorConfig::published(24) };
    assert_eq!(fast.clone().with_config(wide).decode(&bytes).unwrap().width(), 400);
    for damaged in [&bytes[..bytes.len() / 2], &bytes[..20], b"GIF89a", b""] {
        assert!(fast.decode(damaged).is_err());
    }
    let mut limits = Limits::default();
    limits.image_pixels = 799 * 600;
    let small = fast.with_limits(limits);
    assert!(matches!(small.decode(&bytes), Err(PreprocessError::PicturePixels { .. })));
}
