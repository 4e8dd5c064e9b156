//! The resize alone, on noise.

use chinese_clip_config::Resample;
use chinese_clip_preprocess::{PreprocessError, resize};

use crate::common::{crc, noise};
use crate::expected;

#[test]
fn equals_pillow() {
    let expected = expected();
    let cases = expected["resize"].as_array().unwrap();
    assert!(cases.len() > 1000, "{} cases", cases.len());
    let mut seeds = Vec::new();
    for case in cases {
        let case: Vec<u64> = case.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
        let &[w, h, channels, to_w, to_h, code, want] = &case[..] else { panic!("{case:?}") };
        if !seeds.contains(&(w, h)) {
            seeds.push((w, h));
        }
        let seed = 100 + (seeds.len() as u64 - 1) * 4 + channels;
        let pixels = noise((w * h * channels) as usize, seed as u32);
        let filter = Resample::try_from(code as u8).unwrap();
        let (from, to) = ((w as usize, h as usize), (to_w as usize, to_h as usize));
        let out = resize(&pixels, channels as usize, from, to, filter).unwrap();
        assert_eq!(crc(out), want, "{from:?} -> {to:?}, {channels} channels, {filter:?}");
    }
}

#[test]
fn channels_do_not_mix() {
    let (from, to) = ((19, 23), (8, 31));
    let planes: Vec<Vec<u8>> = (0..4).map(|c| noise(19 * 23, c)).collect();
    for channels in 1..=4 {
        let mixed: Vec<u8> = (0..19 * 23).flat_map(|i| planes[..channels].iter().map(move |p| p[i])).collect();
        let out = resize(&mixed, channels, from, to, Resample::Bicubic).unwrap();
        for (c, plane) in planes[..channels].iter().enumerate() {
            let alone = resize(plane, 1, from, to, Resample::Bicubic).unwrap();
            assert!(out.iter().skip(c).step_by(channels).eq(&alone), "channel {c} of {channels}");
        }
    }
}

#[test]
fn constant_stays_constant() {
    for value in [0, 1, 127, 254, 255] {
        for code in 0..6 {
            let filter = Resample::try_from(code).unwrap();
            let out = resize(&vec![value; 3 * 31 * 17], 3, (31, 17), (100, 5), filter).unwrap();
            assert!(out.iter().all(|v| *v == value), "{filter:?} of {value}");
        }
    }
}

#[test]
fn bad_arguments_are_errors() {
    let bad = |pixels: &[u8], channels, from, to| resize(pixels, channels, from, to, Resample::Box).unwrap_err();
    assert!(matches!(bad(&[0; 6], 3, (2, 2), (1, 1)), PreprocessError::PixelCount { found: 6, .. }));
    assert!(matches!(bad(&[], 3, (0, 4), (1, 1)), PreprocessError::PixelCount { .. }));
    assert!(matches!(bad(&[0; 5], 5, (1, 1), (1, 1)), PreprocessError::PixelCount { .. }));
    assert!(matches!(bad(&[0; 4], 4, (1, 1), (0, 1)), PreprocessError::NoPixels { .. }));
    assert!(matches!(bad(&[0; 4], 4, (usize::MAX, 2), (1, 1)), PreprocessError::PixelCount { .. }));
}
