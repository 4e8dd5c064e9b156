//! ViT-B/16 at its real size against the reference, from a checkpoint file that is drawn anew; see `goldens/real_size.py`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;

use chinese_clip::{
    Checkpoint, ChineseClipModel, DType, Device, Intermediate, OpenOptions, PixelBatch, PreparedModel, Recorder,
    TokenBatch, default_dtype,
};
use chinese_clip_tests::{Arrays, Tolerance, assert_close, dtypes, golden_path, quick_devices, values};
use safetensors::{Dtype, View};
use serde::Deserialize;

/// Twice the reference's distance from itself in a wider format, since sums in another order may differ by as much again:
/// as a part of a tensor's rms, with the least cosine of a row, f32 from f64 8.9e-6; f16 from f32 1.2e-2, 0.999987; bf16 from
/// f32 1.1e-1, 0.999025. Twice the distance is four times the part that a cosine lacks.
fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F16 => Tolerance { atol: 1e-3, rtol: 2.4e-2, cosine: 0.999_948 },
        DType::BF16 => Tolerance { atol: 1e-2, rtol: 2.2e-1, cosine: 0.996_1 },
        _ => Tolerance { atol: 1e-6, rtol: 2e-5, cosine: 0.999_999 },
    }
}

#[derive(Deserialize)]
struct Recipes {
    pixels: Recipe,
    tensors: Vec<Recipe>,
}

/// Name, shape, spread and mean of a tensor.
#[derive(Deserialize)]
struct Recipe(String, Vec<usize>, f64, f64);

impl Recipe {
    fn draw(&self) -> Vec<f32> {
        let first = u64::from(crc32fast::hash(self.0.as_bytes())) << 32;
        let (spread, mean) = (self.2 as f32, self.3 as f32);
        (0..self.1.iter().product::<usize>() as u64)
            .map(|place| {
                let bits = (splitmix64(first + place) >> 40) as f32;
                (bits * (1.0 / 16_777_216.0) - 0.5) * spread + mean
            })
            .collect()
    }
}

fn splitmix64(state: u64) -> u64 {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// Drawn when it is written, so that the model is never in memory as a whole.
impl View for &Recipe {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.draw().into_iter().flat_map(f32::to_le_bytes).collect())
    }
    fn data_len(&self) -> usize {
        4 * self.1.iter().product::<usize>()
    }
}

#[test]
fn class_rows_features_and_logits_equal_the_reference() {
    let golden = golden_path("vit-b-16");
    let recipes: Recipes = serde_json::from_str(&fs::read_to_string(golden.join("recipe.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(golden.join("config.json"), folder.path().join("config.json")).unwrap();
    let tensors = recipes.tensors.iter().map(|recipe| (recipe.0.clone(), recipe));
    safetensors::serialize_to_file(tensors, None, &folder.path().join("model.safetensors")).unwrap();

    let checkpoint = chinese_clip::open(folder.path().to_str().unwrap(), &OpenOptions::isolated("unused")).unwrap();
    let arrays = Arrays::golden("vit-b-16/golden.safetensors");
    let pixels = (recipes.pixels.draw(), recipes.pixels.1.clone().try_into().unwrap());
    for device in quick_devices() {
        let at = |dtype| Place { arrays: &arrays, checkpoint: &checkpoint, pixels: &pixels, device: &device, dtype };
        at(DType::F32).prepared();
        at(DType::F32).canonical();
        // On a CPU half formats take minutes at this size; the tiny models have them.
        let on_gpu = default_dtype(&device) != DType::F32;
        for dtype in dtypes(&device).into_iter().filter(|dtype| on_gpu && *dtype != DType::F32) {
            at(dtype).prepared();
        }
    }
}

struct Place<'a> {
    arrays: &'a Arrays,
    checkpoint: &'a Checkpoint,
    pixels: &'a (Vec<f32>, [usize; 4]),
    device: &'a Device,
    dtype: DType,
}

impl Place<'_> {
    fn inputs(&self) -> (TokenBatch, PixelBatch) {
        let ((ids, shape), (mask, _)) = (self.arrays.i64("input_ids"), self.arrays.i64("attention_mask"));
        let (shape, config) = ([shape[0], shape[1]], &self.checkpoint.config);
        let texts = TokenBatch::new(&ids, Some(&mask), shape, &config.text_config, self.device).unwrap();
        let (pixels, shape) = self.pixels.clone();
        (texts, PixelBatch::new(pixels, shape, &config.vision_config, self.device).unwrap())
    }

    fn close(&self, name: &str, form: &str, found: &[f32]) {
        let (expected, shape) = self.arrays.f32(name);
        let mut tolerance = tolerance(self.dtype);
        if name.starts_with("logits") {
            tolerance.cosine = -1.0; // a row of three logits is no direction
        }
        let name = format!("{name}, {form}, in {} on {:?}", self.dtype.name(), self.device);
        assert_close(&name, found, &expected, &shape, tolerance);
    }

    fn prepared(&self) {
        let (texts, images) = self.inputs();
        let Checkpoint { config, weights, .. } = self.checkpoint;
        let model = PreparedModel::load(config, weights, self.dtype, self.device).unwrap();
        self.close("text.features", "prepared", &values(&model.get_text_features(&texts)));
        self.close("vision.features", "prepared", &values(&model.get_image_features(&images)));
        self.close("logits_per_image", "prepared", &values(&model.forward(&texts, &images).logits_per_image));
    }

    /// The class token's row of every layer too.
    fn canonical(&self) {
        let (texts, images) = self.inputs();
        let Checkpoint { config, weights, .. } = self.checkpoint;
        let model = ChineseClipModel::load(config, weights, self.dtype, self.device).unwrap();
        let mut recorder = Recorder::on();
        model.forward(&texts, &images, &mut recorder);
        let kept: HashMap<String, Intermediate> =
            recorder.into_kept().into_iter().map(|kept| (kept.name.clone(), kept)).collect();
        for name in self.arrays.names().iter().filter(|name| name.starts_with("text.") || name.starts_with("vision.")) {
            let (_, shape) = self.arrays.f32(name);
            let (rows, width) = (shape[0], shape[1]);
            let all = values(&kept[name].flat());
            let class: Vec<f32> = all.chunks(all.len() / rows).flat_map(|row| row[..width].to_vec()).collect();
            self.close(name, "canonical", &class);
        }
    }
}
