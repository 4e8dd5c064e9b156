//! A checkpoint of random weights under the published names, for benches that load.

use std::borrow::Cow;
use std::io::Error;
use std::path::Path;

use chinese_clip::ChineseClipConfig;
use safetensors::{Dtype, View, serialize_to_file};

use crate::inputs::Random;

/// Writes `config.json` and `model.safetensors`, one tensor after the other.
pub(crate) fn write_random(config: &ChineseClipConfig, folder: &Path) -> Result<(), Error> {
    std::fs::write(folder.join("config.json"), config.to_json())?;
    let tensors = tensors(config).into_iter().enumerate().map(|(seed, (name, shape))| {
        let ones = name.to_lowercase().contains("norm") && name.ends_with("weight");
        (name, Weight { shape, ones, seed: seed as u64 })
    });
    serialize_to_file(tensors, None, &folder.join("model.safetensors")).map_err(Error::other)
}

/// A tensor whose values are drawn when they are written.
struct Weight {
    shape: Vec<usize>,
    ones: bool,
    seed: u64,
}

impl View for Weight {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut random = Random::new(self.seed);
        let values =
            (0..self.shape.iter().product()).map(|_: usize| if self.ones { 1.0 } else { 0.05 * random.uniform() });
        values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

/// Names and shapes.
fn tensors(config: &ChineseClipConfig) -> Vec<(String, Vec<usize>)> {
    let (text, vision) = (&config.text_config, &config.vision_config);
    let (d, w, patch) = (text.hidden_size, vision.hidden_size, vision.patch_size);
    let mut list = List(Vec::new());
    list.add("logit_scale", &[]);
    list.add("text_projection.weight", &[config.projection_dim, d]);
    list.add("visual_projection.weight", &[config.projection_dim, w]);

    let embeddings = "text_model.embeddings";
    list.add(&format!("{embeddings}.word_embeddings.weight"), &[text.vocab_size, d]);
    list.add(&format!("{embeddings}.position_embeddings.weight"), &[text.max_position_embeddings, d]);
    list.add(&format!("{embeddings}.token_type_embeddings.weight"), &[text.type_vocab_size, d]);
    list.norm(&format!("{embeddings}.LayerNorm"), d);
    for layer in 0..text.num_hidden_layers {
        let layer = format!("text_model.encoder.layer.{layer}");
        for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            list.linear(&format!("{layer}.{part}"), d, d);
        }
        list.linear(&format!("{layer}.intermediate.dense"), text.intermediate_size, d);
        list.linear(&format!("{layer}.output.dense"), d, text.intermediate_size);
        list.norm(&format!("{layer}.attention.output.LayerNorm"), d);
        list.norm(&format!("{layer}.output.LayerNorm"), d);
    }

    let embeddings = "vision_model.embeddings";
    list.add(&format!("{embeddings}.class_embedding"), &[w]);
    list.add(&format!("{embeddings}.patch_embedding.weight"), &[w, 3, patch, patch]);
    list.add(&format!("{embeddings}.position_embedding.weight"), &[vision.tokens(), w]);
    list.norm("vision_model.pre_layrnorm", w); // sic
    list.norm("vision_model.post_layernorm", w);
    for layer in 0..vision.num_hidden_layers {
        let layer = format!("vision_model.encoder.layers.{layer}");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            list.linear(&format!("{layer}.self_attn.{part}"), w, w);
        }
        list.linear(&format!("{layer}.mlp.fc1"), vision.intermediate_size, w);
        list.linear(&format!("{layer}.mlp.fc2"), w, vision.intermediate_size);
        list.norm(&format!("{layer}.layer_norm1"), w);
        list.norm(&format!("{layer}.layer_norm2"), w);
    }
    list.0
}

struct List(Vec<(String, Vec<usize>)>);

impl List {
    fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push((name.into(), shape.to_vec()));
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.add(&format!("{name}.weight"), &[outputs, inputs]);
        self.add(&format!("{name}.bias"), &[outputs]);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width]);
        self.add(&format!("{name}.bias"), &[width]);
    }
}

#[cfg(test)]
mod tests {
    use chinese_clip::{DEMO, OpenOptions, open};

    use super::*;

    #[test]
    fn what_is_written_loads() {
        let config = open(DEMO, &OpenOptions::default()).unwrap().config;
        let folder = tempfile::tempdir().unwrap();
        write_random(&config, folder.path()).unwrap();
        for (_, device) in crate::devices() {
            let clip = crate::pipeline(folder.path().to_str().unwrap(), &device);
            assert_eq!(clip.encode_texts(&["猫"]).unwrap().len(), 1);
        }
    }
}
