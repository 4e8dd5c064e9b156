//! `pytorch_model.bin` and its like: what `torch.save` has written since torch 1.6.
//!
//! A zip archive, whose entries are not compressed, below one folder of any name: `data.pkl` is a pickle of the object,
//! `data/KEY` are the bytes of a storage, `byteorder` says how they are laid out. Follows `torch/serialization.py`
//! (`_load`, `persistent_load`) and `torch/_utils.py` (`_rebuild_tensor_v2`), 2.15. The pickle is read by a machine
//! ([`machine`]) that builds a table of tensors and can do nothing else; a tensor is then a view of the mapped file. What is
//! beside the weights, the state of an optimizer for example, is named by the pickle and never looked at.

mod globals;
mod machine;
mod reader;
mod table;
mod writer;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use chinese_clip_config::Limits;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::CheckpointError;
use crate::mmap::Region;
use crate::sniff::sniff;
use crate::weights::Part;

pub(crate) use writer::{Entry, Writer};

/// The first entry of a file in the format before torch 1.6: the pickled number 0x1950a86a20f9469cfc6c.
const LEGACY: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
const ZIP: &[u8] = b"PK\x03\x04";

/// Maps and parses a file.
pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Part, CheckpointError> {
    let region = Region::open(path)?;
    let bytes = region.bytes();
    sniff(path, bytes)?;
    if bytes.get(2..).is_some_and(|rest| rest.starts_with(LEGACY)) {
        return Err(CheckpointError::LegacyTorch { path: path.into() });
    }
    if !bytes.starts_with(ZIP) {
        let problem = "it is no zip archive".into();
        return Err(CheckpointError::Torch { path: path.into(), problem });
    }
    let archive = Archive::open(bytes, path)?;
    let pickle = archive.pickle(limits)?;
    let object = machine::run(pickle, limits.pickle_nodes).map_err(|fault| fault.in_file(path))?;
    let tensors = table::tensors(&object, &archive)?;
    Ok(Part { path: path.into(), region, tensors, metadata: BTreeMap::new() })
}

/// The directory of a torch file.
struct Archive<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    /// `FOLDER/`, of all entries.
    folder: String,
    entries: HashMap<String, Range<usize>>,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8], path: &'a Path) -> Result<Self, CheckpointError> {
        let zip_error = |source| CheckpointError::Zip { path: path.into(), source };
        let problem = |problem: String| CheckpointError::Torch { path: path.into(), problem };
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(zip_error)?;
        let mut entries = HashMap::with_capacity(zip.len());
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(zip_error)?;
            let name = entry.name().map_err(zip_error)?.into_owned();
            if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
                return Err(problem(format!(
                    "the entry {name} is compressed or encrypted; torch stores entries as they are"
                )));
            }
            let range = entry.data_start().and_then(|start| {
                let start = usize::try_from(start).ok()?;
                Some(start..start.checked_add(usize::try_from(entry.size()).ok()?)?)
            });
            match range {
                Some(range) if range.end <= bytes.len() => drop(entries.insert(name, range)),
                _ => {
                    let expected = entry.data_start().unwrap_or(0).saturating_add(entry.size());
                    return Err(CheckpointError::Truncated { path: path.into(), expected, found: bytes.len() as u64 });
                }
            }
        }
        let mut folders = entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
        let folder = match (folders.next(), folders.next()) {
            (Some(folder), None) => folder.to_string(),
            (None, _) => return Err(problem("it has no entry data.pkl".into())),
            (Some(_), Some(_)) => return Err(problem("it has more than one entry data.pkl".into())),
        };
        if entries.contains_key(&format!("{folder}constants.pkl")) {
            return Err(problem("it is a program (TorchScript), not a table of weights".into()));
        }
        let archive = Self { path, bytes, folder, entries };
        match archive.entry("byteorder").map(|range| &bytes[range]) {
            None | Some(b"little") => Ok(archive),
            Some(order) => {
                let order = String::from_utf8_lossy(&order[..order.len().min(16)]);
                Err(problem(format!("its byte order is {order:?}; only little-endian files are read")))
            }
        }
    }

    /// Where the bytes of an entry lie in the file.
    fn entry(&self, name: &str) -> Option<Range<usize>> {
        self.entries.get(&format!("{}{name}", self.folder)).cloned()
    }

    fn pickle(&self, limits: &Limits) -> Result<&'a [u8], CheckpointError> {
        let range = self.entry("data.pkl").unwrap_or(0..0);
        if range.len() as u64 > limits.pickle_bytes {
            let (what, found, limit) = ("the pickle", range.len() as u64, limits.pickle_bytes);
            return Err(CheckpointError::TooLarge { path: self.path.into(), what, found, limit });
        }
        Ok(&self.bytes[range])
    }
}

/// Why a pickle was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    offset: usize,
    kind: FaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FaultKind {
    /// It breaks a rule.
    Invalid(Cow<'static, str>),
    /// It names a global that is not on the list.
    Global(String),
    /// It has more opcodes than it may build values.
    Nodes(usize),
}

impl Fault {
    fn in_file(self, path: &Path) -> CheckpointError {
        let path = path.to_path_buf();
        match self.kind {
            FaultKind::Invalid(problem) => {
                CheckpointError::Pickle { path, offset: self.offset, problem: problem.into_owned() }
            }
            FaultKind::Global(global) => {
                let runs_code = globals::runs_code(&global);
                CheckpointError::ForbiddenGlobal { path, global, runs_code }
            }
            FaultKind::Nodes(limit) => CheckpointError::TooLarge {
                path,
                what: "the number of opcodes in the pickle",
                found: limit as u64 + 1,
                limit: limit as u64,
            },
        }
    }
}
