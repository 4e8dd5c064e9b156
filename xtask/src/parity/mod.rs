//! `cargo xtask parity CHECKPOINT`: compares a checkpoint, and what is written of it, with the references and writes docs/parity.md.

mod ask;
mod compare;
mod halves;
mod written;

use std::fs;
use std::path::{Path, PathBuf};

use chinese_clip::checkpoint::{Checkpoint, OpenOptions};
use clap::Args;

use self::ask::{Inputs, Reference};
use crate::oracle::Oracle;
use crate::{Failure, page, root};

const EXTENSIONS: [&str; 10] = ["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "ppm", "tga"];

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Parity {
    /// A directory in the hub's layout, compared with transformers, or a file of cn_clip (`clip_cn_*.pt`), compared with cn_clip
    checkpoint: PathBuf,
    /// Directory of pictures
    #[arg(long)]
    images: Option<PathBuf>,
    /// File of texts, one JSON string a line
    #[arg(long)]
    texts: Option<PathBuf>,
    /// Compare so many pictures and texts only, evenly spread
    #[arg(long)]
    few: Option<usize>,
    /// Device of this implementation; the references run on the CPU
    #[arg(long, default_value = "flex")]
    device: String,
    /// What to call the checkpoint in the table; its file's name if absent
    #[arg(long)]
    name: Option<String>,
    /// A folder with transformers 5.24.0, which is laid over the packages of the Python to load what is written
    #[arg(long)]
    newer: Option<PathBuf>,
    /// Compare in f16 and bf16 as well, beside the reference's own distance from f32
    #[arg(long)]
    halves: bool,
    /// Only print, leave docs/parity.md as it is
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    oracle: Oracle,
}

/// One line of the table.
struct Row {
    what: String,
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
        let (images, texts) = (spread(images, self.few), spread(texts, self.few));
        let checkpoint = fs::canonicalize(&self.checkpoint)?;
        let reference = if checkpoint.is_dir() { Reference::Transformers } else { Reference::CnClip };
        let files = Inputs::Files { images: &images, texts: &texts };
        let answer = self.ask(reference, &checkpoint, files, self.halves)?;
        let opened = open(&checkpoint)?;
        let mut rows = compare::rows(opened, &self.device, reference.dialect(), &images, &texts, &answer)?;
        if self.halves {
            rows.extend(halves::rows(&checkpoint, &self.device, reference.dialect(), &texts, &answer)?);
        }
        rows.extend(self.written(reference, &open(&checkpoint)?, files, &answer)?);

        let name = page::heading(self.name.as_ref(), &self.checkpoint);
        let head = format!(
            "### {name}\n\n{} pictures, {} texts, {}, f32, device {}.\n\n",
            images.len(),
            texts.len(),
            reference.name(),
            self.device
        );
        let table = head + &table(&rows);
        print!("{table}");
        if !self.dry_run {
            page::replace(&root().join("docs/parity.md"), "parity", &name, &table)?;
        }
        match rows.iter().filter(|row| !row.good).count() {
            0 => Ok(()),
            bad => Err(format!("{bad} of {} comparisons out of bounds", rows.len()).into()),
        }
    }
}

fn open(path: &Path) -> Result<Checkpoint, Failure> {
    let path = path.to_str().ok_or("the path of the checkpoint is not UTF-8")?;
    Ok(chinese_clip::open(path, &OpenOptions::default())?)
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

fn spread<T>(all: Vec<T>, few: Option<usize>) -> Vec<T> {
    let count = few.unwrap_or(all.len()).clamp(1, all.len());
    let step = all.len() / count;
    all.into_iter().step_by(step).take(count).collect()
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from("| compared | found | bound | |\n| --- | --- | --- | --- |\n");
    for Row { what, found, bound, good } in rows {
        let verdict = if *good { "ok" } else { "OUT OF BOUNDS" };
        table += &["| ", what, " | ", found, " | ", bound, " | ", verdict, " |\n"].concat();
    }
    table
}
