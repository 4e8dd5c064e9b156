//! Features in half precision: how far they lie from the reference's in f32, beside how far its own lie.

use std::path::Path;

use chinese_clip::{ChineseClip, Dialect, LoadOptions, device};

use super::ask::{Answer, HALVES};
use super::compare::{feature_distance, of_pixels};
use super::{Row, open};
use crate::Failure;

pub(super) fn rows(
    checkpoint: &Path,
    on: &str,
    dialect: Dialect,
    texts: &[String],
    answer: &Answer,
) -> Result<Vec<Row>, Failure> {
    let arrays = &answer.arrays;
    let mut rows = Vec::new();
    for (dtype, torch) in HALVES {
        let options = LoadOptions { dtype: Some(dtype), dialect, ..LoadOptions::default() };
        let clip = ChineseClip::from_checkpoint(open(checkpoint)?, &device(on)?, &options)?;
        let (pixels, shape) = arrays.f32("pixel_values");
        let shape: [usize; 4] = shape.try_into().map_err(|_| "pixel_values must have four dimensions")?;
        let text = clip.text_features(&clip.tokenize(texts)?)?;
        let image = of_pixels(&clip, &pixels, shape)?;
        for (kind, found) in [("text", text), ("image", image)] {
            let expected = arrays.f32(&format!("{kind}_features")).0;
            let (own, _) = arrays.f32(&format!("{kind}_features.{torch}"));
            let distance = |values: &[f32]| feature_distance(values, &expected, found.width());
            let ((here, cosine), (there, least)) = (distance(found.values()), distance(&own));
            rows.push(Row {
                what: format!("{kind} features in {}, from f32", dtype.name()),
                found: format!(
                    "{here:.1e} of the largest, cosine {cosine:.6}; the reference's own {there:.1e}, {least:.6}"
                ),
                bound: "twice its own",
                good: here <= 2.0 * there,
            });
        }
    }
    Ok(rows)
}
