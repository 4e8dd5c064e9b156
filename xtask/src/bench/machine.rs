//! The machine and the tools that numbers were measured with.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::root;

/// One line of a report.
pub(super) fn conditions(command: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = memory().map_or_else(String::new, |bytes| format!(", {} GiB of memory", (bytes as f64 / GIB).round()));
    format!(
        "{}, `{command}`: {}, {cores} logical cores{memory}, {}, {}, burn {}.",
        date(),
        processor().unwrap_or_else(|| "unknown processor".into()),
        system().unwrap_or_else(|| std::env::consts::OS.into()),
        output("rustc", &["--version"]).unwrap_or_else(|| "unknown rustc".into()),
        burn().unwrap_or_else(|| "of an unknown version".into()),
    )
}

const GIB: f64 = 1_073_741_824.0;

fn processor() -> Option<String> {
    match fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => Some(text.lines().find(|line| line.starts_with("model name"))?.split_once(": ")?.1.into()),
        Err(_) => output("sysctl", &["-n", "machdep.cpu.brand_string"]),
    }
}

fn memory() -> Option<u64> {
    match fs::read_to_string("/proc/meminfo") {
        Ok(text) => Some(text.lines().next()?.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024),
        Err(_) => output("sysctl", &["-n", "hw.memsize"])?.parse().ok(),
    }
}

fn system() -> Option<String> {
    let kernel = output("uname", &["-sr"])?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Some(name.map_or_else(|| kernel.clone(), |name| format!("{}, {kernel}", name.trim_matches('"'))))
}

fn burn() -> Option<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).ok()?;
    Some(lock.split_once("name = \"burn\"\nversion = \"")?.1.split_once('"')?.0.into())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Today in UTC.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil((seconds / 86_400) as i64);
    format!("{year}-{month:02}-{day:02}")
}

/// Days since 1970 to a date of the Gregorian calendar; years begin in March here, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 1 March of the year 0
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let days = [0, 58, 59, 11_016, 11_017, 20_782];
        let found = days.map(civil);
        assert_eq!(found[..3], [(1970, 1, 1), (1970, 2, 28), (1970, 3, 1)]);
        assert_eq!(found[3..], [(2000, 2, 29), (2000, 3, 1), (2026, 11, 25)]);
    }

    #[test]
    fn the_version_of_burn_is_in_the_lock_file() {
        assert!(burn().is_some_and(|version| version.starts_with("0.")));
    }
}
