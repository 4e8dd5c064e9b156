//! Runs the benches and reads what criterion wrote about them: `ID/new/benchmark.json` and `ID/new/estimates.json`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Bench;
use crate::Failure;

/// One bench. Seconds are of one call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) stage: String,
    pub(super) size: String,
    pub(super) batch: usize,
    pub(super) backend: String,
    pub(super) median: f64,
    /// The bounds of the median's confidence interval.
    pub(super) bounds: (f64, f64),
}

/// What was measured; the second is whether some bench failed.
pub(super) fn run(bench: &Bench) -> Result<(Vec<Point>, bool), Failure> {
    let folder = tempfile::tempdir()?; // what an earlier run left must not be mixed in
    let mut cargo = bench.cargo(&["bench", "--benches", "--no-fail-fast"]);
    cargo.env("CRITERION_HOME", folder.path()).arg("--").arg("--noplot").args(&bench.filter);
    let status = cargo.status()?;
    let mut points = Vec::new();
    collect(folder.path(), &mut points)?;
    Ok((points, !status.success()))
}

fn collect(folder: &Path, points: &mut Vec<Point>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        match (path.ends_with("new"), read(&path.join("benchmark.json")), read(&path.join("estimates.json"))) {
            (true, Some(benchmark), Some(estimates)) => points.push(point(&benchmark, &estimates)?),
            _ => collect(&path, points)?,
        }
    }
    Ok(())
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn point(benchmark: &Value, estimates: &Value) -> Result<Point, Failure> {
    let id = benchmark["full_id"].as_str().unwrap_or_default();
    let parts: Vec<&str> = id.split('/').collect();
    let [stage, size, batch, backend] = parts[..] else {
        return Err(format!("the bench `{id}` is not named stage/size/batch/backend").into());
    };
    let median = &estimates["median"];
    let seconds = |value: &Value| value.as_f64().map(|nanoseconds| nanoseconds / 1e9);
    let interval = &median["confidence_interval"];
    let (Some(middle), Some(low), Some(high)) =
        (seconds(&median["point_estimate"]), seconds(&interval["lower_bound"]), seconds(&interval["upper_bound"]))
    else {
        return Err(format!("criterion's file about `{id}` has no median").into());
    };
    Ok(Point {
        stage: stage.into(),
        size: size.into(),
        batch: batch.parse().map_err(|_| format!("the bench `{id}` has no number for its batch"))?,
        backend: backend.into(),
        median: middle,
        bounds: (low, high),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_criterion_writes() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("image/ViT-B-16_8_wgpu_0/new");
        fs::create_dir_all(&place).unwrap();
        let benchmark = json!({ "full_id": "image/ViT-B-16/8/wgpu:0" });
        let median =
            json!({ "point_estimate": 2e9, "confidence_interval": { "lower_bound": 1e9, "upper_bound": 3e9 } });
        fs::write(place.join("benchmark.json"), benchmark.to_string()).unwrap();
        fs::write(place.join("estimates.json"), json!({ "median": median }).to_string()).unwrap();
        let mut points = Vec::new();
        collect(folder.path(), &mut points).unwrap();
        let expected = Point {
            stage: "image".into(),
            size: "ViT-B-16".into(),
            batch: 8,
            backend: "wgpu:0".into(),
            median: 2.0,
            bounds: (1.0, 3.0),
        };
        assert_eq!(points, [expected]);
        assert!(point(&json!({ "full_id": "image/8" }), &json!({})).is_err());
    }
}
