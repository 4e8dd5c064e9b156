//! Saving what is in memory: values that cannot be written, and what is left behind. Whole models are saved in `tests`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use chinese_clip_checkpoint::{Checkpoint, CheckpointError, Dtype, Parameter, save};
use chinese_clip_config::ChineseClipConfig;
use common::{open_dir, text};

fn parameter(name: &str, dtype: Dtype, shape: &[usize], values: &[f32]) -> Parameter<CheckpointError> {
    let values = values.to_vec();
    Parameter { name: name.into(), dtype, shape: shape.to_vec(), values: Box::new(|| Ok(values)) }
}

fn saved(parameters: Vec<Parameter<CheckpointError>>) -> Result<Checkpoint, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    let result = save(dir.path(), &ChineseClipConfig::default(), None, parameters);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), if result.is_ok() { 2 } else { 0 }, "{left:?}");
    result.and_then(|()| open_dir(dir.path()))
}

#[test]
fn types_and_shapes_are_kept() {
    let found = saved(vec![
        parameter("half", Dtype::F16, &[3], &[1.0, -2.5, 0.1]),
        parameter("brain", Dtype::BF16, &[1, 2], &[1.0, 0.1]),
        parameter("logit_scale", Dtype::F32, &[], &[0.1]),
        parameter("long", Dtype::F32, &[5, 1000], &(0..5000).map(|v| v as f32).collect::<Vec<_>>()),
    ])
    .unwrap();
    let weights = &found.weights;
    assert_eq!((weights.dtype("half"), weights.shape("half")), (Some(Dtype::F16), Some(&[3][..])));
    assert_eq!(weights.to_f32("half").unwrap(), [1.0, -2.5, 0.099_975_586]);
    assert_eq!(weights.to_f32("brain").unwrap(), [1.0, 0.100_097_656]);
    assert_eq!((weights.shape("logit_scale"), weights.to_f32("logit_scale").unwrap()), (Some(&[][..]), vec![0.1]));
    assert_eq!(weights.to_f32("long").unwrap()[4999], 4999.0);
}

#[test]
fn what_cannot_be_written_is_named() {
    for (bad, part) in [
        (parameter("w", Dtype::F32, &[2], &[0.0, f32::NAN]), "`w` has NaN at index 1"),
        (parameter("w", Dtype::F16, &[2], &[0.0, 1e5]), "`w` has 100000 at index 1, which F16 cannot hold"),
        (parameter("w", Dtype::F32, &[3], &[0.0, 1.0]), "it has 2 elements, its shape [3] has 3"),
    ] {
        let error = saved(vec![parameter("good", Dtype::F32, &[1], &[1.0]), bad]).unwrap_err();
        assert!(text(&error).contains(part), "{}", text(&error));
    }
}
