//! The report on the benches: a section with a table and a plot for each stage.

use std::collections::BTreeSet;
use std::fs;

use super::criterion::{self, Point};
use super::{Bench, machine, milliseconds, page, plot, table};
use crate::{Failure, page as sections, root};

/// In the order of the page, with what a call is.
const STAGES: [(&str, &str); 15] = [
    ("decode", "One JPEG in memory to a picture."),
    ("resize", "One picture to what the image tower takes: 224x224, 8 bits a sample."),
    ("tokenise", "Strings to token ids."),
    ("preprocess", "JPEGs of 640x480 in memory to a checked batch."),
    ("text", "The text tower: texts padded to 52 tokens, on the device, to features on the device."),
    ("image", "The image tower: pixels on the device to features on the device."),
    ("jpeg-to-embedding", "The pipeline: JPEGs of 640x480 in memory to embeddings on the host."),
    ("text-to-embedding", "The pipeline: strings of 20 characters to embeddings on the host."),
    (
        "similarity",
        "All pairs of as many texts as images: `host` from embeddings, as the pipeline does, devices from features.",
    ),
    ("load", "A checkpoint's directory, in the page cache, to a model that is ready."),
    (
        "product",
        "The kernel of a linear layer from 768 to 3072 with GELU, 197 rows to a picture; `burn` by its operations on `flex`, and as many \
         multiply-adds on registers.",
    ),
    ("attention", "The kernel of attention: 12 heads of width 64, 197 tokens to a picture; likewise."),
    ("activation", "The kernel of GELU, on one thread: 197 x 3072 numbers to a picture."),
    ("norm", "The kernel of layer normalisation: 197 tokens of width 768 to a picture."),
    (
        "patches",
        "Pictures of 224x224 to rows of patches of 16x16: from 8 bits a sample at once, or by way of normalised numbers; `burn` begins with \
         these.",
    ),
];

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let (points, failed) = criterion::run(bench)?;
    if points.is_empty() && !failed {
        return Err("no bench has a name that the filter matches".into());
    }
    let conditions = machine::conditions(&bench.command());
    let folder = root().join("docs/performance");
    let suffix = bench.name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    for (stage, what) in STAGES {
        let points: Vec<Point> = points.iter().filter(|point| point.stage == stage).cloned().collect();
        if points.is_empty() {
            continue;
        }
        let name = format!("{stage}{suffix}");
        let file = format!("{}.svg", name.replace(", ", "-").replace(' ', "-").to_lowercase());
        let times = times(&points);
        let section = format!("### {name}\n\n{what}\n\n{times}\n![{name}](performance/{file})\n\n{conditions}\n");
        println!("{section}");
        if !bench.dry_run {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(file), plot::bars(&name, &points)?)?;
            sections::replace(&page(), "bench", &name, &section)?;
        }
    }
    if failed { Err("some benches failed; what was measured before is above".into()) } else { Ok(()) }
}

/// A row for each size and backend, a column for each batch.
fn times(points: &[Point]) -> String {
    let batches: BTreeSet<usize> = points.iter().map(|point| point.batch).collect();
    let rows: BTreeSet<(&str, &str)> = points.iter().map(|point| (&*point.size, &*point.backend)).collect();
    let columns = batches.iter().map(|batch| format!("batch {batch}, ms"));
    table(
        ["size".into(), "backend".into()].into_iter().chain(columns).collect(),
        rows.into_iter().map(|(size, backend)| {
            let cells = batches.iter().map(|&batch| {
                let same = |point: &&Point| (&*point.size, &*point.backend, point.batch) == (size, backend, batch);
                points.iter().find(same).map_or_else(String::new, cell)
            });
            [size.into(), backend.into()].into_iter().chain(cells).collect()
        }),
    )
}

fn cell(point: &Point) -> String {
    let [median, low, high] = [point.median, point.bounds.0, point.bounds.1].map(milliseconds);
    format!("{median} ({low} to {high})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(batch: usize, backend: &str, median: f64) -> Point {
        let (stage, size, backend) = ("image".into(), "ViT-B-16".into(), backend.into());
        Point { stage, size, batch, backend, median, bounds: (median * 0.9, median * 1.1) }
    }

    #[test]
    fn a_table_with_what_was_measured() {
        let points = [point(8, "flex", 1.5), point(1, "flex", 0.2), point(1, "ndarray", 0.4)];
        assert_eq!(
            times(&points),
            "| size | backend | batch 1, ms | batch 8, ms |\n| --- | --- | --- | --- |\n\
             | ViT-B-16 | flex | 200 (180 to 220) | 1500 (1350 to 1650) |\n| ViT-B-16 | ndarray | 400 (360 to 440) |  |\n"
        );
        let svg = plot::bars("image", &points).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("ndarray") && svg.contains("batch 8"));
    }
}
