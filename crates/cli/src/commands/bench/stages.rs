//! The stages of `bench`, and how each is timed.

use std::time::Instant;

use chinese_clip::preprocess::Levels;
use chinese_clip::{ChineseClip, Error, Limits, LoadOptions, Picture, PixelBatch, TokenBatch, device, dtype};
use rayon::prelude::*;

use super::inputs;
use super::report::{LOAD, Report, Row, peak_bytes};
use crate::Outcome;
use crate::args::BenchArgs;
use crate::error::CliError;
use crate::loading::{open, open_options};
use crate::signals;

/// What is measured for each size of batch, in this order.
const STAGES: [(&str, Stage); 6] = [
    ("decode", Bench::decode),
    ("resize", Bench::resize),
    ("image", Bench::image),
    ("tokenise", Bench::tokenise),
    ("text", Bench::text),
    ("end to end", Bench::end_to_end),
];
/// Times a stage for a size of batch.
type Stage = fn(&Bench, usize) -> Result<Times, CliError>;
/// The seconds of each run; `None` if it was interrupted.
type Times = Option<Vec<f64>>;

/// Two runs that differ by no more than this part are alike.
const ALIKE: f64 = 0.2;
/// The most runs that are taken as warm-up.
const WARM_UP: usize = 3;
/// The least that are timed, unless one alone takes all the time there is.
const RUNS: usize = 3;

/// The names of the stages.
pub(crate) fn stage_names() -> impl Iterator<Item = &'static str> {
    STAGES.into_iter().map(|(name, _)| name)
}

/// The stages that are asked for.
pub(super) fn wanted(args: &BenchArgs) -> impl Iterator<Item = (&'static str, Stage)> {
    STAGES.into_iter().filter(|(name, _)| args.stage.is_empty() || args.stage.iter().any(|stage| stage == name))
}

/// Measures one device.
pub(super) fn run(args: &BenchArgs, name: &str, batches: &[u32], report: &mut Report) -> Result<Outcome, CliError> {
    let device = device(name)?;
    let options = LoadOptions {
        dtype: args.dtype.as_deref().map(dtype).transpose()?,
        open: open_options(&args.source.hub),
        ..LoadOptions::default()
    };
    let checkpoint = open(&args.source, &options.open)?;
    let (length, positions) = (args.length as usize, checkpoint.config.text_config.max_position_embeddings);
    if length > positions {
        return Err(CliError::Positions { length, positions });
    }
    let (jpeg, limits) = (inputs::jpeg()?, options.open.limits.clone());
    let start = Instant::now();
    let clip = ChineseClip::from_checkpoint(checkpoint, &device, &options)?;
    clip.with_model(|_| ())?; // whose weights are on the device now
    let (seconds, dtype) = (start.elapsed().as_secs_f64(), clip.dtype());
    let mut peak = peak_bytes();
    report.row(&Row::new((LOAD, name, dtype, 1), vec![seconds], peak))?;
    let bench = Bench { clip, limits, jpeg, length, seconds: args.seconds };
    for &batch in batches {
        for (stage, time) in wanted(args) {
            let Some(seconds) = time(&bench, batch as usize)? else { return Ok(Outcome::Interrupted) };
            peak = peak.max(peak_bytes());
            report.row(&Row::new((stage, name, dtype, batch), seconds, peak))?;
        }
    }
    Ok(Outcome::Done)
}

/// What the stages work with.
pub(super) struct Bench {
    clip: ChineseClip,
    limits: Limits,
    jpeg: Vec<u8>,
    length: usize,
    seconds: f64,
}

impl Bench {
    fn decode(&self, batch: usize) -> Result<Times, CliError> {
        time(self.seconds, || self.pictures(batch))
    }

    fn resize(&self, batch: usize) -> Result<Times, CliError> {
        let pictures = self.pictures(batch)?;
        time(self.seconds, || Ok(self.clip.image_processor().levels(&pictures)?))
    }

    fn image(&self, batch: usize) -> Result<Times, CliError> {
        let clip = &self.clip;
        let Levels { data, shape, values } = clip.image_processor().levels(&self.pictures(batch)?)?;
        let pixels = PixelBatch::of_levels(data, values, shape, &clip.config().vision_config, clip.device());
        let pixels = pixels.map_err(Error::from)?;
        time(self.seconds, || Ok(clip.with_model(|model| model.get_image_features(&pixels))?))
    }

    fn tokenise(&self, batch: usize) -> Result<Times, CliError> {
        let texts: Vec<&str> = inputs::TEXTS.iter().copied().cycle().take(batch).collect();
        time(self.seconds, || Ok(self.clip.tokenize(&texts)?))
    }

    fn text(&self, batch: usize) -> Result<Times, CliError> {
        let clip = &self.clip;
        let encodings = clip.tokenize(&inputs::TEXTS)?;
        let ids = encodings.iter().flat_map(|encoding| &encoding.ids).map(|&id| i64::from(id));
        let ids: Vec<i64> = ids.cycle().take(batch * self.length).collect();
        let tokens = TokenBatch::new(&ids, None, [batch, self.length], &clip.config().text_config, clip.device());
        let tokens = tokens.map_err(Error::from)?;
        time(self.seconds, || Ok(clip.with_model(|model| model.get_text_features(&tokens))?))
    }

    fn end_to_end(&self, batch: usize) -> Result<Times, CliError> {
        time(self.seconds, || Ok(self.clip.encode_images(&self.pictures(batch)?)?))
    }

    /// Decoded in parallel, as the other commands do.
    fn pictures(&self, batch: usize) -> Result<Vec<Picture>, CliError> {
        let picture = |_| Ok(Picture::decode(&self.jpeg, &self.limits)?);
        (0..batch).into_par_iter().map(picture).collect()
    }
}

/// Runs `work` until `budget` seconds are spent.
fn time<T>(budget: f64, mut work: impl FnMut() -> Result<T, CliError>) -> Result<Times, CliError> {
    repeat(budget, || {
        let start = Instant::now();
        let result = work()?;
        let seconds = start.elapsed().as_secs_f64();
        drop(result); // not before the clock is read
        Ok(seconds)
    })
}

/// Calls `run`, which gives the seconds that it took, until `budget` is spent.
///
/// The first run warms up, and so does the next as long as it is unlike the one before: backends compile kernels.
fn repeat(budget: f64, mut run: impl FnMut() -> Result<f64, CliError>) -> Result<Times, CliError> {
    let (mut before, mut warm_up, mut runs, mut spent) = (run()?, 1, Vec::new(), 0.0);
    while !enough(&runs, spent, budget) {
        if signals::stopped() {
            return Ok(None);
        }
        let seconds = run()?;
        let alike = (seconds - before).abs() <= ALIKE * before;
        if runs.is_empty() && !alike && warm_up < WARM_UP {
            warm_up += 1;
        } else {
            runs.push(seconds);
            spent += seconds;
        }
        before = seconds;
    }
    Ok(Some(runs))
}

fn enough(runs: &[f64], spent: f64, budget: f64) -> bool {
    runs.last().is_some_and(|&last| last >= budget || spent >= budget && runs.len() >= RUNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repeats a run that takes so many seconds, the last number from then on; gives how many warmed up and what was kept.
    fn repeated(budget: f64, seconds: &[f64]) -> (usize, Vec<f64>) {
        let mut calls = 0;
        let run = || {
            calls += 1;
            Ok(seconds[(calls - 1).min(seconds.len() - 1)])
        };
        let kept = repeat(budget, run).unwrap().unwrap();
        (calls - kept.len(), kept)
    }

    #[test]
    fn slow_and_compiling_stages_end() {
        assert_eq!(repeated(2.0, &[0.5]), (1, vec![0.5; 4]), "until the time is spent");
        assert_eq!(repeated(2.0, &[1.5]), (1, vec![1.5; 3]), "at least three runs");
        assert_eq!(repeated(2.0, &[9.0]), (1, vec![9.0]), "a run that takes all the time");
        assert_eq!(repeated(2.0, &[9.0, 1.0, 1.1]), (2, vec![1.1; 3]), "the second run still differs");
        assert_eq!(repeated(2.0, &[90.0, 9.0, 3.0, 1.0]), (3, vec![1.0; 3]), "warming up ends");
    }
}
