//! `cargo xtask parity DIR`: compares a checkpoint with Hugging Face transformers 4.51.3 and writes docs/parity.md.

use std::fs;
use std::path::{Path, PathBuf};

use chinese_clip::preprocess::Pixels;
use chinese_clip::{ChineseClip, Embeddings, Limits, Padding, Picture, device};
use chinese_clip_tests::{Arrays, cosine};
use clap::Args;

use crate::oracle::Oracle;
use crate::{Failure, page, root};

const EXTENSIONS: [&str; 10] = ["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "ppm", "tga"];

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Parity {
    /// A checkpoint directory in the hub's layout
    checkpoint: PathBuf,
    /// Directory of pictures
    #[arg(long)]
    images: Option<PathBuf>,
    /// File of texts, one JSON string a line
    #[arg(long)]
    texts: Option<PathBuf>,
    /// What to call the checkpoint in the table; the directory's name if absent
    #[arg(long)]
    name: Option<String>,
    /// Only print, leave docs/parity.md as it is
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    oracle: Oracle,
}

/// One line of the table.
struct Row {
    what: &'static str,
    found: String,
    bound: &'static str,
    good: bool,
}

impl Parity {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let images = pictures(&self.images.clone().unwrap_or_else(|| root().join("crates/model/demo/examples")))?;
        let texts = texts(
            &self.texts.clone().unwrap_or_else(|| root().join("crates/preprocess/tests/data/text_inputs.jsonl")),
        )?;
        let reference = self.ask(&images, &texts)?;
        let rows = compare(&self.checkpoint, &images, &texts, &reference)?;
        let name = self.name.clone().unwrap_or_else(|| {
            self.checkpoint.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        });
        let table = table(&name, images.len(), texts.len(), &rows);
        print!("{table}");
        if !self.dry_run {
            page::replace(&root().join("docs/parity.md"), "parity", &name, &table)?;
        }
        match rows.iter().filter(|row| !row.good).count() {
            0 => Ok(()),
            bad => Err(format!("{bad} of {} comparisons out of bounds", rows.len()).into()),
        }
    }

    fn ask(&self, images: &[PathBuf], texts: &[String]) -> Result<Arrays, Failure> {
        let folder = tempfile::tempdir()?;
        let (request, answer) = (folder.path().join("request.json"), folder.path().join("answer.safetensors"));
        let wanted = serde_json::json!({ "checkpoint": self.checkpoint, "images": images, "texts": texts });
        fs::write(&request, wanted.to_string())?;
        self.oracle.run(&root().join("xtask/parity.py"), &[&request, &answer])?;
        Ok(Arrays::read(&answer))
    }
}

fn pictures(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = fs::canonicalize(entry?.path())?;
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if EXTENSIONS.contains(&extension.as_str()) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(format!("no picture in {}", folder.display()).into()) } else { Ok(found) }
}

fn texts(file: &Path) -> Result<Vec<String>, Failure> {
    let content = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(content.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn compare(checkpoint: &Path, images: &[PathBuf], texts: &[String], reference: &Arrays) -> Result<Vec<Row>, Failure> {
    let path = checkpoint.to_str().ok_or("the path of the checkpoint is not UTF-8")?;
    let clip = ChineseClip::from_pretrained(path, &device("flex")?)?;

    let encodings = clip.tokenize(texts)?;
    let padded = clip.tokenizer().pad(&encodings, Padding::Longest)?;
    let (ids, mask) = (reference.i64("input_ids").0, reference.i64("attention_mask").0);
    let wrong = padded.input_ids.iter().zip(&ids).filter(|(a, b)| a != b).count();
    let same_ids = padded.input_ids == ids && padded.attention_mask == mask;

    let opened: Vec<Picture> =
        images.iter().map(|path| Picture::open(path, &Limits::default())).collect::<Result<_, _>>()?;
    let pixels = clip.image_processor().process(&opened)?;
    let (expected_pixels, shape) = reference.f32("pixel_values");
    let each = pixels.data.len() / images.len();
    let (mut exact, mut lossless, mut jpeg_worst) = (0, 0, 0.0_f32);
    let mut differing = Vec::new();
    for (i, path) in images.iter().enumerate() {
        let (found, expected) = (&pixels.data[i * each..(i + 1) * each], &expected_pixels[i * each..(i + 1) * each]);
        let distance = max_distance(found, expected);
        if is_jpeg(path)? {
            jpeg_worst = jpeg_worst.max(distance);
        } else {
            lossless += 1;
            exact += usize::from(distance == 0.0);
            if distance != 0.0 {
                differing.push(path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
            }
        }
    }

    let text = clip.text_features(&encodings)?;
    let shape: [usize; 4] = shape.try_into().map_err(|_| "pixel_values must have four dimensions")?;
    let on_reference_pixels = in_batches(&clip, &expected_pixels, shape)?;
    let end_to_end = clip.image_features(&opened)?;
    let image_features = reference.f32("image_features").0;
    let similarity = clip.compare(&on_reference_pixels.clone().into_unit()?, &text.clone().into_unit()?)?;
    let probabilities: Vec<f32> = (0..images.len()).flat_map(|i| similarity.probabilities(i)).collect();
    let off = max_distance(&probabilities, &reference.f32("probabilities").0);

    Ok(vec![
        Row {
            what: "token ids and mask",
            found: format!("{wrong} of {} differ", ids.len()),
            bound: "equal",
            good: same_ids,
        },
        Row {
            what: "pixels, without JPEG compression",
            found: format!(
                "{exact} of {lossless} pictures equal{}",
                differing.iter().map(|n| format!(", not {n}")).collect::<Vec<_>>().concat()
            ),
            bound: "equal",
            good: exact == lossless,
        },
        Row {
            what: "pixels, with JPEG compression (another decoder)",
            found: if lossless < images.len() { format!("max {jpeg_worst:.4}") } else { "no such picture".into() },
            bound: "stated",
            good: true,
        },
        features("text features", &text, &reference.f32("text_features").0),
        features("image features, on the reference's pixels", &on_reference_pixels, &image_features),
        Row { bound: "stated", good: true, ..features("image features, from the files", &end_to_end, &image_features) },
        Row {
            what: "probabilities, on the reference's pixels",
            found: format!("max {off:.2e}"),
            bound: "1e-4",
            good: off <= 1e-4,
        },
    ])
}

fn in_batches(clip: &ChineseClip, pixels: &[f32], [b, c, h, w]: [usize; 4]) -> Result<Embeddings, Failure> {
    let mut values = Vec::new();
    for one in pixels.chunks_exact(pixels.len() / b) {
        values.extend_from_slice(clip.pixel_features(Pixels { data: one.to_vec(), shape: [1, c, h, w] })?.values());
    }
    Ok(Embeddings::new(values, clip.config().projection_dim))
}

/// Features must lie within 1e-4 of the largest component, with a cosine above 0.999999.
fn features(what: &'static str, found: &Embeddings, expected: &[f32]) -> Row {
    let (relative, cosine) = feature_distance(found, expected);
    let good = relative <= 1e-4 && cosine > 0.999_999;
    Row { what, found: format!("{relative:.1e} of the largest, cosine {cosine:.9}"), bound: "1e-4, 0.999999", good }
}

/// The largest difference as a part of the largest component, and the least cosine of a row.
fn feature_distance(found: &Embeddings, expected: &[f32]) -> (f32, f64) {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let cosines = found.rows().zip(expected.chunks_exact(found.width())).map(|(f, e)| cosine(f, e));
    (max_distance(found.values(), expected) / largest, cosines.fold(1.0, f64::min))
}

fn max_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(if a.len() == b.len() { 0.0 } else { f32::INFINITY }, f32::max)
}

/// Whether the picture is compressed with JPEG, be it inside a TIFF.
fn is_jpeg(path: &Path) -> Result<bool, Failure> {
    const START: [u8; 3] = [0xff, 0xd8, 0xff];
    let bytes = fs::read(path)?;
    let tiff = bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*");
    Ok(bytes.starts_with(&START) || (tiff && bytes.windows(3).any(|window| window == START)))
}

fn table(name: &str, images: usize, texts: usize, rows: &[Row]) -> String {
    let mut table = format!(
        "### {name}\n\n{images} pictures, {texts} texts, transformers 4.51.3, f32, device flex.\n\n\
         | compared | found | bound | |\n| --- | --- | --- | --- |\n"
    );
    for Row { what, found, bound, good } in rows {
        let verdict = if *good { "ok" } else { "OUT OF BOUNDS" };
        table += &["| ", what, " | ", found, " | ", bound, " | ", verdict, " |\n"].concat();
    }
    table
}
