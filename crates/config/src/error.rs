//! What can be wrong with a configuration.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// One fault of a configuration: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field as it is spelled in the file, with its parents: `text_config.hidden_size`.
    pub field: String,
    /// The value found, and what was expected.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// A configuration that cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than [`Limits::json_bytes`](crate::Limits::json_bytes).
    #[error("{} has more than the {limit} bytes that a JSON file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The JSON is malformed, or a value has the wrong type.
    #[error("invalid JSON at `{key}`")]
    Json {
        /// Path of the key inside the document; `.` is the document itself, `?` an unknown place of a malformed one.
        key: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// An error in a named file.
    #[error("in {}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<ConfigError>,
    },
    /// Values that contradict each other or are out of range.
    #[error("invalid configuration:{}", list(faults))]
    Invalid {
        /// Every fault, in the order of the fields.
        faults: Vec<Fault>,
    },
}

impl ConfigError {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } if !path.exists() => {
                Some("a checkpoint directory needs a config.json; `cargo xtask convert` writes one".into())
            }
            Self::InFile { source, .. } => source.hint(),
            Self::Invalid { .. } => Some("compare the file with the config.json of the published checkpoint".into()),
            _ => None,
        }
    }
}

fn list(faults: &[Fault]) -> String {
    faults.iter().flat_map(|fault| ["\n  ".to_string(), fault.to_string()]).collect()
}

/// Widths of layers.
pub(crate) const WIDTHS: RangeInclusive<usize> = 1..=1 << 20;
/// Numbers of layers.
pub(crate) const LAYERS: RangeInclusive<usize> = 0..=1024;
/// Edges of pictures, in pixels.
pub(crate) const EDGES: RangeInclusive<usize> = 1..=1 << 14;

/// Collects faults under a prefix.
pub(crate) struct Faults {
    prefix: &'static str,
    pub(crate) found: Vec<Fault>,
}

impl Faults {
    pub(crate) fn of(prefix: &'static str) -> Self {
        Self { prefix, found: Vec::new() }
    }

    pub(crate) fn check(&mut self, good: bool, field: &str, problem: impl FnOnce() -> String) {
        if !good {
            self.found.push(Fault { field: format!("{}{field}", self.prefix), problem: problem() });
        }
    }

    /// Sizes are bounded, so that no arithmetic on them overflows and a hostile file costs nothing.
    pub(crate) fn size(&mut self, field: &str, value: usize, range: RangeInclusive<usize>) {
        self.check(range.contains(&value), field, || {
            format!("is {value}, must lie between {} and {}", range.start(), range.end())
        });
    }

    pub(crate) fn epsilon(&mut self, field: &str, value: f64) {
        self.check(value.is_finite() && value > 0.0 && value < 1.0, field, || {
            format!("is {value}, must be a small positive number")
        });
    }

    pub(crate) fn heads(&mut self, hidden: usize, heads: usize) {
        self.check(heads > 0 && hidden.is_multiple_of(heads), "num_attention_heads", || {
            format!("is {heads}, must divide hidden_size = {hidden}")
        });
    }
}
