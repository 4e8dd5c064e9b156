//! This workspace as a worker of `cargo xtask bench --peers`, one process for each device.
//!
//! * `bench-worker devices`: the names of this build's devices, as JSON; those in another number format than f32 as `flex bf16`.
//! * `bench-worker inputs MODEL FOLDER BATCH`: writes the inputs of all workers.
//! * `bench-worker stages MODEL`: the stages whose operations are known, as JSON.
//! * `bench-worker DEVICE MODEL FOLDER`: says a line of JSON when the model is ready, then answers each line of JSON on
//!   standard input with one. A request names a stage, a batch and how often to compute; the answer has the seconds of each call.
//! * `bench-worker registers MODEL`: likewise, but computes nothing but as many multiply-adds on registers as the stage needs.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // where the answers go

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::io::stdin;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use chinese_clip::preprocess::Pixels;
use chinese_clip::{
    Budget, ChineseClip, DType, Embeddings, Encoding, Limits, LoadOptions, OpenOptions, Picture, device, devices, open,
};
use chinese_clip_benches::{Inputs, LENGTH, Work, multiply_adds, peak_bytes};
use chinese_clip_kernels::keep_pages;
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request {
    stage: String,
    batch: usize,
    calls: usize,
    #[serde(default)]
    features: bool,
}

fn main() -> ExitCode {
    keep_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["devices"] => names(),
        ["inputs", model, folder, batch] => write_inputs(model, folder, batch),
        ["stages", model] => stages(model),
        ["registers", model] => registers(model),
        [device, model, folder] => serve(device, model, folder),
        _ => Err("usage: bench-worker devices | inputs MODEL FOLDER BATCH | stages MODEL | registers MODEL | \
                  DEVICE MODEL FOLDER"
            .into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        if let Some(hint) = error.downcast_ref::<chinese_clip::Error>().and_then(chinese_clip::Error::hint) {
            eprintln!("hint: {hint}");
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn names() -> Result<(), Box<dyn Error>> {
    let short = ["bf16", "int8"].map(|dtype| format!("flex {dtype}"));
    let names: Vec<String> = devices().into_iter().map(|info| info.name).chain(short).collect();
    println!("{}", serde_json::to_string(&names)?);
    Ok(())
}

fn write_inputs(model: &str, folder: &str, batch: &str) -> Result<(), Box<dyn Error>> {
    let config = open(model, &OpenOptions::default())?.config;
    Ok(Inputs::write(Path::new(folder), batch.parse()?, config.vision_config.image_size)?)
}

/// The operations of a picture or a text, by stage.
fn operations(model: &str) -> Result<HashMap<&'static str, f64>, Box<dyn Error>> {
    let Work { image, text } = Work::of(&open(model, &OpenOptions::default())?.config, LENGTH);
    Ok([("image", image), ("text", Some(text))].into_iter().filter_map(|(stage, work)| Some((stage, work?))).collect())
}

fn stages(model: &str) -> Result<(), Box<dyn Error>> {
    println!("{}", serde_json::to_string(&operations(model)?.keys().collect::<Vec<_>>())?);
    Ok(())
}

fn registers(model: &str) -> Result<(), Box<dyn Error>> {
    let operations = operations(model)?;
    answer_all(&json!({ "version": "", "load_seconds": 0.0 }), |Request { stage, batch, calls, .. }| {
        let work = operations.get(stage.as_str()).ok_or_else(|| format!("no operations of {stage}"))?;
        let seconds: Vec<f64> = (0..*calls)
            .map(|_| {
                let start = Instant::now();
                black_box(multiply_adds((work * *batch as f64 / 2.0) as usize));
                start.elapsed().as_secs_f64()
            })
            .collect();
        Ok(json!({ "seconds": seconds }))
    })
}

/// Says that it is ready, then answers request by request.
fn answer_all(ready: &Value, answer: impl Fn(&Request) -> Result<Value, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    println!("{ready}");
    for line in stdin().lines() {
        println!("{}", answer(&serde_json::from_str(&line?)?)?);
    }
    Ok(())
}

fn serve(name: &str, model: &str, folder: &str) -> Result<(), Box<dyn Error>> {
    let (device, dtype) = match name.split_once(' ') {
        Some((name, dtype)) => (device(name)?, chinese_clip::dtype(dtype)?),
        None => (device(name)?, DType::F32),
    };
    // The text tower gets all texts in one batch, as it does elsewhere.
    let budget = Some(Budget { tokens: usize::MAX, ..Budget::of(&device) });
    let options = LoadOptions { dtype: Some(dtype), budget, ..LoadOptions::default() };
    let start = Instant::now();
    let clip = ChineseClip::from_pretrained_with(model, &device, &options)?;
    device.sync()?;
    let (load_seconds, peak) = (start.elapsed().as_secs_f64(), peak_bytes());
    let worker = Worker::new(clip, &Inputs::read(Path::new(folder)));
    let version = format!("chinese-clip {}, device {name}", env!("CARGO_PKG_VERSION"));
    let ready = json!({ "version": version, "load_seconds": load_seconds, "peak_bytes": peak });
    answer_all(&ready, |request| worker.answer(request))
}

/// The kept tokens of an array of padded texts.
fn encodings(inputs: &Inputs, ids: &str, mask: &str) -> Vec<Encoding> {
    let ((ids, shape), (mask, _)) = (inputs.arrays.i64(ids), inputs.arrays.i64(mask));
    let rows = ids.chunks(shape[1]).zip(mask.chunks(shape[1]));
    let kept = rows.map(|(ids, mask)| {
        let kept = ids.iter().zip(mask).filter(|(_, kept)| **kept == 1);
        let ids: Vec<u32> = kept.map(|(id, _)| *id as u32).collect();
        Encoding { full_length: ids.len(), ids }
    });
    kept.collect()
}

struct Worker {
    clip: ChineseClip,
    pixels: Vec<f32>,
    /// `[B, 3, S, S]`.
    shape: [usize; 4],
    texts: Vec<Encoding>,
    short_texts: Vec<Encoding>,
    photo: PathBuf,
}

impl Worker {
    fn new(clip: ChineseClip, inputs: &Inputs) -> Self {
        let (pixels, shape) = inputs.arrays.f32("pixel_values");
        let texts = encodings(inputs, "input_ids", "attention_mask");
        let short_texts = encodings(inputs, "short_input_ids", "short_attention_mask");
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        Self { clip, pixels, shape, texts, short_texts, photo: inputs.photo.clone() }
    }

    fn answer(&self, request: &Request) -> Result<Value, Box<dyn Error>> {
        let mut seconds = Vec::new();
        let mut features = None;
        for _ in 0..request.calls {
            let images = if request.stage == "image" { request.batch } else { 0 };
            let pixels = self.pixels(images); // consumed by the pipeline; the copy is not timed
            let start = Instant::now();
            let computed = self.compute(&request.stage, request.batch, pixels)?;
            seconds.push(start.elapsed().as_secs_f64());
            features = request.features.then(|| computed.values().to_vec());
        }
        Ok(json!({ "seconds": seconds, "features": features, "peak_bytes": peak_bytes() }))
    }

    fn pixels(&self, batch: usize) -> Pixels {
        let [rows, channels, height, width] = self.shape;
        Pixels {
            data: self.pixels[..self.pixels.len() / rows * batch].to_vec(),
            shape: [batch, channels, height, width],
        }
    }

    /// Features on the host.
    fn compute(&self, stage: &str, batch: usize, pixels: Pixels) -> Result<Embeddings, Box<dyn Error>> {
        Ok(match stage {
            "image" => self.clip.pixel_features(pixels)?,
            "text" => self.clip.text_features(&self.texts[..batch])?,
            "short-texts" => self.clip.text_features(&self.short_texts[..batch])?,
            "end-to-end" => {
                let open = |_| Picture::open(&self.photo, &Limits::default());
                let pictures: Vec<Picture> = (0..batch).into_par_iter().map(open).collect::<Result<_, _>>()?;
                self.clip.image_features(&pictures)?
            }
            _ => return Err(format!("no stage {stage}").into()),
        })
    }
}
