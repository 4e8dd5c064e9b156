//! Batches, overrides and refusals of the processor.

use chinese_clip_config::{CropSize, Limits, PreprocessorConfig, Size};
use chinese_clip_preprocess::{Dialect, ImageProcessor, Picture, PreprocessError};

use crate::{folder, noise};

fn picture(width: usize, height: usize, seed: u32) -> Picture {
    Picture::from_rgb8(width, height, noise(width * height * 3, seed)).unwrap()
}

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
