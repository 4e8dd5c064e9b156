//! candle-transformers' Chinese-CLIP on the CPU, as a worker of `cargo xtask bench --peers`: `candle-peer MODEL INPUTS`.
//!
//! MODEL has `config.json` and `model.safetensors`, INPUTS has `inputs.safetensors` and `photo.jpg`. The worker says a line of
//! JSON when the model is ready, then answers each line of JSON on standard input with one; `benches/src/bin/worker.rs` is
//! the same for this workspace.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::chinese_clip::text_model::ChineseClipTextConfig;
use candle_transformers::models::chinese_clip::vision_model::ChineseClipVisionConfig;
use candle_transformers::models::chinese_clip::{ChineseClipConfig, ChineseClipModel};
use image::imageops::FilterType;
use serde::Deserialize;
use serde_json::{Value, json};

const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Large temporaries come and go with every layer; candle gains from this as much as the others do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize)]
struct Request {
    stage: String,
    batch: usize,
    calls: usize,
    #[serde(default)]
    features: bool,
}

struct Worker {
    model: ChineseClipModel,
    /// Edge of a picture.
    size: usize,
    pixels: Tensor,
    ids: Tensor,
    mask: Tensor,
    short_ids: Tensor,
    short_mask: Tensor,
    photo: PathBuf,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), Some(inputs)) = (arguments.next(), arguments.next()) else {
        bail!("usage: candle-peer MODEL INPUTS")
    };
    let start = Instant::now();
    let config = config(&model)?;
    // SAFETY: nobody writes to the file while this program runs.
    let weights =
        unsafe { VarBuilder::from_mmaped_safetensors(&[model.join("model.safetensors")], DType::F32, &Device::Cpu)? };
    let network = ChineseClipModel::new(weights, &config)?;
    let load = start.elapsed().as_secs_f64();
    let peak = peak_bytes();
    let mut arrays = candle_core::safetensors::load(inputs.join("inputs.safetensors"), &Device::Cpu)?;
    let mut take = |name: &str| arrays.remove(name).with_context(|| format!("no array {name}"));
    let worker = Worker {
        model: network,
        size: config.vision_config.image_size,
        pixels: take("pixel_values")?,
        ids: take("input_ids")?,
        mask: take("attention_mask")?,
        short_ids: take("short_input_ids")?,
        short_mask: take("short_attention_mask")?,
        photo: inputs.join("photo.jpg"),
    };
    say(&json!({ "version": "candle 0.11.1", "load_seconds": load, "peak_bytes": peak }))?;
    for line in stdin().lock().lines() {
        say(&worker.answer(&serde_json::from_str(&line?)?)?)?;
    }
    Ok(())
}

fn say(value: &Value) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

impl Worker {
    fn answer(&self, request: &Request) -> Result<Value> {
        let mut seconds = Vec::new();
        let mut features = Vec::new();
        for _ in 0..request.calls {
            let start = Instant::now();
            features = self.compute(&request.stage, request.batch)?.flatten_all()?.to_vec1::<f32>()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let features = request.features.then_some(features);
        Ok(json!({ "seconds": seconds, "features": features, "peak_bytes": peak_bytes() }))
    }

    fn compute(&self, stage: &str, batch: usize) -> Result<Tensor> {
        Ok(match stage {
            "image" => self.model.get_image_features(&self.pixels.narrow(0, 0, batch)?)?,
            "text" => self.texts(&self.ids.narrow(0, 0, batch)?, &self.mask.narrow(0, 0, batch)?)?,
            "short-texts" => self.short_texts(batch)?,
            "end-to-end" => {
                let photos = (0..batch).map(|_| photo(&self.photo, self.size)).collect::<Result<Vec<_>>>()?;
                self.model.get_image_features(&Tensor::stack(&photos, 0)?)?
            }
            _ => bail!("no stage {stage}"),
        })
    }

    fn texts(&self, ids: &Tensor, mask: &Tensor) -> Result<Tensor> {
        Ok(self.model.get_text_features(ids, Some(&ids.zeros_like()?), Some(mask))?)
    }

    /// Features of texts as they come, 32 at a time, padded to the longest of those.
    fn short_texts(&self, count: usize) -> Result<Tensor> {
        let parts = (0..count).step_by(32).map(|first| {
            let rows = |array: &Tensor| array.narrow(0, first, 32.min(count - first));
            let (ids, mask) = (rows(&self.short_ids)?, rows(&self.short_mask)?);
            let longest = mask.sum(1)?.max(0)?.to_scalar::<i64>()? as usize;
            self.texts(&ids.narrow(1, 0, longest)?.contiguous()?, &mask.narrow(1, 0, longest)?.contiguous()?)
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// A file as the image tower sees it, `[3, S, S]`.
fn photo(file: &Path, size: usize) -> Result<Tensor> {
    let edge = u32::try_from(size)?;
    let picture = image::open(file)?.resize_exact(edge, edge, FilterType::CatmullRom).to_rgb8();
    let mut values = vec![0.0; 3 * size * size];
    for (at, pixel) in picture.pixels().enumerate() {
        for (channel, level) in pixel.0.into_iter().enumerate() {
            values[channel * size * size + at] = (f32::from(level) / 255.0 - MEAN[channel]) / STD[channel];
        }
    }
    Ok(Tensor::from_vec(values, (3, size, size), &Device::Cpu)?)
}

/// candle has the configuration of ViT-B/16; `config.json` says where another size differs.
fn config(model: &Path) -> Result<ChineseClipConfig> {
    let file = model.join("config.json");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let json: Value = serde_json::from_str(&text)?;
    let read = |tower: &str, key: &str, field: &mut usize| {
        if let Some(value) = json[tower][key].as_u64() {
            *field = value as usize;
        }
    };
    let mut text_config = ChineseClipTextConfig::clip_vit_base_patch16();
    let mut vision_config = ChineseClipVisionConfig::clip_vit_base_patch16();
    read("text_config", "hidden_size", &mut text_config.hidden_size);
    read("text_config", "intermediate_size", &mut text_config.intermediate_size);
    read("text_config", "num_attention_heads", &mut text_config.num_attention_heads);
    read("text_config", "num_hidden_layers", &mut text_config.num_hidden_layers);
    read("vision_config", "hidden_size", &mut vision_config.hidden_size);
    read("vision_config", "image_size", &mut vision_config.image_size);
    read("vision_config", "intermediate_size", &mut vision_config.intermediate_size);
    read("vision_config", "num_attention_heads", &mut vision_config.num_attention_heads);
    read("vision_config", "num_hidden_layers", &mut vision_config.num_hidden_layers);
    read("vision_config", "patch_size", &mut vision_config.patch_size);
    let projection_dim = json["projection_dim"].as_u64().context("config.json: no projection_dim")? as usize;
    Ok(ChineseClipConfig {
        image_size: vision_config.image_size,
        text_config,
        vision_config,
        projection_dim,
        logit_scale_init_value: 2.6592,
    })
}

/// The peak of the resident memory; `None` where the system does not say.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
