//! `cargo xtask numerics DIR`: what shorter numbers, or another device, do to features and to a ranking, written to docs/numerics.md.

use std::cmp::Reverse;
use std::fmt::Write;
use std::path::Path;

use chinese_clip::preprocess::Pixels;
use chinese_clip::{ChineseClip, DType, Embeddings, LoadOptions, device};
use chinese_clip_tests::cosine;
use clap::Args;

use crate::{Failure, page, root};

/// Pictures of a batch.
const BATCH: usize = 8;
/// How many of the best are compared.
const TOP: usize = 10;

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Numerics {
    /// A checkpoint, as `chinese-clip --model` takes it
    checkpoint: String,
    /// Pictures, and as many texts
    #[arg(long, default_value_t = 1000)]
    pairs: usize,
    /// Where it is computed
    #[arg(long, value_delimiter = ',', default_value = "flex")]
    device: Vec<String>,
    /// The number formats that are compared with f32 on flex
    #[arg(long, value_delimiter = ',', default_values = ["bf16", "int8"])]
    dtype: Vec<String>,
    /// What to call the checkpoint in the page; its last component if absent
    #[arg(long)]
    name: Option<String>,
    /// Only print, leave docs/numerics.md as it is
    #[arg(long)]
    dry_run: bool,
}

/// Features of all pictures and of all texts.
struct Features {
    images: Embeddings,
    texts: Embeddings,
}

impl Numerics {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let wide = self.features("flex", DType::F32)?;
        let name = page::heading(self.name.as_ref(), Path::new(&self.checkpoint));
        let mut table = format!(
            "### {name}\n\n{} seeded pictures and as many texts, against f32 on flex.\n\n\
             | device | dtype | of | least cosine | mean cosine | largest difference, of the largest component | best {TOP} of the other side that f32 has, too |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
            self.pairs
        );
        let mut failed = Vec::new();
        for (device, dtype) in self.device.iter().flat_map(|device| self.dtype.iter().map(move |dtype| (device, dtype)))
        {
            let rows = self.features(device, chinese_clip::dtype(dtype)?).and_then(|short| rows(&wide, &short));
            match rows {
                Ok(rows) => rows.iter().try_for_each(|row| writeln!(table, "| {device} | {dtype} | {row} |"))?,
                Err(error) => failed.push(format!("{device} in {dtype}: {error}")),
            }
        }
        print!("{table}");
        if !self.dry_run {
            page::replace(&root().join("docs/numerics.md"), "numerics", &name, &table)?;
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
    }

    fn features(&self, on: &str, dtype: DType) -> Result<Features, Failure> {
        let options = LoadOptions { dtype: Some(dtype), ..LoadOptions::default() };
        let clip = ChineseClip::from_pretrained_with(&self.checkpoint, &device(on)?, &options)?;
        let (mut random, size) = (Random(1), clip.config().vision_config.image_size);
        let mut images = Vec::new();
        for first in (0..self.pairs).step_by(BATCH) {
            let count = BATCH.min(self.pairs - first);
            let data = (0..count).flat_map(|_| picture(&mut random, size)).collect();
            images.extend_from_slice(clip.pixel_features(Pixels { data, shape: [count, 3, size, size] })?.values());
        }
        let texts: Vec<String> = (0..self.pairs).map(|_| text(&mut random)).collect();
        let texts = clip.text_features(&clip.tokenize(&texts)?)?;
        Ok(Features { images: Embeddings::new(images, texts.width()), texts })
    }
}

/// What short numbers change, of pictures and of texts.
fn rows(wide: &Features, short: &Features) -> Result<[String; 2], Failure> {
    let row = |what, (wide, wide_other): (&Embeddings, _), (short, short_other): (&Embeddings, _)| {
        let (least, mean, off) = distance(wide, short);
        let kept = 100.0 * overlap((wide, wide_other), (short, short_other))?;
        Ok::<_, Failure>(format!("{what} | {least:.6} | {mean:.6} | {off:.1e} | {kept:.1} %"))
    };
    let (images, texts) = ((&wide.images, &short.images), (&wide.texts, &short.texts));
    Ok([
        row("pictures", (images.0, texts.0), (images.1, texts.1))?,
        row("texts", (texts.0, images.0), (texts.1, images.1))?,
    ])
}

/// The generator splitmix64.
struct Random(u64);

impl Random {
    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let state = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (state ^ (state >> 31)) % limit
    }

    /// A number in -2..2, where the values of prepared pixels lie.
    fn value(&mut self) -> f32 {
        self.below(4000) as f32 / 1000.0 - 2.0
    }
}

/// Values of a picture, `[3, S, S]`: two to eight squares of one colour each across, and noise.
fn picture(random: &mut Random, size: usize) -> Vec<f32> {
    let across = 2 + random.below(7) as usize;
    let colours: Vec<f32> = (0..3 * across * across).map(|_| random.value()).collect();
    let place = |at: usize| at * across / size;
    let pixels = (0..3 * size * size).map(|at| {
        let (channel, row, column) = (at / (size * size), at / size % size, at % size);
        colours[(channel * across + place(row)) * across + place(column)] + 0.1 * random.value()
    });
    pixels.collect()
}

/// Four to twenty Chinese characters.
fn text(random: &mut Random) -> String {
    let length = 4 + random.below(17);
    (0..length).filter_map(|_| char::from_u32(0x4E00 + random.below(0x51A5) as u32)).collect()
}

/// Least and mean cosine of rows, and the largest difference as a part of the largest component.
fn distance(wide: &Embeddings, short: &Embeddings) -> (f64, f64, f32) {
    let cosines: Vec<f64> = wide.rows().zip(short.rows()).map(|(a, b)| cosine(a, b)).collect();
    let largest = wide.values().iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let off = wide.values().iter().zip(short.values()).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    (cosines.into_iter().fold(1.0, f64::min), mean, off / largest)
}

/// The part of each row's best that both have, on average. Each pair is what is ranked for, and what is ranked.
fn overlap(wide: (&Embeddings, &Embeddings), short: (&Embeddings, &Embeddings)) -> Result<f64, Failure> {
    let best = |(of, among): (&Embeddings, &Embeddings)| -> Result<Vec<Vec<usize>>, Failure> {
        let (of, among) = (of.clone().into_unit()?, among.clone().into_unit()?);
        Ok(of.rows().map(|row| ranked(row, &among)).collect())
    };
    let (wide, short) = (best(wide)?, best(short)?);
    let common = wide.iter().zip(&short).map(|(a, b)| a.iter().filter(|place| b.contains(place)).count());
    Ok(common.sum::<usize>() as f64 / wide.iter().map(Vec::len).sum::<usize>() as f64)
}

fn ranked(row: &[f32], among: &Embeddings) -> Vec<usize> {
    let product = |other: &[f32]| row.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    let mut places: Vec<(f32, Reverse<usize>)> =
        among.rows().enumerate().map(|(place, other)| (product(other), Reverse(place))).collect();
    places.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    places.into_iter().take(TOP).map(|(_, Reverse(place))| place).collect()
}
