//! A checkpoint as it is used here, from files and strings to probabilities, beside what a reference said.

use std::fs;
use std::path::{Path, PathBuf};

use chinese_clip::preprocess::Pixels;
use chinese_clip::{
    Checkpoint, ChineseClip, DType, Dialect, Embeddings, Limits, LoadOptions, Padding, Picture, device,
};
use chinese_clip_tests::cosine;

use super::Row;
use super::ask::Answer;
use crate::Failure;

pub(super) fn rows(
    checkpoint: Checkpoint,
    on: &str,
    dialect: Dialect,
    images: &[PathBuf],
    texts: &[String],
    answer: &Answer,
) -> Result<Vec<Row>, Failure> {
    let reference = &answer.arrays;
    let options = LoadOptions { dtype: Some(DType::F32), dialect, ..LoadOptions::default() };
    let clip = ChineseClip::from_checkpoint(checkpoint, &device(on)?, &options)?;

    let encodings = clip.tokenize(texts)?;
    let (ids, shape) = reference.i64("input_ids");
    let padded = clip.tokenizer().pad(&encodings, Padding::To(shape[1]))?;
    let wrong = padded.input_ids.iter().zip(&ids).filter(|(a, b)| a != b).count();
    let same_ids = padded.input_ids == ids && padded.attention_mask == reference.i64("attention_mask").0;

    let opened: Vec<Picture> =
        images.iter().map(|path| Picture::open(path, &Limits::default())).collect::<Result<_, _>>()?;
    let pixels = clip.image_processor().process(&opened)?;
    let (expected_pixels, shape) = reference.f32("pixel_values");

    let text = clip.text_features(&encodings)?;
    let shape: [usize; 4] = shape.try_into().map_err(|_| "pixel_values must have four dimensions")?;
    let on_reference_pixels = of_pixels(&clip, &expected_pixels, shape)?;
    let end_to_end = clip.image_features(&opened)?;
    let image_features = reference.f32("image_features").0;
    let similarity = clip.compare(&on_reference_pixels.clone().into_unit()?, &text.clone().into_unit()?)?;
    let probabilities: Vec<f32> = (0..images.len()).flat_map(|i| similarity.probabilities(i)).collect();
    let off = max_distance(&probabilities, &reference.f32("probabilities").0);

    let mut rows = vec![Row {
        what: "token ids and mask".into(),
        found: format!("{wrong} of {} differ", ids.len()),
        bound: "equal",
        good: same_ids,
    }];
    rows.extend(pixel_rows(&pixels, &expected_pixels, images)?);
    rows.extend([
        features("text features", text.values(), &reference.f32("text_features").0, text.width()),
        features(
            "image features, on the reference's pixels",
            on_reference_pixels.values(),
            &image_features,
            text.width(),
        ),
        Row {
            bound: "stated",
            good: true,
            ..features("image features, from the files", end_to_end.values(), &image_features, text.width())
        },
        Row {
            what: "probabilities, on the reference's pixels".into(),
            found: format!("max {off:.2e}"),
            bound: "1e-4",
            good: off <= 1e-4,
        },
    ]);
    rows.extend(memory(&clip));
    Ok(rows)
}

fn pixel_rows(found: &Pixels, expected: &[f32], images: &[PathBuf]) -> Result<[Row; 2], Failure> {
    let each = found.data.len() / images.len();
    let (mut exact, mut lossless, mut jpeg_worst) = (0, 0, 0.0_f32);
    let mut differing = Vec::new();
    for (i, path) in images.iter().enumerate() {
        let (found, expected) = (&found.data[i * each..(i + 1) * each], &expected[i * each..(i + 1) * each]);
        let distance = max_distance(found, expected);
        if is_jpeg(path)? {
            jpeg_worst = jpeg_worst.max(distance);
        } else {
            lossless += 1;
            exact += usize::from(distance == 0.0);
            if distance != 0.0 {
                differing.push(path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
            }
        }
    }
    Ok([
        Row {
            what: "pixels, without JPEG compression".into(),
            found: format!(
                "{exact} of {lossless} pictures equal{}",
                differing.iter().map(|n| format!(", not {n}")).collect::<Vec<_>>().concat()
            ),
            bound: "equal",
            good: exact == lossless,
        },
        Row {
            what: "pixels, with JPEG compression (another decoder)".into(),
            found: if lossless < images.len() { format!("max {jpeg_worst:.4}") } else { "no such picture".into() },
            bound: "stated",
            good: true,
        },
    ])
}

/// Features of pixels, picture by picture.
pub(super) fn of_pixels(clip: &ChineseClip, pixels: &[f32], [b, c, h, w]: [usize; 4]) -> Result<Embeddings, Failure> {
    let mut values = Vec::new();
    for one in pixels.chunks_exact(pixels.len() / b) {
        values.extend_from_slice(clip.pixel_features(Pixels { data: one.to_vec(), shape: [1, c, h, w] })?.values());
    }
    Ok(Embeddings::new(values, clip.config().projection_dim))
}

/// Features must lie within 1e-4 of the largest component, with a cosine above 0.999999.
pub(super) fn features(what: &str, found: &[f32], expected: &[f32], width: usize) -> Row {
    let (relative, cosine) = feature_distance(found, expected, width);
    Row {
        what: what.into(),
        found: format!("{relative:.1e} of the largest, cosine {cosine:.9}"),
        bound: "1e-4, 0.999999",
        good: relative <= 1e-4 && cosine > 0.999_999,
    }
}

/// The largest difference as a part of the largest component, and the least cosine of a row.
pub(super) fn feature_distance(found: &[f32], expected: &[f32], width: usize) -> (f32, f64) {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let cosines = found.chunks_exact(width).zip(expected.chunks_exact(width)).map(|(f, e)| cosine(f, e));
    (max_distance(found, expected) / largest, cosines.fold(1.0, f64::min))
}

pub(super) fn max_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(if a.len() == b.len() { 0.0 } else { f32::INFINITY }, f32::max)
}

/// Whether the picture is compressed with JPEG, be it inside a TIFF.
fn is_jpeg(path: &Path) -> Result<bool, Failure> {
    const START: [u8; 3] = [0xff, 0xd8, 0xff];
    let bytes = fs::read(path)?;
    let tiff = bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*");
    Ok(bytes.starts_with(&START) || (tiff && bytes.windows(3).any(|window| window == START)))
}

/// The most memory that this process has taken, where the system tells.
fn memory(clip: &ChineseClip) -> Option<Row> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak = line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1e6;
    let weights = clip.checkpoint().weights.parameters() as f64 * 4.0 / 1e9;
    Some(Row {
        what: "peak memory, loaded and run".into(),
        found: format!("{peak:.2} GB, the weights are {weights:.2} GB"),
        bound: "stated",
        good: true,
    })
}
