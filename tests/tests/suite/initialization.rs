//! A new model is drawn as the references draw theirs: `test_initialization` of transformers' common tests, held against what
//! transformers and `cn_clip` drew (`goldens/initial.py`) rather than against a rule of our own.

use std::collections::BTreeMap;

use chinese_clip::checkpoint::{Checkpoint, OpenOptions};
use chinese_clip::{ChineseClipConfig, ChineseClipModel, device};
use chinese_clip_tests::golden_path;
use serde::Deserialize;
use serde_json::Value;

/// How many standard errors two draws may lie apart: by chance, one comparison in 10^9 does.
const ERRORS: f64 = 6.0;
/// The largest magnitude of a uniform distribution is 1.73 standard deviations; of 500 normal numbers, 2.5 and more.
const UNIFORM: f64 = 1.9;

#[derive(Deserialize)]
struct Golden {
    config: Value,
    parameters: BTreeMap<String, Drawn>,
}

#[derive(Deserialize)]
struct Drawn {
    shape: Vec<usize>,
    mean: f64,
    std: f64,
    largest: f64,
}

impl Drawn {
    fn of(values: &[f32], shape: &[usize]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
        let largest = values.iter().fold(0.0, |largest: f64, v| largest.max(f64::from(v.abs())));
        Self { shape: shape.to_vec(), mean, std: variance.sqrt(), largest }
    }

    /// Means differ by the root of 2 standard errors of one, `std / sqrt(n)`; so do standard deviations, whose standard error
    /// is `std / sqrt(2 n)` for a normal distribution and less for a uniform one. A constant is equal but for rounding:
    /// the logarithm of the temperature has 5 digits in one reference.
    fn assert_like(&self, name: &str, reference: &Self) {
        assert_eq!(self.shape, reference.shape, "{name}");
        let count: usize = self.shape.iter().product();
        let bound = ERRORS * reference.std / (count as f64).sqrt() + 1e-4 * f64::from(u8::from(reference.std == 0.0));
        let (mean, std) = ((self.mean - reference.mean).abs(), (self.std - reference.std).abs());
        assert!(mean <= 2f64.sqrt() * bound, "{name}: mean {} instead of {}", self.mean, reference.mean);
        assert!(std <= bound, "{name}: standard deviation {} instead of {}", self.std, reference.std);
        let uniform = |drawn: &Self| drawn.largest < UNIFORM * drawn.std;
        assert!(count < 500 || uniform(self) == uniform(reference), "{name}: one is uniform, the other not");
    }
}

#[test]
fn test_initialization() {
    for name in ["vit", "resnet", "text"] {
        let file = std::fs::read_to_string(golden_path(&format!("initial/{name}.json"))).unwrap();
        let golden: Golden = serde_json::from_str(&file).unwrap();
        let config = ChineseClipConfig::from_json(&golden.config.to_string()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        ChineseClipModel::init(&config, &device("flex").unwrap()).unwrap().save_pretrained(folder.path()).unwrap();
        let saved = Checkpoint::open(folder.path().to_str().unwrap(), &OpenOptions::isolated("unused")).unwrap();
        let weights = &saved.weights;
        assert_eq!(
            weights.names().collect::<Vec<_>>(),
            golden.parameters.keys().map(String::as_str).collect::<Vec<_>>()
        );
        for (parameter, reference) in &golden.parameters {
            let mut values = weights.to_f32(parameter).unwrap();
            let mut shape = weights.shape(parameter).unwrap().to_vec();
            if parameter.ends_with("word_embeddings.weight") {
                let (width, padding) = (shape[1], config.text_config.pad_token_id);
                let row: Vec<f32> = values.drain(padding * width..(padding + 1) * width).collect();
                assert!(row.iter().all(|value| *value == 0.0), "the row of [PAD] in {name}");
                shape[0] -= 1;
            }
            Drawn::of(&values, &shape).assert_like(parameter, reference);
        }
    }
}
