//! What `bench` prints: a row as soon as it is measured, as JSON or in a table for each device.

use chinese_clip::{DType, dtype_name};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::messages;
use crate::output::Out;

/// The stage of the first row of a device.
pub(super) const LOAD: &str = "load";

/// One stage at one size of batch, on one device.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    stage: String,
    device: String,
    dtype: String,
    batch: u32,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    runs: usize,
    per_second: f64,
    /// The most memory that the process has held up to the end of this stage.
    peak_bytes: Option<u64>,
}

impl Row {
    /// A row out of the seconds of its runs, of which there is at least one.
    pub(super) fn new(
        (stage, device, dtype, batch): (&str, &str, DType, u32),
        mut seconds: Vec<f64>,
        peak_bytes: Option<u64>,
    ) -> Self {
        seconds.sort_by(f64::total_cmp);
        let runs = seconds.len();
        let median = f64::midpoint(seconds[(runs - 1) / 2], seconds[runs / 2]);
        Self {
            stage: stage.into(),
            device: device.into(),
            dtype: dtype_name(dtype).into(),
            batch,
            median_s: median,
            min_s: seconds[0],
            max_s: seconds[runs - 1],
            runs,
            per_second: f64::from(batch) / median,
            peak_bytes,
        }
    }
}

/// The most memory that this process has held, where the system tells: Linux, which counts to a few pages.
pub(super) fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Standard output, and a bar on a terminal.
pub(super) struct Report {
    out: Out,
    json: bool,
    bar: ProgressBar,
    rows: usize,
    /// Of the device whose table is open: seconds of loading, and peak memory so far.
    table: Option<(f64, Option<u64>)>,
}

impl Report {
    /// A report with a bar for so many rows.
    pub(super) fn new(json: bool, rows: usize) -> Self {
        Self { out: Out::new(), json, bar: messages::progress(rows), rows: 0, table: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn error(&self, error: &CliError) {
        self.bar.suspend(|| messages::error(error));
    }

    /// Prints a row at once: what an interrupted run has measured is not lost.
    pub(super) fn row(&mut self, row: &Row) -> Result<(), CliError> {
        self.rows += 1;
        let bar = self.bar.clone();
        bar.suspend(|| {
            if self.json {
                let text = serde_json::to_string(row).map_err(|error| CliError::Stdout { source: error.into() })?;
                self.out.line(&text)?;
            } else {
                self.line(row)?;
            }
            self.out.flush()
        })?;
        bar.inc(1);
        Ok(())
    }

    fn line(&mut self, row: &Row) -> Result<(), CliError> {
        let Row { stage, device, dtype, batch, runs, .. } = row;
        if stage == LOAD {
            self.table = Some((row.median_s, row.peak_bytes));
            self.out.line(&format!("{device}, {dtype}"))?;
            return self.out.line("  stage       batch   median ms        min .. max ms         runs    a second");
        }
        if let Some((_, peak)) = &mut self.table {
            *peak = row.peak_bytes;
        }
        let [median, min, max] = [row.median_s, row.min_s, row.max_s].map(|seconds| seconds * 1000.0);
        let unit = if matches!(stage.as_str(), "tokenise" | "text") { "texts" } else { "images" };
        self.out.line(&format!(
            "  {stage:<10}{batch:>7}{median:>12.3}{min:>12.3} .. {max:<12.3}{runs:>6}{:>12.1} {unit}",
            row.per_second
        ))
    }

    /// Ends the table of a device.
    pub(super) fn end_device(&mut self) -> Result<(), CliError> {
        let Some((load, peak)) = self.table.take() else { return Ok(()) };
        let peak = peak.map_or("unknown here".into(), |bytes| format!("{} MiB", bytes >> 20));
        let bar = self.bar.clone();
        bar.suspend(|| self.out.line(&format!("  loaded in {load:.2} s; peak memory {peak}")))
    }

    pub(super) fn finish(mut self) -> Result<(), CliError> {
        self.end_device()?;
        self.bar.finish_and_clear();
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let row = Row::new(("decode", "flex", DType::F32, 8), vec![4.0, 1.0, 3.0, 100.0], None);
        assert_eq!((row.median_s, row.min_s, row.max_s, row.runs), (3.5, 1.0, 100.0, 4));
        assert_eq!(row.per_second, 8.0 / 3.5);
        assert_eq!(Row::new((LOAD, "flex", DType::F32, 1), vec![0.5], None).median_s, 0.5);
    }
}
