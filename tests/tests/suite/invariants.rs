//! What must hold of any embedding model: batches, padding, order and length change nothing.

use chinese_clip::{ChineseClipModel, DType, Device, PixelBatch, PreparedModel, Recorder, TokenBatch};
use chinese_clip_tests::{assert_close, cosine, devices, golden_checkpoint, quick_devices, tolerance, values};

const TEXTS: [&[i64]; 3] = [&[2, 7, 9, 3], &[2, 11, 3], &[2, 30, 31, 32, 33, 34, 35, 3]];

struct Model {
    config: chinese_clip::ChineseClipConfig,
    model: PreparedModel,
    device: Device,
}

impl Model {
    fn load(device: &Device) -> Self {
        let checkpoint = golden_checkpoint("small");
        let model = ChineseClipModel::load(&checkpoint.config, &checkpoint.weights, DType::F32, device).unwrap();
        Self { config: checkpoint.config, model: model.prepare(), device: device.clone() }
    }

    /// Text features, each text padded to `length` tokens.
    fn texts(&self, texts: &[&[i64]], length: usize) -> Vec<f32> {
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            ids.extend(text.iter().copied().chain(std::iter::repeat_n(0, length - text.len())));
            mask.extend((0..length).map(|i| i64::from(i < text.len())));
        }
        let shape = [texts.len(), length];
        let batch = TokenBatch::new(&ids, Some(&mask), shape, &self.config.text_config, &self.device).unwrap();
        values(&self.model.get_text_features(&batch))
    }

    fn images(&self, seeds: &[u32]) -> Vec<f32> {
        let size = self.config.vision_config.image_size;
        let pixels =
            seeds.iter().flat_map(|seed| (0..3 * size * size).map(move |i| ((i as f32) * 0.37 + *seed as f32).sin()));
        let shape = [seeds.len(), 3, size, size];
        let batch = PixelBatch::new(pixels.collect(), shape, &self.config.vision_config, &self.device).unwrap();
        values(&self.model.get_image_features(&batch))
    }

    fn width(&self) -> usize {
        self.config.projection_dim
    }
}

fn same(name: &str, found: &[f32], expected: &[f32]) {
    assert_close(name, found, expected, &[expected.len()], tolerance(DType::F32));
}

#[test]
fn a_row_of_a_batch_equals_the_single_run() {
    for device in devices() {
        let model = Model::load(&device);
        let batch = model.texts(&TEXTS, 8);
        for (text, row) in TEXTS.into_iter().zip(batch.chunks(model.width())) {
            same("text", row, &model.texts(&[text], text.len()));
        }
        let batch = model.images(&[1, 2, 3]);
        for (seed, row) in [1, 2, 3].into_iter().zip(batch.chunks(model.width())) {
            same("image", row, &model.images(&[seed]));
        }
    }
}

#[test]
fn more_padding_changes_nothing() {
    for device in devices() {
        let model = Model::load(&device);
        same("text", &model.texts(&TEXTS, 24), &model.texts(&TEXTS, 8));
    }
}

#[test]
fn a_permuted_batch_permutes_the_output() {
    for device in devices() {
        let model = Model::load(&device);
        let backwards = |values: Vec<f32>| values.chunks(model.width()).rev().flatten().copied().collect::<Vec<_>>();
        let reversed: Vec<&[i64]> = TEXTS.into_iter().rev().collect();
        same("text", &model.texts(&reversed, 8), &backwards(model.texts(&TEXTS, 8)));
        same("image", &model.images(&[3, 2, 1]), &backwards(model.images(&[1, 2, 3])));
    }
}

/// Where the backend can, the prepared form leaves padding out; the canonical form computes all of it.
#[test]
fn padding_may_be_left_out() {
    let checkpoint = golden_checkpoint("small");
    let config = &checkpoint.config.text_config;
    let text = |length: usize, seed: usize| {
        (0..length).map(move |i| (2 + (i * 31 + seed * 17) % (config.vocab_size - 2)) as i64).collect::<Vec<_>>()
    };
    let lengths: [&[usize]; 7] = [&[2, 5, 16], &[3, 23, 1, 7, 7, 2], &[4, 4, 4], &[2], &[1, 9], &[0, 6, 3], &[23, 2]];
    for device in quick_devices() {
        for dtype in [DType::F32, DType::F16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
            let canonical = ChineseClipModel::load(&checkpoint.config, &checkpoint.weights, dtype, &device).unwrap();
            let prepared = canonical.clone().prepare();
            for (lengths, holes) in lengths.iter().flat_map(|lengths| [(lengths, false), (lengths, true)]) {
                let width = 1 + lengths.iter().max().unwrap();
                let ids = lengths.iter().enumerate().flat_map(|(i, _)| text(width, i)).collect::<Vec<_>>();
                let hidden = |at: usize, length: usize| at >= length || holes && at % 3 == 1;
                let row = |length: usize| (0..width).map(move |at| i64::from(!hidden(at, length)));
                let mask = lengths.iter().flat_map(|&length| row(length)).collect::<Vec<_>>();
                let shape = [lengths.len(), width];
                let types = ids.iter().map(|id| id % config.type_vocab_size as i64).collect::<Vec<_>>();
                let batch = TokenBatch::new(&ids, Some(&mask), shape, config, &device).unwrap();
                let batch = batch.with_token_type_ids(&types, config).unwrap();
                let expected = values(&canonical.get_text_features(&batch, &mut Recorder::off()));
                let found = values(&prepared.get_text_features(&batch));
                let shape = [lengths.len(), checkpoint.config.projection_dim];
                assert_close(&format!("{lengths:?}, holes {holes}"), &found, &expected, &shape, tolerance(dtype));
            }
        }
    }
}

#[test]
fn different_inputs_differ() {
    let model = Model::load(&devices()[0]);
    let different = |values: Vec<f32>| {
        let (first, rest) = values.split_at(model.width());
        cosine(first, &rest[..model.width()]) < 0.99
    };
    assert!(different(model.texts(&TEXTS, 8)) && different(model.images(&[1, 2])));
}
