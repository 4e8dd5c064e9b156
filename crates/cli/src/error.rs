//! What can stop the command, or one of its inputs.

use std::io;
use std::path::PathBuf;

use chinese_clip::preprocess::PreprocessError;

/// Any error of the command. [`CliError::hint`] says how to mend it, where there is a way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The library.
    #[error(transparent)]
    Model(#[from] chinese_clip::Error),
    /// Standard output is closed, full, or broken.
    #[error("cannot write to standard output")]
    Stdout { source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A command without something to work on.
    #[error("no {what} given")]
    Nothing { what: &'static str, hint: &'static str },
    #[error("`-` stands for standard input and can be used once, not {uses} times")]
    StdinTwice { uses: usize },
    #[error("{}: line {line} is not UTF-8", path.display())]
    NotUtf8 { path: PathBuf, line: usize },
    #[error("{}: line {line} has {bytes} bytes, more than the {limit} that a text may have", path.display())]
    LongLine { path: PathBuf, line: usize, bytes: usize, limit: usize },
    #[error("in the picture from standard input")]
    InStdin { source: PreprocessError },
    #[error("in the picture {}", path.display())]
    Picture { path: PathBuf, source: PreprocessError },
    #[error("the picture {} comes out as {width} x {height} pixels, and the model takes {} x {}", path.display(), expected[1], expected[0])]
    PictureSize { path: PathBuf, width: usize, height: usize, expected: [usize; 2] },
    #[error("pictures come out in different sizes: {} as {width} x {height} pixels, the first as {first_width} x {first_height}", path.display())]
    MixedSizes { path: PathBuf, width: usize, height: usize, first_width: usize, first_height: usize },
    #[error("no pictures in {}", path.display())]
    NoPictures { path: PathBuf },
    #[error("cannot walk {}", path.display())]
    Walk { path: PathBuf, source: walkdir::Error },
    /// A format that must be written to a file that can be changed in place.
    #[error("{format} needs a file to write to")]
    NeedsFile { format: &'static str },
    /// Patch features have more dimensions than the other formats hold.
    #[error("patch features are written as npy, not as {format}")]
    PatchesAreNpy { format: &'static str },
    #[error("a text has no patches")]
    PatchesOfTexts,
    #[error("{option} says which patch features are wanted, and embeddings are asked for")]
    NotPatches { option: &'static str },
    /// An output that is there and that `embed` did not write.
    #[error("{} exists, and {} does not: its vectors are of unknown origin", path.display(), sidecar.display())]
    Foreign { path: PathBuf, sidecar: PathBuf },
    /// An output whose vectors cannot stand beside new ones.
    #[error("{} holds vectors that must not be mixed with these: {}", path.display(), differences.join("; "))]
    Differs { path: PathBuf, differences: Vec<String> },
    #[error("{} is damaged: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
    /// No picture of all that were given; an output of no row would replace what is there.
    #[error("none of the pictures can be read; {} was not written", path.display())]
    NothingReadable { path: PathBuf },
    /// The name would come back changed from the output, and two such names could be one.
    #[error("the name of {} is not UTF-8, so the output cannot tell it", path.display())]
    NameNotUtf8 { path: PathBuf },
    #[error("{} is being written by another process", path.display())]
    Busy { path: PathBuf },
    #[error("cannot read or write the parquet file {}", path.display())]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    /// The vectors are safe in the journal, the file that was asked for is not made.
    #[error("cannot finish {}; all vectors so far are kept in {}", path.display(), journal.display())]
    Unfinished { path: PathBuf, journal: PathBuf, source: Box<CliError> },
    #[error("texts of {length} tokens were asked for, and the model has {positions} positions")]
    Positions { length: usize, positions: usize },
    #[error("cannot encode the test picture")]
    TestPicture { source: image::ImageError },
    /// A process that measures one device.
    #[error("`{device}` was not measured to the end: {reason}")]
    DeviceFailed { device: String, reason: String },
    #[error("no device could be measured")]
    NoDeviceMeasured,
}

impl From<PreprocessError> for CliError {
    fn from(error: PreprocessError) -> Self {
        Self::Model(error.into())
    }
}

impl CliError {
    /// Whether the reader of standard output has gone, as `head` does when it has enough.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// How to mend it, where there is a way.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Model(error) => return error.hint(),
            Self::InStdin { source } | Self::Picture { source, .. } => return source.hint(),
            Self::Unfinished { source, .. } => {
                return source.hint().or_else(|| Some("run the same command again when the cause is mended".into()));
            }
            Self::Positions { positions, .. } => return Some(format!("choose a `--length` of {positions} or less")),
            Self::DeviceFailed { .. } => {
                "its own message stands above; without one, memory may have run out: try a smaller `--batch`"
            }
            Self::Nothing { hint, .. } => hint,
            Self::NotUtf8 { .. } => "save the file as UTF-8, for example with `iconv -f GB18030 -t UTF-8`",
            Self::PictureSize { .. } => "the model's preprocessor_config.json neither resizes nor crops to its size",
            Self::MixedSizes { .. } => "one file holds pictures of one size; name these pictures in separate runs",
            Self::NoPictures { .. } => {
                "pictures are found by their extension: jpg, png, gif, webp, bmp, tiff, …; a file that is named itself may have any name"
            }
            Self::PatchesAreNpy { .. } => "choose a name that ends in .npy, or `--format npy`",
            Self::PatchesOfTexts => "leave out `--text` and `--texts`, or `--features patches`",
            Self::NotPatches { .. } => "add `--features patches`",
            Self::NeedsFile { .. } => "name it with `-o FILE`",
            Self::Foreign { .. } => "choose another name with `-o`, or move the file away",
            Self::Differs { .. } => {
                "embed with the options of the first run, or choose another name with `-o`; nothing was changed"
            }
            Self::Damaged { .. } => "move the file away and run again, or choose another name with `-o`",
            Self::Write { source, .. } | Self::Stdout { source } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    "make room and run the same command again"
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a place that may be written to"
                }
                io::ErrorKind::NotFound => "the directory must exist",
                _ => return None,
            },
            _ => return None,
        };
        Some(hint.into())
    }
}
